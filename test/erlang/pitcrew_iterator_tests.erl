%% Iterators in the arguments of calls, on every sort of pool: what comes, how much is made in advance, and what ends them.
-module(pitcrew_iterator_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, is_gone/1]).
%% For other tests of iterators.
-export([on_each_pool/2, endless/0, endless/1, then/2, then/3, stopped/0, was_stopped/0]).

-define(TOOLS, ["iterator_tools"]).

test(Fun) -> {timeout, 60, Fun}.

on_each_pool(Options, Fun) -> pitcrew_test:on_each_pool(Options#{tools => ?TOOLS}, fun(Pool, Way) -> Fun(Pool, Way), flush() end).

%% That it was stopped, what is no test's question.
flush() ->
    receive {stopped, _, _} -> flush() after 0 -> ok end.

%% ---- Sources

%% 1, 2, 3, … for ever; says when it is stopped, and at what.
endless() -> endless([]).

endless(Options) ->
    Self = self(),
    Stop = fun(N) -> Self ! {stopped, N, self()} end,
    pitcrew:iterator(fun(N) -> {ok, N, N + 1} end, 1, [{stop, Stop} | Options]).

%% The first elements of it, then whatever that does.
then(N, Do) -> then(N, Do, []).

then(N, Do, Options) ->
    Self = self(),
    Next = fun(I) when I > N -> Do(); (I) -> {ok, I, I + 1} end,
    pitcrew:iterator(Next, 1, [{stop, fun(I) -> Self ! {stopped, I, self()} end} | Options]).

%% How many were made, too.
counted(Made, Options) ->
    pitcrew:iterator(fun(N) -> atomics:put(Made, 1, N), {ok, N, N + 1} end, 1, Options).

stopped() ->
    receive {stopped, N, Pid} -> is_gone(Pid), N after 5_000 -> error(not_stopped) end.

%% Before the call that it came with has returned.
was_stopped() ->
    receive {stopped, N, _} -> N after 0 -> error(not_stopped) end.

%% ---- Elements

every_element_in_order_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            ?assertEqual({ok, lists:seq(1, N)}, pitcrew:call(Pool, Tool, [pitcrew:iterator(lists:seq(1, N), [{buffer, Buffer}])]))
         || Tool <- [take, async_take], Buffer <- [1, 2, 3, 256], N <- [0, 1, 2, 3, 300]
        ],
        ?assertEqual({ok, [1, 2, 3]}, pitcrew:call(Pool, take, #{iterator => endless(), n => 3})),
        ?assert(was_stopped() > 3)
    end).

terms_of_all_kinds_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Terms = [nil, true, 1 bsl 100, 1.5, <<"Zoë"/utf8>>, [1, [2]], {a, {}}, #{<<"k">> => [nil]}, self(), make_ref(), binary:copy(<<"x">>, 300_000)],
        [?assertEqual({ok, Terms}, pitcrew:call(Pool, Tool, [pitcrew:iterator(Terms)])) || Tool <- [take, async_take]]
    end).

anywhere_in_the_arguments_but_in_keys_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Iterator = pitcrew:iterator([1]),
        ?assertMatch({error, #{kind := encode_error}}, pitcrew:call(Pool, echo, [#{Iterator => 1}])),
        ?assertMatch({error, #{kind := encode_error}}, pitcrew:call(Pool, echo, [#{'__struct__' => 'Elixir.MapSet', map => #{Iterator => []}, version => 2}])),
        %% Where it came cannot be told from what goes back.
        ?assertMatch({error, #{kind := result_error}}, pitcrew:call(Pool, echo, [#{deep => [{Iterator}]}])),
        ?assertMatch({error, #{kind := result_error}}, pitcrew:call(Pool, give_back, [Iterator])),
        Gives = fun(_) -> Iterator end,
        ?assertMatch({error, #{kind := tool_error}}, pitcrew:call(Pool, between, [Iterator, 1, Gives])),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

wrong_ones_test_() ->
    [
        ?_assertError(#{kind := invalid_option}, pitcrew:iterator([], [{buffer, 0}])),
        ?_assertError(#{kind := invalid_option}, pitcrew:iterator([], [{bufer, 1}])),
        ?_assertError(#{kind := invalid_option}, pitcrew:iterator(fun(_) -> done end, 1, [{stop, fun() -> 1 end}])),
        ?_assertError(#{kind := invalid_option}, pitcrew:iterator(fun(_, _) -> {done, 1} end, [{stop, fun(_) -> 1 end}])),
        ?_assertError(function_clause, pitcrew:iterator([1 | 2])),
        ?_assertError(function_clause, pitcrew:iterator(7))
    ].

%% One at a time where somebody waits, as soon as it is there: the second one is made of what becomes of the first.
each_as_soon_as_it_is_there_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Self = self(),
                Next = fun
                    (1) -> Self ! {source, self()}, {ok, 1, 2};
                    (N) -> receive {said, Said} -> {ok, Said * 10, N + 1} end
                end,
                Async = pitcrew:async(Pool, Tool, [pitcrew:iterator(Next, 1, []), 3, fun(X) -> Self ! {seen, X} end]),
                Source = receive {source, Pid} -> Pid end,
                [receive {seen, X} -> Source ! {said, X} end || X <- [1, 10, 100]],
                ?assertEqual({ok, <<"over">>}, pitcrew:await(Async, 5_000))
            end
         || Tool <- [between, async_between]
        ]
    end).

%% What it receives is its own: no message of ours comes where it looks for one.
messages_of_its_own_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Self = self(),
                Next = fun
                    (begun) -> Self ! {source, self()}, {ok, 0, on};
                    (on) -> receive over -> done; Message -> {ok, Message, on} end
                end,
                Async = pitcrew:async(Pool, take, [pitcrew:iterator(Next, begun, [{buffer, Buffer}])]),
                Source = receive {source, Pid} -> Pid end,
                [Source ! Message || Message <- lists:seq(1, 50) ++ [over]],
                ?assertEqual({ok, lists:seq(0, 50)}, pitcrew:await(Async, 5_000))
            end
         || Buffer <- [1, 2, 7, 256]
        ]
    end).

a_process_of_its_own_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Next = fun(1) -> {ok, {self(), get('$callers'), group_leader()}, 2}; (2) -> {ok, self(), 3}; (3) -> done end,
        {ok, [{Pid, Callers, Leader}, Same]} = pitcrew:call(Pool, take, [pitcrew:iterator(Next, 1, [])]),
        ?assertNotEqual(self(), Pid),
        ?assertEqual(Pid, Same),
        ?assertEqual([self()], Callers),
        ?assertEqual(group_leader(), Leader)
    end).

%% ---- In advance

nothing_before_it_is_asked_for_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Made = atomics:new(1, []),
        ?assertEqual({ok, <<"over">>}, pitcrew:call(Pool, between, [counted(Made, []), 0, fun(_) -> 1 end])),
        ?assertEqual(0, atomics:get(Made, 1))
    end).

no_more_than_the_buffer_allows_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Made = atomics:new(1, []),
                %% Whoever makes them has all the time it may want.
                Look = fun(N) -> timer:sleep(1), true = atomics:get(Made, 1) - N =< Buffer end,
                ?assertEqual({ok, <<"over">>}, pitcrew:call(Pool, Tool, [counted(Made, [{buffer, Buffer}]), 100, Look]))
            end
         || Tool <- [between, async_between], Buffer <- [1, 2, 10]
        ]
    end).

one_at_a_time_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Made = atomics:new(1, []),
        Look = fun(N) -> N = atomics:get(Made, 1) end,
        ?assertEqual({ok, <<"over">>}, pitcrew:call(Pool, between, [counted(Made, [{buffer, 1}]), 50, Look]))
    end).

%% One of 1 MiB costs as much as 17 small ones.
large_ones_cost_more_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Made = atomics:new(1, []),
        Large = binary:copy(<<"x">>, 1 bsl 20),
        Next = fun(N) -> atomics:put(Made, 1, N), {ok, [N, Large], N + 1} end,
        Look = fun([N, _]) -> timer:sleep(1), true = atomics:get(Made, 1) - N =< 4 end,
        ?assertEqual({ok, <<"over">>}, pitcrew:call(Pool, between, [pitcrew:iterator(Next, 1, [{buffer, 64}]), 20, Look])),
        Bytes = #{'__struct__' => 'Elixir.Pitcrew.Tensor', dtype => <<"|u1">>, shape => {1 bsl 20}, data => Large},
        ?assertEqual({ok, [1 bsl 20 || _ <- lists:seq(1, 50)]}, pitcrew:call(Pool, sizes, [pitcrew:iterator([Bytes || _ <- lists:seq(1, 50)])]))
    end).

%% ---- What goes wrong

what_it_raises_comes_behind_the_elements_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                {ok, [Found, Kind, _, Message, Rest]} = pitcrew:call(Pool, Tool, [then(N, Do, [{buffer, Buffer}])]),
                ?assertEqual({lists:seq(1, N), Expected, []}, {Found, Kind, Rest}),
                ?assertMatch({match, _}, re:run(Message, Text)),
                ?assertEqual(N + 1, was_stopped())
            end
         || Tool <- [caught, async_caught],
            Buffer <- [1, 256],
            {N, Expected, Text, Do} <- [
                {0, <<"error">>, "boom", fun() -> error(boom) end},
                {3, <<"error">>, "boom", fun() -> error(boom) end},
                {200, <<"throw">>, "thrown", fun() -> throw(thrown) end},
                {2, <<"exit">>, "over", fun() -> exit(over) end},
                {2, <<"error">>, "why", fun() -> {error, why} end},
                {2, <<"error">>, "bad_element", fun() -> what end},
                {2, <<"result_error">>, "an element cannot be sent", fun() -> {ok, <<255>>, 3} end},
                {2, <<"result_error">>, "an element cannot be sent", fun() -> {ok, #{'__struct__' => 'Elixir.No.Such'}, 3} end},
                {2, <<"result_error">>, "an element cannot be sent", fun() -> {ok, lists:foldl(fun(_, In) -> [In] end, 1, lists:seq(1, 511)), 3} end}
            ]
        ],
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

an_end_of_its_process_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Kill = fun() -> exit(self(), kill), receive never -> ok end end,
        {ok, [[1, 2], <<"exit">>, nil, Message, []]} = pitcrew:call(Pool, caught, [then(2, Kill)]),
        ?assertMatch({match, _}, re:run(Message, "killed"))
    end).

%% Each of those before it can be, although they come together.
one_that_python_cannot_read_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Twins = #{1 => a, 1.0 => b},
        [
            begin
                Iterator = pitcrew:iterator(lists:seq(1, N) ++ [Twins] ++ lists:seq(1, M), [{buffer, Buffer}]),
                ?assertMatch({ok, [_, <<"DecodeError">>, nil, _, []]}, {ok, _} = pitcrew:call(Pool, Tool, [Iterator])),
                {ok, [Found | _]} = pitcrew:call(Pool, Tool, [Iterator]),
                ?assertEqual(lists:seq(1, N), Found)
            end
         || Tool <- [caught, async_caught], Buffer <- [1, 256], {N, M} <- [{0, 0}, {0, 9}, {20, 0}, {20, 300}, {150, 1}]
        ]
    end).

one_that_is_larger_than_a_frame_test_() ->
    on_each_pool(#{size => 1, max_frame => 4096}, fun(Pool, _) ->
        Texts = [binary:copy(<<"x">>, N) || N <- [10, 3000, 3000, 10, 4000, 4096, 10]],
        ?assertEqual({ok, [[10, 3000, 3000, 10, 4000], <<"too_big">>, []]}, pitcrew:call(Pool, caught_sizes, [pitcrew:iterator(Texts)])),
        ?assertEqual({ok, lists:duplicate(100, 1500)}, pitcrew:call(Pool, sizes, [pitcrew:iterator([binary:copy(<<"x">>, 1500) || _ <- lists:seq(1, 100)])]))
    end).

one_that_takes_too_long_test_() ->
    on_each_pool(#{size => 1, grace => 50}, fun(Pool, _) ->
        Self = self(),
        Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
        ?assertMatch({ok, [[1, 2], <<"timeout">>, nil, <<"there was no element for 100 ms">>, []]}, pitcrew:call(Pool, caught, [then(2, Slow)], #{function_timeout => 100})),
        receive {slow, Pid} -> is_gone(Pid) end,
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% ---- More than one

two_in_one_call_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Pairs = [[N, N] || N <- lists:seq(1, 300)],
        [
            begin
                %% The same one twice is enumerated twice.
                One = pitcrew:iterator(lists:seq(1, 300), [{buffer, 5}]),
                ?assertEqual({ok, Pairs}, pitcrew:call(Pool, Tool, [One, One])),
                ?assertEqual({ok, Pairs}, pitcrew:call(Pool, Tool, [One, pitcrew:iterator(lists:seq(1, 300))]))
            end
         || Tool <- [zipped, async_zipped]
        ]
    end).

shared_by_threads_or_tasks_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ?assertEqual({ok, [5000, 5000]}, pitcrew:call(Pool, in_threads, [pitcrew:iterator(lists:seq(1, 5000), [{buffer, 20}]), 4])),
        ?assertEqual({ok, [5000, 5000]}, pitcrew:call(Pool, in_tasks, [pitcrew:iterator(lists:seq(1, 5000), [{buffer, 20}]), 4]))
    end).

calls_at_once_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        Asyncs = [pitcrew:async(Pool, Tool, [pitcrew:iterator(lists:seq(1, 2000))]) || _ <- lists:seq(1, 8), Tool <- [total, async_total]],
        [?assertEqual({ok, 2001000}, pitcrew:await(Async, 30_000)) || Async <- Asyncs]
    end).

%% ---- Event loops

a_task_that_is_cancelled_loses_nothing_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, concurrency => 4}, fun(Pool) ->
            Self = self(),
            Next = fun
                (1) -> Self ! {source, self()}, {ok, 1, 2};
                (2) -> receive go -> {ok, 2, 3} end;
                (3) -> {ok, 3, 4};
                (4) -> done
            end,
            Async = pitcrew:async(Pool, impatient, [pitcrew:iterator(Next, 1, []), fun() -> Self ! {go, self()}, receive on -> 1 end end]),
            Source = receive {source, Pid} -> Pid end,
            receive {go, Waiter} -> Source ! go, Waiter ! on end,
            ?assertEqual({ok, [1, 2, 3]}, pitcrew:await(Async, 5_000))
        end)
    end).

without_await_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, Way) ->
        {ok, Said} = pitcrew:call(Pool, sync_in_async, [pitcrew:iterator([1, 2, 3])]),
        case Way of
            #{concurrency := _} -> ?assertMatch({match, _}, re:run(Said, "async for"));
            #{} -> ?assertEqual([1, 2, 3], Said)
        end,
        ?assertEqual({ok, [1, 2, 3]}, pitcrew:call(Pool, in_a_thread_of_the_loops, [pitcrew:iterator([1, 2, 3])])),
        ?assertEqual({ok, [1, 2, 3]}, pitcrew:call(Pool, own_loop, [pitcrew:iterator([1, 2, 3])]))
    end).

in_odd_places_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, [1, Said, [2, 3]]} = pitcrew:call(Pool, in_a_fork, [pitcrew:iterator([1, 2, 3], [{buffer, 1}])]),
        ?assertMatch({match, _}, re:run(Said, "forked"))
    end).

%% ---- Other sorts of calls

in_a_stream_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                ?assertEqual(lists:seq(2, 2000, 2), all(pitcrew:stream(Pool, Tool, [pitcrew:iterator(lists:seq(1, 1000))]))),
                %% Its consumer takes no more.
                Stream = pitcrew:stream(Pool, Tool, [endless([{buffer, 4}])], #{buffer => 2}),
                {ok, 2, More} = pitcrew:next(Stream),
                {ok, 4, Rest} = pitcrew:next(More),
                ok = pitcrew:stop(Rest),
                ?assert(was_stopped() =< 12)
            end
         || Tool <- [doubled, async_doubled]
        ],
        ?assertEqual([1, 2, 3], all(pitcrew:stream(Pool, passed, [pitcrew:iterator([1, 2, 3])]))),
        {error, #{kind := tool_error, message := Message}} = all(pitcrew:stream(Pool, doubled, [then(2, fun() -> error(boom) end)])),
        ?assertMatch({match, _}, re:run(Message, "boom")),
        _ = was_stopped()
    end).

all(Stream) -> all(Stream, []).

all(Stream, Chunks) ->
    case pitcrew:next(Stream) of
        {ok, Chunk, Rest} -> all(Rest, [Chunk | Chunks]);
        done -> lists:reverse(Chunks);
        {error, _} = Error -> Error
    end.

%% What a tool of the pool yields goes into another one.
from_tool_to_tool_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        Doubled = pitcrew:stream(Pool, doubled, [pitcrew:iterator(lists:seq(1, 1000))]),
        Iterator = pitcrew:iterator(fun pitcrew:next/1, Doubled, #{stop => fun(S) -> pitcrew:stop(S) end}),
        ?assertEqual({ok, 1001000}, pitcrew:call(Pool, total, [Iterator])),
        ?assertEqual({ok, [2, 4]}, pitcrew:call(Pool, take, [Iterator, 2]))
    end).

%% Where there is no other worker that is said at once.
what_is_enumerated_needs_the_worker_that_waits_for_it_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, timeout => infinity, checkout_timeout => infinity}, fun(Pool) ->
            Next = fun(N) -> case pitcrew:call(Pool, echo, [N]) of {ok, N} -> {ok, N, N + 1}; {error, _} = Error -> Error end end,
            {ok, [[], <<"error">>, _, Message, []]} = pitcrew:call(Pool, caught, [pitcrew:iterator(Next, 1, [])]),
            ?assertMatch({match, _}, re:run(Message, "would wait for itself"))
        end)
    end).

sessions_batches_and_maps_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        {ok, Session} = pitcrew:start_session(Pool, some_name, #{}),
        ?assertEqual({ok, [1, 2]}, pitcrew:call(Session, take, [endless(), 2])),
        _ = was_stopped(),
        ok = pitcrew:stop_session(Session),
        Calls = [{take, [pitcrew:iterator(lists:seq(1, N))]} || N <- lists:seq(0, 20)],
        ?assertEqual([{ok, lists:seq(1, N)} || N <- lists:seq(0, 20)], pitcrew:batch(Pool, Calls, #{batch_size => 8}))
    end).

in_json_there_are_none_test_() ->
    pitcrew_test:if_json(test(fun() ->
        with_pool(#{tools => ?TOOLS}, fun(Pool) ->
            ?assertMatch({error, #{kind := encode_error}}, pitcrew:call(Pool, take, [pitcrew:iterator([1])], #{protocol => json}))
        end)
    end)).

not_from_the_cache_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, cache => true}, fun(Pool) ->
            Made = atomics:new(1, []),
            Next = fun(N) -> _ = atomics:add(Made, 1, 1), case N of 3 -> done; _ -> {ok, N, N + 1} end end,
            Iterator = pitcrew:iterator(Next, 1, []),
            [?assertMatch({ok, [1, 2]}, pitcrew:call(Pool, take, [Iterator], #{cache => true})) || _ <- [1, 2]],
            ?assertEqual(6, atomics:get(Made, 1))
        end)
    end).
