%% What a pool does when calls take too long and when workers, callers and its own parts die.
-module(pitcrew_pool_fault_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_test, [with_meeting/2, whole/1, os_pids/1, quietly/1, until/1, meet/1, answer/2]).

test(Fun) -> {timeout, 60, Fun}.

%% A caller of its own; its answer, and how long it took, come with await/1.
call_async(Pool, Tool, Args, Options) ->
    Started = erlang:monotonic_time(millisecond),
    spawn_monitor(fun() ->
        Answer = pitcrew:call(Pool, Tool, Args, Options),
        [] = pitcrew_test:mailbox(),
        exit({answer, Answer, erlang:monotonic_time(millisecond) - Started})
    end).

await({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, {answer, Answer, _}} -> Answer;
        {'DOWN', Ref, process, _, Reason} -> {caller_died, Reason}
    after 30_000 -> error(no_answer)
    end.

a_timeout_kills_the_worker_and_replaces_it_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            Caller = call_async(Pool, meet, [Port], #{timeout => 200}),
            {Socket, OsPid} = meet(Listener),
            ?assertMatch({error, #{kind := timeout, tool := <<"meet">>, worker := OsPid, pool := Pool}}, await(Caller)),
            %% Nobody may go on computing for a caller who has gone.
            ?assertEqual([], pitcrew_processes:wait_gone([OsPid], 1000)),
            ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 10_000)),
            gen_tcp:close(Socket),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual(ok, whole(Pool)),
            ?assertNotEqual([OsPid], os_pids(Pool))
        end)
    end).

a_timeout_leaves_nothing_in_the_mailbox_test_() ->
    test(fun() ->
        with_meeting(#{size => 2}, fun(Pool, _, _) ->
            %% Deadlines that fall anywhere in a call, before it and after it.
            [
                case pitcrew:call(Pool, echo, [N], #{timeout => N rem 3}) of
                    {ok, N} -> ok;
                    {error, #{kind := timeout}} -> ok
                end
             || N <- lists:seq(1, 60)
            ],
            ?assertEqual([], pitcrew_test:mailbox()),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_killed_worker_is_reported_at_once_test_() ->
    test(fun() ->
        with_meeting(#{size => 2}, fun(Pool, Listener, Port) ->
            Caller = call_async(Pool, meet, [Port], #{}),
            Other = call_async(Pool, meet, [Port], #{}),
            {Socket, OsPid} = meet(Listener),
            {OtherSocket, _} = meet(Listener),
            Killed = erlang:monotonic_time(millisecond),
            pitcrew_test:kill(OsPid),
            {First, Second} = first(Caller, Other),
            ?assertMatch(
                {error, #{kind := worker_exit, reason := {signal, sigkill}, worker := OsPid, message := <<_, _/binary>>}}, First
            ),
            ?assert(erlang:monotonic_time(millisecond) - Killed < 1000),
            %% The other never notices.
            answer(OtherSocket, "y"),
            ?assertEqual({ok, <<"y">>}, await(Second)),
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

first({_, A} = CallerA, {_, B} = CallerB) ->
    receive
        {'DOWN', A, process, _, {answer, Answer, _}} -> {Answer, CallerB};
        {'DOWN', B, process, _, {answer, Answer, _}} -> {Answer, CallerA}
    end.

a_worker_that_leaves_says_its_status_test_() ->
    test(fun() ->
        with_meeting(#{size => 1, tools => ["os_exit"]}, fun(Pool, _, _) ->
            ?assertMatch({error, #{kind := worker_exit, reason := {status, 17}}}, pitcrew:call(Pool, leave, [17])),
            ?assertMatch({error, #{kind := worker_exit, reason := {status, 0}}}, pitcrew:call(Pool, leave, [0])),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1])),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_worker_that_crashes_says_its_signal_test_() ->
    test(fun() ->
        with_meeting(#{size => 1, tools => ["segfault"]}, fun(Pool, _, _) ->
            ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigsegv}}}, pitcrew:call(Pool, crash, [])),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1])),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_worker_that_closes_its_channel_and_stays_is_killed_test_() ->
    test(fun() ->
        with_meeting(#{size => 1, tools => ["close_channels"]}, fun(Pool, _, _) ->
            Error = pitcrew:call(Pool, close_channels, []),
            ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigkill}}}, Error),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1])),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

an_idle_worker_that_dies_is_replaced_test_() ->
    test(fun() ->
        with_meeting(#{size => 2}, fun(Pool, _, _) ->
            Before = [OsPid | _] = os_pids(Pool),
            pitcrew_test:kill(OsPid),
            ok = until(fun() -> case lists:member(OsPid, os_pids(Pool)) of true -> there; false -> ok end end),
            ?assertEqual(ok, whole(Pool)),
            ?assertEqual(1, length(Before -- os_pids(Pool))),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end).

only_idempotent_tools_are_tried_again_test_() ->
    test(fun() ->
        with_meeting(#{size => 2, retry => 1}, fun(Pool, Listener, Port) ->
            Caller = call_async(Pool, meet_again, [Port], #{}),
            {S1, OsPid1} = meet(Listener),
            pitcrew_test:kill(OsPid1),
            {S2, OsPid2} = meet(Listener),
            ?assertNotEqual(OsPid1, OsPid2),
            answer(S2, "2"),
            ?assertEqual({ok, <<"2">>}, await(Caller)),
            %% As often as is allowed.
            Again = call_async(Pool, meet_again, [Port], #{}),
            {S3, OsPid3} = meet(Listener),
            pitcrew_test:kill(OsPid3),
            {S4, OsPid4} = meet(Listener),
            pitcrew_test:kill(OsPid4),
            ?assertMatch({error, #{kind := worker_exit, worker := OsPid4}}, await(Again)),
            Plain = call_async(Pool, meet, [Port], #{retry => 5}),
            {S5, OsPid5} = meet(Listener),
            pitcrew_test:kill(OsPid5),
            ?assertMatch({error, #{kind := worker_exit, worker := OsPid5}}, await(Plain)),
            Never = call_async(Pool, meet_again, [Port], #{retry => 0}),
            {S6, OsPid6} = meet(Listener),
            pitcrew_test:kill(OsPid6),
            ?assertMatch({error, #{kind := worker_exit, worker := OsPid6}}, await(Never)),
            [gen_tcp:close(Socket) || Socket <- [S1, S3, S4, S5, S6]],
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_caller_that_dies_frees_the_slot_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            {Pid, Ref} = call_async(Pool, meet, [Port], #{}),
            {Socket, OsPid} = meet(Listener),
            exit(Pid, kill),
            ?assertEqual({caller_died, killed}, await({Pid, Ref})),
            ?assertEqual([], pitcrew_processes:wait_gone([OsPid], 1000)),
            gen_tcp:close(Socket),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

%% ---- Waiting for a worker

a_checkout_ends_at_its_deadline_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            Holder = call_async(Pool, meet, [Port], #{}),
            {Socket, OsPid} = meet(Listener),
            Started = erlang:monotonic_time(millisecond),
            ?assertMatch(
                {error, #{kind := checkout_timeout, worker := nil}}, pitcrew:call(Pool, add, [1, 2], #{checkout_timeout => 100})
            ),
            ?assert(erlang:monotonic_time(millisecond) - Started >= 100),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, add, [1, 2], #{timeout => 50})),
            ?assertMatch(#{queued := 0, free := 0}, pitcrew:info(Pool)),
            %% Waiting cost nobody a worker.
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(Holder)),
            ?assertEqual([OsPid], os_pids(Pool)),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

first_come_first_served_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            Holder = call_async(Pool, meet, [Port], #{}),
            {Socket, _} = meet(Listener),
            Self = self(),
            Waiting = fun(N) ->
                Caller = spawn_monitor(fun() ->
                    {ok, N} = pitcrew:call(Pool, echo, [N]),
                    Self ! {served, N},
                    exit({answer, N, 0})
                end),
                ok = until(fun() -> case pitcrew:info(Pool) of #{queued := N} -> ok; Info -> Info end end),
                Caller
            end,
            Callers = [Waiting(N) || N <- lists:seq(1, 10)],
            %% Some leave the queue: one dies, and nobody has to wait for it.
            {Third, ThirdRef} = lists:nth(3, Callers),
            exit(Third, kill),
            ?assertEqual({caller_died, killed}, await({Third, ThirdRef})),
            ok = until(fun() -> case pitcrew:info(Pool) of #{queued := 9} -> ok; Info -> Info end end),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(Holder)),
            Served = [receive {served, N} -> N after 10_000 -> nobody end || _ <- lists:seq(1, 9)],
            ?assertEqual([1, 2, 4, 5, 6, 7, 8, 9, 10], Served),
            [await(Caller) || {Pid, _} = Caller <- Callers, Pid =/= Third],
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_stopped_pool_answers_everybody_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            {ok, Sup} = pitcrew_pool:start_link(pitcrew_test:options(Base, #{size => 1})),
            Listener = pitcrew_test:listen(),
            Busy = call_async(Sup, meet, [pitcrew_test:port(Listener)], #{}),
            {Socket, _} = meet(Listener),
            Waiting = call_async(Sup, add, [1, 2], #{}),
            ok = pitcrew_test:queued(Sup, 1),
            ok = pitcrew_pool:stop(Sup),
            ?assertMatch({error, #{kind := pool_down}}, await(Busy)),
            ?assertMatch({error, #{kind := pool_down}}, await(Waiting)),
            gen_tcp:close(Socket),
            gen_tcp:close(Listener)
        end)
    end).

%% ---- Telemetry

tell(Event, Measurements, Metadata, Pid) -> Pid ! {event, Event, Measurements, Metadata}.

event(Event) ->
    receive
        {event, Event, Measurements, Metadata} -> {Measurements, Metadata}
    after 10_000 -> error({no_event, Event})
    end.

calls_and_workers_are_reported_test_() ->
    test(fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        Events = [[pitcrew_test | Event] || Event <- [[call, start], [call, stop], [call, exception], [worker, start], [worker, stop]]],
        ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
        try
            pitcrew_test:gated(fun(Base) ->
                #{name := Pool} = Options = pitcrew_test:options(Base, #{size => 1}),
                {ok, _} = pitcrew_pool:start_link(Options),
                {#{duration := Birth}, #{pool := Pool, worker := OsPid, id := 0}} = event([pitcrew_test, worker, start]),
                ?assert(Birth > 0),
                {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
                {#{system_time := _, monotonic_time := _}, #{pool := Pool, tool_id := <<"add">>, protocol := msgpack}} =
                    event([pitcrew_test, call, start]),
                {Stop, Metadata} = event([pitcrew_test, call, stop]),
                ?assertMatch(#{pool := Pool, tool_id := <<"add">>, protocol := msgpack, worker := OsPid}, Metadata),
                #{duration := Duration, queue := Queue, python := Python, bytes_in := In, bytes_out := Out} = Stop,
                ?assert(Duration >= Queue + Python),
                ?assert(Python > 0 andalso In > 0 andalso Out > 0),
                {error, Error} = quietly(fun() -> pitcrew:call(Pool, fail, [<<"x">>]) end),
                _ = event([pitcrew_test, call, start]),
                {_, #{error := Error, tool_id := <<"fail">>, worker := OsPid}} = event([pitcrew_test, call, exception]),
                {error, #{kind := unknown_tool}} = pitcrew:call(Pool, nothing, []),
                _ = event([pitcrew_test, call, start]),
                {#{duration := _}, #{error := #{kind := unknown_tool}}} = event([pitcrew_test, call, exception]),
                pitcrew_test:kill(OsPid),
                {#{lifetime := Lifetime, calls := 3}, #{pool := Pool, worker := OsPid, reason := {signal, sigkill}}} =
                    event([pitcrew_test, worker, stop]),
                ?assert(Lifetime > 0),
                _ = event([pitcrew_test, worker, start]),
                ok = pitcrew_pool:stop(Pool),
                {#{calls := 0}, #{reason := normal}} = event([pitcrew_test, worker, stop])
            end)
        after
            pitcrew_telemetry:detach(?MODULE)
        end
    end).

%% Of a worker's events: calls come to one that is ready, and one that has died or is worn has a successor, whatever a handler does meanwhile.
a_slow_handler_holds_up_nobody_test_() ->
    test(fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        Self = self(),
        Events = [[pitcrew_test, worker, What] || What <- [start, recycle, stop]],
        Handler = fun([_, _, What], _, #{worker := OsPid}, _) -> Self ! {What, OsPid, self()}, receive go -> ok end end,
        ok = pitcrew_telemetry:attach_many(?MODULE, Events, Handler, none),
        try
            pitcrew_test:with_pool(#{size => 1, max_calls => 2}, fun(Pool) ->
                {ok, First} = pitcrew:call(Pool, pid),
                slow_handler(start, First) ! go,
                pitcrew_test:kill(First),
                Stopping = slow_handler(stop, First),
                {ok, Second} = pitcrew:call(Pool, pid),
                Stopping ! go,
                slow_handler(start, Second) ! go,
                {ok, Second} = pitcrew:call(Pool, pid),
                Recycling = slow_handler(recycle, Second),
                ?assertEqual(ok, until(fun() -> case pitcrew:call(Pool, pid) of {ok, Second} -> Second; {ok, _} -> ok end end)),
                ok = pitcrew_telemetry:detach(?MODULE),
                Recycling ! go,
                receive {start, _, Third} -> Third ! go end
            end)
        after
            pitcrew_telemetry:detach(?MODULE)
        end
    end).

slow_handler(What, OsPid) ->
    receive
        {What, OsPid, Pid} -> Pid
    after 10_000 -> error({no_event, What})
    end.

a_handler_that_raises_costs_no_slot_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, _, _) ->
            quietly(fun() ->
                [
                    begin
                        ok = pitcrew_telemetry:attach(Class, [pitcrew_test, call, Event], fun(_, _, _, _) -> erlang:Class(oops) end, none),
                        ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
                    end
                 || Event <- [start, stop], Class <- [throw, error, exit]
                ]
            end),
            ?assertEqual(ok, whole(Pool))
        end)
    end).
