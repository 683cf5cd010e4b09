defmodule Pitcrew.Protocol do
  @moduledoc """
  Which protocol calls should travel by, by what was measured.

      iex> config = %{streaming: false, data: %{query: "beam"}, call_frequency: 20}
      iex> Pitcrew.Protocol.select_optimal_protocol(config)
      :msgpack

  MessagePack is the faster one at everything that was measured: 1.2 to 1.9 times for calls of a few bytes, and the more, the more there is to carry. JSON is
  for people who read the frames, so it is chosen where somebody says that they do, and where it costs little:

      iex> Pitcrew.Protocol.select_optimal_protocol(%{data: %{query: "beam"}, call_frequency: 20, readable: true})
      :json
      iex> explained = Pitcrew.Protocol.explain(%{data: String.duplicate("long ", 1_000), readable: true})
      iex> {explained.protocol, explained.reason}
      {:msgpack, :large}

  The result is a value for the option `:protocol` of a pool or a call, whose `:auto` is what is chosen when nothing is known. `docs/json.md` has the
  rule, `docs/performance.md` the figures.
  """

  alias Pitcrew.Error

  @typedoc """
  What is known of the calls, as a map or a keyword list; each of it may be left out.

    * `:streaming` - `true` if their results are streams (default `false`)
    * `:data` - the arguments of a typical call (default `nil`)
    * `:call_frequency` - how many there are a second (default 0)
    * `:readable` - `true` if people are to read the frames (default `false`)
  """
  @type config :: map() | keyword()

  @typedoc """
  Why:

  | reason | protocol | |
  |---|---|---|
  | `:fastest` | `:msgpack` | nobody is to read the frames |
  | `:streaming` | `:msgpack` | streams have no other protocol |
  | `:not_json` | `:msgpack` | the data holds what JSON cannot carry; the message says what, and where |
  | `:large` | `:msgpack` | the data takes more than 1,024 bytes as JSON |
  | `:frequent` | `:msgpack` | there are more than 100 calls a second |
  | `:no_library` | `:msgpack` | there is no jansson |
  | `:readable` | `:json` | the frames are to be read, and none of the others holds |
  """
  @type reason :: :fastest | :streaming | :not_json | :large | :frequent | :no_library | :readable

  @doc """
  The protocol for calls of this sort.

      iex> Pitcrew.Protocol.select_optimal_protocol(streaming: true, readable: true)
      :msgpack

  With `:readable` the data is written as JSON once, to see whether it can be and how large it is. Raises `Pitcrew.Error` when something is not what it
  should be:

      iex> try do
      ...>   Pitcrew.Protocol.select_optimal_protocol(call_frequency: -1)
      ...> rescue
      ...>   error in Pitcrew.Error -> {error.kind, error.message}
      ...> end
      {:invalid_option, "option call_frequency must be a number of at least 0; given was -1"}
  """
  @spec select_optimal_protocol(config()) :: :msgpack | :json
  def select_optimal_protocol(config), do: explain(config).protocol

  @doc """
  The same, and why: a reason for programs, and a message for people.

      iex> Pitcrew.Protocol.explain(data: [{1, 2}], readable: true)
      %{
        protocol: :msgpack,
        reason: :not_json,
        message: "JSON cannot carry the data: a tuple has no place in JSON; make it a list or a map first (at [0])"
      }
  """
  @spec explain(config()) :: %{protocol: :msgpack | :json, reason: reason(), message: String.t()}
  def explain(config) do
    :pitcrew_protocol.explain(config)
  rescue
    error in ErlangError -> reraise Error.from(error.original), __STACKTRACE__
  end
end
