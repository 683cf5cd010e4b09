Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.LoadTest do
  # Load testing.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  # The guide's scenarios are Pitcrew's own, but for their minute.
  test "the three scenarios run, and say how long calls took and how many there were" do
    results = Pitcrew.LoadTest.run_benchmark(duration: 0.6, warmup: 0)

    assert [
             %{scenario: "high_frequency_single", tools: 1, calls: 60},
             %{scenario: "multi_tool_moderate", tools: 10, calls: 12},
             %{scenario: "large_payload", tools: 5, calls: 3, payload_bytes: 1_048_576}
           ] = results

    for result <- results do
      assert result.errors == 0
      assert 0 < result.avg_latency and result.avg_latency <= result.max_latency
      assert result.p50_latency <= result.p99_latency and result.p99_latency <= result.max_latency
      assert result.throughput > 0
    end
  end

  test "a tool of one's own is tested in one's own pool" do
    pool = start_pool(size: 2)
    scenario = %{name: "add", tools: [{"add", [1, 2]}], calls_per_second: 50, duration: 0.4, warmup: 0}

    assert [%{scenario: "add", calls: 20, errors: 0}] =
             Pitcrew.LoadTest.run_benchmark(pool: pool, scenarios: [scenario])

    assert %{calls: count} = Pitcrew.stats(pool)
    assert count >= 20
  end
end
