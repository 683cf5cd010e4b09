defmodule Pitcrew.Ref do
  @moduledoc """
  A reference to an object that stays in its Python worker.

  A tool returns `pitcrew.ref(object)`, or the call has the option `ref: true`. `Pitcrew.call/4` with the reference calls a method of
  the object, `Pitcrew.attribute/3` reads an attribute, and in the arguments of any call it is the object itself: such a call goes to
  the worker that has it.

      iex> {:ok, list} = Pitcrew.call(MyApp.Py, "echo", [[3, 1, 2]], ref: true)
      iex> list.type
      "list"
      iex> Pitcrew.call(list, "sort")
      {:ok, nil}
      iex> Pitcrew.call(MyApp.Py, "echo", [list])
      {:ok, [1, 2, 3]}

  The object goes when the VM has collected the last copy of the reference, or with its worker; `docs/sessions.md` has the rest.
  """

  @type t :: %__MODULE__{handle: reference(), pool: atom(), type: String.t()}

  @derive {Inspect, only: [:pool, :type]}
  @enforce_keys [:handle, :pool, :type]
  defstruct [:handle, :pool, :type]
end
