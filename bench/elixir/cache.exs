for file <- ~w(stats table timed)a, do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Cache do
  @moduledoc """
  What a call costs whose result is in the pool's cache, beside the same call of a worker, in a pool with a cache and in one without.
  One caller; all in one run, every round measures every case, each time in another order.
  """

  alias Bench.{Stats, Table, Timed}
  import Bench.Stats, only: [middle: 2, spread: 2]

  @python_dir Path.expand("../python", __DIR__)
  @cases [:plain, :"plain-pool", :hit, :"hit-map", :"hit-1000", :miss, :evict]
  # 46 bytes of MessagePack.
  @map %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 9)
    trips = Keyword.get(opts, :trips, 3_000)

    options = [tools: ["rtt_tools"], python: System.fetch_env!("PITCREW_BENCH_PYTHON"), cd: @python_dir, size: 1]

    {:ok, _} =
      Pitcrew.Pool.start_link(
        [name: :bench_cached, cache: [max_entries: 10_000_000, max_bytes: 4_000_000_000]] ++ options
      )

    {:ok, _} = Pitcrew.Pool.start_link([name: :bench_full, cache: [max_entries: 1_000]] ++ options)
    {:ok, _} = Pitcrew.Pool.start_link([name: :bench_plain] ++ options)

    for bench_case <- @cases, do: measure(bench_case, trips)
    results = for round <- 1..rounds, do: round(round, trips)
    for pool <- [:bench_cached, :bench_full, :bench_plain], do: Pitcrew.Pool.stop(pool)
    report(results, trips, rounds)
  end

  defp round(number, trips) do
    Map.new(Stats.turned(@cases, number), fn bench_case -> {bench_case, measure(bench_case, trips)} end)
  end

  # The same call everywhere: a pool without a cache, and one with it that this call goes round.
  defp measure(:"plain-pool", trips),
    do: Timed.each(trips, fn _ -> {:ok, 7} = Pitcrew.call(:bench_plain, "echo", [7]) end)

  defp measure(:plain, trips), do: Timed.each(trips, fn _ -> {:ok, 7} = Pitcrew.call(:bench_cached, "echo", [7]) end)
  defp measure(:hit, trips), do: hits(7, trips)
  defp measure(:"hit-map", trips), do: hits(@map, trips)
  defp measure(:"hit-1000", trips), do: hits(Enum.to_list(1..1000), trips)
  defp measure(:miss, trips), do: misses(:bench_cached, trips)
  defp measure(:evict, trips), do: misses(:bench_full, trips)

  defp hits(value, trips),
    do: Timed.each(trips * 4, fn _ -> {:ok, ^value} = Pitcrew.call(:bench_cached, "same", [value]) end)

  defp misses(pool, trips) do
    first = System.unique_integer([:positive]) * 1_000_000
    Timed.each(trips, fn n -> {:ok, _} = Pitcrew.call(pool, "same", [first + n]) end)
  end

  defp report(results, trips, rounds) do
    IO.puts("""

    A call through a cache, one caller; #{rounds} interleaved rounds of #{trips} calls, median of the rounds [their quartiles], times in µs.
    plain: the call of a worker, in a pool with a cache that is not used; plain-pool: in a pool without one. hit: an integer there and
    back; hit-map: a map of 46 bytes; hit-1000: a list of 1,000 integers. miss: every call is another one; evict: and the cache is full.
    """)

    Table.print([["case", "µs", "x plain"] | Enum.map(@cases, &row(results, &1))])
    IO.puts("")

    for bench_case <- @cases do
      Table.line("cache", Atom.to_string(bench_case),
        us: middle(results, & &1[bench_case]),
        ratio_to_plain: middle(results, &(&1[bench_case] / &1.plain))
      )
    end
  end

  defp row(results, bench_case) do
    [
      Atom.to_string(bench_case),
      results |> spread(& &1[bench_case]) |> Table.spread(2),
      results |> spread(&(&1[bench_case] / &1.plain)) |> Table.spread(2)
    ]
  end
end

Bench.Cache.main(System.argv())
