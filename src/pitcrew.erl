%% @doc Calls Python tools in a pool of workers.
%%
%% ```
%% {ok, _} = pitcrew_pool:start_link(#{name => py, tools => ["my_tools"]}),
%% {ok, 3} = pitcrew:call(py, add, [1, 2]).
%% '''
-module(pitcrew).

-export([call/2, call/3, call/4, eval/2, eval/3, eval/4, bytes/1, tools/1, info/1, health/1]).
-export([start_pool/1, stop_pool/1, stop_pool/2, reload/1, reload/2]).
-export([async/2, async/3, async/4, await/1, await/2, cancel/1]).
-export_type([pool/0, tool/0, args/0, bindings/0, call_options/0, bytes/0, async/0]).

%% The name of a pool, or the pid that {@link pitcrew_pool:start_link/1} returned.
-type pool() :: atom() | pid().
%% The name of a tool, or of a function that the pool lets be called (`allow_import'): <<"numpy.linalg:norm">>.
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
%% `retry' counts only for tools that are declared idempotent, and only after the worker died.
%% `binaries' says what a binary is in Python, `nil' which atom is None. With `bytes => tagged' Python's bytes come back as
%% {@link bytes/1} makes them. A map whose keys Python calls equal (1, 1.0 and true; <<"a">> and a) is an error, or with
%% `keys => strict' arrives as a pitcrew.Map, which keeps them apart and comes back equal.
-type call_options() ::
    #{
        timeout => timeout(),
        checkout_timeout => timeout(),
        retry => non_neg_integer(),
        on_caller_exit => cancel | finish,
        protocol => msgpack | json | auto,
        binaries => str | bytes,
        bytes => plain | tagged,
        nil => nil | undefined,
        copy_binaries => boolean(),
        keys => dict | strict
    }
    | [{atom(), term()}].
%% A call that was started by {@link async/4}, for this node.
-type async() :: pitcrew_async:call().
-opaque bytes() :: #{'__struct__' := 'Elixir.Pitcrew.Bytes', data := binary()}.

%% @equiv call(Pool, Tool, [], [])
-spec call(pool(), tool()) -> {ok, term()} | {error, pitcrew_error:t()}.
call(Pool, Tool) -> pitcrew_call:run(Pool, Tool, [], []).

%% @equiv call(Pool, Tool, Args, [])
-spec call(pool(), tool(), args()) -> {ok, term()} | {error, pitcrew_error:t()}.
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
%% Times are in milliseconds. Never raises because of what Python does, and leaves nothing in the mailbox of the caller.
-spec call(pool(), tool(), args(), call_options()) -> {ok, term()} | {error, pitcrew_error:t()}.
call(Pool, Tool, Args, Options) -> pitcrew_call:run(Pool, Tool, Args, Options).

%% @equiv eval(Pool, Code, #{}, [])
-spec eval(pool(), unicode:chardata()) -> {ok, term()} | {error, pitcrew_error:t()}.
eval(Pool, Code) -> eval(Pool, Code, #{}, []).

%% @equiv eval(Pool, Code, Bindings, [])
-spec eval(pool(), unicode:chardata(), bindings()) -> {ok, term()} | {error, pitcrew_error:t()}.
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
-spec eval(pool(), unicode:chardata(), bindings(), call_options()) -> {ok, term()} | {error, pitcrew_error:t()}.
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

%% @equiv async(Pool, Tool, [], [])
-spec async(pool(), tool()) -> async().
async(Pool, Tool) -> pitcrew_async:start(Pool, Tool, [], []).

%% @equiv async(Pool, Tool, Args, [])
-spec async(pool(), tool(), args()) -> async().
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
-spec async(pool(), tool(), args(), call_options()) -> async().
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
%% (`pipeline'). A call that has ended is left alone, and its result may still be awaited.
-spec cancel(async()) -> ok.
cancel(Call) -> pitcrew_async:cancel(Call).

%% @doc Marks a binary that is to arrive in Python as `bytes', whatever the option `binaries' says.
%%
%% ```
%% {ok, 3} = pitcrew:call(py, len, [pitcrew:bytes(<<0, 255, 0>>)]).
%% '''
-spec bytes(binary()) -> bytes().
bytes(Data) when is_binary(Data) -> #{'__struct__' => 'Elixir.Pitcrew.Bytes', data => Data}.

%% @doc The tools of a pool: what Python's decorators and signatures say.
%%
%% Each is a map with `name', `doc', `module', `params' (maps with `name', `kind', `required', `annotation'), `idempotent' and
%% `kind'. Raises the {@link pitcrew_error:t()} when there is no such pool.
-spec tools(pool()) -> [map()].
tools(Pool) -> ask(Pool, tools).

%% @doc The state of a pool: `name', `size', `free', `queued', `start' (`fork' or `spawn'), `zygote', `guard' and `port' (operating-system
%% pids), `workers' (maps with `id', `os_pid', `state', `calls', `rss', `silent_ms', `running_ms', `in_c_ms'). A worker is `idle', `busy', or `ending', which is
%% interrupted or dying; until there is one, the state is that of its slot: `starting', `empty', or `resting' before the
%% next try.
%%
%% With each `heartbeat' of the pool workers tell how they are: bytes of memory of their own (`rss', with the option `max_rss'; else nil), for
%% how long they have not answered (`silent_ms'), how long their present call has been running at the least (`running_ms'), and for how long
%% it has not come back to the interpreter (`in_c_ms'), because it waits or computes in C, with the GIL or without.
%%
%% Raises the {@link pitcrew_error:t()} when there is no such pool.
-spec info(pool()) -> map().
info(Pool) -> ask(Pool, info).

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
