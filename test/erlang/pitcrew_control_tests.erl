-module(pitcrew_control_tests).
-include_lib("eunit/include/eunit.hrl").

decoded(Command) ->
    {ok, Bytes} = pitcrew_control:encode(Command),
    {ok, Message} = pitcrew_nif:decode(Bytes, #{}),
    Message.

event(Message) ->
    {ok, Bytes} = pitcrew_nif:encode(Message, #{}),
    pitcrew_control:decode(Bytes).

commands_are_as_the_page_says_test() ->
    ?assertEqual(
        [<<"zygote">>, 1, [<<"python3">>, <<"-m">>], #{<<"A">> => <<"1">>, <<"B">> => nil}, nil],
        decoded({zygote, 1, [<<"python3">>, <<"-m">>], #{<<"A">> => <<"1">>, <<"B">> => nil}, nil})
    ),
    ?assertEqual([<<"fork">>, 1, 2, <<255, 0>>], decoded({fork, 1, 2, <<255, 0>>})),
    ?assertEqual([<<"kill">>, 2, 9], decoded({kill, 2, sigkill})),
    ?assertEqual([<<"kill_zygote">>, 1, 15], decoded({kill_zygote, 1, 15})),
    ?assertEqual([<<"credit">>, 65536], decoded({credit, 65536})),
    ?assertEqual([<<"vitals">>, 2], decoded({vitals, 2})),
    ?assertEqual([<<"stop">>, 300], decoded({stop, 300})).

a_payload_is_bin_and_a_text_must_be_utf8_test() ->
    {ok, Bytes} = pitcrew_control:encode({fork, 1, 2, <<"ab">>}),
    ?assertMatch({_, _}, binary:match(Bytes, <<16#c4, 2, "ab">>)),
    ?assertMatch({error, #{kind := encode_error}}, pitcrew_control:encode({zygote, 1, [<<255>>], #{}, nil})).

events_become_tuples_test() ->
    Usage = #{utime_us => 5, stime_us => 6, maxrss_kb => 7},
    ?assertEqual({hello, 1, 10, 11}, event([<<"hello">>, 1, 10, 11])),
    ?assertEqual({zygote, 1, 12}, event([<<"zygote">>, 1, 12])),
    ?assertEqual({ready, 1, <<"p">>}, event([<<"ready">>, 1, <<"p">>])),
    ?assertEqual({failed, 1, <<"p">>}, event([<<"failed">>, 1, <<"p">>])),
    ?assertEqual({gone, 1, 12, {status, 3}}, event([<<"gone">>, 1, 12, <<"exit">>, 3])),
    ?assertEqual({forked, 2, 13}, event([<<"forked">>, 2, 13])),
    ?assertEqual({fork_failed, 2, <<"no">>}, event([<<"fork_failed">>, 2, <<"no">>])),
    ?assertEqual({exit, 2, 13, {signal, sigsegv}, Usage}, event([<<"exit">>, 2, 13, <<"signal">>, 11, 5, 6, 7])),
    ?assertEqual({exit, 2, 13, {signal, 40}, Usage}, event([<<"exit">>, 2, 13, <<"signal">>, 40, 5, 6, 7])),
    ?assertEqual({vitals, 2, #{resident => 5, cpu_us => 6, threads => 7, files => nil}}, event([<<"vitals">>, 2, 5, 6, 7, nil, more])),
    ?assertEqual({log, 2, 1, <<"line">>}, event([<<"log">>, 2, 1, <<"line">>])),
    ?assertEqual({dropped, 3, 400}, event([<<"dropped">>, 3, 400])).

what_a_newer_port_says_is_skipped_test() ->
    ?assertEqual({forked, 2, 13}, event([<<"forked">>, 2, 13, <<"more">>])),
    ?assertEqual(unknown, event([<<"brand_new">>, 1])),
    ?assertEqual(unknown, event([<<"forked">>])),
    ?assertEqual(unknown, event(#{})),
    ?assertMatch({error, _}, pitcrew_control:decode(<<16#c1>>)).

signals_have_numbers_and_names_test() ->
    Numbers = [pitcrew_control:signal_number(Name) || Name <- [sighup, sigint, sigkill, sigsegv, sigterm, sigstop, sigsys]],
    ?assertEqual([1, 2, 9, 11, 15, 19, 31], Numbers),
    ?assertError(_, pitcrew_control:signal_number(sigfoo)).
