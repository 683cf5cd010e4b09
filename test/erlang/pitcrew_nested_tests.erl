%% Calls that functions make of the pool that waits for them, where no other worker is free: they run inside of the call that waits.
-module(pitcrew_nested_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, chunks/1]).

-define(TOOLS, ["function_tools", "nested_tools"]).

%% One worker, which is waited for as long as it takes.
with_one(Fun) -> with_one(#{}, Fun).

with_one(Options, Fun) ->
    All = maps:merge(#{tools => ?TOOLS, size => 1, timeout => 20_000, checkout_timeout => infinity}, Options),
    {timeout, 60, fun() -> with_pool(All, Fun) end}.

%% Of calls that must not fail.
value(Target, Tool) -> value(Target, Tool, []).
value(Target, Tool, Args) -> value(pitcrew:call(Target, Tool, Args)).

value({ok, Value}) -> Value;
value({error, #{kind := Kind, message := Message}}) -> error({Kind, Message}).

message({ok, Value}) -> {ok, Value};
message({error, #{kind := overloaded, message := Message}}) -> Message.

would_wait(Text) -> ?assertMatch({match, _}, re:run(Text, "would wait for itself")).

%% ---- What runs where

a_pool_of_one_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Inner = fun(X) -> [value(Pool, echo, [X]), value(Pool, pid)] end,
        [?assertEqual({ok, [1, Pid]}, pitcrew:call(Pool, Tool, [Inner, 1])) || Tool <- [apply_to, async_apply]],
        ?assertEqual({ok, [[0, Pid], [1, Pid]]}, pitcrew:call(Pool, times, [Inner, 2])),
        ?assertEqual({ok, [[0, Pid], [1, Pid]]}, pitcrew:call(Pool, gathers_functions, [Inner, 2])),
        ?assertEqual({ok, 2}, pitcrew:call(Pool, echo, [2]))
    end).

%% With functions or without, and streams.
one_that_is_free_goes_first_test_() ->
    with_one(#{size => 2}, fun(Pool) ->
        Pid = fun() -> value(Pool, pid) end,
        Pids = fun() -> [Pid(), value(Pool, apply_to, [Pid])] end,
        {ok, [Mine, [Other, Deeper]]} = pitcrew:call(Pool, with_pid, [Pids]),
        ?assertNotEqual(Mine, Other),
        %% Both are held by then.
        ?assert(lists:member(Deeper, [Mine, Other])),
        {ok, [Here, Chunks]} = pitcrew:call(Pool, with_pid, [fun() -> chunks(pitcrew:stream(Pool, count_pid, [2])) end]),
        ?assertMatch([Elsewhere, Elsewhere] when Elsewhere =/= Here, Chunks)
    end).

any_number_of_levels_test_() ->
    [
        with_one(#{size => Size}, fun(Pool) ->
            Tools = {apply_to, async_apply, in_own_loop, waits_around},
            Level = fun
                Level(0) -> 0;
                Level(N) ->
                    Found = value(Pool, element(1 + N rem 4, Tools), [Level, N - 1]),
                    1 + case Found of [Inner | _] -> Inner; Inner -> Inner end
            end,
            [?assertEqual({ok, N}, pitcrew:call(Pool, apply_to, [Level, N])) || N <- [1, 2, 5, 40]],
            ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
        end)
     || Size <- [1, 2, 3]
    ].

but_not_without_end_test_() ->
    with_one(fun(Pool) ->
        Deeper = fun Deeper(N) ->
            case message(pitcrew:call(Pool, apply_to, [Deeper, N + 1])) of
                {ok, Found} -> Found;
                Message -> [N, Message]
            end
        end,
        Pid = value(Pool, pid),
        {ok, [64, Message]} = pitcrew:call(Pool, apply_to, [Deeper, 1]),
        ?assertMatch({match, _}, re:run(Message, "more than 64 levels")),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

%% More stack than there is for 64 levels.
as_much_as_the_stack_has_room_for_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Deeper = fun Deeper() ->
            case pitcrew:call(Pool, with_much_stack, [Deeper]) of
                {ok, Found} -> Found;
                {error, #{kind := overloaded, message := Message}} -> Message
            end
        end,
        {ok, Text} = pitcrew:call(Pool, with_much_stack, [Deeper]),
        would_wait(Text),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

%% A function of a function of a call in another pool.
across_pools_test_() ->
    with_one(fun(Pool) ->
        pitcrew_test:gated(fun(Base) ->
            {ok, Sup} = pitcrew_pool:start_link((pitcrew_test:options(Base, #{tools => ?TOOLS, size => 1}))#{name => other_pool}),
            Back = fun() -> value(Pool, pid) end,
            Over = fun() -> value(other_pool, apply_to, [Back]) end,
            ?assertEqual(pitcrew:call(Pool, pid), pitcrew:call(Pool, apply_to, [Over])),
            unlink(Sup),
            ok = pitcrew_pool:stop(other_pool)
        end)
    end).

%% ---- Several at once

%% One inside of the call at a time.
several_out_of_one_function_test_() ->
    with_one(fun(Pool) ->
        Several = fun() ->
            Asyncs = [pitcrew:async(Pool, sleeps, [0.01]) || _ <- lists:seq(1, 5)],
            length([value(pitcrew:await(Async, infinity)) || Async <- Asyncs])
        end,
        ?assertEqual({ok, 5}, pitcrew:call(Pool, apply_to, [Several])),
        Deep = fun() ->
            Asyncs = [pitcrew:async(Pool, apply_to, [Several]) || _ <- [1, 2, 3]],
            [value(pitcrew:await(Async, infinity)) || Async <- Asyncs]
        end,
        ?assertEqual({ok, [5, 5, 5]}, pitcrew:call(Pool, async_apply, [Deep]))
    end).

by_every_way_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Ways = fun() ->
            [
                value(pitcrew:call(Pool, pid, [], #{protocol => json})),
                [Value || {ok, Value} <- pitcrew:batch(Pool, [{pid, []} || _ <- lists:seq(1, 10)], #{batch_size => 2})],
                chunks(pitcrew:stream(Pool, counts, [3])),
                chunks(pitcrew:stream(Pool, async_counts, [300])),
                value(pitcrew:await(pitcrew:async(Pool, pid, []), infinity)),
                value(Pool, gathers, [3])
            ]
        end,
        Pids = lists:duplicate(10, Pid),
        [
            ?assertEqual({ok, [Pid, Pids, [0, 1, 2], lists:seq(0, 299), Pid, [0, 1, 2]]}, pitcrew:call(Pool, Tool, [Ways]))
         || Tool <- [apply_to, async_apply]
        ]
    end).

%% Chunks go out around what runs inside of it, and credit comes meanwhile.
inside_of_a_stream_test_() ->
    with_one(fun(Pool) ->
        Squares = fun(X) -> chunks(pitcrew:stream(Pool, counts, [X])) ++ [value(Pool, echo, [X * X])] end,
        ok = pitcrew:register_tool(Pool, squares, Squares),
        [
            ?assertEqual([lists:seq(0, X - 1) ++ [X * X] || X <- lists:seq(0, 20)], chunks(pitcrew:stream(Pool, Tool, [squares, 21], #{buffer => 2})))
         || Tool <- [counts_around, async_counts_around]
        ]
    end).

much_test_() ->
    [
        with_one(#{shared => Shared}, fun(Pool) ->
            Much = binary:copy(<<"0123456789abcdef">>, 1 bsl 18),
            Inner = fun(Given) -> value(Pool, echo, [Given]) end,
            [?assertEqual({ok, Much}, pitcrew:call(Pool, Tool, [Inner, Much])) || Tool <- [apply_to, async_apply]]
        end)
     || Shared <- [true, false]
    ].

%% ---- In one worker only

of_the_same_session_test_() ->
    [
        with_one(#{size => 2}, fun(Pool) ->
            {ok, Session} = pitcrew:start_session(Pool, one, [{exclusive, Exclusive}]),
            Recall = fun() -> <<"v">> = value(Session, recall, [<<"k">>]) end,
            ?assertEqual({ok, #{<<"k">> => <<"v">>}}, pitcrew:call(Session, remember, [Recall, <<"k">>, <<"v">>])),
            %% In a thread it is waited for in vain.
            {ok, Text} = pitcrew:call(Session, in_thread, [fun() -> {error, #{message := M}} = pitcrew:call(Session, recall, [<<"k">>]), M end]),
            would_wait(Text),
            ok = pitcrew:stop_session(Session)
        end)
     || Exclusive <- [false, true]
    ].

of_the_same_object_test_() ->
    with_one(#{size => 2}, fun(Pool) ->
        {ok, Counter} = pitcrew:call(Pool, counter),
        Add = fun() -> value(Counter, add) end,
        ?assertEqual({ok, [0, 1]}, pitcrew:call(Counter, add_around, [Add])),
        ?assertEqual({ok, [1, 3]}, pitcrew:call(Counter, add_around, [fun() -> value(Counter, add_around, [Add]), Add() end]))
    end).

%% ---- Equal calls at the same time, where a pool has a cache

%% One that waits for the worker: the function that the worker waits for must not wait for that one.
one_that_waits_for_the_worker_test_() ->
    with_one(#{cache => true}, fun(Pool) ->
        Self = self(),
        Keep = #{cache => true},
        Inner = fun() ->
            Self ! {inside, self()},
            receive go -> ok end,
            [value(pitcrew:call(Pool, echo, [X], Keep)) || X <- [1, 2]] ++ [value(pitcrew:await(pitcrew:async(Pool, echo, [1], Keep), infinity))]
        end,
        {ok, 2} = pitcrew:call(Pool, echo, [2], Keep),
        Outer = pitcrew:async(Pool, apply_to, [Inner]),
        Function = receive {inside, Pid} -> Pid end,
        Equal = pitcrew:async(Pool, echo, [1], Keep),
        ok = pitcrew_test:queued(Pool, 1),
        Function ! go,
        ?assertEqual({ok, [1, 2, 1]}, pitcrew:await(Outer, infinity)),
        ?assertEqual({ok, 1}, pitcrew:await(Equal, infinity)),
        %% What was kept is found there, too.
        ?assertMatch(#{hits := 1, joined := 0}, pitcrew_cache:stats(Pool))
    end).

%% ---- What one knows of the other

nothing_test_() ->
    with_one(fun(Pool) ->
        Around = fun() -> value(Pool, what_is_around) end,
        Expected = [[nil, <<"red">>, true, <<"None">>], <<"around">>, <<"red">>, true],
        [?assertEqual({ok, Expected}, pitcrew:call(Pool, Tool, [Around])) || Tool <- [with_much_around, async_with_much_around]],
        {ok, Session} = pitcrew:start_session(Pool, one),
        ?assertEqual({ok, [nil, <<"none">>, true, <<"None">>]}, pitcrew:call(Session, apply_to, [Around])),
        ok = pitcrew:stop_session(Session),
        %% What it sets in the context stays there.
        Set = fun() -> [value(Pool, set_colour, [<<"blue">>]), value(Pool, get_colour)] end,
        ?assertEqual({ok, [<<"blue">>, <<"none">>]}, pitcrew:call(Pool, apply_to, [Set]))
    end).

errors_test_() ->
    with_one(fun(Pool) ->
        Fails = fun() ->
            {error, #{kind := tool_error, type := <<"KeyError">>, traceback := Trace}} = pitcrew:call(Pool, fails, [<<"inside">>]),
            Trace
        end,
        {ok, Trace} = pitcrew:call(Pool, fails_inside_of_one_that_fails, [Fails]),
        ?assertEqual(nomatch, re:run(Trace, "around")),
        Through = fun() -> value(Pool, fails, [<<"inside">>]) end,
        ?assertMatch({error, #{kind := tool_error, type := <<"pitcrew.ElixirError">>}}, pitcrew:call(Pool, apply_to, [Through])),
        Unknown = fun() -> {error, #{kind := Kind}} = pitcrew:call(Pool, no_such_tool), Kind end,
        ?assertEqual({ok, unknown_tool}, pitcrew:call(Pool, apply_to, [Unknown]))
    end).

a_loop_of_its_own_test_() ->
    with_one(fun(Pool) ->
        Gathers = fun() -> value(Pool, gathers, [3]) end,
        ?assertEqual({ok, [[0, 1, 2], true]}, pitcrew:call(Pool, in_own_loop, [Gathers])),
        ?assertEqual({ok, [[0, 1, 2], [0, 1, 2], true]}, pitcrew:call(Pool, waits_around, [Gathers])),
        Deeper = fun() -> value(Pool, waits_around, [Gathers]) end,
        ?assertEqual({ok, [[[0, 1, 2], [0, 1, 2], true], [0, 1, 2], true]}, pitcrew:call(Pool, waits_around, [Deeper])),
        Functions = fun() -> value(Pool, gathers_functions, [fun(X) -> X end, 3]) end,
        ?assertEqual({ok, [[0, 1, 2], [0, 1, 2], true]}, pitcrew:call(Pool, waits_around, [Functions]))
    end).

%% ---- Where nothing can run meanwhile

in_a_thread_test_() ->
    with_one(fun(Pool) ->
        Inner = fun() -> case message(pitcrew:call(Pool, echo, [1])) of {ok, 1} -> 1; Message -> Message end end,
        {ok, Text} = pitcrew:call(Pool, in_thread, [Inner]),
        would_wait(Text),
        %% The thread that serves waits as well, and what it waits for has its calls run inside.
        {ok, [1, Other]} = pitcrew:call(Pool, beside_a_thread, [Inner, Inner]),
        would_wait(Other)
    end).

a_handler_of_a_signal_test_() ->
    with_one(fun(Pool) ->
        Self = self(),
        Slow = fun() -> Self ! {slow, self()}, receive go -> value(Pool, echo, [1]) end end,
        Other = fun() -> Value = value(Pool, echo, [2]), receive_from(Self), Value end,
        Caller = spawn_link(fun() -> Self ! {result, pitcrew:call(Pool, in_a_handler, [Slow, Other])} end),
        Pid = receive {slow, P} -> P end,
        receive {here, Handler} -> Handler ! on end,
        Pid ! go,
        receive {result, Result} -> ?assertEqual({ok, [1, [2]]}, Result) end,
        unlink(Caller)
    end).

receive_from(Self) ->
    Self ! {here, self()},
    receive on -> ok end.

%% What is to run inside of the call that waited for it runs later, or not at all.
a_tool_that_waits_no_more_test_() ->
    with_one(fun(Pool) ->
        Self = self(),
        Late = fun() -> Self ! {late, self()}, receive go -> value(Pool, echo, [1]) end end,
        Other = fun() -> Self ! {other, self()}, receive go -> value(Pool, echo, [2]) end end,
        Caller = spawn_link(fun() -> Self ! {result, pitcrew:call(Pool, alarmed, [Late, Other])} end),
        Pid = receive {late, P} -> P end,
        Waits = receive {other, O} -> O end,
        Pid ! go,
        Waits ! go,
        receive {result, Result} -> ?assertEqual({ok, 2}, Result) end,
        unlink(Caller),
        ?assertEqual({ok, 3}, pitcrew:call(Pool, echo, [3]))
    end).

with_pipelined_workers_it_is_an_error_test_() ->
    with_one(#{pipeline => 4}, fun(Pool) ->
        Inner = fun() -> {error, #{kind := overloaded, message := Message}} = pitcrew:call(Pool, echo, [1]), Message end,
        would_wait(value(Pool, apply_to, [Inner]))
    end).

%% Whatever it has with it, it is not tied to the worker that waits for it, and goes to the other one when that has nothing else to do.
with_pipelined_workers_a_large_one_is_like_others_test_() ->
    with_one(#{pipeline => 4, size => 2}, fun(Pool) ->
        Self = self(),
        Bytes = binary:copy(<<"x">>, 1_000_000),
        Calls = fun(Function) -> spawn_link(fun() -> Self ! {self(), pitcrew:call(Pool, apply_to, [Function])} end) end,
        Other = Calls(fun() -> Self ! {other, self()}, receive go -> ok end end),
        Holds = receive {other, O} -> O end,
        Caller = Calls(fun() -> value(Pool, echo, [pitcrew:bytes(Bytes)]) end),
        Sent = fun() -> lists:sum([N || #{calls := N} <- maps:get(workers, pitcrew:info(Pool))]) end,
        ok = pitcrew_test:until(fun() -> case Sent() of 3 -> ok; N -> N end end),
        Holds ! go,
        receive {Other, Result} -> ?assertEqual({ok, ok}, Result) end,
        receive {Caller, Found} -> ?assertEqual({ok, Bytes}, Found) end
    end).
