%% The options of pools, of calls, and of what else has some: their tables, and how they belong together. What comes out has every key, in
%% one form; pitcrew_option_check reads them.
-module(pitcrew_options).

-export([pool/1, call/2, batch/1, iterator/1, map/1, stream/2, session/1, defaults/1, table/2, given/2, set/3, unless_given/3, split/2, names/1]).
-export_type([pool/0, call/0, session/0]).

-type pool() :: #{
    name := atom(),
    tools := [binary()],
    preload := [binary()],
    allow_eval := boolean(),
    allow_import := [binary()],
    python := binary(),
    size := pos_integer(),
    lazy := boolean(),
    max_overflow := non_neg_integer(),
    idle_timeout := timeout(),
    max_queue := non_neg_integer() | infinity,
    strategy := lifo | fifo,
    max_calls := pos_integer() | infinity,
    max_age := pos_integer() | infinity,
    linger := timeout(),
    env := #{binary() => binary() | nil},
    cd := binary() | nil,
    timeout := timeout(),
    checkout_timeout := timeout(),
    start_timeout := timeout(),
    function_timeout := timeout(),
    retry := non_neg_integer(),
    on_caller_exit := cancel | finish,
    start := auto | fork | spawn,
    grace := non_neg_integer(),
    thread_limits := pos_integer() | none,
    rlimits := #{address_space | cpu | files => pos_integer()},
    nice := 0..19,
    log_level := pitcrew_records:level() | none,
    heartbeat := pos_integer() | infinity,
    max_rss := pos_integer() | infinity,
    gc_interval := pos_integer() | infinity,
    gc_freeze := boolean(),
    vitals_interval := pos_integer() | infinity,
    gc_pauses := non_neg_integer() | none,
    runtime_dir := binary() | nil,
    telemetry_prefix := [atom(), ...],
    protocol := msgpack | json,
    binaries := str | bytes,
    bytes := plain | tagged,
    nil := nil | undefined,
    keys := dict | strict,
    copy_binaries := boolean(),
    shared := boolean(),
    max_shared := pos_integer(),
    on_hold := pos_integer() | infinity,
    cache := none | cache(),
    metrics := boolean(),
    max_frame := pos_integer(),
    spin_us := non_neg_integer(),
    pipeline := pos_integer(),
    pipeline_age := pos_integer(),
    concurrency := pos_integer()
}.
-type call() :: #{
    timeout := timeout(),
    checkout_timeout := timeout(),
    function_timeout := timeout(),
    retry := non_neg_integer(),
    on_caller_exit := cancel | finish,
    protocol := msgpack | json,
    %% `none': the pool has no cache. `auto': for tools that are declared idempotent.
    cache := none | auto | boolean(),
    codec := pitcrew_nif:codec_opts(),
    meta := meta()
}.
-type cache() :: #{
    max_entries := pos_integer(), max_bytes := pos_integer(), ttl := pos_integer() | infinity, backend := ets | {redis, map()}
}.
%% What a call tells the worker about itself; nil where everything is as usual.
-type meta() :: nil | #{keys => strict, ref => true, stream => pos_integer(), traceparent => binary(), tracestate => binary()}.
-type session() :: #{
    exclusive := boolean(),
    ttl := timeout(),
    on_worker_exit := error | restart,
    on_start := nil | {pitcrew:tool(), pitcrew:args()},
    owner := pid() | nil,
    %% Those of the calls with which it begins.
    call := map()
}.
-type error() :: {error, pitcrew_error:t()}.

pool_table() ->
    [
        {name, name, required},
        {tools, modules, {value, []}},
        {preload, modules, {value, []}},
        {allow_eval, {one_of, [false, true]}, {value, false}},
        {allow_import, packages, {value, []}},
        {python, text, fun default_python/0},
        {size, {integer, 1, 65536}, fun() -> erlang:system_info(schedulers_online) end},
        {lazy, {one_of, [false, true]}, {value, false}},
        {max_overflow, {integer, 0, 65536}, {value, 0}},
        {idle_timeout, {integer_or, 1, 16#ffffffff, infinity}, {value, 10_000}},
        {max_queue, {integer_or, 0, 1_000_000_000, infinity}, {value, infinity}},
        {strategy, {one_of, [lifo, fifo]}, {value, lifo}},
        {max_calls, {integer_or, 1, 1_000_000_000_000, infinity}, {value, infinity}},
        {max_age, {integer_or, 1, 16#ffffffff, infinity}, {value, infinity}},
        {linger, timeout, {value, 60_000}},
        {env, env, {value, #{}}},
        {cd, optional_text, {value, nil}},
        {start_timeout, timeout, {value, 30_000}},
        {start, {one_of, [auto, fork, spawn]}, {value, auto}},
        {grace, {integer, 0, 60_000}, {value, 300}},
        {thread_limits, {integer_or, 1, 4096, none}, {value, 1}},
        {rlimits, {options, rlimits_table()}, {value, #{}}},
        {nice, {integer, 0, 19}, {value, 0}},
        {log_level, {one_of, [debug, info, notice, warning, error, critical, none]}, {value, info}},
        {heartbeat, {integer_or, 10, 3_600_000, infinity}, {value, 1_000}},
        {max_rss, {integer_or, 16#100000, 1 bsl 60, infinity}, {value, infinity}},
        {gc_interval, {integer_or, 100, 86_400_000, infinity}, {value, infinity}},
        {gc_freeze, {one_of, [false, true]}, {value, false}},
        {vitals_interval, {integer_or, 10, 3_600_000, infinity}, {value, 10_000}},
        {gc_pauses, {integer_or, 0, 60_000_000, none}, {value, none}},
        {runtime_dir, optional_text, {value, nil}},
        {telemetry_prefix, prefix, {value, [pitcrew]}},
        {shared, {one_of, [true, false]}, {value, true}},
        {max_shared, {integer, 1 bsl 20, 1 bsl 60}, {value, 1 bsl 30}},
        {on_hold, {integer_or, 100, 86_400_000, infinity}, {value, 30_000}},
        {cache, {switch, cache_table()}, {value, none}},
        {metrics, {one_of, [true, false]}, {value, true}},
        {max_frame, {integer, 1024, 1 bsl 30}, {value, 1 bsl 30}},
        {spin_us, {integer, 0, 200}, {value, 50}},
        {pipeline, {integer, 1, 1024}, {value, 1}},
        {pipeline_age, {integer, 1, 60_000}, {value, 1}},
        {concurrency, {integer, 1, 1024}, {value, 1}}
        | shared_table()
    ].

default_python() ->
    case os:getenv("PITCREW_PYTHON", "") of
        "" -> <<"python3">>;
        Path -> unicode:characters_to_binary(Path)
    end.

cache_table() ->
    [
        {max_entries, {integer, 1, 100_000_000}, {value, 10_000}},
        {max_bytes, {integer, 1 bsl 12, 1 bsl 60}, {value, 1 bsl 26}},
        {ttl, {integer_or, 1, 16#ffffffff, infinity}, {value, 300_000}},
        {backend, {backend, redis_table()}, {value, ets}}
    ].

redis_table() ->
    [
        {secret, {secret, 16}, required},
        {namespace, optional_text, {value, nil}},
        {host, text, {value, <<"127.0.0.1">>}},
        {port, {integer, 1, 65535}, {value, 6379}},
        {database, {integer, 0, 1_000_000}, {value, 0}},
        {password, {secret, 0}, {value, fun() -> <<>> end}},
        {timeout, {integer, 1, 60_000}, {value, 50}},
        {retry_after, {integer, 1, 3_600_000}, {value, 1_000}}
    ].

%% A worker needs some descriptors for itself, and Python some memory to start.
rlimits_table() ->
    [
        {address_space, {integer, 16#100000, 1 bsl 60}, none},
        {cpu, {integer, 1, 1 bsl 32}, none},
        {files, {integer, 32, 1 bsl 20}, none}
    ].

call_table() ->
    [
        {ref, {one_of, [false, true]}, {value, false}},
        {cache, {one_of, [false, true]}, {value, auto}},
        {traceparent, traceparent, {value, nil}},
        {tracestate, tracestate, {value, nil}}
        | shared_table()
    ].

%% Of a pool, whose calls have it unless they say otherwise. A literal, which no call with an option has to build.
shared_table() ->
    [
        {timeout, timeout, {value, 30_000}},
        {checkout_timeout, timeout, {value, 5_000}},
        {function_timeout, timeout, {value, infinity}},
        {retry, {integer, 0, 1000}, {value, 0}},
        {on_caller_exit, {one_of, [cancel, finish]}, {value, cancel}},
        {protocol, protocol, {value, msgpack}},
        {binaries, {one_of, [str, bytes]}, {value, str}},
        {bytes, {one_of, [plain, tagged]}, {value, plain}},
        {nil, {one_of, [nil, undefined]}, {value, nil}},
        {keys, {one_of, [dict, strict]}, {value, dict}},
        {copy_binaries, {one_of, [false, true]}, {value, false}}
    ].

stream_table() ->
    [{buffer, {integer, 1, 1_000_000}, {value, 256}}].

iterator_table() ->
    [{stop, {function, 1}, {value, nil}} | stream_table()].

batch_table() ->
    [
        {batch_size, {integer, 1, 1_000_000}, none},
        {max_concurrency, {integer, 1, 65536}, none}
    ].

map_table() ->
    [
        {batch_size, {integer, 1, 1_000_000}, {value, 1}},
        {max_concurrency, {integer, 1, 65536}, {value, nil}},
        {ordered, {one_of, [true, false]}, {value, true}}
    ].

session_table() ->
    [
        {exclusive, {one_of, [false, true]}, {value, false}},
        {ttl, {integer_or, 1, 16#ffffffff, infinity}, {value, infinity}},
        {on_worker_exit, {one_of, [error, restart]}, {value, error}},
        {on_start, start_call, {value, nil}},
        {owner, owner, fun() -> self() end},
        {timeout, timeout, {value, pool}},
        {checkout_timeout, timeout, {value, pool}}
    ].

%% @doc The names of the options of a pool or of a call.
-spec names(pool | call) -> [atom()].
names(pool) -> [Name || {Name, _, _} <- pool_table()];
names(call) -> [Name || {Name, _, _} <- call_table()].

%% @doc Checks the options of a pool and fills in the defaults.
-spec pool(map() | [{atom(), term()}]) -> {ok, pool()} | error().
pool(Options) ->
    pitcrew_option_check:valid(fun() ->
        #{pipeline := Pipeline, concurrency := Concurrency} = Complete = pitcrew_option_check:complete(Options, pool_table()),
        _ = agree(defaults(Complete)),
        %% What runs at once is in the worker, too.
        fit(Complete#{pipeline := max(Pipeline, Concurrency)})
    end).

%% @doc Checks options against a table and fills in the defaults.
-spec table(map() | [{atom(), term()}], [pitcrew_option_check:row()]) -> {ok, map()} | error().
table(Options, Table) -> pitcrew_option_check:valid(fun() -> pitcrew_option_check:complete(Options, Table) end).

%% @doc Checks options against a table. What was not given is not there.
-spec given(map() | [{atom(), term()}], [pitcrew_option_check:row()]) -> {ok, map()} | error().
given(Options, Table) -> pitcrew_option_check:valid(fun() -> pitcrew_option_check:read(Options, Table) end).

%% @doc Checks the options of a call and lays them over the pool's.
-spec call(map() | [{atom(), term()}], call()) -> {ok, call()} | error().
call([], Defaults) ->
    {ok, Defaults};
call(Options, Defaults) when Options =:= #{} ->
    {ok, Defaults};
call(Options, #{codec := Codec} = Defaults) ->
    pitcrew_option_check:valid(fun() ->
        Given = pitcrew_option_check:read(Options, call_table()),
        Call = with_cache(Given, maps:merge(Defaults, plain(Given))),
        agree(with_meta(Given, Call#{codec => maps:merge(Codec, codec(Given))}))
    end).

%% @doc The same of a stream, whose first credit goes into its meta.
-spec stream(map() | [{atom(), term()}], call()) -> {ok, call()} | error().
stream(Options, Defaults) ->
    {Own, Rest} = own(stream_table(), Options),
    case table(Own, stream_table()) of
        {ok, #{buffer := Buffer}} -> with_credit(Buffer, call(Rest, Defaults));
        {error, _} = Error -> Error
    end.

with_credit(_, {ok, #{protocol := json}}) -> pitcrew_option_check:invalid("a stream needs the protocol msgpack");
with_credit(_, {ok, #{meta := #{ref := true}}}) -> pitcrew_option_check:invalid("option ref must be false for a stream: its chunks cannot stay in the worker");
with_credit(_, {ok, #{cache := true}}) -> pitcrew_option_check:invalid("option cache must be false for a stream: its chunks are not kept");
with_credit(Buffer, {ok, #{meta := nil} = Call}) -> {ok, Call#{meta := #{stream => Buffer}}};
with_credit(Buffer, {ok, #{meta := Meta} = Call}) -> {ok, Call#{meta := Meta#{stream => Buffer}}};
with_credit(_, {error, _} = Error) -> Error.

%% @doc Checks the options of an iterator and fills in the defaults.
-spec iterator(map() | [{atom(), term()}]) -> {ok, #{buffer := pos_integer(), stop := nil | fun((term()) -> term())}} | error().
iterator(Options) -> table(Options, iterator_table()).

%% @doc The options that a batch has of its own, without those that were not given, and those of its calls.
-spec batch(map() | [{atom(), term()}]) ->
    {ok, #{batch_size => pos_integer(), max_concurrency => pos_integer()}, map() | [{atom(), term()}]} | error().
batch(Options) ->
    {Own, Rest} = own(batch_table(), Options),
    case given(Own, batch_table()) of
        {ok, Checked} -> {ok, Checked, Rest};
        {error, _} = Error -> Error
    end.

%% @doc The options that a map has of its own, with their defaults, and those of its calls.
-spec map(map() | [{atom(), term()}]) ->
    {ok, #{batch_size := pos_integer(), max_concurrency := pos_integer() | nil, ordered := boolean()}, map() | [{atom(), term()}]} | error().
map(Options) ->
    {Own, Rest} = own(map_table(), Options),
    case table(Own, map_table()) of
        {ok, Checked} -> {ok, Checked, Rest};
        {error, _} = Error -> Error
    end.

own(Table, Options) -> split([Name || {Name, _, _} <- Table], Options).

%% @doc Checks the options of a session, for the process that is to own it if no other is named, and fills in the defaults.
-spec session(map() | [{atom(), term()}]) -> {ok, session()} | error().
session(Options) ->
    pitcrew_option_check:valid(fun() ->
        Complete = pitcrew_option_check:complete(Options, session_table()),
        Call = maps:filter(fun(_, Value) -> Value =/= pool end, maps:with([timeout, checkout_timeout], Complete)),
        (maps:without([timeout, checkout_timeout], Complete))#{call => Call}
    end).

%% @doc Gives an option its value, whether it was given or not; what is no options stays as it is, for call/2 to refuse.
-spec set(atom(), term(), map() | [{atom(), term()}]) -> map() | [{atom(), term()}].
set(Name, Value, Options) when is_map(Options) -> Options#{Name => Value};
set(Name, Value, Options) when length(Options) >= 0 ->
    {_, Others} = split([Name], Options),
    [{Name, Value} | Others];
set(_, _, Options) ->
    Options.

%% @doc The same, if it was not given.
-spec unless_given(atom(), term(), map() | [{atom(), term()}]) -> map() | [{atom(), term()}].
unless_given(Name, Value, Options) ->
    case split([Name], Options) of
        {None, _} when None =:= []; None =:= #{} -> set(Name, Value, Options);
        _ -> Options
    end.

%% @doc Options of these names, and the others; what is no options is among the others.
-spec split([atom()], Options) -> {Options, Options} when Options :: map() | [{atom(), term()}].
split(Names, Options) when is_map(Options) -> {maps:with(Names, Options), maps:without(Names, Options)};
split(Names, Options) when length(Options) >= 0 ->
    lists:partition(
        fun
            ({Name, _}) -> lists:member(Name, Names);
            (Name) -> lists:member(Name, Names)
        end,
        Options
    );
split(_, Options) -> {[], Options}.

%% @doc What a pool's options say of its calls.
-spec defaults(pool()) -> call().
defaults(#{cache := Cache} = Options) ->
    Uses = case Cache of none -> none; #{} -> auto end,
    with_meta(Options, (plain(Options))#{codec => codec(Options), cache => Uses}).

plain(Options) -> maps:with([timeout, checkout_timeout, function_timeout, retry, on_caller_exit, protocol], Options).

codec(Options) -> maps:with([binaries, bytes, nil, copy_binaries], Options).

with_cache(#{cache := true}, #{cache := none}) -> pitcrew_option_check:fail("option cache must be false: the pool has no cache, as its own option cache says; it is true", []);
with_cache(#{cache := _}, #{cache := none} = Call) -> Call;
with_cache(#{cache := Uses}, Call) -> Call#{cache := Uses};
with_cache(#{}, Call) -> Call.

with_meta(Given, Call) ->
    Before = case Call of #{meta := #{} = Meta} -> Meta; #{} -> #{} end,
    case lists:foldl(fun add_meta/2, Before, maps:to_list(maps:with([keys, ref, traceparent, tracestate], Given))) of
        None when None =:= #{} -> Call#{meta => nil};
        Some -> Call#{meta => Some}
    end.

add_meta({keys, strict}, Meta) -> Meta#{keys => strict};
add_meta({ref, true}, Meta) -> Meta#{ref => true};
add_meta({Name, Text}, Meta) when is_binary(Text), Name =:= traceparent orelse Name =:= tracestate -> Meta#{Name => Text};
add_meta({Name, _}, Meta) -> maps:remove(Name, Meta).

%% What a call asks for besides; then what JSON has no use for would be ignored.
agree(#{meta := #{tracestate := State} = Meta}) when not is_map_key(traceparent, Meta) ->
    pitcrew_option_check:fail("option tracestate must be nil without the option traceparent; it is ~ts", [State]);
agree(#{cache := true, meta := #{ref := true}}) ->
    pitcrew_option_check:fail("option cache must be false with the option ref, because a result that stays in its worker cannot be kept; it is true", []);
agree(#{protocol := json, codec := #{binaries := bytes}}) -> disagree(binaries, str, "carries no bytes", bytes);
agree(#{protocol := json, codec := #{bytes := tagged}}) -> disagree(bytes, plain, "carries no bytes", tagged);
agree(#{protocol := json, codec := #{copy_binaries := true}}) -> disagree(copy_binaries, false, "always copies them", true);
agree(#{protocol := json, meta := #{ref := true}}) -> disagree(ref, false, "carries no references", true);
agree(#{protocol := json, meta := #{keys := strict}}) -> disagree(keys, dict, "has no keys but texts", strict);
agree(Call) -> Call.

-spec disagree(atom(), atom(), string(), atom()) -> no_return().
disagree(Name, Must, Why, Is) ->
    pitcrew_option_check:fail("option ~ts must be ~ts with the protocol json, which ~ts; it is ~ts", [Name, Must, Why, Is]).

%% Twice as many slots are made, and a slot is a number in the native code.
fit(#{size := Size, max_overflow := Overflow}) when Size + Overflow > 65536 ->
    pitcrew_option_check:fail("size and max_overflow together must be at most 65536; they are ~b", [Size + Overflow]);
fit(Options) ->
    Options.
