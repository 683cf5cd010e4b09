for file <- ~w(../elixir/stats ../elixir/table payloads), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.JSON do
  @moduledoc """
  `Pitcrew.JSON` beside jansson by itself (a C program: build and dump, load and free) and beside jiffy, when it is there.
  All in one run: every round measures every side, each time in another order; ratios are taken within a round.
  """

  alias Bench.{JSON.Payloads, Stats, Table}

  @jansson Path.expand("../../_build/bench/jansson", __DIR__)
  # One measurement repeats a case for about this long.
  @slice_us 60_000

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    sides = [:pitcrew, :jansson] ++ if(Code.ensure_loaded?(:jiffy), do: [:jiffy], else: [])

    rows =
      for {name, value} <- Payloads.all(), direction <- [:encode, :decode] do
        measure(name, value, direction, sides, rounds)
      end

    report(rows, sides, rounds)
  end

  defp measure(name, value, direction, sides, rounds) do
    {text, 0} = System.cmd(@jansson, [name, "text"])
    check(name, value, text, sides)
    work = if direction == :encode, do: value, else: String.trim_trailing(text)
    times = max(1, div(@slice_us, max(1, div(time({:pitcrew, direction}, name, work, 3), 1000))))

    results =
      for round <- 1..rounds do
        for side <- rotate(sides, round), into: %{}, do: {side, time({side, direction}, name, work, times)}
      end

    {name, direction, results}
  end

  # All sides must mean the same: it would be easy to be fast otherwise.
  defp check(name, value, text, sides) do
    {:ok, own} = Pitcrew.JSON.encode(value)
    same = Pitcrew.JSON.decode!(text) == value and Pitcrew.JSON.decode!(own) == value
    jiffy = :jiffy not in sides or :jiffy.decode(own, [:return_maps, :use_nil]) == value
    unless same and jiffy, do: raise("the sides disagree about #{name}")
  end

  defp rotate(sides, n) do
    {front, back} = Enum.split(sides, rem(n, length(sides)))
    back ++ front
  end

  # Nanoseconds of one operation.
  defp time({:jansson, direction}, name, _work, times) do
    {output, 0} = System.cmd(@jansson, [name, to_string(direction), to_string(times)])
    output |> String.trim() |> String.to_integer()
  end

  # In a process of its own, so that no side pays for another's garbage.
  defp time(side, _name, work, times) do
    Task.async(fn ->
      start = System.monotonic_time()
      repeat(side, work, times)
      div(System.convert_time_unit(System.monotonic_time() - start, :native, :nanosecond), times)
    end)
    |> Task.await(:infinity)
  end

  defp repeat(_side, _work, 0), do: :ok

  defp repeat(side, work, times) do
    run(side, work)
    repeat(side, work, times - 1)
  end

  defp run({:pitcrew, :encode}, value), do: {:ok, _} = Pitcrew.JSON.encode(value)
  defp run({:pitcrew, :decode}, text), do: {:ok, _} = Pitcrew.JSON.decode(text)
  defp run({:jiffy, :encode}, value), do: value |> :jiffy.encode([:use_nil]) |> IO.iodata_to_binary()
  defp run({:jiffy, :decode}, text), do: :jiffy.decode(text, [:return_maps, :use_nil])

  defp report(rows, sides, rounds) do
    others = sides -- [:pitcrew]

    IO.puts(
      "JSON, median of #{rounds} rounds in microseconds [quartiles], and how many times the others' time that is:"
    )

    Table.print([
      ["", "pitcrew" | Enum.map(others, &"/ #{&1}")]
      | for {name, direction, results} <- rows do
          ratios = for other <- others, do: Table.spread(Stats.quartiles(ratios(results, other)), 2)
          ["#{name} #{direction}", Table.spread(Stats.quartiles(us(results)), 1) | ratios]
        end
    ])

    for {name, direction, results} <- rows do
      ratios = for other <- others, do: {:"ratio_to_#{other}", Stats.median(ratios(results, other))}
      Table.line("json", "#{name} #{direction}", [{:us, Stats.median(us(results))} | ratios])
    end
  end

  defp us(results), do: for(%{pitcrew: ns} <- results, do: ns / 1000)
  defp ratios(results, other), do: for(result <- results, do: result.pitcrew / result[other])
end

Bench.JSON.main(System.argv())
