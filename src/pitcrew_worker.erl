%% One worker process, from the request for a fork to the exit report: one incarnation, never reused.
%%
%%   starting   asked for; its channels connect, it says `ready'
%%   ready      its call channel is a slot of the pool; towards the end it takes no more calls, and goes when those it has have ended
%%   ending     it has been interrupted or killed; the exit report is on its way
%%
%% It owns both channels and passes the verdict on the call channel when it learns how the worker ended. A call whose
%% caller died and that is to go on is its own to finish. Heartbeats and limits have their place in `ready', between a
%% reason and the end.
-module(pitcrew_worker).
-behaviour(gen_statem).

-export([start_link/1]).
-export([init/1, callback_mode/0, starting/3, ready/3, ending/3, terminate/3]).
-export_type([start/0, retirement/0, wear/0]).

-include_lib("kernel/include/logger.hrl").

-type start() :: #{
    index := non_neg_integer(),
    server := pid(),
    keeper := pid(),
    sessions := pid(),
    slots := pitcrew_nif:slots(),
    dispatch := pitcrew_nif:dispatch(),
    account := pitcrew_nif:account() | none,
    options := pitcrew_options:pool(),
    %% Monotonic milliseconds.
    start_by := integer() | infinity
}.

%% Why another worker should take its place, and why it may go without being in need of one.
-type wear() :: max_calls | max_age | {max_rss, Bytes :: pos_integer()} | stuck.
-type retirement() :: idle | recycled | reload | stop.

-record(worker, {
    start :: start(),
    asked_at :: integer(),
    ready_at :: integer() | undefined,
    os_pid = nil :: pos_integer() | nil,
    call :: pitcrew_nif:channel() | undefined,
    side :: pitcrew_nif:channel() | undefined,
    reader = none :: pid() | none,
    call_ref = make_ref() :: reference(),
    side_ref = make_ref() :: reference(),
    %% The manifest, once the worker said `ready'.
    tools :: [pitcrew_manifest:tool()] | undefined,
    %% The reference of the call that goes on without its caller.
    adopted = none :: none | reference(),
    %% Of a worker that was interrupted: when it is killed, in monotonic milliseconds.
    kill_at = never :: never | integer(),
    %% Whether the pool was asked for a successor.
    recycled = false :: boolean(),
    %% Why it is to end when its calls have ended, once the pool has said so.
    leaving = no :: no | {once_vacated | once_unreferred, retirement()} | retirement(),
    %% Calls that did not end although they were told to, and how often in a row the GIL was found to be held since.
    stuck = #{} :: #{pos_integer() => non_neg_integer()},
    heart :: pitcrew_heart:heart(),
    %% What the server was told of it last.
    vitals = none :: none | map(),
    %% What the system has said of it last.
    seen = #{} :: map(),
    records :: pitcrew_records:records(),
    events :: pitcrew_records:records(),
    %% Why it is killed, where the exit report would not say so.
    fault = none :: none | stopped | silent | sibling_stuck,
    failure = none :: none | pitcrew_error:t()
}).

-define(HELLO, 1).
-define(READY, 2).
-define(ERROR, 5).
-define(SHUTDOWN, 9).
-define(PROTOCOL, 1).
%% A worker whose channel broke is about to exit; one that does not is killed.
-define(LOST_MS, 1_000).
%% Until a call is cancelled once more.
-define(AGAIN_MS, 100).
%% Until the system is asked about a worker that is ready, at most.
-define(FIRST_LOOK_MS, 1_000).
%% After a SIGKILL only the kernel can be late; then the port, which is stopped next, waits on.
-define(KILLED_MS, 2_000).

-spec start_link(start()) -> {ok, pid()} | {error, term()}.
start_link(Start) -> gen_statem:start_link(?MODULE, Start, []).

callback_mode() -> state_functions.

init(#{server := Server, keeper := Keeper, index := Index, options := #{name := Name, telemetry_prefix := Prefix} = Options, start_by := Deadline} = Start) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(#{pool => Name, slot => Index}),
    _ = monitor(process, Server),
    ok = pitcrew_keeper:fork(Keeper),
    Worker = #worker{
        start = Start,
        asked_at = erlang:monotonic_time(),
        heart = pitcrew_heart:new(Options),
        records = pitcrew_records:new(logging, #{pool => Name, slot => Index}),
        events = pitcrew_records:new({events, Prefix}, #{pool => Name, slot => Index})
    },
    {ok, starting, Worker, deadline(Deadline)}.

deadline(infinity) -> [];
deadline(Deadline) -> [{state_timeout, Deadline, too_late, [{abs, true}]}].

%% ---- starting

starting(info, {pitcrew_keeper, {forked, OsPid}}, Worker) ->
    maybe_ready(Worker#worker{os_pid = OsPid});
starting(info, {pitcrew_keeper, {channel, call, Channel}}, #worker{start = #{options := Options, account := Account}} = Worker) ->
    _ = greet(Channel, [?HELLO, 0, pitcrew_hello:fields(Options, Account)], Worker),
    handshake(Worker#worker{call = Channel});
starting(info, {select, Channel, undefined, ready_output}, #worker{call = Channel}) ->
    _ = pitcrew_nif:channel_flush(Channel, undefined),
    keep_state_and_data;
starting(info, {select, Channel, Ref, ready_input}, #worker{call = Channel, call_ref = Ref} = Worker) ->
    handshake(Worker);
starting(state_timeout, too_late, Worker) ->
    Error = pitcrew_error:new(start_error, "a worker was not ready in time (option start_timeout)"),
    kill(Worker#worker{failure = Error});
starting(Type, Event, Worker) ->
    any_state(starting, Type, Event, Worker).

greet(Channel, Hello, #worker{start = #{account := Account, options := #{pipeline := Depth}}}) ->
    pitcrew_nif:channel_hello(Channel, Hello, Depth > 1, Account).

%% Reads what the worker says on the call channel: that it is ready, or why not. An end of file is explained by the exit report.
handshake(#worker{call = Channel, call_ref = Ref} = Worker) ->
    case pitcrew_nif:channel_recv(Channel, Ref) of
        again ->
            {keep_state, Worker};
        {ok, [?READY, _, #{<<"protocol">> := ?PROTOCOL} = Ready | _]} ->
            Tools = pitcrew_manifest:from_wire(maps:get(<<"tools">>, Ready, [])),
            ok = pitcrew_emitted:declare(maps:get(<<"events">>, Ready, [])),
            maybe_ready(Worker#worker{tools = Tools});
        {ok, [?READY | _]} ->
            Error = pitcrew_error:new(start_error, "the worker speaks another version of the protocol: build pitcrew._core again"),
            kill(Worker#worker{failure = Error});
        {ok, [?ERROR, 0, _, Report | _]} when is_map(Report) ->
            {keep_state, Worker#worker{failure = pitcrew_error:from_start_report(Report)}};
        {ok, [Kind, Id | _]} when is_integer(Kind), is_integer(Id) ->
            ok = pitcrew_side:refuse(Channel, Kind, Id),
            handshake(Worker);
        {error, #{message := Message}} ->
            Error = pitcrew_error:new(protocol_error, ["a worker's greeting cannot be read: ", Message]),
            kill(Worker#worker{failure = Error});
        {error, _} ->
            {keep_state, Worker}
    end.

maybe_ready(#worker{os_pid = OsPid, side = Side, tools = Tools} = Worker) when
    is_integer(OsPid), Side =/= undefined, Tools =/= undefined
->
    #worker{call = Channel, start = #{server := Server}} = Worker,
    %% Calls come to it as soon as it is installed, and whoever has made one may ask where it was.
    tell_sessions({comes, Channel}, Worker),
    case install(Worker) of
        {ok, Installed} ->
            Ready = Installed#worker{ready_at = erlang:monotonic_time()},
            tell_sessions(ready, Ready),
            Server ! {pitcrew_worker, self(), {ready, OsPid, Channel, Tools}},
            announce(start, #{duration => Ready#worker.ready_at - Ready#worker.asked_at}, #{}, Ready),
            Beat = beat_in(pitcrew_heart:every(Ready#worker.heart)),
            {next_state, ready, Ready#worker{tools = undefined}, age(Ready) ++ Beat ++ look_first(Ready)};
        {error, Reason} ->
            Error = pitcrew_error:new(start_error, "a worker's channel cannot become a slot: ~tp", [Reason]),
            kill(Worker#worker{failure = Error})
    end;
maybe_ready(Worker) ->
    {keep_state, Worker}.

install(#worker{call = Channel, os_pid = OsPid, start = Start} = Worker) ->
    Reader = pitcrew_reader:start_link(),
    case install(Channel, OsPid, Reader, Start) of
        ok ->
            ok = pitcrew_reader:open(Reader, Channel),
            {ok, Worker#worker{reader = Reader}};
        {error, _} = Error ->
            Error
    end.

install(Channel, OsPid, Reader, #{options := #{pipeline := 1, max_frame := Max} = Options} = Start) ->
    #{dispatch := Dispatch, slots := Slots, index := Index} = Start,
    case pitcrew_nif:lane_attach(Dispatch, Index, OsPid, Channel, Reader, Max, worn_after(Options)) of
        ok -> pitcrew_nif:slots_install(Slots, Index, Channel);
        {error, _} = Error -> Error
    end;
install(Channel, OsPid, Reader, #{dispatch := Dispatch, index := Index, options := #{max_frame := Max} = Options}) ->
    pitcrew_nif:lane_open(Dispatch, Index, OsPid, Channel, Reader, Max, worn_after(Options)).

worn_after(#{max_calls := infinity}) -> 0;
worn_after(#{max_calls := MaxCalls}) -> MaxCalls.

%% What was ready together should not be replaced together.
age(#worker{start = #{options := #{max_age := infinity}}}) -> [];
age(#worker{start = #{options := #{max_age := MaxAge}}}) -> [{{timeout, age}, MaxAge - rand:uniform(1 + MaxAge div 10) + 1, max_age}].

%% ---- ready

ready({timeout, age}, max_age, Worker) ->
    {keep_state, recycle(max_age, Worker)};
ready(info, {pitcrew_channel, Channel, worn}, #worker{call = Channel} = Worker) ->
    {keep_state, recycle(max_calls, Worker)};
ready(info, {pitcrew_pool, {retire, stop}}, #worker{leaving = Leaving} = Worker) when Leaving =:= no; is_tuple(Leaving) ->
    leave(stop, Worker);
%% It drains already.
ready(info, {pitcrew_pool, {retire, Why}}, #worker{leaving = no, stuck = Stuck} = Worker) when Stuck =/= #{} ->
    {keep_state, Worker#worker{leaving = Why}};
%% Others take over, but not for sessions and for objects that are referred to: it stays for those, for a while.
ready(info, {pitcrew_pool, {retire, Why}}, #worker{leaving = no, start = #{options := Options}} = Worker) ->
    tell_sessions(leaving, Worker),
    {keep_state, Worker#worker{leaving = {once_vacated, Why}}, [{{timeout, linger}, maps:get(linger, Options), over}]};
ready(info, {pitcrew_sessions, vacated}, #worker{leaving = {once_vacated, Why}} = Worker) ->
    leave_if_unreferred(Worker#worker{leaving = {once_unreferred, Why}});
ready({timeout, linger}, over, #worker{leaving = {_, Why}} = Worker) ->
    tell_sessions({stopped, recycled}, Worker),
    leave(Why, Worker);
ready(info, {pitcrew_channel, Channel, drained}, #worker{call = Channel, stuck = Stuck} = Worker) when Stuck =/= #{} ->
    only_stuck(Worker);
ready(info, {pitcrew_channel, Channel, drained}, #worker{call = Channel, leaving = Why} = Worker) when is_atom(Why), Why =/= no ->
    depart(Worker);
%% A caller gave up or died in the middle of a call.
ready(info, {pitcrew_channel, Channel, cut}, #worker{call = Channel} = Worker) ->
    interrupt(Worker);
%% A caller died whose call is to go on.
ready(info, {pitcrew_channel, Channel, adopt}, #worker{call = Channel, start = #{options := Options}} = Worker) ->
    #{timeout := Timeout} = Options,
    Ref = make_ref(),
    ok = pitcrew_nif:adopt(Channel, Ref),
    {keep_state, finish(Worker#worker{adopted = Ref}), [{{timeout, adopted}, Timeout, Ref}]};
ready(info, {select, Channel, Ref, _}, #worker{call = Channel, adopted = Ref} = Worker) ->
    {keep_state, finish(Worker)};
%% Nobody waits for it, but it must not hold the worker for ever. The machine says `cut', as to any owner that gives up.
ready({timeout, adopted}, Ref, #worker{call = Channel, adopted = Ref} = Worker) ->
    _ = pitcrew_nif:abandon(Channel, Ref),
    {keep_state, Worker#worker{adopted = none}};
ready(info, {pitcrew_channel, Channel, lost}, #worker{call = Channel}) ->
    {keep_state_and_data, [{state_timeout, ?LOST_MS, lost}]};
ready(state_timeout, lost, Worker) ->
    kill(Worker);
%% Nobody waits for a call any more that a caller did not claim the slot for. Of a pipelined worker: a call would be better off elsewhere, if
%% it has not begun.
ready(info, {pitcrew_channel, Channel, {left, Id}}, #worker{call = Channel, start = #{options := #{pipeline := 1}}} = Worker) ->
    interrupt(Id, Worker);
ready(info, {pitcrew_channel, Channel, {left, Id}}, #worker{call = Channel, start = #{options := #{grace := Grace}}} = Worker) ->
    cancel(Id, Grace, Worker);
%% The same of a call that runs inside of another one, which goes on when it has ended.
ready(info, {pitcrew_channel, Channel, {inner, Id}}, #worker{call = Channel, start = #{options := #{grace := Grace}}} = Worker) ->
    cancel(Id, Grace, Worker);
%% It is to go on, but not for ever.
ready(info, {pitcrew_channel, Channel, {finish, Id}}, #worker{call = Channel, start = #{options := #{timeout := Timeout}}}) ->
    {keep_state_and_data, [{{timeout, {finish, Id}}, Timeout, too_late}]};
ready({timeout, {finish, Id}}, too_late, #worker{call = Channel, start = #{options := #{pipeline := 1}}} = Worker) ->
    case pitcrew_nif:lane_stop(Channel, Id) of
        true -> interrupt(Id, Worker);
        %% It has ended, or runs inside of another one.
        false -> ready(info, {pitcrew_channel, Channel, {inner, Id}}, Worker)
    end;
ready({timeout, {finish, Id}}, too_late, #worker{call = Channel} = Worker) ->
    ready(info, {pitcrew_channel, Channel, {left, Id}}, Worker);
%% References to its objects were collected.
ready(info, pitcrew_released, #worker{call = Channel} = Worker) ->
    ok = pitcrew_nif:lane_forget(Channel),
    leave_if_unreferred(Worker);
ready(info, {pitcrew_move, Id}, #worker{side = Side}) ->
    ok = pitcrew_side:move(Id, Side),
    keep_state_and_data;
ready(info, {pitcrew_cancelled, Id, <<"unstarted">>}, #worker{call = Channel}) ->
    ok = pitcrew_nif:lane_drop(Channel, Id),
    {keep_state_and_data, [{{timeout, {left, Id}}, cancel}]};
%% One that was interrupted, or is about to be answered, has the grace to end. If it does, the worker goes on with the others. One that
%% waits still could not be cancelled: the worker has no room for more such calls, or says nothing.
ready({timeout, {left, Id}}, too_late, #worker{call = Channel, start = #{options := #{concurrency := Many, grace := Grace}}} = Worker) when
    Many > 1
->
    case pitcrew_nif:lane_give_up(Channel, Id) of
        {stuck, 0} -> kill(Worker);
        {stuck, _} -> stuck(Id, Worker);
        unstarted -> cancel(Id, max(Grace, ?AGAIN_MS), Worker);
        none -> keep_state_and_data
    end;
%% The worker is asked, by another interrupt, whether anything else can go on in it. A GIL that is held at two such questions is held for ever; once
%% may only mean that the machine is busy, and whoever takes the GIL has not had its turn.
ready({timeout, {held, Id}}, ask, #worker{side = Side} = Worker) ->
    ok = pitcrew_side:cancel(Id, Side),
    {keep_state_and_data, [ask_later(Id, Worker)]};
ready(info, {pitcrew_cancelled, Id, <<"held">>}, #worker{stuck = Stuck} = Worker) when is_map_key(Id, Stuck) ->
    case Stuck of
        #{Id := 0} -> {keep_state, Worker#worker{stuck = Stuck#{Id := 1}}};
        #{} -> kill(Worker#worker{fault = sibling_stuck})
    end;
ready(info, {pitcrew_cancelled, Id, <<"started">>}, #worker{stuck = Stuck} = Worker) when is_map_key(Id, Stuck) ->
    {keep_state, Worker#worker{stuck = Stuck#{Id := 0}}};
ready(info, {pitcrew_cancelled, Id, <<"ended">>}, #worker{stuck = Stuck}) when is_map_key(Id, Stuck) ->
    {keep_state_and_data, [{{timeout, {held, Id}}, cancel}]};
%% One that does not end holds up the call that it runs inside of.
ready({timeout, {left, Id}}, too_late, #worker{call = Channel, start = #{options := #{pipeline := 1}}} = Worker) ->
    case pitcrew_nif:lane_give_up(Channel, Id) of
        {stuck, _} -> kill(Worker);
        _ -> keep_state_and_data
    end;
ready({timeout, {left, Id}}, too_late, #worker{call = Channel, start = #{options := #{grace := Grace}}} = Worker) ->
    case pitcrew_nif:lane_stop(Channel, Id) of
        true ->
            kill(Worker);
        false ->
            case pitcrew_nif:channel_info(Channel) of
                #{first := First} when 0 < First, First < Id -> cancel(Id, max(Grace, ?AGAIN_MS), Worker);
                #{} -> keep_state_and_data
            end
    end;
ready({timeout, beat}, _, #worker{heart = Heart, os_pid = OsPid, call = Channel} = Worker) ->
    ok = pitcrew_nif:channel_tend(Channel),
    Look = fun() -> pitcrew_proc:state(OsPid) end,
    {Due, Next, Beaten} = pitcrew_heart:beat(erlang:monotonic_time(millisecond), Look, Heart),
    beat(Due, Next, tell_vitals(Worker#worker{heart = Beaten}));
ready({timeout, look}, due, #worker{start = #{keeper := Keeper, options := #{vitals_interval := Interval}}}) ->
    ok = pitcrew_keeper:vitals(Keeper),
    {keep_state_and_data, look_in(Interval)};
ready(info, {pitcrew_keeper, {vitals, Vitals}}, Worker) ->
    {keep_state, seen(Vitals, Worker)};
ready(info, {pitcrew_pong, Id, Fields}, #worker{heart = Heart} = Worker) ->
    {News, Heard} = pitcrew_heart:pong(erlang:monotonic_time(millisecond), {Id, Fields}, Heart),
    Told = lists:foldl(fun heard_of_memory/2, tell_vitals(Worker#worker{heart = Heard}), News),
    {keep_state, Told, [Now || beat_now <- News, Now <- beat_in(0)]};
ready(Type, Event, Worker) ->
    any_state(ready, Type, Event, Worker).

leave_if_unreferred(#worker{call = Channel, leaving = {once_unreferred, Why}} = Worker) ->
    case pitcrew_nif:channel_info(Channel) of
        #{refs := 0} -> leave(Why, Worker);
        #{} -> {keep_state, Worker}
    end;
leave_if_unreferred(Worker) ->
    {keep_state, Worker}.

leave(Why, Worker) -> depart(Worker#worker{leaving = Why}).

%% The pool starts a successor, and then has this one retire.
recycle(_, #worker{recycled = true} = Worker) ->
    Worker;
recycle(Why, #worker{start = #{server := Server}} = Worker) ->
    Server ! {pitcrew_worker, self(), {recycle, Why}},
    announce(recycle, lifetime(calls(Worker), Worker), #{reason => Why}, Worker),
    Worker#worker{recycled = true}.

%% If calls are there still, there is a message when the last one has ended.
depart(Worker) ->
    case dismiss(Worker) of
        true -> ending_soon(Worker);
        false -> {keep_state, Worker}
    end.

%% It has the grace to end by itself.
ending_soon(#worker{start = #{options := #{grace := Grace}}} = Worker) ->
    {next_state, ending, Worker#worker{kill_at = pitcrew_deadline:in(Grace)}, [{state_timeout, Grace, too_late}]}.

%% ---- Heartbeats

beat_in(Milliseconds) -> [{{timeout, beat}, Milliseconds, due}].

beat({ping, Id, Asks}, Next, #worker{side = Side} = Worker) ->
    ok = pitcrew_side:ping(Id, Asks, Side),
    {keep_state, Worker, beat_in(Next)};
beat(wait, Next, Worker) ->
    {keep_state, Worker, beat_in(Next)};
beat({kill, Fault}, _, #worker{os_pid = OsPid} = Worker) ->
    ?LOG_WARNING("worker ~b ~ts", [OsPid, pitcrew_error:exit_text(Fault)]),
    kill(Worker#worker{fault = Fault}).

tell_vitals(#worker{heart = Heart, vitals = Told, seen = Seen, start = #{server := Server}} = Worker) ->
    case maps:merge(pitcrew_heart:vitals(erlang:monotonic_time(millisecond), Heart), Seen) of
        Told ->
            Worker;
        Vitals ->
            Server ! {pitcrew_worker, self(), {vitals, Vitals}},
            Worker#worker{vitals = Vitals}
    end.

%% ---- What the system says of the worker: the port looks

%% Soon, so that there is something to see.
look_first(#worker{start = #{options := #{vitals_interval := infinity}}}) -> [];
look_first(#worker{start = #{options := #{vitals_interval := Interval}}}) -> look_in(min(Interval, ?FIRST_LOOK_MS)).

look_in(Milliseconds) -> [{{timeout, look}, Milliseconds, due}].

seen(#{resident := Resident, cpu_us := CpuUs, threads := Threads, files := Files} = Vitals, Worker) ->
    Cpu = erlang:convert_time_unit(CpuUs, microsecond, native),
    Counted = #{resident => Resident, cpu_time => Cpu, threads => Threads},
    Measured = case Files of nil -> Counted; _ -> Counted#{files => Files} end,
    announce(vitals, Measured, #{}, Worker),
    tell_vitals(Worker#worker{seen = (maps:remove(cpu_us, Vitals))#{cpu_ms => CpuUs div 1000}}).

heard_of_memory(beat_now, Worker) ->
    Worker;
heard_of_memory({step, Reason, Step, Measured}, Worker) ->
    announce(memory, Measured, #{reason => Reason, step => Step}, Worker),
    Worker;
heard_of_memory({trimmed, Before, After}, Worker) ->
    announce(trim, #{before => Before, 'after' => After}, #{}, Worker),
    Worker;
heard_of_memory({recycle, Rss}, Worker) ->
    recycle({max_rss, Rss}, Worker);
heard_of_memory(cannot_measure, Worker) ->
    ?LOG_WARNING("the option max_rss has no effect: this system does not tell how much memory a worker has for itself"),
    Worker.

cancel(Id, Grace, #worker{side = Side}) ->
    ok = pitcrew_side:cancel(Id, Side),
    {keep_state_and_data, [{{timeout, {left, Id}}, Grace, too_late}]}.

%% A call does not end, and others run beside it: the worker takes no more, its place is filled at once, and it goes when the others have ended. What
%% waits in it goes elsewhere.
stuck(Id, #worker{call = Channel, side = Side, stuck = Stuck} = Worker) ->
    _ = [pitcrew_side:move(Other, Side) || Other <- pitcrew_nif:lane_unstarted(Channel)],
    %% Calls that can go nowhere else end.
    _ = pitcrew_nif:drain(Channel),
    tell_sessions({stopped, stuck}, Worker),
    Known = (recycle(stuck, Worker))#worker{stuck = Stuck#{Id => 0}},
    {keep_state, Known, [{{timeout, {held, Id}}, ask_after(Known), ask}]}.

%% The first time when the interrupt was sent long enough ago, for a GIL may be held for a moment.
ask_after(#worker{start = #{options := #{grace := Grace}}}) -> max(0, ?AGAIN_MS - Grace).

ask_later(Id, #worker{start = #{options := #{grace := Grace}}}) -> {{timeout, {held, Id}}, max(Grace, ?AGAIN_MS), ask}.

%% Those that were stuck may have ended after all.
only_stuck(#worker{call = Channel} = Worker) ->
    case pitcrew_nif:channel_info(Channel) of
        #{load := 0} -> depart(Worker);
        #{} -> kill(Worker)
    end.

%% Does what there is to do now for the adopted call: sends the rest of it, reads what there is of its answer. When the
%% channel breaks, the machine says `lost'.
finish(#worker{call = Channel, adopted = Ref} = Worker) ->
    case pitcrew_nif:reply(Channel, Ref, #{}) of
        dropped ->
            _ = pitcrew_nif:checkin(Channel),
            Worker#worker{adopted = none};
        _ ->
            Worker
    end.

%% The tool gets an exception, if the worker has its call at all, and the serve loop an end of file, which it finds when
%% the tool has ended, or in the middle of a frame that was cut. So the worker runs its stop hooks and exits, or is
%% killed when its time is up.
interrupt(#worker{call = Channel} = Worker) ->
    case pitcrew_nif:channel_info(Channel) of
        #{phase := writing} -> condemn(Worker);
        #{call_id := Id} -> interrupt(Id, Worker)
    end.

interrupt(Id, #worker{side = Side} = Worker) ->
    ok = pitcrew_side:cancel(Id, Side),
    condemn(Worker).

condemn(#worker{call = Channel} = Worker) ->
    close(Channel),
    tell_sessions({stopped, interrupted}, Worker),
    ending_soon(Worker).

%% ---- ending

ending(state_timeout, too_late, Worker) -> kill(Worker);
ending(Type, Event, Worker) -> any_state(ending, Type, Event, Worker).

%% ---- in any state

any_state(_, info, {pitcrew_keeper, {channel, side, Channel}}, #worker{side_ref = Ref} = Worker) ->
    _ = pitcrew_side:hear(Channel, Ref),
    maybe_ready(Worker#worker{side = Channel});
any_state(State, info, {select, Channel, Ref, ready_input}, #worker{side = Channel, side_ref = Ref}) ->
    case pitcrew_side:hear(Channel, Ref) of
        %% Like a broken call channel: the exit should follow.
        {error, _} when State =:= ready -> {keep_state_and_data, [{state_timeout, ?LOST_MS, lost}]};
        _ -> keep_state_and_data
    end;
any_state(_, info, {select, Channel, undefined, ready_output}, #worker{side = Channel}) ->
    _ = pitcrew_nif:channel_flush(Channel, undefined),
    keep_state_and_data;
any_state(_, info, {pitcrew_record, Sort, Record}, Worker) ->
    {keep_state, record(Sort, Record, Worker)};
any_state(_, info, {pitcrew_records, Pid, logged}, #worker{records = Records, events = Events} = Worker) ->
    {keep_state, credit(pitcrew_records:logged(Pid, Records), pitcrew_records:logged(Pid, Events), Worker)};
any_state(State, info, {pitcrew_keeper, {exit, How, LastWords}}, Worker) ->
    ended(State, How, LastWords, Worker);
any_state(_, info, {pitcrew_keeper, {fork_failed, Error}}, Worker) ->
    report({start_failed, Error}, calls(Worker), Worker),
    {stop, normal, Worker#worker{os_pid = nil}};
any_state(State, info, {'EXIT', Reader, _}, #worker{reader = Reader} = Worker) when State =/= ending ->
    kill(Worker);
any_state(_, info, {'EXIT', Pid, _}, #worker{records = Records, events = Events} = Worker) when is_pid(Pid) ->
    {keep_state, credit(pitcrew_records:ended(Pid, Records), pitcrew_records:ended(Pid, Events), Worker)};
any_state(_, info, {'DOWN', _, process, Server, shutdown}, #worker{start = #{server := Server}}) ->
    %% The pool is being stopped; our turn comes.
    keep_state_and_data;
any_state(State, info, {'DOWN', _, process, Server, _}, #worker{start = #{server := Server}} = Worker) when State =/= ending ->
    kill(Worker);
any_state(_, _, _, _) ->
    keep_state_and_data.

record(log, Record, #worker{records = Records, os_pid = OsPid} = Worker) ->
    Worker#worker{records = pitcrew_records:take(Record, OsPid, Records)};
record(event, Record, #worker{events = Events, os_pid = OsPid} = Worker) ->
    Worker#worker{events = pitcrew_records:take(Record, OsPid, Events)}.

credit({ForRecords, Records}, {ForEvents, Events}, #worker{side = Side} = Worker) ->
    ok = pitcrew_side:credit(log, ForRecords, Side),
    ok = pitcrew_side:credit(event, ForEvents, Side),
    Worker#worker{records = Records, events = Events}.

%% What it has logged before it died.
last_records(#worker{side = undefined} = Worker) ->
    Worker;
last_records(Worker) ->
    ok = hear_aside(Worker),
    waiting_records(Worker).

waiting_records(Worker) ->
    receive
        {pitcrew_record, Sort, Record} -> waiting_records(record(Sort, Record, Worker))
    after 0 -> Worker
    end.

kill(#worker{start = #{keeper := Keeper}} = Worker) ->
    ok = pitcrew_keeper:kill(Keeper, sigkill),
    {next_state, ending, Worker}.

%% The exit report: the only thing that says how a worker ended.
ended(State, How, LastWords, #worker{fault = Fault} = Worker) when Fault =/= none, Fault =/= How ->
    ended(State, Fault, LastWords, Worker);
ended(State, How, LastWords, #worker{call = Channel, side = Side} = Worker) ->
    judge(dead, How, Worker),
    tell_sessions({stopped, How}, Worker),
    Reason = reason(State, How, LastWords, Worker),
    Calls = calls(Worker),
    report(Reason, Calls, Worker),
    _ = last_records(Worker),
    close(Channel),
    close(Side),
    announce_end(Reason, Calls, Worker),
    {stop, normal, Worker#worker{os_pid = nil}}.

announce_end({start_failed, _}, _, _) -> ok;
announce_end(Reason, Calls, Worker) -> announce(stop, lifetime(Calls, Worker), #{reason => Reason}, Worker).

start_failure(_, _, #worker{failure = #{} = Error}) -> Error;
start_failure(How, LastWords, _) ->
    Text = ["a worker ", pitcrew_error:exit_text(How), " before it was ready", pitcrew_error:said(LastWords)],
    (pitcrew_error:new(start_error, Text))#{reason => How}.

tell_sessions(News, #worker{start = #{sessions := Sessions}}) ->
    Sessions ! {pitcrew_worker, self(), News},
    ok.

report(Reason, Calls, #worker{start = #{server := Server}}) ->
    Server ! {pitcrew_worker, self(), {stopped, Reason, Calls}},
    ok.

judge(_, _, #worker{call = undefined}) ->
    ok;
judge(_, Reason, #worker{call = Channel, reader = none}) ->
    _ = pitcrew_nif:verdict(Channel, Reason),
    ok;
judge(Life, Reason, #worker{call = Channel, reader = Reader} = Worker) ->
    %% What it answered before it died comes first, and what it said of calls that it would never start: later ones may have started.
    ok = pitcrew_reader:drain(Reader, Life),
    ok = hear_out(Worker),
    _ = pitcrew_nif:verdict(Channel, Reason),
    ok.

hear_out(#worker{start = #{options := #{pipeline := 1}}}) ->
    ok;
hear_out(#worker{call = Channel} = Worker) ->
    ok = hear_aside(Worker),
    drop_unstarted(Channel).

hear_aside(#worker{side = Side, side_ref = Ref}) -> pitcrew_side:hear_out(Side, Ref).

%% What was heard and not attended to yet.
drop_unstarted(Channel) ->
    receive
        {pitcrew_cancelled, Id, <<"unstarted">>} ->
            ok = pitcrew_nif:lane_drop(Channel, Id),
            drop_unstarted(Channel)
    after 0 -> ok
    end.

close(undefined) -> ok;
close(Channel) -> _ = pitcrew_nif:channel_close(Channel), ok.

calls(#worker{call = undefined}) -> 0;
calls(#worker{call = Channel}) -> maps:get(calls, pitcrew_nif:channel_info(Channel)).

lifetime(Calls, #worker{ready_at = ReadyAt}) -> #{lifetime => erlang:monotonic_time() - ReadyAt, calls => Calls}.

%% Status 0 is the answer to `shutdown', and to an interrupt.
reason(_, How, LastWords, #worker{ready_at = undefined} = Worker) -> {start_failed, start_failure(How, LastWords, Worker)};
reason(ending, {status, 0}, _, #worker{leaving = Why}) when is_atom(Why), Why =/= no -> Why;
reason(ending, {status, 0}, _, #worker{kill_at = never}) -> normal;
reason(ending, {status, 0}, _, _) -> interrupted;
reason(_, How, _, _) -> How.

%% Handlers of users run here, and take what time they like: what others wait for is said first.
announce(What, Measurements, More, #worker{os_pid = OsPid, start = #{index := Index, options := Options}}) ->
    #{name := Name, telemetry_prefix := Prefix} = Options,
    Metadata = More#{pool => Name, worker => OsPid, id => Index},
    pitcrew_telemetry:execute(Prefix ++ [worker, What], Measurements, Metadata).

%% ---- The pool is stopped

%% An idle worker runs its stop hooks and exits, one that was interrupted does so already; one that is busy, or takes
%% longer than the grace, is killed. Without an exit report (the keeper died, and its port kills everybody) that is how
%% it ended.
terminate(_, _, #worker{os_pid = nil, start = #{keeper := Keeper}}) ->
    pitcrew_keeper:kill(Keeper, sigkill);
terminate(_, _, #worker{start = #{keeper := Keeper}} = Worker) ->
    Monitor = monitor(process, Keeper),
    First =
        case time_left(Worker) of
            0 -> late;
            Left -> await_exit(Monitor, Left)
        end,
    case insist(First, Monitor, Keeper) of
        {exit, How, LastWords} -> ended(ending, How, LastWords, Worker);
        _ -> ended(ending, {signal, sigkill}, <<>>, Worker)
    end.

time_left(#worker{kill_at = never, start = #{options := #{grace := Grace}}} = Worker) ->
    case dismiss(Worker) of
        true ->
            Grace;
        false ->
            judge(alive, pool_down, Worker),
            0
    end;
time_left(#worker{kill_at = KillAt}) ->
    pitcrew_deadline:left(KillAt).

%% Tells a worker to end, if no call is there or will come; whether it was. A slot's channel may be with its lane.
dismiss(#worker{ready_at = undefined}) ->
    false;
dismiss(#worker{call = Channel}) ->
    pitcrew_nif:drain(Channel) =:= idle andalso
        (pitcrew_nif:lane_shutdown(Channel) =:= ok orelse pitcrew_nif:channel_send(Channel, [?SHUTDOWN, 0]) =:= ok).

insist(late, Monitor, Keeper) ->
    ok = pitcrew_keeper:kill(Keeper, sigkill),
    await_exit(Monitor, ?KILLED_MS);
insist(Outcome, _, _) ->
    Outcome.

await_exit(Monitor, Timeout) ->
    receive
        {pitcrew_keeper, {exit, _, _} = Exit} -> Exit;
        {'DOWN', Monitor, process, _, _} -> lost
    after Timeout -> late
    end.
