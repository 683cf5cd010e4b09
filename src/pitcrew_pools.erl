%% The pools that run, by name and by supervisor, where callers read them without asking a process.
%%
%% A pool's server puts it in once all workers are ready; whichever of the pool's processes ends last takes it out. A
%% caller that reads it a moment too late finds slots that nobody can claim and a server that does not answer.
-module(pitcrew_pools).

-export([new_table/0, put/1, withdraw/2, find/1]).
-export([join/2, join/3, member/2, forget/2, put_sessions/2, sessions/1, put_cache/2, cache/1, put_registry/2, registry/1, put_metrics/2, metrics/1, all/0]).
-export_type([entry/0, role/0]).

-include("pitcrew_pool.hrl").

-type entry() :: #pool{}.
-type role() :: keeper | sessions | workers | server | cache | redis.

-define(TABLE, ?MODULE).
%% Where an entry lies: callers read it without copying it. Its own pool writes it and takes it away, so the table says which one a name
%% stands for.
-define(ENTRY(Sup), {?MODULE, Sup}).

%% The table belongs to whoever calls this.
-spec new_table() -> ok.
new_table() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, set, {read_concurrency, true}]),
    ok.

-spec put(entry()) -> ok.
put(#pool{name = Name, sup = Sup} = Pool) ->
    ok = persistent_term:put(?ENTRY(Sup), Pool),
    true = ets:insert(?TABLE, {Name, Sup}),
    ok.

%% @doc Takes a pool out: no caller finds it any more.
-spec withdraw(atom(), pid()) -> ok.
withdraw(Name, Sup) ->
    %% The name may be another pool's by now.
    true = ets:delete_object(?TABLE, {Name, Sup}),
    _ = persistent_term:erase(?ENTRY(Sup)),
    ok.

%% @doc Makes the calling process known to its siblings under the same supervisor, whose pids change with restarts.
-spec join(pid(), role()) -> ok.
join(Sup, Role) -> join(Sup, Role, self()).

%% @doc The same for another process.
-spec join(pid(), role(), pid()) -> ok.
join(Sup, Role, Pid) ->
    true = ets:insert(?TABLE, {{Sup, Role}, Pid}),
    ok.

%% @doc Who joined last in a role.
-spec member(pid(), role()) -> pid().
member(Sup, Role) -> ets:lookup_element(?TABLE, {Sup, Role}, 2).

%% @doc The table of a pool's sessions, which ends with the process that has made it.
-spec put_sessions(pid(), ets:tid()) -> ok.
put_sessions(Sup, Table) ->
    true = ets:insert(?TABLE, {{Sup, table_of_sessions}, Table}),
    ok.

-spec sessions(pid()) -> {ok, ets:tid()} | absent.
sessions(Sup) ->
    case ets:lookup(?TABLE, {Sup, table_of_sessions}) of
        [{_, Table}] -> {ok, Table};
        [] -> absent
    end.

%% @doc The cache of a pool, which ends with its supervisor.
-spec put_cache(pid(), #cache{} | none) -> ok.
put_cache(Sup, Cache) ->
    true = ets:insert(?TABLE, {{Sup, tables_of_cache}, Cache}),
    ok.

-spec cache(pid()) -> #cache{} | none.
cache(Sup) -> ets:lookup_element(?TABLE, {Sup, tables_of_cache}, 2).

%% @doc The table of the VM's tools that are registered for a pool, which ends with its supervisor.
-spec put_registry(pid(), ets:tid()) -> ok.
put_registry(Sup, Table) ->
    true = ets:insert(?TABLE, {{Sup, table_of_tools}, Table}),
    ok.

-spec registry(pid()) -> ets:tid().
registry(Sup) -> ets:lookup_element(?TABLE, {Sup, table_of_tools}, 2).

%% @doc What a pool counts.
-spec put_metrics(pid(), #metrics{} | none) -> ok.
put_metrics(Sup, Metrics) ->
    true = ets:insert(?TABLE, {{Sup, metrics}, Metrics}),
    ok.

-spec metrics(pid()) -> #metrics{} | none.
metrics(Sup) -> ets:lookup_element(?TABLE, {Sup, metrics}, 2).

%% @doc The pools that callers find now.
-spec all() -> [entry()].
all() ->
    try ets:tab2list(?TABLE) of
        Rows -> [Pool || {Name, Sup} <- lists:sort(Rows), is_atom(Name), {ok, Pool} <- [find(Sup)]]
    catch
        %% The application is not running, so no pool is.
        error:badarg -> []
    end.

%% @doc Takes out the pool and whoever joined.
-spec forget(atom(), pid()) -> ok.
forget(Name, Sup) ->
    ok = withdraw(Name, Sup),
    lists:foreach(fun(Role) -> ets:delete(?TABLE, {Sup, Role}) end, [
        keeper, sessions, table_of_sessions, workers, server, cache, redis, tables_of_cache, table_of_tools, metrics
    ]).

-spec find(atom() | pid()) -> {ok, entry()} | absent.
find(Sup) when is_pid(Sup) ->
    case persistent_term:get(?ENTRY(Sup), absent) of
        absent -> absent;
        Pool -> {ok, Pool}
    end;
find(Name) ->
    try ets:lookup(?TABLE, Name) of
        [{_, Sup}] -> find(Sup);
        [] -> absent
    catch
        %% The application is not running, so no pool is.
        error:badarg -> absent
    end.
