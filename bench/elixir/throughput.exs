for file <- ~w(stats table msgpack baseline), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Throughput do
  @moduledoc """
  Calls a second: many callers, a small map there and back, beside C to C with as many processes and beside a hand-rolled bridge with as
  many ports as Pitcrew has workers. In one run; every round measures every case, in turn. The number of workers is the best of a few,
  tried beforehand.
  """

  alias Bench.{Baseline, Stats, Table}

  @python_dir Path.expand("../python", __DIR__)
  @floor Path.expand("../../_build/bench/floor", __DIR__)
  @argument %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}
  @frame_bytes 65
  @workers [1, 2, 3, 4]

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, ms: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    ms = Keyword.get(opts, :ms, 1_000)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    for spin <- [0, 50], size <- @workers do
      options = [tools: ["rtt_tools"], python: python, cd: @python_dir, size: size, spin_us: spin]
      {:ok, _} = Pitcrew.Pool.start_link([name: name(spin, size), checkout_timeout: :infinity] ++ options)
    end

    cases =
      for spin <- [0, 50], callers <- [1, 16, 64] do
        best = Enum.max_by(@workers, fn size -> pitcrew(name(spin, size), callers, div(ms, 2)) end)
        {case_name(spin, callers), spin, callers, best}
      end

    results = for round <- 1..rounds, do: round(round, cases, python, ms)

    IO.puts("""

    Calls a second: a map of 46 bytes, there and back, one call at a time in each worker. #{rounds} interleaved rounds of #{ms} ms;
    median of the rounds [their quartiles]. C to C: as many pairs of processes as there are workers. baseline: as many hand-rolled
    ports. The number of workers is the best of #{Enum.join(@workers, ", ")}.
    """)

    rows =
      for {label, _, _, size} <- cases do
        [
          label,
          "#{size}",
          results |> spread(& &1[label]) |> Table.spread(0),
          results |> spread(&(&1[label] / &1[{:baseline, label}])) |> Table.spread(2),
          results |> spread(&(&1[label] / &1[{:c, label}])) |> Table.spread(2)
        ]
      end

    Table.print([["case", "workers", "calls/s", "x baseline", "x C to C"] | rows])
    IO.puts("")

    for {label, _, _, size} <- cases do
      Table.line("throughput", "#{label} workers=#{size}",
        calls_per_s: middle(results, & &1[label]),
        ratio_to_baseline: middle(results, &(&1[label] / &1[{:baseline, label}])),
        ratio_to_c: middle(results, &(&1[label] / &1[{:c, label}]))
      )
    end
  end

  defp case_name(0, callers), do: "#{callers}-callers"
  defp case_name(_, callers), do: "#{callers}-callers-spin"

  defp name(spin, size), do: :"bench_throughput_#{spin}_#{size}"

  defp round(number, cases, python, ms) do
    {head, tail} = Enum.split(cases, rem(number, length(cases)))

    for {label, spin, callers, size} <- tail ++ head, reduce: %{} do
      results ->
        Map.merge(results, %{
          label => pitcrew(name(spin, size), callers, ms),
          {:baseline, label} => baseline(python, callers, size, ms),
          {:c, label} => floor(size, ms)
        })
    end
  end

  defp pitcrew(pool, callers, ms) do
    calls_per_s(callers, ms, fn -> nil end, fn _ -> {:ok, @argument} = Pitcrew.call(pool, "echo", [@argument]) end)
  end

  # A port belongs to one process, so callers beyond the ports would need a server between; without one, fewer of them call.
  defp baseline(python, callers, size, ms) do
    start = fn -> Baseline.start(python, Path.join(@python_dir, "baseline_worker.py")) end

    calls_per_s(min(callers, size), ms, start, fn port ->
      {:ok, @argument} = Baseline.call(port, "echo", [@argument])
    end)
  end

  defp calls_per_s(callers, ms, start, call) do
    parent = self()
    counts = :counters.new(callers, [:write_concurrency])

    pids =
      for n <- 1..callers do
        spawn_link(fn ->
          state = start.()
          call.(state)
          send(parent, {:ready, self()})
          receive do: (:go -> forever(call, state, counts, n))
        end)
      end

    for pid <- pids, do: receive(do: ({:ready, ^pid} -> :ok))
    for pid <- pids, do: send(pid, :go)
    before = total(counts, callers)
    {us, :ok} = :timer.tc(fn -> receive(do: (:never -> :ok), after: (ms -> :ok)) end)
    done = total(counts, callers) - before
    for pid <- pids, do: send(pid, :stop)
    for pid <- pids, do: stop(pid)
    done * 1_000_000 / us
  end

  # A caller stops between two calls: one that is killed in a call takes its worker along.
  defp forever(call, state, counts, n) do
    receive do
      :stop -> :ok
    after
      0 ->
        call.(state)
        :counters.add(counts, n, 1)
        forever(call, state, counts, n)
    end
  end

  defp stop(pid) do
    ref = Process.monitor(pid)
    receive(do: ({:DOWN, ^ref, _, _, _} -> :ok))
  end

  defp total(counts, callers), do: Enum.sum(for n <- 1..callers, do: :counters.get(counts, n))

  # About as long as the others.
  defp floor(pairs, ms) do
    trips = max(div(ms * 20, pairs), 100)
    {output, 0} = System.cmd(@floor, ["many", "#{@frame_bytes}", "#{trips}", "#{pairs}"])
    output |> String.trim() |> String.to_integer()
  end

  defp spread(results, fun), do: results |> Enum.map(fun) |> Stats.quartiles()
  defp middle(results, fun), do: results |> Enum.map(fun) |> Stats.median()
end

Bench.Throughput.main(System.argv())
