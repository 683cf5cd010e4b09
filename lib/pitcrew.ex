defmodule Pitcrew do
  @moduledoc """
  Calls Python from Elixir: a supervised pool of Python workers, each an operating-system process of its own.

      children = [
        {Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"], cd: "python", size: 4}
      ]

      {:ok, 3} = Pitcrew.call(MyApp.Py, "add", [1, 2])

  A tool is a Python function with the decorator `tool`:

      # python/my_tools.py
      from pitcrew import tool

      @tool
      def add(a, b):
          return a + b

  `Pitcrew.Pool` has the options of a pool, `Pitcrew.Error` what can go wrong, `Pitcrew.Telemetry` the events.

  ## Values

  | Elixir | Python | comes back as |
  |---|---|---|
  | `nil`, `true`, `false` | `None`, `True`, `False` | the same |
  | integer of any size | `int` | integer |
  | float, `:nan`, `:infinity`, `:neg_infinity` | `float` | the same |
  | binary (must be UTF-8) | `str` | binary |
  | `Pitcrew.bytes/1` | `bytes` | binary |
  | any other atom | `pitcrew.Atom`, a `str` | atom, if it exists |
  | list, tuple | `list`, `tuple` | the same |
  | map | `dict` | map |

  `docs/types.md` has the other rows: sets, dates and times, decimals, tensors, Arrow tables, pids and structs. What has no
  form is an error that names its place; nothing is dropped, merged or turned into text silently.
  """

  alias Pitcrew.Error

  @typedoc "A pool's name or its pid."
  @type pool :: atom() | pid()

  @typedoc "What a call is made to: a pool; a session, or its pool and its name; an object that stays in its worker."
  @type target :: pool() | Pitcrew.Session.t() | {pool(), name :: term()} | Pitcrew.Ref.t()

  @typedoc """
  The name of a tool, or of a function of a module that the pool's `:allow_import` names: `"numpy.linalg:norm"`,
  `"collections:Counter.fromkeys"`.
  """
  @type tool :: String.t() | atom()

  @typedoc "Positional arguments, keyword arguments, or both. A keyword list is a list of tuples like any other."
  @type args :: list() | map() | {list(), map()}

  @typedoc """
  Options of one call; those not given are the pool's.

    * `:timeout` - milliseconds or `:infinity`, for everything: waiting for a worker, the call, retries. At the deadline
      the caller gets its error; in the tool `pitcrew.Cancelled` is raised, and the worker is replaced. A tool learns from
      `pitcrew.deadline()` how many seconds are left
    * `:checkout_timeout` - milliseconds to wait for a free worker
    * `:function_timeout` - milliseconds for each function in the arguments that the tool calls, and each tool of the VM; by default what is left to
      the call
    * `:retry` - how many more times to try when the worker died in the middle; only for tools declared `@tool(idempotent=True)`
    * `:on_caller_exit` - what becomes of the call when its caller dies in the middle: `:cancel` (as at the deadline) or
      `:finish` (the tool runs to its end, for as long as the pool's `:timeout` at most, and its result is dropped)
    * `:protocol` - `:msgpack`, `:json` or `:auto`, which is `:msgpack`
    * `:binaries` - `:str` (binaries arrive as `str`) or `:bytes`
    * `:bytes` - `:plain` (Python's `bytes` arrive as binaries) or `:tagged` (as `Pitcrew.Bytes`)
    * `nil` - the atom that stands for Python's `None`: `nil` or `:undefined`
    * `:copy_binaries` - `true`: no binary of the result shares memory with another. By default large ones are parts of the message that
      brought them, which stays in memory as long as one of them does, at most 16 times its size
    * `:keys` - `:dict` (a map whose keys Python calls equal is an error) or `:strict` (it is a `pitcrew.Map`)
    * `:ref` - `true`: the result stays in its worker, and a `Pitcrew.Ref` comes back
    * `:cache` - `false`: goes round the pool's cache; `true`: uses it for any tool, not only for those that are declared idempotent; see `Pitcrew.Cache`
    * `:traceparent`, `:tracestate` - the trace that the call is a part of, as W3C's Trace Context has it: `docs/events.md`. A function that Python calls,
      and the calls that it makes, belong to it as well
  """
  @type option ::
          {:timeout, timeout()}
          | {:checkout_timeout, timeout()}
          | {:function_timeout, timeout()}
          | {:retry, non_neg_integer()}
          | {:on_caller_exit, :cancel | :finish}
          | {:protocol, :msgpack | :json | :auto}
          | {:binaries, :str | :bytes}
          | {:bytes, :plain | :tagged}
          | {nil, nil | :undefined}
          | {:copy_binaries, boolean()}
          | {:keys, :dict | :strict}
          | {:ref, boolean()}
          | {:cache, boolean()}
          | {:traceparent, String.t() | nil}
          | {:tracestate, String.t() | nil}

  @doc """
  Calls a tool and returns its result.

      iex> Pitcrew.call(MyApp.Py, "add", [1, 2])
      {:ok, 3}
      iex> Pitcrew.call(MyApp.Py, "greet", %{name: "Ada", greeting: "Good morning"})
      {:ok, "Good morning, Ada"}
      iex> Pitcrew.call(MyApp.Py, "greet", {["Ada"], %{greeting: "Hello"}}, timeout: 2_000)
      {:ok, "Hello, Ada"}

  Whatever goes wrong is data, and other calls do not notice:

      iex> {:error, error} = Pitcrew.call(MyApp.Py, "divide", [1, 0])
      iex> {error.kind, error.type, error.message}
      {:tool_error, "ZeroDivisionError", "division by zero"}

  A function in the arguments is one that the tool can call while it runs: `docs/tools.md`.

  To a session (`session/3`) the call goes to the session's worker. To a `Pitcrew.Ref` it is a call of a method of that object, and
  with one in the arguments it goes to the worker that has the object.
  """
  @spec call(target(), tool(), args(), [option()] | map()) :: {:ok, term()} | {:error, Error.t()}
  def call(target, tool, args \\ [], opts \\ []) do
    with {:error, error} <- :pitcrew.call(target, tool, args, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Like `call/4`, but returns the bare result and raises `Pitcrew.Error`.

      iex> Pitcrew.call!(MyApp.Py, "add", [1, 2])
      3
  """
  @spec call!(target(), tool(), args(), [option()] | map()) :: term()
  def call!(target, tool, args \\ [], opts \\ []) do
    case call(target, tool, args, opts) do
      {:ok, result} -> result
      {:error, error} -> raise error
    end
  end

  @typedoc """
  Options of a stream: those of a call, and

    * `:buffer` - how many chunks the tool may be ahead of whoever takes them, default 256. A chunk counts as one more for each
      64 KiB that it has

  `:timeout` is how long to wait for each chunk, and with the first one for a worker. `:retry` counts until the first chunk has come.
  `:ref`, `:cache` and the protocol `:json` are not for streams, and what a consumer's death does is what `on_caller_exit: :cancel` says.
  """
  @type stream_option :: option() | {:buffer, pos_integer()}

  @doc """
  A lazy stream of what a tool yields: a generator, an asynchronous one, or a tool that returns another iterator.

      iex> Pitcrew.stream(MyApp.Py, "count_to", [3]) |> Enum.to_list()
      [1, 2, 3]
      iex> Pitcrew.stream(MyApp.Py, "count_to", [1_000_000]) |> Stream.map(&(&1 * &1)) |> Enum.take(3)
      [1, 4, 9]

  Nothing happens before it is enumerated, and then it has a worker until its end. The tool runs on at most as far as `:buffer` says. Whoever takes
  no more chunks (`Enum.take/2`, an exception) closes the generator: its `finally` blocks run, and the worker is free when that is
  done. What goes wrong is raised, as `Pitcrew.Error`, behind the chunks that came before it.

      iex> stream = Pitcrew.stream(MyApp.Py, "divide", [1, 0])
      iex> try do
      ...>   Enum.to_list(stream)
      ...> rescue
      ...>   error in Pitcrew.Error -> error.kind
      ...> end
      :tool_error

  `docs/streams.md` has more.
  """
  @spec stream(target(), tool(), args(), [stream_option()] | map()) :: Enumerable.t()
  def stream(target, tool, args \\ [], opts \\ []) do
    Stream.resource(
      fn -> :pitcrew_stream.new(target, tool, args, opts) end,
      fn stream ->
        case :pitcrew_stream.batch(stream) do
          {:ok, chunks, rest} -> {chunks, rest}
          :done -> {:halt, :done}
          {:error, error} -> {:halt, Error.from(error)}
        end
      end,
      fn
        :done -> :ok
        %Error{} = error -> raise error
        stream -> :pitcrew_stream.stop(stream)
      end
    )
  end

  @doc """
  Has what a tool yields sent to a process, by a process of its own that is linked to the caller; returns a reference, and what
  `stop_stream/1` takes.

      iex> {ref, _stream} = Pitcrew.stream_to(self(), MyApp.Py, "count_to", [2])
      iex> for _ <- 1..3 do
      ...>   receive do
      ...>     {:pitcrew_stream, ^ref, message} -> message
      ...>   end
      ...> end
      [{:chunk, 1}, {:chunk, 2}, {:done, 2}]

  The last message is `{:done, chunks}` or `{:error, error}`. Chunks come as fast as the tool yields them, whether the receiver takes them or not;
  the stream ends when the receiver does.
  """
  @spec stream_to(pid(), target(), tool(), args(), [stream_option()] | map()) :: {reference(), :pitcrew_stream.sent()}
  def stream_to(receiver, target, tool, args \\ [], opts \\ []) do
    :pitcrew_stream.to(receiver, target, tool, args, opts, &Error.from/1)
  end

  @doc """
  Ends a stream that is sent to a process: the generator is closed, and `{:done, chunks}` is sent.
  """
  @spec stop_stream(:pitcrew_stream.sent()) :: :ok
  def stop_stream(sent), do: :pitcrew_stream.stop(sent)

  @doc """
  What arrives in Python, in the arguments of a call, as an iterator that asks for the elements of an enumerable as it needs them.

      iex> Pitcrew.call(MyApp.Py, "total", [Pitcrew.iterator(1..1000)])
      {:ok, 500_500}
      iex> Pitcrew.call(MyApp.Py, "first_of", [Pitcrew.iterator(Stream.iterate(1, &(&1 * 2))), 5])
      {:ok, [1, 2, 4, 8, 16]}

  Lists, maps and functions stay what they are in Python without it; a `Stream`, a `File.Stream` and an `IO.Stream` become such an iterator by
  themselves. The enumerable is enumerated in a process of its own, from the first time that Python asks on, and anew in each call. It is ended, so
  that its `after` functions run, when Python takes no more or the call ends.

  Option `:buffer` (256) says how many elements may be there that Python has not taken yet. `docs/streams.md` has more.
  """
  @spec iterator(Enumerable.t(), buffer: pos_integer()) :: Pitcrew.Iterator.t()
  def iterator(enumerable, opts \\ []) do
    _ = Enumerable.impl_for!(enumerable)
    Error.raising(fn -> :pitcrew.iterator(&Enumerable.reduce(enumerable, &1, &2), opts) end)
  end

  @typedoc """
  A call of a batch: a tool and its arguments, or a map that has them by name, where `:args` (a list) and `:kwargs` (a map) may be left out.
  """
  @type batch_call ::
          {tool(), args()} | %{required(:tool_id) => tool(), optional(:args) => list(), optional(:kwargs) => map()}

  @typedoc """
  Options of a tool of the VM.

    * `:doc`, `:schema` - what `pitcrew.elixir.tools()` says of it in Python; the schema is that of its parameters, a JSON schema as a map. Of a
      function `&Module.name/arity` they are found in the module's documentation and typespec, if it has any
    * `:parameters` - names of its arguments, in order, so that it can be called with them by name. Of such a function they are found too.
      Where they are not known, what is given by name comes as a map behind the other arguments
    * `:timeout` - milliseconds that it may take each time; by default the `:function_timeout` of the call
    * `:idempotent` - it may be called again with the same arguments. In a pool with a cache its results are kept; so they are with `:cache`,
      which says nothing else
    * `:replace` - whether it may take the place of another with that name, which is an error otherwise
  """
  @type tool_option ::
          {:doc, String.t() | nil}
          | {:schema, map() | nil}
          | {:parameters, [atom() | String.t()] | nil}
          | {:timeout, timeout()}
          | {:idempotent, boolean()}
          | {:cache, boolean()}
          | {:replace, boolean()}

  @doc """
  Lets tools in Python call a function of the VM by a name.

      iex> Pitcrew.register_tool(MyApp.Py, "shout", &String.upcase/1)
      :ok
      iex> for tool <- Pitcrew.registered_tools(MyApp.Py), do: {tool.name, tool.arity}
      [{"shout", 1}]
      iex> Pitcrew.unregister_tool(MyApp.Py, "shout")
      :ok

  In Python it is `pitcrew.elixir.shout("hello")`, in all calls to the pool, or to the session, at once, also in those that run. It stays until it is
  taken out, the pool stops, or the session ends, whatever becomes of the process that has registered it. One of a session hides one of the
  pool with the same name. `docs/tools.md` has more, and `Pitcrew.ToolRegistry` registers tools for all pools.
  """
  @spec register_tool(pool() | Pitcrew.Session.t() | {pool(), name :: term()}, tool(), fun(), [tool_option()] | map()) ::
          :ok | {:error, Error.t()}
  def register_tool(pool_or_session, name, fun, opts \\ []) do
    with {:error, error} <- :pitcrew.register_tool(pool_or_session, name, fun, opts), do: {:error, Error.from(error)}
  end

  @doc "Takes out what `register_tool/4` has put in; nothing, if there is nothing. Calls of the tool that run go on."
  @spec unregister_tool(pool() | Pitcrew.Session.t() | {pool(), name :: term()}, tool()) :: :ok | {:error, Error.t()}
  def unregister_tool(pool_or_session, name) do
    with {:error, error} <- :pitcrew.unregister_tool(pool_or_session, name), do: {:error, Error.from(error)}
  end

  @doc """
  The tools of the VM that calls to a pool or a session can call, in the order of their names.

  Each is a map with `:name`, `:doc`, `:schema`, `:parameters` (or `nil`), `:arity`, `:timeout` (or `nil`), `:idempotent`, and `:session`, whether
  it is the session's own. Raises `Pitcrew.Error` when there is no such pool or session.
  """
  @spec registered_tools(pool() | Pitcrew.Session.t() | {pool(), name :: term()}) :: [map()]
  def registered_tools(pool_or_session), do: Error.raising(fn -> :pitcrew.registered_tools(pool_or_session) end)

  @typedoc """
  Options of a batch: those of a call, and

    * `:batch_size` - how many calls go in one frame at most. By default as many as there are for each worker, at most 64; all of them
      to a tool declared `@tool(batch=True)`
    * `:max_concurrency` - how many frames are out at once; by default so many that every worker has one, and the next one waits

  `:timeout` is for the whole batch. `:checkout_timeout` counts for each frame; there is none if it is not given here.
  """
  @type batch_option :: option() | {:batch_size, pos_integer()} | {:max_concurrency, pos_integer()}

  @doc """
  Makes many calls, and returns what has become of each, in their order.

      iex> Pitcrew.batch(MyApp.Py, [{"add", [1, 2]}, {"greet", %{name: "Ada"}}, {"add", [3, 4]}])
      [{:ok, 3}, {:ok, "Hello, Ada"}, {:ok, 7}]

  Calls of one tool go in one frame, so that a small call costs a fraction of what it costs alone. One that fails spoils no other:

      iex> [{:ok, 2.0}, {:error, error}] = Pitcrew.batch(MyApp.Py, [{"divide", [4, 2]}, {"divide", [1, 0]}])
      iex> {error.kind, error.type, error.index}
      {:tool_error, "ZeroDivisionError", 1}

  `docs/batches.md` has more.
  """
  @spec batch(pool() | Pitcrew.Session.t() | {pool(), name :: term()}, [batch_call()], [batch_option()] | map()) ::
          [{:ok, term()} | {:error, Error.t()}]
  def batch(target, calls, opts \\ []), do: target |> :pitcrew.batch(calls, opts) |> Enum.map(&outcome/1)

  defp outcome({:error, error}), do: {:error, Error.from(error)}
  defp outcome(ok), do: ok

  @doc """
  Like `batch/3`, with the pool (or the session) as the option `:pool`.

      iex> calls = [%{tool_id: "add", args: [1, 2]}, %{tool_id: "greet", kwargs: %{name: "Ada"}}, {"add", [3, 4]}]
      iex> Pitcrew.execute_batch(calls, pool: MyApp.Py, batch_size: 10, timeout: 5_000)
      [{:ok, 3}, {:ok, "Hello, Ada"}, {:ok, 7}]
  """
  @spec execute_batch(
          [batch_call()],
          [{:pool, pool() | Pitcrew.Session.t() | {pool(), term()}} | batch_option()] | map()
        ) ::
          [{:ok, term()} | {:error, Error.t()}]
  def execute_batch(calls, opts), do: calls |> :pitcrew.execute_batch(opts) |> Enum.map(&outcome/1)

  @doc """
  Like `batch/3`, but returns the bare results and raises the first error, when all calls have ended.

      iex> Pitcrew.batch!(MyApp.Py, [{"add", [1, 2]}, {"add", [3, 4]}])
      [3, 7]
  """
  @spec batch!(pool() | Pitcrew.Session.t() | {pool(), name :: term()}, [batch_call()], [batch_option()] | map()) ::
          [term()]
  def batch!(target, calls, opts \\ []) do
    for outcome <- batch(target, calls, opts) do
      case outcome do
        {:ok, result} -> result
        {:error, error} -> raise error
      end
    end
  end

  @typedoc """
  Options of `map/4`: those of a call, each of which counts for one frame, and

    * `:batch_size` - how many elements go in one frame, default 1; for quick tools more
    * `:max_concurrency` - how many frames are out at once; by default one for each worker that there is at the beginning, or four
      where workers hold many calls
    * `:ordered` - `false`: results come as they are ready; by default in the order of the elements
  """
  @type map_option ::
          option() | {:batch_size, pos_integer()} | {:max_concurrency, pos_integer()} | {:ordered, boolean()}

  @doc """
  A lazy stream of what a tool makes of each element, which is its one argument.

      iex> Pitcrew.map(MyApp.Py, "add_one", 1..4) |> Enum.to_list()
      [{:ok, 2}, {:ok, 3}, {:ok, 4}, {:ok, 5}]
      iex> Pitcrew.map(MyApp.Py, "add_one", Stream.iterate(1, &(&1 * 2)), batch_size: 10) |> Enum.take(3)
      [{:ok, 2}, {:ok, 3}, {:ok, 5}]

  Elements are taken as calls end; in order, results that are ready wait in memory for a slower one before them. Whoever takes no more results (`Enum.take/2`, an exception)
  cancels the calls that run. In an error `index` says which element it was, from 0. Wrong values of the three options above raise `Pitcrew.Error`.
  """
  @spec map(pool() | Pitcrew.Session.t() | {pool(), name :: term()}, tool(), Enumerable.t(), [map_option()] | map()) ::
          Enumerable.t()
  def map(target, tool, enumerable, opts \\ []) do
    case :pitcrew_options.map(opts) do
      {:ok, own, rest} -> &reduce(enumerable, {target, tool, own, rest}, &1, &2)
      {:error, error} -> raise Error.from(error)
    end
  end

  # Each chunk is called by a task, with which its call ends.
  defp reduce(enumerable, {target, tool, %{batch_size: size} = own, opts}, acc, fun) do
    most = own.max_concurrency || :pitcrew_batch.width(target)
    inherit = :pitcrew_functions.inherit()

    call = fn {chunk, n} ->
      inherit.()
      :pitcrew_batch.each(target, tool, chunk, n * size, opts)
    end

    enumerable
    |> Stream.chunk_every(size)
    |> Stream.with_index()
    |> Task.async_stream(call, max_concurrency: most, ordered: own.ordered, timeout: :infinity)
    |> Stream.flat_map(fn {:ok, outcomes} -> Enum.map(outcomes, &outcome/1) end)
    |> Enumerable.reduce(acc, fun)
  end

  @doc ~S"""
  Runs Python code in a worker of a pool that allows it (`allow_eval: true`).

      iex> Pitcrew.eval(MyApp.Py, "x + 4", %{x: 3})
      {:ok, 7}
      iex> code = ~S'''
      ...> import math
      ...> total = math.fsum(xs)
      ...> total / len(xs)
      ...> '''
      iex> Pitcrew.eval(MyApp.Py, code, %{xs: [1, 2, 6]})
      {:ok, 3.0}

  The value of the last statement is the result if that is an expression, else it is `nil`. Each time the code has a
  namespace of its own, in which the names of `bindings` have their values. An error names the line:

      iex> {:error, error} = Pitcrew.eval(MyApp.Py, "a = 1\nb = a / 0")
      iex> {error.type, error.traceback =~ "line 2"}
      {"ZeroDivisionError", true}

  Otherwise this is a call like any other, of a tool with the name `pitcrew:eval`.
  """
  @spec eval(target(), String.t(), %{optional(atom() | String.t()) => term()}, [option()] | map()) ::
          {:ok, term()} | {:error, Error.t()}
  def eval(pool, code, bindings \\ %{}, opts \\ []) do
    with {:error, error} <- :pitcrew.eval(pool, code, bindings, opts), do: {:error, Error.from(error)}
  end

  @typedoc "A call that `async/4` has started, for this node."
  @type async :: :pitcrew.async()

  @doc """
  Starts a call and returns at once; `await/2` has its result.

      iex> calls = for n <- 1..3, do: Pitcrew.async(MyApp.Py, "add", [n, 1])
      iex> Enum.map(calls, &Pitcrew.await/1)
      [{:ok, 2}, {:ok, 3}, {:ok, 4}]

  The call, and its `:timeout`, begin now. Any process may await or cancel it. It ends with the process that started it,
  as `:on_caller_exit` says; a result that nobody takes is kept for as long.
  """
  @spec async(target(), tool(), args(), [option()] | map()) :: async()
  def async(target, tool, args \\ [], opts \\ []), do: :pitcrew.async(target, tool, args, opts)

  @doc """
  Waits for the result of a call: what `call/4` would have returned.

  After `timeout` milliseconds it is an error of the kind `:timeout`, and the call goes on: await it again, or cancel
  it.

      iex> call = Pitcrew.async(MyApp.Py, "wait_forever")
      iex> {:error, error} = Pitcrew.await(call, 20)
      iex> error.kind
      :timeout
      iex> Pitcrew.cancel(call)
      :ok

  A result can be taken once. Nothing is left in the mailbox.
  """
  @spec await(async(), timeout()) :: {:ok, term()} | {:error, Error.t()}
  def await(async, timeout \\ :infinity) do
    with {:error, error} <- :pitcrew.await(async, timeout), do: {:error, Error.from(error)}
  end

  @doc """
  Ends a call that `async/4` has started; returns at once.

      iex> call = Pitcrew.async(MyApp.Py, "wait_forever")
      iex> Pitcrew.cancel(call)
      :ok
      iex> {:error, error} = Pitcrew.await(call)
      iex> error.kind
      :cancelled

  In Python the exception `pitcrew.Cancelled` is raised in the tool, so that its `finally` blocks run; a tool that goes
  on is killed after the pool's `:grace`. Its worker is replaced, unless it holds many calls (`:pipeline`, `:concurrency`). A call that
  has ended is left alone, and its result may still be awaited.
  """
  @spec cancel(async()) :: :ok
  defdelegate cancel(async), to: :pitcrew

  @typedoc """
  Options of a session.

    * `:exclusive` - `true`: it has its worker for itself, which takes no other calls as long; it waits for one, at most
      `:checkout_timeout`. By default (`false`) sessions share their workers with each other and with other calls
    * `:ttl` - milliseconds after which it ends when it is not used, or `:infinity` (default); a call that runs is use
    * `:owner` - the process that it ends with (default: the one that starts it), or `nil`
    * `:on_start` - `{tool, args}`: called before any other call; if that fails the session does not start
    * `:on_worker_exit` - what becomes of it when its worker dies: with `:error` (default) every call says so from then on; with
      `:restart` it begins again in another worker, with an empty state and `:on_start`
    * `:timeout`, `:checkout_timeout` - of the call with which it begins (default: the pool's)
  """
  @type session_option ::
          {:exclusive, boolean()}
          | {:ttl, timeout()}
          | {:owner, pid() | nil}
          | {:on_start, {tool(), args()} | nil}
          | {:on_worker_exit, :error | :restart}
          | {:timeout, timeout()}
          | {:checkout_timeout, timeout()}

  @doc """
  Runs a function with a session, which ends with it: its calls go to the same worker, where `pitcrew.session.state` is a dict of
  the session's own.

      iex> Pitcrew.session(MyApp.Py, fn session ->
      ...>   {:ok, nil} = Pitcrew.call(session, "remember", ["name", "Ada"])
      ...>   Pitcrew.call!(session, "recall", ["name"])
      ...> end)
      {:ok, "Ada"}

  An error is one of the start; what the function raises is raised.
  """
  @spec session(pool(), (Pitcrew.Session.t() -> result), [session_option()] | map()) ::
          {:ok, result} | {:error, Error.t()}
        when result: term()
  def session(pool, fun, opts \\ []) when is_function(fun, 1) do
    with {:error, error} <- :pitcrew.session(pool, fun, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Starts a session with a name, by which any process may call it: `{pool, name}`. With the name `nil` it has none.

      iex> {:ok, session} = Pitcrew.start_session(MyApp.Py, {:cart, 17}, ttl: 60_000)
      iex> Pitcrew.call({MyApp.Py, {:cart, 17}}, "remember", ["items", 3])
      {:ok, nil}
      iex> Pitcrew.call(session, "recall", ["items"])
      {:ok, 3}
      iex> Pitcrew.stop_session(session)
      :ok
      iex> {:error, error} = Pitcrew.call({MyApp.Py, {:cart, 17}}, "recall", ["items"])
      iex> error.kind
      :no_session
  """
  @spec start_session(pool(), name :: term(), [session_option()] | map()) ::
          {:ok, Pitcrew.Session.t()} | {:error, Error.t()}
  def start_session(pool, name, opts \\ []) do
    with {:error, error} <- :pitcrew.start_session(pool, name, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Ends a session: its calls are refused from then on, those that wait are ended, those that run go on, and then its worker drops what
  it kept.
  """
  @spec stop_session(Pitcrew.Session.t() | {pool(), name :: term()}) :: :ok | {:error, Error.t()}
  def stop_session(session) do
    with {:error, error} <- :pitcrew.stop_session(session), do: {:error, Error.from(error)}
  end

  @doc """
  An attribute of an object that stays in its worker.

      iex> {:ok, number} = Pitcrew.call(MyApp.Py, "echo", [7], ref: true)
      iex> Pitcrew.attribute(number, "numerator")
      {:ok, 7}

  Names that begin with an underscore are refused, as those of methods are.
  """
  @spec attribute(Pitcrew.Ref.t(), tool(), [option()] | map()) :: {:ok, term()} | {:error, Error.t()}
  def attribute(%Pitcrew.Ref{} = ref, name, opts \\ []) do
    with {:error, error} <- :pitcrew.attribute(ref, name, opts), do: {:error, Error.from(error)}
  end

  @doc """
  A copy of an object that stays in its worker, if it is one that can be sent.

      iex> {:ok, list} = Pitcrew.call(MyApp.Py, "echo", [[1, 2]], ref: true)
      iex> Pitcrew.value(list)
      {:ok, [1, 2]}
  """
  @spec value(Pitcrew.Ref.t(), [option()] | map()) :: {:ok, term()} | {:error, Error.t()}
  def value(%Pitcrew.Ref{} = ref, opts \\ []) do
    with {:error, error} <- :pitcrew.value(ref, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Marks a binary as bytes: it arrives in Python as `bytes`, whatever is in it.

      iex> Pitcrew.call!(MyApp.Py, "type_name", [Pitcrew.bytes(<<0, 255>>)])
      "bytes"
      iex> Pitcrew.call!(MyApp.Py, "type_name", ["text"])
      "str"
  """
  @spec bytes(binary()) :: Pitcrew.Bytes.t()
  defdelegate bytes(binary), to: :pitcrew

  @doc """
  The trace that this process works for: in a function that Python has called, what its call was given as `:traceparent` and
  `:tracestate`, as a map; otherwise `nil`. Calls made there belong to that trace unless they have one of their own.

      iex> Pitcrew.trace_context()
      nil
  """
  @spec trace_context() :: %{:traceparent => String.t(), optional(:tracestate) => String.t()} | nil
  defdelegate trace_context(), to: :pitcrew

  @doc """
  The tools of a pool: name, documentation, parameters. Raises `Pitcrew.Error` if there is no such pool.

      iex> add = Enum.find(Pitcrew.tools(MyApp.Py), &(&1.name == "add"))
      iex> {add.doc, Enum.map(add.params, & &1.name)}
      {"The sum of two values.", ["a", "b"]}
  """
  @spec tools(pool()) :: [map()]
  def tools(pool), do: Error.raising(fn -> :pitcrew.tools(pool) end)

  @doc """
  What a pool is doing: its size, what is free and queued, and its operating-system processes. Raises `Pitcrew.Error` if
  there is no such pool.

      iex> info = Pitcrew.info(MyApp.Py)
      iex> {info.name, info.size, length(info.workers) >= 2}
      {MyApp.Py, 2, true}
  """
  @spec info(pool()) :: map()
  def info(pool), do: Error.raising(fn -> :pitcrew.info(pool) end)

  @doc """
  How a pool is, for a health check: `:ok`, `:degraded` when workers fail at their start again and again while others serve, or
  `:down` when none serves, with the error that they fail with. Raises `Pitcrew.Error` if there is no such pool.

      iex> health = Pitcrew.health(MyApp.Py)
      iex> {health.status, health.wanted, health.failure}
      {:ok, 2, nil}

  Each change of `status` is an event, see `Pitcrew.Telemetry`.
  """
  @spec health(pool()) :: map()
  def health(pool) do
    Error.raising(fn ->
      case :pitcrew.health(pool) do
        %{failure: nil} = health -> health
        %{failure: failure} = health -> %{health | failure: Error.from(failure)}
      end
    end)
  end

  @doc """
  What a pool has done, in numbers, since it has started.

      iex> Pitcrew.call!(MyApp.Py, "add", [1, 2])
      3
      iex> %{calls: calls, latency: %{p99: p99}, tools: %{"add" => add}} = Pitcrew.stats(MyApp.Py)
      iex> {calls >= add.calls, p99 > 0.0, add.error_rate <= 1.0}
      {true, true, true}

    * `:calls`, `:rate` - calls, and calls a second in the last ten seconds
    * `:errors`, `:error_rate` - how many by the kind of the error, and which share of all calls
    * `:latency`, `:queue` - maps with `:avg`, `:p50`, `:p90`, `:p99`, `:p999` and `:max`, in milliseconds, of whole calls, and of how long those had to wait that had to;
      `:python` has the `:avg` of the tools themselves
    * `:protocols` - how many calls travelled as `:msgpack`, and how many as `:json`
    * `:cache` - `:hits`, `:misses` and `:hit_rate`, or `nil` without a cache
    * `:utilization` - which share of the pool was in use in the last ten seconds
    * `:restarts`, `:started`, `:ended` - workers that had to be replaced, that were ready, and that have ended, by the reason
    * `:workers` - of each its `:os_pid`, `:state`, `:calls` and `:rss`, bytes of memory
    * `:tools` - the same figures of each tool, as far as they are the tool's

  `docs/metrics.md` has all of it. Raises `Pitcrew.Error` if there is no such pool, or it counts nothing (its option `:metrics`).
  """
  @spec stats(pool()) :: map()
  def stats(pool), do: Error.raising(fn -> :pitcrew.stats(pool) end)

  @doc """
  Starts a pool that stays until `stop_pool/2`, whatever becomes of the calling process. The options are those of `Pitcrew.Pool`,
  which is also what a supervision tree of yours starts.

      iex> {:ok, _} = Pitcrew.start_pool(name: MyApp.Spare, size: 1)
      iex> Pitcrew.stop_pool(MyApp.Spare)
      :ok
  """
  @spec start_pool(Pitcrew.Pool.options()) :: {:ok, pid()} | {:error, Error.t() | {:already_started, pid()}}
  def start_pool(opts) do
    with {:error, error} <- :pitcrew.start_pool(opts), do: {:error, Error.from(error)}
  end

  @doc """
  Imports the modules of a pool anew and replaces its workers, a quarter of them at a time, by such as have them.

  No call fails for it: each worker goes on until its successor is ready, and ends the calls that it has. Returns when all
  calls go to new workers. When the modules cannot be imported any more the workers stay as they are, and the error says what
  Python said; when a new worker cannot start it says so as well, the old ones go on, and it is tried again. `:timeout`
  (default 30 000 milliseconds) is how long to wait for either.

      iex> Pitcrew.reload(MyApp.Py)
      :ok
  """
  @spec reload(pool(), timeout: timeout()) :: :ok | {:error, Error.t()}
  def reload(pool, opts \\ []) do
    with {:error, error} <- :pitcrew.reload(pool, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Stops a pool in an orderly way: it takes no more calls, those that it has go on until they have ended, and then its workers leave.
  What has not ended after `:timeout` milliseconds (default 5 000) is cut, and its callers get errors of the kind `:pool_down`.

  A supervisor would start its pool again: there, terminate the child instead.
  """
  @spec stop_pool(pool(), timeout: timeout()) :: :ok | {:error, Error.t()}
  def stop_pool(pool, opts \\ []) do
    with {:error, error} <- :pitcrew.stop_pool(pool, opts), do: {:error, Error.from(error)}
  end
end
