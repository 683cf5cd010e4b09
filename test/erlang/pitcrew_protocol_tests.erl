-module(pitcrew_protocol_tests).

-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_protocol, [select_optimal_protocol/1, explain/1]).

%% 1,024 bytes of text between its quotes.
-define(AT_THE_LIMIT, (binary:copy(<<"x">>, 1022))).

messagepack_unless_somebody_wants_to_read_test() ->
    [
        ?assertEqual({Config, msgpack}, {Config, select_optimal_protocol(Config)})
     || Config <- [
            #{},
            [],
            #{data => <<"text">>, call_frequency => 1, streaming => false},
            #{data => <<"text">>, call_frequency => 1, readable => false},
            #{data => pitcrew:bytes(binary:copy(<<0>>, 2000)), call_frequency => 1},
            #{call_frequency => 101},
            #{call_frequency => 1.0e6}
        ]
    ],
    ?assertMatch(#{protocol := msgpack, reason := fastest}, explain(#{})).

readable_frames_test() ->
    Wanted = #{streaming => false, data => #{id => 7, tags => [<<"a">>]}, call_frequency => 5, readable => true},
    ?assertMatch(#{protocol := json, reason := readable}, explain(Wanted)),
    ?assertEqual(json, select_optimal_protocol(maps:to_list(Wanted))),
    ?assertEqual(json, select_optimal_protocol([readable])),
    ?assertMatch(#{protocol := msgpack, reason := streaming}, explain(Wanted#{streaming := true})).

what_json_cannot_carry_test() ->
    Because = fun(Data) -> explain(#{data => Data, readable => true}) end,
    #{protocol := msgpack, reason := not_json, message := Message} = Because([#{at => {1, 2}}]),
    ?assertMatch({_, _}, binary:match(Message, <<"(at [0,at])">>)),
    [?assertMatch(#{reason := not_json}, Because(Data)) || Data <- [<<255>>, 1 bsl 64, pitcrew:bytes(<<"a">>), self(), nan, fun() -> ok end]].

limits_test() ->
    Why = fun(Data, Frequency) -> maps:get(reason, explain(#{data => Data, call_frequency => Frequency, readable => true})) end,
    ?assertEqual(readable, Why(?AT_THE_LIMIT, 100)),
    ?assertEqual(large, Why(<<?AT_THE_LIMIT/binary, "x">>, 1)),
    ?assertEqual(frequent, Why(?AT_THE_LIMIT, 100.5)),
    ?assertEqual(frequent, Why(1, 101)).

%% The option asks in the same place.
auto_agrees_test() ->
    {ok, #{protocol := Pool} = Options} = pitcrew_options:pool([{name, py}, {protocol, auto}]),
    {ok, #{protocol := Call}} = pitcrew_options:call([{protocol, auto}], pitcrew_options:defaults(Options#{protocol := json})),
    ?assertEqual({select_optimal_protocol(#{}), select_optimal_protocol(#{})}, {Pool, Call}).

bad_input_test() ->
    [
        begin
            Error = try select_optimal_protocol(Config) catch error:#{kind := invalid_option, message := Message} -> Message end,
            ?assertMatch({Config, {_, _}}, {Config, binary:match(Error, Part)})
        end
     || {Config, Part} <- [
            {#{streaming => yes}, <<"option streaming must be one of false, true; given was yes">>},
            {#{call_frequency => -1}, <<"option call_frequency must be a number of at least 0; given was -1">>},
            {#{call_frequency => <<"5">>}, <<"must be a number of at least 0">>},
            {#{readable => 1}, <<"option readable must be one of">>},
            {#{frequency => 1}, <<"unknown option frequency">>},
            {#{call_frequenzy => 1}, <<"did you mean call_frequency?">>},
            {nil, <<"options are a map or a list of pairs, not nil">>}
        ]
    ].
