for file <- ~w(stats table payloads), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Codec do
  @moduledoc """
  Terms to MessagePack and back, beside the VM's own external term format. Like with like: `encode` makes one binary, as
  `term_to_binary` does; `encode_to_iodata` keeps large binaries apart, as `term_to_iovec` does. In one run; every
  round measures every case in a process of its own, in turn.
  """

  alias Bench.{Payloads, Stats, Table}

  @batch_us 3_000

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer])
    rounds = Keyword.get(opts, :rounds, 15)

    IO.puts("""

    Encoding and decoding in the VM; #{rounds} interleaved rounds, median [quartiles] in µs and of the rounds' ratios.
    """)

    small = for {name, term} <- Payloads.all(), do: {name, measure(cases(term, %{}), rounds)}
    report(small)
    geometric("encode", small, &ratio(&1, :encode, :term_to_binary))
    geometric("encode_to_iodata", small, &ratio(&1, :encode_to_iodata, :term_to_iovec))
    geometric("decode", small, &ratio(&1, :decode, :binary_to_term))

    IO.puts("\nLarge binaries: as bin, and as str, which costs one pass over the text to validate it.\n")

    large =
      for {name, term} <- Payloads.large(), {how, options} <- kinds(name) do
        {name <> "_" <> how, measure(cases(term, options), rounds)}
      end

    report(large)
    for {name, results} <- large, String.ends_with?(name, "_str"), do: utf8(name, results, Map.new(large))
    for {name, results} <- small ++ large, do: lines(name, results, large?(name))
  end

  # Random bytes are no text.
  defp kinds("binary_1MiB"), do: [{"bin", %{binaries: :bytes}}]
  defp kinds(_), do: [{"bin", %{binaries: :bytes}}, {"str", %{}}]

  defp large?(name), do: String.ends_with?(name, ["_bin", "_str"])

  defp cases(term, options) do
    {:ok, packed} = :pitcrew_nif.encode(term, options)
    {:ok, ^term} = :pitcrew_nif.decode(packed, %{})
    etf = :erlang.term_to_binary(term)

    [
      encode_to_iodata: fn -> {:ok, _} = :pitcrew_msgpack.encode_to_iodata(term, iodata_options(options)) end,
      encode: fn -> {:ok, _} = :pitcrew_nif.encode(term, options) end,
      term_to_binary: fn -> :erlang.term_to_binary(term) end,
      term_to_iovec: fn -> :erlang.term_to_iovec(term) end,
      decode: fn -> {:ok, _} = :pitcrew_nif.decode(packed, %{}) end,
      binary_to_term: fn -> :erlang.binary_to_term(etf) end
    ]
  end

  defp iodata_options(%{binaries: :bytes}), do: [binaries: :bin]
  defp iodata_options(_), do: []

  # Microseconds of one run, by case: a list with one value a round.
  defp measure(cases, rounds) do
    sized = for {name, fun} <- cases, do: {name, fun, repetitions(fun)}

    for round <- 1..rounds, reduce: %{} do
      results ->
        for {name, fun, n} <- Stats.turned(sized, round), reduce: results do
          results -> Map.update(results, name, [timed(fun, n)], &[timed(fun, n) | &1])
        end
    end
  end

  defp repetitions(fun) do
    once = timed(fun, 3)
    max(1, round(@batch_us / max(once, 0.05)))
  end

  defp timed(fun, n) do
    task =
      Task.async(fn ->
        {us, :ok} = :timer.tc(fn -> repeat(fun, n) end)
        us / n
      end)

    Task.await(task, :infinity)
  end

  defp repeat(_, 0), do: :ok

  defp repeat(fun, n) do
    fun.()
    repeat(fun, n - 1)
  end

  defp ratio(results, ours, theirs), do: Stats.quartiles(Enum.zip_with(results[ours], results[theirs], &(&1 / &2)))

  defp report(all) do
    header = ["payload", "encode", "x term_to_binary", "iodata", "x term_to_iovec", "decode", "x binary_to_term"]

    rows =
      for {name, results} <- all do
        [
          name,
          us(results, :encode),
          spread(ratio(results, :encode, :term_to_binary)),
          us(results, :encode_to_iodata),
          spread(ratio(results, :encode_to_iodata, :term_to_iovec)),
          us(results, :decode),
          spread(ratio(results, :decode, :binary_to_term))
        ]
      end

    Table.print([header | rows])
  end

  # Decoding shares the bytes, so all that str takes there and bin does not is the pass over the text.
  defp utf8(name, results, large) do
    as_bin = large[String.replace_suffix(name, "_str", "_bin")]
    [mine, bin] = for r <- [results, as_bin], do: Stats.median(r.encode)
    pass = Stats.median(results.decode) - Stats.median(as_bin.decode)

    IO.puts(
      "  as str, encode takes #{Table.number(mine - bin, 1)} µs more; one UTF-8 pass: #{Table.number(pass, 1)} µs"
    )

    Table.line("codec-large", name <> " utf8", more_us: mine - bin, pass_us: pass)
  end

  defp us(results, name), do: Table.number(Stats.median(results[name]), 2)

  defp spread(quartiles), do: Table.spread(quartiles, 2)

  defp geometric(name, all, ratio) do
    logs = for {_, results} <- all, {_, middle, _} = ratio.(results), do: :math.log(middle)
    mean = :math.exp(Enum.sum(logs) / length(logs))
    IO.puts("  geometric mean of #{name}: #{Table.number(mean, 2)}")
    Table.line("codec", "geometric_mean", [{"#{name}_ratio_to_etf", mean}])
  end

  defp lines(name, results, large) do
    for {ours, theirs} <- [encode: :term_to_binary, encode_to_iodata: :term_to_iovec, decode: :binary_to_term],
        {_, middle, _} <- [ratio(results, ours, theirs)] do
      bench = if large, do: "codec-large", else: "codec"
      Table.line(bench, "#{name} #{ours}", [{"us", Stats.median(results[ours])}, {"ratio_to_etf", middle}])
    end
  end
end

Bench.Codec.main(System.argv())
