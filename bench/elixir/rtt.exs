for file <- ~w(stats table msgpack baseline), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Rtt do
  @moduledoc """
  The round trip of one call, one caller, a small map there and back, beside two floors (C to C over
  a socketpair, both ends on one processor or on two) and a hand-rolled bridge. All in one run: every
  round measures every case, each time in another order.
  """

  alias Bench.{Baseline, Stats, Table}
  import Bench.Stats, only: [middle: 2, spread: 2]

  @python_dir Path.expand("../python", __DIR__)
  @floor Path.expand("../../_build/bench/floor", __DIR__)
  @cases [:floor_same, :floor_cross, :baseline, :pitcrew, :"pitcrew-mailbox", :"pitcrew-spin", :"pitcrew-sleep"]
  @waiting 100_000
  # 46 bytes of MessagePack.
  @argument %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 9)
    trips = Keyword.get(opts, :trips, 3_000)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    options = [tools: ["rtt_tools"], python: python, cd: @python_dir, size: 1]
    {:ok, pool} = Pitcrew.Pool.start_link([name: :bench_rtt] ++ options)
    {:ok, spinning} = Pitcrew.Pool.start_link([name: :bench_rtt_spin, spin_us: 100] ++ options)
    {:ok, sleeping} = Pitcrew.Pool.start_link([name: :bench_rtt_sleep, spin_us: 0] ++ options)

    port = Baseline.start(python, Path.join(@python_dir, "baseline_worker.py"))
    context = %{port: port, frame: frame_bytes(), trips: trips}

    for bench_case <- [:baseline, :pitcrew, :"pitcrew-spin", :"pitcrew-sleep"], do: measure(bench_case, context)
    results = for round <- 1..rounds, do: round(round, context)

    Baseline.stop(port)
    for pool <- [pool, spinning, sleeping], do: Pitcrew.Pool.stop(pool)
    report(results, context, rounds)
  end

  # The floors carry as many bytes each way as a call does, its length included.
  defp frame_bytes do
    id = "bench-rtt-frame"
    event = [:pitcrew, :call, :stop]
    :ok = Pitcrew.Telemetry.attach(id, event, &__MODULE__.handle_event/4, self())
    {:ok, @argument} = Pitcrew.call(:bench_rtt, "echo", [@argument])
    :ok = Pitcrew.Telemetry.detach(id)

    receive do
      {:bytes, out, back} -> 4 + max(out, back)
    end
  end

  def handle_event(_event, measurements, _metadata, pid) do
    send(pid, {:bytes, measurements.bytes_out, measurements.bytes_in})
  end

  defp round(number, context) do
    Map.new(Stats.turned(@cases, number), fn bench_case -> {bench_case, measure(bench_case, context)} end)
  end

  defp measure(:floor_same, context), do: floor("same", context)
  defp measure(:floor_cross, context), do: floor("cross", context)

  defp measure(:baseline, %{port: port, trips: trips}) do
    timed(trips, fn -> {:ok, @argument} = Baseline.call(port, "echo", [@argument]) end)
  end

  defp measure(:pitcrew, %{trips: trips}), do: timed(trips, fn -> call(:bench_rtt) end)
  defp measure(:"pitcrew-spin", %{trips: trips}), do: timed(trips, fn -> call(:bench_rtt_spin) end)
  defp measure(:"pitcrew-sleep", %{trips: trips}), do: timed(trips, fn -> call(:bench_rtt_sleep) end)

  # A caller whose mailbox is full of messages that it does not read.
  defp measure(:"pitcrew-mailbox", %{trips: trips}) do
    task =
      Task.async(fn ->
        for n <- 1..@waiting, do: send(self(), {:waiting, n})
        timed(trips, fn -> call(:bench_rtt) end)
      end)

    Task.await(task, :infinity)
  end

  defp call(pool), do: {:ok, @argument} = Pitcrew.call(pool, "echo", [@argument])

  defp floor(kind, context) do
    args = [kind, Integer.to_string(context.frame), Integer.to_string(context.trips)]
    {output, 0} = System.cmd(@floor, args)
    [p50, p99 | _cpus] = output |> String.split() |> Enum.map(&String.to_integer/1)
    %{p50: p50 / 1000, p99: p99 / 1000}
  end

  defp timed(trips, fun) do
    repeat(div(trips, 4), fun, [])
    :erlang.garbage_collect()
    durations = repeat(trips, fun, [])
    %{p50: Stats.quantile(durations, 0.5) / 1000, p99: Stats.quantile(durations, 0.99) / 1000}
  end

  defp repeat(0, _fun, durations), do: durations

  defp repeat(left, fun, durations) do
    start = System.monotonic_time(:nanosecond)
    fun.()
    stop = System.monotonic_time(:nanosecond)
    repeat(left - 1, fun, [stop - start | durations])
  end

  defp report(results, context, rounds) do
    IO.puts("""

    Round trip of a call: one caller, a map of 46 bytes, there and back.
    #{rounds} interleaved rounds of #{context.trips} trips; median of the rounds [their quartiles], times in µs.
    floor_same, floor_cross: C to C over a socketpair, #{context.frame} bytes, both ends on one processor or on two.
    baseline: an Elixir port with packet: 4, MessagePack in plain Elixir, Python's msgpack package.
    pitcrew-mailbox: #{@waiting} messages wait in the caller's mailbox. pitcrew-spin: both sides poll for longer
    than the default of 50 µs (spin_us: 100); pitcrew-sleep: neither polls (spin_us: 0).
    """)

    Table.print([["case", "p50", "p99", "x floor_cross", "x floor_same"] | Enum.map(@cases, &row(results, &1))])
    IO.puts("")
    Enum.each(@cases, &line(results, &1))
  end

  defp row(results, bench_case) do
    [
      Atom.to_string(bench_case),
      results |> spread(fn round -> round[bench_case].p50 end) |> Table.spread(1),
      results |> spread(fn round -> round[bench_case].p99 end) |> Table.spread(1),
      results |> spread(&ratio(&1, bench_case, :floor_cross)) |> Table.spread(2),
      results |> spread(&ratio(&1, bench_case, :floor_same)) |> Table.spread(2)
    ]
  end

  defp line(results, bench_case) do
    Table.line("rtt", Atom.to_string(bench_case),
      p50_us: middle(results, fn round -> round[bench_case].p50 end),
      p99_us: middle(results, fn round -> round[bench_case].p99 end),
      ratio_to_floor: middle(results, &ratio(&1, bench_case, :floor_cross)),
      ratio_to_floor_same: middle(results, &ratio(&1, bench_case, :floor_same))
    )
  end

  defp ratio(round, bench_case, floor), do: round[bench_case].p50 / round[floor].p50
end

Bench.Rtt.main(System.argv())
