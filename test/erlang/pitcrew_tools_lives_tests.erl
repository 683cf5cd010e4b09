%% What ends tools of the VM that run, and what they end; and calls that they make themselves.
-module(pitcrew_tools_lives_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, with_pool_to_stop/2, is/2, is_gone/1]).
-import(pitcrew_tools_tests, [test/1, on_each_pool/2, waiting/0, inside/0, refused/1, text/1]).

-define(TOOLS, ["vm_tools"]).

%% ---- Lifetimes

a_thread_that_waits_when_the_call_ends_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, slow, waiting()),
        {ok, nil} = pitcrew:call(Pool, left_behind, [slow]),
        ?assertMatch({ok, [[<<"error">>, <<"gone">> | _]]}, pitcrew:call(Pool, take_kept)),
        receive {inside, Pid} -> is_gone(Pid) after 0 -> ok end,
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, ask, [same, 1]))
    end).

the_deadline_of_the_call_ends_its_tools_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, slow, waiting()),
        [
            begin
                ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, Tool, [slow], #{timeout => 100})),
                is_gone(inside()),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end
         || Tool <- [ask, async_ask, catches_cancel]
        ],
        ?assertEqual([], [M || M <- pitcrew_test:mailbox(), element(1, M) =/= inside])
    end).

a_caller_that_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, slow, waiting()),
        [
            begin
                Caller = spawn(fun() -> pitcrew:call(Pool, caught, [slow], #{timeout => infinity, on_caller_exit => OnExit}) end),
                Pid = inside(),
                exit(Caller, kill),
                is_gone(Pid),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end
         || OnExit <- [cancel, finish]
        ]
    end).

%% The call goes on without its caller, and then the tool wants something of the VM.
a_caller_that_died_before_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        ok = pitcrew:register_tool(Pool, never, fun() -> Self ! ran end),
        Caller = spawn(fun() -> pitcrew:call(Pool, after_a_while, [never, self_text(Self)], #{on_caller_exit => finish}) end),
        Ref = monitor(process, Caller),
        receive after 50 -> exit(Caller, kill) end,
        receive {'DOWN', Ref, process, _, _} -> ok end,
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1])),
        ?assertEqual(ok, pitcrew_test:until(fun() -> is({ok, <<"gone">>}, pitcrew:call(Pool, take_said)) end)),
        receive ran -> error(ran) after 0 -> ok end
    end).

self_text(Pid) -> list_to_binary(pid_to_list(Pid)).

a_worker_that_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        ok = pitcrew:register_tool(Pool, kill, fun() ->
            Self ! {inside, self()},
            [Worker] = [W || #{os_pid := W} <- maps:get(workers, pitcrew:info(Pool))],
            _ = os:cmd("kill -9 " ++ integer_to_list(Worker)),
            receive never -> ok end
        end),
        ok = pitcrew:register_tool(Pool, one, fun() -> 1 end),
        ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(Pool, ask, [kill])),
        is_gone(inside()),
        ?assertMatch({error, #{kind := worker_exit, reason := {status, 3}}}, pitcrew:call(Pool, exits, [one])),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, ask, [one])),
        ?assertEqual([], pitcrew_test:mailbox())
    end).

a_pool_that_stops_test_() ->
    [
        test(fun() ->
            pitcrew_test:with_pool_to_stop(Way#{tools => ?TOOLS, size => 1}, fun(Pool) ->
                ok = pitcrew:register_tool(Pool, wait, waiting()),
                Call = pitcrew:async(Pool, ask, [wait], #{timeout => infinity}),
                Pid = inside(),
                _ = pitcrew:stop_pool(Pool, #{timeout => Patience}),
                case Patience of
                    0 -> ?assertMatch({error, #{kind := _}}, pitcrew:await(Call));
                    _ -> ok
                end,
                is_gone(Pid),
                ?assertMatch({error, #{kind := no_pool}}, pitcrew:register_tool(Pool, late, fun() -> 1 end))
            end)
        end)
     || Way <- pitcrew_test:ways(), Patience <- [0, 100]
    ].

%% A worker that is to leave when the call has ended, which has become its lane's meanwhile.
a_pool_that_lets_the_call_end_test_() ->
    [
        test(fun() ->
            pitcrew_test:with_pool_to_stop(Way#{tools => ?TOOLS, size => 1}, fun(Pool) ->
                Self = self(),
                ok = pitcrew:register_tool(Pool, wait, fun(_) -> Self ! {inside, self()}, receive go -> done end end),
                Call = pitcrew:async(Pool, many, [wait, 2], #{timeout => infinity}),
                Pid = inside(),
                spawn(fun() -> Self ! {stopped, pitcrew:stop_pool(Pool, #{timeout => 20_000})} end),
                ?assertEqual(ok, pitcrew_test:until(fun() -> refused(pitcrew:call(Pool, echo, [1], #{timeout => 50})) end)),
                Pid ! go,
                inside() ! go,
                ?assertEqual({ok, [done, done]}, pitcrew:await(Call)),
                receive {stopped, ok} -> ok end
            end)
        end)
     || Way <- pitcrew_test:ways()
    ].

workers_that_are_replaced_test_() ->
    on_each_pool(#{size => 1, max_calls => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        [?assertEqual({ok, N}, pitcrew:call(Pool, ask, [same, N])) || N <- lists:seq(1, 6)]
    end).

%% The channel becomes its lane's when the worker is to leave already.
a_reload_in_the_middle_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        Call = pitcrew:async(Pool, after_a_while, [same, 7]),
        spawn(fun() -> Self ! {reloaded, pitcrew:reload(Pool)} end),
        receive {reloaded, ok} -> ok end,
        ?assertEqual({ok, 7}, pitcrew:await(Call)),
        ?assertEqual({ok, 8}, pitcrew:call(Pool, ask, [same, 8]))
    end).

%% ---- Calls that tools make

a_tool_that_calls_the_pool_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, again, fun(X) -> element(2, {ok, _} = pitcrew:call(Pool, echo, [X])) end),
        [?assertEqual({ok, N}, pitcrew:call(Pool, ask, [again, N])) || N <- [1, 2, 3]]
    end).

more_levels_than_workers_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, timeout => infinity, checkout_timeout => infinity}, fun(Pool) ->
            ok = pitcrew:register_tool(Pool, level, fun
                (0) -> 0;
                (N) -> {ok, M} = pitcrew:call(Pool, ask, [level, N - 1]), M + 1
            end),
            ?assertEqual({ok, 20}, pitcrew:call(Pool, ask, [level, 20]))
        end)
    end).

%% Threads hold their worker, which can run nothing meanwhile.
a_call_that_would_wait_for_itself_test_() ->
    [
        test(fun() ->
            with_pool(#{tools => ?TOOLS, size => Size, timeout => infinity, checkout_timeout => infinity}, fun(Pool) ->
                ok = pitcrew:register_tool(Pool, level, fun
                    (0) -> 0;
                    (N) -> case pitcrew:call(Pool, named_in_a_thread, [level, N - 1]) of {ok, [_, V]} -> V; {error, #{kind := Kind}} -> atom_to_binary(Kind) end
                end),
                Says = fun(N) -> {ok, [<<"value">>, V]} = pitcrew:call(Pool, named_in_a_thread, [level, N]), V end,
                [?assertEqual(0, Says(Size - 1)) || _ <- [1, 2, 3]],
                [?assertEqual(<<"overloaded">>, Says(Size)) || _ <- [1, 2, 3]]
            end)
        end)
     || Size <- [1, 2, 3]
    ].

one_that_never_ends_test_() ->
    [
        test(fun() ->
            with_pool(Options#{tools => ?TOOLS, timeout => infinity}, fun(Pool) ->
                ok = pitcrew:register_tool(Pool, forever, fun() ->
                    case pitcrew:call(Pool, ask, [forever]) of {ok, V} -> V; {error, #{kind := K}} -> K end
                end),
                ?assertEqual({ok, <<"overloaded">>}, text(pitcrew:call(Pool, ask, [forever]))),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end)
        end)
     || Options <- [#{size => 1, concurrency => 1000}, #{size => 1}, #{size => 2}]
    ].

in_a_session_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 2, checkout_timeout => infinity}, fun(Pool) ->
            {ok, _} = pitcrew:session(Pool, fun(Session) ->
                ok = pitcrew:register_tool(Session, same, fun() -> {ok, One} = pitcrew:call(Session, echo, [1]), One end),
                ?assertEqual({ok, 1}, pitcrew:call(Session, ask, [same]))
            end)
        end)
    end).

%% A function of the call's and a tool, in one call.
both_sorts_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, add, fun(X) -> X + 1 end),
        ?assertEqual({ok, [2, 11]}, pitcrew:call(Pool, both, [add, fun(X) -> X + 10 end, 1]))
    end).
