for file <- ~w(stats table separate), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Startup do
  @moduledoc """
  How long until N Python processes with NumPy imported have each answered once: a pool of N workers
  against N interpreters of their own, started at once. Both sides get the same thread limits.
  """

  alias Bench.{Separate, Stats, Table}

  @python_dir Path.expand("../python", __DIR__)
  @workers [1, 4, 16, 64]
  @count 1_000
  @sum div(@count * (@count - 1), 2)

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")
    event = [:pitcrew, :worker, :start]
    :ok = Pitcrew.Telemetry.attach("bench-startup", event, &__MODULE__.handle_event/4, self())

    # One of each, so that files are in the page cache and Python's bytecode is written.
    {spawn(python, 1), pitcrew(python, 1)}

    results =
      for round <- 1..rounds do
        Map.new(@workers, fn workers -> {workers, measure(python, workers, rem(round, 2))} end)
      end

    report(results, rounds)
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
    ports = for _ <- 1..workers, do: Separate.open(python)
    for port <- ports, do: Separate.ask(port, @count)

    pids =
      for port <- ports do
        [@sum, pid] = Separate.answer(port)
        pid
      end

    spawned = now() - start
    ^workers = pids |> Enum.uniq() |> length()
    Separate.close(ports)
    %{spawn: spawned}
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
    workers    the workers of a pool that has imported NumPy, from the first fork on: ms= below
    over one   how much more than for one worker
    faster     how many times less than separate: ratio_to_spawn= below
    pool       the whole pool, from nothing: the zygote and its imports included; from_nothing_ms= below, and so on
    """)

    Table.print([
      ["workers", "separate", "workers", "over one", "faster", "pool", "over one", "faster"]
      | Enum.map(@workers, &row(results, &1))
    ])

    IO.puts("")
    Enum.each(@workers, &line(results, &1))
  end

  defp row(results, workers) do
    spread = fn decimals, fun -> results |> Enum.map(fun) |> Stats.quartiles() |> Table.spread(decimals) end

    [
      Integer.to_string(workers),
      spread.(0, &ms(&1[workers].spawn)),
      spread.(1, &ms(&1[workers].forks)),
      spread.(1, &over_one(&1, workers, :forks)),
      spread.(1, &faster(&1, workers, :forks)),
      spread.(0, &ms(&1[workers].pitcrew)),
      spread.(0, &over_one(&1, workers, :pitcrew)),
      spread.(1, &faster(&1, workers, :pitcrew))
    ]
  end

  defp line(results, workers) do
    middle = fn fun -> results |> Enum.map(fun) |> Stats.median() end

    Table.line("startup", Integer.to_string(workers),
      ms: middle.(&ms(&1[workers].forks)),
      over_one_ms: middle.(&over_one(&1, workers, :forks)),
      ratio_to_spawn: middle.(&faster(&1, workers, :forks)),
      from_nothing_ms: middle.(&ms(&1[workers].pitcrew)),
      from_nothing_over_one_ms: middle.(&over_one(&1, workers, :pitcrew)),
      from_nothing_ratio_to_spawn: middle.(&faster(&1, workers, :pitcrew)),
      spawn_ms: middle.(&ms(&1[workers].spawn))
    )
  end

  defp over_one(round, workers, which), do: ms(round[workers][which] - round[1][which])
  defp faster(round, workers, which), do: round[workers].spawn / round[workers][which]
  defp ms(nanoseconds), do: nanoseconds / 1.0e6
end

Bench.Startup.main(System.argv())
