%% The JSON library as a library: where it runs, what it leaves behind, how it is replaced, and a machine without it.
%% Each in a VM of its own.
-module(pitcrew_json_library_tests).

-include_lib("eunit/include/eunit.hrl").

-export([not_built/0, cannot_load/0, schedulers/0, memory/0, reload/0]).

%% ---- Without the library

not_built_test_() -> in_a_vm(without, not_built).

%% As where libjansson is missing: the library asks for a jansson that there is not.
cannot_load_test_() ->
    Break = fun(Library) -> binary:replace(Library, <<"libjansson.so.4", 0>>, <<"libjansson.so.9", 0>>) end,
    in_a_vm(Break, cannot_load).

not_built() ->
    says_everywhere(<<"libjansson-dev">>),
    no_pool_speaks_it(<<"libjansson-dev">>),
    the_rest_works().

cannot_load() ->
    says_everywhere(<<"libjansson.so.9: cannot open shared object file">>),
    says_everywhere(<<"(Debian: libjansson4)">>),
    no_pool_speaks_it(<<"(Debian: libjansson4)">>),
    the_rest_works().

no_pool_speaks_it(Text) ->
    {error, #{kind := start_error, message := Start, pool := py}} = pitcrew_pool:start_link(#{name => py, protocol => json}),
    {error, #{kind := encode_error, message := Call, path := []}} = pitcrew_call_json:texts(<<"tool">>, [], nil, nil, nil),
    #{protocol := msgpack, reason := no_library, message := Why} = pitcrew_protocol:explain(#{readable => true}),
    [{_, _} = binary:match(Message, Text) || Message <- [Start, Call, Why]].

says_everywhere(Text) ->
    Results = [
        {pitcrew_json:encode([1]), encode_error}, {pitcrew_json:encode([1], [{indent, 2}]), encode_error},
        {pitcrew_json:decode(<<"[1]">>), decode_error}, {pitcrew_json:decode(<<"[1]">>, [{nil, null}]), decode_error},
        {pitcrew_json:available(), encode_error}
    ],
    [begin
         {error, #{kind := Kind, message := Message, path := [], reason := {not_loaded, _}} = Error} = Result,
         {_, _} = binary:match(Message, Text),
         true = is_binary(pitcrew_error:format(Error))
     end || {Result, Kind} <- Results].

the_rest_works() ->
    {ok, Bytes} = pitcrew_nif:encode([1, <<"two">>], #{}),
    {ok, [1, <<"two">>]} = pitcrew_nif:decode(Bytes, #{}),
    {ok, _} = application:ensure_all_started(pitcrew),
    ok.

%% ---- Where it runs

schedulers_test_() -> in_a_vm(fun(Library) -> Library end, schedulers).

%% Small work stays on normal schedulers; larger work, and what turns out to be larger, leaves them.
schedulers() ->
    normal = runs_on(fun() -> {ok, _} = pitcrew_json:decode(list_of(8 * 1024)) end),
    dirty = runs_on(fun() -> {ok, _} = pitcrew_json:decode(list_of(8 * 1024 + 1)) end),
    normal = runs_on(fun() -> {error, _} = pitcrew_json:decode(binary:copy(<<"[">>, 8 * 1024)) end),
    dirty = runs_on(fun() -> {error, _} = pitcrew_json:decode(binary:copy(<<"x">>, 100 * 1024)) end),
    normal = encoding_runs_on(lists:seq(1, 1000)),
    dirty = encoding_runs_on(lists:seq(1, 100000)),
    normal = encoding_runs_on(binary:copy(<<"x">>, 20000)),
    dirty = encoding_runs_on(binary:copy(<<"x">>, 1000000)),
    dirty = encoding_runs_on([[] || _ <- lists:seq(1, 10000)]),
    dirty = encoding_runs_on(maps:from_list([{integer_to_binary(N), nil} || N <- lists:seq(1, 20000)])),
    %% Cheap to build, but each character must be escaped.
    dirty = encoding_runs_on(binary:copy(<<1>>, 50000)),
    dirty = encoding_runs_on([lists:seq(1, 100000), {}]),
    ok.

list_of(Size) ->
    Count = Size div 4 - 1,
    Text = iolist_to_binary([$[, lists:join($,, lists:duplicate(Count, "123")), $]]),
    <<Text/binary, (binary:copy(<<" ">>, Size - byte_size(Text)))/binary>>.

encoding_runs_on(Term) -> runs_on(fun() -> _ = pitcrew_json:encode(Term) end).

%% `dirty' if a process that calls the fun was ever in on a dirty scheduler, which tracing gives the number 0.
runs_on(Fun) ->
    {Pid, Monitor} = spawn_monitor(fun() -> receive go -> Fun() end end),
    1 = erlang:trace(Pid, true, [running, scheduler_id]),
    Pid ! go,
    receive {'DOWN', Monitor, process, Pid, Reason} -> normal = Reason end,
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    Schedulers = traced(Pid),
    true = length(Schedulers) > 0,
    case lists:member(0, Schedulers) of
        true -> dirty;
        false -> normal
    end.

traced(Pid) ->
    receive
        {trace, Pid, in, _, Scheduler} -> [Scheduler | traced(Pid)];
        {trace, Pid, _, _, _} -> traced(Pid)
    after 0 -> []
    end.

%% ---- What it leaves behind

%% AddressSanitizer keeps memory that was freed.
memory_test_() ->
    case string:find(os:getenv("LD_PRELOAD", ""), "libasan") of
        nomatch -> in_a_vm(fun(Library) -> Library end, memory);
        _ -> []
    end.

%% As much memory after many decodings, encodings and errors of both as before.
memory() ->
    %% With more keys than the decoder has room for at first.
    Wide = maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, 65)]),
    Term = [#{<<"key">> => [1, 2.5, <<"text">>, nil, true]}, 1 bsl 40, binary:copy(<<"x">>, 200), Wide],
    {ok, Text} = pitcrew_json:encode(Term),
    Decode = fun() -> {ok, _} = pitcrew_json:decode(Text) end,
    Encode = fun() -> {ok, _} = pitcrew_json:encode(Term) end,
    Refuse = fun() ->
        {error, _} = pitcrew_json:decode(<<Text/binary, "]">>),
        {error, _} = pitcrew_json:decode(<<"[1,99999999999999999999}">>, [{big_integers, float}]),
        {error, _} = pitcrew_json:encode([Term, {}])
    end,
    %% Begins on a normal scheduler and starts over on a dirty one.
    StartOver = fun() -> {ok, _} = pitcrew_json:encode(binary:copy(<<1>>, 20000)) end,
    Loads = [{Decode, 100000}, {Encode, 20000}, {Refuse, 20000}, {StartOver, 1000}],
    [repeat(N div 2, Work) || {Work, N} <- Loads],
    Before = resident(),
    [repeat(N, Work) || {Work, N} <- Loads],
    Grown = resident() - Before,
    {true, _} = {Grown < 2 * 1024 * 1024, Grown},
    ok.

repeat(0, _) -> erlang:garbage_collect();
repeat(N, Work) -> Work(), repeat(N - 1, Work).

resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    [_, Pages | _] = binary:split(Statm, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

%% ---- How it is replaced

reload_test_() -> in_a_vm(fun(Library) -> Library end, reload).

%% Loading and purging over and over while large terms are encoded and decoded.
reload() ->
    Parent = self(),
    Callers = [spawn_link(fun() -> work(Parent, lists:seq(1, N)) end) || N <- [10, 50000]],
    [receive {working, Caller} -> ok end || Caller <- Callers],
    [begin
         {module, pitcrew_json_nif} = code:load_file(pitcrew_json_nif),
         purge_softly()
     end || _ <- lists:seq(1, 30)],
    [begin
         Caller ! {stop, self()},
         receive {stopped, Caller} -> ok end
     end || Caller <- Callers],
    ok.

%% Waits for whoever is still inside the old code, a dirty NIF included.
purge_softly() ->
    case code:soft_purge(pitcrew_json_nif) of
        true -> ok;
        false -> erlang:yield(), purge_softly()
    end.

work(Parent, Term) ->
    {ok, Text} = pitcrew_json:encode(Term),
    {ok, Term} = pitcrew_json:decode(Text),
    Parent ! {working, self()},
    receive
        {stop, From} -> From ! {stopped, self()}
    after 0 -> work(Parent, Term)
    end.

%% ---- VMs of their own

%% Calls one of our functions in a VM with a copy of the application, whose JSON library a fun has changed, or which is
%% `without' it.
in_a_vm(Change, Function) ->
    {timeout, 120, fun() ->
        Base = filename:join("/tmp", "pitcrew-json-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive]))),
        Ebin = copy(filename:join(Base, "pitcrew"), Change),
        Tests = filename:dirname(code:which(?MODULE)),
        {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa", Ebin, "-pz", Tests]}),
        try
            ?assertEqual(Ebin, peer:call(Peer, filename, dirname, [peer:call(Peer, code, which, [pitcrew_json])])),
            ?assertEqual(ok, peer:call(Peer, ?MODULE, Function, [], 100_000))
        after
            peer:stop(Peer),
            file:del_dir_r(Base)
        end
    end}.

copy(To, Change) ->
    From = filename:dirname(filename:dirname(code:which(pitcrew_json))),
    [ok = filelib:ensure_dir(filename:join([To, Dir, "x"])) || Dir <- ["ebin", "priv"]],
    Files = filelib:wildcard("ebin/*", From) ++ ["priv/pitcrew_nif.so"],
    [{ok, _} = file:copy(filename:join(From, File), filename:join(To, File)) || File <- Files],
    copy_json(Change, filename:join(From, "priv/pitcrew_json_nif.so"), filename:join(To, "priv/pitcrew_json_nif.so")),
    filename:join(To, "ebin").

copy_json(without, _, _) ->
    ok;
copy_json(Change, From, To) ->
    {ok, Library} = file:read_file(From),
    ok = file:write_file(To, Change(Library)).
