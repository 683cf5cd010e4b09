%% @doc Calls Python tools in a pool of workers.
%%
%% ```
%% {ok, _} = pitcrew_pool:start_link(#{name => py, tools => ["my_tools"]}),
%% {ok, 3} = pitcrew:call(py, add, [1, 2]).
%% '''
-module(pitcrew).

-export([call/2, call/3, call/4, eval/2, eval/3, eval/4, bytes/1, tools/1, info/1, health/1, stats/1]).
-export([start_pool/1, stop_pool/1, stop_pool/2, reload/1, reload/2]).
-export([batch/2, batch/3, execute_batch/2, trace_context/0]).
-export([register_tool/3, register_tool/4, unregister_tool/2, registered_tools/1]).
-export([async/2, async/3, async/4, await/1, await/2, cancel/1]).
-export([iterator/1, iterator/2, iterator/3]).
-export([stream/2, stream/3, stream/4, next/1, stop/1, stream_to/5]).
-export([session/2, session/3, start_session/2, start_session/3, stop_session/1, attribute/2, attribute/3, value/1, value/2]).
-export_type([pool/0, target/0, session/0, session_options/0, ref/0, tool/0, args/0, bindings/0, call_options/0, bytes/0, async/0]).
-export_type([iterator/0, iterator_options/0, stream/0, stream_options/0, batch_call/0, batch_options/0]).

%% The name of a pool, or the pid that {@link pitcrew_pool:start_link/1} returned.
-type pool() :: atom() | pid().
%% What a call is made to: a pool; a session, or its pool and its name; an object that stays in a worker.
-type target() :: pool() | session() | {pool(), Name :: term()} | ref().
-type session() :: pitcrew_sessions:session().
%% An object in a worker, as a tool returned it with `pitcrew.ref', or because of the option `ref'. `type' is what Python calls its class.
-type ref() :: #{
    '__struct__' := 'Elixir.Pitcrew.Ref', handle := pitcrew_nif:ref(), pool := atom(), type := binary()
}.
%% See {@link start_session/3}.
-type session_options() ::
    #{
        exclusive => boolean(),
        ttl => timeout(),
        on_worker_exit => error | restart,
        on_start => {tool(), args()} | nil,
        owner => pid() | nil,
        timeout => timeout(),
        checkout_timeout => timeout()
    }
    | [{atom(), term()}].
%% The name of a tool, or of a function that the pool lets be called (`allow_import'): `<<"numpy.linalg:norm">>'.
-type tool() :: binary() | atom().
%% Names of Python, atoms or binaries, and their values.
-type bindings() :: #{atom() | binary() => term()}.
%% Positional arguments, keyword arguments, or both.
-type args() :: list() | map() | {list(), map()}.
%% `timeout' covers everything: waiting for a worker, the call, and every retry. A tool learns from `pitcrew.deadline()' how many
%% seconds are left.
%% `on_caller_exit' says what becomes of a call whose caller dies in the middle: with `cancel' the tool is interrupted,
%% with `finish' it runs to its end, for as long as the pool's `timeout' at most, and its result is dropped.
%% `protocol' is how the call travels, `auto' being `msgpack'.
%% `function_timeout' is for each function in the arguments that the tool calls, and each tool of the VM; by default what is left to the call. docs/tools.md tells of functions.
%% `retry' counts only for tools that are declared idempotent, and only after the worker died.
%% `binaries' says what a binary is in Python, `nil' which atom is None. With `bytes => tagged' Python's bytes come back as
%% {@link bytes/1} makes them. A map whose keys Python calls equal (1, 1.0 and true; `<<"a">>' and a) is an error, or with
%% `keys => strict' arrives as a pitcrew.Map, which keeps them apart and comes back equal. With `ref => true' the result stays in the
%% worker, and a {@link ref()} comes back, as if the tool had returned `pitcrew.ref(result)'. `cache => false' goes round the pool's cache, and `cache => true' uses it
%% for any tool: docs/cache.md. `traceparent' and `tracestate' say which trace the call is a part of, as W3C has it: docs/events.md.
-type call_options() ::
    #{
        timeout => timeout(),
        checkout_timeout => timeout(),
        function_timeout => timeout(),
        retry => non_neg_integer(),
        on_caller_exit => cancel | finish,
        protocol => msgpack | json | auto,
        binaries => str | bytes,
        bytes => plain | tagged,
        nil => nil | undefined,
        copy_binaries => boolean(),
        keys => dict | strict,
        ref => boolean(),
        cache => boolean(),
        traceparent => binary() | nil,
        tracestate => binary() | nil
    }
    | [{atom(), term()}].
%% Those of a call, and `buffer': how many chunks the tool may be ahead of whoever takes them. One counts as one more for each 64 KiB that it
%% has. `timeout' is how long to wait for each chunk, and for the first one with its worker. `retry' counts before the first
%% chunk. `on_caller_exit', `ref', `cache' and the protocol json are not for streams.
-type stream_options() :: call_options() | #{buffer => pos_integer(), atom() => term()}.
%% What a tool yields; for the process that takes the first chunk.
-type stream() :: pitcrew_stream:stream().
%% One of a batch: a tool and its arguments, or a map that has them by name.
-type batch_call() :: pitcrew_batch:call().
%% Those of a call, and: `batch_size', how many calls go in one frame at most, and `max_concurrency', how many frames are out at once.
%% `timeout' is for the whole batch; `checkout_timeout' counts for each frame, and there is none if it is not given.
-type batch_options() ::
    #{batch_size => pos_integer(), max_concurrency => pos_integer(), atom() => term()} | [{atom(), term()}].
%% A call that was started by {@link async/4}, for this node.
-type async() :: pitcrew_async:call().
%% What {@link iterator/2} makes; Elixir's `%Pitcrew.Iterator{}'.
-type iterator() :: pitcrew_iterator:iterator().
%% How many elements may be made that Python has not taken yet, by default 256; and what is told the last state of {@link iterator/3}.
-type iterator_options() ::
    #{buffer => pos_integer(), stop => fun((State :: term()) -> term())} | [{buffer, pos_integer()} | {stop, fun((State :: term()) -> term())}].
-opaque bytes() :: #{'__struct__' := 'Elixir.Pitcrew.Bytes', data := binary()}.

%% @equiv call(Pool, Tool, [], [])
-spec call(target(), tool()) -> {ok, term()} | {error, pitcrew_error:t()}.
call(Pool, Tool) -> pitcrew_call:run(Pool, Tool, [], []).

%% @equiv call(Pool, Tool, Args, [])
-spec call(target(), tool(), args()) -> {ok, term()} | {error, pitcrew_error:t()}.
call(Pool, Tool, Args) -> pitcrew_call:run(Pool, Tool, Args, []).

%% @doc Calls a tool and waits for its result.
%%
%% ```
%% {ok, 3} = pitcrew:call(py, add, [1, 2]),
%% {ok, 3} = pitcrew:call(py, add, #{a => 1, b => 2}),
%% {ok, 3} = pitcrew:call(py, add, {[1], #{b => 2}}, #{timeout => 1000}),
%% {error, #{kind := tool_error, type := <<"TypeError">>}} = pitcrew:call(py, add, [1, <<"x">>]).
%% '''
%%
%% To a session the call goes to the session's worker; to a {@link ref()} it is a call of a method of that object, in the worker
%% that has it. So are references in the arguments: the call goes to their worker, where they are the objects themselves.
%%
%% Times are in milliseconds. Never raises because of what Python does, and leaves nothing in the mailbox of the caller.
-spec call(target(), tool(), args(), call_options()) -> {ok, term()} | {error, pitcrew_error:t()}.
call(Pool, Tool, Args, Options) -> pitcrew_call:run(Pool, Tool, Args, Options).

%% @equiv eval(Pool, Code, #{}, [])
-spec eval(target(), unicode:chardata()) -> {ok, term()} | {error, pitcrew_error:t()}.
eval(Pool, Code) -> eval(Pool, Code, #{}, []).

%% @equiv eval(Pool, Code, Bindings, [])
-spec eval(target(), unicode:chardata(), bindings()) -> {ok, term()} | {error, pitcrew_error:t()}.
eval(Pool, Code, Bindings) -> eval(Pool, Code, Bindings, []).

%% @doc Runs Python code in a worker of a pool that allows it (`allow_eval => true').
%%
%% ```
%% {ok, 7} = pitcrew:eval(py, "x + 4", #{x => 3}),
%% {ok, 6.0} = pitcrew:eval(py, <<"import math\nmath.fsum(xs)">>, #{xs => [1, 2, 3]}).
%% '''
%%
%% The value of the last statement is the result if that is an expression, else it is `nil'. Each time the code has a namespace of its own, in
%% which the names of `Bindings' have their values. An error has the line in its traceback. Otherwise this is a call like any other, of a tool
%% with the name `pitcrew:eval'.
-spec eval(target(), unicode:chardata(), bindings(), call_options()) -> {ok, term()} | {error, pitcrew_error:t()}.
eval(Pool, Code, Bindings, Options) -> call(Pool, pitcrew_permits:eval_tool(), [text(Code), Bindings], Options).

%% What is no text is for the call to refuse.
text(Code) when is_list(Code) ->
    try
        unicode:characters_to_binary(Code)
    catch
        error:badarg -> Code
    end;
text(Code) ->
    Code.

%% @equiv batch(Pool, Calls, [])
-spec batch(target(), [batch_call()]) -> [{ok, term()} | {error, pitcrew_error:t()}].
batch(Pool, Calls) -> pitcrew_batch:run(Pool, Calls, []).

%% @doc Makes many calls, and returns what has become of each, in their order.
%%
%% ```
%% [{ok, 3}, {ok, 7}] = pitcrew:batch(py, [{add, [1, 2]}, {add, #{a => 3, b => 4}}]),
%% [{ok, 2}, {error, #{kind := unknown_tool, index := 1}}] = pitcrew:batch(py, [{add, [1, 1]}, {ad, [1, 1]}]).
%% '''
%%
%% Calls of one tool go in one frame, at most 64 or `batch_size', so that a call costs a fraction of what it costs alone. One that fails
%% spoils no other. docs/batches.md has more.
-spec batch(target(), [batch_call()], batch_options()) -> [{ok, term()} | {error, pitcrew_error:t()}].
batch(Pool, Calls, Options) -> pitcrew_batch:run(Pool, Calls, Options).

%% @doc The same with the pool, or the session, as an option.
%%
%% ```
%% Calls = [#{tool_id => add, args => [1, 2]}, #{tool_id => add, kwargs => #{a => 3, b => 4}}],
%% [{ok, 3}, {ok, 7}] = pitcrew:execute_batch(Calls, #{pool => py, batch_size => 10, timeout => 5000}).
%% '''
-spec execute_batch([batch_call()], batch_options()) -> [{ok, term()} | {error, pitcrew_error:t()}].
execute_batch(Calls, Options) -> pitcrew_batch:execute(Calls, Options).

%% @equiv register_tool(PoolOrSession, Name, Function, [])
-spec register_tool(pool() | pitcrew_sessions:target(), atom() | unicode:chardata(), fun()) -> ok | {error, pitcrew_error:t()}.
register_tool(PoolOrSession, Name, Function) -> pitcrew_tools:register(PoolOrSession, Name, Function, []).

%% @doc Lets tools in Python call a function of the VM by a name: `pitcrew.elixir.search(query="beam")'.
%%
%% ```
%% ok = pitcrew:register_tool(py, search, fun(Query) -> my_index:search(Query) end, #{parameters => [query], doc => <<"Searches.">>}),
%% ok = pitcrew:unregister_tool(py, search).
%% '''
%%
%% It can be called in all calls to the pool, or to the session, at once, also in those that run. It stays until it is taken out, the pool stops, or the session
%% ends, whatever becomes of the process that has registered it. One of a session hides one of the pool with the same name.
%%
%% <ul>
%% <li>`doc', `schema': what `pitcrew.elixir.tools()' says of it; the schema is that of its parameters, a JSON schema as a map. Of a function
%%   `fun Module:Name/Arity' they are found in the module's documentation and spec, if it has any</li>
%% <li>`parameters': names of its arguments, in order, so that it can be called with them by name. Of such a function they are found too. Where they are
%%   not known, what is given by name comes as a map behind the other arguments</li>
%% <li>`timeout': milliseconds that it may take each time, by default the `function_timeout' of the call</li>
%% <li>`idempotent' (false): it may be called again with the same arguments. In a pool with a cache its results are kept; so they are with `cache', which says
%%   nothing else</li>
%% <li>`replace' (false): whether it may take the place of another with that name, which is an error otherwise</li>
%% </ul>
-spec register_tool(pool() | pitcrew_sessions:target(), atom() | unicode:chardata(), fun(), pitcrew_tools:options()) ->
    ok | {error, pitcrew_error:t()}.
register_tool(PoolOrSession, Name, Function, Options) -> pitcrew_tools:register(PoolOrSession, Name, Function, Options).

%% @doc Takes out what {@link register_tool/4} has put in; nothing, if there is nothing. Calls of the tool that run go on.
-spec unregister_tool(pool() | pitcrew_sessions:target(), atom() | unicode:chardata()) -> ok | {error, pitcrew_error:t()}.
unregister_tool(PoolOrSession, Name) -> pitcrew_tools:unregister(PoolOrSession, Name).

%% @doc The tools of the VM that calls to a pool or a session can call, in the order of their names: maps with `name', `doc', `schema', `parameters' (or nil), `arity',
%% `timeout' (or nil), `idempotent', and `session', whether it is the session's own. Raises the {@link pitcrew_error:t()} when there is no such pool or session.
-spec registered_tools(pool() | pitcrew_sessions:target()) -> [pitcrew_tools:info()].
registered_tools(PoolOrSession) ->
    case pitcrew_tools:list(PoolOrSession) of
        {ok, Tools} -> Tools;
        {error, Error} -> erlang:error(Error, [PoolOrSession])
    end.

%% @equiv async(Pool, Tool, [], [])
-spec async(target(), tool()) -> async().
async(Pool, Tool) -> pitcrew_async:start(Pool, Tool, [], []).

%% @equiv async(Pool, Tool, Args, [])
-spec async(target(), tool(), args()) -> async().
async(Pool, Tool, Args) -> pitcrew_async:start(Pool, Tool, Args, []).

%% @doc Starts a call and returns at once.
%%
%% ```
%% Calls = [pitcrew:async(py, add, [N, 1]) || N <- [1, 2, 3]],
%% [{ok, 2}, {ok, 3}, {ok, 4}] = [pitcrew:await(Call) || Call <- Calls].
%% '''
%%
%% The call, and its `timeout', begin now. Any process may await or cancel it. It ends with the process that started it,
%% as `on_caller_exit' says; a result that nobody takes is kept for as long.
-spec async(target(), tool(), args(), call_options()) -> async().
async(Pool, Tool, Args, Options) -> pitcrew_async:start(Pool, Tool, Args, Options).

%% @equiv await(Call, infinity)
-spec await(async()) -> {ok, term()} | {error, pitcrew_error:t()}.
await(Call) -> pitcrew_async:await(Call, infinity).

%% @doc Waits for the result of a call: what {@link call/4} would have returned.
%%
%% After `Timeout' milliseconds it is an error of the kind `timeout', and the call goes on: await it again, or cancel
%% it. A result can be taken once; after that, as after {@link cancel/1}, there is an error of the kind `cancelled'.
%% Nothing is left in the mailbox.
-spec await(async(), timeout()) -> {ok, term()} | {error, pitcrew_error:t()}.
await(Call, Timeout) -> pitcrew_async:await(Call, Timeout).

%% @doc Ends a call.
%%
%% ```
%% Call = pitcrew:async(py, search, [Query]),
%% ok = pitcrew:cancel(Call),
%% {error, #{kind := cancelled}} = pitcrew:await(Call).
%% '''
%%
%% Returns at once. In Python the exception `pitcrew.Cancelled' is raised in the tool, so that its `finally' blocks run;
%% a tool that goes on is killed after the pool's `grace'. Its worker is replaced, unless it holds many calls
%% (`pipeline', `concurrency'). A call that has ended is left alone, and its result may still be awaited.
-spec cancel(async()) -> ok.
cancel(Call) -> pitcrew_async:cancel(Call).

%% @equiv stream(Pool, Tool, [], [])
-spec stream(target(), tool()) -> stream().
stream(Pool, Tool) -> stream(Pool, Tool, [], []).

%% @equiv stream(Pool, Tool, Args, [])
-spec stream(target(), tool(), args()) -> stream().
stream(Pool, Tool, Args) -> stream(Pool, Tool, Args, []).

%% @doc What a tool yields that is a generator or an asynchronous one, or that returns another iterator.
%%
%% ```
%% Stream = pitcrew:stream(py, count_to, [3]),
%% {ok, 1, S1} = pitcrew:next(Stream),
%% {ok, 2, S2} = pitcrew:next(S1),
%% ok = pitcrew:stop(S2).
%% '''
%%
%% Nothing happens before the first {@link next/1}, and nothing of it can be used twice. See docs/streams.md.
-spec stream(target(), tool(), args(), stream_options()) -> stream().
stream(Pool, Tool, Args, Options) -> pitcrew_stream:new(Pool, Tool, Args, Options).

%% @doc The next chunk, and what is behind it; or that there are no more, or what went wrong after those that have come. Only for the
%% process that took the first one.
-spec next(stream()) -> {ok, term(), stream()} | done | {error, pitcrew_error:t()}.
next(Stream) -> pitcrew_stream:next(Stream).

%% @doc No more chunks are wanted: the generator is closed, so that its `finally' blocks run, and then the worker is free. One that does not end
%% within the pool's `grace' is interrupted, as a call at its deadline.
-spec stop(stream() | pitcrew_stream:sent()) -> ok.
stop(Stream) -> pitcrew_stream:stop(Stream).

%% @doc Has what a tool yields sent to a process: {pitcrew_stream, Ref, {chunk, Term}} for each chunk, and then {pitcrew_stream, Ref, {done, Chunks}} or
%% {pitcrew_stream, Ref, {error, Error}}.
%%
%% ```
%% {Ref, Stream} = pitcrew:stream_to(self(), py, count_to, [2], []),
%% receive {pitcrew_stream, Ref, {chunk, 1}} -> ok end,
%% ok = pitcrew:stop(Stream).
%% '''
%%
%% Whoever sends them is linked to the caller, does not wait for the receiver, and stops when that has ended.
-spec stream_to(pid(), target(), tool(), args(), stream_options()) -> {reference(), pitcrew_stream:sent()}.
stream_to(Receiver, Pool, Tool, Args, Options) -> pitcrew_stream:to(Receiver, Pool, Tool, Args, Options).

%% @equiv session(Pool, Fun, [])
-spec session(pool(), fun((session()) -> T)) -> {ok, T} | {error, pitcrew_error:t()}.
session(Pool, Fun) -> session(Pool, Fun, []).

%% @doc Runs a fun with a session, which ends with it.
%%
%% ```
%% {ok, 3} = pitcrew:session(py, fun(S) ->
%%     {ok, nil} = pitcrew:call(S, remember, [<<"a">>, 1]),
%%     {ok, nil} = pitcrew:call(S, remember, [<<"b">>, 2]),
%%     {ok, Sum} = pitcrew:call(S, sum),
%%     Sum
%% end).
%% '''
%%
%% Calls of a session go to the same worker, where `pitcrew.session.state' is a dict of the session's own. See {@link start_session/3}
%% for the options.
-spec session(pool(), fun((session()) -> T), session_options()) -> {ok, T} | {error, pitcrew_error:t()}.
session(Pool, Fun, Options) when is_function(Fun, 1) ->
    case pitcrew_options:session(Options) of
        {ok, Checked} -> pitcrew_session:run(Pool, Fun, Checked);
        {error, _} = Error -> Error
    end.

%% @equiv start_session(Pool, Name, [])
-spec start_session(pool(), Name :: term()) -> {ok, session()} | {error, pitcrew_error:t()}.
start_session(Pool, Name) -> start_session(Pool, Name, []).

%% @doc Starts a session with a name: any process may call it as `{Pool, Name}'. With `nil' or `undefined' it has none.
%%
%% <ul>
%% <li>`ttl' (infinity): milliseconds after which it ends when it is not used; a call that runs is use</li>
%% <li>`owner': the process that it ends with, by default the one that starts it; `nil' for none</li>
%% <li>`exclusive' (false): it has its worker for itself, which takes no other calls as long; others share theirs. It waits for one, at most
%%   `checkout_timeout'</li>
%% <li>`on_start': a tool and its arguments, called before any other call; if that fails the session does not start</li>
%% <li>`on_worker_exit': what becomes of it when its worker dies. With `error' every call says so from then on; with `restart' it begins
%%   again in another worker, with an empty state and `on_start'</li>
%% <li>`timeout', `checkout_timeout': of the call with which it begins, by default the pool's</li>
%% </ul>
-spec start_session(pool(), Name :: term(), session_options()) -> {ok, session()} | {error, pitcrew_error:t()}.
start_session(Pool, Name, Options) ->
    case pitcrew_options:session(Options) of
        {ok, Checked} when Name =:= nil; Name =:= undefined -> pitcrew_sessions:start(Pool, none, Checked);
        {ok, Checked} -> pitcrew_sessions:start(Pool, {name, Name}, Checked);
        {error, _} = Error -> Error
    end.

%% @doc Ends a session. Its calls are refused from then on, those that wait are ended, and those that run go on; then its worker drops what
%% it kept.
-spec stop_session(session() | {pool(), Name :: term()}) -> ok | {error, pitcrew_error:t()}.
stop_session(Session) -> pitcrew_sessions:stop(Session).

%% @equiv attribute(Ref, Name, [])
-spec attribute(ref(), tool()) -> {ok, term()} | {error, pitcrew_error:t()}.
attribute(Ref, Name) -> attribute(Ref, Name, []).

%% @doc An attribute of an object in a worker. Names that begin with an underscore are refused, as those of methods are.
-spec attribute(ref(), tool(), call_options()) -> {ok, term()} | {error, pitcrew_error:t()}.
attribute(#{'__struct__' := 'Elixir.Pitcrew.Ref'} = Ref, Name, Options) -> pitcrew_call:run(Ref, {attribute, Name}, [], Options).

%% @equiv value(Ref, [])
-spec value(ref()) -> {ok, term()} | {error, pitcrew_error:t()}.
value(Ref) -> value(Ref, []).

%% @doc A copy of an object in a worker, if it is one that can be sent.
-spec value(ref(), call_options()) -> {ok, term()} | {error, pitcrew_error:t()}.
value(#{'__struct__' := 'Elixir.Pitcrew.Ref'} = Ref, Options) -> pitcrew_call:run(Ref, {value}, [], Options).

%% @doc Marks a binary that is to arrive in Python as `bytes', whatever the option `binaries' says.
%%
%% ```
%% {ok, 3} = pitcrew:call(py, len, [pitcrew:bytes(<<0, 255, 0>>)]).
%% '''
-spec bytes(binary()) -> bytes().
bytes(Data) when is_binary(Data) -> #{'__struct__' => 'Elixir.Pitcrew.Bytes', data => Data}.

%% @equiv iterator(Source, [])
-spec iterator(pitcrew_iterator:source()) -> iterator().
iterator(Source) -> iterator(Source, []).

%% @doc What arrives in Python, in the arguments of a call, as an iterator that asks for the elements as it needs them: those of a list, or of what is reduced as Elixir's
%% `Enumerable' reduces, by a function of a command and a reducer.
%%
%% ```
%% {ok, 6} = pitcrew:call(py, sum, [pitcrew:iterator([1, 2, 3])]).
%% '''
%%
%% Each call enumerates it anew. See docs/streams.md. Raises the {@link pitcrew_error:t()} where the options are wrong.
-spec iterator(pitcrew_iterator:source(), iterator_options()) -> iterator().
iterator(Source, Options) -> made(pitcrew_iterator:new(Source, Options)).

%% @doc The same of what a function gives, together with the state that it is called with next, as {@link next/1} does.
%%
%% ```
%% Stream = pitcrew:stream(py, count_to, [1000000]),
%% {ok, 500000500000} = pitcrew:call(other, sum, [pitcrew:iterator(fun pitcrew:next/1, Stream, #{stop => fun pitcrew:stop/1})]).
%% '''
%%
%% Option `stop' is called with the last state, whatever ends it.
-spec iterator(fun((State) -> {ok, Element :: term(), State} | done | {error, Reason :: term()}), State, iterator_options()) -> iterator().
iterator(Next, State, Options) when is_function(Next, 1) -> made(pitcrew_iterator:unfold(Next, State, Options)).

made({ok, Made}) -> Made;
made({error, Error}) -> error(Error).

%% @doc The tools of a pool: what Python's decorators and signatures say.
%%
%% Each is a map with `name', `doc', `module', `params' (maps with `name', `kind', `required', `annotation'), `idempotent' and
%% `kind'. Raises the {@link pitcrew_error:t()} when there is no such pool.
-spec tools(pool()) -> [map()].
tools(Pool) -> ask(Pool, tools).

%% @doc The state of a pool: `name', `size', `concurrency', `free', `queued', `start' (`fork' or `spawn'), `zygote', `guard' and `port' (operating-system
%% pids), `workers' (maps with `id', `os_pid', `state', `calls' in all, `running', `rss', `silent_ms', `running_ms', `in_c_ms', `resident', `cpu_ms', `threads', `files'). A worker is `idle', `busy', or `ending', which is
%% interrupted or dying; until there is one, the state is that of its slot: `starting', `empty', or `resting' before the
%% next try.
%%
%% With each `heartbeat' of the pool workers tell how they are: bytes of memory of their own (`rss', with the option `max_rss'; else nil), for
%% how long they have not answered (`silent_ms'), how long their present call has been running at the least (`running_ms'), and for how long
%% it has not come back to the interpreter (`in_c_ms'), because it waits or computes in C, with the GIL or without.
%%
%% Each `vitals_interval' the system is asked about each worker: bytes of it that are in memory, those among them that it shares with others (`resident'), the processor
%% time that it has used in milliseconds (`cpu_ms'), its `threads', and its open `files'; nil until then.
%%
%% `buffers' says what terms hold of the pool's shared memory: `bytes' of at most `most', in `payloads', and the hundred oldest `holders', maps with
%% the `pid' that was given one, `bytes', and for how many `ms' it has been there; nil with `shared => false'. docs/buffers.md.
%%
%% Raises the {@link pitcrew_error:t()} when there is no such pool.
-spec info(pool()) -> map().
info(Pool) -> ask(Pool, info).

%% @doc What a pool has done, in numbers: `calls' and how many of them fail (`error_rate', and `errors' by their kind), `rate', calls a second in the last ten
%% seconds, `latency' and `queue' with `avg', `p50', `p90', `p99', `p999' and `max' in milliseconds, `python', how long tools ran, `protocols', `cache' with its
%% `hit_rate'; `utilization', how much of the pool was in use in the last ten seconds, `restarts', and `workers' with their `rss' in bytes; and of each of `tools' the same
%% as far as it is the tool's.
%%
%% ```
%% #{rate := Rate, latency := #{p99 := Ms}, tools := #{<<"add">> := #{calls := Calls}}} = pitcrew:stats(py).
%% '''
%%
%% Since the pool has started. docs/metrics.md has all of it. Raises the {@link pitcrew_error:t()} when there is no such pool, or it counts nothing (its option `metrics').
-spec stats(pool()) -> map().
stats(Pool) -> pitcrew_metrics:stats(Pool).

%% @doc The trace that this process works for, where it runs a function that Python has called in a call with the option `traceparent';
%% otherwise nil. Calls that it makes belong to that trace unless they have one of their own.
-spec trace_context() -> pitcrew_trace:context() | nil.
trace_context() -> pitcrew_trace:context().

%% @equiv pitcrew_pool:health(Pool)
-spec health(pool()) -> map().
health(Pool) -> ask(Pool, health).

%% @equiv pitcrew_pool:start(Options)
-spec start_pool(pitcrew_pool:options()) -> {ok, pid()} | {error, pitcrew_error:t() | {already_started, pid()}}.
start_pool(Options) -> pitcrew_pool:start(Options).

%% @equiv pitcrew_pool:stop(Pool, [])
-spec stop_pool(pool()) -> ok | {error, pitcrew_error:t()}.
stop_pool(Pool) -> pitcrew_pool:stop(Pool, []).

%% @equiv pitcrew_pool:stop(Pool, Options)
-spec stop_pool(pool(), #{timeout => timeout()} | [{timeout, timeout()}]) -> ok | {error, pitcrew_error:t()}.
stop_pool(Pool, Options) -> pitcrew_pool:stop(Pool, Options).

%% @equiv pitcrew_pool:reload(Pool, [])
-spec reload(pool()) -> ok | {error, pitcrew_error:t()}.
reload(Pool) -> pitcrew_pool:reload(Pool, []).

%% @equiv pitcrew_pool:reload(Pool, Options)
-spec reload(pool(), #{timeout => timeout()} | [{timeout, timeout()}]) -> ok | {error, pitcrew_error:t()}.
reload(Pool, Options) -> pitcrew_pool:reload(Pool, Options).

ask(Pool, What) ->
    case pitcrew_pools:find(Pool) of
        {ok, Entry} -> pitcrew_pool_server:ask(Entry, What);
        absent -> erlang:error(pitcrew_call:no_pool(Pool), [Pool])
    end.
