%% What has been counted of a pool, read and put together: figures, as they were counted, and what people make of them.
-module(pitcrew_metrics_stats).

-export([of_pool/1, facts/1, all_together/1, restarts/1, share/2, ms/1, seconds/1]).
-export_type([facts/0, figures/0]).

-include("pitcrew_pool.hrl").

%% Times in native units.
-type figures() :: #{
    calls := non_neg_integer(),
    streams := non_neg_integer(),
    duration := integer(),
    queued := non_neg_integer(),
    queue := integer(),
    python := integer(),
    json := non_neg_integer(),
    hits := non_neg_integer(),
    misses := non_neg_integer(),
    retries := non_neg_integer(),
    batched := non_neg_integer(),
    errors := #{pitcrew_error:kind() => pos_integer()},
    durations := pitcrew_histogram:counts(),
    queues := pitcrew_histogram:counts()
}.
-type facts() :: #{
    pool := atom(),
    info := map(),
    health := map(),
    tools := [{binary(), figures()}],
    workers := {non_neg_integer(), #{pitcrew_metrics:ending() => non_neg_integer()}},
    load := pitcrew_metrics_sampler:load(),
    cache := map() | none
}.

%% @doc Of a pool that counts; none if it has just ended.
-spec facts(#pool{}) -> [facts()].
facts(Pool) ->
    try
        [read(Pool)]
    catch
        error:#{kind := Kind} when Kind =:= pool_down; Kind =:= no_pool -> []
    end.

read(#pool{name = Name, sup = Sup, metrics = Metrics, cache = Cache} = Pool) ->
    #{workers := Workers} = Info = pitcrew_pool_server:ask(Pool, info),
    #{
        pool => Name,
        %% As of now: the port's vitals may be ten seconds old, or not be there (`vitals_interval').
        info => Info#{workers := [Worker#{rss := resident(Worker)} || Worker <- Workers]},
        health => pitcrew_pool_server:ask(Pool, health),
        tools => [{Tool, figures(Row)} || {Tool, Row} <- pitcrew_metrics:rows(Metrics)],
        workers => pitcrew_metrics:workers(Metrics),
        load => pitcrew_metrics_sampler:load(Pool),
        cache =>
            case Cache of
                none -> none;
                _ -> pitcrew_cache:stats(Sup)
            end
    }.

resident(#{os_pid := OsPid}) when is_integer(OsPid) -> pitcrew_proc:resident(OsPid);
resident(#{}) -> nil.

figures({Counts, Durations, Queues}) ->
    Get = fun(Place) -> counters:get(Counts, Place) end,
    Kinds = pitcrew_error:kinds(),
    Errors = [{Kind, Get(Place)} || {Kind, Place} <- lists:zip(Kinds, lists:seq(?ERRORS, ?ERRORS + length(Kinds) - 1))],
    (maps:from_list([{Name, Get(Place)} || {Name, Place} <- places()]))#{
        errors => maps:from_list([Error || {_, N} = Error <- Errors, N > 0]),
        durations => pitcrew_histogram:read(Durations),
        queues => pitcrew_histogram:read(Queues)
    }.

places() ->
    [
        {calls, ?CALLS}, {streams, ?STREAMS}, {duration, ?DURATION}, {queued, ?QUEUED}, {queue, ?QUEUE}, {python, ?PYTHON}, {json, ?JSON},
        {hits, ?CACHE_HITS}, {misses, ?CACHE_MISSES}, {retries, ?RETRIES}, {batched, ?BATCHED}
    ].

%% @doc The sums of what tools have counted.
-spec all_together([{binary(), figures()}]) -> figures().
all_together(Tools) -> lists:foldl(fun({_, Figures}, All) -> add(Figures, All) end, nothing(), Tools).

nothing() -> (maps:from_list([{Name, 0} || {Name, _} <- places()]))#{errors => #{}, durations => [], queues => []}.

add(Figures, Others) -> maps:map(fun(Name, Value) -> sum(Value, maps:get(Name, Others)) end, Figures).

sum(N, M) when is_integer(N) -> N + M;
sum(Counts, Others) when is_list(Counts) -> pitcrew_histogram:merge(Counts, Others);
sum(Errors, Others) when is_map(Errors) ->
    maps:fold(fun(Kind, N, Sums) -> maps:update_with(Kind, fun(M) -> M + N end, N, Sums) end, Others, Errors).

%% ---- For people

%% @doc See {@link pitcrew:stats/1}. Raises the error of a pool that has just ended.
-spec of_pool(#pool{}) -> map().
of_pool(#pool{name = Name, metrics = #metrics{since = Begin}} = Pool) ->
    #{tools := Tools, info := #{workers := Workers, queued := Queued}, workers := {Started, Endings}} = Facts = read(Pool),
    {At, Before, Loads} = pitcrew_metrics_sampler:since(Pool),
    Now = erlang:monotonic_time(),
    HasCache = maps:get(cache, Facts) =/= none,
    Seconds = seconds(Now - At),
    Of = fun(Figures, Earlier) -> shown(Figures, Earlier, Seconds, HasCache) end,
    All = Of(all_together(Tools), lists:sum(maps:values(Before))),
    All#{
        pool => Name,
        uptime => seconds(Now - Begin),
        queued => Queued,
        utilization => utilization([maps:get(load, Facts) | Loads]),
        restarts => restarts(Endings),
        started => Started,
        ended => Endings,
        workers => [maps:with([id, os_pid, state, calls, running, rss], Worker) || Worker <- Workers],
        tools => maps:from_list([{Tool, Of(Figures, maps:get(Tool, Before, 0))} || {Tool, Figures} <- Tools])
    }.

shown(Figures, Before, Seconds, HasCache) ->
    #{calls := Calls, streams := Streams, errors := Errors, json := Json, hits := Hits, misses := Misses} = Figures,
    #{duration := Duration, durations := Durations, queue := Queue, queued := Queued, queues := Queues, python := Python} = Figures,
    Failed = lists:sum(maps:values(Errors)),
    #{
        calls => Calls,
        rate => share(Calls - Before, Seconds),
        errors => Errors,
        error_rate => share(Failed, Calls),
        latency => (times(Durations))#{avg => ms(share(Duration, Calls - Streams))},
        queue => (times(Queues))#{avg => ms(share(Queue, Calls)), waited => Queued},
        python => #{avg => ms(share(Python, Calls - Hits))},
        protocols => #{msgpack => Calls - Json, json => Json},
        cache =>
            case HasCache of
                true -> #{hits => Hits, misses => Misses, hit_rate => share(Hits, Hits + Misses)};
                false -> nil
            end,
        streams => Streams,
        retries => maps:get(retries, Figures),
        batched => maps:get(batched, Figures)
    }.

%% @doc Workers that have ended though they were wanted.
-spec restarts(#{pitcrew_metrics:ending() => non_neg_integer()}) -> non_neg_integer().
restarts(Endings) -> lists:sum(maps:values(maps:without([idle, stop, start_failed], Endings))).

times(Counts) ->
    maps:from_list([
        {Name, time(pitcrew_histogram:quantile(Share, Counts))}
     || {Name, Share} <- [{p50, 0.5}, {p90, 0.9}, {p99, 0.99}, {p999, 0.999}, {max, 1.0}]
    ]).

time(none) -> 0.0;
time(Native) -> ms(Native).

%% @doc Of native time.
-spec ms(integer() | float()) -> float().
ms(Native) -> 1000 * Native / erlang:convert_time_unit(1, second, native).

-spec seconds(integer()) -> float().
seconds(Native) -> Native / erlang:convert_time_unit(1, second, native).

%% @doc Nothing of nothing.
-spec share(number(), number()) -> float().
share(_, Of) when Of =< 0 -> 0.0;
share(Part, Of) -> Part / Of.

utilization(Loads) -> share(lists:sum([Running || {Running, _} <- Loads]), lists:sum([Room || {_, Room} <- Loads])).
