%% Calls inside of calls whose callers, functions and workers die in an order that a seed decides, at any level. Afterwards all is well, and nothing is left
%% of anybody.
-module(pitcrew_nested_chaos_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, seeded/2, until/1, is/2, hosts/0, kill_a_worker/1]).

-define(CALLERS, 30).
-define(CALLS, 10).

chaos_test_() ->
    [
        seeded(180, fun() ->
            with_pool(#{tools => ["function_tools", "nested_tools"], size => Size, timeout => 5_000, grace => 1_000}, fun(Pool) ->
                pitcrew_test:quietly(fun() -> call(Pool) end)
            end)
        end)
     || Size <- [1, 2, 3]
    ].

call(Pool) ->
    Before = hosts(),
    Callers = [spawn_monitor(fun() -> calls(Pool, Seed) end) || Seed <- [rand:uniform(1 bsl 32) || _ <- lists:seq(1, ?CALLERS)]],
    [receive {'DOWN', Monitor, process, Pid, _} -> ok end || {Pid, Monitor} <- Callers],
    ?assertEqual(ok, until(fun() -> is(Before, hosts()) end)),
    Deep = fun
        Deep(0) -> 0;
        Deep(N) -> 1 + element(2, {ok, _} = pitcrew:call(Pool, apply_to, [Deep, N - 1]))
    end,
    ?assertEqual(ok, until(fun() -> is({ok, 5}, pitcrew:call(Pool, apply_to, [Deep, 5])) end)).

calls(Pool, Seed) ->
    _ = rand:seed(exsss, Seed),
    [level(Pool, 1 + rand:uniform(4), rand:uniform(1 bsl 32)) || _ <- lists:seq(1, ?CALLS)].

%% A few levels down something happens, on the way down and up again it may, too. What comes back is a number, or nothing is known of it.
level(Pool, 0, _) ->
    deepest(rand:uniform(14), Pool);
level(Pool, N, Seed) ->
    Function = fun() ->
        _ = rand:seed(exsss, Seed),
        at_random(rand:uniform(25)),
        level(Pool, N - 1, Seed + 1)
    end,
    Tool = element(rand:uniform(9), {apply_to, apply_to, async_apply, async_apply, waits_around, waits_around, in_own_loop, in_own_loop, in_thread}),
    Options = case rand:uniform(6) of 1 -> #{timeout => rand:uniform(60)}; _ -> #{} end,
    number(pitcrew:call(Pool, Tool, [Function], Options)).

number({ok, [Number | _]}) when is_integer(Number) -> Number;
number({ok, Number}) when is_integer(Number) -> Number;
number(_) -> 0.

at_random(1) -> exit(self(), kill);
at_random(2) -> error(at_random);
at_random(_) -> ok.

deepest(1, Pool) -> number(pitcrew:call(Pool, dies, [9]));
deepest(2, Pool) ->
    _ = kill_a_worker(Pool),
    0;
deepest(3, Pool) -> number(pitcrew:call(Pool, sleeps, [5], #{timeout => rand:uniform(50)}));
deepest(4, Pool) -> number(pitcrew:call(Pool, async_sleeps, [5], #{timeout => rand:uniform(50)}));
deepest(5, Pool) ->
    Asyncs = [pitcrew:async(Pool, echo, [N]) || N <- [1, 2, 3]],
    pitcrew:cancel(hd(Asyncs)),
    lists:sum([number(pitcrew:await(Async, 5_000)) || Async <- tl(Asyncs)]);
deepest(6, Pool) -> length([1 || {ok, _} <- pitcrew:batch(Pool, [{echo, [N]} || N <- lists:seq(1, 20)], #{batch_size => 3})]);
deepest(7, Pool) ->
    {ok, 0, Rest} = pitcrew:next(pitcrew:stream(Pool, counts, [10], #{buffer => 2})),
    pitcrew:stop(Rest),
    0;
deepest(8, Pool) -> number(pitcrew:call(Pool, forks));
deepest(N, Pool) -> number(pitcrew:call(Pool, element(1 + N rem 2, {echo, gathers}), [N])).
