%% Whether a worker is alive, how much memory it has, and when it should look after that. Data only: pitcrew_worker asks, looks, kills and tells.
%%
%% The worker is sent a ping with every beat, and has until the next one to answer; a thread does that which needs neither Python nor the
%% GIL. One that has not is looked at in the kernel's books. If it is stopped there (SIGSTOP, a debugger), twice in a short while,
%% it is a fault: it would never go on by itself. Otherwise it may only be slow, for the machine has too much to do or too little
%% memory, and a kill would make that worse: it has a minute and 20 beats. That counts what was watched, so that a VM that was asleep
%% itself holds nobody to account for that time.
-module(pitcrew_heart).

-export([new/1, every/1, beat/3, pong/3, vitals/2]).
-export_type([heart/0, os_state/0, vitals/0]).

-record(heart, {
    every :: pos_integer() | infinity,
    %% Whether silence is a fault.
    judges :: boolean(),
    max_rss :: pos_integer() | infinity,
    %% The last ping, and when it was sent; `undefined' when it was answered. Milliseconds, here and below.
    id = 0 :: non_neg_integer(),
    asked_at :: integer() | undefined,
    looked_at = 0 :: integer(),
    %% Silence that was watched, and whether the worker was stopped at the last look.
    silence = 0 :: non_neg_integer(),
    was_stopped = false :: boolean(),
    measured_at :: integer() | undefined,
    %% The call that runs, since when at the least, and how long it has not come back to the interpreter.
    running = 0 :: non_neg_integer(),
    running_since = 0 :: integer(),
    in_c = 0 :: non_neg_integer(),
    rss = nil :: non_neg_integer() | nil,
    trims = 0 :: non_neg_integer(),
    %% What it had when it was asked to trim.
    trimming = no :: no | {from, non_neg_integer()},
    recycled = false :: boolean(),
    gc_interval :: pos_integer() | infinity,
    %% When it has collected garbage last; how often it has; and whether it was asked to.
    collected_at :: integer() | undefined,
    collects = 0 :: non_neg_integer(),
    collecting = false :: boolean()
}).

%% As the kernel says: stopped, running in whatever way, or not to be found out.
-type os_state() :: stopped | alive | unknown.
-type vitals() :: #{
    rss := non_neg_integer() | nil,
    silent_ms := non_neg_integer(),
    running_ms := non_neg_integer(),
    in_c_ms := non_neg_integer()
}.
%% What a pong leads to.
-type news() ::
    beat_now
    | {step, Reason :: max_rss | gc_interval, Step :: hooks | collect | trim, #{
        before := non_neg_integer(), 'after' := non_neg_integer(), duration := integer(), objects => non_neg_integer()
    }}
    | {trimmed, Before :: non_neg_integer(), After :: non_neg_integer()} | {recycle, Rss :: non_neg_integer()} | cannot_measure.
%% A sum, and, with what needs it, how much memory there may be.
-type asks() :: [non_neg_integer(), ...].
-opaque heart() :: #heart{}.

%% What a ping asks for (docs/protocol.md).
-define(IN_C, 1).
-define(MEMORY, 2).
-define(TRIM, 4).
-define(COLLECT, 8).

%% How rarely memory is measured at most. It costs the worker 10 ms for each GiB, so with a millisecond in between for each MiB, a hundredth
%% of its time.
-define(MEASURE_MS, 1_000).
-define(BYTES_PER_MS, 16#100000).
-define(LOOK_AGAIN_MS, 100).
-define(PATIENCE_MS, 60_000).
-define(PATIENCE_BEATS, 20).

-spec new(pitcrew_options:pool()) -> heart().
new(#{heartbeat := Heartbeat, max_rss := Max, gc_interval := Interval}) ->
    Measure =
        case Max of
            infinity -> infinity;
            _ -> ?MEASURE_MS
        end,
    %% A number is less than an atom.
    Every = lists:min([Heartbeat, Measure, Interval]),
    #heart{every = Every, judges = Heartbeat =/= infinity, max_rss = Max, gc_interval = Interval}.

%% @doc Milliseconds until the first beat.
-spec every(heart()) -> pos_integer() | infinity.
every(#heart{every = Every}) -> Every.

%% @doc What is to be done now, and milliseconds until the next beat. The fun looks the worker up.
-spec beat(integer(), fun(() -> os_state()), heart()) ->
    {{ping, Id :: pos_integer(), asks()} | wait | {kill, stopped | silent}, pos_integer(), heart()}.
beat(Now, _, #heart{asked_at = undefined, id = Last, every = Every} = Heart) ->
    {Memory, Measured} = memory(Now, Heart),
    {Collect, Due} = collect(Now, Measured),
    {{ping, Last + 1, asks(?IN_C + Memory + Collect, Due)}, Every, Due#heart{id = Last + 1, asked_at = Now, looked_at = Now}};
beat(_, _, #heart{judges = false, every = Every} = Heart) ->
    {wait, Every, Heart};
beat(Now, Look, #heart{was_stopped = Before} = Heart) ->
    looked(Look(), Before, watch(Now, Heart)).

memory(_, #heart{max_rss = infinity} = Heart) ->
    {0, Heart};
%% Until it has: the worker may be in a call, or have missed the signal that wakes it.
memory(_, #heart{trimming = {from, _}} = Heart) ->
    {?TRIM, Heart};
memory(Now, #heart{measured_at = At, rss = Rss} = Heart) when is_integer(At), is_integer(Rss), Now - At < Rss div ?BYTES_PER_MS ->
    {0, Heart};
memory(Now, Heart) ->
    {?MEMORY, Heart#heart{measured_at = Now}}.

asks(Sum, #heart{max_rss = Max}) when Sum band ?TRIM =/= 0 -> [Sum, Max];
asks(Sum, _) -> [Sum].

%% Until it has, like a trim.
collect(_, #heart{gc_interval = infinity} = Heart) -> {0, Heart};
collect(_, #heart{collecting = true} = Heart) -> {?COLLECT, Heart};
collect(Now, #heart{collected_at = undefined} = Heart) -> {0, Heart#heart{collected_at = Now}};
collect(Now, #heart{collected_at = At, gc_interval = Interval} = Heart) when Now - At < Interval -> {0, Heart};
collect(_, Heart) -> {?COLLECT, Heart#heart{collecting = true}}.

watch(Now, #heart{looked_at = Last, silence = Silence, every = Every} = Heart) ->
    Heart#heart{looked_at = Now, silence = Silence + min(Now - Last, 2 * Every)}.

looked(stopped, true, Heart) -> {{kill, stopped}, ?LOOK_AGAIN_MS, Heart};
looked(stopped, false, Heart) -> {wait, ?LOOK_AGAIN_MS, Heart#heart{was_stopped = true}};
looked(_, _, #heart{silence = Silence, every = Every} = Heart) when Silence >= ?PATIENCE_MS, Silence >= ?PATIENCE_BEATS * Every ->
    {{kill, silent}, ?LOOK_AGAIN_MS, Heart};
looked(_, _, #heart{every = Every} = Heart) ->
    {wait, Every, Heart#heart{was_stopped = false}}.

%% @doc An answer, and what follows from it.
-spec pong(integer(), {Id :: non_neg_integer(), Fields :: map()}, heart()) -> {[news()], heart()}.
pong(Now, {Id, #{<<"started">> := Started} = Fields}, #heart{id = Id} = Heart) ->
    Answered = Heart#heart{asked_at = undefined, silence = 0, was_stopped = false},
    {Memory, Measured} = measured(Fields, runs(Now, Started, Answered#heart{in_c = maps:get(<<"in_c_ms">>, Fields, 0)})),
    {Garbage, Heard} = collected(Now, Fields, Measured),
    {Garbage ++ Memory, Heard};
pong(_, _, Heart) ->
    {[], Heart}.

runs(_, Same, #heart{running = Same} = Heart) -> Heart;
runs(Now, Started, Heart) -> Heart#heart{running = Started, running_since = Now}.

measured(#{<<"private">> := Rss}, Heart) ->
    weigh(Rss, Heart#heart{rss = Rss});
measured(#{<<"trims">> := Trims, <<"trimmed">> := After} = Fields, #heart{trimming = {from, Before}, trims = Known} = Heart) when Trims > Known ->
    Steps = [step(max_rss, Step) || Step <- maps:get(<<"steps">>, Fields, [])],
    {News, Judged} = trimmed(After, {trimmed, Before, After}, Heart#heart{trims = Trims, trimming = no}),
    {Steps ++ News, Judged};
measured(#{<<"trims">> := _}, #heart{trimming = no} = Heart) ->
    %% It was asked, and says nothing of bytes.
    {[cannot_measure], Heart#heart{max_rss = infinity}};
measured(_, Heart) ->
    {[], Heart}.

collected(Now, #{<<"collects">> := Times, <<"collected">> := Step}, #heart{collects = Known} = Heart) when Times > Known ->
    {[step(gc_interval, Step)], Heart#heart{collects = Times, collecting = false, collected_at = Now}};
collected(_, _, Heart) ->
    {[], Heart}.

step(Reason, [Name, Before, After, Ns, Objects]) ->
    Measured = #{before => Before, 'after' => After, duration => erlang:convert_time_unit(Ns, nanosecond, native)},
    {step, Reason, what(Name), with_objects(Objects, Measured)}.

what(<<"hooks">>) -> hooks;
what(<<"collect">>) -> collect;
what(<<"trim">>) -> trim.

with_objects(nil, Measured) -> Measured;
with_objects(Objects, Measured) -> Measured#{objects => Objects}.

weigh(Rss, #heart{max_rss = Max, recycled = false} = Heart) when Rss > Max -> {[beat_now], Heart#heart{trimming = {from, Rss}}};
weigh(_, Heart) -> {[], Heart}.

%% Between two calls it has collected and given back what it could: what is left then counts, not what it had in the middle of a call.
trimmed(After, News, #heart{max_rss = Max} = Heart) when After > Max ->
    {[News, {recycle, After}], Heart#heart{recycled = true, rss = After}};
trimmed(After, News, Heart) ->
    {[News], Heart#heart{rss = After}}.

%% @doc For people: as of the last beat.
-spec vitals(integer(), heart()) -> vitals().
vitals(Now, #heart{rss = Rss, silence = Silence, in_c = InC} = Heart) ->
    #{rss => Rss, silent_ms => Silence, running_ms => running(Now, Heart), in_c_ms => InC}.

running(_, #heart{running = 0}) -> 0;
running(Now, #heart{running_since = Since}) -> Now - Since.
