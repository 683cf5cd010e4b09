%% Calls in JSON, through real pools: what goes each way, what is refused and where, and that all else is as in MessagePack.
-module(pitcrew_call_json_tests).
-include_lib("eunit/include/eunit.hrl").

-export([tell/4]).
-import(pitcrew_test, [quietly/1]).

-define(MAX, 9223372036854775807).
-define(MIN, -9223372036854775808).
%% Nanoseconds on a normal scheduler.

test(Fun) -> {timeout, 60, Fun}.

with_pool(Fun) -> with_pool(#{}, Fun).

%% A pool that speaks JSON; afterwards nothing is left in the mailbox, and every slot is free.
with_pool(Options, Fun) ->
    pitcrew_test:with_pool(maps:merge(#{protocol => json, size => 1, tools => ["py_tools", "json_tools"]}, Options), fun(Pool) ->
        Fun(Pool),
        ?assertEqual([], pitcrew_test:mailbox()),
        Free = fun() ->
            case pitcrew:info(Pool) of
                #{size := Size, free := Size, queued := 0} -> ok;
                Info -> Info
            end
        end,
        ?assertEqual(ok, pitcrew_test:until(Free))
    end).

echo(Pool, Value) -> pitcrew:call(Pool, echo, [Value]).
evaluate(Pool, Text) -> pitcrew:call(Pool, evaluate, [Text]).

has(Text, Message) -> ?assertMatch({_, _}, binary:match(Message, unicode:characters_to_binary(Text))).

%% ---- Values

every_value_comes_back_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Same = [
                nil, true, false, 0, -1, ?MAX, ?MIN, 0.1, -0.0, 5.0e-324, 1.7976931348623157e308, 1.0e16,
                <<>>, <<"text">>, <<"é 😀 \"\\\n\r\t\b\f\d"/utf8>>, <<0, 1, 31>>, [], [[], [[]]], #{}, [#{}, #{<<>> => []}],
                #{<<"é"/utf8>> => [1, 2.5, nil, #{<<"x">> => true}]}
            ],
            [?assertEqual({ok, Value}, echo(Pool, Value)) || Value <- Same],
            ?assertEqual({ok, Same}, echo(Pool, Same)),
            %% Atoms are their text, as keys and as values.
            ?assertEqual({ok, #{<<"a">> => <<"b">>, <<"é"/utf8>> => nil}}, echo(Pool, #{a => b, 'é' => nil})),
            ?assertEqual({ok, [1, [2]]}, evaluate(Pool, <<"(1, (2,))">>))
        end)
    end).

arguments_by_place_by_name_and_both_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, <<"add">>, #{a => 1, <<"b">> => 2})),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, {[1], #{b => 2}})),
            ?assertEqual({ok, [4, 7]}, pitcrew:call(Pool, scale, {[[1, 2]], #{factor => 3, offset => 1}})),
            ?assertEqual({ok, [<<"()">>, <<"[]">>]}, pitcrew:call(Pool, describe)),
            ?assertEqual({ok, [<<"()">>, <<"[]">>]}, pitcrew:call(Pool, describe, {[], #{}})),
            ?assertEqual({ok, [<<"str">>, <<"str">>]}, pitcrew:call(Pool, annotated, {[<<"x">>], #{view => <<"y">>}}))
        end)
    end).

the_atom_for_null_test_() ->
    test(fun() ->
        with_pool(#{nil => undefined}, fun(Pool) ->
            ?assertEqual({ok, undefined}, echo(Pool, undefined)),
            ?assertEqual({ok, <<"nil">>}, echo(Pool, nil)),
            ?assertEqual({ok, nil}, pitcrew:call(Pool, echo, [nil], [{nil, nil}])),
            ?assertEqual({ok, [<<"()">>, <<"[]">>]}, pitcrew:call(Pool, describe, [])),
            ?assertMatch({error, #{kind := tool_error, path := nil}}, pitcrew:call(Pool, fail, [<<"x">>]))
        end)
    end).

as_deep_as_it_may_be_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Nested = fun(Depth) -> lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(2, Depth)) end,
            %% The list of the arguments is one of the 512.
            ?assertEqual({ok, 511}, pitcrew:call(Pool, depth_of, [Nested(511)])),
            {error, #{kind := encode_error, path := [args | Path]}} = pitcrew:call(Pool, depth_of, [Nested(512)]),
            ?assertEqual(512, length(Path)),
            Deepest = Nested(512),
            ?assertEqual({ok, Deepest}, pitcrew:call(Pool, nested, [512])),
            {error, #{kind := result_error, path := ResultPath}} = pitcrew:call(Pool, nested, [513]),
            ?assertEqual(512, length(ResultPath)),
            ?assertMatch({error, #{kind := result_error}}, pitcrew:call(Pool, holds_itself))
        end)
    end).

large_values_go_both_ways_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Text = binary:copy(<<"é\n"/utf8>>, 1 bsl 19),
            Rows = [#{<<"id">> => N, <<"name">> => <<"row">>, <<"values">> => [1.5, N, nil]} || N <- lists:seq(1, 20000)],
            {ok, Back} = echo(Pool, Text),
            ?assertEqual(erlang:md5(Text), erlang:md5(Back)),
            ?assertEqual({ok, Rows}, echo(Pool, Rows)),
            pitcrew_test:stays_short(fun() -> {ok, _} = echo(Pool, Text), {ok, _} = echo(Pool, Rows) end)
        end)
    end).

%% ---- What JSON cannot carry

arguments_that_json_cannot_carry_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            [
                begin
                    Answer = pitcrew:call(Pool, echo, Args),
                    ?assertMatch({Args, {error, #{kind := encode_error, path := Path, pool := Pool, worker := nil}}}, {Args, Answer}),
                    {error, #{message := Message}} = Answer,
                    has(Words, Message)
                end
             || {Args, Path, Words} <- [
                    {[1, {2}], [args, 1], "tuple"},
                    {[#{x => [0, self()]}], [args, 0, x, 1], "pid"},
                    {[[<<"ok">>, <<255>>]], [args, 0, 1], "UTF-8"},
                    {[pitcrew:bytes(<<1>>)], [args, 0], "Pitcrew.Bytes"},
                    {[#{d => #{'__struct__' => 'Elixir.Date'}}], [args, 0, d], "Elixir.Date"},
                    {[?MAX + 1], [args, 0], "64 bits"},
                    {[[?MIN - 1]], [args, 0, 0], "64 bits"},
                    {[nan], [args, 0], "nan"},
                    {[#{a => 1, <<"a">> => 2}], [args, 0], "the same key"},
                    {[#{1 => 2}], [args, 0, 1], "neither a binary nor an atom"},
                    {[[{key, value}]], [args, 0, 0], "tuple"},
                    {#{value => {1}}, [kwargs, value], "tuple"},
                    {#{a => 1, <<"a">> => 2}, [kwargs], "the same key"},
                    {#{1 => 2}, [kwargs, 1], "neither a binary nor an atom"},
                    {{[1], #{x => #{y => fun() -> ok end}}}, [kwargs, x, y], "function"}
                ]
            ],
            ?assertMatch({error, #{kind := encode_error, path := [tool]}}, pitcrew:call(Pool, <<255>>, [])),
            ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:call(Pool, echo, 17)),
            %% Nothing was sent.
            ?assertMatch(#{workers := [#{calls := 0}]}, pitcrew:info(Pool))
        end)
    end).

results_that_json_cannot_carry_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            [
                begin
                    Answer = evaluate(Pool, Text),
                    ?assertMatch({Text, {error, #{kind := result_error, path := Path}}}, {Text, Answer}),
                    {error, #{message := Message}} = Answer,
                    has(Words, Message)
                end
             || {Text, Path, Words} <- [
                    {<<"[float('nan')]">>, [0], "nan"},
                    {<<"{'x': -float('inf')}">>, [<<"x">>], "infinity"},
                    {<<"[1, b'x']">>, [1], "type bytes"},
                    {<<"{'x': {1, 2}}">>, [<<"x">>], "type set"},
                    {<<"{'x': [0, {3: 4}]}">>, [<<"x">>, 1], "the key 3"},
                    {<<"{'x': [object()]}">>, [<<"x">>, 0], "type object"},
                    {<<"[2**63]">>, [0], "64 bits"},
                    {<<"{'n': -2**63 - 1}">>, [<<"n">>], "64 bits"},
                    {<<"{'s': ['\\ud800']}">>, [<<"s">>, 0], "surrogate U+D800"},
                    {<<"{'a\\0': 1}">>, [], "NUL"}
                ]
            ],
            ?assertEqual({ok, [?MAX, ?MIN]}, evaluate(Pool, <<"[2**63 - 1, -2**63]">>)),
            ?assertEqual({ok, [<<"ok">>, 3, [1, 2], #{<<"x">> => 1}, #{<<"y">> => 2}, 0.5, <<"text">>, #{<<"key">> => 1}]},
                         pitcrew:call(Pool, derived)),
            %% The worker went on after each.
            ?assertMatch(#{workers := [#{calls := 12}]}, pitcrew:info(Pool))
        end)
    end).

too_big_is_told_on_either_side_test_() ->
    test(fun() ->
        with_pool(#{max_frame => 4096}, fun(Pool) ->
            ?assertMatch({error, #{kind := too_big}}, echo(Pool, binary:copy(<<"x">>, 5000))),
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, text, [3000])),
            ?assertMatch({ok, _}, echo(Pool, binary:copy(<<"x">>, 4000)))
        end)
    end).

%% ---- The rest is as in MessagePack

errors_of_the_tool_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            {error, #{kind := tool_error, type := <<"ValueError">>, message := <<"no \"luck\"">>, traceback := Traceback, path := nil}} =
                pitcrew:call(Pool, fail, [<<"no \"luck\"">>]),
            has("py_tools.py", Traceback),
            {error, #{kind := unknown_tool, message := Unknown}} = pitcrew:call(Pool, ad, [1, 2]),
            has("'add'", Unknown),
            ?assertMatch({error, #{kind := bad_arguments, type := <<"TypeError">>}}, pitcrew:call(Pool, add, [1])),
            ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:call(Pool, add, #{a => 1, c => 2})),
            ?assertMatch({error, #{kind := result_error, path := [<<"bad">>, 1]}}, pitcrew:call(Pool, unencodable)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end).

both_formats_on_one_worker_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Packed = fun(Value) -> pitcrew:call(Pool, echo, [Value], [{protocol, msgpack}]) end,
            {ok, OsPid} = pitcrew:call(Pool, pid),
            [
                begin
                    ?assertEqual({ok, [N]}, echo(Pool, [N])),
                    ?assertEqual({ok, {N, <<255>>}}, Packed({N, pitcrew:bytes(<<255>>)}))
                end
             || N <- lists:seq(1, 50)
            ],
            ?assertEqual({ok, OsPid}, pitcrew:call(Pool, pid, [], [{protocol, auto}]))
        end),
        with_pool(#{protocol => msgpack, size => 2}, fun(Pool) ->
            ?assertEqual({ok, [<<"a">>]}, pitcrew:call(Pool, echo, [[a]], [{protocol, json}])),
            ?assertEqual({ok, {a}}, echo(Pool, {a}))
        end)
    end).

many_callers_in_both_formats_test_() ->
    test(fun() ->
        with_pool(#{size => 2}, fun(Pool) ->
            Call = fun(N) -> pitcrew:call(Pool, echo, [[N]], [{protocol, lists:nth(1 + N rem 2, [json, msgpack])}]) end,
            Callers = [spawn_monitor(fun() -> exit({answers, [Call(N + M) || M <- lists:seq(1, 30)]}) end) || N <- lists:seq(1, 16)],
            Answers = [receive {'DOWN', Ref, process, _, {answers, A}} -> A end || {_, Ref} <- Callers],
            ?assertEqual([[{ok, [N + M]} || M <- lists:seq(1, 30)] || N <- lists:seq(1, 16)], Answers)
        end)
    end).

a_timeout_kills_the_worker_test_() ->
    test(fun() ->
        Listener = pitcrew_test:listen(),
        with_pool(fun(Pool) ->
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, meet, [pitcrew_test:port(Listener)], [{timeout, 200}])),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end),
        gen_tcp:close(Listener)
    end).

a_worker_that_dies_test_() ->
    test(fun() ->
        with_pool(#{tools => ["os_exit", "json_tools"]}, fun(Pool) ->
            ?assertMatch({error, #{kind := worker_exit, reason := {status, 17}}}, pitcrew:call(Pool, leave, [17])),
            ?assertMatch({ok, _}, pitcrew:call(Pool, derived))
        end)
    end).

%% The texts are made once, and sent to another worker as they are.
an_idempotent_call_is_tried_again_test_() ->
    test(fun() ->
        Listener = pitcrew_test:listen(),
        with_pool(#{size => 2, retry => 1}, fun(Pool) ->
            Port = pitcrew_test:port(Listener),
            {_, Caller} = spawn_monitor(fun() -> exit({answer, pitcrew:call(Pool, meet_again, [Port])}) end),
            {First, OsPid} = pitcrew_test:meet(Listener),
            pitcrew_test:kill(OsPid),
            {Second, _} = pitcrew_test:meet(Listener),
            pitcrew_test:answer(Second, <<"x">>),
            receive {'DOWN', Caller, process, _, Reason} -> ?assertEqual({answer, {ok, <<"x">>}}, Reason) end,
            gen_tcp:close(First)
        end),
        gen_tcp:close(Listener)
    end).

%% ---- Options

options_that_do_not_agree_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Call = fun(Options) -> pitcrew:call(Pool, echo, [<<"x">>], Options) end,
            [
                begin
                    {error, #{kind := invalid_option, message := Message}} = Call([Option]),
                    has(Words, Message)
                end
             || {Option, Words} <- [
                    {{binaries, bytes}, "option binaries must be str with the protocol json, which carries no bytes; it is bytes"},
                    {{bytes, tagged}, "option bytes must be plain with the protocol json, which carries no bytes; it is tagged"},
                    {{protocol, xml}, "option protocol must be one of msgpack, json, auto; given was xml"}
                ]
            ],
            ?assertEqual({ok, <<"x">>}, Call([{binaries, str}, {bytes, plain}])),
            ?assertEqual({ok, <<"x">>}, Call([{binaries, bytes}, {protocol, msgpack}]))
        end),
        with_pool(#{protocol => auto, binaries => bytes}, fun(Pool) ->
            ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Pool, echo, [1], [{protocol, json}])),
            ?assertEqual({ok, [<<"str">>, 1]}, pitcrew:call(Pool, size, [<<"x">>], [{protocol, json}, {binaries, str}]))
        end)
    end).

%% ---- Telemetry

tell([_, _, What], _, Metadata, Pid) -> Pid ! {What, Metadata}.

events_carry_the_protocol_test_() ->
    test(fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        Events = [[pitcrew_test, call, What] || What <- [start, stop, exception]],
        ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
        Told = fun() -> [receive {What, #{protocol := Protocol}} -> {What, Protocol} end || _ <- [1, 2]] end,
        try
            with_pool(fun(Pool) ->
                {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
                ?assertEqual([{start, json}, {stop, json}], Told()),
                {ok, 3} = pitcrew:call(Pool, add, [1, 2], [{protocol, auto}]),
                ?assertEqual([{start, msgpack}, {stop, msgpack}], Told()),
                quietly(fun() ->
                    {error, _} = echo(Pool, {1}),
                    ?assertEqual([{start, json}, {exception, json}], Told()),
                    {error, _} = pitcrew:call(Pool, fail, [<<"x">>]),
                    ?assertEqual([{start, json}, {exception, json}], Told()),
                    {error, _} = pitcrew:call(Pool, add, [1, 2], [{protocol, xml}]),
                    ?assertEqual([{start, json}, {exception, json}], Told())
                end)
            end)
        after
            pitcrew_telemetry:detach(?MODULE)
        end
    end).
