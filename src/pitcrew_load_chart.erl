%% The drawings of a load test's report, as SVG: latency over time, and by percentile. Both have a logarithmic scale of latencies, for a median of a
%% tenth of a millisecond and a stall of a second are both to be seen. Functions of data only; colours are the page's.
-module(pitcrew_load_chart).

-export([over_time/2, by_percentile/2, lines/1, duration/1]).

-define(WIDTH, 480).
-define(HEIGHT, 290).
-define(LEFT, 68).
-define(RIGHT, 26).
-define(TOP, 14).
-define(BOTTOM, 36).
%% More lines than that say nothing.
-define(MOST_KILLS, 100).

%% @doc The median, the 99th percentile and the longest of each interval, with what failed, and when workers were killed. `Id' is unique in
%% its page.
-spec over_time(iodata(), pitcrew_load:result()) -> iodata().
over_time(Id, #{scenario := Name, series := Series, interval := Width, duration := Duration} = Result) ->
    Made = [Moment || #{max := Max} = Moment <- Series, Max > 0],
    Scale = latencies([Ms || #{p50 := P50, max := Max} <- Made, Ms <- [P50, Max]]),
    X = fun(Seconds) -> across(Seconds / max(Duration, Width)) end,
    Middle = fun(#{at := At}) -> X(min(At + Width / 2, Duration)) end,
    Lines = [
        line(Class, [{Middle(Moment), height(maps:get(Key, Moment), Scale)} || Moment <- Made])
     || {Class, Key, _} <- lists:reverse(lines(Result))
    ],
    svg(Id, ["Latency over time, ", Name], time_text(Result), [
        grid(Scale),
        [tick_x(X(Second), duration(Second * 1000)) || Second <- seconds(Duration)],
        kills(Result, X),
        Lines,
        [failed(Middle(Moment), Errors) || #{errors := Errors} = Moment <- Series, Errors > 0]
    ]).

%% @doc The lines over time: their class, what they are of, and what people call that. Where intervals have few calls, two of them are one.
-spec lines(pitcrew_load:result()) -> [{string(), atom(), string()}].
lines(#{series := Series}) ->
    Median = {"p50", p50, "median"},
    case [Moment || #{p99 := P99, max := Max} = Moment <- Series, P99 < Max] of
        [] -> [Median, {"p99", p99, "99th percentile and longest"}];
        _ -> [Median, {"p99", p99, "99th percentile"}, {"max", max, "longest"}]
    end.

time_text(#{series := Series, errors := Errors, interval := Width}) ->
    #{max := Worst, at := At} = lists:foldl(fun(#{max := A} = Moment, #{max := B} = Best) -> if A > B -> Moment; true -> Best end end, hd(Series), Series),
    [
        "In intervals of ", duration(Width * 1000), ": the median is between ", range(p50, Series), ", the 99th percentile between ", range(p99, Series),
        ". The longest call took ", duration(Worst), ", and was due ", duration(At * 1000), " after the start or a little later. ",
        integer_to_list(Errors), " calls failed."
    ].

range(Key, Series) ->
    All = [maps:get(Key, Moment) || Moment <- Series],
    [duration(lists:min(All)), " and ", duration(lists:max(All))].

kills(#{faults := #{at := At}, duration := Duration}, X) when length(At) =< ?MOST_KILLS ->
    [
        ["<line class=\"kill\" x1=\"", Place, "\" x2=\"", Place, "\" y1=\"", number(?TOP), "\" y2=\"", number(?HEIGHT - ?BOTTOM), "\"/>"]
     || Ms <- At, Ms / 1000 =< Duration, Place <- [number(X(Ms / 1000))]
    ];
kills(_, _) ->
    [].

failed(X, Errors) ->
    Y = ?HEIGHT - ?BOTTOM,
    Points = [[number(X + Dx), ",", number(Y + Dy), " "] || {Dx, Dy} <- [{-5, 0}, {5, 0}, {0, -10}]],
    ["<polygon class=\"failed\" points=\"", Points, "\"><title>", integer_to_list(Errors), " failed</title></polygon>"].

%% @doc Which share of all calls took how long at most. Each step to the right is a tenth of what was left.
-spec by_percentile(iodata(), pitcrew_load:result()) -> iodata().
by_percentile(Id, #{scenario := Name, percentiles := Percentiles} = Result) ->
    Scale = latencies([Ms || #{latency := Ms} <- Percentiles]),
    Decades = max(1.0, math:log10(max(1, made(Result)))),
    X = fun
        (Percent) when Percent >= 100 -> across(1.0);
        (Percent) -> across(min(1.0, -math:log10(1 - Percent / 100) / Decades))
    end,
    svg(Id, ["Latency by percentile, ", Name], percentile_text(Result), [
        grid(Scale),
        [tick_x(X(Percent), [pitcrew_text:decimal(Percent, 6), "%"]) || Percent <- decades(Decades)],
        line("all", [{X(Percent), height(Ms, Scale)} || #{percent := Percent, latency := Ms} <- Percentiles])
    ]).

%% Those that took a time.
made(#{calls := Calls, error_kinds := Kinds}) -> Calls - lists:sum([Count || #{kind := not_made, count := Count} <- Kinds]).

percentile_text(Result) ->
    Of = fun(Key) -> duration(maps:get(Key, Result)) end,
    [
        "Of ", integer_to_list(made(Result)), " calls half took at most ", Of(p50_latency), ", 90 percent ", Of(p90_latency), ", 99 percent ", Of(p99_latency),
        ", 99.9 percent ", Of(p999_latency), ", all ", Of(max_latency), "."
    ].

%% 0, 50, 90, 99 and so on; where they would touch each other, not all.
decades(Decades) ->
    Step = max(1, ceil(Decades / 5)),
    [0 || Decades =< 2.5] ++ [50 || Decades =< 5] ++ [100 - math:pow(10, 2 - K) || K <- lists:seq(1, trunc(Decades + 1.0e-9)), K rem Step =:= 0].

%% ---- The frame

svg(Id, Title, Description, Inside) ->
    [
        "<svg viewBox=\"0 0 ", number(?WIDTH), " ", number(?HEIGHT), "\" role=\"img\" aria-labelledby=\"", Id, "-title ", Id, "-desc\">",
        "<title id=\"", Id, "-title\">", pitcrew_text:escape(Title), "</title><desc id=\"", Id, "-desc\">", pitcrew_text:escape(Description),
        "</desc>", Inside, "</svg>\n"
    ].

across(Share) -> ?LEFT + Share * (?WIDTH - ?LEFT - ?RIGHT).

%% The steps 1, 2, 5, 10 and so on around all values, as logarithms; at least a factor of five apart.
latencies([]) ->
    latencies([1]);
latencies(Values) ->
    Low = max(0.001, lists:min(Values)),
    Bottom = lists:last([Step || Step <- steps(), Step =< Low * 1.0001]),
    Top = hd([Step || Step <- steps(), Step * 1.0001 >= lists:max(Values), Step > Bottom * 4] ++ [lists:max(Values)]),
    {math:log10(Bottom), math:log10(Top)}.

steps() -> [Step * math:pow(10, Power) || Power <- lists:seq(-3, 8), Step <- [1, 2, 5]].

height(Ms, {Bottom, Top}) ->
    Share = (max(math:log10(max(Ms, 1.0e-6)), Bottom) - Bottom) / (Top - Bottom),
    ?HEIGHT - ?BOTTOM - Share * (?HEIGHT - ?BOTTOM - ?TOP).

%% Where all steps would be too many, the powers of ten.
grid({Bottom, Top} = Scale) ->
    In = [Ms || Ms <- steps(), math:log10(Ms) >= Bottom - 0.001, math:log10(Ms) =< Top + 0.001],
    Shown = if length(In) =< 8 -> In; true -> [Ms || Ms <- In, abs(math:log10(Ms) - round(math:log10(Ms))) < 0.001] end,
    [tick_y(Ms, height(Ms, Scale)) || Ms <- Shown].

tick_y(Ms, Y) ->
    [
        "<line class=\"grid\" x1=\"", number(?LEFT), "\" x2=\"", number(?WIDTH - ?RIGHT), "\" y1=\"", number(Y), "\" y2=\"", number(Y), "\"/>",
        "<text class=\"y\" x=\"", number(?LEFT - 8), "\" y=\"", number(Y + 5), "\">", duration(Ms), "</text>"
    ].

%% A long label at the edge ends there.
tick_x(X, Label) ->
    Y = ?HEIGHT - ?BOTTOM,
    {Class, At} =
        case iolist_size(Label) * 5.5 > ?WIDTH - X of
            true -> {"y", ?WIDTH};
            false -> {"x", X}
        end,
    [
        "<line class=\"tick\" x1=\"", number(X), "\" x2=\"", number(X), "\" y1=\"", number(Y), "\" y2=\"", number(Y + 6), "\"/>",
        "<text class=\"", Class, "\" x=\"", number(At), "\" y=\"", number(Y + 25), "\">", Label, "</text>"
    ].

line(_, []) ->
    [];
line(Class, [{X, Y}]) ->
    ["<circle class=\"", Class, "\" cx=\"", number(X), "\" cy=\"", number(Y), "\" r=\"3\"/>"];
line(Class, Points) ->
    ["<polyline class=\"", Class, "\" points=\"", lists:join(" ", [[number(X), ",", number(Y)] || {X, Y} <- Points]), "\"/>"].

%% Round steps, at most five of them.
seconds(Duration) ->
    Steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400],
    Step = hd([Step || Step <- Steps, Duration / Step =< 5] ++ [Duration / 4]),
    [K * Step || K <- lists:seq(0, trunc(Duration / Step + 1.0e-9))].

%% @doc Milliseconds for people: the unit that leaves the fewest digits.
-spec duration(number()) -> iodata().
duration(Ms) when Ms == 0 -> "0 s";
duration(Ms) when Ms < 1 -> [short(Ms * 1000), " \x{c2}\x{b5}s"];
duration(Ms) when Ms < 1000 -> [short(Ms), " ms"];
duration(Ms) when Ms < 120_000 -> [short(Ms / 1000), " s"];
duration(Ms) -> [short(Ms / 60_000), " min"].

short(Value) when Value >= 99.95 -> integer_to_list(round(Value));
short(Value) -> pitcrew_text:decimal(Value, if Value >= 9.995 -> 1; true -> 2 end).

number(Value) when is_integer(Value) -> integer_to_list(Value);
number(Value) -> io_lib:format("~.1f", [Value]).
