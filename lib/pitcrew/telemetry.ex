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

  ## Events

  The names begin with the pool's `:telemetry_prefix`, `[:pitcrew]` by default. Durations are in native time units,
  nanoseconds on Linux.

  | event | measurements | metadata |
  |---|---|---|
  | `call, :start` | `system_time`, `monotonic_time` | `pool`, `tool_id`, `protocol` |
  | `call, :stop` | `duration`, `queue`, `python`, `bytes_in`, `bytes_out`, `retries` | the same, and `worker` |
  | `call, :exception` | as `:stop` | as `:stop`, and `kind`, `error`; for every call that returns an error |
  | `worker, :start` | `duration` (from the fork until it was ready) | `pool`, `worker`, `id` |
  | `worker, :trim` | `before`, `after` (bytes of its own): it had more than `max_rss` and has given back what it could | the same |
  | `worker, :recycle` | `lifetime`, `calls` | the same, and `reason`: `:max_calls`, `:max_age`, or `{:max_rss, bytes}` when that is what it still had; its successor is started now |
  | `worker, :stop` | `lifetime`, `calls` | `pool`, `worker`, `id`, `reason` |
  | `pool, :health` | `ready`, `wanted` (workers) | `pool`, `status` and `before` (`:ok`, `:degraded`, `:down`), `failure` |
  | `cache, :hit` | `duration` of the whole call | `pool`, `tool_id`, `source`: `:cache`, `:flight` (the result of an equal call that ran), `:backend` (Redis) |
  | `cache, :miss` | `duration` until it was known | `pool`, `tool_id`; for every call that looked for a result and runs |
  | `cache, :evict` | `entries`, `bytes` | `pool`, `reason`: `:full` or `:expired` |

  A call that finds its result in the cache has its `call` events as well, with no worker.

  A stream is a call with `stream: true` in its metadata; its measurements have `chunks` besides, and `result` is `:halted` when its consumer took no more.

  A chunk of a batch is one call, with the number of its calls as `batch` in its metadata.

  `protocol` is `:msgpack` or `:json`, as the call travels; `worker` is an operating-system process id; `reason` is
  `:normal`, `:recycled`, `:idle` (it was not needed), `:stop` (the pool stops), `:interrupted` (it ended after a call of its was cut, in an orderly way), `{:signal, :sigkill}`, 
  `{:status, 1}` or alike; `:stopped` or `:silent` for one that was killed for that (option `:heartbeat`). A caller that dies in a call, as one does that is cancelled, tells nobody of its end.
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

  @doc "The handlers of all events that begin with the given names."
  @spec list_handlers([atom()]) :: [map()]
  defdelegate list_handlers(prefix), to: :pitcrew_telemetry
end
