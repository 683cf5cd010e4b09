for file <- ~w(stats table), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Recovery do
  @moduledoc """
  How long a pool whose workers have NumPy imported is without a worker: after a SIGKILL, until another one can be
  called in its place; and after a call that is stuck in C and holds the GIL, from its start until the next call has been
  answered, with a timeout of 100 ms and a grace of 100 ms.
  """

  alias Bench.{Stats, Table}

  @python_dir Path.expand("../python", __DIR__)
  @timeout 100
  @grace 100

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [kills: :integer, stuck: :integer])
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")
    options = [tools: ["startup_tools"], python: python, cd: @python_dir, start: :fork, grace: @grace]
    event = [:pitcrew, :worker, :start]
    :ok = Pitcrew.Telemetry.attach("bench-recovery", event, &__MODULE__.handle_event/4, self())
    # Every one of these deaths is a line in the log.
    :ok = :logger.set_primary_config(:level, :none)

    results = %{
      "kill" => kill(options, Keyword.get(opts, :kills, 300)),
      "stuck-in-c" => stuck(options, Keyword.get(opts, :stuck, 50))
    }

    report(results)
  end

  # A worker that is idle among four. Whoever kills is in a pool of his own, so no process is started for it.
  defp kill(options, times) do
    {:ok, killer} = Pitcrew.Pool.start_link([name: :bench_killer, size: 1] ++ options)
    {:ok, pool} = Pitcrew.Pool.start_link([name: :bench_recovery, size: 4] ++ options)
    flush()

    durations =
      for _ <- 1..times do
        # A worker that has been called did not die of its start, after which there would be a rest.
        {:ok, worker} = Pitcrew.call(:bench_recovery, "pid")
        start = now()
        {:ok, nil} = Pitcrew.call(:bench_killer, "kill", [worker])

        receive do
          {:started, time} -> time - start
        end
      end

    for name <- [pool, killer], do: :ok = Pitcrew.Pool.stop(name)
    durations
  end

  defp stuck(options, times) do
    {:ok, pool} = Pitcrew.Pool.start_link([name: :bench_recovery, size: 1] ++ options)

    durations =
      for _ <- 1..times do
        start = now()
        {:error, %{kind: :timeout}} = Pitcrew.call(:bench_recovery, "stick_in_c", [], timeout: @timeout)
        {:ok, _} = Pitcrew.call(:bench_recovery, "pid")
        now() - start
      end

    :ok = Pitcrew.Pool.stop(pool)
    durations
  end

  def handle_event(_event, _measurements, _metadata, pid), do: send(pid, {:started, now()})

  defp flush do
    receive do
      {:started, _} -> flush()
    after
      0 -> :ok
    end
  end

  defp now, do: System.monotonic_time(:nanosecond)

  # ---- Report

  defp report(results) do
    IO.puts("""

    Time until a pool of workers with NumPy imported has its worker back, in ms.

    kill         from a SIGKILL for one of four workers until another one can be called; #{length(results["kill"])} times
    stuck-in-c   from the start of a call that is stuck in C, with a timeout of #{@timeout} ms and a grace of #{@grace}, until the
                 next one has been answered; one worker, #{length(results["stuck-in-c"])} times
    """)

    cases = Map.keys(results)
    quantiles = for name <- cases, do: {name, for(q <- [0.5, 0.99, 1.0], do: ms(results[name], q))}

    Table.print([
      ["case", "p50", "p99", "worst"] | for({name, qs} <- quantiles, do: [name | Enum.map(qs, &Table.number(&1, 1))])
    ])

    IO.puts("")
    for {name, [p50, p99, _]} <- quantiles, do: Table.line("recovery", name, p50_ms: p50, p99_ms: p99)
  end

  defp ms(durations, q), do: Stats.quantile(durations, q) / 1.0e6
end

Bench.Recovery.main(System.argv())
