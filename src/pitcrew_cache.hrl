%% A pool's cache, for callers: read with the pool, without a copy.
-record(cache, {
    sup :: pid(),
    pool :: atom(),
    %% Results, {Key, Value, Uses, Expires, Stamp, Bytes}, and calls that run, {Key, {flight, Pid, Token}}.
    table :: ets:tid(),
    %% Who waits for one of those: {Token, Alias, Pid}.
    waiters :: ets:tid(),
    %% Rows that are new, {No, Key, Stamp, Bytes}, for the process that keeps the limits.
    news :: ets:tid(),
    %% Of the hash.
    key :: <<_:128>>,
    backend :: module(),
    %% The backend's own.
    handle :: term(),
    max_entries :: pos_integer(),
    max_bytes :: pos_integer(),
    %% Milliseconds.
    ttl :: pos_integer() | infinity,
    %% Bytes and entries, and how many rows have ever been new.
    size :: atomics:atomics_ref(),
    counts :: counters:counters_ref(),
    %% Prefix ++ [cache, hit | miss | evict].
    events :: {[atom(), ...], [atom(), ...], [atom(), ...]}
}).

%% Places in `counts'.
-define(HITS, 1).
-define(JOINED, 2).
-define(MISSES, 3).
-define(STORED, 4).
-define(TOO_LARGE, 5).
-define(REFUSED, 6).
-define(EVICTED, 7).
-define(EXPIRED, 8).
-define(BAD, 9).
-define(UNREACHABLE, 10).
-define(COUNTS, 10).

%% Places in `size'.
-define(BYTES, 1).
-define(ENTRIES, 2).
-define(NEWS, 3).

%% What an entry costs besides its value.
-define(ENTRY_BYTES, 256).
