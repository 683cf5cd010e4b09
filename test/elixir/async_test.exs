defmodule Pitcrew.AsyncTest do
  use ExUnit.Case, async: true

  @pool MyApp.Py

  test "an awaited call returns what a call returns" do
    assert Pitcrew.await(Pitcrew.async(@pool, "add", [1, 2])) == {:ok, 3}
    assert Pitcrew.await(Pitcrew.async(@pool, :arguments)) == {:ok, [[], %{}]}
    call = Pitcrew.async(@pool, "divide", [1, 0], timeout: 10_000)
    assert {:error, %Pitcrew.Error{kind: :tool_error, tool: "divide", pool: @pool}} = Pitcrew.await(call, 10_000)
  end

  test "a cancelled call is an error, for whoever awaits it" do
    call = Pitcrew.async(@pool, "wait_forever")
    waiting = Task.async(fn -> Pitcrew.await(call) end)
    assert Pitcrew.cancel(call) == :ok
    assert Pitcrew.cancel(call) == :ok
    assert {:error, %Pitcrew.Error{kind: :cancelled} = error} = Task.await(waiting)
    assert Exception.message(error) =~ "wait_forever"
    assert {:error, %Pitcrew.Error{kind: :cancelled}} = Pitcrew.await(call)
  end
end
