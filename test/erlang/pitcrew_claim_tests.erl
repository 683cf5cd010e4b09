%% No slot is ever lost, wherever its owner dies: callers claim and check in as fast as they can, and are killed at random points.
-module(pitcrew_claim_tests).

-include_lib("eunit/include/eunit.hrl").

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
    Room = #{slots := Slots} = setup(),
    Claims = counters:new(1, [write_concurrency]),
    Callers = [start(Slots, Claims) || _ <- lists:seq(1, ?CALLERS)],
    Left = lists:foldl(fun(_, All) -> kill_one(All, Slots, Claims) end, Callers, lists:seq(1, ?KILLED)),
    [stop(Caller) || Caller <- Left],
    wait_until(fun() -> maps:get(free, pitcrew_nif:slots_info(Slots)) =:= ?SLOTS end),
    %% The test would show nothing if the slots had not changed hands all the time.
    ?assert(counters:get(Claims, 1) > ?KILLED),
    every_slot_works(Slots),
    cleanup(Room).

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
    Channels = [begin {ok, Channel, Index} = pitcrew_nif:claim(Slots), {Index, Channel} end || _ <- lists:seq(1, ?SLOTS)],
    ?assertEqual(lists:seq(0, ?SLOTS - 1), lists:sort([Index || {Index, _} <- Channels])),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    [ok = pitcrew_nif:checkin(Channel) || {_, Channel} <- Channels].

setup() ->
    Dir = filename:join("/tmp", "pitcrew-test-" ++ integer_to_list(erlang:unique_integer([positive])) ++ os:getpid()),
    ok = file:make_dir(Dir),
    Path = filename:join(Dir, "s"),
    {ok, Listener} = pitcrew_nif:listen(Path),
    Slots = pitcrew_nif:slots_new(?SLOTS, self()),
    Ends = [open(Listener, Path, Slots, Index) || Index <- lists:seq(0, ?SLOTS - 1)],
    #{dir => Dir, path => Path, listener => Listener, slots => Slots, ends => Ends}.

open(Listener, Path, Slots, Index) ->
    {ok, Worker} = gen_tcp:connect({local, Path}, 0, [binary, {packet, raw}, {active, false}]),
    {ok, Channel, _} = accept(Listener),
    ok = pitcrew_nif:slots_install(Slots, Index, Channel),
    {Worker, Channel}.

accept(Listener) ->
    Ref = make_ref(),
    case pitcrew_nif:accept(Listener, Ref) of
        again -> receive {select, Listener, Ref, ready_input} -> accept(Listener) end;
        Accepted -> Accepted
    end.

cleanup(#{dir := Dir, path := Path, listener := Listener, slots := Slots, ends := Ends}) ->
    [pitcrew_nif:slots_remove(Slots, Index) || Index <- lists:seq(0, ?SLOTS - 1)],
    [begin gen_tcp:close(Worker), pitcrew_nif:channel_close(Channel) end || {Worker, Channel} <- Ends],
    pitcrew_nif:close_listener(Listener),
    file:delete(Path),
    file:del_dir(Dir).

wait_until(Condition) ->
    case Condition() of
        true -> ok;
        false -> receive after 5 -> wait_until(Condition) end
    end.
