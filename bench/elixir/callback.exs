for file <- ~w(stats table), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Callback do
  @moduledoc """
  Python to Elixir and back: a tool that calls a function of the VM's again and again and tells the median of what each took. Beside it, in the same
  rounds, the floor: C to C over a socketpair, on two processors.
  """

  alias Bench.{Stats, Table}

  @python_dir Path.expand("../python", __DIR__)
  @floor Path.expand("../../_build/bench/floor", __DIR__)
  # What a frame with such a value has on the wire, about.
  @bytes 46
  @value %{"query" => "beam", "k" => 5, "score" => 0.5}
  @cases [
    {:small, :function, []},
    {:"small-many", :function, [concurrency: 4]},
    {:registered, :tool, []},
    {:"registered-many", :tool, [concurrency: 4]}
  ]

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    trips = Keyword.get(opts, :trips, 5_000)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    results = for {name, callee, more} <- @cases, do: {name, measure({callee, more}, rounds, trips, python)}

    IO.puts("""

    From Python to a function of the VM and back, a small map and its own answer. #{rounds} rounds of #{trips} calls; median of the rounds
    [their quartiles], in µs and beside C to C on two processors. registered: a tool of the VM, by its name; -many: from a thread of a worker with concurrency: 4.
    """)

    Table.print([["case", "p50", "x floor_cross"] | Enum.map(results, &row/1)])
    IO.puts("")

    for {name, rounds} <- results do
      p50 = Stats.middle(rounds, &elem(&1, 0))
      Table.line("callback", Atom.to_string(name), p50_us: p50, ratio_to_floor: Stats.middle(rounds, &ratio/1))
    end
  end

  defp measure({callee, more}, rounds, trips, python) do
    options = [name: :bench_callback, tools: ["callback_tools"], python: python, cd: @python_dir, size: 1] ++ more
    {:ok, pool} = Pitcrew.Pool.start_link(options)
    :ok = Pitcrew.register_tool(:bench_callback, "same", & &1)
    _ = trip(callee, 500)
    results = for _ <- 1..rounds, do: {trip(callee, trips), pair(trips)}
    :ok = Pitcrew.Pool.stop(pool)
    results
  end

  defp row({name, rounds}) do
    [
      Atom.to_string(name),
      rounds |> Stats.spread(&elem(&1, 0)) |> Table.spread(1),
      rounds |> Stats.spread(&ratio/1) |> Table.spread(2)
    ]
  end

  defp ratio({us, pair}), do: us / pair

  defp trip(:function, trips), do: call("round_trips", [& &1, @value, trips])
  defp trip(:tool, trips), do: call("round_trips_by_name", ["same", @value, trips])

  defp call(tool, args), do: Pitcrew.call!(:bench_callback, tool, args, timeout: :infinity)

  defp pair(trips) do
    {output, 0} = System.cmd(@floor, ["cross", "#{@bytes}", "#{trips}"])
    [p50 | _] = output |> String.split() |> Enum.map(&String.to_integer/1)
    p50 / 1000
  end
end

Bench.Callback.main(System.argv())
