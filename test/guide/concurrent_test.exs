Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.ConcurrentTest do
  # Async/concurrent execution, as far as it is there: independent tools of the VM, called at once by one call in Python.
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
end
