%% A pool's server: keeps every slot filled. Calls never meet it; those that find no free slot wait in native code.
%%
%% It never waits for anybody: workers and the keeper send messages.
-module(pitcrew_pool_server).
-behaviour(gen_server).

-export([start_link/2, await/1, ask/2]).
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
    os_pids :: atomics:atomics_ref(),
    crew :: pitcrew_crew:crew(),
    channels = #{} :: #{pitcrew_crew:index() => pitcrew_nif:channel()},
    %% The workers' processes, one incarnation of a worker each.
    pids = #{} :: #{pid() => {Monitor :: reference(), pitcrew_crew:index()}},
    %% What the keeper says about Python; `down' while there is no zygote to fork from.
    python = down :: down | map(),
    %% The workers of the first start share one deadline.
    start_by :: integer() | infinity,
    phase = starting :: starting | running,
    starters = [] :: [gen_server:from()],
    failure = none :: none | pitcrew_error:t(),
    tools = [] :: [pitcrew_manifest:tool()]
}).

-spec start_link(pid(), pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_link(Sup, Options) -> gen_server:start_link(?MODULE, {Sup, Options}, []).

%% @doc Waits until every worker is ready, or the first one cannot be.
-spec await(pid()) -> ok | {error, pitcrew_error:t()}.
await(Server) -> gen_server:call(Server, await, infinity).

%% @doc Answers the questions of {@link pitcrew}; raises the error when the pool has just gone.
-spec ask(pitcrew_pools:entry(), tools | info) -> term().
ask(#pool{name = Name, server = Server}, What) ->
    try
        gen_server:call(Server, What)
    catch
        exit:_ -> erlang:error(pitcrew_error:new(pool_down, "pool ~tp does not answer", [Name]))
    end.

-spec init({pid(), pitcrew_options:pool()}) -> {ok, #state{}, {continue, subscribe}}.
init({Sup, #{size := Size, start_timeout := Timeout} = Options}) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(#{pool => maps:get(name, Options)}),
    pitcrew_pools:join(Sup, server),
    Slots = pitcrew_nif:slots_new(Size, self()),
    State = #state{
        sup = Sup,
        options = Options,
        keeper = pitcrew_pools:member(Sup, keeper),
        workers = pitcrew_pools:member(Sup, workers),
        slots = Slots,
        dispatch = dispatcher(Options, Slots),
        os_pids = atomics:new(Size, [{signed, true}]),
        crew = pitcrew_crew:new(Size),
        start_by = pitcrew_deadline:in(Timeout)
    },
    {ok, State, {continue, subscribe}}.

dispatcher(#{pipeline := 1}, Slots) -> pitcrew_nif:dispatch_new(1, Slots, self());
dispatcher(#{pipeline := Depth}, _) -> pitcrew_nif:dispatch_new(Depth, none, self()).

handle_continue(subscribe, State) ->
    ok = pitcrew_keeper:subscribe(State#state.keeper),
    {noreply, State}.

handle_call(await, _, #state{phase = running} = State) ->
    {reply, ok, State};
handle_call(await, _, #state{failure = #{} = Error} = State) ->
    {reply, {error, Error}, State};
handle_call(await, From, #state{starters = Starters} = State) ->
    {noreply, State#state{starters = [From | Starters]}};
handle_call(tools, _, State) ->
    {reply, State#state.tools, State};
handle_call(info, _, State) ->
    {reply, info(State), State};
handle_call(_, _, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({pitcrew_dispatch, uneven}, State) ->
    {noreply, balance_later(State)};
handle_info({timeout, _, balance}, State) ->
    {noreply, balance(State)};
handle_info({timeout, _, {rested, Index}}, #state{crew = Crew} = State) ->
    {noreply, refill(State#state{crew = pitcrew_crew:rested(Index, Crew)})};
handle_info({pitcrew_worker, Pid, News}, #state{pids = Pids} = State) when is_map_key(Pid, Pids) ->
    {noreply, worker(News, Pid, State)};
handle_info({pitcrew_keeper, News}, State) ->
    {noreply, keeper(News, State)};
handle_info({'DOWN', Monitor, process, Pid, Reason}, #state{pids = Pids} = State) ->
    case Pids of
        #{Pid := {Monitor, _}} -> {noreply, worker({stopped, Reason, 0}, Pid, State)};
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

%% ---- Workers

keeper({up, Python}, State) ->
    refill(State#state{python = Python});
keeper(down, State) ->
    State#state{python = down};
keeper({failed, Error}, State) ->
    failed(Error, State#state{python = down}).

refill(#state{python = down} = State) -> State;
refill(#state{crew = Crew} = State) -> lists:foldl(fun start_worker/2, State, pitcrew_crew:empty(Crew)).

start_worker(Index, #state{crew = Crew, pids = Pids, options = Options} = State) ->
    Start = #{
        index => Index,
        server => self(),
        keeper => State#state.keeper,
        slots => State#state.slots,
        dispatch => State#state.dispatch,
        os_pids => State#state.os_pids,
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
    Ready = State#state{
        crew = pitcrew_crew:ready(Index, OsPid, erlang:monotonic_time(millisecond), Crew),
        channels = Channels#{Index => Channel},
        tools = Tools
    },
    announce(State#state.tools, open(Ready));
worker({stopped, Reason, Calls}, Pid, State) ->
    {{Monitor, Index}, Pids} = maps:take(Pid, State#state.pids),
    demonitor(Monitor, [flush]),
    ok = pitcrew_nif:slots_remove(State#state.slots, Index),
    {Next, Crew} = pitcrew_crew:stopped(Index, {Calls, erlang:monotonic_time(millisecond)}, State#state.crew),
    Emptied = State#state{
        crew = Crew,
        channels = maps:remove(Index, State#state.channels),
        pids = Pids
    },
    Told = start_failure(Reason, Emptied),
    case Next of
        restart ->
            refill(Told);
        {rest, Delay} ->
            _ = erlang:start_timer(Delay, self(), {rested, Index}),
            Told
    end.

start_failure({start_failed, Error}, State) -> failed(Error, State);
start_failure(_, State) -> State.

%% Whoever starts the pool is told and gives up; a pool that ran before goes on trying. What its starter will be told is not logged.
failed(Error, #state{phase = starting, starters = [], failure = none} = State) ->
    State#state{failure = Error};
failed(Error, #state{phase = starting, starters = [_ | _] = Starters} = State) ->
    [gen_server:reply(Starter, {error, Error}) || Starter <- Starters],
    State#state{starters = [], failure = Error};
failed(Error, #state{options = #{name := Name}} = State) ->
    ?LOG_ERROR("pool ~tp cannot start a worker and will try again: ~ts", [Name, pitcrew_error:format(Error)]),
    State#state{failure = Error}.

%% The pool is there for callers once every worker has been ready.
open(#state{phase = starting, crew = Crew, options = #{size := Size}} = State) ->
    case pitcrew_crew:count(ready, Crew) of
        Size ->
            ok = pitcrew_pools:put(entry(State)),
            [gen_server:reply(Starter, ok) || Starter <- State#state.starters],
            State#state{phase = running, starters = [], failure = none};
        _ ->
            State
    end;
open(State) ->
    State#state{failure = none}.

%% Callers learn of other tools after the modules have changed and the zygote was started again.
announce(Tools, #state{tools = Tools} = State) -> State;
announce(_, #state{phase = starting} = State) -> State;
announce(_, State) ->
    ok = pitcrew_pools:put(entry(State)),
    State.

entry(#state{options = #{telemetry_prefix := Prefix} = Options} = State) ->
    #pool{
        name = maps:get(name, Options),
        sup = State#state.sup,
        server = self(),
        slots = State#state.slots,
        dispatch = State#state.dispatch,
        is_pipelined = maps:get(pipeline, Options) > 1,
        os_pids = State#state.os_pids,
        idempotent = pitcrew_manifest:idempotent(State#state.tools),
        events = {Prefix ++ [call, start], Prefix ++ [call, stop], Prefix ++ [call, exception]},
        max_frame = maps:get(max_frame, Options),
        spin_us = maps:get(spin_us, Options),
        defaults = pitcrew_options:defaults(Options)
    }.

%% ---- For people

info(#state{options = #{name := Name, size := Size}, python = Python} = State) ->
    Facts =
        case Python of
            down -> #{start => nil, zygote => nil, guard => nil, port => nil};
            #{} -> Python
        end,
    (maps:merge(Facts, load(State)))#{
        name => Name,
        size => Size,
        workers => [worker_info(Worker, State) || Worker <- pitcrew_crew:list(State#state.crew)]
    }.

load(#state{dispatch = Dispatch, slots = Slots, options = #{pipeline := Depth}}) ->
    #{free := Free} = Load = maps:with([free, queued], pitcrew_nif:dispatch_info(Dispatch)),
    case Depth of
        1 -> Load#{free := Free + maps:get(free, pitcrew_nif:slots_info(Slots))};
        _ -> Load
    end.

worker_info(#{id := Index} = Worker, #state{channels = Channels}) ->
    case Channels of
        #{Index := Channel} ->
            #{calls := Calls} = Info = pitcrew_nif:channel_info(Channel),
            Worker#{state := state(Info), calls => Calls};
        #{} ->
            Worker#{calls => 0}
    end.

%% A poisoned channel serves no more calls; `gone' alone may become an adoption.
state(#{phase := Phase, flags := Flags, load := Load}) ->
    case Flags -- [inside, gone, finish] of
        [_ | _] -> ending;
        [] when Phase =:= free; Phase =:= pipelined, Load =:= 0 -> idle;
        [] -> busy
    end.
