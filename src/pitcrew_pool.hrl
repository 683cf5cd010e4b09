-include("pitcrew_cache.hrl").
-include("pitcrew_metrics.hrl").

%% What a caller needs to know of a pool. Read on every call, without a copy.
-record(pool, {
    name :: atom(),
    sup :: pid(),
    server :: pid(),
    slots :: pitcrew_nif:slots(),
    dispatch :: pitcrew_nif:dispatch(),
    %% Whether no slot is ever claimed.
    is_pipelined :: boolean(),
    %% Unknown until a worker has been ready.
    tools :: unknown | #{binary() => IsIdempotent :: boolean()},
    %% Those that take a batch at once.
    at_once = [] :: [binary()],
    permits :: pitcrew_permits:permits(),
    %% Names with the pool's prefix, made once.
    events :: pitcrew_call_events:names(),
    cache :: none | #cache{},
    %% Tools of the VM that are registered for it: pitcrew_tools.
    registry :: ets:tid(),
    metrics :: none | #metrics{},
    max_queue :: non_neg_integer() | infinity,
    max_frame :: pos_integer(),
    spin_us :: non_neg_integer(),
    grace :: timeout(),
    %% How many calls the workers can hold at once, all together; whether a worker runs one at a time; and how many calls wait for one that a function
    %% of theirs has made.
    room :: pos_integer(),
    one_at_a_time :: boolean(),
    nested :: atomics:atomics_ref(),
    defaults :: pitcrew_options:call()
}).
