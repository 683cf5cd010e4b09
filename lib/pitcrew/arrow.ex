defmodule Pitcrew.Arrow do
  @moduledoc """
  A table as an Apache Arrow IPC stream: what pyarrow, pandas and polars hold in Python.

      iex> {:ok, packed} = Pitcrew.MessagePack.encode(%Pitcrew.Arrow{data: <<255, 255, 255, 255, 0, 0, 0, 0>>})
      iex> Pitcrew.MessagePack.decode(packed)
      {:ok, %Pitcrew.Arrow{data: <<255, 255, 255, 255, 0, 0, 0, 0>>}}
  """

  @type t :: %__MODULE__{data: binary()}

  @enforce_keys [:data]
  defstruct [:data]
end
