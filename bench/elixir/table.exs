defmodule Bench.Table do
  @moduledoc "Text of a benchmark: an aligned table for people, one line a case for programs."

  @doc "Prints rows of texts; the first column is aligned left, the others right."
  def print(rows) do
    widths =
      rows |> Enum.zip_with(& &1) |> Enum.map(fn column -> column |> Enum.map(&String.length/1) |> Enum.max() end)

    for [first | rest] <- rows do
      [first_width | rest_widths] = widths
      cells = Enum.zip_with(rest, rest_widths, &String.pad_leading/2)
      IO.puts("  " <> Enum.join([String.pad_trailing(first, first_width) | cells], "   "))
    end

    :ok
  end

  @doc "A median with its quartiles, as in `41.2 [40.8 42.0]`."
  def spread({low, middle, high}, decimals) do
    "#{number(middle, decimals)} [#{number(low, decimals)} #{number(high, decimals)}]"
  end

  def number(value, decimals), do: :erlang.float_to_binary(value / 1, decimals: decimals)

  @doc "Prints `bench <name> <case> <metric>=<number> …`."
  def line(name, bench_case, metrics) do
    pairs = Enum.map(metrics, fn {metric, value} -> "#{metric}=#{number(value, 2)}" end)
    IO.puts(Enum.join(["bench", name, bench_case | pairs], " "))
  end
end
