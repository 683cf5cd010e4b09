defmodule Pitcrew.ProtocolTest do
  use ExUnit.Case, async: true

  defp start_pool(context, opts) do
    name = Module.concat(__MODULE__, "P#{context.line}")
    start_supervised!({Pitcrew.Pool, [name: name, tools: ["my_tools"], cd: __DIR__, size: 1] ++ opts})
    name
  end

  test "a pool that speaks JSON", context do
    pool = start_pool(context, protocol: :json)
    assert Pitcrew.call!(pool, "add", [1, 2]) == 3
    assert Pitcrew.call!(pool, "arguments", {[nil, :ok], %{b: [2.5]}}) == [[nil, "ok"], %{"b" => [2.5]}]
    assert Pitcrew.call!(pool, "greet", %{name: "Zoë"}) == "Hello, Zoë"
    assert {:error, %Pitcrew.Error{kind: :tool_error, type: "ZeroDivisionError"}} = Pitcrew.call(pool, "divide", [1, 0])
  end

  test "what JSON cannot carry names its place", context do
    pool = start_pool(context, protocol: :json)
    assert {:error, error} = Pitcrew.call(pool, "echo", [%{at: [~D[2024-02-29]]}])
    assert {error.kind, error.path, error.tool} == {:encode_error, [:args, 0, :at, 0], "echo"}
    assert error.message =~ "Elixir.Date"
    assert {:error, %{kind: :encode_error, path: [:kwargs, :value]}} = Pitcrew.call(pool, "echo", %{value: {1, 2}})
    assert {:error, %{kind: :encode_error}} = Pitcrew.call(pool, "echo", [Pitcrew.bytes(<<0>>)])
  end

  test "a call overrides its pool", context do
    pool = start_pool(context, protocol: :json)
    assert Pitcrew.call!(pool, "echo", [{1, 2}], protocol: :msgpack) == {1, 2}
    assert Pitcrew.call!(pool, "echo", [:a], protocol: :auto) == :a
    assert Pitcrew.call!(MyApp.Py, "echo", [:a], protocol: :json) == "a"
  end

  test "options that JSON has no use for are errors", context do
    assert {:error, %Pitcrew.Error{kind: :invalid_option} = error} =
             Pitcrew.Pool.start_link(name: :"pool#{context.line}", protocol: :json, binaries: :bytes)

    assert error.message =~ "binaries must be str with the protocol json"
    assert {:error, %{kind: :invalid_option}} = Pitcrew.call(MyApp.Py, "echo", [1], protocol: :json, bytes: :tagged)
    assert {:error, %{message: message}} = Pitcrew.call(MyApp.Py, "echo", [1], protocol: :xml)
    assert message =~ "one of msgpack, json, auto"
  end

  test "what the selector chooses is an option of a call", _context do
    for readable <- [false, true] do
      protocol = Pitcrew.Protocol.select_optimal_protocol(data: ["Ada"], call_frequency: 3, readable: readable)
      answer = if readable, do: "a", else: :a
      assert Pitcrew.call!(MyApp.Py, "echo", [:a], protocol: protocol) == answer
    end
  end
end
