defmodule Digits.Report do
  @moduledoc "What the demo prints."

  alias Digits.Images

  @label 38
  @column 22

  def heading(text), do: IO.puts("\n" <> text)
  def fact(name, text), do: IO.puts("  #{String.pad_trailing(name, 12)}#{text}")

  @doc "The first images as they look, with what Python said about them."
  def pictures(images, answers) do
    IO.puts("")
    for line <- Images.draw(images), do: IO.puts("  " <> line)
    IO.puts("  " <> Enum.map_join(images, "   ", fn image -> String.pad_trailing("   #{answers[image.index]}", 8) end))
  end

  @doc "A row of a table with one column for each run."
  def row(name, columns) do
    IO.puts("  " <> String.pad_trailing(name, @label) <> Enum.map_join(columns, &String.pad_leading(&1, @column)))
  end

  @doc "Which calls were tried again, by the image they were about."
  def retried([]), do: "none, it was idle"
  def retried(images), do: "image " <> Enum.map_join(images, ", ", &count/1)

  @doc "Prints the checks; true if all held."
  def checks(checks) do
    for {text, held?} <- checks, !held?, do: IO.puts("  FAILED  #{text}")
    held = Enum.count(checks, &elem(&1, 1))

    IO.puts(
      "\n#{held} of #{length(checks)} checks held: #{if held == length(checks), do: "all is well.", else: "see above."}"
    )

    held == length(checks)
  end

  # ---- Numbers for people

  def count(number) do
    number
    |> Integer.to_string()
    |> String.reverse()
    |> String.replace(~r/(\d{3})(?=\d)/, "\\1,")
    |> String.reverse()
  end

  def ms(nanoseconds) when nanoseconds < 10_000_000, do: decimals(nanoseconds / 1.0e6, 2) <> " ms"
  def ms(nanoseconds), do: decimals(nanoseconds / 1.0e6, 1) <> " ms"

  def seconds(nanoseconds), do: decimals(nanoseconds / 1.0e9, 1) <> " s"
  def percent(share), do: decimals(100 * share, 1) <> " %"

  @doc "Median and 99th percentile, as in `1.20 / 3.45 ms`."
  def p50_p99([]), do: "-"

  def p50_p99(nanoseconds) do
    sorted = nanoseconds |> Enum.sort() |> List.to_tuple()
    [p50, p99] = for q <- [0.5, 0.99], do: elem(sorted, trunc(tuple_size(sorted) * q)) / 1.0e6
    "#{decimals(p50, 2)} / #{decimals(p99, 2)} ms"
  end

  defp decimals(number, decimals), do: :erlang.float_to_binary(number / 1, decimals: decimals)
end
