%% Tools of the VM, callers, workers and time limits that end in an order that a seed decides. Afterwards all is well, and nothing is left of anybody.
-module(pitcrew_tools_chaos_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, seeded/2, until/1, is/2, hosts/0, kill_a_worker/1]).

-define(CALLERS, 40).
-define(CALLS, 6).

chaos_test_() ->
    [
        seeded(180, fun() ->
            with_pool(Way#{tools => ["vm_tools"], size => 2, timeout => 5_000, cache => true}, fun(Pool) ->
                pitcrew_test:quietly(fun() -> call(Pool) end)
            end)
        end)
     || Way <- [#{}, #{pipeline => 4}, #{concurrency => 4}, #{max_calls => 10}]
    ].

call(Pool) ->
    Before = hosts(),
    ok = pitcrew:register_tool(Pool, square, fun(X) -> X * X end),
    ok = pitcrew:register_tool(Pool, kept, fun(X) -> X * X end, [idempotent]),
    ok = pitcrew:register_tool(Pool, nested, fun(X) -> nested(Pool, X) end),
    ok = pitcrew:register_tool(Pool, never, fun() -> receive never -> ok end end),
    ok = pitcrew:register_tool(Pool, short, fun() -> receive never -> ok end end, #{timeout => 5}),
    ok = pitcrew:register_tool(Pool, killed, fun() -> exit(self(), kill), receive never -> ok end end),
    Callers = [spawn_monitor(fun() -> calls(Pool, Seed) end) || Seed <- [rand:uniform(1 bsl 32) || _ <- lists:seq(1, ?CALLERS)]],
    Ends = [receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end || {Pid, Monitor} <- Callers],
    ?assertEqual([], [End || End <- Ends, End =/= normal, End =/= killed]),
    ?assertEqual(ok, until(fun() -> is(Before, hosts()) end)),
    ?assertEqual(ok, until(fun() -> is({ok, 1}, pitcrew:call(Pool, ask, [square, 1])) end)),
    %% What was counted was given back.
    ?assertEqual(ok, until(fun() -> is({ok, 1}, pitcrew:call(Pool, ask, [nested, 1])) end)).

nested(Pool, 7) ->
    {ok, 7} = pitcrew:call(Pool, echo, [7]),
    49;
nested(_, X) ->
    X * X.

%% Nothing is left in the mailbox of anybody, whatever has come of the calls.
calls(Pool, Seed) ->
    _ = rand:seed(exsss, Seed),
    [one(rand:uniform(24), Pool) || _ <- lists:seq(1, ?CALLS)],
    [] = pitcrew_test:mailbox().

%% Of the tools, those that end their workers are rare.
one(1, Pool) -> failed(pitcrew:call(Pool, exits, [square, 1]));
one(2, Pool) -> failed(pitcrew:call(Pool, ask, [never], #{timeout => rand:uniform(50)}));
one(3, _) -> exit(self(), kill);
one(4, Pool) -> failed(pitcrew:call(Pool, ask, [killed]));
one(5, Pool) -> kill_a_worker(Pool);
one(6, Pool) -> _ = pitcrew:call(Pool, left_behind, [never]);
one(7, Pool) -> failed(pitcrew:call(Pool, async_ask, [short]));
one(8, Pool) -> _ = pitcrew:call(Pool, catches_cancel, [never], #{timeout => rand:uniform(50)});
one(9, Pool) -> _ = pitcrew:call(Pool, many, [square, 1_000], #{timeout => rand:uniform(20)});
one(N, Pool) -> squares(pitcrew:call(Pool, element(1 + N rem 3, {many, gathered, in_threads}), [element(1 + N rem 4, {square, kept, nested, square}), 20])).

failed({error, #{kind := _}}) -> ok.

squares({ok, Squares}) -> ?assertEqual([X * X || X <- lists:seq(0, 19)], Squares);
squares({error, #{kind := _}}) -> ok.
