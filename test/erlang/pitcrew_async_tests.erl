%% Calls that are awaited later, or cancelled: by whom and when ever, they end once, and reach nobody else.
-module(pitcrew_async_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_meeting/2, whole/1, os_pids/1, until/1, meet/1, answer/2]).

test(Fun) -> {timeout, 60, Fun}.

%% The tools write to a file; a worker has all the time it wants to end.
with_tools(Options, Fun) ->
    Dir = pitcrew_test:base(),
    ok = file:make_dir(Dir),
    File = list_to_binary(filename:join(Dir, "file")),
    Defaults = #{size => 1, tools => ["py_tools", "interrupt_tools"], grace => 50_000},
    try
        with_meeting(maps:merge(Defaults, Options), fun(Pool, Listener, Port) -> Fun(Pool, Listener, [Port, File]) end)
    after
        file:del_dir_r(Dir)
    end.

words([_, File]) ->
    case file:read_file(File) of
        {ok, Text} -> string:lexemes(binary_to_list(Text), "\n");
        {error, enoent} -> []
    end.

%% A process that starts calls and goes when it is told to.
starter(Start) ->
    Self = self(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        Self ! {started, self(), Start()},
        receive go -> ok end
    end),
    receive
        {started, Pid, Calls} ->
            Go = fun() ->
                Pid ! go,
                normal = reason(Monitor)
            end,
            {Calls, Go}
    end.

runner(Call) -> element(2, Call).

gone(Pid) ->
    Monitor = monitor(process, Pid),
    receive {'DOWN', Monitor, process, Pid, _} -> ok after 10_000 -> error({still_there, Pid}) end.

results_are_those_of_a_call_test_() ->
    test(fun() ->
        with_meeting(#{}, fun(Pool, _, _) ->
            Calls = [pitcrew:async(Pool, add, [N, 1]) || N <- lists:seq(1, 20)],
            ?assertEqual([{ok, N + 1} || N <- lists:seq(1, 20)], [pitcrew:await(Call) || Call <- Calls]),
            ?assertMatch({error, #{kind := bad_arguments, tool := <<"add">>}}, pitcrew:await(pitcrew:async(Pool, add))),
            ?assertEqual({ok, 3}, pitcrew:await(pitcrew:async(Pool, add, [1, 2], #{protocol => json}), 10_000)),
            Same = fun(Options) ->
                Async = pitcrew:async(Pool, add, [1, 2], Options),
                ?assertEqual(pitcrew:call(Pool, add, [1, 2], Options), pitcrew:await(Async))
            end,
            [
                Same(Options)
             || Options <- [
                    [],
                    [{on_caller_exit, finish}],
                    #{on_caller_exit => finish},
                    [{timeout, x}],
                    #{oops => 1},
                    oops,
                    [a | b]
                ]
            ],
            ?assertMatch({error, #{kind := no_pool}}, pitcrew:await(pitcrew:async(no_such_pool, add, [1, 2])))
        end)
    end).

a_result_is_taken_once_test_() ->
    test(fun() ->
        with_meeting(#{}, fun(Pool, _, _) ->
            Call = pitcrew:async(Pool, add, [1, 2]),
            ?assertEqual({ok, 3}, pitcrew:await(Call)),
            ok = gone(runner(Call)),
            ?assertMatch({error, #{kind := cancelled, tool := <<"add">>, pool := Pool}}, pitcrew:await(Call)),
            ?assertEqual(ok, pitcrew:cancel(Call)),
            ?assertMatch({error, #{kind := cancelled}}, pitcrew:await(Call, 0))
        end)
    end).

an_await_has_its_own_time_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, Args) ->
            Call = pitcrew:async(Pool, work, Args),
            {Socket, _} = meet(Listener),
            ?assertMatch({error, #{kind := timeout, tool := <<"work">>}}, pitcrew:await(Call, 0)),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:await(Call, 20)),
            answer(Socket, "x"),
            %% Those who gave up have asked before.
            ?assertEqual({ok, <<"x">>}, pitcrew:await(Call))
        end)
    end).

anybody_may_await_test_() ->
    test(fun() ->
        with_meeting(#{}, fun(Pool, _, _) ->
            Call = pitcrew:async(Pool, add, [1, 2]),
            {_, Monitor} = spawn_monitor(fun() -> exit(pitcrew:await(Call)) end),
            receive {'DOWN', Monitor, process, _, Answer} -> ?assertEqual({ok, 3}, Answer) end
        end)
    end).

cancelling_interrupts_the_tool_test_() ->
    [
        {atom_to_list(OnExit),
            test(fun() ->
                with_tools(#{on_caller_exit => OnExit}, fun(Pool, Listener, Args) ->
                    [OsPid] = os_pids(Pool),
                    Call = pitcrew:async(Pool, work, Args),
                    {Socket, OsPid} = meet(Listener),
                    ?assertEqual(ok, pitcrew:cancel(Call)),
                    ?assertEqual(ok, pitcrew:cancel(Call)),
                    ?assertMatch({error, #{kind := cancelled, tool := <<"work">>, pool := Pool}}, pitcrew:await(Call)),
                    ?assertMatch({error, #{kind := cancelled}}, pitcrew:await(Call, 0)),
                    ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
                    ?assertEqual(["finally"], words(Args)),
                    ?assertNotEqual([OsPid], os_pids(Pool)),
                    gen_tcp:close(Socket),
                    ?assertEqual(ok, whole(Pool))
                end)
            end)}
     || OnExit <- [cancel, finish]
    ].

whoever_awaits_is_told_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, Args) ->
            Call = pitcrew:async(Pool, work, Args),
            {Socket, _} = meet(Listener),
            Self = self(),
            Waiting = spawn_monitor(fun() -> Self ! waiting, exit(pitcrew:await(Call)) end),
            receive waiting -> ok end,
            ok = pitcrew:cancel(Call),
            {_, Monitor} = Waiting,
            receive {'DOWN', Monitor, process, _, Answer} -> ?assertMatch({error, #{kind := cancelled}}, Answer) end,
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

queued(N, Pool) -> until(fun() -> case pitcrew:info(Pool) of #{queued := N} -> ok; Info -> Info end end).

a_call_that_waits_for_a_worker_is_cancelled_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, Args) ->
            First = pitcrew:async(Pool, work, Args),
            {Socket, OsPid} = meet(Listener),
            Second = pitcrew:async(Pool, add, [1, 2]),
            ?assertEqual(ok, queued(1, Pool)),
            ok = pitcrew:cancel(Second),
            ?assertEqual(ok, queued(0, Pool)),
            ?assertMatch({error, #{kind := cancelled}}, pitcrew:await(Second)),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, pitcrew:await(First)),
            ?assertEqual([OsPid], os_pids(Pool))
        end)
    end).

a_call_that_has_ended_keeps_its_result_test_() ->
    test(fun() ->
        with_meeting(#{}, fun(Pool, _, _) ->
            Call = pitcrew:async(Pool, add, [1, 2]),
            %% Somebody else has seen it end, without taking the result.
            ok = until(fun() ->
                case process_info(runner(Call), current_function) of
                    {current_function, {pitcrew_async, keep, 2}} -> ok;
                    Other -> Other
                end
            end),
            ok = pitcrew:cancel(Call),
            ?assertEqual({ok, 3}, pitcrew:await(Call))
        end)
    end).

a_call_ends_with_whoever_started_it_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, Args) ->
            Start = fun() -> [pitcrew:async(Pool, work, Args), pitcrew:async(no_such_pool, add, [1])] end,
            {[Running, Ended], Go} = starter(Start),
            {Socket, OsPid} = meet(Listener),
            Go(),
            ?assertMatch({error, #{kind := cancelled}}, pitcrew:await(Running)),
            ok = gone(runner(Ended)),
            ?assertMatch({error, #{kind := cancelled}}, pitcrew:await(Ended)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual(["finally"], words(Args)),
            ?assertNotEqual([OsPid], os_pids(Pool)),
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

or_goes_on_if_it_is_to_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, Args) ->
            {Call, Go} = starter(fun() -> pitcrew:async(Pool, work, Args, #{on_caller_exit => finish}) end),
            {Socket, OsPid} = meet(Listener),
            Go(),
            answer(Socket, "x"),
            ok = gone(runner(Call)),
            ?assertEqual(ok, whole(Pool)),
            ?assertEqual(["done", "finally"], words(Args)),
            ?assertEqual([OsPid], os_pids(Pool))
        end)
    end).

nothing_is_left_in_a_mailbox_test_() ->
    test(fun() ->
        with_meeting(#{}, fun(Pool, _, _) ->
            {_, Monitor} = spawn_monitor(fun() ->
                process_flag(trap_exit, true),
                Calls = [pitcrew:async(Pool, add, [1, N]) || N <- lists:seq(1, 20)],
                {Cancelled, Others} = lists:split(5, Calls),
                [ok = pitcrew:cancel(Call) || Call <- Cancelled],
                [_ = pitcrew:await(Call, 0) || Call <- Calls],
                [_ = pitcrew:await(Call) || Call <- Others],
                [ok = gone(runner(Call)) || Call <- Calls],
                exit({left, pitcrew_test:mailbox()})
            end),
            receive {'DOWN', Monitor, process, _, Left} -> ?assertEqual({left, []}, Left) end,
            ?assertEqual(ok, whole(Pool))
        end)
    end).

%% ---- At any moment: from a millisecond before to a millisecond after the end of a call, and other callers of the same
%% workers.

-define(NAP_US, 1_000).
-define(SIZE, 4).
-define(CANCELLERS, 2).

rounds() ->
    case os:getenv("ASAN_OPTIONS") of
        false -> 10_000;
        %% Instrumented code takes several times as long.
        _ -> 500
    end.

reason(Ref) -> receive {'DOWN', Ref, process, _, Reason} -> Reason end.

cancelled_at_any_moment_it_reaches_nobody_else_test_() ->
    {timeout, 600, fun() ->
        Tools = ["py_tools", "interrupt_tools"],
        Options = #{size => ?SIZE, tools => Tools, checkout_timeout => 60_000, timeout => 60_000},
        with_meeting(Options, fun(Pool, _, _) ->
            Each = rounds() div ?CANCELLERS,
            {Other, OtherRef} = spawn_monitor(fun() -> exit(call_for_ever(Pool, 0)) end),
            Cancel = fun() -> exit(cancel_at_random(Pool, Each, ?NAP_US, {0, 0})) end,
            Cancellers = [spawn_monitor(Cancel) || _ <- lists:seq(1, ?CANCELLERS)],
            Counts = [{_, _} = reason(Ref) || {_, Ref} <- Cancellers],
            Other ! stop,
            {undisturbed, Calls} = reason(OtherRef),
            ?assert(Calls > 100),
            %% It would show nothing if the blows had all come too early, or too late.
            ?assert(lists:sum([Cancelled || {Cancelled, _} <- Counts]) > rounds() div 20),
            ?assert(lists:sum([Ended || {_, Ended} <- Counts]) > rounds() div 20),
            ?assertEqual(ok, whole(Pool))
        end)
    end}.

%% `End' is when calls end by the look of those before, in microseconds from their start: as many are cancelled as are
%% not.
cancel_at_random(_, 0, _, Counts) ->
    Counts;
cancel_at_random(Pool, Rounds, End, {Cancelled, Ended}) ->
    Seconds = ?NAP_US / 1_000_000,
    %% Then there is most likely a worker that is free, and the call begins at once.
    {ok, Rounds} = pitcrew:call(Pool, echo, [Rounds]),
    Call = pitcrew:async(Pool, nap, [Seconds]),
    spin(erlang:monotonic_time(microsecond) + End - 1_000 + rand:uniform(2_000)),
    ok = pitcrew:cancel(Call),
    case pitcrew:await(Call) of
        {error, #{kind := cancelled}} -> cancel_at_random(Pool, Rounds - 1, End + 10, {Cancelled + 1, Ended});
        {ok, Seconds} -> cancel_at_random(Pool, Rounds - 1, End - 10, {Cancelled, Ended + 1})
    end.

spin(Until) ->
    case erlang:monotonic_time(microsecond) < Until of
        true ->
            erlang:yield(),
            spin(Until);
        false ->
            ok
    end.

%% Short calls and such as are busy for a while: no error is theirs.
call_for_ever(Pool, N) ->
    {ok, N} = pitcrew:call(Pool, echo, [N]),
    {ok, 0.0005} = pitcrew:call(Pool, nap, [0.0005]),
    receive
        stop -> {undisturbed, N}
    after 0 -> call_for_ever(Pool, N + 1)
    end.
