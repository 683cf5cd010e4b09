defmodule Pitcrew.Telemetry do
  @moduledoc """
  Events of every call and worker, through `:telemetry` when that application is there, else through a dispatcher
  with the same interface.

      :ok =
        Pitcrew.Telemetry.attach("slow-calls", [:pitcrew, :call, :stop], fn _event, measurements, metadata, limit ->
          ms = System.convert_time_unit(measurements.duration, :native, :millisecond)
          if ms > limit, do: IO.puts("\#{metadata.tool_id} took \#{ms} ms")
        end, 100)

  A handler runs in the process that emits the event; one that raises is detached, and a log line says so.

  The names begin with the pool's `:telemetry_prefix`, `[:pitcrew]` by default. Durations are in native time units,
  nanoseconds on Linux.

    * `[:pitcrew, :call, :start | :stop | :exception]` - each call; an error that is returned is an `:exception`. `measurements.duration`
      is the sum of `:queue`, `:encode`, `:transport`, `:python` and `:decode`
    * `[:pitcrew, :serialization, :stop]` - what of a call was encoding and decoding
    * `[:pitcrew, :cache, :hit | :miss | :evict]`
    * `[:pitcrew, :worker, :start | :vitals | :memory | :trim | :recycle | :stop]`
    * `[:pitcrew, :pool, :health | :on_hold]`
    * `[:pitcrew, :python, ...]` - what tools emit, and pauses of Python's collector: `docs/events.md`

  `docs/telemetry.md` has the measurements and metadata of each; `events/1` has the names.
  """

  @type event :: [atom(), ...]
  @type handler_id :: term()
  @type handler :: (event(), measurements :: map(), metadata :: map(), config :: term() -> term())

  @doc "Attaches a handler to one event."
  @spec attach(handler_id(), event(), handler(), term()) :: :ok | {:error, :already_exists}
  defdelegate attach(id, event, handler, config), to: :pitcrew_telemetry

  @doc "Attaches one handler to several events under one id."
  @spec attach_many(handler_id(), [event()], handler(), term()) :: :ok | {:error, :already_exists}
  defdelegate attach_many(id, events, handler, config), to: :pitcrew_telemetry

  @doc "Detaches a handler from all its events."
  @spec detach(handler_id()) :: :ok | {:error, :not_found}
  defdelegate detach(id), to: :pitcrew_telemetry

  @doc """
  Logs calls that are slow, and calls that end with an error.

    * `:slow` - calls that take so many milliseconds or more, or `:infinity` for none (default 1 000)
    * `:errors` - whether calls that end with an error have a line (default `true`)
    * `:level` - of the lines (default `:warning`)
    * `:prefix` - which pools, by their `:telemetry_prefix` (default `[:pitcrew]`)

        iex> Pitcrew.Telemetry.attach_default_logger(slow: 250, prefix: [:quick])
        :ok
        iex> Pitcrew.Telemetry.detach_default_logger([:quick])
        :ok
  """
  @spec attach_default_logger(keyword() | map()) :: :ok | {:error, :already_exists | Pitcrew.Error.t()}
  def attach_default_logger(opts \\ []) do
    case :pitcrew_telemetry.attach_default_logger(opts) do
      {:error, %{} = error} -> {:error, Pitcrew.Error.from(error)}
      result -> result
    end
  end

  @doc "Ends what `attach_default_logger/1` has begun, for pools with that prefix."
  @spec detach_default_logger(event()) :: :ok | {:error, :not_found}
  defdelegate detach_default_logger(prefix \\ [:pitcrew]), to: :pitcrew_telemetry_log, as: :detach

  @doc """
  The names of all events, behind a prefix: those to attach a handler to that wants everything.

      iex> [:pitcrew, :cache, :hit] in Pitcrew.Telemetry.events()
      true
  """
  @spec events(event()) :: [event()]
  defdelegate events(prefix \\ [:pitcrew]), to: :pitcrew_events, as: :names

  @doc "The handlers of all events that begin with the given names."
  @spec list_handlers([atom()]) :: [map()]
  defdelegate list_handlers(prefix), to: :pitcrew_telemetry
end
