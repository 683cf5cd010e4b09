%% pitcrew.deadline() in Python is what is left of the caller's time, wherever the call has spent the rest of it.
-module(pitcrew_deadline_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, with_meeting/2, meet/1, answer/2]).
-import(pitcrew_pipeline_harness, [holds/2]).

-define(TOOLS, ["deadline_tools", "py_tools"]).
%% What a deadline is rounded to, and what the VM may correct its clock by meanwhile.
-define(ROUNDED, 0.005).

test(Fun) -> {timeout, 60, Fun}.

ways() -> [#{protocol => Protocol, pipeline => Depth} || Protocol <- [msgpack, json], Depth <- [1, 4]].

the_callers_own_time_test_() ->
    [
        test(fun() ->
            with_pool(Way#{tools => ?TOOLS, timeout => 20_000}, fun(Pool) ->
                is_left(20.0, fun() -> pitcrew:call(Pool, left) end),
                is_left(40.0, fun() -> pitcrew:call(Pool, left, [], #{timeout => 40_000}) end),
                is_left(86_400.0, fun() -> pitcrew:call(Pool, left, [], #{timeout => 86_400_000}) end),
                ?assertEqual({ok, nil}, pitcrew:call(Pool, left, [], #{timeout => infinity}))
            end)
        end)
     || Way <- ways()
    ].

%% At most the time-out, and at least what the whole call has left of it.
is_left(Timeout, Call) ->
    Before = erlang:monotonic_time(),
    {ok, Left} = Call(),
    Took = erlang:convert_time_unit(erlang:monotonic_time() - Before, native, microsecond) / 1.0e6,
    ?assert(Left =< Timeout + ?ROUNDED),
    ?assert(Left >= Timeout - Took - ?ROUNDED).

%% Of a call that waits for a worker, or inside of it.
time_in_the_queue_counts_test_() ->
    [
        test(fun() ->
            with_meeting(Way#{tools => ?TOOLS, size => 1, pipeline_age => 60_000}, fun(Pool, Listener, Port) ->
                Busy = pitcrew:async(Pool, meet, [Port]),
                {Socket, _} = meet(Listener),
                Waiting = pitcrew:async(Pool, left, [], #{timeout => 20_000, checkout_timeout => 20_000}),
                holds(Pool, case Depth of 1 -> #{out => 0, queued => 1}; _ -> #{out => 2, queued => 0} end),
                Waited = pass(300),
                answer(Socket, "x"),
                {ok, <<"x">>} = pitcrew:await(Busy),
                {ok, Left} = pitcrew:await(Waiting),
                ?assert(Left > 0.0),
                ?assert(Left =< 20.0 - Waited / 1000 + ?ROUNDED)
            end)
        end)
     || #{pipeline := Depth} = Way <- ways()
    ].

%% Of a call that is sent once more because its worker died.
a_second_try_has_no_more_time_test_() ->
    test(fun() ->
        with_meeting(#{tools => ?TOOLS, size => 1}, fun(Pool, Listener, Port) ->
            Call = pitcrew:async(Pool, meet_and_left, [Port], #{timeout => 20_000, retry => 1}),
            {First, OsPid} = meet(Listener),
            Waited = pass(300),
            pitcrew_test:kill(OsPid),
            {Second, Other} = meet(Listener),
            ?assertNotEqual(OsPid, Other),
            answer(Second, "x"),
            {ok, Left} = pitcrew:await(Call),
            ?assert(Left > 0.0),
            ?assert(Left =< 20.0 - Waited / 1000 + ?ROUNDED),
            ok = gen_tcp:close(First)
        end)
    end).

%% Lets so many milliseconds pass; how many it were.
pass(Milliseconds) ->
    Since = erlang:monotonic_time(millisecond),
    receive after Milliseconds -> erlang:monotonic_time(millisecond) - Since end.
