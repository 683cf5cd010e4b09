Code.require_file("support.exs", __DIR__)
Code.require_file("../../examples/react/react.exs", __DIR__)

defmodule Pitcrew.Guide.ConcurrentTest do
  # Async/concurrent execution: independent tools of the VM, registered and called at once by one call in Python; and the guide's executor, as examples/react has it.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  # Each tells the test that it runs, and waits for it.
  defp tools(names) do
    test = self()

    for name <- names do
      fn question ->
        send(test, {:arrived, self()})
        receive do: (:go -> "#{name}: #{question}")
      end
    end
  end

  setup do
    {:ok, pool: start_pool(size: 1, concurrency: 4)}
  end

  test "tools are registered concurrently, and called by the ids that they get", %{pool: pool} do
    tools = for name <- ~w(search weather calculator), do: %{name: name, func: &"#{name}: #{&1}"}

    registrations =
      tools
      |> Task.async_stream(
        fn tool ->
          {:ok, tool_id} = Pitcrew.ToolRegistry.register(tool.func)
          tool |> Map.delete(:func) |> Map.put(:tool_id, tool_id)
        end,
        max_concurrency: length(tools)
      )
      |> Enum.map(fn {:ok, tool} -> tool end)

    config = %{parallel_tools: true}

    assert Pitcrew.call(pool, "ask_registered", %{tools: registrations, input: "who", config: config}) ==
             {:ok, ["search: who", "weather: who", "calculator: who"]}

    for tool <- registrations, do: :ok = Pitcrew.ToolRegistry.unregister(tool.tool_id)

    assert {:error, %Pitcrew.Error{kind: :tool_error, message: "(unknown_tool) there is no tool" <> _}} =
             Pitcrew.call(pool, "ask_registered", %{tools: registrations, input: "who", config: config})
  end

  test "independent tools run at once, and their results come in order", %{pool: pool} do
    call = Pitcrew.async(pool, "ask_all", %{tools: tools([:a, :b, :c]), question: "who", parallel: true})
    3 |> all_there() |> Enum.reverse() |> let_go()
    assert Pitcrew.await(call) == {:ok, ["a: who", "b: who", "c: who"]}
  end

  test "or one by one, with the same results", %{pool: pool} do
    call = Pitcrew.async(pool, "ask_all", %{tools: tools([:a, :b, :c]), question: "who", parallel: false})

    for _ <- 1..3 do
      one = all_there(1)
      refute_received {:arrived, _}
      let_go(one)
    end

    assert Pitcrew.await(call) == {:ok, ["a: who", "b: who", "c: who"]}
  end

  @tag :dspy
  test "an agent's tools are registered at once, run at once, and all its questions are worked on at once" do
    start_supervised!(Trip.pool(System.get_env("PITCREW_PYTHON") || "python3"))

    for {what, check} <- Trip.checks() do
      {seen, holds} = check.()
      assert holds, "#{what}: #{seen}"
    end
  end
end
