%% Calls from Python to tools of the VM, and the cache of their pool.
-module(pitcrew_tools_cache_tests).
-include_lib("eunit/include/eunit.hrl").

on_each_pool(Options, Fun) -> pitcrew_test:on_each_pool(Options#{tools => ["vm_tools"], cache => true}, Fun).

counted(Function) ->
    Count = counters:new(1, []),
    {Count, fun(X) -> counters:add(Count, 1, 1), Function(X) end}.

what_is_idempotent_runs_once_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        [
            begin
                {Count, Function} = counted(fun(X) -> [X, make_list(X)] end),
                ok = pitcrew:register_tool(Pool, Name, Function, #{Option => true}),
                First = pitcrew:call(Pool, ask, [Name, 3]),
                ?assertEqual({ok, [3, [1, 2, 3]]}, First),
                [?assertEqual(First, pitcrew:call(Pool, Tool, [Name, 3])) || Tool <- [ask, async_ask]],
                ?assertEqual(1, counters:get(Count, 1)),
                {ok, _} = pitcrew:call(Pool, ask, [Name, 4]),
                ?assertEqual(2, counters:get(Count, 1))
            end
         || {Name, Option} <- [{declared, idempotent}, {kept, cache}]
        ],
        ?assertMatch(#{hits := 4, misses := 4, stored := 4}, pitcrew_cache:stats(Pool))
    end).

make_list(N) -> lists:seq(1, N).

others_run_each_time_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Count, Function} = counted(fun(X) -> X end),
        ok = pitcrew:register_tool(Pool, plain, Function),
        [{ok, 1} = pitcrew:call(Pool, ask, [plain, 1]) || _ <- [1, 2, 3]],
        ?assertEqual(3, counters:get(Count, 1)),
        ?assertMatch(#{hits := 0, misses := 0}, pitcrew_cache:stats(Pool))
    end).

without_a_cache_it_runs_test_() ->
    {timeout, 60, fun() ->
        pitcrew_test:with_pool(#{tools => ["vm_tools"], size => 1}, fun(Pool) ->
            {Count, Function} = counted(fun(X) -> X end),
            ok = pitcrew:register_tool(Pool, same, Function, [idempotent]),
            [{ok, 1} = pitcrew:call(Pool, ask, [same, 1]) || _ <- [1, 2]],
            ?assertEqual(2, counters:get(Count, 1))
        end)
    end}.

errors_are_not_kept_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Count, Function} = counted(fun(X) -> error({no, X}) end),
        ok = pitcrew:register_tool(Pool, bad, Function, [idempotent]),
        [?assertMatch({ok, [<<"error">>, <<"error">> | _]}, pitcrew:call(Pool, caught, [bad, 1])) || _ <- [1, 2, 3]],
        ?assertEqual(3, counters:get(Count, 1)),
        ?assertMatch(#{stored := 0}, pitcrew_cache:stats(Pool))
    end).

%% Many at once: one runs, the others wait for it.
single_flight_test_() ->
    on_each_pool(#{size => 4}, fun(Pool, _) ->
        Self = self(),
        ok = pitcrew:register_tool(Pool, slow, fun(X) -> Self ! {runs, self()}, receive go -> X end end, [idempotent]),
        Calls = [pitcrew:async(Pool, ask, [slow, 1]) || _ <- [1, 2, 3, 4]],
        Pid = receive {runs, First} -> First end,
        Pid ! go,
        ?assertEqual([{ok, 1} || _ <- Calls], [pitcrew:await(Call) || Call <- Calls]),
        receive {runs, Second} -> error({ran_twice, Second}) after 0 -> ok end
    end).

%% The one that runs takes too long, and ends: the next one runs it anew.
one_that_is_killed_leaves_it_to_the_next_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        Self = self(),
        ok = pitcrew:register_tool(Pool, slow, fun(X) -> Self ! {runs, self()}, receive go -> X end end, [idempotent]),
        One = pitcrew:async(Pool, caught, [slow, 1]),
        First = receive {runs, A} -> A end,
        Two = pitcrew:async(Pool, caught, [slow, 1]),
        ?assertEqual(ok, pitcrew_test:until(fun() -> case [W || W <- workers(Pool), W =:= busy] of [_, _] -> ok; Other -> Other end end)),
        exit(First, kill),
        Second = receive {runs, B} -> B end,
        Second ! go,
        ?assertMatch({ok, [<<"error">>, <<"exit">> | _]}, pitcrew:await(One)),
        ?assertEqual({ok, [<<"value">>, 1]}, pitcrew:await(Two))
    end).

workers(Pool) -> [State || #{state := State} <- maps:get(workers, pitcrew:info(Pool))].

%% Another function under the same name has results of its own.
nothing_of_a_function_before_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                ok = pitcrew:register_tool(Pool, which, fun(_) -> N end, #{idempotent => true, replace => true}),
                [?assertEqual({ok, N}, pitcrew:call(Pool, ask, [which, x])) || _ <- [1, 2]]
            end
         || N <- [1, 2, 3]
        ]
    end).

%% By which the same function is known under two names, and whose arguments they are.
what_tells_calls_apart_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, one, fun erlang:abs/1, [idempotent]),
        ok = pitcrew:register_tool(Pool, two, fun erlang:abs/1, [idempotent]),
        [?assertEqual({ok, 1}, pitcrew:call(Pool, ask, [Name, X])) || Name <- [one, two], X <- [-1, 1]],
        {ok, Float} = pitcrew:call(Pool, ask, [one, 1.0]),
        ?assert(is_float(Float)),
        ?assertMatch(#{hits := 0, misses := 5}, pitcrew_cache:stats(Pool)),
        %% By name it is the same call as by position.
        ok = pitcrew:register_tool(Pool, named, fun(X) -> X end, #{idempotent => true, parameters => [x]}),
        {ok, 7} = pitcrew:call(Pool, ask, [named, 7]),
        {ok, 7} = pitcrew:call(Pool, ask, {[named], #{x => 7}}),
        ?assertMatch(#{hits := 1, misses := 6}, pitcrew_cache:stats(Pool))
    end).

what_has_no_key_runs_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Count, Function} = counted(fun(X) -> X end),
        ok = pitcrew:register_tool(Pool, same, Function, [idempotent]),
        Self = self(),
        [?assertEqual({ok, Self}, pitcrew:call(Pool, ask, [same, Self])) || _ <- [1, 2]],
        ?assertEqual(2, counters:get(Count, 1)),
        ?assertMatch(#{refused := 2}, pitcrew_cache:stats(Pool))
    end).
