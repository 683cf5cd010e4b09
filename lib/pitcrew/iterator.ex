defmodule Pitcrew.Iterator do
  @moduledoc """
  What can be enumerated, as an argument of a call: in Python an iterator, which asks for the elements as it needs them. Made by `Pitcrew.iterator/2`.

      iex> Pitcrew.call(MyApp.Py, "total", [Pitcrew.iterator(1..1000)])
      {:ok, 500_500}

  A `Stream`, a `File.Stream` and an `IO.Stream` become one by themselves.

      iex> squares = Stream.map(1..3, &(&1 * &1))
      iex> Pitcrew.call(MyApp.Py, "total", [squares])
      {:ok, 14}
  """

  @type t :: %__MODULE__{reduce: (Enumerable.acc(), Enumerable.reducer() -> Enumerable.result()), buffer: pos_integer()}

  @derive {Inspect, only: [:buffer]}
  @enforce_keys [:reduce, :buffer]
  defstruct [:reduce, :buffer]
end

defimpl Pitcrew.Encoder, for: [Stream, File.Stream, IO.Stream] do
  def encode(stream), do: Pitcrew.iterator(stream)
end
