%% The OpenMetrics text format: https://prometheus.io/docs/specs/om/open_metrics_spec/
-module(pitcrew_metrics_text).

-export([of_pools/1]).

-import(pitcrew_metrics_stats, [share/2, seconds/1]).

%% The bounds of a histogram's buckets: powers of two, in native units, from 16 µs to 69 s, at which what is counted is exact.
-define(FIRST, 14).
-define(LAST, 36).

-spec of_pools([pitcrew_metrics_stats:facts()]) -> iodata().
of_pools(Facts) -> [[family(Family, Facts) || Family <- families()], "# EOF\n"].

%% Name, type, unit, help, and the samples of a pool: {Suffix, Labels, Value}.
families() ->
    [
        {"calls", counter, "", "Calls that have ended, frames of batches and streams among them.", fun calls/1},
        {"call_errors", counter, "", "Calls that have ended with an error.", fun errors/1},
        {"call_retries", counter, "", "How often calls were tried again because a worker had died.", of_tools(retries)},
        {"call_streams", counter, "", "Streams that have ended.", of_tools(streams)},
        {"call_batched", counter, "", "Calls in batches, beyond one for each frame.", of_tools(batched)},
        {"call_duration_seconds", histogram, "seconds", "How long calls took, streams not among them.", fun durations/1},
        {"call_queue_seconds", histogram, "seconds", "How long calls waited for a worker that had to wait.", fun queues/1},
        {"call_python_seconds", counter, "seconds", "How long tools ran.", fun python/1},
        {"cache_hits", counter, "", "Calls that found their result in the cache, or waited for that of an equal one.", of_cached(hits)},
        {"cache_misses", counter, "", "Calls that looked for their result and ran.", of_cached(misses)},
        {"cache_entries", gauge, "", "Results that are kept.", of_cache(entries)},
        {"cache_bytes", gauge, "bytes", "What they take.", of_cache(bytes)},
        {"queue_length", gauge, "", "Calls that wait for a worker.", fun(#{info := #{queued := N}}) -> [{"", [], N}] end},
        {"utilization_ratio", gauge, "ratio", "Calls that run, of those that could.", fun utilization/1},
        {"workers", gauge, "", "Workers, by what they do.", fun workers/1},
        {"workers_wanted", gauge, "", "Workers that there should be.", fun(#{health := #{wanted := N}}) -> [{"", [], N}] end},
        {"worker_resident_memory_bytes", gauge, "bytes", "Memory of each worker, shared pages among it.", fun resident/1},
        {"worker_starts", counter, "", "Workers that have been ready.", fun(#{workers := {N, _}}) -> [{"_total", [], N}] end},
        {"worker_ends", counter, "", "Workers that have ended, by the reason.", fun ends/1},
        {"pool_status", stateset, "", "Whether the pool's workers can be started.", fun status/1},
        {"shared_memory_bytes", gauge, "bytes", "Shared memory that results hold in the VM.", fun buffers/1}
    ].

family({Name, Type, Unit, Help, Samples}, Facts) ->
    Full = "pitcrew_" ++ Name,
    Lines = [line(Full, {Suffix, [{"pool", Pool} | Labels], Value}) || #{pool := Pool} = Of <- Facts, {Suffix, Labels, Value} <- Samples(Of)],
    case Lines of
        [] ->
            [];
        _ ->
            Units = [["# UNIT ", Full, " ", Unit, "\n"] || Unit =/= ""],
            ["# TYPE ", Full, " ", atom_to_list(Type), "\n", Units, "# HELP ", Full, " ", Help, "\n", Lines]
    end.

line(Name, {Suffix, Labels, Value}) ->
    [Name, Suffix, "{", lists:join(",", [[Label, "=\"", escaped(Text), "\""] || {Label, Text} <- Labels]), "} ", number(Value), "\n"].

escaped(Atom) when is_atom(Atom) -> escaped(atom_to_binary(Atom));
escaped(Text) when is_list(Text) -> Text;
escaped(Text) ->
    %% A tool's name is whatever the caller says.
    Valid =
        case unicode:characters_to_binary(Text) of
            Text -> Text;
            _ -> unicode:characters_to_binary(Text, latin1)
        end,
    lists:foldl(
        fun({From, To}, Binary) -> binary:replace(Binary, From, To, [global]) end, Valid, [{<<"\\">>, <<"\\\\">>}, {<<"\"">>, <<"\\\"">>}, {<<"\n">>, <<"\\n">>}]
    ).

number(N) when is_integer(N) -> integer_to_list(N);
number(F) -> io_lib:format("~w", [F]).

%% ---- Calls

of_tools(Name) -> fun(#{tools := Tools}) -> [{"_total", [{"tool", Tool}], maps:get(Name, Figures)} || {Tool, Figures} <- Tools] end.

calls(#{tools := Tools}) ->
    [
        {"_total", [{"tool", Tool}, {"protocol", Protocol}], N}
     || {Tool, #{calls := Calls, json := Json}} <- Tools, {Protocol, N} <- [{msgpack, Calls - Json}, {json, Json}], N > 0
    ].

errors(#{tools := Tools}) ->
    [{"_total", [{"tool", Tool}, {"kind", Kind}], N} || {Tool, #{errors := Errors}} <- Tools, {Kind, N} <- lists:sort(maps:to_list(Errors))].

python(#{tools := Tools}) -> [{"_total", [{"tool", Tool}], seconds(Python)} || {Tool, #{python := Python}} <- Tools].

durations(#{tools := Tools}) -> [Sample || {Tool, #{durations := Counts, duration := Sum}} <- Tools, Sample <- histogram(Tool, Counts, Sum)].

queues(#{tools := Tools}) -> [Sample || {Tool, #{queues := Counts, queue := Sum}} <- Tools, Sample <- histogram(Tool, Counts, Sum)].

histogram(_, [], _) ->
    [];
histogram(Tool, Counts, Sum) ->
    Total = pitcrew_histogram:total(Counts),
    Tooled = [{"tool", Tool}],
    [
        {"_bucket", Tooled ++ [{"le", lists:flatten(number(seconds(1 bsl Power)))}], pitcrew_histogram:below(Power, Counts)}
     || Power <- lists:seq(?FIRST, ?LAST)
    ] ++ [{"_bucket", Tooled ++ [{"le", "+Inf"}], Total}, {"_count", Tooled, Total}, {"_sum", Tooled, seconds(Sum)}].

%% ---- The rest

of_cached(Name) ->
    fun
        (#{cache := none}) -> [];
        (Facts) -> (of_tools(Name))(Facts)
    end.

of_cache(Name) ->
    fun
        (#{cache := none}) -> [];
        (#{cache := Stats}) -> [{"", [], maps:get(Name, Stats)}]
    end.

utilization(#{load := {Running, Room}}) -> [{"", [], share(Running, Room)}].

workers(#{info := #{workers := Workers}}) ->
    States = lists:foldl(fun(#{state := State}, N) -> maps:update_with(State, fun(M) -> M + 1 end, 1, N) end, #{idle => 0, busy => 0}, Workers),
    [{"", [{"state", State}], N} || {State, N} <- lists:sort(maps:to_list(States))].

resident(#{info := #{workers := Workers}}) -> [{"", [{"worker", integer_to_list(Id)}], Rss} || #{id := Id, rss := Rss} <- Workers, is_integer(Rss)].

ends(#{workers := {_, Endings}}) -> [{"_total", [{"reason", Ending}], N} || {Ending, N} <- lists:sort(maps:to_list(Endings))].

status(#{health := #{status := Status}}) -> [{"", [{"pitcrew_pool_status", State}], bit(State =:= Status)} || State <- [ok, degraded, down]].

bit(true) -> 1;
bit(false) -> 0.

buffers(#{info := #{buffers := #{bytes := Bytes}}}) -> [{"", [], Bytes}];
buffers(#{}) -> [].
