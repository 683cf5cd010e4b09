for file <- ~w(stats table msgpack baseline load), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Throughput do
  @moduledoc """
  Calls a second: many callers, a small map there and back, beside C to C with as many processes and beside a hand-rolled bridge with as
  many ports as Pitcrew has workers, each with a server in front. In one run; every round measures every case, in turn. The number of workers is
  the best of a few, tried beforehand. Afterwards, not timed, the system calls of a call, counted by strace where there is one.
  """

  alias Bench.{Baseline, Load, Stats, Table}
  import Bench.Stats, only: [middle: 2, spread: 2]

  @python_dir Path.expand("../python", __DIR__)
  @floor Path.expand("../../_build/bench/floor", __DIR__)
  @argument %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}
  @frame_bytes 65
  @workers [1, 2, 3, 4]
  # Name, callers, options of the pool.
  @cases [
    {"1-caller", 1, []},
    {"depth-1", 16, []},
    {"16-callers", 16, [pipeline: 16]},
    {"64-callers", 64, [pipeline: 16]}
  ]

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, ms: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    ms = Keyword.get(opts, :ms, 1_000)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    cases = for {name, callers, options} <- @cases, do: best(name, callers, options, python, div(ms, 2))
    results = for round <- 1..rounds, do: round(round, cases, ms)

    IO.puts("""

    Calls a second: a map of 46 bytes, there and back. depth-1: 16 callers, one call at a time in each worker; 16-callers, 64-callers: pipeline: 16;
    1-caller: one caller. #{rounds} interleaved rounds of #{ms} ms; median of the rounds [their quartiles].
    C to C: as many pairs of processes as there are workers. baseline: as many hand-rolled ports, a server in front of each.
    vm, worker: processor time in µs a call; the VM's includes what its schedulers poll while they are idle.
    The number of workers is the best of #{Enum.join(@workers, ", ")}.
    """)

    head = ["case", "workers", "calls/s", "x baseline", "x C to C", "vm", "worker"]
    Table.print([head | Enum.map(cases, &row(results, &1))])
    IO.puts("")
    for a_case <- cases, do: line(results, a_case)
    if System.find_executable("strace"), do: count_system_calls(cases)
  end

  # A pool for each number of workers; the best one stays.
  defp best(name, callers, options, python, ms) do
    tried =
      for size <- @workers do
        pool = :"bench_throughput_#{name}_#{size}"
        common = [name: pool, tools: ["rtt_tools"], python: python, cd: @python_dir, size: size]
        {:ok, _} = Pitcrew.Pool.start_link(common ++ [checkout_timeout: :infinity] ++ options)
        found = for _ <- 1..3, do: pitcrew(pool, callers, ms).calls_per_s
        {Stats.median(found), pool, size}
      end

    {_, pool, size} = Enum.max(tried)
    for {_, other, _} <- tried, other != pool, do: :ok = Pitcrew.Pool.stop(other)
    %{name: name, callers: callers, pool: pool, size: size, servers: servers(python, size)}
  end

  defp servers(python, size) do
    for _ <- 1..size do
      {:ok, server} = Baseline.Server.start_link(python, Path.join(@python_dir, "baseline_worker.py"))
      server
    end
  end

  defp round(number, cases, ms) do
    Map.new(Stats.turned(cases, number), fn a_case ->
      {a_case.name,
       %{
         pitcrew: pitcrew(a_case.pool, a_case.callers, ms),
         baseline: baseline(a_case.servers, a_case.callers, ms).calls_per_s,
         c: floor(a_case.size, ms)
       }}
    end)
  end

  defp pitcrew(pool, callers, ms) do
    Load.run(callers, ms, Load.os_pids(pool), fn -> nil end, fn _ ->
      {:ok, @argument} = Pitcrew.call(pool, "echo", [@argument])
    end)
  end

  defp baseline(servers, callers, ms) do
    ring = List.to_tuple(servers)
    turn = :counters.new(1, [])

    start = fn ->
      :counters.add(turn, 1, 1)
      elem(ring, rem(:counters.get(turn, 1), tuple_size(ring)))
    end

    Load.run(callers, ms, [], start, fn server ->
      {:ok, @argument} = Baseline.Server.call(server, "echo", [@argument])
    end)
  end

  # About as long as the others.
  defp floor(pairs, ms) do
    trips = max(div(ms * 20, pairs), 100)
    {output, 0} = System.cmd(@floor, ["many", "#{@frame_bytes}", "#{trips}", "#{pairs}"])
    output |> String.trim() |> String.to_integer()
  end

  defp row(results, %{name: name, size: size}) do
    [
      name,
      "#{size}",
      results |> spread(& &1[name].pitcrew.calls_per_s) |> Table.spread(0),
      results |> spread(&(&1[name].pitcrew.calls_per_s / &1[name].baseline)) |> Table.spread(1),
      results |> spread(&(&1[name].pitcrew.calls_per_s / &1[name].c)) |> Table.spread(2),
      results |> middle(& &1[name].pitcrew.vm_us) |> Table.number(1),
      results |> middle(& &1[name].pitcrew.worker_us) |> Table.number(1)
    ]
  end

  defp line(results, %{name: name, size: size}) do
    Table.line("throughput", "#{name} workers=#{size}",
      calls_per_s: middle(results, & &1[name].pitcrew.calls_per_s),
      ratio_to_baseline: middle(results, &(&1[name].pitcrew.calls_per_s / &1[name].baseline)),
      ratio_to_c: middle(results, &(&1[name].pitcrew.calls_per_s / &1[name].c)),
      vm_us: middle(results, & &1[name].pitcrew.vm_us),
      worker_us: middle(results, & &1[name].pitcrew.worker_us)
    )
  end

  # ---- System calls

  defp count_system_calls(cases) do
    IO.puts("""

    System calls a call, counted by strace, under which everything is slower and less is done at once. Those above 0.05.
    """)

    for %{name: name, pool: pool, callers: callers} <- cases do
      vm = traced(pool, callers, [System.pid()])
      worker = traced(pool, callers, Load.os_pids(pool))
      IO.puts("  #{name}: VM #{shown(vm)}; worker #{shown(worker)}")
      total = fn counted -> counted |> Map.values() |> Enum.sum() end
      Table.line("throughput", "#{name}-syscalls", vm_per_call: total.(vm), worker_per_call: total.(worker))
    end
  end

  defp shown(counted) do
    counted
    |> Enum.filter(fn {_, n} -> n > 0.05 end)
    |> Enum.sort_by(fn {_, n} -> -n end)
    |> Enum.map_join(", ", fn {name, n} -> "#{name} #{Table.number(n, 2)}" end)
  end

  # Counts a little longer than strace does: what it costs to attach is not in the calls.
  defp traced(pool, callers, pids) do
    file = Path.join(System.tmp_dir!(), "pitcrew-bench-strace-#{System.pid()}")
    attach = Enum.flat_map(pids, &["-p", "#{&1}"])
    args = ["-s", "INT", "1", "strace", "-f", "-c", "-q", "-o", file] ++ attach

    task = Task.async(fn -> System.cmd("timeout", args, stderr_to_stdout: true) end)
    %{calls: calls} = pitcrew(pool, callers, 800)
    Task.await(task, :infinity)
    counted = parse(File.read!(file), calls * 1.2)
    File.rm(file)
    counted
  end

  # % time, seconds, usecs/call, calls, errors if any, name.
  defp parse(text, calls) do
    for line <- String.split(text, "\n"),
        fields = [share | _] <- [String.split(line)],
        share =~ ~r/^[0-9.]+$/,
        List.last(fields) != "total",
        into: %{},
        do: {List.last(fields), String.to_integer(Enum.at(fields, 3)) / calls}
  end
end

Bench.Throughput.main(System.argv())
