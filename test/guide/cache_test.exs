Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.CacheTest do
  # Caching strategies: the guide's CachedToolHandler is the pool's cache.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  setup do
    {:ok, pool: start_pool(size: 2, cache: [max_entries: 1_000])}
  end

  defp stats(pool), do: pool |> Pitcrew.Cache.stats() |> Map.take([:hits, :misses])

  test "an idempotent tool runs once for equal arguments, whatever their order, and hits are counted", %{pool: pool} do
    {:ok, result} = Pitcrew.call(pool, "look_up", %{tool_id: "a", limit: 3})
    assert stats(pool) == %{hits: 0, misses: 1}
    assert Pitcrew.call(pool, "look_up", Map.new(limit: 3, tool_id: "a")) == {:ok, result}
    assert stats(pool) == %{hits: 1, misses: 1}
    {:ok, other} = Pitcrew.call(pool, "look_up", %{tool_id: "a", limit: 4})
    assert other != result
    assert stats(pool) == %{hits: 1, misses: 2}
  end

  test "other tools run each time, and errors are not kept", %{pool: pool} do
    assert Pitcrew.call!(pool, "roll") != Pitcrew.call!(pool, "roll")
    assert stats(pool) == %{hits: 0, misses: 0}
    {:error, %{kind: :tool_error, message: first}} = Pitcrew.call(pool, "unreliable")
    {:error, %{kind: :tool_error, message: second}} = Pitcrew.call(pool, "unreliable")
    assert first != second
    assert stats(pool) == %{hits: 0, misses: 2}
  end

  test "what is known of the tools is asked of no worker", %{pool: pool} do
    tools = Map.new(Pitcrew.tools(pool), &{&1.name, &1.idempotent})
    assert tools["look_up"] and not tools["roll"]
    assert Enum.all?(Pitcrew.info(pool).workers, &(&1.calls == 0))
  end

  test "it is bounded" do
    pool = start_pool(size: 1, cache: [max_entries: 10])
    for n <- 1..100, do: {:ok, _} = Pitcrew.call(pool, "look_up", ["tool #{n}"])
    assert until(fn -> Pitcrew.Cache.stats(pool).entries <= 10 end)
    assert Pitcrew.Cache.stats(pool).evicted >= 90
  end

  # The process that keeps the limits may not have run yet.
  defp until(condition, tries \\ 500) do
    condition.() or
      (tries > 0 and
         receive do
         after
           10 -> until(condition, tries - 1)
         end)
  end
end
