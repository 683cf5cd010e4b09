%% The table of events against what is emitted: a run that provokes each of them, with every emission of it traced.
-module(pitcrew_events_tests).
-include_lib("eunit/include/eunit.hrl").
-export([ignore/4]).

-import(pitcrew_test, [with_pool/2, until/1, quietly/1]).

-define(MIB, 1_048_576).

%% Each event of the table has been emitted, with exactly the keys that the table has, the optional ones at least once; and nothing else has.
every_event_is_emitted_as_listed_test_() ->
    {timeout, 120, fun() ->
        Emitted = emitted(fun() ->
            calls(),
            streams(),
            calls_that_claim_no_worker(),
            from_python(),
            results_on_hold(),
            memory(),
            health(),
            a_bad_handler()
        end),
        Listed = [{name(Event), Event} || Event <- pitcrew_events:all(), can_be(Event)],
        ?assertEqual([], lists:usort([Name || {Name, _, _} <- Emitted, not lists:keymember(Name, 1, Listed)])),
        [
            begin
                Seen = [{lists:sort(maps:keys(Measured)), lists:sort(maps:keys(Told))} || {N, Measured, Told} <- Emitted, N =:= Name],
                ?assertMatch({Name, [_ | _]}, {Name, Seen}),
                [?assertEqual([], wrong(Keys, Of, Event)) || {Measured, Told} <- lists:usort(Seen), {Keys, Of} <- [{Measured, measurements}, {Told, metadata}]],
                Ever = lists:usort(lists:append([Measured ++ Told || {Measured, Told} <- Seen])),
                ?assertEqual({Name, []}, {Name, [element(1, Key) || Of <- [measurements, metadata], Key <- maps:get(Of, Event)] -- Ever})
            end
         || {Name, Event} <- Listed
        ],
        sums(Emitted)
    end}.

%% The library telemetry emits that by itself, where it is. Under a sanitizer a worker's memory says nothing.
can_be(#{prefix := false}) -> whereis(telemetry_handler_table) =:= undefined;
can_be(#{name := [worker, What]}) when What =:= memory; What =:= trim; What =:= recycle -> not pitcrew_test:is_sanitized();
can_be(_) -> true.

name(#{name := Name, prefix := true}) -> [pitcrew_test | Name];
name(#{name := Name}) -> Name.

wrong(Keys, Of, #{name := Name} = Event) ->
    Listed = maps:get(Of, Event),
    Required = [Key || {Key, _} <- Listed],
    [{Name, Of, missing, Key} || Key <- Required -- Keys] ++ [{Name, Of, unlisted, Key} || Key <- Keys, not lists:keymember(Key, 1, Listed)].

%% The parts of each call make up the whole.
sums(Emitted) ->
    Ended = [Measured || {[pitcrew_test, call, What], Measured, _} <- Emitted, What =/= start],
    [
        ?assertEqual(
            maps:get(duration, Measured), lists:sum([maps:get(Part, Measured) || Part <- [queue, encode, transport, python, decode]])
        )
     || Measured <- Ended
    ],
    ?assertEqual([], [Measured || Measured <- Ended, Part <- [queue, encode, transport, decode], maps:get(Part, Measured) < 0]),
    %% In both formats, whether a worker was claimed or not, of calls that were encoded at once and of such as were not.
    [
        ?assertMatch(#{encode := Encode, python := Python, decode := Decode} when Encode > 0 andalso Python > 0 andalso Decode > 0, Measured)
     || {[pitcrew_test, call, stop], Measured, #{cached := false} = Told} <- Emitted,
        not is_map_key(stream, Told)
    ],
    [?assertEqual(Duration, Encode + Decode) || {[pitcrew_test, serialization, stop], #{duration := Duration, encode := Encode, decode := Decode}, _} <- Emitted].

%% `make docs' brings it up to date.
the_page_is_made_from_the_table_test() ->
    {ok, Page} = file:read_file(filename:join([pitcrew_test:fixtures(), "..", "..", "docs", "telemetry.md"])),
    [_, Rest] = binary:split(Page, <<"<!-- The rest of this page is made by tools/events from src/pitcrew_events.erl. -->\n\n">>),
    ?assertEqual(unicode:characters_to_binary(pitcrew_events:markdown()), Rest).

%% Which functions emit. One that is not here has events that nobody has put into the table, or not into the run above.
who_emits_test() ->
    Emitting = lists:usort([
        {Module, Name, Arity}
     || Module <- modules(), {function, _, Name, Arity, _} = Function <- code_of(Module), emits(Module, Function)
    ]),
    ?assertEqual(
        [
            {pitcrew_cache_call, hit, 5},
            {pitcrew_cache_call, missed, 2},
            {pitcrew_cache_keeper, evicted, 4},
            {pitcrew_call_events, ended, 6},
            {pitcrew_call_events, started, 3},
            {pitcrew_call_events, tell_of_codec, 3},
            {pitcrew_emitted, dropped, 3},
            {pitcrew_emitted, execute, 3},
            {pitcrew_pool_info, announce, 3},
            {pitcrew_pool_info, announce_holders, 2},
            {pitcrew_telemetry, run, 3},
            {pitcrew_worker, announce, 4}
        ],
        Emitting
    ).

modules() ->
    Folder = filename:dirname(proplists:get_value(source, pitcrew:module_info(compile))),
    [list_to_atom(filename:basename(File, ".erl")) || File <- filelib:wildcard(filename:join(Folder, "*.erl"))].

code_of(Module) ->
    {ok, {Module, [{abstract_code, {_, Forms}}]}} = beam_lib:chunks(code:which(Module), [abstract_code]),
    Forms.

emits(Module, {call, _, {remote, _, {atom, _, pitcrew_telemetry}, {atom, _, execute}}, _}) -> is_atom(Module);
emits(pitcrew_telemetry, {call, _, {atom, _, execute}, _}) -> true;
emits(Module, Form) when is_tuple(Form) -> emits(Module, tuple_to_list(Form));
emits(Module, [Form | Forms]) -> emits(Module, Form) orelse emits(Module, Forms);
emits(_, _) -> false.

%% ---- What is emitted while a fun runs

emitted(Fun) ->
    Collector = spawn_link(fun() -> collect([]) end),
    Events = pitcrew_events:names([pitcrew_test]),
    {ok, _} = application:ensure_all_started(pitcrew),
    ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:ignore/4, none),
    1 = erlang:trace_pattern({pitcrew_telemetry, execute, 3}, true, [local]),
    _ = erlang:trace(all, true, [call, {tracer, Collector}]),
    try
        Fun()
    after
        _ = erlang:trace(all, false, [call]),
        _ = erlang:trace_pattern({pitcrew_telemetry, execute, 3}, false, [local]),
        ok = pitcrew_telemetry:detach(?MODULE)
    end,
    Delivered = erlang:trace_delivered(all),
    receive {trace_delivered, all, Delivered} -> ok end,
    Collector ! {collected, self()},
    receive {Collector, Emitted} -> Emitted end.

collect(Seen) ->
    receive
        {trace, _, call, {pitcrew_telemetry, execute, [Event, Measured, Told]}} -> collect([{Event, Measured, Told} | Seen]);
        {collected, To} -> To ! {self(), lists:reverse(Seen)}
    end.

ignore(_, _, _, _) -> ok.

%% ---- What there is to be told of

calls() ->
    Options = #{size => 1, tools => ["py_tools", "cache_tools"], cache => #{max_entries => 1}},
    with_pool(Options, fun(Pool) ->
        {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
        {ok, 3} = pitcrew:call(Pool, add, [1, 2], #{protocol => json}),
        {ok, _} = pitcrew:call(Pool, describe, [lists:seq(1, 100_000)]),
        {error, _} = pitcrew:call(Pool, add, [1, <<"x">>]),
        {error, _} = pitcrew:call(Pool, add, improper),
        [{ok, 3}, {ok, 7}] = pitcrew:batch(Pool, [{add, [1, 2]}, {add, [3, 4]}]),
        [{ok, 3}, {error, _}] = pitcrew:batch(Pool, [{add, [1, 2]}, {add, [3, <<255>>]}]),
        {ok, Found} = pitcrew:call(Pool, fresh, [1]),
        {ok, Found} = pitcrew:call(Pool, fresh, [1]),
        {ok, _} = pitcrew:call(Pool, fresh, [2]),
        %% The cache's keeper has heard of both.
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{evicted := 1} -> ok; Stats -> Stats end end)
    end).

streams() ->
    with_pool(#{size => 1, tools => ["stream_tools"]}, fun(Pool) ->
        _ = pitcrew_test:chunks(pitcrew:stream(Pool, count_to, [3])),
        {error, _} = pitcrew:next(pitcrew:stream(Pool, there_is_none)),
        {ok, 0, Halted} = pitcrew:next(pitcrew:stream(Pool, forever)),
        ok = pitcrew:stop(Halted)
    end).

calls_that_claim_no_worker() ->
    %% In the middle of the call the worker calls the VM.
    with_pool(#{size => 1, pipeline => 4, tools => ["vm_tools"]}, fun(Pool) -> {ok, _} = pitcrew:call(Pool, known, []) end),
    with_pool(#{size => 1, pipeline => 4}, fun(Pool) ->
        {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
        {ok, 3} = pitcrew:call(Pool, add, [1, 2], #{protocol => json}),
        Large = lists:seq(1, 10_000),
        {ok, Large} = pitcrew:call(Pool, echo, [Large]),
        {error, _} = pitcrew:call(Pool, add, [1, <<"x">>])
    end).

%% In calls of a trace and outside of any call.
from_python() ->
    Traced = #{traceparent => <<"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01">>, tracestate => <<"vendor=some">>},
    with_pool(#{size => 1, tools => ["events_tools"], vitals_interval => 10, gc_pauses => 0}, fun(Pool) ->
        Told = counters:new(4, []),
        Count = fun(Event, _, _, Events) -> counters:add(Told, map_get(Event, Events), 1) end,
        Last = [[pitcrew_test | Name] || Name <- [[worker, vitals], [python, gc, pause], [python, event], [python, dropped]]],
        ok = pitcrew_telemetry:attach_many(from_python, Last, Count, maps:from_list(lists:zip(Last, [1, 2, 3, 4]))),
        {ok, nil} = pitcrew:call(Pool, emit_unknown, [], Traced),
        {ok, nil} = pitcrew:call(Pool, emit_unknown_in_a_thread, []),
        {ok, nil} = pitcrew:call(Pool, collect, [], Traced),
        {ok, nil} = pitcrew:call(Pool, flood, [50_000], Traced),
        {error, _} = pitcrew:call(Pool, fail, [], Traced),
        _ = pitcrew_test:chunks(pitcrew:stream(Pool, chunks, [], Traced)),
        ok = until(fun() -> case [counters:get(Told, I) || I <- [1, 2, 3, 4]] of [A, B, C, D] when A * B * C * D > 0 -> ok; Other -> Other end end),
        ok = pitcrew_telemetry:detach(from_python)
    end).

results_on_hold() ->
    with_pool(#{size => 1, tools => ["buffer_tools"], on_hold => 100}, fun(Pool) ->
        Self = self(),
        ok = pitcrew_telemetry:attach(on_hold, [pitcrew_test, pool, on_hold], fun(_, _, _, _) -> Self ! on_hold end, none),
        {ok, Result} = pitcrew:call(Pool, zeros, [?MIB]),
        receive on_hold -> ok after 10_000 -> error(never_told) end,
        ok = pitcrew_telemetry:detach(on_hold),
        ?assertEqual(?MIB, byte_size(Result)),
        receive on_hold -> ok after 0 -> ok end
    end).

memory() ->
    pitcrew_test:is_sanitized() orelse too_much_memory().

too_much_memory() ->
    with_pool(#{size => 1, tools => ["heart_tools"], heartbeat => 20, max_rss => 64 * ?MIB}, fun(Pool) ->
        {ok, OsPid} = pitcrew:call(Pool, leak, [128 * ?MIB]),
        ok = until(fun() -> case pitcrew_test:os_pids(Pool) of [Other] when Other =/= OsPid -> ok; Still -> Still end end)
    end).

health() ->
    Flag = "/tmp/pitcrew-flag-" ++ os:getpid(),
    ok = file:write_file(Flag, ""),
    quietly(fun() ->
        with_pool(#{size => 1, tools => ["py_tools", "starts_while"], env => #{"PITCREW_FLAG" => Flag}}, fun(Pool) ->
            ok = file:delete(Flag),
            [OsPid] = pitcrew_test:os_pids(Pool),
            pitcrew_test:kill(OsPid),
            ok = until(fun() -> case pitcrew:health(Pool) of #{status := down} -> ok; Health -> Health end end)
        end)
    end).

%% Of an event of the table, so that nothing else is emitted than what is listed.
a_bad_handler() ->
    quietly(fun() ->
        with_pool(#{size => 1}, fun(Pool) ->
            ok = pitcrew_telemetry:attach(bad, [pitcrew_test, call, stop], fun(_, _, _, _) -> throw(oops) end, none),
            {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
            {error, not_found} = pitcrew_telemetry:detach(bad)
        end)
    end).
