-module(pitcrew_roster_tests).
-include_lib("eunit/include/eunit.hrl").

-define(TOKEN, <<"0123456789abcdef">>).

one() -> pitcrew_roster:add(7, {self(), ?TOKEN}, pitcrew_roster:new()).

a_token_opens_each_role_once_test() ->
    Self = self(),
    {ok, Self, R1} = pitcrew_roster:redeem(?TOKEN, <<"side">>, one()),
    ?assertEqual(refused, pitcrew_roster:redeem(?TOKEN, <<"side">>, R1)),
    {ok, Self, R2} = pitcrew_roster:redeem(?TOKEN, <<"call">>, R1),
    ?assertEqual(refused, pitcrew_roster:redeem(?TOKEN, <<"call">>, R2)),
    ?assertEqual(refused, pitcrew_roster:redeem(?TOKEN, <<"boss">>, one())),
    ?assertEqual(refused, pitcrew_roster:redeem(<<"0123456789abcdeX">>, <<"call">>, one())).

nothing_is_left_of_a_worker_that_exited_test() ->
    Self = self(),
    {Self, Rest} = pitcrew_roster:exited(7, pitcrew_roster:note(7, <<"bye">>, one())),
    ?assertEqual(pitcrew_roster:new(), Rest),
    ?assertEqual(absent, pitcrew_roster:exited(7, Rest)),
    ?assertEqual(refused, pitcrew_roster:redeem(?TOKEN, <<"call">>, Rest)),
    ?assertEqual(Rest, pitcrew_roster:note(7, <<"a line that came late">>, Rest)).

a_worker_whose_process_is_gone_is_known_until_it_exits_test() ->
    {ok, 7, R} = pitcrew_roster:orphan(self(), one()),
    ?assertEqual(absent, pitcrew_roster:orphan(self(), R)),
    ?assertEqual(absent, pitcrew_roster:wid(self(), R)),
    ?assertEqual([], pitcrew_roster:processes(R)),
    ?assertEqual(orphan, pitcrew_roster:forked(7, 4711, R)),
    ?assertEqual(refused, pitcrew_roster:redeem(?TOKEN, <<"call">>, R)),
    ?assertEqual({gone, pitcrew_roster:new()}, pitcrew_roster:exited(7, R)).

a_worker_is_found_by_its_process_test() ->
    Self = self(),
    {ok, Self, R} = pitcrew_roster:forked(7, 4711, one()),
    ?assertEqual({ok, 7}, pitcrew_roster:wid(Self, R)),
    ?assertEqual(4711, pitcrew_roster:os_pid(7, R)),
    ?assertEqual(nil, pitcrew_roster:os_pid(8, R)),
    ?assertEqual([Self], pitcrew_roster:processes(R)).

the_end_of_what_was_said_is_kept_test() ->
    R = lists:foldl(fun(N, Acc) -> pitcrew_roster:note(7, integer_to_binary(N), Acc) end, one(), lists:seq(1, 5000)),
    Words = pitcrew_roster:last_words(7, R),
    ?assertEqual(4096, byte_size(Words)),
    ?assertEqual(<<"4999\n5000\n">>, binary:part(Words, byte_size(Words), -10)),
    ?assertEqual(<<>>, pitcrew_roster:last_words(7, pitcrew_roster:forget(7, R))).
