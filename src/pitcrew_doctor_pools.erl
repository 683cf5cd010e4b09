%% How the pools of this VM are, and the performance guide's production checklist: each of its points is a check of these pools, or says where it is
%% shown. What is read is facts(); what it means is checks/1, a function of that.
-module(pitcrew_doctor_pools).

-export([facts/0, checks/1]).
-export_type([facts/0, pool/0]).

-import(pitcrew_doctor, [check/4]).

-include("pitcrew_pool.hrl").

-type pool() :: #{
    name := atom(),
    health := map(),
    info := map(),
    tools := [map()],
    %% Its interpreter, nil while it has none.
    python := binary() | nil,
    %% Nil without a cache.
    cache := map() | nil,
    %% See pitcrew:stats/1; nil where it counts nothing.
    stats := map() | nil,
    %% Whether a handler hears of its calls.
    is_watched := boolean(),
    %% Bytes of each worker in memory, pages that it shares included.
    rss := [non_neg_integer()]
}.
-type facts() :: [pool()].

-define(HIT_RATE, 0.8).
-define(P99_MS, 100).
-define(ERROR_RATE, 0.05).
-define(UTILIZATION, 0.9).
%% Of fewer calls a rate says nothing.
-define(ENOUGH, 100).

-spec facts() -> facts().
facts() -> lists:append([pool(Pool) || Pool <- pitcrew_pools:all()]).

%% A pool that stops meanwhile is none.
pool(#pool{name = Name, cache = Cache, metrics = Metrics, events = Events}) ->
    try
        #{workers := Workers, zygote := Zygote} = Info = pitcrew:info(Name),
        [
            #{
                name => Name,
                health => pitcrew:health(Name),
                info => Info,
                tools => pitcrew:tools(Name),
                python => interpreter(Zygote),
                cache => case Cache of none -> nil; _ -> pitcrew_cache:stats(Name) end,
                stats => case Metrics of none -> nil; _ -> pitcrew:stats(Name) end,
                is_watched => lists:any(fun(Event) -> pitcrew_telemetry:list_handlers(Event) =/= [] end, pitcrew_call_events:ends(Events)),
                rss => [Bytes || #{os_pid := OsPid} <- Workers, is_integer(OsPid), Bytes <- [pitcrew_proc:resident(OsPid)], is_integer(Bytes)]
            }
        ]
    catch
        error:_ -> [];
        exit:_ -> []
    end.

%% As it was called: what a virtual environment's link leads to is another one. A command that is not in this VM's path is in the pool's own.
interpreter(nil) ->
    nil;
interpreter(Zygote) ->
    Proc = ["/proc/", integer_to_list(Zygote)],
    case file:read_file([Proc, "/cmdline"]) of
        {ok, <<_, _/binary>> = Line} -> existing(hd(binary:split(Line, <<0>>)), file:read_link([Proc, "/exe"]));
        _ -> nil
    end.

existing(Called, Link) ->
    case {os:find_executable(unicode:characters_to_list(Called)), Link} of
        {false, {ok, Path}} -> unicode:characters_to_binary(Path);
        _ -> Called
    end.

-spec checks(facts()) -> [pitcrew_doctor:check(), ...].
checks([]) ->
    [check(pools, none, note, "no pool runs in this VM: run this where yours do (mix pitcrew.doctor --start, or bin/my_app rpc \":pitcrew_doctor.print()\")") | general()];
checks(Pools) ->
    lists:append([health(Pool) || Pool <- Pools]) ++ lists:append([of_pool(Pool) || Pool <- Pools]) ++ general().

health(#{name := Name, health := #{status := Status, ready := Ready, wanted := Wanted, failure := Failure}}) ->
    Text = format("~ts is ~ts: ~b of ~b workers are ready", [Name, Status, Ready, Wanted]),
    Why = case Failure of #{message := Message} -> Message; _ -> "see the log" end,
    [check(pools, health, case Status of ok -> ok; degraded -> {warn, Why}; down -> {fail, Why} end, Text)].

of_pool(Pool) ->
    Checks = [
        fun sizing/1, fun caching/1, fun hit_rate/1, fun latency/1, fun error_rates/1, fun serialization/1, fun monitoring/1,
        fun cleanup/1, fun growth/1, fun startup/1
    ],
    [Check(Pool) || Check <- Checks].

%% "Verify connection pool sizing", "Review connection pool utilization".
sizing(#{name := Name, info := #{size := Size, queued := Queued, workers := Workers}, stats := Stats}) ->
    Busy = length([busy || #{state := busy} <- Workers]),
    Used = case Stats of #{utilization := Share} -> Share; nil -> 0.0 end,
    Text = format("~ts: ~b of ~b workers are busy, ~b calls wait, ~b % of the last ten seconds were used", [Name, Busy, length(Workers), Queued, round(100 * Used)]),
    Fix = io_lib:format("more workers (size ~b, max_overflow) for tools that compute; pipeline for quick ones, concurrency for those that wait", [Size]),
    check(checklist, sizing, if Queued > Size; Used > ?UTILIZATION -> {warn, Fix}; true -> ok end, Text).

%% "Enable appropriate caching layers".
caching(#{name := Name, cache := nil, tools := Tools}) ->
    case [Tool || #{idempotent := true, name := Tool} <- Tools, binary:match(Tool, <<"pitcrew:">>) =/= {0, 8}] of
        [] -> check(checklist, caching, ok, format("~ts: no tool is declared idempotent, so there is nothing to keep in a cache", [Name]));
        Idempotent ->
            Text = format("~ts: ~b tools are declared idempotent, and the pool has no cache", [Name, length(Idempotent)]),
            check(checklist, caching, {note, "the pool's option cache, see docs/cache.md"}, Text)
    end;
caching(#{name := Name, cache := #{entries := Entries, max_entries := Most}}) ->
    check(checklist, caching, ok, format("~ts: a cache with ~b of at most ~b results", [Name, Entries, Most])).

%% "Monitor cache hit rates (target >80%)".
hit_rate(#{name := Name, cache := nil}) ->
    check(checklist, hit_rate, note, format("~ts: no cache, so no hit rate", [Name]));
hit_rate(#{name := Name, cache := #{hits := Hits, joined := Joined, misses := Misses}}) ->
    case Hits + Joined + Misses of
        All when All < ?ENOUGH ->
            check(checklist, hit_rate, note, format("~ts: ~b calls have looked into the cache, too few for a rate; Pitcrew.Cache.stats/1 shows it", [Name, All]));
        All ->
            Rate = (Hits + Joined) / All,
            Fix = "more room or time (max_entries, max_bytes, ttl), or no cache for these calls: docs/cache.md",
            Text = format("~ts: ~.1f % of the calls found their result in the cache (wanted: 80 %)", [Name, 100 * Rate]),
            check(checklist, hit_rate, if Rate < ?HIT_RATE -> {warn, Fix}; true -> ok end, Text)
    end.

%% "Track p99 latencies (target <100ms)".
latency(#{stats := #{calls := Calls, latency := #{p99 := P99}}, name := Name}) when Calls >= ?ENOUGH ->
    Text = format("~ts: 99 of 100 calls took at most ~ts ms (wanted: ~b ms), of ~ts", [Name, pitcrew_load_text:ms(P99), ?P99_MS, pitcrew_load_text:count(Calls)]),
    Fix = "docs/telemetry.md says where the time of a call goes; Pitcrew.stats/1 has the percentiles of each tool",
    check(checklist, latency, if P99 > ?P99_MS -> {warn, Fix}; true -> ok end, Text);
latency(Pool) ->
    too_few(latency, "latencies", Pool).

%% "Track error rates by tool type": the tool that fails most often.
error_rates(#{stats := #{calls := Calls, error_rate := Rate, tools := Tools}, name := Name}) when Calls >= ?ENOUGH ->
    Text = format("~ts: ~.1f % of ~ts calls failed", [Name, 100 * Rate, pitcrew_load_text:count(Calls)]),
    case lists:reverse(lists:sort([{Share, Tool, Errors} || {Tool, #{calls := All, error_rate := Share, errors := Errors}} <- maps:to_list(Tools), All >= ?ENOUGH])) of
        [{Worst, Tool, Errors} | _] when Worst >= ?ERROR_RATE ->
            Kinds = lists:join(", ", [[atom_to_list(Kind), " ", pitcrew_load_text:count(Count)] || {Kind, Count} <- lists:sort(maps:to_list(Errors))]),
            Fix = ["Pitcrew.Error explains the kinds; Pitcrew.stats/1 has the errors of each tool"],
            check(checklist, error_rates, {warn, Fix}, [Text, io_lib:format("; of those of ~ts ~.1f % (", [Tool, 100 * Worst]), Kinds, ")"]);
        _ ->
            check(checklist, error_rates, ok, Text)
    end;
error_rates(Pool) ->
    too_few(error_rates, "errors", Pool).

%% "Check for serialization bottlenecks". What is neither waiting nor the tool is codecs, sockets and wake-ups; docs/telemetry.md takes that apart.
serialization(#{stats := #{calls := Calls, latency := #{avg := All}, python := #{avg := Python}, queue := #{avg := Queue}}, name := Name}) when Calls >= ?ENOUGH ->
    Parts = [pitcrew_load_text:ms(Ms) || Ms <- [All, Python, Queue, max(0.0, All - Python - Queue)]],
    Text = format("~ts: of ~ts ms of an average call the tool has ~ts, and waiting for a worker ~ts; codecs and transport have ~ts", [Name | Parts]),
    check(checklist, serialization, note, Text);
serialization(Pool) ->
    too_few(serialization, "the parts of a call", Pool).

too_few(Name, What, #{name := Pool, stats := nil}) ->
    check(checklist, Name, {note, "the pool's option metrics"}, format("~ts: it counts nothing, so ~ts are not known", [Pool, What]));
too_few(Name, What, #{name := Pool, stats := #{calls := Calls}}) ->
    check(checklist, Name, note, format("~ts: ~b calls are too few to say something of ~ts; Pitcrew.stats/1 shows them", [Pool, Calls, What])).

%% "Configure monitoring and alerting". Prometheus asks, and needs no handler.
monitoring(#{name := Name, is_watched := true}) ->
    check(checklist, monitoring, ok, format("~ts: a handler hears of its calls (Pitcrew.Telemetry)", [Name]));
monitoring(#{name := Name, stats := Stats}) ->
    Fix = "Pitcrew.Metrics has an endpoint for Prometheus and an example of an alert, docs/metrics.md; or attach a handler, docs/telemetry.md",
    Text = format("~ts: no handler hears of its calls", [Name]),
    case Stats of
        nil -> check(checklist, monitoring, {warn, Fix}, [Text, ", and it counts nothing"]);
        #{} -> check(checklist, monitoring, {note, Fix}, [Text, "; if Prometheus asks for what it counts, none has to"])
    end.

%% "Set up automatic memory cleanup". A worker tells what it has where there is a limit.
cleanup(#{name := Name, info := #{workers := Workers}}) ->
    case [Worker || #{rss := Rss} = Worker <- Workers, is_integer(Rss)] of
        [] when Workers =:= [] -> check(checklist, cleanup, note, format("~ts: no worker runs, so none can be asked for its memory", [Name]));
        [] -> check(checklist, cleanup, {warn, "the pool's option max_rss, see docs/limits.md"}, format("~ts: workers may grow without end", [Name]));
        _ -> check(checklist, cleanup, ok, format("~ts: workers that have grown clean up, and are replaced if that does not help (max_rss)", [Name]))
    end.

%% "Profile memory usage under sustained load", "Watch memory growth patterns".
growth(#{name := Name, rss := Rss}) ->
    Text = format("~ts: its workers have ~b MiB in memory, the largest ~b MiB, shared pages included", [Name, lists:sum(Rss) bsr 20, lists:max([0 | Rss]) bsr 20]),
    check(checklist, growth, note, Text).

%% "Optimize Python imports and startup time".
startup(#{name := Name, info := #{start := spawn}}) ->
    Fix = "see docs/forking.md for what keeps a module from being forked, and start => spawn",
    check(checklist, startup, {warn, Fix}, format("~ts: each worker imports all modules by itself", [Name]));
startup(#{name := Name, info := #{start := fork}}) ->
    check(checklist, startup, ok, format("~ts: workers are forked from one that has imported everything once", [Name]));
startup(#{name := Name}) ->
    check(checklist, startup, note, format("~ts: it has no Python at the moment", [Name])).

%% What no look at this moment could tell.
general() ->
    [
        check(checklist, Name, note, Text)
     || {Name, Text} <- [
            {load_test, "load tests that match the traffic to come: mix pitcrew.loadtest --pool NAME --call TERM --rate N, docs/loadtest.md"},
            {failover, "failover: mix pitcrew.loadtest --faults kills workers under load; docs/lifecycle.md says what callers see of each death"},
            {formats, "formats with real data: Pitcrew's own measurements are in docs/performance.md; a load test with protocol: :json beside one without shows yours"},
            {system, "settings of the operating system: the lines under System"},
            {slow_calls, "slow calls: Pitcrew.Telemetry.attach_default_logger(slow: 250) logs them with their parts; docs/telemetry.md"},
            {gc, "Python's collector: with the pool's option gc_pauses the event python, :gc, :pause tells of its pauses, docs/events.md; worker, :memory of what Pitcrew asked for"}
        ]
    ].

%% A pool's name comes first, as people write it.
format(Format, [Name | Args]) -> io_lib:format(Format, [pitcrew_text:pool(Name) | Args]).
