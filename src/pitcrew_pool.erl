%% @doc Pools of Python workers, for a supervision tree or on their own.
%%
%% ```
%% {ok, Pid} = pitcrew_pool:start_link(#{name => py, tools => ["my_tools"], size => 4}),
%% {ok, 3} = pitcrew:call(py, add, [1, 2]),
%% ok = pitcrew_pool:stop(py).
%% '''
%%
%% In a supervisor: `pitcrew_pool:child_spec(#{name => py, tools => ["my_tools"]})'.
-module(pitcrew_pool).

-include("pitcrew_pool.hrl").

-export([start_link/1, start/1, child_spec/1, stop/1, stop/2, reload/1, reload/2, recycle/2, health/1]).
-export_type([options/0]).

%% `name' (an atom) is required.
%%
%% <ul>
%% <li>`tools': names of the Python modules that hold the tools</li>
%% <li>`preload': names of other modules that are imported before those, so that workers share them (with `start': `spawn' each
%%   worker imports them)</li>
%% <li>`allow_eval' (`false'): whether callers may send code, see {@link pitcrew:eval/4}</li>
%% <li>`allow_import': modules and packages whose functions may be called like tools, `[<<"numpy">>, <<"math">>]' for one: then
%%   `<<"numpy.linalg:norm">>' is the name of a tool. Each worker imports such a module when it is called for the first time. docs/calls.md says what
%%   can be reached</li>
%% <li>`python': path or command of the interpreter; by default the variable PITCREW_PYTHON, or `python3'</li>
%% <li>`size' (also `pool_size'): number of workers; by default one for each scheduler</li>
%% <li>`lazy' (`false'): with `true' no worker is started before the first call needs it, and each leaves when it has had nothing to do for
%%   `idle_timeout'. The modules are imported at once all the same (but with `start => spawn'), so that errors show</li>
%% <li>`max_overflow' (0): how many workers more than `size' are started while calls wait: when one has waited for 2 ms</li>
%% <li>`idle_timeout' (10000): milliseconds without a call after which a worker leaves that there is beyond `size', or in a lazy pool; or
%%   `infinity'</li>
%% <li>`max_queue' (`infinity'): how many calls may wait for a worker; more get an error of the kind `overloaded' at once. Not counted are
%%   those for which a worker is still to be started</li>
%% <li>`strategy': whether the free worker is taken that was used last (`lifo', the default: its memory is warm, and others can leave) or the one
%%   that has been free for longest (`fifo': all are used alike)</li>
%% <li>`max_calls' (`infinity'): a worker that has had so many calls is replaced. Its successor is ready before it leaves, so it has a
%%   few more</li>
%% <li>`max_age' (`infinity'): the same after so many milliseconds, or up to a tenth earlier, lest all be replaced at once</li>
%% <li>`linger' (60000): milliseconds that a worker which is to be replaced, or is not needed any more, stays for its sessions and for
%%   objects that are referred to, or `infinity'. Then those sessions end as if it had died</li>
%% <li>`env': variables for Python; `nil' or `false' removes one</li>
%% <li>`cd': the folder that Python runs in</li>
%% <li>`timeout' (30000), `checkout_timeout' (5000), `function_timeout' (infinity), `retry' (0): see {@link pitcrew:call/4}</li>
%% <li>`on_caller_exit': what becomes of a call whose caller dies in the middle: `cancel' (default) interrupts the tool
%%   as at the deadline, `finish' lets it run to its end, for as long as `timeout' at most, and drops its result</li>
%% <li>`start_timeout' (30000): until every worker must be ready</li>
%% <li>`start': `fork' the workers from one process that has imported everything, `spawn' an interpreter for each,
%%   or `auto': fork unless the imports left threads behind. docs/forking.md has the rules of forking</li>
%% <li>`grace' (300): milliseconds that a worker has for an orderly end, after an interrupt or when the pool stops,
%%   before it is killed</li>
%% <li>`thread_limits' (1): threads that OpenMP, OpenBLAS, MKL and their like may use in a worker, or `none'</li>
%% <li>`rlimits': a map with some of `address_space' (bytes), `cpu' (seconds of processor time), `files' (descriptors): what each worker may
%%   use. Beyond it a tool gets MemoryError, its worker SIGXCPU, a tool OSError; see docs/limits.md</li>
%% <li>`nice' (0): how much, at most 19, workers stand back behind other processes</li>
%% <li>`heartbeat' (1000): milliseconds between two questions whether a worker is alive, or `infinity'. One that is stopped (SIGSTOP) is
%%   killed and replaced; one that computes, or holds the GIL, is not. See docs/limits.md</li>
%% <li>`max_rss' (`infinity'): bytes of memory that a worker may have for itself, shared pages not counted. One that has more clears
%%   its caches (`@pitcrew.on_memory_pressure') and collects garbage between two calls, and is replaced if that does not help</li>
%% <li>`gc_interval' (`infinity'): milliseconds between two full collections of garbage in each worker, between calls</li>
%% <li>`gc_freeze' (`false'): with `true' no collection looks again at what is there when a worker's start hooks have run</li>
%% <li>`vitals_interval' (10000): milliseconds between two looks at what the system says of a worker: memory, processor time, threads, open files;
%%   or `infinity'. The port program looks; Python is not disturbed. See docs/events.md</li>
%% <li>`gc_pauses' (`none'): microseconds; collections of Python's garbage that take at least so long are events</li>
%% <li>`log_level' (`info'): records of Python's `logging' from this level on arrive in the VM's logger: `debug', `info', `notice', `warning',
%%   `error', `critical', or `none', which leaves Python's logging as it is. See docs/logs.md</li>
%% <li>`runtime_dir': where the pool's private directory with its socket is made</li>
%% <li>`telemetry_prefix' (`[pitcrew]')</li>
%% <li>`protocol': `msgpack' (default), `json', or `auto', which is `msgpack', the faster one at every payload ({@link pitcrew_protocol}). See docs/json.md
%%   for what JSON carries, and needs</li>
%% <li>`binaries': whether a binary arrives in Python as `str' (default) or as `bytes'</li>
%% <li>`nil': the atom that stands for None, `nil' (default) or `undefined'</li>
%% <li>`copy_binaries': with `true' no binary of a result shares memory with another. By default (`false') large ones are parts of the message
%%   that brought them, which stays in memory as long as one of them does, at most 16 times its size</li>
%% <li>`shared' (`true'): whether payloads of 64 KiB and more lie in shared memory; docs/buffers.md</li>
%% <li>`max_shared' (1 GiB): bytes of results in shared memory that terms may hold; further ones are copied into ordinary binaries. Also what the
%%   segments of each worker may have in all, each way</li>
%% <li>`on_hold' (30,000): milliseconds for which a process may hold a result in shared memory before an event,
%%   `[pitcrew, pool, on_hold]', names it; `infinity'</li>
%% <li>`cache' (`false'): `true', or a map with some of `max_entries' (10,000), `max_bytes' (64 MiB), `ttl' (300,000 milliseconds) and `backend' (`ets', or `{redis, Options}' to share them with other nodes):
%%   results of tools that are declared idempotent are kept for equal calls; docs/cache.md</li>
%% <li>`metrics' (true): whether calls are counted for {@link pitcrew:stats/1} and {@link pitcrew_metrics}</li>
%% <li>`max_frame' (1 GiB): bytes of the largest call or result, payloads in shared memory included</li>
%% <li>`spin_us' (50): microseconds, at most 200, that a caller and its worker poll for the other's frame before they sleep until it is
%%   there, as long as polling pays: see docs/performance.md. 0: never</li>
%% <li>`pipeline' (1): how many calls a worker may hold at once, at most 1024. It runs one at a time, or as `concurrency' says; the others wait inside it, so that it never
%%   waits for the VM. When a worker dies, only the call that it had started is lost; the others are sent to another worker</li>
%% <li>`concurrency' (1; also `connection_pool_size'): how many calls a worker runs at once, at most 1024: `async def' tools on an event loop, others in threads. With 1 they run on
%%   the main thread. `pipeline' is at least this much. See docs/concurrency.md</li>
%% <li>`pipeline_age' (1): milliseconds after which calls that wait behind a running one move to a worker that has nothing to do</li>
%% </ul>
-type options() :: map() | [{atom(), term()}].

%% @doc Starts a pool and returns when all its workers are ready. When it cannot start, nothing is left behind and the error
%% says what to do.
-spec start_link(options()) -> {ok, pid()} | {error, pitcrew_error:t() | {already_started, pid()}}.
start_link(Given) -> begin_with(Given, {fun pitcrew_pool_sup:start_link/1, fun end_supervisor/1}).

%% @doc The same for a pool of nobody's: it stays until {@link stop/1}, whatever becomes of the calling process. Should its own supervisor
%% give up, it is started again.
-spec start(options()) -> {ok, pid()} | {error, pitcrew_error:t() | {already_started, pid()}}.
start(Given) -> begin_with(Given, {fun pitcrew_sup:start_pool/1, fun pitcrew_sup:end_pool/1}).

begin_with(Given, Ways) ->
    case pitcrew_options:pool(Given) of
        {ok, Options} ->
            case has_what_it_needs(Options) of
                ok -> with_supervisor(Options, whereis(pitcrew_sup), Ways);
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

%% Whether what the options need is installed.
has_what_it_needs(#{name := Name} = Options) ->
    case [Error || {error, Error} <- [library(Options), backend(Options)]] of
        [] -> ok;
        [Error | _] -> {error, pitcrew_error:add(Error#{kind := start_error}, #{pool => Name})}
    end.

library(#{protocol := json}) -> pitcrew_json:available();
library(_) -> ok.

backend(#{cache := #{backend := {redis, _}}}) -> pitcrew_cache_redis_link:available();
backend(_) -> ok.

with_supervisor(#{name := Name}, undefined, _) ->
    Message = "the application pitcrew is not running: add it to the applications of yours, or call application:ensure_all_started(pitcrew)",
    {error, pitcrew_error:add(pitcrew_error:new(start_error, Message), #{pool => Name})};
with_supervisor(#{name := Name} = Options, _, {Start, End}) ->
    case Start(Options) of
        {ok, Sup} ->
            case await(Sup) of
                ok ->
                    {ok, Sup};
                {error, Error} ->
                    End(Sup),
                    {error, pitcrew_error:add(Error, #{pool => Name})}
            end;
        {error, {already_started, _}} = Error ->
            Error;
        {error, Reason} ->
            Error = pitcrew_error:new(start_error, "the pool's processes could not be started: ~tp", [Reason]),
            {error, Error#{pool => Name}}
    end.

await(Sup) ->
    try
        pitcrew_pool_server:await(pitcrew_pool_sup:server(Sup))
    catch
        exit:{Reason, _} -> {error, pitcrew_error:new(start_error, "the pool ended while it started: ~tp", [Reason])}
    end.

%% Its parent is the calling process, whose exit signal it obeys although the link is cut.
end_supervisor(Sup) ->
    Monitor = monitor(process, Sup),
    unlink(Sup),
    exit(Sup, shutdown),
    receive
        {'DOWN', Monitor, process, _, _} -> ok
    end,
    receive
        {'EXIT', Sup, _} -> ok
    after 0 -> ok
    end.

%% @doc For a supervisor. `id' is the pool's name.
-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) ->
    #{
        id => child_id(Options),
        start => {?MODULE, start_link, [Options]},
        type => supervisor,
        shutdown => infinity
    }.

child_id(#{name := Name}) -> Name;
child_id(Options) when is_list(Options) -> proplists:get_value(name, Options, ?MODULE);
child_id(_) -> ?MODULE.

%% @doc The state of a pool in a few words and numbers, for a health check.
%%
%% `status' is `ok', `degraded' when workers fail at their start one time after another while others serve, or `down' when none
%% serves; `failure' is the {@link pitcrew_error:t()} that they fail with, or `nil'. `ready' of `wanted' workers can be called,
%% `free' of them have nothing to do, and `queued' calls wait. Each change of the status is an event, `[pitcrew, pool, health]'.
-spec health(atom() | pid()) -> map().
health(Pool) -> pitcrew:health(Pool).

%% @equiv reload(Pool, [])
-spec reload(atom() | pid()) -> ok | {error, pitcrew_error:t()}.
reload(Pool) -> reload(Pool, []).

%% @doc Imports the modules of a pool anew and replaces its workers, a quarter of them at a time, by such as have them. No call fails for it: each
%% worker goes on until its successor is ready, and ends the calls that it has.
%%
%% Returns when all calls go to new workers. When the modules cannot be imported any more, the workers stay as they are, and the error says
%% what Python said. When a new worker cannot start the error says so as well, the old ones go on, and it is tried again. `timeout' (30000)
%% is how long to wait for either. With them goes what the pool has in its cache.
-spec reload(atom() | pid(), #{timeout => timeout()} | [{timeout, timeout()}]) -> ok | {error, pitcrew_error:t()}.
reload(Pool, Given) ->
    with_timeout(Given, 30_000, Pool, fun(#pool{cache = Cache} = Entry, Timeout) ->
        case pitcrew_pool_server:reload(Entry, Timeout) of
            ok when Cache =/= none -> pitcrew_cache_keeper:clear(Cache);
            Outcome -> Outcome
        end
    end).

%% @doc Replaces one worker, by its `id' in {@link pitcrew:info/1}, as `max_calls' does: another one is ready before it takes no more calls, and it ends those
%% that it has. Returns as soon as that has begun.
-spec recycle(atom() | pid(), Worker :: integer()) -> ok | {error, pitcrew_error:t()}.
recycle(Pool, Worker) when is_integer(Worker) ->
    case pitcrew_pools:find(Pool) of
        {ok, #pool{name = Name} = Entry} ->
            case pitcrew_pool_server:recycle(Entry, Worker) of
                ok -> ok;
                none -> {error, pitcrew_error:new(bad_arguments, "worker ~b of pool ~tp is not ready, or is being replaced", [Worker, Name])};
                down -> {error, pitcrew_error:new(pool_down, "pool ~tp does not answer", [Name])}
            end;
        absent ->
            {error, pitcrew_call:no_pool(Pool)}
    end.

%% @doc Stops a pool in an orderly way: it takes no more calls, those that it has go on until they have ended, and then its workers leave.
%%
%% What has not ended after `timeout' milliseconds (5000 unless said otherwise) ends as with {@link stop/1}.
-spec stop(atom() | pid(), #{timeout => timeout()} | [{timeout, timeout()}]) -> ok | {error, pitcrew_error:t()}.
stop(Pool, Given) ->
    with_timeout(Given, 5_000, Pool, fun(#pool{sup = Sup} = Entry, Timeout) ->
        _ = pitcrew_pool_server:drain(Entry, Timeout),
        _ = ended(Sup),
        ok
    end).

with_timeout(Given, Default, Pool, Then) ->
    case pitcrew_options:table(Given, [{timeout, timeout, {value, Default}}]) of
        {ok, #{timeout := Timeout}} ->
            case pitcrew_pools:find(Pool) of
                {ok, Entry} -> Then(Entry, Timeout);
                absent -> {error, pitcrew_call:no_pool(Pool)}
            end;
        {error, _} = Error ->
            Error
    end.

%% @doc Stops a pool and returns when all its processes are gone, in and outside of the VM. Calls that run get an error. A supervisor
%% would start it again: there, terminate the child instead.
-spec stop(atom() | pid()) -> ok | {error, pitcrew_error:t()}.
stop(Pool) ->
    case ended(Pool) of
        ok -> ok;
        absent -> {error, pitcrew_call:no_pool(Pool)}
    end.

%% Somebody else may end it at the same time, another caller or its own supervisor.
ended(Pool) ->
    try
        gen_server:stop(Pool, normal, infinity)
    catch
        exit:noproc -> absent;
        exit:{noproc, _} -> absent;
        exit:{Reason, {sys, terminate, _}} when Reason =:= normal; Reason =:= shutdown -> ok
    end.
