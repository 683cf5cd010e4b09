defmodule Pitcrew.Bytes do
  @moduledoc """
  A binary that arrives in Python as `bytes`; made by `Pitcrew.bytes/1`.

      iex> Pitcrew.bytes("abc")
      %Pitcrew.Bytes{data: "abc"}
  """

  @type t :: %__MODULE__{data: binary()}

  @enforce_keys [:data]
  defstruct [:data]
end
