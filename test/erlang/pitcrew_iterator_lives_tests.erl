%% What ends an enumeration for Python, on every sort of pool: the tool, the call, and whoever dies.
-module(pitcrew_iterator_lives_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_iterator_tests, [on_each_pool/2, endless/0, endless/1, then/2, then/3, stopped/0, was_stopped/0]).
-import(pitcrew_test, [is_gone/1]).

whoever_takes_no_more_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                ?assertEqual({ok, lists:seq(1, N)}, pitcrew:call(Pool, Tool, [endless([{buffer, Buffer}]), N])),
                At = was_stopped(),
                ?assert(At >= N andalso At =< N + Buffer + 1)
            end
         || Tool <- [take, async_take], Buffer <- [1, 256], N <- [1, 5]
        ]
    end).

%% In the middle of the call: it goes on when the test has seen that.
closed_by_python_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Self = self(),
                Tell = fun(What) -> Self ! {told, What, self()}, receive go -> 1 end end,
                Async = pitcrew:async(Pool, Tool, [[endless([{buffer, 4}])], How, Tell]),
                ?assert(stopped() =< 6),
                receive {told, What, Pid} -> ?assertEqual([1, []], What), Pid ! go end,
                ?assertEqual({ok, <<"over">>}, pitcrew:await(Async, 5_000))
            end
         || Tool <- [closes, async_closes], How <- [<<"close">>, <<"drop">>, <<"cycle">>]
        ]
    end).

%% It has ended when close() returns.
close_waits_for_the_end_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Ended = atomics:new(1, []),
                Iterator = pitcrew:iterator(fun(N) -> {ok, N, N} end, 1, [{stop, fun(_) -> timer:sleep(20), atomics:put(Ended, 1, 1) end}]),
                ?assertEqual({ok, <<"over">>}, pitcrew:call(Pool, Tool, [[Iterator], <<"close">>, fun(_) -> 1 = atomics:get(Ended, 1) end]))
            end
         || Tool <- [closes, async_closes]
        ]
    end).

afterwards_it_is_gone_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ?assertEqual({ok, [1, 2]}, pitcrew:call(Pool, keep, [endless([{buffer, 1}]), 2])),
        _ = was_stopped(),
        ?assertMatch({ok, [[], <<"gone">> | _]}, pitcrew:call(Pool, use_kept)),
        %% Not asked for anything in its own call.
        ?assertEqual({ok, []}, pitcrew:call(Pool, keep, [endless(), 0])),
        ?assertMatch({ok, [[], <<"gone">> | _]}, pitcrew:call(Pool, use_kept)),
        ?assertEqual({ok, []}, pitcrew:call(Pool, keep, [pitcrew:iterator([]), 0]))
    end).

the_deadline_of_the_call_test_() ->
    on_each_pool(#{size => 1, grace => 100}, fun(Pool, _) ->
        [
            begin
                Self = self(),
                Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
                ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, Tool, [then(2, Slow)], #{timeout => 200})),
                receive {slow, Pid} -> is_gone(Pid) end,
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end
         || Tool <- [take, async_take]
        ],
        %% Where it waits to be asked it is closed.
        Self = self(),
        Held = fun(_) -> Self ! {held, self()}, receive never -> ok end end,
        ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, between, [endless([{buffer, 2}]), 3, Held], #{timeout => 200})),
        receive {held, _} -> ok end,
        ?assert(stopped() =< 4),
        ?assertMatch({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% A tool that has caught its interrupt does not wait for ever.
whatever_interrupts_it_test_() ->
    on_each_pool(#{size => 1, grace => 2000}, fun(Pool, _) ->
        Slow = fun() -> receive never -> ok end end,
        ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, waits_on, [then(2, Slow), 2], #{timeout => 200})),
        ?assertMatch({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

a_caller_that_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Self = self(),
                Iterator = endless([{buffer, 2}]),
                Held = fun(_) -> Self ! held, receive never -> ok end end,
                Caller = spawn(fun() -> pitcrew:call(Pool, Tool, [Iterator, 3, Held], #{timeout => infinity, on_caller_exit => OnExit}) end),
                receive held -> ok end,
                exit(Caller, kill),
                ?assert(stopped() =< 4),
                ?assertMatch({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end
         || Tool <- [between, async_between], OnExit <- [cancel, finish]
        ]
    end).

a_worker_that_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(Pool, exits, [endless(), 3])),
        ?assert(was_stopped() > 3),
        ?assertMatch({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% Another worker enumerates it from the beginning.
a_call_that_is_tried_again_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Path = filename:join(os:getenv("TMPDIR", "/tmp"), "pitcrew_iterator_" ++ integer_to_list(erlang:unique_integer([positive])) ++ os:getpid()),
        try
            ?assertEqual({ok, lists:seq(1, 400)}, pitcrew:call(Pool, exits_once, [then(400, fun() -> done end, [{buffer, 8}]), list_to_binary(Path)], #{retry => 1})),
            Stops = [stopped(), stopped()],
            ?assertEqual(401, lists:max(Stops)),
            ?assert(lists:min(Stops) =< 11)
        after
            file:delete(Path)
        end
    end).

a_pool_that_stops_test_() ->
    [
        {timeout, 60, fun() ->
            pitcrew_test:with_pool_to_stop(Way#{tools => ["iterator_tools"], size => 1}, fun(Pool) ->
                Self = self(),
                Iterator = endless([{buffer, 2}]),
                Held = fun(_) -> Self ! held, receive never -> ok end end,
                spawn(fun() -> Self ! {result, pitcrew:call(Pool, between, [Iterator, 3, Held], #{timeout => infinity})} end),
                receive held -> ok end,
                _ = pitcrew:stop_pool(Pool, #{timeout => 0}),
                receive {result, Result} -> ?assertMatch({error, #{kind := _}}, Result) end,
                ?assert(stopped() =< 4)
            end)
        end}
     || Way <- pitcrew_test:ways()
    ].

the_consumer_of_a_stream_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Iterator = endless([{buffer, 4}]),
        Consumer = spawn(fun() ->
            {ok, 2, _} = pitcrew:next(pitcrew:stream(Pool, doubled, [Iterator], #{buffer => 2})),
            Self ! begun,
            receive never -> ok end
        end),
        receive begun -> ok end,
        exit(Consumer, kill),
        ?assert(stopped() =< 12),
        ?assertMatch({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).
