-module(pitcrew_error_tests).
-include_lib("eunit/include/eunit.hrl").

a_fault_of_python_keeps_type_message_and_traceback_test() ->
    Fault = #{
        <<"kind">> => <<"tool_error">>,
        <<"type">> => <<"ValueError">>,
        <<"message">> => <<"no">>,
        <<"traceback">> => <<"Traceback:\n  here\n">>,
        <<"path">> => nil
    },
    Error = pitcrew_error:add(pitcrew_error:from_fault(Fault), #{tool => <<"fail">>, pool => py, worker => 42}),
    ?assertMatch(#{kind := tool_error, type := <<"ValueError">>, message := <<"no">>, path := nil, worker := 42}, Error),
    ?assertEqual(
        <<"tool_error: ValueError: no\ntool: fail\npool: py\nworker: 42\nTraceback:\n  here">>,
        pitcrew_error:format(Error)
    ).

faults_have_only_kinds_that_are_documented_test() ->
    Kinds = [maps:get(kind, pitcrew_error:from_fault(#{<<"kind">> => Kind})) || Kind <- wire_kinds()],
    ?assertEqual(
        [tool_error, cancelled, bad_arguments, unknown_tool, not_allowed, decode_error, result_error, too_big] ++
            [protocol_error, protocol_error, protocol_error],
        Kinds
    ),
    ?assertEqual([], Kinds -- lists:append(lists:duplicate(3, pitcrew_error:kinds()))),
    ?assertMatch(#{kind := protocol_error, message := <<_, _/binary>>}, pitcrew_error:from_fault(#{})).

wire_kinds() ->
    [
        <<"tool_error">>,
        <<"cancelled">>,
        <<"bad_arguments">>,
        <<"unknown_tool">>,
        <<"not_allowed">>,
        <<"decode_error">>,
        <<"result_error">>,
        <<"too_big">>,
        <<"unknown_kind">>,
        <<"protocol_error">>,
        <<"made_up">>
    ].

exits_say_how_test() ->
    Text = fun(Reason) -> maps:get(message, pitcrew_error:from_exit(Reason, " during the test")) end,
    ?assertEqual(<<"the worker was killed by SIGKILL during the test">>, Text({signal, sigkill})),
    ?assertEqual(<<"the worker was killed by signal 35 during the test">>, Text({signal, 35})),
    ?assertEqual(<<"the worker exited with status 3 during the test">>, Text({status, 3})),
    ?assertMatch(#{kind := worker_exit, reason := {status, 3}}, pitcrew_error:from_exit({status, 3}, "")).

start_reports_name_their_stage_test() ->
    Error = pitcrew_error:from_start_report(#{
        <<"stage">> => <<"import">>,
        <<"type">> => <<"ModuleNotFoundError">>,
        <<"message">> => <<"No module named 'nope'">>,
        <<"traceback">> => <<"Traceback">>
    }),
    ?assertMatch(#{kind := start_error, type := <<"ModuleNotFoundError">>, traceback := <<"Traceback">>}, Error),
    ?assertEqual(
        <<"a module of the pool does not import: ModuleNotFoundError: No module named 'nope'">>,
        maps:get(message, Error)
    ),
    ?assertMatch(#{kind := start_error}, pitcrew_error:from_start_report(#{})).

where_it_is_in_the_text_test() ->
    Error = pitcrew_error:from_codec(#{kind => encode_error, message => <<"cannot">>, path => [args, 0, <<"x">>]}),
    ?assertEqual(<<"encode_error: cannot\nat: [args,0,<<\"x\">>]">>, pitcrew_error:format(Error)).

what_is_known_first_stays_test() ->
    ?assertMatch(#{pool := a, tool := t}, pitcrew_error:add(#{kind => timeout, message => <<>>, pool => a}, #{pool => b, tool => t})).

last_words_that_are_not_utf8_can_be_shown_test() ->
    ?assertEqual(<<"; it said: caf", 233/utf8>>, iolist_to_binary(pitcrew_error:said(<<"caf", 233, "\n">>))),
    ?assertEqual("", pitcrew_error:said(<<"\n">>)).
