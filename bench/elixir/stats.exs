defmodule Bench.Stats do
  @moduledoc "Quantiles of measured values, by nearest rank."

  @doc "The value below which the share `q` (0.0 to 1.0) of a list lies."
  def quantile(values, q) do
    sorted = Enum.sort(values)
    Enum.at(sorted, min(trunc(length(sorted) * q), length(sorted) - 1))
  end

  def median(values), do: quantile(values, 0.5)

  @doc "The quartiles of what a function makes of each round's results, and the median of that."
  def spread(rounds, fun), do: rounds |> Enum.map(fun) |> quartiles()
  def middle(rounds, fun), do: rounds |> Enum.map(fun) |> median()

  @doc "The cases, beginning with another one in each round."
  def turned(cases, round) do
    {head, tail} = Enum.split(cases, rem(round, length(cases)))
    tail ++ head
  end

  @doc "`{lower quartile, median, upper quartile}`."
  def quartiles(values) do
    {quantile(values, 0.25), median(values), quantile(values, 0.75)}
  end
end
