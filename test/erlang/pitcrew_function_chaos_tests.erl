%% Functions, their processes, callers and workers that die in an order that a seed decides. Afterwards all is well, and nothing is left of anybody.
-module(pitcrew_function_chaos_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, seeded/2, until/1, is/2, hosts/0, kill_a_worker/1]).

-define(CALLERS, 40).
-define(CALLS, 5).

chaos_test_() ->
    [
        seeded(180, fun() ->
            with_pool(Way#{tools => ["function_tools"], size => 2, timeout => 5_000}, fun(Pool) ->
                pitcrew_test:quietly(fun() -> call(Pool) end)
            end)
        end)
     || Way <- [#{}, #{pipeline => 4}, #{concurrency => 4}]
    ].

call(Pool) ->
    Before = hosts(),
    Callers = [spawn_monitor(fun() -> calls(Pool, Seed) end) || Seed <- [rand:uniform(1 bsl 32) || _ <- lists:seq(1, ?CALLERS)]],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Callers],
    ?assertEqual(ok, until(fun() -> is(Before, hosts()) end)),
    ?assertEqual(ok, until(fun() -> works(Pool, fun(X) -> X end) end)),
    %% What was counted was given back.
    Nested = fun(X) ->
        {ok, Y} = pitcrew:call(Pool, echo, [X]),
        Y
    end,
    ?assertEqual(ok, until(fun() -> works(Pool, Nested) end)).

works(Pool, Function) -> is({ok, 1}, pitcrew:call(Pool, apply_to, [Function, 1])).

calls(Pool, Seed) ->
    _ = rand:seed(exsss, Seed),
    [one(rand:uniform(20), Pool) || _ <- lists:seq(1, ?CALLS)].

%% Of the tools, those that end their workers are rare.
one(1, Pool) -> failed(pitcrew:call(Pool, stops_itself, [fun(X) -> X end]));
one(2, Pool) -> failed(pitcrew:call(Pool, apply_to, [fun() -> receive never -> ok end end], #{timeout => rand:uniform(50)}));
one(3, _) -> exit(self(), kill);
one(4, Pool) -> failed(pitcrew:call(Pool, apply_to, [fun() -> exit(self(), kill), receive never -> ok end end]));
one(5, Pool) -> kill_a_worker(Pool);
one(6, Pool) -> _ = pitcrew:call(Pool, left_behind, [fun() -> receive never -> ok end end]);
one(N, Pool) -> squares(pitcrew:call(Pool, element(1 + N rem 3, {times, async_times, gathered}), [function(Pool, N rem 2), 20])).

function(_, 0) -> fun(X) -> X * X end;
function(Pool, 1) ->
    fun
        (7) ->
            {ok, 7} = pitcrew:call(Pool, echo, [7]),
            49;
        (X) ->
            X * X
    end.

failed({error, #{kind := _}}) -> ok.

squares({ok, Squares}) -> ?assertEqual([X * X || X <- lists:seq(0, 19)], Squares);
squares({error, #{kind := _}}) -> ok.
