%% Keeps a pool's Python alive outside of the VM: the private directory, the port program, the zygote.
%%
%% It starts them again, with back-off, when they die; none of that burns a supervisor's restarts. Worker processes ask it for
%% forks and kills and are told what becomes of them: {pitcrew_keeper, {forked, OsPid} | {channel, call | side, Channel} |
%% {vitals, Vitals} | {fork_failed, Error} | {exit, How, LastWords}}, one of the last two exactly once. The pool's server is told
%% {pitcrew_keeper, {up, Facts} | down | {failed, Error} | {renewed, Facts} | {not_renewed, Error}}.
-module(pitcrew_keeper).
-behaviour(gen_server).

-export([start_link/2, subscribe/1, fork/1, kill/2, kill/3, vitals/1, renew/1, retire/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).

-include_lib("kernel/include/logger.hrl").

-record(zygote, {
    zid :: pos_integer(),
    pid = nil :: pos_integer() | nil,
    %% `ending': it has failed or was told to go, and what there is to say was said.
    phase = starting :: starting | ready | ending,
    start = nil :: fork | spawn | nil,
    ready_at = 0 :: integer(),
    timer :: reference() | undefined
}).
-record(state, {
    sup :: pid(),
    options :: pitcrew_options:pool(),
    output :: pid(),
    server :: pid() | undefined,
    link = closed :: closed | pitcrew_link:link(),
    zygote = none :: none | #zygote{},
    %% One that takes its place once it is ready, and those whose place was taken, which keep the workers that they have forked.
    next = none :: none | #zygote{},
    retired = [] :: [pos_integer()],
    roster = pitcrew_roster:new() :: pitcrew_roster:roster(),
    %% For zygotes and workers alike; never used again.
    next_id = 1 :: pos_integer(),
    failures = 0 :: non_neg_integer(),
    %% Why Python is not there, as long as it is not.
    failure = none :: none | pitcrew_error:t(),
    %% Credit for log lines that the port has used up and is to get back.
    spent = 0 :: non_neg_integer()
}).

%% Bytes of log lines on their way to the logger, and how much is given back at once.
-define(CREDIT, 64 * 1024).
-define(CREDIT_STEP, 16 * 1024).
%% Ends overtake lines on the port link, so what Python said last may be this much behind.
-define(LAST_WORDS_MS, 100).
-define(PROTOCOL, 1).

-spec start_link(pid(), pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_link(Sup, Options) -> gen_server:start_link(?MODULE, {Sup, Options}, []).

%% @doc The calling process is the pool's server.
-spec subscribe(pid()) -> ok.
subscribe(Keeper) -> gen_server:cast(Keeper, {subscribe, self()}).

%% @doc Makes a worker for the calling process, which is watched: when it ends, its worker is killed.
-spec fork(pid()) -> ok.
fork(Keeper) -> gen_server:cast(Keeper, {fork, self()}).

%% @doc Signals the worker of the calling process.
-spec kill(pid(), atom()) -> ok.
kill(Keeper, Signal) -> kill(Keeper, self(), Signal).

%% @doc The same with the worker of another process.
-spec kill(pid(), pid(), atom()) -> ok.
kill(Keeper, Process, Signal) -> gen_server:cast(Keeper, {kill, Process, Signal}).

%% @doc Has the system asked about the worker of the calling process, which is told {vitals, Vitals} if that runs.
-spec vitals(pid()) -> ok.
vitals(Keeper) -> gen_server:cast(Keeper, {vitals, self()}).

%% @doc Imports the modules anew, in a zygote that the next workers are forked from. The server is told `renewed' or `not_renewed'.
-spec renew(pid()) -> ok.
renew(Keeper) -> gen_server:cast(Keeper, renew).

%% @doc No worker of the former zygotes is needed any more.
-spec retire(pid()) -> ok.
retire(Keeper) -> gen_server:cast(Keeper, retire).

init({Sup, #{name := Name} = Options}) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(#{pool => Name}),
    ok = pitcrew_pools:join(Sup, keeper),
    {ok, Output} = pitcrew_output:start_link(Name),
    {ok, #state{sup = Sup, options = Options, output = Output}, {continue, open}}.

handle_continue(open, State) -> {noreply, open(State)}.

handle_call(_, _, State) -> {reply, {error, unknown}, State}.

%% A new server has no workers yet, and those of the one before it go with that.
handle_cast({subscribe, Server}, State) -> {noreply, introduce(retire_former(State#state{server = Server}))};
handle_cast({fork, Process}, State) -> {noreply, fork_for(Process, State)};
handle_cast({kill, Process, Signal}, #state{link = Link, roster = Roster} = State) ->
    ok = pitcrew_hands:kill(Process, Signal, Link, Roster),
    {noreply, State};
handle_cast({vitals, Process}, #state{link = Link, roster = Roster} = State) ->
    ok = pitcrew_hands:ask_vitals(Process, Link, Roster),
    {noreply, State};
handle_cast(renew, State) -> {noreply, start_next(State)};
handle_cast(retire, State) -> {noreply, retire_former(State)};
handle_cast(_, State) -> {noreply, State}.

handle_info({Port, {data, Bytes}}, #state{link = #{port := Port}} = State) ->
    {noreply, event(pitcrew_control:decode(Bytes), State)};
handle_info({Port, {exit_status, Status}}, #state{link = #{port := Port}} = State) ->
    {noreply, port_down(Status, State)};
handle_info({'EXIT', Port, Reason}, #state{link = #{port := Port}} = State) ->
    {noreply, port_down(Reason, State)};
handle_info({'EXIT', Output, Reason}, #state{output = Output} = State) ->
    {stop, Reason, State};
handle_info({select, _, Ref, _}, #state{link = #{door := Door}} = State) ->
    {noreply, admit(pitcrew_door:readable(Ref, Door), State)};
handle_info({timeout, _, {pitcrew_door, accept}}, #state{link = #{door := Door}} = State) ->
    {noreply, admit(pitcrew_door:accept(Door), State)};
handle_info({timeout, _, {pitcrew_door, Ref}}, #state{link = #{door := Door}} = State) ->
    {noreply, admit({[], pitcrew_door:expired(Ref, Door)}, State)};
handle_info({timeout, Timer, too_late}, #state{zygote = #zygote{timer = Timer, phase = starting}} = State) ->
    {noreply, too_late(State)};
handle_info({timeout, Timer, too_late}, #state{next = #zygote{timer = Timer, zid = Zid}, link = Link} = State) ->
    _ = pitcrew_link:command({kill_zygote, Zid, sigkill}, Link),
    {noreply, not_renewed(late_error(State), State)};
handle_info({timeout, _, {last_words, Zid, How}}, #state{next = #zygote{zid = Zid}} = State) ->
    {noreply, not_renewed(never_ready(How, State), State)};
handle_info({timeout, _, {last_words, Zid, How}}, #state{zygote = #zygote{zid = Zid}} = State) ->
    {noreply, retry(0, failed(never_ready(How, State), State#state{zygote = none}))};
handle_info({timeout, _, retry}, State) ->
    {noreply, open(State)};
handle_info({pitcrew_output, Cost}, State) ->
    {noreply, give_back(Cost, State)};
handle_info({'DOWN', _, process, Process, _}, #state{link = Link, roster = Roster} = State) ->
    {noreply, State#state{roster = pitcrew_hands:process_down(Process, Link, Roster)}};
handle_info(_, State) ->
    {noreply, State}.

%% The port sends SIGTERM to everybody, waits for the grace, then kills; when it is gone, so is everybody.
terminate(Reason, #state{sup = Sup, options = #{name := Name, grace := Grace}, link = Link}) ->
    %% What its supervisor has put down must be there when it is started anew.
    ok =
        case Reason of
            shutdown -> pitcrew_pools:forget(Name, Sup);
            _ -> pitcrew_pools:withdraw(Name, Sup)
        end,
    case Link of
        closed ->
            ok;
        #{port := Port} ->
            _ = pitcrew_link:command({stop, Grace}, Link),
            receive
                {Port, {exit_status, _}} -> ok;
                {'EXIT', Port, _} -> ok
            after Grace + 5_000 -> ok
            end,
            pitcrew_link:close(Link)
    end.

%% ---- Starting, and starting again

open(#state{link = closed, options = Options} = State) ->
    case pitcrew_link:open(Options) of
        {ok, #{door := Door} = Link} ->
            ok = pitcrew_link:command({credit, ?CREDIT}, Link),
            start_zygote(admit(pitcrew_door:accept(Door), State#state{link = Link, spent = 0}));
        {error, Error} ->
            retry(0, failed(Error, State))
    end;
open(#state{zygote = none} = State) ->
    start_zygote(State);
open(State) ->
    State.

start_zygote(State) ->
    case new_zygote(State) of
        {ok, Zygote, Started} -> Started#state{zygote = Zygote};
        {error, Error} -> retry(0, failed(Error, State))
    end.

new_zygote(#state{options = #{start_timeout := Timeout} = Options, link = Link, next_id = Zid} = State) ->
    #{dir := #{instance := Instance}} = Link,
    {Argv, Env, Cd} = pitcrew_python:zygote(Options, Instance),
    case pitcrew_link:command({zygote, Zid, Argv, Env, Cd}, Link) of
        ok ->
            Zygote = #zygote{zid = Zid, timer = timer(Timeout, too_late)},
            {ok, Zygote, State#state{next_id = Zid + 1, roster = pitcrew_roster:forget(0, State#state.roster)}};
        {error, _} = Error ->
            Error
    end.

%% Without a zygote that is ready there is nothing to replace: the one that comes next imports everything anew anyhow.
start_next(#state{zygote = #zygote{phase = ready}, next = none} = State) ->
    case new_zygote(State) of
        {ok, Zygote, Started} -> Started#state{next = Zygote};
        {error, Error} -> not_renewed(Error, State)
    end;
start_next(#state{failure = #{} = Error} = State) ->
    not_renewed(Error, State);
start_next(State) ->
    not_renewed(pitcrew_error:new(start_error, "Python is being started at the moment"), State).

not_renewed(Error, State) ->
    tell({not_renewed, Error}, State),
    State#state{next = none}.

retire_former(#state{retired = Zids, link = Link} = State) ->
    _ = [pitcrew_link:command({kill_zygote, Zid, sigkill}, Link) || Zid <- Zids, Link =/= closed],
    State#state{retired = []}.

timer(infinity, _) -> undefined;
timer(Timeout, Message) -> erlang:start_timer(Timeout, self(), Message).

retry(Lifetime, #state{failures = Before} = State) ->
    Failures = pitcrew_backoff:failures(Before, Lifetime),
    _ = erlang:start_timer(pitcrew_backoff:delay(Failures), self(), retry),
    State#state{failures = Failures}.

too_late(#state{zygote = #zygote{zid = Zid} = Zygote, link = Link} = State) ->
    _ = pitcrew_link:command({kill_zygote, Zid, sigkill}, Link),
    failed(late_error(State), State#state{zygote = Zygote#zygote{phase = ending}}).

late_error(#state{options = #{start_timeout := Timeout}} = State) ->
    Format = "Python was not ready ~b ms after its start (option start_timeout)~ts",
    pitcrew_error:new(start_error, Format, [Timeout, said(State)]).

failed(Error, State) ->
    tell({failed, Error}, State),
    State#state{failure = Error}.

tell(News, #state{server = Server}) when is_pid(Server) ->
    Server ! {pitcrew_keeper, News},
    ok;
tell(_, _) ->
    ok.

introduce(#state{zygote = #zygote{phase = ready}} = State) ->
    tell({up, facts(State)}, State),
    State;
introduce(#state{failure = #{} = Error} = State) ->
    tell({failed, Error}, State),
    State;
introduce(State) ->
    State.

facts(#state{zygote = #zygote{pid = Pid, start = Start}, link = #{guard := Guard, port_pid := PortPid}}) ->
    #{start => Start, zygote => Pid, guard => Guard, port => PortPid}.

%% ---- Events of the port

event({hello, ?PROTOCOL, Guard, Port}, #state{link = Link} = State) ->
    State#state{link = Link#{guard := Guard, port_pid := Port}};
event({hello, Other, _, _}, State) ->
    protocol_error("the port program speaks version ~b of the protocol: build it again with `make -C c_src'", [Other], State);
event({fatal, Text}, State) ->
    failed(pitcrew_error:new(start_error, Text), given_up(State));
event({zygote, Zid, Pid}, #state{zygote = #zygote{zid = Zid} = Zygote} = State) ->
    State#state{zygote = Zygote#zygote{pid = Pid}};
event({zygote, Zid, Pid}, #state{next = #zygote{zid = Zid} = Zygote} = State) ->
    State#state{next = Zygote#zygote{pid = Pid}};
%% The one whose place it takes may have died meanwhile.
event({ready, Zid, Payload}, #state{next = #zygote{zid = Zid, phase = starting} = Next, zygote = Former, retired = Retired} = State) ->
    Old = [Id || #zygote{zid = Id} <- [Former]],
    Renewed = State#state{zygote = now_ready(Payload, Next), next = none, retired = Old ++ Retired, failure = none},
    tell({renewed, facts(Renewed)}, Renewed),
    Renewed;
event({failed, Zid, Payload}, #state{next = #zygote{zid = Zid, phase = starting} = Next} = State) ->
    stop_timer(Next),
    not_renewed(pitcrew_error:from_start_report(pitcrew_control:report(Payload)), State);
event({gone, Zid, _, How}, #state{next = #zygote{zid = Zid, phase = starting} = Next} = State) ->
    stop_timer(Next),
    _ = timer(?LAST_WORDS_MS, {last_words, Zid, How}),
    State#state{next = Next#zygote{phase = ending}};
event({ready, Zid, Payload}, #state{zygote = #zygote{zid = Zid, phase = starting} = Zygote} = State) ->
    introduce(State#state{zygote = now_ready(Payload, Zygote), failure = none});
event({failed, Zid, Payload}, #state{zygote = #zygote{zid = Zid, phase = starting} = Zygote} = State) ->
    stop_timer(Zygote),
    Error = pitcrew_error:from_start_report(pitcrew_control:report(Payload)),
    failed(Error, State#state{zygote = Zygote#zygote{phase = ending}});
event({gone, Zid, _, How}, #state{zygote = #zygote{zid = Zid} = Zygote} = State) ->
    zygote_gone(How, Zygote, State);
event({forked, Wid, OsPid}, #state{roster = Roster, link = Link} = State) ->
    State#state{roster = pitcrew_hands:forked(Wid, OsPid, Link, Roster)};
event({fork_failed, Wid, Message}, #state{roster = Roster} = State) ->
    Error = pitcrew_error:new(start_error, ["a worker could not be forked: ", Message]),
    State#state{roster = pitcrew_hands:ended(Wid, fun(_) -> {fork_failed, Error} end, Roster)};
event({exit, Wid, _, How, _Usage}, #state{roster = Roster} = State) ->
    State#state{roster = pitcrew_hands:ended(Wid, fun(LastWords) -> {exit, How, LastWords} end, Roster)};
event({vitals, Wid, Vitals}, #state{roster = Roster} = State) ->
    ok = pitcrew_hands:vitals(Wid, Vitals, Roster),
    State;
event({log, Wid, Fd, Line}, #state{output = Output, roster = Roster} = State) ->
    ok = pitcrew_output:line(Output, log_pid(Wid, State), {Fd, Line}),
    case Fd of
        2 -> State#state{roster = pitcrew_roster:note(Wid, Line, Roster)};
        1 -> State
    end;
event({dropped, Lines, Bytes}, #state{output = Output} = State) ->
    ok = pitcrew_output:dropped(Output, Lines, Bytes),
    State;
event({error, #{message := Message}}, State) ->
    protocol_error("a message of the port program cannot be read: ~ts", [Message], State);
event(_, State) ->
    %% Unknown, or of a zygote that was given up.
    State.

now_ready(Payload, Zygote) ->
    stop_timer(Zygote),
    Start = start_of(pitcrew_control:report(Payload)),
    Zygote#zygote{phase = ready, start = Start, ready_at = erlang:monotonic_time(millisecond)}.

start_of(#{<<"start">> := <<"spawn">>}) -> spawn;
start_of(_) -> fork.

stop_timer(#zygote{timer = undefined}) -> ok;
stop_timer(#zygote{timer = Timer}) ->
    _ = erlang:cancel_timer(Timer),
    ok.

log_pid(0, #state{zygote = #zygote{pid = Pid}}) -> Pid;
log_pid(Wid, #state{roster = Roster}) -> pitcrew_roster:os_pid(Wid, Roster).

zygote_gone(How, #zygote{phase = ready, ready_at = Since}, State) ->
    ?LOG_ERROR("Python's zygote ~ts; its workers went with it, and it is started again", [pitcrew_error:exit_text(How)]),
    tell(down, State),
    retry(erlang:monotonic_time(millisecond) - Since, State#state{zygote = none});
zygote_gone(_, #zygote{phase = ending}, State) ->
    retry(0, State#state{zygote = none});
zygote_gone(How, #zygote{zid = Zid, phase = starting} = Zygote, State) ->
    stop_timer(Zygote),
    _ = timer(?LAST_WORDS_MS, {last_words, Zid, How}),
    State#state{zygote = Zygote#zygote{phase = ending}}.

%% Status 3 is a missing build of _core, and what was said is which command builds it (docs/protocol.md, section 6).
never_ready({status, 3}, #state{roster = Roster}) ->
    case string:trim(pitcrew_output:text(pitcrew_roster:last_words(0, Roster))) of
        <<>> -> pitcrew_error:new(start_error, "pitcrew._core is not built for this interpreter");
        Advice -> pitcrew_error:new(start_error, Advice)
    end;
never_ready(How, State) ->
    pitcrew_error:new(start_error, "Python ~ts before it was ready~ts", [pitcrew_error:exit_text(How), said(State)]).

%% Ends a message with what Python printed last, if it did.
said(#state{roster = Roster}) -> pitcrew_error:said(pitcrew_roster:last_words(0, Roster)).

%% A port that nobody understands is no use: its end of file sweeps, and its exit starts another.
protocol_error(Format, Args, #state{link = Link} = State) ->
    _ = pitcrew_link:command({stop, 0}, Link),
    failed(pitcrew_error:new(start_error, Format, Args), given_up(State)).

given_up(#state{zygote = #zygote{phase = starting} = Zygote} = State) ->
    stop_timer(Zygote),
    State#state{zygote = Zygote#zygote{phase = ending}};
given_up(State) ->
    State.

port_down(Reason, #state{link = Link, zygote = Zygote, roster = Roster, next = Next} = State) ->
    pitcrew_link:close(Link),
    _ = [not_renewed(pitcrew_error:new(start_error, "the port program ended (~tp)", [Reason]), State) || Next =/= none],
    Closed = State#state{link = closed, zygote = none, next = none, retired = [], roster = pitcrew_hands:all_killed(Roster)},
    case Zygote of
        #zygote{phase = ready, ready_at = Since} ->
            ?LOG_ERROR("the port program ended (~tp); every worker went with it, and it is started again", [Reason]),
            tell(down, State),
            retry(erlang:monotonic_time(millisecond) - Since, Closed);
        #zygote{phase = starting} = Starting ->
            stop_timer(Starting),
            retry(0, failed(pitcrew_error:new(start_error, "the port program ended (~tp)", [Reason]), Closed));
        _ ->
            retry(0, Closed)
    end.

%% ---- Workers

fork_for(Process, #state{zygote = #zygote{zid = Zid, phase = ready}, link = Link, next_id = Wid, roster = Roster} = State) ->
    State#state{next_id = Wid + 1, roster = pitcrew_hands:fork(Process, {Zid, Wid}, Link, Roster)};
fork_for(Process, State) ->
    pitcrew_hands:refuse(Process),
    State.

admit({Guests, Door}, #state{link = Link, roster = Roster} = State) ->
    State#state{link = Link#{door := Door}, roster = pitcrew_hands:admit(Guests, Roster)}.

give_back(Cost, #state{spent = Before, link = Link} = State) ->
    case Before + Cost of
        Spent when Spent >= ?CREDIT_STEP, Link =/= closed ->
            _ = pitcrew_link:command({credit, Spent}, Link),
            State#state{spent = 0};
        Spent ->
            State#state{spent = Spent}
    end.
