Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.MemoryTest do
  # Memory management: the guide's MemoryOptimizedHandler is what a worker does beyond `max_rss`.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  @most 100 * 1024 * 1024

  setup do
    prefix = [:guide_memory, :"p#{System.unique_integer([:positive])}"]
    listen(prefix, [[:worker, :trim], [:worker, :recycle]])
    {:ok, pool: start_pool(size: 1, max_rss: @most, heartbeat: 100, telemetry_prefix: prefix)}
  end

  test "a worker with too much memory collects its garbage, and goes on", %{pool: pool} do
    {:ok, worker} = Pitcrew.call(pool, "litter", [2 * @most])
    assert_receive {[:worker, :trim], %{before: before, after: left}, %{worker: ^worker}}, 30_000
    assert before > @most and left < @most
    assert Pitcrew.call(pool, "pid") == {:ok, worker}
    refute_received {[:worker, :recycle], _, _}
  end

  test "one that has too much even then is replaced", %{pool: pool} do
    {:ok, worker} = Pitcrew.call(pool, "keep", [2 * @most])
    assert_receive {[:worker, :trim], %{after: left}, %{worker: ^worker}}, 30_000
    assert_receive {[:worker, :recycle], _, %{worker: ^worker, reason: {:max_rss, ^left}}}, 30_000
    assert {:ok, _} = Pitcrew.call(pool, "pid")
  end
end
