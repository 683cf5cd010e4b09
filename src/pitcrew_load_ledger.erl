%% What becomes of the calls of a load test: three words for each, written by whoever has made it, without a message. Nothing is rounded or
%% put into classes, so percentiles of them are exact.
-module(pitcrew_load_ledger).

-export([new/1, begun/1, note/4, refused/2, retried/2, count/1, rows/1, errors/1, retries/1]).
-export_type([ledger/0, outcome/0, row/0]).

-record(ledger, {
    %% From the intended start to the end, and from the intended to the real start, in native time.
    latency :: atomics:atomics_ref(),
    late :: atomics:atomics_ref(),
    outcome :: atomics:atomics_ref(),
    counts :: counters:counters_ref(),
    %% The first error of each kind.
    errors :: ets:tid(),
    size :: non_neg_integer()
}).
-opaque ledger() :: #ledger{}.

%% Kinds of errors; what a call raised that should not have; one that was not made because too many others ran; one that had not
%% ended when the test did.
-type outcome() :: ok | pitcrew_error:kind() | raised | not_made | unfinished.
-type row() :: {N :: pos_integer(), Latency :: non_neg_integer(), Late :: non_neg_integer(), outcome()}.

-define(BEGUN, 1).
-define(ENDED, 2).
-define(FAILED, 3).
-define(RETRIES, 4).
-define(RETRIED, 5).

%% @doc One for so many calls. It ends with the calling process.
-spec new(non_neg_integer()) -> ledger().
new(Size) ->
    [Latency, Late, Outcome] = [atomics:new(max(1, Size), [{signed, false}]) || _ <- [latency, late, outcome]],
    #ledger{
        latency = Latency,
        late = Late,
        outcome = Outcome,
        counts = counters:new(5, [write_concurrency]),
        errors = ets:new(?MODULE, [set, public]),
        size = Size
    }.

-spec begun(ledger()) -> ok.
begun(#ledger{counts = Counts}) -> counters:add(Counts, ?BEGUN, 1).

%% @doc A call has ended. Those of the warm-up have no number, and are only counted.
-spec note(warmup | pos_integer(), {Latency :: integer(), Late :: integer()}, ok | {outcome(), Message :: binary()}, ledger()) -> ok.
note(N, Times, Result, #ledger{counts = Counts} = Ledger) ->
    ok = counters:add(Counts, ?ENDED, 1),
    {Outcome, Message} =
        case Result of
            ok -> {ok, <<>>};
            {_, _} -> Result
        end,
    ok = keep(N, Times, Outcome, Ledger),
    ok = fail(N, Outcome, Message, Ledger).

%% @doc A call that was not made, because so many others had not ended.
-spec refused(warmup | pos_integer(), ledger()) -> ok.
refused(N, Ledger) -> note(N, {0, 0}, {not_made, <<"too many calls had not ended (max_running), so it was not made">>}, Ledger).

keep(warmup, _, _, _) ->
    ok;
keep(N, {Latency, Took}, Outcome, #ledger{latency = Latencies, late = Late, outcome = Outcomes}) ->
    ok = atomics:put(Latencies, N, max(0, Latency)),
    ok = atomics:put(Late, N, max(0, Took)),
    atomics:put(Outcomes, N, code(Outcome)).

fail(_, ok, _, _) ->
    ok;
fail(warmup, _, _, _) ->
    ok;
fail(_, Outcome, Message, #ledger{errors = Errors, counts = Counts}) ->
    _ = ets:insert_new(Errors, {Outcome, Message}),
    counters:add(Counts, ?FAILED, 1).

%% @doc A call was tried again, so many times.
-spec retried(pos_integer(), ledger()) -> ok.
retried(Times, #ledger{counts = Counts}) ->
    ok = counters:add(Counts, ?RETRIES, Times),
    counters:add(Counts, ?RETRIED, 1).

-spec retries(ledger()) -> {Retries :: non_neg_integer(), Calls :: non_neg_integer()}.
retries(#ledger{counts = Counts}) -> {counters:get(Counts, ?RETRIES), counters:get(Counts, ?RETRIED)}.

%% @doc How many calls have begun, ended and failed so far; those of the warm-up have begun and ended as well.
-spec count(ledger()) -> {non_neg_integer(), non_neg_integer(), non_neg_integer()}.
count(#ledger{counts = Counts}) -> {counters:get(Counts, ?BEGUN), counters:get(Counts, ?ENDED), counters:get(Counts, ?FAILED)}.

%% @doc All calls, in the order of their intended starts.
-spec rows(ledger()) -> [row()].
rows(#ledger{latency = Latency, late = Late, outcome = Outcome, size = Size}) ->
    [{N, atomics:get(Latency, N), atomics:get(Late, N), outcome(atomics:get(Outcome, N))} || N <- lists:seq(1, Size)].

%% @doc An example of what each kind of error says.
-spec errors(ledger()) -> #{outcome() => binary()}.
errors(#ledger{errors = Errors}) -> maps:from_list(ets:tab2list(Errors)).

code(Outcome) -> code(Outcome, outcomes(), 0).
code(Outcome, [Outcome | _], Code) -> Code;
code(Outcome, [_ | Rest], Code) -> code(Outcome, Rest, Code + 1).

outcome(Code) -> lists:nth(Code + 1, outcomes()).

%% A call that nobody has noted has not ended.
outcomes() -> [unfinished, ok, raised, not_made | pitcrew_error:kinds()].
