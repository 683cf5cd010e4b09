%% One session: whose it is, how long it lives, and what becomes of it when its worker dies.
%%
%%   beginning   it looks for a worker, and makes its first call there
%%   there       callers find its worker in the pool's table of sessions, and call it without asking this process
%%   lost        its worker is gone, and with it what it kept; callers are told so until the session is ended
%%
%% With `on_worker_exit: restart' it goes from `there' to `beginning' instead. It ends with its owner, when it was not used for as long as it
%% may, and when somebody says so.
-module(pitcrew_session).
-behaviour(gen_server).

-export([start/1, stop/1, run/3, leaving/1, stopped/3]).
-export([use/1, moved/3]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include("pitcrew_pool.hrl").
-include("pitcrew_session.hrl").

-type start() :: #{
    manager := pid(),
    table := ets:tid(),
    no := pos_integer(),
    name := none | {name, term()},
    pool := pitcrew_pools:entry(),
    options := pitcrew_options:session(),
    %% Whoever waits for it to begin.
    from := gen_server:from()
}.

-record(session, {
    start :: start(),
    used :: atomics:atomics_ref(),
    at = moving :: {tenant, pitcrew_nif:tenant()} | {lost, pitcrew_error:t()} | moving,
    channel = none :: none | pitcrew_nif:channel(),
    %% Callers who have found a worker gone before this process has heard of it.
    waiting = [] :: [gen_server:from()]
}).

%% How often a worker may be gone again before it could be shared.
-define(TRIES, 10).

-spec start(start()) -> {ok, pid()}.
start(Start) -> gen_server:start(?MODULE, Start, []).

-spec stop(pid()) -> ok.
stop(Pid) ->
    try
        gen_server:call(Pid, stop, infinity)
    catch
        %% It has just ended by itself.
        exit:_ -> ok
    end.

%% @doc Runs a fun with a session that ends with it.
-spec run(pitcrew:pool(), fun((pitcrew_sessions:session()) -> T), pitcrew_options:session()) ->
    {ok, T} | {error, pitcrew_error:t()}.
run(Pool, Fun, Options) ->
    case pitcrew_sessions:start(Pool, none, Options) of
        {ok, Session} ->
            try
                {ok, Fun(Session)}
            after
                _ = pitcrew_sessions:stop(Session)
            end;
        {error, _} = Error ->
            Error
    end.

%% ---- For the manager

-spec leaving(pid()) -> ok.
leaving(Pid) -> gen_server:cast(Pid, leaving).

-spec stopped(pid(), pitcrew_nif:channel(), Reason :: term()) -> ok.
stopped(Pid, Channel, Reason) -> gen_server:cast(Pid, {stopped, Channel, Reason}).

%% ---- For callers

%% @doc A call begins, or has ended: the session is in use.
-spec use(#place{}) -> ok.
use(#place{used = Used}) -> atomics:put(Used, 1, erlang:monotonic_time(millisecond)).

%% @doc Where the session is by now. `Seen' is where it was, and is no more.
-spec moved(#place{}, Seen :: none | pitcrew_nif:tenant(), pitcrew_deadline:deadline()) ->
    {ok, pitcrew_nif:tenant()} | timeout | {error, pitcrew_error:t()}.
moved(#place{pid = Pid, name = Name}, Seen, Deadline) ->
    try
        gen_server:call(Pid, {moved, Seen}, pitcrew_deadline:left(Deadline))
    catch
        exit:{timeout, _} -> timeout;
        exit:_ -> {error, pitcrew_sessions:gone(Name)}
    end.

%% ---- The process

init(#{manager := Manager, options := #{owner := Owner}} = Start) ->
    _ = monitor(process, Manager),
    _ = [monitor(process, Owner) || is_pid(Owner)],
    Session = #session{start = Start, used = atomics:new(1, [{signed, true}])},
    {ok, touch(Session), {continue, first}}.

handle_continue(first, #session{start = #{from := From}} = Session) ->
    case begin_somewhere(Session) of
        {ok, Begun} ->
            gen_server:reply(From, {ok, value(Begun)}),
            {noreply, live(Begun)};
        {error, _} = Error ->
            gen_server:reply(From, Error),
            {stop, normal, Session}
    end;
handle_continue(again, Session) ->
    case begin_somewhere(Session) of
        {ok, Begun} ->
            {noreply, answer(Begun)};
        {error, Error} ->
            {noreply, answer(lose(again(Error), Session))}
    end.

handle_call({moved, Seen}, From, #session{at = {tenant, Seen}, waiting = Waiting} = Session) ->
    %% The news of the worker's end is on its way.
    {noreply, Session#session{waiting = [From | Waiting]}};
handle_call({moved, _}, _, Session) ->
    {reply, whereabouts(Session), Session};
handle_call(stop, From, Session) ->
    terminate(stopped, Session),
    gen_server:reply(From, ok),
    {stop, normal, Session#session{at = moving}}.

handle_cast({stopped, Channel, Reason}, #session{channel = Channel} = Session) ->
    lost(Reason, Session);
handle_cast(leaving, #session{start = #{options := #{on_worker_exit := restart}}, at = {tenant, _}} = Session) ->
    lost(recycled, Session);
handle_cast(_, Session) ->
    {noreply, Session}.

handle_info({'DOWN', _, process, _, _}, Session) -> {stop, normal, Session};
handle_info({timeout, _, ttl}, Session) -> idle(Session);
handle_info(_, Session) -> {noreply, Session}.

%% Callers find nothing any more, and then the worker drops what it keeps.
terminate(_, #session{start = #{no := No, name := Name} = Start} = Session) ->
    in_table(fun(Table) -> ets:delete(Table, No), Name =/= none andalso ets:delete(Table, Name) end, Start),
    give_up(ended, Session),
    ok.

%% Without its manager there is no table, and nobody who would look there.
in_table(Change, #{table := Table}) ->
    try
        Change(Table)
    catch
        error:badarg -> gone
    end.

%% ---- Beginning

begin_somewhere(#session{start = #{pool := #pool{sup = Sup}}} = Session) ->
    case pitcrew_pools:find(Sup) of
        {ok, Pool} -> begin_somewhere(Pool, Session, ?TRIES);
        absent -> {error, pitcrew_error:new(pool_down, "the pool went down")}
    end.

begin_somewhere(#pool{dispatch = Dispatch} = Pool, #session{start = #{no := No, options := Options}} = Session, Tries) ->
    Tenant = pitcrew_nif:tenant_new(Dispatch, No, maps:get(exclusive, Options)),
    case settle(Tenant, Pool, Session) of
        {ok, Channel} ->
            {ok, there(Tenant, Channel, Session)};
        Otherwise ->
            pitcrew_nif:tenant_end(Tenant, ended),
            begin_elsewhere(Otherwise, Pool, Session, Tries)
    end.

begin_elsewhere(absent, _, _, 1) -> {error, pitcrew_error:new(checkout_timeout, "no worker is there that could take the session")};
begin_elsewhere(absent, Pool, Session, Tries) -> begin_somewhere(Pool, Session, Tries - 1);
begin_elsewhere({error, _} = Error, _, _, _) -> Error.

%% One that is to have its worker for itself gets it with its first call, as soon as there is one; others share.
settle(Tenant, Pool, #session{start = #{manager := Manager, options := #{exclusive := true}}} = Session) ->
    case first_call(Tenant, Pool, Session) of
        ok ->
            {Channel, _} = pitcrew_nif:tenant_info(Tenant),
            case pitcrew_sessions:holds(Manager, Tenant, Channel) of
                true -> {ok, Channel};
                false -> absent
            end;
        {error, _} = Error ->
            Error
    end;
settle(Tenant, Pool, #session{start = #{manager := Manager}} = Session) ->
    case pitcrew_sessions:share(Manager, Tenant) of
        true ->
            {Channel, _} = pitcrew_nif:tenant_info(Tenant),
            case on_start(Tenant, Pool, Session) of
                ok -> {ok, Channel};
                {error, _} = Error -> Error
            end;
        false ->
            %% All workers are somebody's alone, or none has been started: it may be, for a call.
            case call(any, Pool, {<<"pitcrew:nothing">>, []}, Session) of
                ok -> absent;
                {error, _} = Error -> Error
            end
    end.

first_call(Tenant, Pool, #session{start = #{options := #{on_start := nil}}} = Session) ->
    call({tenant, no(Session), Tenant}, Pool, {<<"pitcrew:nothing">>, []}, Session);
first_call(Tenant, Pool, Session) ->
    on_start(Tenant, Pool, Session).

on_start(_, _, #session{start = #{options := #{on_start := nil}}}) -> ok;
on_start(Tenant, Pool, #session{start = #{options := #{on_start := Call}}} = Session) -> call({tenant, no(Session), Tenant}, Pool, Call, Session).

no(#session{start = #{no := No}}) -> No.

call(Aim, Pool, {Tool, Args}, #session{start = #{options := #{call := Options}}}) ->
    case pitcrew_call:run_at(Pool, Aim, {Tool, Args, Options}) of
        {ok, _} -> ok;
        {error, _} = Error -> Error
    end.

there(Tenant, Channel, Session) -> put_row(touch(Session#session{at = {tenant, Tenant}, channel = Channel})).

put_row(#session{start = #{no := No} = Start, at = At, used = Used} = Session) ->
    Place = #place{no = No, name = name(Start), pid = self(), at = At, used = Used},
    in_table(fun(Table) -> ets:insert(Table, Place) end, Start),
    Session.

value(#session{start = #{pool := #pool{name = Pool}, no := No, table := Table} = Start}) ->
    #{'__struct__' => 'Elixir.Pitcrew.Session', pool => Pool, id => No, name => name(Start), table => Table}.

name(#{name := {name, Name}}) -> Name;
name(#{name := none}) -> nil.

%% ---- Its worker is gone, or will be

lost(Reason, #session{start = #{manager := Manager, options := #{on_worker_exit := restart}}} = Session) ->
    give_up({lost, Reason}, Session),
    ok = pitcrew_sessions:left(Manager),
    {noreply, put_row(Session#session{at = moving, channel = none}), {continue, again}};
lost(Reason, Session) ->
    {noreply, answer(lose(lost_error(Reason, Session), Session))}.

%% Where it could not begin again it may have had a worker by then.
lose(Error, #session{start = #{manager := Manager}} = Session) ->
    give_up({lost, Error}, Session),
    ok = pitcrew_sessions:left(Manager),
    put_row(Session#session{at = {lost, Error}, channel = none}).

give_up(Reason, #session{at = {tenant, Tenant}}) -> pitcrew_nif:tenant_end(Tenant, Reason);
give_up(_, _) -> ok.

lost_error(Reason, #session{start = #{pool := #pool{name = Pool}}}) ->
    Text = ["the session's worker ", pitcrew_error:exit_text(Reason), ", and what it kept for the session is lost"],
    (pitcrew_error:new(worker_exit, Text))#{reason => Reason, pool => Pool}.

again(#{message := Message} = Error) ->
    Error#{message := <<"the session has lost its worker and could not begin again: ", Message/binary>>}.

%% Those who wait hear where it is now.
answer(#session{waiting = Waiting} = Session) ->
    lists:foreach(fun(From) -> gen_server:reply(From, whereabouts(Session)) end, Waiting),
    Session#session{waiting = []}.

whereabouts(#session{at = {tenant, Tenant}}) -> {ok, Tenant};
whereabouts(#session{at = {lost, Error}}) -> {error, Error}.

%% ---- How long it lives

touch(#session{used = Used} = Session) ->
    atomics:put(Used, 1, erlang:monotonic_time(millisecond)),
    Session.

live(#session{start = #{options := #{ttl := infinity}}} = Session) ->
    Session;
live(#session{start = #{options := #{ttl := Ttl}}} = Session) ->
    _ = erlang:start_timer(Ttl, self(), ttl),
    Session.

idle(#session{start = #{options := #{ttl := Ttl}}, used = Used} = Session) ->
    Left = atomics:get(Used, 1) + Ttl - erlang:monotonic_time(millisecond),
    case is_busy(Session) of
        true ->
            _ = erlang:start_timer(Ttl, self(), ttl),
            {noreply, Session};
        false when Left > 0 ->
            _ = erlang:start_timer(Left, self(), ttl),
            {noreply, Session};
        false ->
            {stop, normal, Session}
    end.

is_busy(#session{at = {tenant, Tenant}}) -> element(2, pitcrew_nif:tenant_info(Tenant)) =:= busy;
is_busy(_) -> false.
