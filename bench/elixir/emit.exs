for file <- ~w(stats table), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Emit do
  @moduledoc """
  What a tool pays for an event that it emits: few at a time, which all find room, with a handler in the VM; many, of which most are dropped, for nothing takes
  events as fast as a loop makes them; and for a span, which is two events.
  """

  alias Bench.{Stats, Table}

  @python_dir Path.expand("../python", __DIR__)
  @few 200
  @many 20_000

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 25)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    {:ok, pool} =
      Pitcrew.Pool.start_link(name: :bench_emit, tools: ["emit_tools"], python: python, cd: @python_dir, size: 1)

    names = [
      [:pitcrew, :python, :bench, :emitted] | for(w <- [:start, :stop], do: [:pitcrew, :python, :bench, :span, w])
    ]

    :ok =
      Pitcrew.Telemetry.attach_many("bench", names, fn _, _, _, counter -> :counters.add(counter, 1, 1) end, counter())

    # Whatever is imported at the first.
    for tool <- ["emits", "spans"], do: run(tool, @few)

    cases = [{"emit", "emits", @few}, {"emit-flood", "emits", @many}, {"span", "spans", div(@few, 2)}]
    results = for _ <- 1..rounds, {name, tool, count} <- cases, do: {name, run(tool, count)}
    :ok = Pitcrew.Pool.stop(pool)
    results = Enum.group_by(results, &elem(&1, 0), &elem(&1, 1))

    IO.puts(
      "\nAn event that a tool emits, with a number and a text. #{rounds} rounds; median of the rounds [their quartiles], in µs.\n"
    )

    Table.print([["case", "us", "taken"] | for({name, _, _} <- cases, do: row(name, results[name]))])
    IO.puts("")

    for {name, _, _} <- cases do
      Table.line("emit", name, us: Stats.middle(results[name], &us/1), taken: Stats.middle(results[name], &taken/1))
    end
  end

  defp row(name, rounds),
    do: [name, rounds |> Stats.spread(&us/1) |> Table.spread(2), rounds |> Stats.spread(&taken/1) |> Table.spread(2)]

  defp us({ns, _, _}), do: ns / 1_000
  defp taken({_, taken, of}), do: taken / of

  # Once all that was taken before has been handled.
  defp run(tool, count) do
    [ns, taken] = Pitcrew.call!(:bench_emit, tool, [count], timeout: :infinity)
    target = :counters.get(counter(), 2) + taken
    :counters.put(counter(), 2, target)
    settle(target)
    {ns, taken, if(tool == "spans", do: 2 * count, else: count)}
  end

  defp settle(target) do
    if :counters.get(counter(), 1) < target do
      Process.sleep(1)
      settle(target)
    end
  end

  defp counter do
    with nil <- :persistent_term.get(__MODULE__, nil) do
      counter = :counters.new(2, [])
      :persistent_term.put(__MODULE__, counter)
      counter
    end
  end
end

Bench.Emit.main(System.argv())
