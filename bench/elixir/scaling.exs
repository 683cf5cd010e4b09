for file <- ~w(stats table load), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Scaling do
  @moduledoc """
  Whether a call costs the same whatever the number of workers and of callers: processor time of the VM for one, of a small map, beside that
  of the smallest case of its row. And what idle workers and pools weigh, and what taking a free worker costs.
  """

  alias Bench.{Load, Stats, Table}
  import Bench.Stats, only: [middle: 2]

  @python_dir Path.expand("../python", __DIR__)
  @argument %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}
  @workers [1, 4, 16, 64]
  @callers [1, 16, 64, 256, 1024, 4096]
  @modes [{"depth-1", []}, {"pipeline-16", [pipeline: 16]}]

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, ms: :integer])
    rounds = Keyword.get(opts, :rounds, 5)
    ms = Keyword.get(opts, :ms, 500)

    checkout()
    memory()

    IO.puts("""

    Calls a second, and processor time of the VM in µs for a call of a small map; #{rounds} rounds of #{ms} ms, medians.
    x: the processor time beside that with the fewest callers of 16 and more, or the fewest workers of 4 and more: below, the VM's schedulers poll
    while they wait, which is counted.
    """)

    rows = for mode <- @modes, varied <- [:callers, :workers], do: vary(varied, mode, rounds, ms)
    Table.print([["case", "workers", "callers", "calls/s", "µs", "x"] | Enum.concat(rows)])
    IO.puts("")
  end

  defp vary(:callers, mode, rounds, ms), do: rows(for(n <- @callers, do: {4, n}), mode, rounds, ms, {4, 16}, "callers")
  defp vary(:workers, mode, rounds, ms), do: rows(for(n <- @workers, do: {n, 64}), mode, rounds, ms, {4, 64}, "workers")

  defp rows(cases, {name, options}, rounds, ms, base, what) do
    sizes = cases |> Enum.map(&elem(&1, 0)) |> Enum.uniq()
    pools = Map.new(sizes, fn size -> {size, start(:"bench_scaling_#{name}_#{what}_#{size}", size, options)} end)
    results = for _ <- 1..rounds, do: Map.new(cases, fn {size, n} = a_case -> {a_case, measure(pools[size], n, ms)} end)
    for {_, pool} <- pools, do: :ok = Pitcrew.Pool.stop(pool)

    for {size, n} = a_case <- cases do
      rate = middle(results, & &1[a_case].calls_per_s)
      cost = middle(results, & &1[a_case].vm_us)
      ratio = middle(results, &(&1[a_case].vm_us / &1[base].vm_us))
      Table.line("scaling", "#{name} workers=#{size} callers=#{n}", calls_per_s: rate, vm_us: cost, ratio: ratio)
      [name, "#{size}", "#{n}", Table.number(rate, 0), Table.number(cost, 2), Table.number(ratio, 2)]
    end
  end

  defp start(name, size, options) do
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    common = [
      name: name,
      tools: ["rtt_tools"],
      python: python,
      cd: @python_dir,
      size: size,
      checkout_timeout: :infinity
    ]

    {:ok, _} = Pitcrew.Pool.start_link(common ++ options)
    name
  end

  defp measure(pool, callers, ms) do
    Load.run(callers, ms, [], fn -> nil end, fn _ -> {:ok, @argument} = Pitcrew.call(pool, "echo", [@argument]) end)
  end

  # ---- Taking a free worker and giving it back: two native calls and no message.

  @turns 100_000

  defp checkout do
    pool = start(:bench_scaling_checkout, 1, [])
    slots = pool |> entry() |> elem(4)

    us =
      for _ <- 1..7 do
        {us, :ok} = :timer.tc(fn -> checkout(slots, @turns) end)
        us / @turns
      end

    {:message_queue_len, 0} = Process.info(self(), :message_queue_len)
    :ok = Pitcrew.Pool.stop(pool)
    IO.puts("\nTaking a free worker and giving it back, medians of 7 rounds of #{@turns}; no message is sent.\n")
    Table.line("checkout", "no-wait", us: Stats.median(us))
  end

  defp checkout(_slots, 0), do: :ok

  defp checkout(slots, left) do
    {:ok, channel, _} = :pitcrew_nif.claim(slots)
    :ok = :pitcrew_nif.checkin(channel)

    # As between any two calls: beginning and ending to watch a process are signals to it, which it handles when it receives.
    receive(do: (:never -> :ok), after: (0 -> :ok))
    checkout(slots, left - 1)
  end

  defp entry(pool) do
    {:ok, entry} = :pitcrew_pools.find(pool)
    entry
  end

  # ---- What is idle

  defp memory do
    pool = start(:bench_scaling_memory, 16, [])
    info = Pitcrew.info(pool)
    :erlang.garbage_collect()
    workers = for worker <- info.workers, do: pss_kb(worker.os_pid)
    others = Enum.sum(for pid <- [info.guard, info.port, info.zygote], do: pss_kb(pid))
    :ok = Pitcrew.Pool.stop(pool)

    [none, one] = for size <- [1, 17], do: vm_kb(size)
    worker_vm = (one - none) / 16

    IO.puts("""

    Memory in KiB. A worker: its share of what processes have mapped (PSS), with 15 others like it, and what the VM keeps for it.
    A pool: guard, port and zygote (PSS), and the VM's part, without workers.
    """)

    Table.line("memory", "worker", pss_kib: Stats.median(workers), vm_kib: worker_vm)
    Table.line("memory", "pool", pss_kib: others, vm_kib: none - worker_vm)
  end

  defp vm_kb(size) do
    before = settled()
    pool = start(:bench_scaling_vm, size, [])
    later = settled()
    :ok = Pitcrew.Pool.stop(pool)
    (later - before) / 1024
  end

  defp settled do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    :erlang.memory(:total)
  end

  defp pss_kb(pid) do
    [_, kb] = Regex.run(~r/^Pss:\s+(\d+) kB/m, File.read!("/proc/#{pid}/smaps_rollup"))
    String.to_integer(kb)
  end
end

Bench.Scaling.main(System.argv())
