defmodule Bench.Stats do
  @moduledoc "Quantiles of measured values, by nearest rank."

  @doc "The value below which the share `q` (0.0 to 1.0) of a list lies."
  def quantile(values, q) do
    sorted = Enum.sort(values)
    Enum.at(sorted, min(trunc(length(sorted) * q), length(sorted) - 1))
  end

  def median(values), do: quantile(values, 0.5)

  @doc "`{lower quartile, median, upper quartile}`."
  def quartiles(values) do
    {quantile(values, 0.25), median(values), quantile(values, 0.75)}
  end
end
