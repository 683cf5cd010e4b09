%% What a load test has measured, from the times of all its calls. Functions of data only. Times are milliseconds, as floats.
-module(pitcrew_load_figures).

-export([make/3, percentile/2]).
-export_type([figures/0, moment/0]).

%% Of what was due in a span of time that begins `at' seconds after the first call that counts. Where no call was made, latencies are 0.0.
-type moment() :: #{
    at := float(), calls := pos_integer(), errors := non_neg_integer(), p50 := float(), p99 := float(), max := float()
}.
-type figures() :: #{
    calls := pos_integer(),
    ok := non_neg_integer(),
    errors := non_neg_integer(),
    error_kinds := [#{kind := atom(), count := pos_integer(), message := binary()}],
    %% Calls that ended well, a second.
    throughput := float(),
    avg_latency := float(),
    min_latency := float(),
    p50_latency := float(),
    p90_latency := float(),
    p99_latency := float(),
    p999_latency := float(),
    max_latency := float(),
    %% How late calls were started: what the measurement itself has added.
    avg_late := float(),
    max_late := float(),
    percentiles := [#{percent := float(), latency := float()}],
    interval := float(),
    series := [moment()]
}.

%% @doc The figures of calls that were due at a rate, over so many seconds, and took so long to end, in native time.
-spec make(pitcrew_load_ledger:ledger(), #{rate := number(), duration := number(), _ => _}, Took :: non_neg_integer()) -> figures().
make(Ledger, #{rate := Rate, duration := Duration}, Took) ->
    Rows = [ended(Row, Rate, Took) || Row <- pitcrew_load_ledger:rows(Ledger)],
    Sorted = sorted(Rows),
    Calls = length(Rows),
    Late = [Ms || {_, _, Ms, Outcome} <- Rows, Outcome =/= not_made],
    Errors = length([failed || {_, _, _, Outcome} <- Rows, Outcome =/= ok]),
    Seconds = max(Duration, ms(Took) / 1000),
    Width = width(Rate, Duration),
    Percentiles = #{min_latency => 0, p50_latency => 50, p90_latency => 90, p99_latency => 99, p999_latency => 99.9, max_latency => 100},
    (maps:map(fun(_, Percent) -> percentile(Percent, Sorted) end, Percentiles))#{
        calls => Calls,
        ok => Calls - Errors,
        errors => Errors,
        error_kinds => kinds(Rows, pitcrew_load_ledger:errors(Ledger)),
        throughput => (Calls - Errors) / Seconds,
        avg_latency => mean(tuple_to_list(Sorted)),
        avg_late => mean(Late),
        max_late => lists:max([0.0 | Late]),
        percentiles => [#{percent => Percent, latency => percentile(Percent, Sorted)} || Percent <- percents(max(1, tuple_size(Sorted)))],
        interval => Width,
        series => series(Rows, Rate, Width)
    }.

%% What has not ended has taken at least as long as the test went on.
ended({N, _, Late, unfinished}, Rate, Took) -> {N, max(0.0, ms(Took) - due(N, Rate)), ms(Late), unfinished};
ended({N, Latency, Late, Outcome}, _, _) -> {N, ms(Latency), ms(Late), Outcome}.

due(N, Rate) -> pitcrew_load_pacer:due(N, #{rate => Rate}).

ms(Native) -> erlang:convert_time_unit(Native, native, nanosecond) / 1_000_000.

%% A call that was not made took no time, which says nothing of how long calls take.
sorted(Rows) -> list_to_tuple(lists:sort([Latency || {_, Latency, _, Outcome} <- Rows, Outcome =/= not_made])).

mean([]) -> 0.0;
mean(Values) -> lists:sum(Values) / length(Values).

%% @doc The value at or below which so many percent lie, by nearest rank: one that was measured. 0 stands for the least.
-spec percentile(number(), tuple()) -> float().
percentile(_, {}) ->
    0.0;
percentile(Percent, Sorted) ->
    %% Without what binary fractions add: 99.9 percent of 1000 is the 999th.
    Rank = ceil(Percent * tuple_size(Sorted) / 100 - 1.0e-9 * tuple_size(Sorted)),
    element(max(1, Rank), Sorted).

%% Eight to each factor of ten in what is left above them, as far as there are calls to tell them by.
percents(Calls) -> lists:sort([0.0, 50.0, 100.0 | [percent(K) || K <- lists:seq(1, 8 * 7), K =< 8 * math:log10(Calls) + 1.0e-9]]).

percent(K) when K rem 8 =:= 0 -> 100 - math:pow(10, 2 - K div 8);
percent(K) -> 100 * (1 - math:pow(10, -K / 8)).

%% Seconds of an interval: at most 120 of them, with so many calls if that leaves a dozen that the 99th percentile is not the longest.
width(Rate, Duration) ->
    Few = [Width || Width <- widths(), Duration / Width =< 120.0] ++ [Duration / 120],
    case [Width || Width <- Few, Rate * Width >= 100, Duration / Width >= 12.0] of
        [Width | _] -> Width;
        [] -> lists:max([hd(Few) | [Width || Width <- Few, Rate * Width < 100, Duration / Width >= 12.0]])
    end.

widths() -> [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0].

series(Rows, Rate, Width) ->
    Of = fun({N, _, _, _}) -> trunc(due(N, Rate) / (Width * 1000) + 1.0e-9) end,
    Spans = lists:foldl(fun(Row, Acc) -> maps:update_with(Of(Row), fun(Rest) -> [Row | Rest] end, [Row], Acc) end, #{}, Rows),
    [moment(round(Span * Width * 1000) / 1000, In) || {Span, In} <- lists:sort(maps:to_list(Spans))].

moment(At, Rows) ->
    Sorted = sorted(Rows),
    #{
        at => At,
        calls => length(Rows),
        errors => length([failed || {_, _, _, Outcome} <- Rows, Outcome =/= ok]),
        p50 => percentile(50, Sorted),
        p99 => percentile(99, Sorted),
        max => percentile(100, Sorted)
    }.

%% The most frequent first.
kinds(Rows, Messages) ->
    Add = fun
        ({_, _, _, ok}, Acc) -> Acc;
        ({_, _, _, Kind}, Acc) -> maps:update_with(Kind, fun(Count) -> Count + 1 end, 1, Acc)
    end,
    Counts = lists:foldl(Add, #{}, Rows),
    Kinds = [
        #{kind => Kind, count => Count, message => maps:get(Kind, Messages, <<"it had not ended when the test did">>)}
     || {Kind, Count} <- maps:to_list(Counts)
    ],
    lists:sort(fun(#{count := A}, #{count := B}) -> A >= B end, Kinds).
