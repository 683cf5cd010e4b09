%% What is counted of a pool, for callers: read with the pool, without a copy.
-record(metrics, {
    %% Native time.
    since :: integer(),
    %% How many calls a worker runs at once.
    width :: pos_integer(),
    %% A row for each tool, {Name, Row}, of which there are at most so many; and one for all others.
    table :: ets:tid(),
    others :: pitcrew_metrics:row(),
    %% Those of the tools that the pool's modules have, so that nobody looks for them in the table.
    known = #{} :: #{binary() => pitcrew_metrics:row()},
    %% Of the pool's workers.
    workers :: counters:counters_ref()
}).

%% Places in a row's counters. Times in native units.
-define(CALLS, 1).
%% Those of them that are streams, which no histogram has.
-define(STREAMS, 2).
-define(DURATION, 3).
%% Those that waited for a worker.
-define(QUEUED, 4).
-define(QUEUE, 5).
-define(PYTHON, 6).
-define(JSON, 7).
%% Found in the cache; looked for there, and not found.
-define(CACHE_HITS, 8).
-define(CACHE_MISSES, 9).
-define(RETRIES, 10).
%% Calls that batches have brought, beyond one for each frame.
-define(BATCHED, 11).
%% From here on one place for each kind of error.
-define(ERRORS, 12).
