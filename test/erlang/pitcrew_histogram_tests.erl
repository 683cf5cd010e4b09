%% Buckets, as a list of values sees them.
-module(pitcrew_histogram_tests).
-include_lib("eunit/include/eunit.hrl").

-define(HOUR, 3_600_000_000_000).

of_values(Values) ->
    Histogram = pitcrew_histogram:new(),
    [ok = pitcrew_histogram:count(Value, Histogram) || Value <- Values],
    pitcrew_histogram:read(Histogram).

%% At every edge: what a single value is read as is not less, and at most a sixteenth more.
a_value_is_read_as_at_most_a_sixteenth_more_test() ->
    Edges = [(1 bsl Power) + Part * (1 bsl (Power - 4)) + D || Power <- lists:seq(10, 41), Part <- lists:seq(0, 15), D <- [-1, 0, 1]],
    [
        begin
            Read = pitcrew_histogram:quantile(0.5, of_values([Value])),
            ?assert(Read >= Value andalso (Read =< 1024 orelse (Read - Value) * 16 < Value), {Value, Read})
        end
     || Value <- [1, 500, 1_000_000, ?HOUR | Edges]
    ].

what_is_outside_counts_too_test() ->
    Counts = of_values([-5, 0, 1, 1024, 1 bsl 42, 1 bsl 50]),
    ?assertEqual(6, pitcrew_histogram:total(Counts)),
    ?assertEqual(4, pitcrew_histogram:below(10, Counts)),
    ?assertEqual(1 bsl 42, pitcrew_histogram:quantile(1.0, Counts)).

%% As sorted values have them, up to a sixteenth.
quantiles_test() ->
    _ = rand:seed(exsss, {1, 2, 3}),
    Values = lists:sort([round(math:exp(rand:uniform() * 20 + 7)) || _ <- lists:seq(1, 3_000)]),
    Counts = of_values(Values),
    [
        begin
            Exact = lists:nth(ceil(Share * 3_000), Values),
            Read = pitcrew_histogram:quantile(Share, Counts),
            ?assert(Exact =< Read andalso Read =< max(1024, Exact * 17 / 16), {Share, Exact, Read})
        end
     || Share <- [0.001, 0.5, 0.9, 0.99, 0.999, 1.0]
    ],
    ?assertEqual(none, pitcrew_histogram:quantile(0.5, [])).

%% Exactly, and so as a Prometheus bucket has it: at most its bound.
below_a_power_of_two_test() ->
    Values = [(1 bsl Power) + D || Power <- lists:seq(11, 41), D <- [-1, 0, 1]],
    Counts = of_values(Values),
    [?assertEqual(length([V || V <- Values, V =< 1 bsl Power]), pitcrew_histogram:below(Power, Counts)) || Power <- lists:seq(10, 42)].

two_together_test() ->
    {Some, Others} = lists:partition(fun(V) -> V rem 3 =:= 0 end, [N * N * 1000 || N <- lists:seq(1, 300)]),
    ?assertEqual(of_values(Some ++ Others), pitcrew_histogram:merge(of_values(Some), of_values(Others))),
    ?assertEqual(of_values(Some), pitcrew_histogram:merge([], of_values(Some))).
