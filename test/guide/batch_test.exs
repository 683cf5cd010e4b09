Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.BatchTest do
  # Batch processing: the executor, and the handler in Python.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  setup do
    prefix = [:guide_batch, :"p#{System.unique_integer([:positive])}"]
    listen(prefix, [[:call, :stop], [:call, :exception]])
    {:ok, pool: start_pool(size: 2, telemetry_prefix: prefix)}
  end

  defp frames(count) do
    for _ <- 1..count do
      assert_receive {[:call, _], _, %{batch: calls, tool_id: tool}}, 10_000
      {tool, calls}
    end
    |> Enum.sort()
  end

  test "calls are executed in batches, by all workers, and their results come in order", %{pool: pool} do
    tool_calls = for n <- 1..25, do: %{tool_id: "add", args: [n, 1]}

    assert Pitcrew.execute_batch(tool_calls, pool: pool, batch_size: 10, timeout: 30_000) ==
             for(n <- 1..25, do: {:ok, n + 1})

    assert frames(3) == [{"add", 5}, {"add", 10}, {"add", 10}]

    meeting = for _ <- 1..2, do: %{tool_id: "meet", args: [arrive()]}
    task = Task.async(fn -> Pitcrew.execute_batch(meeting, pool: pool, batch_size: 1) end)
    2 |> all_there() |> let_go()
    assert [{:ok, one}, {:ok, other}] = Task.await(task, 20_000)
    assert one != other
  end

  # In the guide the results of a batch that took too long are missing; here each call has an error.
  test "a batch that takes too long has errors in its place", %{pool: pool} do
    calls = [%{tool_id: "add", args: [1, 2]}, %{tool_id: "wait_for_ever"}, %{tool_id: "add", kwargs: %{a: 3, b: 4}}]

    assert [{:ok, 3}, {:error, %Pitcrew.Error{kind: :timeout, index: 1}}, {:ok, 7}] =
             Pitcrew.execute_batch(calls, pool: pool, timeout: 3_000)
  end

  test "calls are grouped by tool, a tool loads once for all its calls, and one that fails spoils no other", %{
    pool: pool
  } do
    calls = [
      %{tool_id: "price", args: [10]},
      %{tool_id: "ratio", args: [1, 2]},
      %{tool_id: "price", args: [-1]},
      %{tool_id: "ratio", args: [1, 0]},
      %{tool_id: "price", args: [20]}
    ]

    assert [
             {:ok, %{"gross" => 20, "run" => 1}},
             {:ok, 0.5},
             {:error, %Pitcrew.Error{kind: :tool_error, type: "ValueError", message: "-1 is no price", index: 2}},
             {:error, %Pitcrew.Error{kind: :tool_error, type: "ZeroDivisionError", index: 3}},
             {:ok, %{"gross" => 40, "run" => 1}}
           ] = Pitcrew.execute_batch(calls, pool: pool, batch_size: 10)

    assert frames(2) == [{"price", 3}, {"ratio", 2}]
  end
end
