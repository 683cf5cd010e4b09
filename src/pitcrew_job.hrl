%% A call on its way, or a stream; in the process of whoever made it.
-record(job, {
    pool :: #pool{},
    %% Where it may run: anywhere, where an object is, in a session, or where a session begins.
    aim = any :: pitcrew_aim:aim(),
    tool :: binary(),
    %% Its name for people.
    id :: binary(),
    args :: list(),
    kwargs :: map() | nil,
    %% With the protocol json: what is sent instead.
    texts = nil :: pitcrew_call_json:texts() | nil,
    codec :: pitcrew_nif:codec_opts(),
    meta :: map() | nil,
    %% Monotonic milliseconds.
    deadline :: integer() | infinity,
    %% Milliseconds, as given: for messages, and per attempt.
    timeout :: timeout(),
    checkout_timeout :: timeout(),
    %% Of each function that the tool calls.
    function_timeout = infinity :: timeout(),
    retries :: non_neg_integer(),
    on_caller_exit :: cancel | finish,
    %% What telemetry is told. Times in native units, summed over the attempts.
    queue = 0 :: integer(),
    encode = 0 :: integer(),
    python = 0 :: integer(),
    decode = 0 :: integer(),
    bytes_in = 0 :: non_neg_integer(),
    bytes_out = 0 :: non_neg_integer(),
    %% How often it was tried again because a worker died.
    retried = 0 :: non_neg_integer(),
    worker = nil :: pos_integer() | nil,
    %% Whether its result was looked for in the cache.
    missed = false :: boolean(),
    %% Of a stream: its first credit, and how many chunks have come. 0: it is none.
    stream = 0 :: non_neg_integer(),
    chunks = 0 :: non_neg_integer(),
    %% Who may say that no more are wanted: pitcrew_pipeline:next/3.
    watch = none :: pitcrew_pipeline:watch(),
    %% Of this attempt.
    ref = nil :: reference() | nil
}).
