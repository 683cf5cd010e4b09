%% @doc Every event that Pitcrew emits: one table, from which docs/telemetry.md is made, and which a test compares with what a run emits.
-module(pitcrew_events).

-export([all/0, names/0, names/1, markdown/0]).
-export_type([event/0, key/0]).

%% `name' stands behind the pool's prefix, or alone where `prefix' is false.
-type event() :: #{name := [atom(), ...], prefix := boolean(), text := string(), measurements := [key()], metadata := [key()]}.
%% A key that is there only sometimes is `optional'; the text says when.
-type key() :: {atom(), string()} | {atom(), optional, string()}.

%% @doc The names of all events, behind the prefix.
-spec names() -> [[atom(), ...]].
names() -> names([pitcrew]).

%% @doc The same with another prefix.
-spec names([atom(), ...]) -> [[atom(), ...]].
names(Prefix) -> [name(Prefix, Event) || Event <- all()].

name(Prefix, #{name := Name, prefix := true}) -> Prefix ++ Name;
name(_, #{name := Name}) -> Name.

-spec all() -> [event(), ...].
all() -> calls() ++ cache() ++ workers() ++ python() ++ pools() ++ handlers().

calls() ->
    [
        event([call, start], "a call begins", started(), call()),
        event([call, stop], "a call has ended with a result", ended(), [
            {result, "`ok`; of a stream whose consumer took no more, `halted`"} | answered()
        ]),
        event([call, exception], "a call has ended with an error; of any kind, nothing is raised", ended(), [
            {result, "the kind of the error, `timeout` for one"}, {error, "the error as a map, see `pitcrew_error`"} | answered()
        ]),
        event(
            [serialization, stop],
            "the arguments of a call were made bytes and its answer terms, as far as it came; together with the end of the call, before it. Not of streams",
            [
                {duration, "both"},
                {encode, "the arguments"},
                {decode, "the answer"},
                {bytes_in, "bytes of the answer"},
                {bytes_out, "bytes of the call"}
            ],
            [Key || Key <- call(), not lists:member(element(1, Key), [stream, traceparent, tracestate])]
        )
    ].

started() ->
    [{system_time, "the system's time"}, {monotonic_time, "from when `duration` counts"}].

call() ->
    [
        {pool, "the pool's name"},
        {tool_id, "the name of the tool, or of an object's method, a binary"},
        {protocol, "how the call travels, `msgpack` or `json`"},
        {stream, optional, "`true`, of a stream"},
        {batch, optional, "how many calls of a batch are in this one"},
        {traceparent, optional, "the trace that the call is a part of, if it was given or has inherited one"},
        {tracestate, optional, "what belongs to that"}
    ].

ended() ->
    [
        {duration, "the whole call: the sum of the next five"},
        {queue, "until a worker took it, where it had to wait for one"},
        {encode, "arguments to bytes; for a call that claimed no worker with the way to the dispatcher"},
        {transport, "all that is none of the others: sockets, wake-ups, Python's part of the codec; of a stream also its codec and its consumer; of a call that met no worker, all"},
        {python, "the tool itself, by its worker's clock"},
        {decode, "the answer to terms"},
        {bytes_in, "bytes of answers"},
        {bytes_out, "bytes of calls"},
        {retries, "how often it was tried again because its worker died"},
        {chunks, optional, "chunks, of a stream"}
    ].

answered() ->
    [
        {worker, "process id of the worker that it was in last, or `nil`"},
        {cached, "whether the result is the pool's cache's, or an equal call's that ran at the same time"}
        | call()
    ].

cache() ->
    [
        event([cache, hit], "a call found its result; its own events follow", [{duration, "from the call's beginning"}], [
            {pool, "the pool's name"},
            {tool_id, "the name of the tool"},
            {source, "`cache`; `flight`, the result of an equal call that ran; `backend`, that is Redis"}
        ]),
        event([cache, miss], "a call looked for its result, and runs", [{duration, "from the call's beginning until that was known"}], [
            {pool, "the pool's name"}, {tool_id, "the name of the tool"}
        ]),
        event([cache, evict], "results were taken out", [{entries, "how many"}, {bytes, "what they took"}], [
            {pool, "the pool's name"}, {reason, "`full` or `expired`"}
        ])
    ].

workers() ->
    [
        event([worker, start], "a worker is ready", [{duration, "from the request for it"}], worker([])),
        event(
            [worker, vitals],
            "the system was asked about a worker, each `vitals_interval`",
            [
                {resident, "bytes of it that are in memory, those that it shares among them"},
                {cpu_time, "processor time that it has used"},
                {threads, "how many it has"},
                {files, optional, "open descriptors, where they can be seen"}
            ],
            worker([])
        ),
        event([worker, memory], "a worker has done something about its memory, between two calls",
            [
                {before, "bytes of its own"},
                {'after', "bytes of its own"},
                {duration, "of this step"},
                {objects, optional, "that a collection has found"}
            ],
            worker([
                {step, "`hooks` (`@pitcrew.on_memory_pressure`), `collect` or `trim` (free memory was given back to the system)"},
                {reason, "`max_rss`, of which it has more, or `gc_interval`"}
            ])),
        event([worker, trim], "a worker had more than `max_rss`, and has given back what it could by these steps", [{before, "bytes of its own"}, {'after', "bytes of its own"}],
            worker([])),
        event([worker, recycle], "a worker is to be replaced, and its successor is started", lifetime(),
            worker([{reason, "`max_calls`, `max_age`, `stuck`, or `{max_rss, Bytes}`"}])),
        event([worker, stop], "a worker has ended", lifetime(),
            worker([
                {reason,
                    "`normal`, `recycled`, `reload`, `idle` (it was not needed), `stop` (the pool stops), `interrupted` (in an orderly way after a call of its was cut), "
                    "`{signal, sigkill}`, `{status, 1}` or alike; `stopped` or `silent` of one that was killed for that, `sibling_stuck`"}
            ]))
    ].

lifetime() -> [{lifetime, "since it was ready"}, {calls, "that it has had"}].

worker(More) ->
    [{pool, "the pool's name"}, {worker, "its process id"}, {id, "the number of its place in the pool"} | More].

%% What tools emit by names of their own is not here: docs/events.md.
python() ->
    [
        event([python, event], "Python has emitted an event with a name or a part of one that is no atom", emitted([]), in_python([{name, "what Python calls it"}])),
        event(
            [python, gc, pause],
            "a collection of Python's garbage has taken at least `gc_pauses`",
            emitted([
                {duration, "how long Python stood still"},
                {collected, "objects that went"},
                {uncollectable, "objects that could not"}
            ]),
            in_python([{generation, "0, 1 or 2; all objects are looked at in the last"}])
        ),
        event(
            [python, dropped],
            "events that Python has emitted were dropped, because they came faster than handlers took them; at most once a second for each worker",
            [{count, "how many since the last time"}],
            [{pool, "the pool's name"}, {worker, "its process id"}, {slot, "the number of its place in the pool"}]
        )
    ].

emitted(More) -> [{monotonic_time, "when it was emitted, by the VM's clock"}, {system_time, "the same by the system's"} | More].

in_python(More) ->
    [
        {pool, "the pool's name"},
        {worker, "process id of the worker"},
        {slot, "the number of its place in the pool"},
        {tool_id, optional, "the tool that emitted it"},
        {call_id, optional, "a number of the call in its worker"},
        {traceparent, optional, "the trace of that call"}
        | More
    ].

pools() ->
    [
        event(
            [pool, health],
            "a pool does not get its workers to run, or does again",
            [{ready, "workers that are"}, {wanted, "workers that should be"}],
            [
                {pool, "the pool's name"},
                {status, "`ok`, `degraded` or `down`"},
                {before, "the same, until now"},
                {failure, "the error that workers fail with, or `none`"}
            ]
        ),
        event(
            [pool, on_hold],
            "processes have kept results in shared memory for longer than `on_hold`; told again while that is so",
            [{bytes, "of shared memory that terms hold"}, {payloads, "in so many"}],
            [{pool, "the pool's name"}, {holders, "maps with `pid`, `bytes` and `ms`, the oldest hundred"}]
        )
    ].

%% What the library telemetry says, too.
handlers() ->
    [
        (event(
            [telemetry, handler, failure],
            "a handler has raised, and is detached",
            [{monotonic_time, "when"}, {system_time, "when"}],
            [
                {event_name, "what it was told of"},
                {handler_id, "its id"},
                {handler_config, "as it was attached with"},
                {kind, "`error`, `exit` or `throw`"},
                {reason, "what it raised"},
                {stacktrace, "where"}
            ]
        ))#{prefix := false}
    ].

event(Name, Text, Measurements, Metadata) ->
    #{name => Name, prefix => true, text => Text, measurements => Measurements, metadata => Metadata}.

%% ---- The page

%% @doc The table for docs/telemetry.md.
-spec markdown() -> iodata().
markdown() -> lists:join("\n", [section(Event) || Event <- all()]).

section(#{text := Text, measurements := Measurements, metadata := Metadata} = Event) ->
    [
        "### `[", lists:join(", ", [atom_to_list(Word) || Word <- name([pitcrew], Event)]), "]`\n\n", string:titlecase(Text), ".\n\n",
        "| in | key | what it is |\n|---|---|---|\n", rows("measurement", Measurements), rows("metadata", Metadata)
    ].

rows(What, Keys) -> [["| ", What, " | `", atom_to_list(element(1, Key)), "` | ", text(Key), " |\n"] || Key <- Keys].

text({_, Text}) -> Text;
text({_, optional, Text}) -> ["only sometimes: ", Text].
