%% @doc What pools do, in numbers: counters and histograms of each tool, in native atomics, which calls add to and never wait for.
%%
%% ```
%% #{calls := _, rate := _, latency := #{p99 := _}} = pitcrew:stats(py),
%% io:put_chars(pitcrew_metrics:openmetrics())
%% '''
%%
%% A pool counts unless its option `metrics' is `false'. docs/metrics.md is the page.
-module(pitcrew_metrics).

-export([stats/1, openmetrics/0, openmetrics/1]).
-export([new/1, known/2, call/5, worker_started/1, worker_ended/2, rows/1, workers/1]).
-export_type([row/0, ending/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

-type row() :: {counters:counters_ref(), Durations :: pitcrew_histogram:histogram(), Queues :: pitcrew_histogram:histogram()}.
%% Why a worker has ended: `crashed' is by a signal or with a status, `exited' by itself as if nothing were wrong.
-type ending() :: recycled | reload | idle | stop | interrupted | crashed | exited | start_failed.

%% Tools beyond those are counted as one, by the name `(others)'.
-define(MOST_TOOLS, 128).
-define(OTHERS, <<"(others)">>).

%% @doc Everything that is known of one pool. See {@link pitcrew:stats/1}.
-spec stats(pitcrew:pool()) -> map().
stats(Pool) ->
    case pitcrew_pools:find(Pool) of
        {ok, #pool{metrics = #metrics{}} = Entry} -> pitcrew_metrics_stats:of_pool(Entry);
        {ok, #pool{name = Name}} -> erlang:error(pitcrew_error:new(invalid_option, "pool ~tp counts nothing: its option metrics says so", [Name]), [Pool]);
        absent -> erlang:error(pitcrew_call:no_pool(Pool), [Pool])
    end.

%% @doc The same of all pools that count, as text in the OpenMetrics format, which Prometheus reads.
-spec openmetrics() -> iodata().
openmetrics() -> text(pitcrew_pools:all()).

%% @doc The same of some. A pool that has ended meanwhile is left out.
-spec openmetrics([pitcrew:pool()]) -> iodata().
openmetrics(Pools) -> text([Pool || Name <- Pools, {ok, Pool} <- [pitcrew_pools:find(Name)]]).

text(Pools) -> pitcrew_metrics_text:of_pools([Facts || #pool{metrics = #metrics{}} = Pool <- Pools, Facts <- pitcrew_metrics_stats:facts(Pool)]).

%% ---- The rows

%% @private Whoever calls this, a pool's supervisor, owns the table.
-spec new(pitcrew_options:pool()) -> #metrics{} | none.
new(#{metrics := false}) ->
    none;
new(#{metrics := true, concurrency := Width}) ->
    #metrics{
        since = erlang:monotonic_time(),
        width = Width,
        table = ets:new(pitcrew_metrics, [set, public, {read_concurrency, true}]),
        others = new_row(),
        workers = counters:new(length(endings()) + 1, [])
    }.

%% Every call of a tool adds to the same few counters, and to one bucket of many.
new_row() ->
    {counters:new(?ERRORS + length(pitcrew_error:kinds()), [write_concurrency]), pitcrew_histogram:new(), pitcrew_histogram:new()}.

%% @private With rows for these tools, unless they are too many.
-spec known(#metrics{} | none, [binary()]) -> #metrics{} | none.
known(none, _) ->
    none;
known(Metrics, Tools) when length(Tools) > ?MOST_TOOLS -> Metrics;
known(Metrics, Tools) ->
    Metrics#metrics{known = maps:from_list([{Tool, row(Tool, ok, Metrics)} || Tool <- Tools])}.

row(Tool, Outcome, #metrics{known = Known} = Metrics) ->
    case Known of
        #{Tool := Row} -> Row;
        #{} -> seek(Tool, Outcome, Metrics)
    end.

seek(Tool, Outcome, #metrics{table = Table, others = Others}) ->
    try ets:lookup(Table, Tool) of
        [{_, Row}] -> Row;
        [] -> new_row(Tool, Table, has_run(Outcome) andalso ets:info(Table, size) < ?MOST_TOOLS, Others)
    catch
        %% The pool has ended.
        error:badarg -> Others
    end.

new_row(_, _, false, Others) ->
    Others;
new_row(Tool, Table, true, _) ->
    _ = ets:insert_new(Table, {Tool, new_row()}),
    ets:lookup_element(Table, Tool, 2).

%% Names that there are no tools of must not take the room for those that there are.
has_run(Outcome) -> lists:member(Outcome, [ok, halted, tool_error, result_error]).

%% @private The tools that were called.
-spec rows(#metrics{}) -> [{binary(), row()}].
rows(#metrics{table = Table, others = Others}) ->
    Rows =
        try
            lists:sort(ets:tab2list(Table))
        catch
            error:badarg -> []
        end,
    [Row || {_, {Counts, _, _}} = Row <- Rows ++ [{?OTHERS, Others}], counters:get(Counts, ?CALLS) > 0].

%% ---- Calls

%% @private A call has ended, in the process that made it.
-spec call(#metrics{} | none, pitcrew_call_events:told(), ok | halted | pitcrew_error:kind(), Duration :: integer(), #job{} | nil) -> ok.
call(none, _, _, _, _) ->
    ok;
call(Metrics, #{tool_id := Tool} = Told, Outcome, Duration, Job) ->
    {Counts, Durations, Queues} = row(Tool, Outcome, Metrics),
    ok = counters:add(Counts, ?CALLS, 1),
    ok = took(Told, Duration, Counts, Durations),
    ok = told(Told, Counts),
    ok = ended(Outcome, Job, Counts),
    waited(Job, Counts, Queues).

%% How long a stream takes is its consumer's business.
took(#{stream := true}, _, Counts, _) ->
    counters:add(Counts, ?STREAMS, 1);
took(_, Duration, Counts, Durations) ->
    ok = counters:add(Counts, ?DURATION, Duration),
    pitcrew_histogram:count(Duration, Durations).

told(#{protocol := json}, Counts) -> counters:add(Counts, ?JSON, 1);
told(#{batch := N}, Counts) -> counters:add(Counts, ?BATCHED, N - 1);
told(_, _) -> ok.

ended(ok, nil, Counts) -> counters:add(Counts, ?CACHE_HITS, 1);
ended(Outcome, _, _) when Outcome =:= ok; Outcome =:= halted -> ok;
ended(Kind, _, Counts) -> counters:add(Counts, ?ERRORS + place(Kind, pitcrew_error:kinds()), 1).

place(Kind, [Kind | _]) -> 0;
place(Kind, [_ | Kinds]) -> 1 + place(Kind, Kinds).

waited(nil, _, _) ->
    ok;
waited(#job{queue = Queue, python = Python, retried = Retried, missed = Missed}, Counts, Queues) ->
    ok = counters:add(Counts, ?PYTHON, Python),
    _ = Missed andalso counters:add(Counts, ?CACHE_MISSES, 1),
    _ = Retried > 0 andalso counters:add(Counts, ?RETRIES, Retried),
    case Queue of
        0 ->
            ok;
        _ ->
            ok = counters:add(Counts, ?QUEUED, 1),
            ok = counters:add(Counts, ?QUEUE, Queue),
            pitcrew_histogram:count(Queue, Queues)
    end.

%% ---- Workers

-spec endings() -> [ending(), ...].
endings() -> [recycled, reload, idle, stop, interrupted, crashed, exited, start_failed].

%% @private A worker is ready.
-spec worker_started(#metrics{} | none) -> ok.
worker_started(none) -> ok;
worker_started(#metrics{workers = Counts}) -> counters:add(Counts, 1, 1).

%% @private Or has ended, as pitcrew_worker says.
-spec worker_ended(term(), #metrics{} | none) -> ok.
worker_ended(_, none) -> ok;
worker_ended(Reason, #metrics{workers = Counts}) -> counters:add(Counts, 2 + place(ending(Reason), endings()), 1).

ending({start_failed, _}) -> start_failed;
ending(normal) -> exited;
ending(Reason) when Reason =:= recycled; Reason =:= reload; Reason =:= idle; Reason =:= stop; Reason =:= interrupted -> Reason;
ending(_) -> crashed.

%% @private How many have been ready, and how those have ended that have.
-spec workers(#metrics{}) -> {Started :: non_neg_integer(), #{ending() => non_neg_integer()}}.
workers(#metrics{workers = Counts}) ->
    Endings = lists:zip(endings(), lists:seq(2, length(endings()) + 1)),
    {counters:get(Counts, 1), maps:from_list([{Ending, counters:get(Counts, Place)} || {Ending, Place} <- Endings])}.
