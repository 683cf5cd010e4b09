defmodule Pitcrew.Error do
  @moduledoc """
  What went wrong with a call or a start, as data and as an exception.

      iex> {:error, error} = Pitcrew.call(MyApp.Py, "divide", [1, 0])
      iex> error.kind
      :tool_error
      iex> Exception.message(error) =~ "ZeroDivisionError: division by zero"
      true

  The kinds, a closed list:

  | kind | meaning |
  |---|---|
  | `:tool_error` | the tool raised; `type` and `traceback` are Python's |
  | `:bad_arguments` | the arguments do not fit the tool's signature |
  | `:unknown_tool` | there is no such tool; the message names close matches |
  | `:not_allowed` | no tool, and the pool's options `allow_eval` and `allow_import` do not let it be called |
  | `:encode_error`, `:decode_error` | an argument cannot be sent, or cannot become a Python object; `path` says where |
  | `:result_error` | the tool's result cannot be sent; `path` says where |
  | `:too_big` | a frame would be larger than the pool's `max_frame` |
  | `:timeout` | the deadline passed: the tool is interrupted and its worker replaced; or that of `Pitcrew.await/2` |
  | `:cancelled` | the call was cancelled, or its result was taken before; the tool raised `pitcrew.Cancelled` itself |
  | `:checkout_timeout` | no worker became free in time |
  | `:overloaded` | the pool takes no more callers; or a function that a tool has called calls its own pool, and would wait for itself |
  | `:worker_exit` | the worker died in the middle; `reason` is `{:signal, :sigkill}`, `{:status, 1}` or alike; `:stopped` or `:silent` when it was killed for that |
  | `:pool_down`, `:no_pool` | the pool stopped meanwhile, or does not run |
  | `:no_session` | the session has ended, or there is none of that name |
  | `:bad_ref` | the object that a `Pitcrew.Ref` stands for is not there: its worker has ended, or it is another pool's; or one call refers to objects of two workers |
  | `:cache_error` | Redis could not be told to forget a result: see `Pitcrew.Cache` |
  | `:start_error` | a pool cannot start; `traceback` is Python's, when it came that far |
  | `:invalid_option` | an option is unknown or has the wrong type |
  | `:protocol_error` | a worker broke the protocol |

  Other fields: `message`; `type` and `traceback` (Python's exception); `path` (list indices and keys, outermost first);
  `tool`, `pool`; `worker`, an operating-system process id; `index`, which call of a batch it was, from 0. A field that does not apply is `nil`.
  """

  @type t :: %__MODULE__{
          kind: :pitcrew_error.kind(),
          message: String.t(),
          type: String.t() | nil,
          traceback: String.t() | nil,
          path: [term()] | nil,
          tool: String.t() | nil,
          pool: atom(),
          worker: pos_integer() | nil,
          index: non_neg_integer() | nil,
          reason: term()
        }

  defexception [:kind, :message, :type, :traceback, :path, :tool, :pool, :worker, :index, :reason]

  @doc false
  # From pitcrew_error:t(); what is not one (a supervisor's own error) stays as it is.
  @spec from(:pitcrew_error.t()) :: t()
  @spec from(other) :: other when other: term()
  def from(%{kind: _, message: _} = error), do: struct!(__MODULE__, error)
  def from(other), do: other

  @doc false
  # What Erlang raises as a pitcrew_error:t().
  @spec raising((() -> result)) :: result when result: term()
  def raising(fun) do
    fun.()
  rescue
    error in ErlangError -> reraise from(error.original), __STACKTRACE__
  end

  @doc "One text with everything that is known, Python's traceback included."
  @impl true
  def message(%__MODULE__{} = error) do
    error
    |> Map.from_struct()
    |> Map.delete(:__exception__)
    |> Map.reject(fn {_, v} -> is_nil(v) end)
    |> :pitcrew_error.format()
  end
end
