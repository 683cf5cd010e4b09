%% A pool's sessions: which there are, under which names, and which worker takes a new one. Callers read the table and ask nobody; each
%% session has a process of its own (pitcrew_session), and what one leaves behind when it dies is cleared away here.
%%
%% The workers' processes say when a worker comes, is ready, is to leave, and how it ended. That it comes is said before any call can have come to it, so
%% a session never asks for one that is not known here; it is ready in no time, and for that long those who want to share one wait.
-module(pitcrew_sessions).
-behaviour(gen_server).

-export([start_link/2, start/3, stop/1, find/1, gone/1]).
-export([share/2, holds/3, left/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([session/0, target/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_session.hrl").

%% What stands for a session: the value that start/3 returns, or its pool and its name.
-type session() :: #{
    '__struct__' := 'Elixir.Pitcrew.Session', pool := atom(), id := pos_integer(), name := term(), table := ets:tid()
}.
-type target() :: session() | {pitcrew:pool(), Name :: term()}.

%% A session's process, and where it is.
-record(session, {
    no :: pos_integer(),
    name :: none | {name, term()},
    tenant = none :: none | pitcrew_nif:tenant(),
    worker = none :: none | pid()
}).

-record(state, {
    sup :: pid(),
    table :: ets:tid(),
    %% The process of each worker, its channel, and its sessions. Those that are to leave get no more.
    workers = #{} :: #{pid() => {pitcrew_nif:channel(), comes | stays | leaves, #{pid() => []}}},
    sessions = #{} :: #{pid() => #session{}},
    %% Those who want to share a worker, and hear once each that comes is ready or has ended.
    waiting = [] :: [{gen_server:from(), pitcrew_nif:tenant()}]
}).

-spec start_link(pid(), pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_link(Sup, _) -> gen_server:start_link(?MODULE, Sup, []).

%% ---- For callers

%% @doc Starts a session; returns when it has a worker, and its first call has ended well.
-spec start(pitcrew:pool(), {name, term()} | none, pitcrew_options:session()) -> {ok, session()} | {error, pitcrew_error:t()}.
start(Name, SessionName, Options) ->
    case pitcrew_pools:find(Name) of
        {ok, #pool{sup = Sup} = Pool} ->
            ask(pitcrew_pools:member(Sup, sessions), {start, Pool, SessionName, Options}, Pool);
        absent ->
            {error, pitcrew_call:no_pool(Name)}
    end.

ask(Manager, Question, #pool{name = Name}) ->
    try
        gen_server:call(Manager, Question, infinity)
    catch
        exit:_ -> {error, pitcrew_error:add(pitcrew_error:new(pool_down, "the pool went down"), #{pool => Name})}
    end.

%% @doc Ends a session. Its calls are refused from then on; those that run go on to their end.
-spec stop(target()) -> ok | {error, pitcrew_error:t()}.
stop(Target) ->
    case find(Target) of
        {ok, _, #place{pid = Pid}} -> pitcrew_session:stop(Pid);
        {error, _} = Error -> Error
    end.

%% @doc The pool of a session, and its row.
-spec find(target()) -> {ok, pitcrew_pools:entry(), #place{}} | {error, pitcrew_error:t()}.
find(#{table := Table, pool := PoolName, id := No} = Session) ->
    find(PoolName, Table, No, maps:get(name, Session));
find({PoolName, Name}) ->
    case pitcrew_pools:find(PoolName) of
        {ok, #pool{sup = Sup} = Pool} ->
            case pitcrew_pools:sessions(Sup) of
                {ok, Table} -> find(Pool, Table, {name, Name}, Name);
                absent -> {error, gone(Name)}
            end;
        absent ->
            {error, pitcrew_call:no_pool(PoolName)}
    end.

find(#pool{} = Pool, Table, {name, Name}, Name) ->
    case lookup(Table, {name, Name}) of
        [{_, _, No}] -> found(Pool, lookup(Table, No), Name);
        [] -> {error, gone(Name)}
    end;
find(PoolName, Table, No, Name) ->
    case pitcrew_pools:find(PoolName) of
        {ok, Pool} -> found(Pool, lookup(Table, No), Name);
        absent -> {error, pitcrew_call:no_pool(PoolName)}
    end.

found(Pool, [#place{} = Place], _) -> {ok, Pool, Place};
found(_, [], Name) -> {error, gone(Name)}.

%% A table that is gone was that of a pool that is.
lookup(Table, Key) ->
    try
        ets:lookup(Table, Key)
    catch
        error:badarg -> []
    end.

-spec gone(Name :: term()) -> pitcrew_error:t().
gone(nil) -> pitcrew_error:new(no_session, "the session has ended");
gone(Name) -> pitcrew_error:new(no_session, "there is no session ~tp: it has ended, or was never started", [Name]).

%% ---- For sessions

%% @doc Has a tenant share the worker that the fewest sessions share.
-spec share(pid(), pitcrew_nif:tenant()) -> boolean().
share(Manager, Tenant) -> gen_server:call(Manager, {share, Tenant}, infinity).

%% @doc Says where the calling session is, so that it hears of its worker's end; false if that has come, or the worker is to leave: it does not wait for a
%% session that nobody knew of.
-spec holds(pid(), pitcrew_nif:tenant(), pitcrew_nif:channel()) -> boolean().
holds(Manager, Tenant, Channel) -> gen_server:call(Manager, {holds, Tenant, Channel}, infinity).

%% @doc Says that the calling session is nowhere: a worker that is to leave need not stay for it.
-spec left(pid()) -> ok.
left(Manager) ->
    Manager ! {pitcrew_session, self(), left},
    ok.

%% ---- The process

-spec init(pid()) -> {ok, #state{}}.
init(Sup) ->
    Table = ets:new(?MODULE, [public, set, {keypos, 2}, {read_concurrency, true}]),
    ok = pitcrew_pools:join(Sup, sessions),
    ok = pitcrew_pools:put_sessions(Sup, Table),
    %% Of those that went with the process before this one.
    ok = pitcrew_tools:forget_sessions(pitcrew_pools:registry(Sup)),
    {ok, #state{sup = Sup, table = Table}}.

handle_call({start, Pool, Name, Options}, From, #state{table = Table} = State) ->
    case Name =/= none andalso ets:member(Table, Name) of
        true ->
            {name, Taken} = Name,
            {reply, {error, pitcrew_error:new(invalid_option, "there is a session ~tp already", [Taken])}, State};
        false ->
            {noreply, start_session(Pool, Name, Options, From, State)}
    end;
handle_call({share, Tenant}, From, State) ->
    {noreply, share(From, Tenant, State)};
handle_call({holds, Tenant, Channel}, {Pid, _}, #state{workers = Workers} = State) ->
    case [Worker || {Worker, {C, Stays, _}} <- maps:to_list(Workers), C =:= Channel, Stays =/= leaves] of
        [Worker] -> {reply, true, settle(Pid, Tenant, Worker, State)};
        [] -> {reply, false, note(Pid, Tenant, State)}
    end;
handle_call(_, _, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({pitcrew_worker, Worker, {comes, Channel}}, #state{workers = Workers} = State) ->
    _ = monitor(process, Worker),
    {noreply, State#state{workers = Workers#{Worker => {Channel, comes, #{}}}}};
handle_info({pitcrew_worker, Worker, ready}, #state{workers = Workers} = State) ->
    #{Worker := {Channel, comes, Here}} = Workers,
    {noreply, share_again(State#state{workers = Workers#{Worker := {Channel, stays, Here}}})};
handle_info({pitcrew_worker, Worker, leaving}, State) ->
    {noreply, leaving(Worker, State)};
handle_info({pitcrew_worker, Worker, {stopped, Reason}}, State) ->
    {noreply, stopped(Worker, Reason, State)};
handle_info({pitcrew_session, Pid, left}, #state{sessions = Sessions} = State) when is_map_key(Pid, Sessions) ->
    {noreply, unsettle(Pid, State)};
handle_info({'DOWN', _, process, Pid, Reason}, #state{sessions = Sessions} = State) when is_map_key(Pid, Sessions) ->
    {noreply, clear(Pid, Reason, State)};
handle_info({'DOWN', _, process, Worker, Reason}, State) ->
    {noreply, stopped(Worker, Reason, State)};
handle_info(_, State) ->
    {noreply, State}.

start_session(Pool, Name, Options, From, #state{table = Table, sessions = Sessions} = State) ->
    No = erlang:unique_integer([positive]),
    {ok, Pid} = pitcrew_session:start(#{
        manager => self(), table => Table, no => No, name => Name, pool => Pool, options => Options, from => From
    }),
    _ = monitor(process, Pid),
    %% Taken from now on.
    _ = [ets:insert(Table, {none, Name, No}) || Name =/= none],
    State#state{sessions = Sessions#{Pid => #session{no = No, name = Name}}}.

share({Pid, _} = From, Tenant, #state{workers = Workers} = State) ->
    Counted = [{map_size(Sessions), Worker, Channel} || {Worker, {Channel, stays, Sessions}} <- maps:to_list(Workers)],
    case first_to_share(Tenant, lists:sort(Counted)) of
        {ok, Worker} ->
            gen_server:reply(From, true),
            settle(Pid, Tenant, Worker, State);
        none ->
            share_later([Worker || {Worker, {_, comes, _}} <- maps:to_list(Workers)], From, Tenant, State)
    end.

share_later([], From, _, State) ->
    gen_server:reply(From, false),
    State;
share_later([_ | _], From, Tenant, #state{waiting = Waiting} = State) ->
    State#state{waiting = [{From, Tenant} | Waiting]}.

share_again(#state{waiting = Waiting} = State) ->
    lists:foldr(fun({From, Tenant}, Now) -> share(From, Tenant, Now) end, State#state{waiting = []}, Waiting).

first_to_share(_, []) ->
    none;
first_to_share(Tenant, [{_, Worker, Channel} | Rest]) ->
    case pitcrew_nif:tenant_share(Tenant, Channel) of
        true -> {ok, Worker};
        false -> first_to_share(Tenant, Rest)
    end.

settle(Pid, Tenant, Worker, State) ->
    #state{workers = Workers, sessions = #{Pid := Session} = Sessions} = Left = unsettle(Pid, State),
    #{Worker := {Channel, Stays, Here}} = Workers,
    Left#state{
        workers = Workers#{Worker := {Channel, Stays, Here#{Pid => []}}},
        sessions = Sessions#{Pid := Session#session{tenant = Tenant, worker = Worker}}
    }.

note(Pid, Tenant, #state{sessions = Sessions} = State) ->
    #{Pid := Session} = Sessions,
    State#state{sessions = Sessions#{Pid := Session#session{tenant = Tenant}}}.

unsettle(Pid, #state{workers = Workers, sessions = Sessions} = State) ->
    #{Pid := #session{worker = Worker} = Session} = Sessions,
    Left = State#state{sessions = Sessions#{Pid := Session#session{worker = none}}},
    case Workers of
        #{Worker := {Channel, Stays, Here}} ->
            vacated(Worker, Left#state{workers = Workers#{Worker := {Channel, Stays, maps:remove(Pid, Here)}}});
        #{} ->
            Left
    end.

%% A worker that is to leave waits for its sessions.
vacated(Worker, #state{workers = Workers} = State) ->
    ok =
        case Workers of
            #{Worker := {_, leaves, Here}} when Here =:= #{} -> tell_vacated(Worker);
            #{} -> ok
        end,
    State.

tell_vacated(Worker) ->
    Worker ! {pitcrew_sessions, vacated},
    ok.

leaving(Worker, #state{workers = Workers} = State) ->
    case Workers of
        #{Worker := {Channel, _, Here}} ->
            lists:foreach(fun pitcrew_session:leaving/1, maps:keys(Here)),
            vacated(Worker, State#state{workers = Workers#{Worker := {Channel, leaves, Here}}});
        #{} ->
            ok = tell_vacated(Worker),
            State
    end.

stopped(Worker, Reason, #state{workers = Workers} = State) ->
    case maps:take(Worker, Workers) of
        {{Channel, _, Here}, Others} ->
            lists:foreach(fun(Pid) -> pitcrew_session:stopped(Pid, Channel, Reason) end, maps:keys(Here)),
            share_again(State#state{workers = Others});
        error ->
            State
    end.

%% It has done this itself, unless somebody has killed it.
clear(Pid, Reason, #state{sup = Sup, table = Table} = State) ->
    #state{sessions = Sessions, waiting = Waiting} = Left = unsettle(Pid, State),
    {#session{no = No, name = Name, tenant = Tenant}, Others} = maps:take(Pid, Sessions),
    ets:delete(Table, No),
    _ = [ets:delete(Table, Name) || Name =/= none],
    ok = pitcrew_tools:forget_session(pitcrew_pools:registry(Sup), No),
    _ = [pitcrew_nif:tenant_end(Tenant, Reason) || Tenant =/= none],
    Left#state{sessions = Others, waiting = [Other || {{From, _}, _} = Other <- Waiting, From =/= Pid]}.
