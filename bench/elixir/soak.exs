for file <- ~w(stats table), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Soak do
  @moduledoc """
  Calls of every kind for a long time, and what grows by that: memory of this VM, of workers that are never replaced, of zygotes and of port
  programs, for a million calls. Ends with status 1 when one of them grows by more than the limit.

  Three pools: one that serves a call at a time, one with pipelined workers, and one whose workers die, are killed at deadlines and have
  callers who die. Growth is the median of the slopes between samples of the later two thirds of the time (Theil and Sen): allocators
  take memory in steps, and some only once. The VM's goes up and down by some MiB all the time, so a run of a few minutes says little about it.
  """

  alias Bench.Table

  @python_dir Path.expand("../python", __DIR__)
  @limit_mib 1.0
  @samples 120
  # A cancelled tool of a pipelined worker has the grace to end, or takes the worker along: much, for machines that are busy with other things.
  @pools [
    plain: [size: 2],
    pipelined: [size: 2, pipeline: 8, grace: 30_000],
    churning: [size: 2, grace: 50, retry: 1]
  ]
  # Callers of each, and how often something happens that costs a worker.
  @callers 4
  @losses_per_s 10

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [minutes: :float])
    seconds = Keyword.get(opts, :minutes, 30.0) * 60
    :logger.set_primary_config(:level, :none)
    for {name, options} <- @pools, do: start(name, options)
    lost = :ets.new(:lost, [:public, :bag])
    :ok = Pitcrew.Telemetry.attach("soak", [:pitcrew, :worker, :stop], &__MODULE__.lost/4, lost)
    calls = :counters.new(1, [:write_concurrency])
    callers = for {pool, _} <- @pools, n <- 1..@callers, do: start_caller(pool, n, calls)
    callers = [start_losses(calls) | callers]
    samples = for _ <- 1..@samples, do: sample(seconds / @samples, calls)
    for pid <- callers, do: stop(pid)
    :ok = Pitcrew.Telemetry.detach("soak")
    for {name, _} <- @pools, do: :ok = Pitcrew.Pool.stop(name)
    report(samples, seconds, :ets.tab2list(lost))
  end

  def lost(_, _, %{pool: pool, reason: reason}, lost) when pool != :churning, do: :ets.insert(lost, {pool, reason})
  def lost(_, _, _, _), do: :ok

  defp start(name, options) do
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")
    common = [name: name, tools: ["soak_tools"], python: python, cd: @python_dir, checkout_timeout: 60_000]
    {:ok, _} = Pitcrew.Pool.start_link(common ++ options)
  end

  # ---- Calls

  defp start_caller(pool, seed, calls) do
    spawn_link(fn ->
      :rand.seed(:exsss, {seed, :erlang.phash2(pool), 0})
      forever(pool, calls)
    end)
  end

  defp forever(pool, calls) do
    receive do
      :stop -> :ok
    after
      0 ->
        call(pool, :rand.uniform(1000))
        :counters.add(calls, 1, 1)
        forever(pool, calls)
    end
  end

  # Mostly small ones, as in life; a worker of the pool that loses them may be lost under any.
  defp call(pool, n) when n <= 500,
    do: same(pool, %{"id" => n, "name" => "pitcrew", "score" => n / 7, "ok" => true}, [])

  defp call(pool, n) when n <= 700, do: same(pool, Enum.to_list(1..rem(n, 60)//1), [])
  defp call(pool, n) when n <= 800, do: same(pool, %{"n" => n, "list" => [1.5, nil, "ü"]}, protocol: :json)
  defp call(pool, n) when n <= 850, do: same(pool, {:tuple, Date.utc_today(), Integer.pow(2, n)}, [])

  defp call(pool, n) when n <= 880,
    do: answered(pool, Pitcrew.call(pool, "shaped", {[n], %{key: n}}), &match?([[^n], %{}], &1))

  defp call(pool, n) when n <= 900, do: answered(pool, Pitcrew.call(pool, "made", [n]), &(map_size(&1) == n))
  defp call(pool, n) when n <= 920, do: same(pool, String.duplicate("x", n * 70), [])
  defp call(pool, n) when n <= 922, do: same(pool, :binary.copy("y", 1_000_000), [])
  defp call(pool, n) when n <= 960, do: failed(pool, Pitcrew.call(pool, "fail", ["no luck"]), :tool_error)
  defp call(pool, n) when n <= 970, do: failed(pool, Pitcrew.call(pool, "nothing", []), :unknown_tool)

  defp call(pool, n) when n <= 980,
    do: failed(pool, Pitcrew.call(pool, "echo", [self(), make_ref(), n]), :bad_arguments)

  defp call(pool, n) when n <= 985, do: answered(pool, Pitcrew.call(pool, "say", ["line #{n}"]), &is_nil/1)
  defp call(pool, n), do: answered(pool, Pitcrew.await(Pitcrew.async(pool, "echo", [n])), &(&1 == n))

  defp same(pool, value, options), do: answered(pool, Pitcrew.call(pool, "echo", [value], options), &(&1 == value))

  defp answered(pool, {:ok, value}, right?) do
    right?.(value) || raise "a wrong answer of #{pool}: #{inspect(value)}"
  end

  defp answered(:churning, {:error, %{kind: :worker_exit}}, _), do: :ok

  defp failed(_, {:error, %{kind: kind}}, kind), do: :ok
  defp failed(:churning, {:error, %{kind: :worker_exit}}, _), do: :ok

  # ---- Losses: a deadline, a caller that is killed, a worker that leaves; of the pipelined pool calls that are cancelled

  defp start_losses(calls), do: spawn_link(fn -> lose_forever(calls, 0) end)

  defp lose_forever(calls, n) do
    receive do
      :stop -> :ok
    after
      div(1000, @losses_per_s) ->
        lose(rem(n, 4))
        :counters.add(calls, 1, 1)
        lose_forever(calls, n + 1)
    end
  end

  defp lose(0) do
    {:error, %{kind: kind}} = Pitcrew.call(:churning, "wait", [60], timeout: 20)
    true = kind in [:timeout, :worker_exit]
  end

  defp lose(1), do: {:error, %{kind: :worker_exit}} = Pitcrew.call(:churning, "leave", [3])

  defp lose(2) do
    {pid, ref} = spawn_monitor(fn -> Pitcrew.call(:churning, "wait", [60]) end)
    receive(do: (:never -> :ok), after: (10 -> :ok))
    Process.exit(pid, :kill)
    receive(do: ({:DOWN, ^ref, _, _, _} -> :ok))
  end

  defp lose(3) do
    call = Pitcrew.async(:pipelined, "wait", [60])
    receive(do: (:never -> :ok), after: (10 -> :ok))
    Pitcrew.cancel(call)
  end

  defp stop(pid) do
    ref = Process.monitor(pid)
    send(pid, :stop)
    receive(do: ({:DOWN, ^ref, _, _, _} -> :ok))
  end

  # ---- Memory, in bytes

  defp sample(seconds, calls) do
    receive(do: (:never -> :ok), after: (round(seconds * 1000) -> :ok))
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    infos = for {name, _} <- @pools, do: {name, Pitcrew.info(name)}
    steady = for {name, info} <- infos, name != :churning, worker <- info.workers, do: worker.os_pid

    %{
      calls: :counters.get(calls, 1),
      vm_terms: :erlang.memory(:total),
      vm: private(String.to_integer(System.pid())),
      workers: sum(steady),
      zygotes: sum(for {_, info} <- infos, do: info.zygote),
      ports: sum(for {_, info} <- infos, pid <- [info.guard, info.port], do: pid)
    }
  end

  defp sum(pids), do: pids |> Enum.map(&private/1) |> Enum.sum()

  # What is this process's own: written since it was forked, or its own from the start.
  defp private(pid) do
    text = File.read!("/proc/#{pid}/smaps_rollup")

    for [_, kb] <- Regex.scan(~r/^Private_(?:Clean|Dirty): +(\d+)/m, text),
        reduce: 0,
        do: (sum -> sum + String.to_integer(kb) * 1024)
  end

  defp report(samples, seconds, lost) do
    [first | _] = settled = Enum.drop(samples, div(length(samples), 3))
    last = List.last(settled)
    found = for what <- [:vm_terms, :vm, :workers, :zygotes, :ports], do: {what, slope(settled, what)}

    IO.puts("""

    #{last.calls} calls in #{Table.number(seconds / 60, 1)} minutes. Memory of its own that each had at a third of the time and at the end, in MiB, and the
    growth for a million calls in MiB, at most #{@limit_mib}. workers: those that are never replaced, together.
    """)

    rows = for {what, growth} <- found, do: ["#{what}", mib(first[what]), mib(last[what]), Table.number(growth, 3)]
    Table.print([["memory", "before", "after", "growth"] | rows])
    IO.puts("")
    for {what, growth} <- found, do: Table.line("soak", "#{what}", mib_per_million_calls: growth, calls: last.calls)
    over = for {what, growth} <- found, growth > @limit_mib, do: what

    if over != [],
      do: IO.puts(:stderr, "soak: more than #{@limit_mib} MiB for a million calls: #{Enum.join(over, ", ")}")

    if lost != [], do: IO.puts(:stderr, "soak: workers died that nobody killed: #{inspect(lost)}")
    if over ++ lost != [], do: System.halt(1)
  end

  defp mib(bytes), do: Table.number(bytes / 1_048_576, 1)

  # Mebibytes for a million calls.
  defp slope(samples, what) do
    slopes = for a <- samples, b <- samples, b.calls > a.calls, do: (b[what] - a[what]) / (b.calls - a.calls)
    Bench.Stats.median(slopes) * 1_000_000 / 1_048_576
  end
end

Bench.Soak.main(System.argv())
