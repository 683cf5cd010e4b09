%% What Python has to tell, from a worker's side channel to whoever hears it: records of logging to the logger, events to telemetry (pitcrew_emitted).
%%
%% A process of its own hands them over, for each worker and sort: a slow handler holds up neither the worker's process nor other workers.
%% The worker sends only as many as it has credit for, so that process never has more to do than that; what Python tells beyond it is
%% dropped there, and counted.
-module(pitcrew_records).
-behaviour(gen_server).

-export([hello/1, events_hello/0, new/2, take/3, logged/2, ended/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([records/0, level/0, sort/0]).

-type sort() :: logging | {events, Prefix :: [atom(), ...]}.
-type level() :: debug | info | notice | warning | error | critical.
%% What the worker's process keeps: the process that writes, how many it has not written yet, and how many were written since the last credit.
-record(records, {
    sort :: sort(),
    metadata :: map(),
    writer = none :: none | pid(),
    owed = 0 :: non_neg_integer(),
    spent = 0 :: non_neg_integer()
}).
-opaque records() :: #records{}.

-record(state, {
    worker :: pid(),
    sort :: sort(),
    metadata :: map(),
    dropped = 0 :: non_neg_integer(),
    %% Whether drops were told lately.
    told = false :: boolean()
}).

%% Records that may be on their way, and how many are given back at once.
-define(CREDIT, 200).
-define(CREDIT_STEP, 50).
-define(TELL_DROPPED_MS, 1_000).

%% @doc What a worker is told: Python's number of the level, and its first credit.
-spec hello(level()) -> #{binary() => pos_integer()}.
hello(Level) -> #{<<"level">> => number(Level), <<"credit">> => ?CREDIT}.

%% @doc The first credit of a worker for events.
-spec events_hello() -> pos_integer().
events_hello() -> ?CREDIT.

number(debug) -> 10;
number(info) -> 20;
number(notice) -> 25;
number(warning) -> 30;
number(error) -> 40;
number(critical) -> 50.

%% ---- In the worker's process

-spec new(sort(), map()) -> records().
new(Sort, Metadata) -> #records{sort = Sort, metadata = Metadata}.

%% @doc Hands over what came from the worker. Whoever does is told {pitcrew_records, Writer, logged} for each record.
-spec take({record, list()} | {dropped, term()}, pos_integer() | nil, records()) -> records().
take(Record, OsPid, #records{writer = none, sort = Sort, metadata = Metadata} = Records) ->
    {ok, Writer} = gen_server:start_link(?MODULE, {self(), Sort, Metadata#{worker => OsPid}}, []),
    take(Record, OsPid, Records#records{writer = Writer});
take({record, _} = Record, _, #records{writer = Writer, owed = Owed} = Records) ->
    ok = gen_server:cast(Writer, Record),
    Records#records{owed = Owed + 1};
take({dropped, _} = Dropped, _, #records{writer = Writer} = Records) ->
    ok = gen_server:cast(Writer, Dropped),
    Records.

%% @doc How much credit the worker is to be given now.
-spec logged(pid(), records()) -> {non_neg_integer(), records()}.
logged(Writer, #records{writer = Writer, owed = Owed, spent = Before} = Records) ->
    case Before + 1 of
        ?CREDIT_STEP -> {?CREDIT_STEP, Records#records{owed = Owed - 1, spent = 0}};
        Spent -> {0, Records#records{owed = Owed - 1, spent = Spent}}
    end;
logged(_, Records) ->
    {0, Records}.

%% @doc A process has ended. If it was the writer, what it still had is lost, but not the worker's credit.
-spec ended(pid(), records()) -> {non_neg_integer(), records()}.
ended(Writer, #records{writer = Writer, owed = Owed, spent = Spent} = Records) ->
    {Owed + Spent, Records#records{writer = none, owed = 0, spent = 0}};
ended(_, Records) ->
    {0, Records}.

%% ---- The writer. It ends with the worker's process, after what came before that end.

init({Worker, Sort, Metadata}) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(
        case Sort of
            logging -> Metadata#{domain => [pitcrew, python], python => logging};
            {events, _} -> Metadata
        end
    ),
    {ok, #state{worker = Worker, sort = Sort, metadata = Metadata}}.

handle_call(_, _, State) -> {reply, {error, unknown}, State}.

handle_cast({record, Fields}, #state{worker = Worker} = State) ->
    Lost = hand_over(Fields, State),
    Worker ! {pitcrew_records, self(), logged},
    {noreply, lose(Lost, State)};
handle_cast({dropped, N}, State) when is_integer(N) ->
    {noreply, lose(N, State)};
handle_cast(_, State) ->
    {noreply, State}.

handle_info({timeout, _, tell_dropped}, State) -> {noreply, tell_dropped(State#state{told = false})};
handle_info(_, State) -> {noreply, State}.

terminate(_, State) -> tell_dropped(State#state{told = false}).

%% Whether it is lost: how many are.
hand_over(Fields, #state{sort = logging}) ->
    ok = write(Fields),
    0;
hand_over(Fields, #state{sort = {events, Prefix}, metadata = Metadata}) ->
    case pitcrew_emitted:execute(Prefix, Metadata, Fields) of
        ok -> 0;
        unreadable -> 1
    end.

lose(0, State) -> State;
lose(N, #state{dropped = Before} = State) -> tell_dropped(State#state{dropped = Before + N}).

%% At once, but in a flood not more than once a second.
tell_dropped(#state{told = true} = State) ->
    State;
tell_dropped(#state{dropped = 0} = State) ->
    State;
tell_dropped(#state{dropped = N} = State) ->
    ok = tell_dropped(N, State),
    _ = erlang:start_timer(?TELL_DROPPED_MS, self(), tell_dropped),
    State#state{dropped = 0, told = true}.

tell_dropped(N, #state{sort = logging}) ->
    logger:log(warning, "~b records of Python's logging were dropped: they come faster than the log takes them", [N], #{dropped => N});
tell_dropped(N, #state{sort = {events, Prefix}, metadata = Metadata}) ->
    pitcrew_emitted:dropped(Prefix, Metadata, N).

%% Without its id.
write([_, Level, Message, Logger, Module, Function, Path, Line, Time | _]) when
    is_integer(Level), is_binary(Message), is_binary(Path), is_integer(Line), is_integer(Time)
->
    logger:log(level(Level), "~ts", [Message], #{
        python_logger => Logger,
        python_module => Module,
        python_function => Function,
        file => unicode:characters_to_list(Path),
        line => Line,
        time => Time
    });
write(_) ->
    ok.

level(N) when N >= 50 -> critical;
level(N) when N >= 40 -> error;
level(N) when N >= 30 -> warning;
level(N) when N >= 25 -> notice;
level(N) when N >= 20 -> info;
level(_) -> debug.
