defmodule Pitcrew.ToolsTest do
  # Tools of the VM, by Elixir's names; test/erlang/pitcrew_tools_tests.erl has what they do.
  use ExUnit.Case, async: false

  alias Pitcrew.{Error, ToolRegistry}

  @fixtures Path.expand("../fixtures", __DIR__)

  setup do
    start_supervised!({Pitcrew.Pool, name: Tools.Py, tools: ["vm_tools"], cd: @fixtures, size: 1, concurrency: 2})
    :ok
  end

  test "a tool is registered, called, and taken out" do
    assert :ok =
             Pitcrew.register_tool(Tools.Py, :search, fn query, k -> {query, k} end,
               parameters: [:query, :k],
               doc: "Searches."
             )

    assert {:ok, {"beam", 2}} = Pitcrew.call(Tools.Py, "ask", {["search"], %{query: "beam", k: 2}})

    assert [%{name: "search", doc: "Searches.", parameters: ["query", "k"], arity: 2}] =
             Pitcrew.registered_tools(Tools.Py)

    assert {:error, %Error{kind: :invalid_option}} = Pitcrew.register_tool(Tools.Py, "search", fn -> 1 end)
    assert :ok = Pitcrew.unregister_tool(Tools.Py, "search")
    assert [] = Pitcrew.registered_tools(Tools.Py)

    assert {:ok, ["error", "unknown_tool", nil, "there is no tool search, nor any other", nil]} =
             Pitcrew.call(Tools.Py, "caught", ["search"])
  end

  test "errors are structs, or raised" do
    assert {:error, %Error{kind: :no_pool}} = Pitcrew.register_tool(No.Such.Py, "a", fn -> 1 end)
    assert {:error, %Error{kind: :no_pool}} = Pitcrew.unregister_tool(No.Such.Py, "a")
    assert_raise Error, fn -> Pitcrew.registered_tools(No.Such.Py) end
    assert {:error, %Error{kind: :invalid_option}} = ToolRegistry.register(:no_function)
    assert {:error, %Error{kind: :invalid_option}} = ToolRegistry.unregister("")
  end

  test "an exception has its name and message in Python" do
    :ok = Pitcrew.register_tool(Tools.Py, "raises", fn -> raise ArgumentError, "no such thing" end)

    assert {:ok, ["error", "error", "ArgumentError", "no such thing", trace]} =
             Pitcrew.call(Tools.Py, "caught", ["raises"])

    assert trace =~ "tools_test.exs"
  end

  test "what is known of a module's function" do
    :ok = Pitcrew.register_tool(Tools.Py, "pad", &String.pad_leading/3)

    assert [%{parameters: ["string", "count", "padding"], doc: doc, schema: schema}] =
             Pitcrew.registered_tools(Tools.Py)

    assert doc =~ "Returns a new string padded"

    assert %{"properties" => %{"string" => %{"type" => "string"}}, "required" => ["string", "count", "padding"]} =
             schema

    assert {:ok, "..beam"} = Pitcrew.call(Tools.Py, "async_ask", {["pad"], %{padding: ".", string: "beam", count: 6}})
  end

  test "names come from a module's typespec, its documentation, or its code", %{test: test} do
    folder = Path.join(System.tmp_dir!(), "#{test}-#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)

    code = """
    defmodule Tools.Found do
      @doc "Searches for a text."
      @spec search(String.t(), k :: pos_integer()) :: [String.t()]
      def search(text, _), do: [text]
      def hidden(%{} = question, [first | _] = _others), do: {question, first}
      @doc false
      def plain(_, {_}), do: 1
    end
    """

    for {module, beam} <- Code.compile_string(code), do: File.write!(Path.join(folder, "#{module}.beam"), beam)
    Code.append_path(folder)
    on_exit(fn -> Code.delete_path(folder) end)

    found = &:pitcrew_tool_schema.derive(Function.capture(Tools.Found, &1, 2), nil)

    assert {["text", "k"], %{"properties" => %{"k" => %{"minimum" => 1}}}, "Searches for a text."} = found.(:search)

    assert {["question", "others"], _, nil} = found.(:hidden)
    assert {["arg1", "arg"], _, nil} = found.(:plain)
  end

  test "tools of all pools, by an id that nobody guesses, or a name" do
    {:ok, id} = Task.await(Task.async(fn -> ToolRegistry.register(&String.upcase/1) end))
    assert "tool-" <> <<_::binary-size(32)>> = id
    assert {:ok, "A"} = Pitcrew.call(Tools.Py, "ask", [id, "a"])
    assert [] = Pitcrew.registered_tools(Tools.Py)
    assert :ok = ToolRegistry.unregister(id)
    assert {:ok, ["error", "unknown_tool" | _]} = Pitcrew.call(Tools.Py, "caught", [id, "a"])

    assert {:ok, "everybodys"} = ToolRegistry.register(&String.downcase/1, name: :everybodys)
    on_exit(fn -> ToolRegistry.unregister("everybodys") end)
    assert {:ok, "a"} = Pitcrew.call(Tools.Py, "ask", ["everybodys", "A"])
    assert [%{name: "everybodys"}] = Pitcrew.registered_tools(Tools.Py)
  end

  test "messages" do
    assert {:ok, 2} = Pitcrew.call(Tools.Py, "async_send", [self(), :one, %{two: 2}])
    assert_received {:pitcrew, :one}
    assert_received {:pitcrew, %{two: 2}}
  end
end
