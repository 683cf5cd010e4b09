Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.TelemetryTest do
  # Telemetry integration, and the figures that a dashboard shows.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  @slow_ms 100
  @prefix [:dspex, :tool_bridge]
  @events [[:call, :start], [:call, :stop], [:serialization, :stop], [:cache, :hit], [:cache, :miss]]

  defp setup_metrics(test) do
    :ok =
      Pitcrew.Telemetry.attach_many(
        "dspex-tool-bridge-metrics",
        Enum.map(@events, &(@prefix ++ &1)),
        &handle_event/4,
        test
      )

    on_exit(fn -> Pitcrew.Telemetry.detach("dspex-tool-bridge-metrics") end)
  end

  defp handle_event([:dspex, :tool_bridge, :call, :stop], measurements, metadata, test) do
    duration_ms = System.convert_time_unit(measurements.duration, :native, :microsecond) / 1_000
    send(test, {:histogram, "tool_bridge.call.duration", duration_ms, Map.take(metadata, [:protocol, :tool_id])})
    if duration_ms > @slow_ms, do: send(test, {:slow, metadata.tool_id, duration_ms})
  end

  defp handle_event([:dspex, :tool_bridge | event], _measurements, metadata, test),
    do: send(test, {event, metadata.tool_id})

  test "calls and the cache tell what they do, with the application's own prefix" do
    setup_metrics(self())
    pool = start_pool(size: 1, telemetry_prefix: @prefix, cache: true)

    {:ok, _} = Pitcrew.call(pool, "look_up", ["a"])
    assert_receive {[:call, :start], "look_up"}
    assert_receive {[:cache, :miss], "look_up"}
    assert_receive {[:serialization, :stop], "look_up"}
    assert_receive {:histogram, "tool_bridge.call.duration", ms, %{protocol: :msgpack, tool_id: "look_up"}} when ms > 0

    {:ok, _} = Pitcrew.call(pool, "look_up", ["a"])
    assert_receive {[:cache, :hit], "look_up"}

    {:ok, 3} = Pitcrew.call(pool, "add", [1, 2], protocol: :json)
    assert_receive {:histogram, _, _, %{protocol: :json, tool_id: "add"}}
  end

  test "a slow call is noticed" do
    setup_metrics(self())
    pool = start_pool(size: 1, telemetry_prefix: @prefix)

    call = Pitcrew.async(pool, "meet", [arrive()])
    [inside] = all_there(1)
    Process.send_after(inside, :go, @slow_ms + 50)
    {:ok, _} = Pitcrew.await(call)
    assert_receive {:histogram, _, ms, %{tool_id: "meet"}}
    assert_receive {:slow, "meet", ^ms}
    assert ms > @slow_ms
  end

  test "the figures of a dashboard: latencies, protocols, hit rate, how much of the pool is in use" do
    setup_metrics(self())
    pool = start_pool(size: 2, telemetry_prefix: @prefix, cache: true)

    for n <- 1..6, do: {:ok, _} = Pitcrew.call(pool, "echo", [n], protocol: if(n > 4, do: :json, else: :msgpack))
    for _ <- 1..4, do: {:ok, _} = Pitcrew.call(pool, "look_up", ["a"])

    calls =
      for _ <- 1..10 do
        assert_receive {:histogram, _, ms, metadata}
        {ms, metadata.protocol}
      end

    latencies = calls |> Enum.map(&elem(&1, 0)) |> Enum.sort()
    assert Enum.sum(latencies) / 10 <= List.last(latencies)
    assert Enum.frequencies_by(calls, &elem(&1, 1)) == %{msgpack: 8, json: 2}

    %{hits: hits, misses: misses} = Pitcrew.Cache.stats(pool)
    assert hits / (hits + misses) == 0.75

    call = Pitcrew.async(pool, "meet", [arrive()])
    inside = all_there(1)
    info = Pitcrew.info(pool)
    assert {Enum.count(info.workers, &(&1.state == :busy)), info.free, info.queued} == {1, 1, 0}
    let_go(inside)
    {:ok, _} = Pitcrew.await(call)
    assert Pitcrew.health(pool).status == :ok

    # Without a handler: what the pool itself has counted.
    stats = Pitcrew.stats(pool)
    assert {stats.protocols, stats.cache.hit_rate} == {%{msgpack: 9, json: 2}, 0.75}
    assert stats.rate > 0 and stats.latency.avg > 0 and stats.latency.p99 <= stats.latency.max
    assert stats.utilization >= 0.0
  end
end
