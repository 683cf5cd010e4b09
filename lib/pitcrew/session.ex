defmodule Pitcrew.Session do
  @moduledoc """
  A session with a pool: calls that go to the same worker, and what Python keeps for them. See `Pitcrew.session/3` and
  `Pitcrew.start_session/3`.
  """

  @type t :: %__MODULE__{pool: atom(), id: pos_integer(), name: term(), table: reference()}

  @derive {Inspect, only: [:pool, :id, :name]}
  @enforce_keys [:pool, :id, :name, :table]
  defstruct [:pool, :id, :name, :table]
end
