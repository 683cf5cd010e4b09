for file <- ~w(stats table timed load)a, do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Telemetry do
  @moduledoc """
  What a call pays to be seen: the part of its path that tells of it and counts it, by itself, and whole calls with it and without it. Pools
  count, or not; no handler is attached, or one to every event. In one run, every round measures every case, each time in another order.
  """

  alias Bench.{Load, Stats, Table, Timed}
  import Bench.Stats, only: [middle: 2, spread: 2]
  require Record

  Record.defrecordp(:job, Record.extract(:job, from: Path.expand("../../src/pitcrew_job.hrl", __DIR__)))

  @python_dir Path.expand("../python", __DIR__)
  # Name, whether its pool counts, whether there are handlers.
  @cases [{"no-handler", true, false}, {"no-metrics", false, false}, {"handler", true, true}]
  # What takes less than a microsecond is timed in goes, of which the quickest counts: whatever else the machine does takes away from the others.
  @goes 20
  @parts 5_000

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 15)
    trips = Keyword.get(opts, :trips, 5_000)
    options = [tools: ["rtt_tools"], python: System.fetch_env!("PITCREW_BENCH_PYTHON"), cd: @python_dir]

    for metrics <- [true, false] do
      {:ok, _} = Pitcrew.Pool.start_link([name: pool(metrics), size: 1, metrics: metrics] ++ options)
      {:ok, _} = Pitcrew.Pool.start_link([name: many(metrics), size: 2, pipeline: 16, metrics: metrics] ++ options)
    end

    for a_case <- @cases, do: measure(a_case, trips)
    results = for round <- 1..rounds, do: Map.new(Stats.turned(@cases, round), &{elem(&1, 0), measure(&1, trips)})
    report(results, rounds, trips)
  end

  defp pool(metrics), do: :"bench_telemetry_#{metrics}"
  defp many(metrics), do: :"bench_telemetry_many_#{metrics}"

  defp measure({_, metrics, handlers}, trips) do
    if handlers,
      do: :ok = Pitcrew.Telemetry.attach_many(__MODULE__, Pitcrew.Telemetry.events(), &__MODULE__.ignore/4, nil)

    {:ok, entry} = :pitcrew_pools.find(pool(metrics))
    part = quickest(fn _ -> part(entry) end) - quickest(fn _ -> started() end)
    call = Timed.each(trips, fn _ -> {:ok, 7} = Pitcrew.call(pool(metrics), "echo", [7]) end)

    many = Load.run(64, 300, [], fn -> nil end, fn _ -> {:ok, 7} = Pitcrew.call(many(metrics), "echo", [7]) end)
    if handlers, do: :ok = Pitcrew.Telemetry.detach(__MODULE__)
    %{part: part, call: call, many: many.calls_per_s}
  end

  def ignore(_, _, _, _), do: :ok

  # What a call does for it, at its beginning and at its end. When it has begun it needs to know for its deadline in any case.
  defp part(entry) do
    started = started()
    told = %{pool: :bench, tool_id: "echo", protocol: :msgpack}
    codec = :pitcrew_call_events.codec(entry, %{})
    :ok = :pitcrew_call_events.started(entry, started, told)

    :pitcrew_call_events.finished(
      entry,
      started,
      told,
      {:ok, 7},
      job(python: 1_000, codec: codec, bytes_in: 20, bytes_out: 30)
    )
  end

  defp started, do: :erlang.monotonic_time()

  defp quickest(fun), do: 1..@goes |> Enum.map(fn _ -> Timed.each(@parts, fun) end) |> Enum.min()

  defp report(results, rounds, trips) do
    IO.puts("""

    What a call pays for telemetry and metrics; #{rounds} interleaved rounds, median of the rounds [their quartiles]. part: of its path, by itself, the quickest of #{@goes} goes, µs. call: one
    caller, #{trips} calls, µs of a call. 64 callers: calls a second, two workers, pipeline: 16.
    no-handler: the pool counts, as by default; no-metrics: it does not; handler: it counts, and a handler is attached to every event.
    """)

    rows = for {name, _, _} <- @cases, do: row(results, name)
    Table.print([["case", "part", "call", "64 callers"] | rows])
    IO.puts("")

    for {name, _, _} <- @cases do
      Table.line("telemetry", name,
        overhead_us: middle(results, & &1[name].part),
        call_us: middle(results, & &1[name].call),
        calls_per_s: middle(results, & &1[name].many),
        ratio_to_no_metrics: middle(results, &(&1[name].call / &1["no-metrics"].call)),
        ratio_of_many: middle(results, &(&1[name].many / &1["no-metrics"].many))
      )
    end
  end

  defp row(results, name) do
    [
      name,
      Table.spread(spread(results, & &1[name].part), 2),
      Table.spread(spread(results, & &1[name].call), 2),
      Table.spread(spread(results, & &1[name].many), 0)
    ]
  end
end

Bench.Telemetry.main(System.argv())
