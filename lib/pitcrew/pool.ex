defmodule Pitcrew.Pool do
  @moduledoc """
  A pool of Python workers, to be started under your own supervisor.

      children = [
        {Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"], python: ".venv/bin/python", cd: "python", size: 8}
      ]

      Supervisor.start_link(children, strategy: :one_for_one)

  It has started when every worker is ready; a tool module that does not import is a start error with Python's traceback.
  Workers that die are replaced; callers wait in a plain first-in, first-out queue when all are busy.

  ## Options

    * `:name` - the pool's registered name, an atom (required)
    * `:tools` - names of the Python modules to import
    * `:preload` - names of other modules to import before those, so that workers share them (with `start: :spawn` each worker
      imports them)
    * `:allow_eval` - `true`: callers may send code, see `Pitcrew.eval/4` (default `false`)
    * `:allow_import` - modules and packages whose functions may be called like tools (default none): with `["numpy", "math"]`,
      `"numpy.linalg:norm"` and `"math:fsum"` are names of tools. Each worker imports such a module when it is called for the first
      time, unless `:preload` or a tool module has imported it before. `docs/calls.md` says what can be reached
    * `:python` - path or command of the interpreter, of a virtual environment too (default: the environment variable
      `PITCREW_PYTHON`, else `"python3"`). `mix pitcrew.python` builds Pitcrew's C part for one more interpreter
    * `:size` or `:pool_size` - number of workers (default: schedulers online)
    * `:lazy` - `true`: no worker is started before the first call needs it, and each leaves when it has had nothing to do for
      `:idle_timeout`. The modules are imported at once all the same, so that errors show (default `false`)
    * `:max_overflow` - how many workers more than `:size` are started while calls wait: when one has waited for 2 ms (default 0)
    * `:idle_timeout` - milliseconds without a call after which a worker leaves that there is beyond `:size`, or in a lazy pool;
      or `:infinity` (default 10 000)
    * `:max_queue` - how many calls may wait for a worker; more get an error of the kind `:overloaded` at once. Not counted are
      those for which a worker is still to be started (default `:infinity`)
    * `:strategy` - which of the free workers is taken: `:lifo`, the one that was used last (default: its memory is warm, and
      others can leave), or `:fifo`, the one that has been free for longest
    * `:max_calls` - a worker that has had so many calls is replaced; its successor is ready before it leaves, so it has a few
      more (default `:infinity`)
    * `:max_age` - the same after so many milliseconds, or up to a tenth earlier, lest all be replaced at once (default `:infinity`)
    * `:cd` - the folder that Python runs in
    * `:linger` - milliseconds that a worker which is to be replaced, or is not needed any more, stays for its sessions and for objects
      that are referred to, or `:infinity` (default 60 000)
    * `:env` - environment variables, a map or list of pairs; `nil` or `false` removes one
    * `:timeout` - milliseconds a call may take, waiting and retries included, or `:infinity` (default 30 000)
    * `:checkout_timeout` - milliseconds a call may wait for a free worker (default 5 000)
    * `:start_timeout` - milliseconds for the imports and for every worker to get ready (default 30 000)
    * `:function_timeout` - milliseconds for each function in the arguments of a call that its tool calls (default: what is left to the call)
    * `:retry` - how often a call of a tool declared `@tool(idempotent=True)` is tried again when its worker died (default 0)
    * `:on_caller_exit` - what becomes of a call whose caller dies in the middle: `:cancel` (default) interrupts the tool
      as at the deadline; `:finish` lets it run to its end, for as long as `:timeout` at most, and drops its result
    * `:start` - `:fork` (workers are forked from a process that has imported the tools once), `:spawn` (each imports them
      itself), or `:auto`: fork unless the imports left threads running (default). `docs/forking.md` has the rules of forking
    * `:grace` - milliseconds that a worker has for an orderly end, after an interrupt or when the pool stops, before it
      is killed (default 300)
    * `:thread_limits` - threads that OpenMP, OpenBLAS and MKL may use in each worker, or `:none` (default 1)
    * `:rlimits` - what each worker may use: a map or keyword list with some of `:address_space` (bytes), `:cpu` (seconds of processor
      time), `:files` (descriptors). Beyond it a tool gets `MemoryError`, its worker SIGXCPU, a tool `OSError`; `docs/limits.md` has
      the details (default: what the VM may use)
    * `:nice` - how much, at most 19, workers stand back behind other processes (default 0)
    * `:heartbeat` - milliseconds between two questions whether a worker is alive, or `:infinity` (default 1 000). One that is stopped
      (SIGSTOP) is killed and replaced; one that computes, or holds the GIL, is not
    * `:max_rss` - bytes of memory that a worker may have for itself, pages that it shares with others not counted, or `:infinity`
      (default). One that has more clears its caches (`@pitcrew.on_memory_pressure`) and collects garbage between two calls, and is replaced
      if that does not help
    * `:gc_interval` - milliseconds between two full collections of garbage in each worker, between calls, or `:infinity` (default): Python
      collects when it likes
    * `:gc_freeze` - `true`: what is there when a worker's start hooks have run is never looked at by a collection again (default `false`)
    * `:vitals_interval` - milliseconds between two looks at what the system says of a worker: memory, processor time, threads, open files
      (default 10 000), or `:infinity`. The port program looks; Python is not disturbed. See `docs/events.md`
    * `:gc_pauses` - microseconds: collections of Python's garbage that take at least so long are events, or `:none` (default)
    * `:log_level` - records of Python's `logging` from this level on arrive in `Logger`: `:debug`, `:info` (default), `:notice`, `:warning`,
      `:error`, `:critical`, or `:none`, which leaves Python's logging as it is; see `docs/logs.md`
    * `:runtime_dir` - where the pool's private socket folder is made (default: `PITCREW_RUNTIME_DIR`, else
      `XDG_RUNTIME_DIR`, else `/tmp`)
    * `:telemetry_prefix` - the beginning of event names (default `[:pitcrew]`)
    * `:protocol` - how calls travel: `:msgpack` (default), `:json` for frames that people can read, or `:auto`, which is
      `:msgpack`, the faster one at every payload (`Pitcrew.Protocol`). JSON carries fewer types, and needs jansson: see `docs/json.md`
    * `:binaries` - `:str` (default): binaries arrive in Python as `str`; `:bytes`: as `bytes`
    * `:bytes` - `:plain` (default): Python's `bytes` arrive as binaries, like its `str`; `:tagged`: as `Pitcrew.Bytes`, for those
      who must send them back
    * `nil` - the atom that stands for Python's `None`: `nil` (default) or `:undefined`
    * `:copy_binaries` - `true`: no binary of a result shares memory with another; see `Pitcrew.call/4` (default `false`)
    * `:keys` - what becomes of a map whose keys Python calls equal (`1`, `1.0` and `true`; `"a"` and `:a`): with `:dict`
      (default) an error that names the path and both keys; with `:strict` it arrives as a `pitcrew.Map`, which keeps them
      apart and comes back equal. Other maps are a `dict` either way
    * `:shared` - whether payloads of 64 KiB and more lie in shared memory (default `true`): see `docs/buffers.md`
    * `:max_shared` - how many bytes of results in shared memory terms may hold; further ones are copied into ordinary binaries. Also what the
      segments of each worker may have in all, each way (default 1 GiB)
    * `:on_hold` - milliseconds for which a process may hold a result in shared memory before an event names it, or `:infinity` (default 30 000)
    * `:cache` - `true`, or a keyword list or map with some of `:max_entries` (default 10 000), `:max_bytes` (64 MiB), `:ttl` (300 000 milliseconds, or
      `:infinity`) and `:backend` (`:ets`, or `{:redis, options}` to share them with other nodes): results of tools declared `@tool(idempotent=True)` are kept for equal calls; see `Pitcrew.Cache` and
      `docs/cache.md` (default `false`)
    * `:metrics` - `false`: nothing is counted for `Pitcrew.stats/1` and `Pitcrew.Metrics` (default `true`)
    * `:max_frame` - the largest message in bytes, payloads in shared memory included (default 1 GiB)
    * `:spin_us` - microseconds, at most 200, that a caller and its worker poll for the other's frame before they sleep until
      it is there, as long as polling pays: see `docs/performance.md` (default 50; 0: never)
    * `:pipeline` - how many calls a worker may hold at once, 1 to 1 024 (default 1). It runs one at a time; with more than one the
      others wait inside it, so that it never waits for the VM: several times the calls a second for many callers and quick tools.
      When a worker dies, only the call that it had started is lost; the others are sent to another worker
    * `:concurrency` or `:connection_pool_size` - how many calls a worker runs at once, 1 to 1 024 (default 1): `async def` tools on an event loop, others
      in threads; with 1 they run on the main thread. `:pipeline` is at least this much. See `docs/concurrency.md`
    * `:pipeline_age` - milliseconds after which calls that wait behind a running one move to a worker that has nothing to do
      (default 1)

  An unknown or misspelt option, or one of the wrong type, is an error that says what was given and what is allowed:

      iex> {:error, error} = Pitcrew.Pool.start_link(name: MyApp.Other, siz: 4)
      iex> error.kind
      :invalid_option
      iex> error.message =~ "did you mean size?"
      true
  """

  @type options :: keyword() | map()

  @doc "A child specification for `Supervisor`; its id is the pool's name."
  @spec child_spec(options()) :: Supervisor.child_spec()
  def child_spec(opts), do: %{:pitcrew_pool.child_spec(opts) | start: {__MODULE__, :start_child, [opts]}}

  @doc false
  # Elixir prints an exception that comes with a stacktrace as text, so Python's traceback stays readable.
  def start_child(opts) do
    with {:error, %Pitcrew.Error{} = error} <- start_link(opts),
         do: {:error, {error, [{__MODULE__, :start_link, 1, []}]}}
  end

  @doc "Starts a pool; returns when its workers are ready."
  @spec start_link(options()) :: {:ok, pid()} | {:error, Pitcrew.Error.t() | {:already_started, pid()}}
  def start_link(opts) do
    with {:error, error} <- :pitcrew_pool.start_link(opts), do: {:error, Pitcrew.Error.from(error)}
  end

  @doc """
  Replaces one worker, by its `id` in `Pitcrew.info/1`, as `:max_calls` does: another one is ready before it takes no more calls, and it
  ends those that it has. Returns as soon as that has begun.
  """
  @spec recycle(Pitcrew.pool(), integer()) :: :ok | {:error, Pitcrew.Error.t()}
  def recycle(pool, worker) do
    with {:error, error} <- :pitcrew_pool.recycle(pool, worker), do: {:error, Pitcrew.Error.from(error)}
  end

  @doc "Stops a pool: its workers end in an orderly way, or are killed after `:grace`."
  @spec stop(Pitcrew.pool()) :: :ok | {:error, Pitcrew.Error.t()}
  def stop(pool) do
    with {:error, error} <- :pitcrew_pool.stop(pool), do: {:error, Pitcrew.Error.from(error)}
  end
end
