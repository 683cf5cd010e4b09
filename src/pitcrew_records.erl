%% Records of Python's logging, from a worker's side channel to the logger.
%%
%% A process of its own writes them, for each worker that logs: a slow log handler holds up neither the worker's process nor other workers.
%% The worker sends only as many as it has credit for, so that process never has more to do than that; what Python logs beyond it is
%% dropped there, and counted.
-module(pitcrew_records).
-behaviour(gen_server).

-export([hello/1, new/1, take/3, logged/2, ended/2]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, terminate/2]).
-export_type([records/0, level/0]).

-type level() :: debug | info | notice | warning | error | critical.
%% What the worker's process keeps: the process that writes, how many it has not written yet, and how many were written since the last credit.
-record(records, {
    metadata :: map(),
    writer = none :: none | pid(),
    owed = 0 :: non_neg_integer(),
    spent = 0 :: non_neg_integer()
}).
-opaque records() :: #records{}.

-record(state, {
    worker :: pid(),
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

number(debug) -> 10;
number(info) -> 20;
number(notice) -> 25;
number(warning) -> 30;
number(error) -> 40;
number(critical) -> 50.

%% ---- In the worker's process

-spec new(map()) -> records().
new(Metadata) -> #records{metadata = Metadata}.

%% @doc Hands over what came from the worker. Whoever does is told {pitcrew_records, Writer, logged} for each record.
-spec take({record, list()} | {dropped, term()}, pos_integer() | nil, records()) -> records().
take(Record, OsPid, #records{writer = none, metadata = Metadata} = Records) ->
    {ok, Writer} = gen_server:start_link(?MODULE, {self(), Metadata#{worker => OsPid}}, []),
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

init({Worker, Metadata}) ->
    process_flag(trap_exit, true),
    logger:set_process_metadata(Metadata#{domain => [pitcrew, python], python => logging}),
    {ok, #state{worker = Worker}}.

handle_call(_, _, State) -> {reply, {error, unknown}, State}.

handle_cast({record, Fields}, #state{worker = Worker} = State) ->
    ok = write(Fields),
    Worker ! {pitcrew_records, self(), logged},
    {noreply, State};
handle_cast({dropped, N}, #state{dropped = Before} = State) when is_integer(N) ->
    {noreply, tell_dropped(State#state{dropped = Before + N})};
handle_cast(_, State) ->
    {noreply, State}.

handle_info({timeout, _, tell_dropped}, State) -> {noreply, tell_dropped(State#state{told = false})};
handle_info(_, State) -> {noreply, State}.

terminate(_, State) -> tell_dropped(State#state{told = false}).

%% At once, but in a flood not more than once a second.
tell_dropped(#state{told = true} = State) ->
    State;
tell_dropped(#state{dropped = 0} = State) ->
    State;
tell_dropped(#state{dropped = N} = State) ->
    logger:log(warning, "~b records of Python's logging were dropped: they come faster than the log takes them", [N], #{dropped => N}),
    _ = erlang:start_timer(?TELL_DROPPED_MS, self(), tell_dropped),
    State#state{dropped = 0, told = true}.

write([Level, Message, Logger, Module, Function, Path, Line, Time | _]) when
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
