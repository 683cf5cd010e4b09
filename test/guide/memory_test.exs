Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.MemoryTest do
  # Memory management: the guide's MemoryOptimizedHandler is what a worker does beyond `max_rss`.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  @most 100 * 1024 * 1024

  setup do
    prefix = [:guide_memory, :"p#{System.unique_integer([:positive])}"]
    listen(prefix, [[:worker, :memory], [:worker, :trim], [:worker, :recycle]])
    {:ok, pool: start_pool(size: 1, max_rss: @most, heartbeat: 100, telemetry_prefix: prefix)}
  end

  test "a worker with too much memory collects its garbage, and goes on", %{pool: pool} do
    {:ok, worker} = Pitcrew.call(pool, "litter", [2 * @most])
    assert_receive {[:worker, :trim], %{before: before, after: left}, %{worker: ^worker}}, 30_000
    assert before > @most and left < @most
    assert Pitcrew.call(pool, "pid") == {:ok, worker}
    refute_received {[:worker, :recycle], _, _}
  end

  test "caches are cleared first, and each step tells what it has brought", %{pool: pool} do
    {:ok, worker} = Pitcrew.call(pool, "keep_for_speed", [2 * @most])
    assert_receive {[:worker, :memory], %{before: before, after: _}, %{step: :hooks, reason: :max_rss}}, 30_000
    assert before > @most
    assert_receive {[:worker, :memory], %{objects: _}, %{step: :collect}}, 30_000
    assert_receive {[:worker, :memory], %{after: left}, %{step: :trim, worker: ^worker}}, 30_000
    assert left < @most
    assert Pitcrew.call(pool, "cached") == {:ok, 0}
    assert Pitcrew.call(pool, "pid") == {:ok, worker}
  end

  test "garbage is collected every so often" do
    prefix = [:guide_gc, :"p#{System.unique_integer([:positive])}"]
    listen(prefix, [[:worker, :memory]])
    pool = start_pool(size: 1, gc_interval: 100, telemetry_prefix: prefix)
    assert_receive {[:worker, :memory], %{objects: _}, %{step: :collect, reason: :gc_interval, pool: ^pool}}, 30_000
  end

  test "one that has too much even then is replaced", %{pool: pool} do
    {:ok, worker} = Pitcrew.call(pool, "keep", [2 * @most])
    assert_receive {[:worker, :trim], %{after: left}, %{worker: ^worker}}, 30_000
    assert_receive {[:worker, :recycle], _, %{worker: ^worker, reason: {:max_rss, ^left}}}, 30_000
    assert {:ok, _} = Pitcrew.call(pool, "pid")
  end
end
