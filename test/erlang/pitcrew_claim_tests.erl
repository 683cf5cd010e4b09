%% No slot is ever lost, wherever its owner dies: callers claim and check in as fast as they can, and are killed at random
%% points. The room is that of pitcrew_channel_tests.
-module(pitcrew_claim_tests).

-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_channel_tests, [open_room/1, close_room/1, wait_until/1]).

-define(SLOTS, 4).
-define(CALLERS, 6).
-define(KILLED, 20_000).

killed_callers_lose_no_slot_test_() ->
    {timeout, 120, fun() ->
        Before = pitcrew_nif:live(),
        {Pid, Monitor} = spawn_monitor(fun kill_callers/0),
        receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
        wait_until(fun() -> pitcrew_nif:live() =:= Before end)
    end}.

kill_callers() ->
    Room = #{slots := Slots} = open_room(?SLOTS),
    Claims = counters:new(1, [write_concurrency]),
    Callers = [start(Slots, Claims) || _ <- lists:seq(1, ?CALLERS)],
    Left = lists:foldl(fun(_, All) -> kill_one(All, Slots, Claims) end, Callers, lists:seq(1, ?KILLED)),
    [stop(Caller) || Caller <- Left],
    wait_until(fun() -> maps:get(free, pitcrew_nif:slots_info(Slots)) =:= ?SLOTS end),
    %% The test would show nothing if the slots had not changed hands all the time.
    ?assert(counters:get(Claims, 1) > ?KILLED),
    every_slot_works(Slots),
    close_room(Room).

kill_one([Oldest | Others], Slots, Claims) ->
    %% Some work, of an amount that differs, so that the blow falls anywhere.
    _ = lists:seq(1, rand:uniform(300)),
    stop(Oldest),
    Others ++ [start(Slots, Claims)].

start(Slots, Claims) -> spawn_monitor(fun() -> claim_for_ever(Slots, Claims) end).

stop({Pid, Monitor}) ->
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(killed, Reason) end.

%% A process dies where its time slice ends; using the slice up in uneven steps makes that any place in here, and soon.
claim_for_ever(Slots, Claims) ->
    use_up(),
    case pitcrew_nif:claim(Slots) of
        {ok, Channel, _} ->
            counters:add(Claims, 1, 1),
            use_up(),
            ok = pitcrew_nif:checkin(Channel);
        busy ->
            ok
    end,
    claim_for_ever(Slots, Claims).

use_up() -> erlang:bump_reductions(rand:uniform(3000)).

every_slot_works(Slots) ->
    Channels = [begin {ok, Channel, _} = pitcrew_nif:claim(Slots), Channel end || _ <- lists:seq(1, ?SLOTS)],
    ?assertEqual(?SLOTS, length(lists:usort(Channels))),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    [ok = pitcrew_nif:checkin(Channel) || Channel <- Channels].
