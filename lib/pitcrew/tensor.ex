defmodule Pitcrew.Tensor do
  @moduledoc """
  An array of numbers as it lies in memory: what NumPy and every other object with the buffer protocol is in Python.

      iex> tensor = %Pitcrew.Tensor{dtype: "<f8", shape: {2, 2}, data: <<1.0::float-little, 2.0::float-little, 3.0::float-little, 4.0::float-little>>}
      iex> {:ok, packed} = Pitcrew.MessagePack.encode(tensor)
      iex> Pitcrew.MessagePack.decode(packed) == {:ok, tensor}
      true

  `dtype` is NumPy's name of the element type (`"<f8"`, `"|u1"`, …), `shape` a tuple of sizes, and `data` the elements in C
  order, in the byte order that `dtype` says.
  """

  @type t :: %__MODULE__{dtype: String.t(), shape: tuple(), data: binary()}

  @enforce_keys [:dtype, :shape, :data]
  defstruct [:dtype, :shape, :data]
end
