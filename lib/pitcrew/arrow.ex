defmodule Pitcrew.Arrow do
  @moduledoc """
  A table as an Apache Arrow IPC stream: what pyarrow, pandas and polars hold in Python.

      iex> {:ok, packed} = Pitcrew.MessagePack.encode(%Pitcrew.Arrow{data: <<255, 255, 255, 255, 0, 0, 0, 0>>})
      iex> Pitcrew.MessagePack.decode(packed)
      {:ok, %Pitcrew.Arrow{data: <<255, 255, 255, 255, 0, 0, 0, 0>>}}

  `data` is what Explorer reads and writes: `Explorer.DataFrame.load_ipc_stream!(arrow.data)` is the frame of a result, and
  `%Pitcrew.Arrow{data: Explorer.DataFrame.dump_ipc_stream!(frame)}` one for a call. In Python it arrives as a `pitcrew.Arrow`, with
  `to_pyarrow()`, `to_pandas()` and `to_polars()`.
  """

  @type t :: %__MODULE__{data: binary()}

  @enforce_keys [:data]
  defstruct [:data]
end
