for file <- ~w(stats table), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Startup do
  @moduledoc """
  How long until N Python processes with NumPy imported have each answered once: a pool of N workers
  against N interpreters of their own, started at once. Both sides get the same thread limits.
  """

  alias Bench.{Stats, Table}

  @python_dir Path.expand("../python", __DIR__)
  @workers [1, 4, 16]
  @count 1_000
  @sum div(@count * (@count - 1), 2)
  @limits ~w(OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS)

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")
    event = [:pitcrew, :worker, :start]
    :ok = Pitcrew.Telemetry.attach("bench-startup", event, &__MODULE__.handle_event/4, self())

    # One of each, so that files are in the page cache and Python's bytecode is written.
    {spawn(python, 1), pitcrew(python, 1)}

    results =
      for round <- 1..rounds, workers <- @workers do
        {workers, measure(python, workers, rem(round, 2))}
      end

    report(Enum.group_by(results, &elem(&1, 0), &elem(&1, 1)), rounds)
  end

  # Every other round the other side goes first.
  defp measure(python, workers, 0) do
    spawned = spawn(python, workers)
    Map.merge(pitcrew(python, workers), spawned)
  end

  defp measure(python, workers, 1) do
    pool = pitcrew(python, workers)
    Map.merge(spawn(python, workers), pool)
  end

  # ---- Separate interpreters

  defp spawn(python, workers) do
    start = now()
    ports = for _ <- 1..workers, do: open(python)
    pids = Enum.map(ports, &answer/1)
    spawned = now() - start
    ^workers = pids |> Enum.uniq() |> length()
    Enum.each(ports, &ended/1)
    %{spawn: spawned}
  end

  defp open(python) do
    env = for name <- @limits, do: {String.to_charlist(name), '1'}
    args = [Path.join(@python_dir, "spawn_worker.py")]
    port = Port.open({:spawn_executable, python}, [:binary, :exit_status, line: 80, args: args, env: env])
    Port.command(port, "#{@count}\n")
    port
  end

  defp answer(port) do
    receive do
      {^port, {:data, {:eol, line}}} ->
        [@sum, pid] = line |> String.split() |> Enum.map(&String.to_integer/1)
        pid
    end
  end

  defp ended(port) do
    receive do
      {^port, {:exit_status, 0}} -> :ok
    end
  end

  # ---- A pool

  defp pitcrew(python, workers) do
    start = now()

    {:ok, pool} =
      Pitcrew.Pool.start_link(
        name: :bench_startup,
        tools: ["startup_tools"],
        python: python,
        cd: @python_dir,
        size: workers,
        start: :fork
      )

    pids = 1..workers |> Enum.map(fn _ -> Task.async(fn -> call(workers) end) end) |> Task.await_many()
    stop = now()
    ^workers = pids |> Enum.uniq() |> length()
    forked = Enum.min(for _ <- 1..workers, do: fork_time())
    Pitcrew.Pool.stop(pool)
    %{pitcrew: stop - start, forks: stop - forked}
  end

  defp call(workers) do
    {:ok, [@sum, pid]} = Pitcrew.call(:bench_startup, "answer", [@count, workers])
    pid
  end

  defp fork_time do
    receive do
      {:forked, time} -> time
    end
  end

  # A worker's start event comes when it is ready and tells how long ago it was forked.
  def handle_event(_event, %{duration: duration}, _metadata, pid) do
    send(pid, {:forked, now() - System.convert_time_unit(duration, :native, :nanosecond)})
  end

  defp now, do: System.monotonic_time(:nanosecond)

  # ---- Report

  defp report(results, rounds) do
    IO.puts("""

    Time until N Python processes with NumPy imported have each answered a call, in ms.
    #{rounds} interleaved rounds; median of the rounds [their quartiles].

    separate   N interpreters started at once, with the same imports and thread limits
    pitcrew    a pool of N workers, from its start on: the zygote and its imports included
    forks      the part of it from the first fork on
    faster     how many times less than separate; ratio_to_spawn below is the same number
    """)

    Table.print([
      ["workers", "separate", "pitcrew", "faster", "forks", "faster"] | Enum.map(@workers, &row(results, &1))
    ])

    IO.puts("")
    Enum.each(@workers, &line(results, &1))
  end

  defp row(results, workers) do
    rounds = results[workers]

    [
      Integer.to_string(workers),
      rounds |> spread(&ms(&1.spawn)) |> Table.spread(0),
      rounds |> spread(&ms(&1.pitcrew)) |> Table.spread(0),
      rounds |> spread(&(&1.spawn / &1.pitcrew)) |> Table.spread(1),
      rounds |> spread(&ms(&1.forks)) |> Table.spread(0),
      rounds |> spread(&(&1.spawn / &1.forks)) |> Table.spread(1)
    ]
  end

  defp line(results, workers) do
    rounds = results[workers]

    Table.line("startup", Integer.to_string(workers),
      ms: middle(rounds, &ms(&1.pitcrew)),
      ratio_to_spawn: middle(rounds, &(&1.spawn / &1.pitcrew)),
      spawn_ms: middle(rounds, &ms(&1.spawn)),
      forks_ms: middle(rounds, &ms(&1.forks)),
      forks_ratio_to_spawn: middle(rounds, &(&1.spawn / &1.forks))
    )
  end

  defp ms(nanoseconds), do: nanoseconds / 1.0e6
  defp spread(rounds, fun), do: rounds |> Enum.map(fun) |> Stats.quartiles()
  defp middle(rounds, fun), do: rounds |> Enum.map(fun) |> Stats.median()
end

Bench.Startup.main(System.argv())
