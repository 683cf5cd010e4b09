%% A pool's server: keeps as many workers as are wanted. Calls never meet it; those that find no free worker wait in native code, which
%% tells the server so while there may be more workers.
%%
%% It never waits for anybody: workers and the keeper send messages.
-module(pitcrew_pool_server).
-behaviour(gen_server).

-export([start_link/2, await/1, ask/2, drain/2, reload/2, recycle/2]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").
-include("pitcrew_pool.hrl").

-record(state, {
    sup :: pid(),
    options :: pitcrew_options:pool(),
    keeper :: pid(),
    workers :: pid(),
    slots :: pitcrew_nif:slots(),
    dispatch :: pitcrew_nif:dispatch(),
    %% Of shared memory that terms hold.
    account :: pitcrew_nif:account() | none,
    metrics :: #metrics{} | none,
    %% How many calls wait for one that a function of theirs has made.
    nested :: atomics:atomics_ref(),
    crew :: pitcrew_crew:crew(),
    channels = #{} :: #{pitcrew_crew:index() => pitcrew_nif:channel()},
    %% What the workers last said of themselves.
    vitals = #{} :: #{pitcrew_crew:index() => map()},
    %% The workers' processes, one incarnation of a worker each.
    pids = #{} :: #{pid() => {Monitor :: reference(), pitcrew_crew:index()}},
    %% What the keeper says about Python; `down' while there is no zygote to fork from.
    python = down :: down | map(),
    %% How often in a row it has said that there will be none.
    python_failures = 0 :: non_neg_integer(),
    %% The workers of the first start share one deadline.
    start_by :: integer() | infinity,
    phase = starting :: starting | running | draining,
    starters = [] :: [gen_server:from()],
    stoppers = [] :: [gen_server:from()],
    reload = pitcrew_reload:new() :: pitcrew_reload:reload(),
    failure = none :: none | pitcrew_error:t(),
    status = ok :: pitcrew_pool_info:status(),
    %% Whether it is going to look if more workers are needed.
    looks_soon = false :: boolean(),
    %% Since when each worker has had nothing to do, as far as it was looked at.
    idle = pitcrew_growth:nobody() :: pitcrew_growth:idle(),
    tools = unknown :: unknown | [pitcrew_manifest:tool()],
    %% Who wants to know the tools of a pool that has not had a worker yet.
    curious = [] :: [gen_server:from()]
}).

%% While calls wait, more workers are started, and that long must a call have waited: most are taken sooner than a fork takes.
-define(GROW_MS, 2).
%% Calls that a worker had not begun when it died are given back to their callers, who come again within this.
-define(AGAIN_MS, 200).

-spec start_link(pid(), pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_link(Sup, Options) -> gen_server:start_link(?MODULE, {Sup, Options}, []).

%% @doc Waits until every worker is ready, or the first one cannot be.
-spec await(pid()) -> ok | {error, pitcrew_error:t()}.
await(Server) -> gen_server:call(Server, await, infinity).

%% @doc Answers the questions of {@link pitcrew}; raises the error when the pool has just gone.
-spec ask(pitcrew_pools:entry(), tools | info | health | workers) -> term().
ask(#pool{name = Name, server = Server}, What) ->
    try
        gen_server:call(Server, What, infinity)
    catch
        exit:_ -> erlang:error(pitcrew_error:new(pool_down, "pool ~tp does not answer", [Name]))
    end.

%% @doc No more calls; returns when those that there were have ended and no worker is left, or the time in milliseconds is over.
-spec drain(pitcrew_pools:entry(), timeout()) -> ok | timeout | down.
drain(#pool{server = Server}, Timeout) ->
    try
        gen_server:call(Server, {drain, Timeout}, infinity)
    catch
        exit:_ -> down
    end.

%% @doc Returns when every call goes to a worker that has imported the modules anew, or these cannot be, or the time is over.
-spec reload(pitcrew_pools:entry(), timeout()) -> ok | {error, pitcrew_error:t()}.
reload(#pool{name = Name, server = Server}, Timeout) ->
    try
        gen_server:call(Server, reload, Timeout)
    catch
        exit:{timeout, _} -> {error, pitcrew_error:new(timeout, "the workers were not replaced within ~b ms; that goes on", [Timeout])};
        exit:_ -> {error, pitcrew_error:new(pool_down, "pool ~tp does not answer", [Name])}
    end.

%% @doc Has a worker replaced as one that is worn; says only whether that begins. `none': it is not ready, or it is being replaced already.
-spec recycle(pitcrew_pools:entry(), integer()) -> ok | none | down.
recycle(#pool{server = Server}, Index) ->
    try
        gen_server:call(Server, {recycle, Index}, infinity)
    catch
        exit:_ -> down
    end.

-spec init({pid(), pitcrew_options:pool()}) -> {ok, #state{}, {continue, subscribe}}.
init({Sup, #{start_timeout := Timeout, strategy := Order} = Options}) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(#{pool => maps:get(name, Options)}),
    pitcrew_pools:join(Sup, server),
    Capacity = pitcrew_crew:capacity(pitcrew_growth:most(Options)),
    Slots = pitcrew_nif:slots_new(Capacity, Order, self()),
    State = #state{
        sup = Sup,
        options = Options,
        keeper = pitcrew_pools:member(Sup, keeper),
        workers = pitcrew_pools:member(Sup, workers),
        slots = Slots,
        dispatch = dispatcher(Options, Slots),
        account = account(Options),
        metrics = pitcrew_pools:metrics(Sup),
        nested = atomics:new(1, []),
        crew = pitcrew_crew:new(pitcrew_growth:least(Options), pitcrew_growth:most(Options)),
        start_by = pitcrew_deadline:in(Timeout)
    },
    look_for_holders(State),
    {ok, limit(State), {continue, subscribe}}.

account(#{shared := true, max_shared := Most}) -> pitcrew_nif:account_new(Most);
account(#{shared := false}) -> none.

look_for_holders(#state{account = none}) -> ok;
look_for_holders(#state{options = #{on_hold := infinity}}) -> ok;
look_for_holders(#state{options = #{on_hold := Every}}) -> later(Every, holders).

dispatcher(#{pipeline := 1, strategy := Order, name := Name}, Slots) ->
    pitcrew_nif:dispatch_new(1, 1, Slots, Order, self(), Name);
dispatcher(#{pipeline := Depth, concurrency := Width, strategy := Order, name := Name}, _) ->
    pitcrew_nif:dispatch_new(Depth, Width, none, Order, self(), Name).

handle_continue(subscribe, State) ->
    ok = pitcrew_keeper:subscribe(State#state.keeper),
    {noreply, State}.

handle_call(await, _, #state{phase = running} = State) ->
    {reply, ok, State};
handle_call(await, _, #state{failure = #{} = Error} = State) ->
    {reply, {error, Error}, State};
handle_call(await, From, #state{starters = Starters} = State) ->
    {noreply, State#state{starters = [From | Starters]}};
handle_call(tools, From, #state{tools = unknown, curious = Curious} = State) ->
    {noreply, need_one(State#state{curious = [From | Curious]})};
handle_call(tools, _, State) ->
    {reply, State#state.tools, State};
handle_call(info, _, State) ->
    {reply, pitcrew_pool_info:info(facts(State)), State};
handle_call(workers, _, #state{crew = Crew, channels = Channels} = State) ->
    {reply, [{OsPid, Channel} || #{id := Index, os_pid := OsPid} <- pitcrew_crew:list(Crew), {ok, Channel} <- [maps:find(Index, Channels)]], State};
handle_call(health, _, State) ->
    {reply, pitcrew_pool_info:health(facts(State)), State};
handle_call(reload, From, #state{reload = Reload} = State) ->
    {noreply, act(pitcrew_reload:request(From, Reload), State)};
handle_call({recycle, Index}, _, #state{crew = Crew} = State) ->
    case pitcrew_crew:replace(Index, Crew) of
        none -> {reply, none, State};
        Replaced -> {reply, ok, refill(State#state{crew = Replaced})}
    end;
handle_call({drain, Timeout}, From, State) ->
    {noreply, start_draining(From, Timeout, State)};
handle_call(_, _, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({pitcrew_dispatch, uneven}, State) ->
    {noreply, balance_later(State)};
handle_info({timeout, _, balance}, State) ->
    {noreply, balance(State)};
handle_info({pitcrew_dispatch, wanted}, State) ->
    {noreply, wanted(State)};
handle_info({timeout, _, look}, State) ->
    {noreply, look(State#state{looks_soon = false})};
handle_info({timeout, _, holders}, #state{account = Account, options = Options} = State) ->
    ok = pitcrew_pool_info:announce_holders(Account, Options),
    look_for_holders(State),
    {noreply, State};
handle_info({timeout, _, shrink}, State) ->
    {noreply, shrink(State)};
handle_info({timeout, _, {drained_late, From}}, #state{stoppers = Stoppers} = State) ->
    _ = [gen_server:reply(From, timeout) || lists:member(From, Stoppers)],
    {noreply, State#state{stoppers = lists:delete(From, Stoppers)}};
handle_info({timeout, _, {rested, Index}}, #state{crew = Crew} = State) ->
    {noreply, refill(State#state{crew = pitcrew_crew:rested(Index, Crew)})};
handle_info({timeout, _, {settled, Index, Pid}}, #state{crew = Crew, pids = Pids} = State) when is_map_key(Pid, Pids) ->
    {noreply, notice(State#state{crew = pitcrew_crew:settled(Index, Crew)})};
handle_info({pitcrew_worker, Pid, News}, #state{pids = Pids} = State) when is_map_key(Pid, Pids) ->
    {noreply, notice(worker(News, Pid, State))};
handle_info({pitcrew_keeper, News}, State) ->
    {noreply, notice(keeper(News, State))};
handle_info({'DOWN', Monitor, process, Pid, Reason}, #state{pids = Pids} = State) ->
    case Pids of
        #{Pid := {Monitor, _}} -> {noreply, notice(worker({stopped, Reason, 0}, Pid, State))};
        #{} -> {noreply, State}
    end;
handle_info(_, State) ->
    {noreply, State}.

terminate(_, #state{sup = Sup, options = #{name := Name}}) -> pitcrew_pools:withdraw(Name, Sup).

%% ---- Pipelined workers: calls that wait behind a long one go to whoever has nothing to do

balance_later(#state{options = #{pipeline_age := Age}} = State) ->
    _ = erlang:start_timer(Age, self(), balance),
    State.

balance(#state{dispatch = Dispatch, options = #{pipeline_age := Age}} = State) ->
    case pitcrew_nif:dispatch_uneven(Dispatch, Age * 1_000_000) of
        balanced ->
            State;
        Misplaced ->
            _ = [Pid ! {pitcrew_move, Id} || {Index, Id} <- Misplaced, Pid <- pids_of(Index, State)],
            balance_later(State)
    end.

pids_of(Index, #state{pids = Pids}) -> [Pid || {Pid, {_, I}} <- maps:to_list(Pids), I =:= Index].

%% ---- More workers while calls wait, fewer while they have nothing to do

%% Nobody to wait for: at once.
wanted(#state{crew = Crew} = State) ->
    case pitcrew_crew:present(Crew) of
        0 -> look(State);
        _ -> look_soon(State)
    end.

%% At most one timer, however often it is told that calls wait.
look_soon(#state{looks_soon = true} = State) ->
    State;
look_soon(State) ->
    later(?GROW_MS, look),
    State#state{looks_soon = true}.

%% A worker that is ready has taken a call by then, and counted until then as one that was coming for those that still wait.
look_again(State) ->
    case is_open_to_more(State) of
        true -> look_soon(State);
        false -> State
    end.

%% While the pool drains, workers that it has are told to leave, and others are wanted if calls wait then.
is_open_to_more(#state{phase = draining}) -> true;
is_open_to_more(#state{crew = Crew, options = Options}) -> pitcrew_crew:wanted(Crew) < pitcrew_growth:most(Options).

%% It asks to be told before it looks: whatever call comes in between is seen, or told of.
look(#state{phase = Phase, dispatch = Dispatch} = State) ->
    Watching = watch(State),
    Load = pitcrew_nif:dispatch_info(Dispatch),
    case Phase of
        draining -> go_on_draining(Load, Watching);
        _ -> grow(Load, Watching)
    end.

grow(Load, #state{crew = Crew, options = Options} = State) ->
    case pitcrew_growth:grow(Load, Crew, Options) of
        enough -> State;
        wait -> look_soon(State);
        {grow, N} -> want(pitcrew_crew:wanted(Crew) + N, State)
    end.

later(Delay, What) ->
    _ = erlang:start_timer(Delay, self(), What),
    ok.

want(N, #state{crew = Crew} = State) ->
    Started = pitcrew_crew:wanted(Crew) =< pitcrew_growth:least(State#state.options),
    Wanting = refill(State#state{crew = pitcrew_crew:want(N, Crew)}),
    case Started of
        true -> shrink_later(Wanting);
        false -> Wanting
    end.

%% Asks to be told of the next call that finds every worker busy, if that would make a difference.
watch(#state{dispatch = Dispatch} = State) ->
    _ = [ok = pitcrew_nif:dispatch_watch(Dispatch) || is_open_to_more(State)],
    State.

need_one(#state{crew = Crew} = State) ->
    case pitcrew_crew:present(Crew) of
        0 -> want(1, State);
        _ -> State
    end.

shrink_later(#state{options = #{idle_timeout := infinity}} = State) ->
    State;
shrink_later(#state{options = #{idle_timeout := Timeout}} = State) ->
    later(max(1, Timeout div 4), shrink),
    State.

shrink(#state{crew = Crew, idle = Idle, options = Options} = State) ->
    Workers = [{Index, use(Index, State)} || Index <- pitcrew_crew:idle(Crew)],
    {Surplus, Seen} = pitcrew_growth:shrink(Workers, erlang:monotonic_time(millisecond), Idle, Crew, Options),
    Shrunk = lists:foldl(fun let_go/2, State#state{idle = Seen}, Surplus),
    case pitcrew_crew:wanted(Shrunk#state.crew) > pitcrew_growth:least(Options) of
        true -> shrink_later(Shrunk);
        false -> Shrunk
    end.

use(Index, #state{channels = Channels}) ->
    #{Index := Channel} = Channels,
    pitcrew_pool_info:use(pitcrew_nif:channel_info(Channel)).

let_go(Index, #state{crew = Crew} = State) ->
    Fewer = pitcrew_crew:want(pitcrew_crew:wanted(Crew) - 1, Crew),
    %% A call may wait already that came while there could not be more workers, and of which nobody was told.
    look_soon(retire(Index, idle, State#state{crew = pitcrew_crew:leave(Index, Fewer)})).

%% From here on no call comes to it, unless it can go nowhere else; its process sees to the rest.
retire(Index, Why, #state{channels = Channels} = State) ->
    #{Index := Channel} = Channels,
    Moves = [{pitcrew_move, Id} || Id <- pitcrew_nif:lane_retire(Channel)],
    _ = [Pid ! News || Pid <- pids_of(Index, State), News <- Moves ++ [{pitcrew_pool, {retire, Why}}]],
    State.

%% Workers that are still to come will serve one call each of those that wait.
limit(#state{options = #{max_queue := infinity}} = State) ->
    State;
limit(#state{crew = Crew, dispatch = Dispatch, options = #{max_queue := Most, pipeline := Depth} = Options} = State) ->
    Coming = max(0, pitcrew_growth:most(Options) - pitcrew_crew:count(ready, Crew)),
    ok = pitcrew_nif:dispatch_limit(Dispatch, Most + Coming * Depth),
    State.

%% ---- New modules

act({Actions, Reload}, State) -> lists:foldl(fun act_on/2, State#state{reload = Reload}, Actions).

act_on(renew, #state{keeper = Keeper} = State) ->
    ok = pitcrew_keeper:renew(Keeper),
    State;
act_on(retire, #state{keeper = Keeper} = State) ->
    ok = pitcrew_keeper:retire(Keeper),
    State;
act_on({replace, Index}, State) ->
    replace(Index, State);
act_on({reply, From, Outcome}, #state{sup = Sup} = State) ->
    %% Other code may give other results. Whoever waits clears as well, before going on.
    _ = [pitcrew_cache_keeper:clear_soon(pitcrew_pools:cache(Sup)) || Outcome =:= ok],
    gen_server:reply(From, Outcome),
    State.

go_on_reloading(#state{reload = Reload, crew = Crew} = State) -> act(pitcrew_reload:step(Crew, Reload), State).

replace(Index, #state{crew = Crew} = State) ->
    case pitcrew_crew:replace(Index, Crew) of
        none -> State;
        Replaced -> refill(State#state{crew = Replaced})
    end.

%% ---- The end: no new calls, and those that there are end first

start_draining(From, Timeout, #state{sup = Sup, stoppers = Stoppers, options = #{name := Name}} = State) ->
    ok = pitcrew_pools:withdraw(Name, Sup),
    _ = [later(Timeout, {drained_late, From}) || Timeout =/= infinity],
    look_soon(State#state{phase = draining, stoppers = [From | Stoppers]}).

%% As long as calls wait there are workers for them, as before. Then all leave, and if a call comes back from one of them, it begins anew.
go_on_draining(#{queued := 0}, State) -> drained(dismiss(State));
go_on_draining(Load, State) -> look_soon(grow(Load, State)).

%% Those that stay for sessions need not any longer.
dismiss(#state{channels = Channels, pids = Pids, crew = Crew} = State) ->
    lists:foreach(fun pitcrew_nif:drain/1, maps:values(Channels)),
    _ = [Pid ! {pitcrew_pool, {retire, stop}} || Pid <- maps:keys(Pids)],
    State#state{crew = pitcrew_crew:dismiss(Crew)}.

drained(#state{stoppers = Stoppers, pids = Pids} = State) when map_size(Pids) =:= 0 ->
    [gen_server:reply(From, ok) || From <- Stoppers],
    State#state{stoppers = []};
drained(State) ->
    State.

%% One that left as it was told to had no calls to give back.
look_after(stop, #state{phase = draining} = State) ->
    look_soon(State);
look_after(_, #state{phase = draining} = State) ->
    later(?AGAIN_MS, look),
    State;
look_after(_, State) ->
    State.

%% ---- Workers

keeper({up, Python}, State) ->
    open(refill(State#state{python = Python, python_failures = 0}));
keeper({renewed, Python}, #state{reload = Reload, crew = Crew} = State) ->
    Renewed = State#state{crew = pitcrew_crew:renew(Crew), reload = pitcrew_reload:renewed(Reload)},
    go_on_reloading(keeper({up, Python}, Renewed));
keeper({not_renewed, Error}, #state{reload = Reload} = State) ->
    go_on_reloading(act(pitcrew_reload:not_renewed(Error, Reload), State));
keeper(down, State) ->
    State#state{python = down};
keeper({failed, Error}, #state{python_failures = Failures} = State) ->
    failed(Error, State#state{python = down, python_failures = Failures + 1}).

refill(#state{python = down} = State) -> State;
refill(#state{crew = Crew} = State) -> lists:foldl(fun start_worker/2, State, pitcrew_crew:empty(Crew)).

start_worker(Index, #state{crew = Crew, pids = Pids, options = Options} = State) ->
    Start = #{
        index => Index,
        server => self(),
        keeper => State#state.keeper,
        sessions => pitcrew_pools:member(State#state.sup, sessions),
        slots => State#state.slots,
        dispatch => State#state.dispatch,
        account => State#state.account,
        options => Options,
        start_by => start_by(State)
    },
    {ok, Pid} = pitcrew_worker_sup:start_worker(State#state.workers, Start),
    State#state{crew = pitcrew_crew:started(Index, Crew), pids = Pids#{Pid => {monitor(process, Pid), Index}}}.

%% A first start that fails is given up by whoever waits for it; a pool that was restarted goes on trying.
start_by(#state{phase = starting, failure = none, start_by = Deadline}) -> Deadline;
start_by(#state{options = #{start_timeout := Timeout}}) -> pitcrew_deadline:in(Timeout).

worker({ready, OsPid, Channel, Tools}, Pid, #state{crew = Crew, channels = Channels, pids = Pids} = State) ->
    #{Pid := {_, Index}} = Pids,
    ok = pitcrew_metrics:worker_started(State#state.metrics),
    {Old, Served} = pitcrew_crew:ready(Index, OsPid, erlang:monotonic_time(millisecond), Crew),
    Ready = limit(State#state{crew = Served, channels = Channels#{Index => Channel}, failure = none}),
    _ = [later(pitcrew_backoff:healthy(), {settled, Index, Pid}) || pitcrew_crew:failures(Served) > 0],
    go_on_reloading(open(announce(Tools, look_again(succeed(Old, Ready)))));
worker({recycle, _}, Pid, #state{pids = Pids} = State) ->
    #{Pid := {_, Index}} = Pids,
    replace(Index, State);
worker({vitals, Vitals}, Pid, #state{pids = Pids, vitals = Before} = State) ->
    #{Pid := {_, Index}} = Pids,
    State#state{vitals = Before#{Index => Vitals}};
worker({stopped, Reason, Calls}, Pid, State) ->
    {{Monitor, Index}, Pids} = maps:take(Pid, State#state.pids),
    demonitor(Monitor, [flush]),
    ok = pitcrew_metrics:worker_ended(Reason, State#state.metrics),
    ok = pitcrew_nif:slots_remove(State#state.slots, Index),
    {Next, Crew} = pitcrew_crew:stopped(Index, {Calls, erlang:monotonic_time(millisecond)}, State#state.crew),
    Emptied = State#state{
        crew = Crew,
        channels = maps:remove(Index, State#state.channels),
        idle = pitcrew_growth:forget(Index, State#state.idle),
        vitals = maps:remove(Index, State#state.vitals),
        pids = Pids
    },
    Told = limit(start_failure(Reason, pitcrew_crew:is_current(Index, State#state.crew), Emptied)),
    case Next of
        {rest, Delay} ->
            later(Delay, {rested, Index});
        _ ->
            ok
    end,
    look_after(Reason, go_on_reloading(refill(Told))).

succeed(none, State) -> State;
succeed(Old, #state{reload = Reload} = State) ->
    case pitcrew_reload:is_rolling(Reload) of
        true -> retire(Old, reload, State);
        false -> retire(Old, recycled, State)
    end.

start_failure({start_failed, Error}, true, #state{reload = Reload} = State) ->
    act(pitcrew_reload:start_failed(Error, Reload), failed(Error, State));
start_failure({start_failed, Error}, _, State) -> failed(Error, State);
start_failure(_, _, State) -> State.

%% Whoever starts the pool is told and gives up; a pool that ran before goes on trying. What its starter will be told is not logged.
failed(Error, #state{phase = starting, starters = [], failure = none} = State) ->
    State#state{failure = Error};
failed(Error, #state{phase = starting, starters = [_ | _] = Starters} = State) ->
    [gen_server:reply(Starter, {error, Error}) || Starter <- Starters],
    State#state{starters = [], failure = Error};
failed(Error, #state{options = #{name := Name}} = State) ->
    ?LOG_ERROR("pool ~tp cannot start a worker and will try again: ~ts", [Name, pitcrew_error:format(Error)]),
    State#state{failure = Error}.

%% The pool is there for callers once every worker has been ready, or Python is, where workers are started when they are needed.
open(#state{phase = starting, crew = Crew, python = #{}} = State) ->
    case pitcrew_crew:count(ready, Crew) >= pitcrew_growth:least(State#state.options) of
        true ->
            Running = watch(State#state{phase = running, starters = [], failure = none}),
            ok = pitcrew_pools:put(entry(Running)),
            [gen_server:reply(Starter, ok) || Starter <- State#state.starters],
            Running;
        false ->
            State
    end;
open(State) ->
    State.

%% Callers learn of other tools after the modules have changed and the zygote was started again.
announce(Tools, #state{tools = Tools} = State) ->
    State;
announce(Tools, #state{curious = Curious, phase = Phase} = State) ->
    [gen_server:reply(From, Tools) || From <- Curious],
    Told = State#state{tools = Tools, curious = []},
    _ = [ok = pitcrew_pools:put(entry(Told)) || Phase =:= running],
    Told.

%% Tells of a pool that does not get its workers to run, and when it does again.
notice(#state{status = Before} = State) ->
    Facts = facts(State),
    case pitcrew_pool_info:status(Facts) of
        Before ->
            State;
        Status ->
            pitcrew_pool_info:announce(Before, Status, Facts),
            State#state{status = Status}
    end.

entry(#state{options = #{telemetry_prefix := Prefix} = Options} = State) ->
    #pool{
        name = maps:get(name, Options),
        sup = State#state.sup,
        server = self(),
        slots = State#state.slots,
        dispatch = State#state.dispatch,
        is_pipelined = maps:get(pipeline, Options) > 1,
        tools = by_name(State#state.tools),
        at_once = at_once(State#state.tools),
        permits = pitcrew_permits:new(Options),
        events = pitcrew_call_events:names(Prefix),
        cache = pitcrew_pools:cache(State#state.sup),
        registry = pitcrew_pools:registry(State#state.sup),
        metrics = pitcrew_metrics:known(State#state.metrics, names(State#state.tools)),
        max_queue = maps:get(max_queue, Options),
        max_frame = maps:get(max_frame, Options),
        spin_us = maps:get(spin_us, Options),
        grace = maps:get(grace, Options),
        room = room(Options),
        one_at_a_time = maps:get(concurrency, Options) =:= 1,
        nested = State#state.nested,
        defaults = pitcrew_options:defaults(Options)
    }.

%% Where one call runs at a time, those that wait inside a worker help nobody.
room(#{concurrency := 1} = Options) -> pitcrew_growth:most(Options);
room(#{pipeline := Depth} = Options) -> Depth * pitcrew_growth:most(Options).

names(unknown) -> [];
names(Tools) -> [Name || #{name := Name} <- Tools].

by_name(unknown) -> unknown;
by_name(Tools) -> pitcrew_manifest:by_name(Tools).

at_once(unknown) -> [];
at_once(Tools) -> [Name || #{name := Name, batch := true} <- Tools].

facts(State) ->
    #{
        options => State#state.options,
        python => State#state.python,
        python_failures => State#state.python_failures,
        failure => State#state.failure,
        crew => State#state.crew,
        channels => State#state.channels,
        vitals => State#state.vitals,
        slots => State#state.slots,
        dispatch => State#state.dispatch,
        account => State#state.account
    }.
