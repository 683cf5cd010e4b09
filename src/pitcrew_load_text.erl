%% What people read of a load test in a terminal: the line that shows how far it is, the table of its results, and what was beyond a limit.
-module(pitcrew_load_text).

-export([progress/1, bar/1, table/1, notes/1, violations/1, ms/1, count/1]).

-define(BAR, 24).

%% @doc What is called with how far it is. A line that is drawn over itself is for terminals only.
-spec progress(boolean() | nil | fun((pitcrew_load:progress()) -> term())) -> none | fun((pitcrew_load:progress()) -> term()).
progress(true) ->
    case is_terminal() of
        true -> fun draw/1;
        false -> none
    end;
progress(Fun) when is_function(Fun, 1) -> Fun;
progress(_) -> none.

draw(#{ended := All, calls := All}) -> io:put_chars(standard_error, "\r\e[K");
draw(Progress) -> io:put_chars(standard_error, ["\r", bar(Progress), "\e[K"]).

%% The VM's own functions know it only of its shell.
is_terminal() ->
    case {file:read_link("/proc/self/fd/2"), os:getenv("TERM", "dumb")} of
        {_, "dumb"} -> false;
        {{ok, "/dev/pts/" ++ _}, _} -> true;
        {{ok, "/dev/tty" ++ _}, _} -> true;
        {{ok, "/dev/console"}, _} -> true;
        _ -> false
    end.

%% @doc One line, without its end, of 79 columns at most.
-spec bar(pitcrew_load:progress()) -> unicode:chardata().
bar(#{scenario := Name, index := Index, scenarios := Count, phase := Phase, elapsed_ms := Elapsed, total_ms := Total} = Progress) ->
    #{ended := Ended, failed := Failed} = Progress,
    Share = min(1.0, Elapsed / Total),
    Full = trunc(Share * ?BAR),
    Errors = [[", ", count(Failed), " failed"] || Failed > 0],
    Line = [
        io_lib:format("~b/~b ", [Index, Count]),
        string:slice(Name, 0, 21),
        " [",
        lists:duplicate(Full, $#),
        lists:duplicate(?BAR - Full, $.),
        "] ",
        %% Seconds that are left, and then what it waits for.
        case Phase of
            drain -> "ending";
            _ -> io_lib:format("~b s", [max(0, Total - Elapsed + 999) div 1000])
        end,
        [", warm-up" || Phase =:= warmup],
        [[", ", count(Ended), " calls"] || Phase =/= warmup],
        Errors
    ],
    string:slice(Line, 0, 79).

%% @doc A table, one row for each scenario, and below it what else there is to say.
-spec table([pitcrew_load:result()]) -> unicode:chardata().
table(Results) ->
    Head = ["scenario", "calls", "failed", "calls/s", "avg", "p50", "p99", "p99.9", "max"],
    Rows = [row(Result) || Result <- Results],
    [pitcrew_text:table(Head, [left], Rows), "latencies in ms, from when a call was due\n", [named_notes(Result) || Result <- Results]].

row(#{scenario := Name, calls := Calls, errors := Errors, throughput := Throughput} = Result) ->
    Times = [ms(maps:get(Key, Result)) || Key <- [avg_latency, p50_latency, p99_latency, p999_latency, max_latency]],
    [Name, count(Calls), count(Errors), rate(Throughput) | Times].

named_notes(#{scenario := Name} = Result) -> [[Name, ": ", Note, "\n"] || Note <- notes(Result)].

%% @doc What no table shows: errors by their kind, what came of killed workers, whether the measurement itself was late.
-spec notes(pitcrew_load:result()) -> [unicode:chardata()].
notes(Result) -> error_notes(Result) ++ fault_notes(Result) ++ late_notes(Result).

error_notes(#{error_kinds := Kinds}) ->
    [[count(Count), " failed with ", atom_to_list(Kind), ", such as: ", first_line(Message)] || #{kind := Kind, count := Count, message := Message} <- Kinds].

first_line(Message) -> string:slice(hd(string:split(Message, "\n")), 0, 200).

fault_notes(#{faults := nil}) ->
    [];
fault_notes(#{faults := #{kills := Kills, retries := Retries, retried := Retried} = Faults, errors := Errors}) ->
    End =
        case Faults of
            #{healthy := true, recovery := 0} -> "all workers were there at the end";
            #{healthy := true, recovery := Ms} -> io_lib:format("all workers were there again ~b ms after the end", [Ms]);
            #{healthy := false} -> "the pool did NOT have all its workers again within ten seconds"
        end,
    Again = [io_lib:format(", ~ts tried again (~b times in all)", [calls(Retried), Retries]) || Retried > 0],
    [io_lib:format("workers were killed ~b times; ~ts failed~ts; ~ts", [Kills, calls(Errors), Again, End])].

%% Where the measurement itself was late it says more about this machine than about the pool.
late_notes(#{avg_late := Average, max_late := Most, p50_latency := Median}) when Average > 1.0, Average > Median / 4 ->
    [io_lib:format("calls were started ~ts ms late on the average, at most ~ts: this machine has too little time for that rate", [ms(Average), ms(Most)])];
late_notes(_) ->
    [].

%% @doc One line for each.
-spec violations([pitcrew_load:violation()]) -> unicode:chardata().
violations(Violations) -> [[violation(Violation), "\n"] || Violation <- Violations].

violation(#{scenario := Name, what := healthy}) ->
    [Name, ": the pool had not recovered"];
violation(#{scenario := Name, what := throughput, limit := Limit, seen := Seen}) ->
    [Name, ": throughput is ", rate(Seen), " calls/s, and should be at least ", rate(Limit)];
violation(#{scenario := Name, what := errors, limit := Limit, seen := Seen}) ->
    [Name, ": ", calls(Seen), " failed, and at most ", count(Limit), " may"];
violation(#{scenario := Name, what := What, limit := Limit, seen := Seen}) ->
    [Name, ": ", label(What), " is ", ms(Seen), " ms, and may be at most ", ms(Limit)].

label(avg_ms) -> "average";
label(p50_ms) -> "p50";
label(p90_ms) -> "p90";
label(p99_ms) -> "p99";
label(p999_ms) -> "p99.9";
label(max_ms) -> "maximum".

calls(1) -> "1 call";
calls(Count) -> [count(Count), " calls"].

%% @doc Milliseconds with three digits, if there are as many before the point then those.
-spec ms(number()) -> string().
ms(Ms) when Ms >= 100 -> count(round(Ms));
ms(Ms) when Ms >= 10 -> format("~.1f", Ms);
ms(Ms) when Ms >= 1 -> format("~.2f", Ms);
ms(Ms) -> format("~.3f", Ms).

rate(Rate) when Rate >= 100 -> count(round(Rate));
rate(Rate) -> format("~.1f", Rate).

format(Format, Number) -> lists:flatten(io_lib:format(Format, [float(Number)])).

%% @doc A number with its thousands apart.
-spec count(integer()) -> string().
count(Number) -> lists:reverse(grouped(lists:reverse(integer_to_list(Number)))).

grouped([A, B, C, D | Rest]) when D =/= $- -> [A, B, C, $, | grouped([D | Rest])];
grouped(Digits) -> Digits.
