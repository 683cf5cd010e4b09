%% Workers that run many calls at once, end to end: real Python, a leak gate around every test.
-module(pitcrew_concurrency_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").
-import(pitcrew_pipeline_harness, [call/4, await/1, holds/2, started/1, ended/1, os_pids/1]).
-import(pitcrew_test, [meet/1, answer/2, until/1, is/2]).

-define(MB, 1024 * 1024).
-define(TOOLS, ["pipeline_tools", "concurrency_tools", "crowd_tools"]).

test(Fun) -> {timeout, 60, Fun}.

with_tools(Options, Fun) ->
    Defaults = #{tools => ?TOOLS, pipeline => 1, concurrency => 60},
    pitcrew_pipeline_harness:with_tools(maps:merge(Defaults, Options), Fun).

%% A call that is in its tool: its caller, and the socket that its tool waits at.
running(Pool, Tool, N, Options, #{listener := Listener, port := Port}) ->
    Caller = call(Pool, Tool, [N, Port], Options),
    {Socket, _} = meet(Listener),
    {Caller, Socket}.

%% ---- At once

values_and_errors_test_() ->
    [
        test(fun() ->
            with_tools(#{size => 2, concurrency => Concurrency}, fun(Pool, _) ->
                Values = [nil, 1 bsl 100, 0.5, <<"text">>, [1, [2]], {3, #{<<"a">> => [b]}}, make_ref(), binary:copy(<<"x">>, 100_000)],
                [?assertEqual({ok, V}, pitcrew:call(Pool, Echo, [V])) || V <- Values, Echo <- [echo, echo_later, wrapped]],
                [
                    ?assertMatch({error, #{kind := tool_error, message := <<"no">>}}, pitcrew:call(Pool, Fail, [<<"no">>]))
                 || Fail <- [fail, fail_later]
                ],
                ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:call(Pool, echo_later, [1, 2])),
                ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:call(Pool, ecko, [1])),
                ?assertEqual({ok, [1, 2]}, pitcrew:call(Pool, echo_later, [[1, 2]], #{protocol => json}))
            end)
        end)
     || Concurrency <- [1, 2, 60]
    ].

%% One after the other they would take six seconds.
sixty_coroutines_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, _) ->
            {ok, _} = pitcrew:call(Pool, sleep, [0]),
            Begin = erlang:monotonic_time(millisecond),
            Callers = [call(Pool, sleep, [0.1], #{}) || _ <- lists:seq(1, 60)],
            ?assertEqual([{ok, 0.1} || _ <- Callers], [await(C) || C <- Callers]),
            ?assert(erlang:monotonic_time(millisecond) - Begin < 3_000)
        end)
    end).

%% Each waits until all of them are there.
threads_overlap_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 16}, fun(Pool, _) ->
            Callers = [call(Pool, meet, [16], #{}) || _ <- lists:seq(1, 16)],
            ?assertEqual([{ok, 16} || _ <- Callers], [await(C) || C <- Callers])
        end)
    end).

info_tells_what_runs_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 4, pipeline => 8}, fun(Pool, Tools) ->
            ?assertMatch(#{concurrency := 4, workers := [#{state := idle, running := 0}]}, pitcrew:info(Pool)),
            Four = [running(Pool, Tool, N, #{}, Tools) || {N, Tool} <- [{1, wait}, {2, wait_async}, {3, wait}, {4, wait_async}]],
            More = [call(Pool, note, [N], #{}) || N <- [5, 6]],
            holds(Pool, #{out => 6, queued => 0}),
            ?assertMatch(#{workers := [#{state := busy, running := 4, calls := 6}]}, pitcrew:info(Pool)),
            [answer(Socket, "x") || {_, Socket} <- Four],
            ?assertEqual([{ok, <<"x">>} || _ <- Four], [await(C) || {C, _} <- Four]),
            ?assertEqual([{ok, 5}, {ok, 6}], [await(C) || C <- More])
        end)
    end).

%% Answers overtake, and each reaches its own caller.
many_callers_test_() ->
    test(fun() ->
        with_tools(#{size => 2, concurrency => 8, pipeline => 16}, fun(Pool, _) ->
            Callers = [
                spawn_monitor(fun() ->
                    Tool = lists:nth(1 + N rem 2, [echo, echo_later]),
                    exit({answer, [pitcrew:call(Pool, Tool, [{N, M}]) || M <- lists:seq(1, 50)], pitcrew_test:mailbox()})
                end)
             || N <- lists:seq(1, 64)
            ],
            ?assertEqual([[{ok, {N, M}} || M <- lists:seq(1, 50)] || N <- lists:seq(1, 64)], [await(C) || C <- Callers])
        end)
    end).

large_frames_both_ways_test_() ->
    pitcrew_test:shared_or_not(120, #{concurrency => 8, timeout => 60_000}, fun(Options) ->
        with_tools(Options, fun(Pool, _) ->
            Bytes = binary:copy(<<"0123456789abcdef">>, ?MB),
            Large = [
                spawn_monitor(fun() ->
                    {ok, [N, Back]} = pitcrew:call(Pool, lists:nth(1 + N rem 2, [echo, echo_later]), [[N, Bytes]]),
                    exit({answer, Back =:= Bytes, pitcrew_test:mailbox()})
                end)
             || N <- lists:seq(1, 8)
            ],
            Small = [call(Pool, echo, [N], #{}) || N <- lists:seq(1, 50)],
            ?assertEqual([{ok, N} || N <- lists:seq(1, 50)], [await(C) || C <- Small]),
            ?assertEqual([true || _ <- Large], [await(C) || C <- Large])
        end)
    end).

%% Each call has its own, also on a thread that many share.
deadlines_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, _) ->
            Timeouts = [20_000, 200_000, infinity],
            Threads = [{T, call(Pool, time_left, [3], #{timeout => T})} || T <- Timeouts],
            Tasks = [{T, call(Pool, time_left_later, [], #{timeout => T})} || T <- Timeouts],
            [?assert(left(T, Left)) || {T, C} <- Threads, {ok, Left} <- [await(C)]],
            [?assert(left(T, Own) andalso left(T, Child)) || {T, C} <- Tasks, {ok, [Own, Child]} <- [await(C)]],
            ?assertMatch({ok, [L, L2]} when L =/= nil andalso L2 =/= nil, pitcrew:call(Pool, time_left_later, []))
        end)
    end).

left(infinity, Left) -> Left =:= nil;
left(Timeout, Left) -> Left > 0 andalso Left =< Timeout / 1000 andalso Left > Timeout / 1000 - 15.

%% Functions that are no tools are imported and called like tools, also those that are coroutines.
imported_functions_test_() ->
    test(fun() ->
        with_tools(#{allow_import => ["asyncio", "math"], allow_eval => true}, fun(Pool, _) ->
            [?assertEqual({ok, 3.0}, pitcrew:call(Pool, <<"math:sqrt">>, [9])) || _ <- [1, 2]],
            [?assertEqual({ok, <<"x">>}, pitcrew:call(Pool, <<"asyncio:sleep">>, [0.001, <<"x">>])) || _ <- [1, 2]],
            ?assertMatch({ok, 7}, pitcrew:eval(Pool, <<"a + 4">>, #{a => 3}))
        end)
    end).

%% What a session keeps is found by its threads, its coroutines and their tasks, and by nobody else's.
sessions_test_() ->
    [
        test(fun() ->
            with_tools(#{size => 2, concurrency => Concurrency}, fun(Pool, _) ->
                Sessions = [spawn_monitor(fun() -> exit({answer, remember(Pool, N), pitcrew_test:mailbox()}) end) || N <- lists:seq(1, 8)],
                ?assertEqual([{ok, lists:seq(N, N + 9)} || N <- lists:seq(1, 8)], [await(S) || S <- Sessions]),
                ?assertMatch({error, #{kind := tool_error, type := <<"RuntimeError">>}}, pitcrew:call(Pool, remember_later, [1]))
            end)
        end)
     || Concurrency <- [1, 60]
    ].

remember(Pool, N) ->
    pitcrew:session(Pool, fun(S) ->
        lists:last([begin
            {ok, Seen} = pitcrew:call(S, lists:nth(1 + M rem 2, [remember, remember_later]), [M]),
            Seen
        end || M <- lists:seq(N, N + 9)])
    end).

%% A session does not wait for a worker that is stuck.
session_of_a_stuck_worker_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 2, grace => 50}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            {ok, S} = pitcrew:start_session(Pool, nil, #{on_worker_exit => restart}),
            ?assertEqual({ok, [1]}, pitcrew:call(S, remember, [1])),
            Late = call(S, wait, [1, Port], #{timeout => 300}),
            {LateSocket, _} = meet(Listener),
            {Other, Socket} = running(Pool, wait_async, 2, #{}, Tools),
            ?assertMatch({error, #{kind := timeout}}, await(Late)),
            ?assertEqual(ok, until(fun() -> is({ok, [2]}, pitcrew:call(S, remember_once, [2])) end)),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(Other)),
            ok = pitcrew:stop_session(S),
            gen_tcp:close(LateSocket)
        end)
    end).

%% ---- Death

%% What had started is lost, the rest starts elsewhere, in its order, and once.
killed_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 2, pipeline => 8}, fun(Pool, Tools) ->
            {Thread, S1} = running(Pool, wait, 1, #{}, Tools),
            {Async, S2} = running(Pool, wait_async, 2, #{}, Tools),
            Waiting = [
                begin
                    Caller = call(Pool, note, [N], #{}),
                    holds(Pool, #{out => N, queued => 0}),
                    Caller
                end
             || N <- lists:seq(3, 8)
            ],
            [OsPid] = os_pids(Pool),
            pitcrew_test:kill(OsPid),
            [?assertMatch({error, #{kind := worker_exit, reason := {signal, sigkill}}}, await(C)) || C <- [Thread, Async]],
            ?assertEqual([{ok, N} || N <- lists:seq(3, 8)], [await(C) || C <- Waiting]),
            ?assertEqual(lists:seq(1, 8), lists:sort(started(Tools))),
            [gen_tcp:close(S) || S <- [S1, S2]]
        end)
    end).

%% ---- Deadlines

%% Its `finally' runs, and nobody else notices.
at_the_deadline_test_() ->
    [
        test(fun() ->
            with_tools(#{}, fun(Pool, Tools) ->
                Before = os_pids(Pool),
                {Other, Socket} = running(Pool, wait, 1, #{}, Tools),
                {Late, LateSocket} = running(Pool, Tool, 2, #{timeout => 300}, Tools),
                ?assertMatch({error, #{kind := timeout}}, await(Late)),
                ?assertEqual(ok, until(fun() -> is([2], ended(Tools)) end)),
                answer(Socket, "x"),
                ?assertEqual({ok, <<"x">>}, await(Other)),
                ?assertEqual(Before, os_pids(Pool)),
                gen_tcp:close(LateSocket)
            end)
        end)
     || Tool <- [wait_async, slices]
    ].

%% One call at a time: the worker is replaced, as for every other tool.
a_coroutine_alone_at_its_deadline_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 1}, fun(Pool, Tools) ->
            {Late, Socket} = running(Pool, wait_async, 1, #{timeout => 300}, Tools),
            ?assertMatch({error, #{kind := timeout}}, await(Late)),
            ?assertEqual(ok, until(fun() -> is([1], ended(Tools)) end)),
            gen_tcp:close(Socket)
        end)
    end).

cancelled_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            Before = os_pids(Pool),
            Calls = [
                begin
                    Call = pitcrew:async(Pool, Tool, [N, Port]),
                    {Socket, _} = meet(Listener),
                    {Call, Socket}
                end
             || {N, Tool} <- [{1, wait_async}, {2, slices}]
            ],
            [ok = pitcrew:cancel(Call) || {Call, _} <- Calls],
            [?assertMatch({error, #{kind := cancelled}}, pitcrew:await(Call)) || {Call, _} <- Calls],
            ?assertEqual(ok, until(fun() -> is([1, 2], lists:sort(ended(Tools))) end)),
            ?assertEqual(Before, os_pids(Pool)),
            [gen_tcp:close(Socket) || {_, Socket} <- Calls]
        end)
    end).

%% A thread in C without the GIL, and tools that do not let themselves be interrupted: another worker takes what waited behind them, at once. The
%% call beside them ends as it likes, and then the worker goes.
stuck_test_() ->
    [
        test(fun() ->
            with_tools(#{concurrency => 2, pipeline => 4, grace => 50}, fun(Pool, Tools) ->
                [OsPid] = os_pids(Pool),
                {Late, LateSocket} = running(Pool, Tool, 1, #{timeout => 300}, Tools),
                {Other, Socket} = running(Pool, wait_async, 2, #{}, Tools),
                Behind = [call(Pool, note, [N], #{}) || N <- [3, 4]],
                ?assertMatch({error, #{kind := timeout}}, await(Late)),
                ?assertEqual([{ok, 3}, {ok, 4}], [await(C) || C <- Behind]),
                ?assertEqual({ok, 5}, pitcrew:call(Pool, note, [5])),
                ?assertEqual(lists:seq(1, 5), lists:sort(started(Tools))),
                ?assert(pitcrew_processes:alive(OsPid)),
                answer(Socket, "x"),
                ?assertEqual({ok, <<"x">>}, await(Other)),
                ?assertEqual(ok, until(fun() -> is(false, pitcrew_processes:alive(OsPid)) end)),
                ?assertEqual({ok, 6}, pitcrew:call(Pool, note, [6])),
                gen_tcp:close(LateSocket)
            end)
        end)
     || Tool <- [wait, swallow, swallow_async]
    ].

%% It ends after all, when its worker has been replaced already: that worker ends in order, when the others have ended.
stuck_for_a_while_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 2, grace => 50}, fun(Pool, Tools) ->
            [OsPid] = os_pids(Pool),
            {Late, LateSocket} = running(Pool, wait, 1, #{timeout => 300}, Tools),
            {Other, Socket} = running(Pool, wait_async, 2, #{}, Tools),
            ?assertMatch({error, #{kind := timeout}}, await(Late)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, note, [3])),
            answer(LateSocket, "x"),
            ?assertEqual(ok, until(fun() -> is([1], ended(Tools)) end)),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(Other)),
            ?assertEqual(ok, until(fun() -> is(false, pitcrew_processes:alive(OsPid)) end))
        end)
    end).

%% Nothing can go on in a worker whose GIL is held: the others are told why they ended, and may be tried again.
held_gil_test_() ->
    test(fun() ->
        with_tools(#{grace => 150}, fun(Pool, #{listener := Listener} = Tools) ->
            {Other, S1} = running(Pool, wait, 1, #{}, Tools),
            {Async, S2} = running(Pool, wait_async, 2, #{}, Tools),
            {Again, S3} = running(Pool, wait_again, 3, #{retry => 1}, Tools),
            {Late, S4} = running(Pool, hold_gil, 4, #{timeout => 300}, Tools),
            ?assertMatch({error, #{kind := timeout}}, await(Late)),
            [?assertMatch({error, #{kind := worker_exit, reason := sibling_stuck}}, await(C)) || C <- [Other, Async]],
            {S5, _} = meet(Listener),
            answer(S5, "x"),
            ?assertEqual({ok, <<"x">>}, await(Again)),
            [gen_tcp:close(S) || S <- [S1, S2, S3, S4]]
        end)
    end).

%% One that holds the GIL for a moment only, and one that is alone in its worker.
short_and_alone_test_() ->
    test(fun() ->
        with_tools(#{grace => 1000}, fun(Pool, Tools) ->
            Before = os_pids(Pool),
            {Other, Socket} = running(Pool, wait, 1, #{}, Tools),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, hold_gil_for, [0.5], #{timeout => 100})),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(Other)),
            ?assertEqual(Before, os_pids(Pool)),
            {Late, LateSocket} = running(Pool, hold_gil, 2, #{timeout => 300}, Tools),
            ?assertMatch({error, #{kind := timeout}}, await(Late)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, note, [3])),
            ?assertNotEqual(Before, os_pids(Pool)),
            gen_tcp:close(LateSocket)
        end)
    end).

%% ---- Beside sessions that are to have a worker alone

%% A worker is kept clear for one that waits. If it does not wait any more, others go there at once, not when something else ends.
what_waits_behind_an_exclusive_session_goes_on_when_that_gives_up_test_() ->
    test(fun() ->
        with_tools(#{concurrency => 8}, fun(Pool, Tools) ->
            {Long, Socket} = running(Pool, wait, 1, #{}, Tools),
            {Starter, Ref} = spawn_monitor(fun() -> exit(pitcrew:start_session(Pool, nil, #{exclusive => true, checkout_timeout => 500})) end),
            holds(Pool, #{out => 1, queued => 1}),
            Behind = call(Pool, note, [2], #{checkout_timeout => 20_000}),
            receive {'DOWN', Ref, process, Starter, Given} -> ?assertMatch({error, #{kind := checkout_timeout}}, Given) end,
            ?assertEqual({ok, 2}, await(Behind)),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(Long))
        end)
    end).

%% It has the worker whose call ends first, and the other one takes calls again.
what_waits_behind_an_exclusive_session_goes_elsewhere_when_that_begins_test_() ->
    test(fun() ->
        with_tools(#{size => 2, concurrency => 8}, fun(Pool, Tools) ->
            {First, S1} = running(Pool, wait, 1, #{}, Tools),
            {Second, S2} = running(Pool, wait, 2, #{}, Tools),
            Me = self(),
            Starter = spawn_link(fun() ->
                {ok, Session} = pitcrew:start_session(Pool, nil, #{exclusive => true}),
                Me ! began,
                receive stop -> ok = pitcrew:stop_session(Session) end,
                Me ! stopped
            end),
            holds(Pool, #{out => 2, queued => 1}),
            Behind = call(Pool, note, [3], #{checkout_timeout => 20_000}),
            holds(Pool, #{out => 2, queued => 2}),
            answer(S1, "x"),
            receive began -> ok end,
            ?assertEqual({ok, 3}, await(Behind)),
            Starter ! stop,
            receive stopped -> ok end,
            answer(S2, "x"),
            ?assertEqual([{ok, <<"x">>}, {ok, <<"x">>}], [await(C) || C <- [First, Second]])
        end)
    end).

%% Its worker is nobody's then: whoever is killed ends nothing.
a_session_waits_no_more_for_one_whose_process_is_killed_test_() ->
    [
        test(fun() ->
            with_tools(Options, fun(Pool, _) ->
                {ok, #pool{dispatch = Dispatch} = Entry} = pitcrew_pools:find(Pool),
                [{_, Channel}] = pitcrew_pool_server:ask(Entry, workers),
                Me = self(),
                Holder = spawn(fun() ->
                    Tenant = pitcrew_nif:tenant_new(Dispatch, erlang:unique_integer([positive]), false),
                    Me ! {shares, pitcrew_nif:tenant_share(Tenant, Channel)},
                    receive after infinity -> Tenant end
                end),
                receive {shares, true} -> ok end,
                Start = fun() -> pitcrew:session(Pool, fun(S) -> pitcrew:call(S, note, [1]) end, #{exclusive => true}) end,
                {Starter, Ref} = spawn_monitor(fun() -> exit({answer, Start(), pitcrew_test:mailbox()}) end),
                holds(Pool, #{out => 0, queued => 1}),
                exit(Holder, kill),
                ?assertEqual({ok, {ok, 1}}, await({Starter, Ref}))
            end)
        end)
     || Options <- [#{}, #{concurrency => 1, pipeline => 4}, #{concurrency => 1}]
    ].
