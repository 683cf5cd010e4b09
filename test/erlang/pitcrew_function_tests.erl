%% Functions in the arguments of calls, on every sort of pool: what crosses, what ends them, and calls that they make themselves.
-module(pitcrew_function_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, chunks/1, is_gone/1]).

-define(TOOLS, ["function_tools"]).
-define(IN_THREADS, ["function_tools", "nested_tools"]).

test(Fun) -> {timeout, 60, Fun}.

on_each_pool(Options, Fun) -> pitcrew_test:on_each_pool(Options#{tools => ?TOOLS}, Fun).

%% ---- Values

what_a_function_is_given_and_gives_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Terms = [nil, true, 0, -1, 1 bsl 100, 1.5, <<"Zoë"/utf8>>, [1, [2]], {a, {}}, #{<<"k">> => [nil]}, self(), make_ref(), binary:copy(<<"x">>, 300_000)],
        [?assertEqual({ok, Term}, pitcrew:call(Pool, Tool, [fun(X) -> X end, Term])) || Tool <- [apply_to, async_apply], Term <- Terms],
        ?assertEqual({ok, 3}, pitcrew:call(Pool, apply_to, [fun erlang:'+'/2, 1, 2])),
        ?assertEqual({ok, [0, 1, 4, 9]}, pitcrew:call(Pool, times, [fun(X) -> X * X end, 4])),
        ?assertEqual({ok, [0, 1, 4, 9]}, pitcrew:call(Pool, async_times, [fun(X) -> X * X end, 4])),
        ?assertEqual({ok, [0, 1, 4, 9]}, pitcrew:call(Pool, gathered, [fun(X) -> X * X end, 4])),
        ?assertEqual({ok, 7}, pitcrew:call(Pool, apply_to, #{<<"function">> => fun() -> 7 end}))
    end).

%% 64 MiB each way, several at once: what a function gives is on its way to the worker as the next one's arguments come from there.
much_at_once_test_() ->
    [
        {"shared " ++ atom_to_list(Shared), Test}
     || Shared <- [true, false],
        Test <- on_each_pool(#{size => 1, shared => Shared}, fun(Pool, _) ->
            Much = binary:copy(<<"0123456789abcdef">>, 4 bsl 20),
            Back = fun(N, Given) when byte_size(Given) =:= 64 bsl 20 -> [N, Given] end,
            {ok, All} = pitcrew:call(Pool, gathered, [Back, 3, Much], #{timeout => 50_000}),
            ?assertEqual([0, 1, 2], [N || [N, _] <- All]),
            ?assert(lists:all(fun([_, Given]) -> Given =:= Much end, All))
        end)
    ].

what_is_given_by_name_comes_last_as_a_map_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Show = fun(X, Named) -> {X, Named} end,
        ?assertEqual({ok, {1, #{<<"k">> => 2}}}, pitcrew:call(Pool, apply_to, {[Show, 1], #{<<"k">> => 2}}))
    end).

functions_anywhere_in_the_arguments_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Add = fun(X) -> X + 1 end,
        ?assertEqual({ok, [2, 4]}, pitcrew:call(Pool, nested, [#{deep => [Add], other => fun(X) -> X * 2 end}])),
        ?assertEqual({ok, [2, 3]}, pitcrew:call(Pool, nested, [#{deep => {Add, Add}, other => Add}]))
    end).

%% There it must be equal to itself.
in_a_key_a_function_is_opaque_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Map = #{fun() -> 1 end => 2},
        ?assertEqual({ok, Map}, pitcrew:call(Pool, echo, [Map]))
    end).

a_function_cannot_be_sent_back_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ?assertMatch({error, #{kind := result_error}}, pitcrew:call(Pool, give_back, [fun() -> 1 end])),
        ?assertMatch({error, #{kind := tool_error}}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, {[fun() -> 1 end]}])),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

a_process_of_its_own_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, {Pid, Callers, Leader}} = pitcrew:call(Pool, apply_to, [fun() -> {self(), get('$callers'), group_leader()} end]),
        ?assertNotEqual(self(), Pid),
        ?assertEqual([self()], Callers),
        ?assertEqual(group_leader(), Leader)
    end).

threads_of_the_tools_own_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ?assertEqual({ok, lists:seq(0, 20)}, pitcrew:call(Pool, in_threads, [fun(X) -> X end, 20]))
    end).

a_process_that_a_tool_forks_cannot_call_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, Said} = pitcrew:call(Pool, in_a_fork, [fun(X) -> X end]),
        ?assertMatch({match, _}, re:run(Said, "forked"))
    end).

others_in_the_worker_are_served_meanwhile_or_afterwards_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Others = fun() ->
            Asyncs = [pitcrew:async(Pool, echo, [N]) || N <- lists:seq(1, 10)],
            Self ! {asyncs, Asyncs},
            2
        end,
        %% Made by nobody that the call waits for.
        Apart = fun() ->
            Ref = monitor(process, spawn(Others)),
            receive {'DOWN', Ref, process, _, _} -> 2 end
        end,
        ?assertEqual({ok, 2}, pitcrew:call(Pool, apply_to, [Apart])),
        ?assertEqual({ok, 3}, pitcrew:call(Pool, echo, [3])),
        receive {asyncs, Asyncs} -> ?assertEqual(10, length(Asyncs)) end
    end).

%% No call may wait in this pool.
without_a_queue_test_() ->
    on_each_pool(#{size => 1, max_queue => 0}, fun(Pool, _) ->
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, 1]))
    end).

%% ---- Errors

what_a_function_raises_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                {ok, [<<"error">>, Kind, _, Message, Trace]} = pitcrew:call(Pool, Tool, [Function]),
                ?assertEqual(Expected, Kind),
                ?assertMatch({match, _}, re:run(Message, Text)),
                ?assert(is_binary(Trace))
            end
         || Tool <- [caught, async_caught],
            {Expected, Text, Function} <- [
                {<<"error">>, "boom|{bad,1}|bad", fun() -> error({bad, 1}) end},
                {<<"throw">>, "thrown", fun() -> throw(thrown) end},
                {<<"exit">>, "over", fun() -> exit(over) end},
                {<<"exit">>, "normal", fun() -> exit(normal) end}
            ]
        ],
        {ok, [_, <<"exit">>, nil, Killed, nil]} = pitcrew:call(Pool, caught, [fun() -> exit(self(), kill), receive never -> ok end end]),
        ?assertMatch({match, _}, re:run(Killed, "killed"))
    end).

what_does_not_fit_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Says = fun(Kind, Args) -> ?assertMatch({ok, [<<"error">>, Kind | _]}, pitcrew:call(Pool, caught, Args)) end,
        Says(<<"bad_arguments">>, [fun() -> 1 end, 1]),
        Says(<<"bad_arguments">>, [fun(X) -> X end]),
        Says(<<"result_error">>, [fun() -> <<255>> end]),
        Says(<<"result_error">>, [fun() -> #{'__struct__' => 'Elixir.No.Such'} end]),
        ?assertMatch({error, #{kind := tool_error, type := <<"pitcrew.EncodeError">>}}, pitcrew:call(Pool, send_object, [fun(X) -> X end])),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

a_result_that_is_larger_than_a_frame_test_() ->
    on_each_pool(#{size => 1, max_frame => 100_000}, fun(Pool, _) ->
        [
            ?assertMatch({ok, [<<"error">>, <<"too_big">> | _]}, pitcrew:call(Pool, caught, [fun() -> binary:copy(<<"x">>, N) end]))
         || N <- [99_999, 1_000_000]
        ],
        ?assertMatch({ok, [<<"value">>, _]}, pitcrew:call(Pool, caught, [fun() -> binary:copy(<<"x">>, 99_000) end]))
    end).

errors_cross_any_number_of_levels_test_() ->
    on_each_pool(#{size => 3}, fun(Pool, _) ->
        Level = fun
            Level(0) -> error({deepest, level});
            Level(N) ->
                case pitcrew:call(Pool, apply_to, [Level, N - 1]) of
                    {ok, Value} -> Value;
                    {error, #{message := Message}} -> error({level, N, Message})
                end
        end,
        {error, #{kind := tool_error, type := Type, message := Message}} = pitcrew:call(Pool, apply_to, [Level, 2]),
        ?assertMatch({match, _}, re:run(Type, "ElixirError")),
        ?assertMatch({match, _}, re:run(Message, "deepest"))
    end).

a_function_that_takes_too_long_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
        ?assertMatch({ok, [<<"error">>, <<"timeout">> | _]}, pitcrew:call(Pool, caught, [Slow], #{function_timeout => 20})),
        receive {slow, Pid} -> is_gone(Pid) end
    end).

%% ---- Lifetimes

afterwards_it_cannot_be_called_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, nil} = pitcrew:call(Pool, keep, [fun() -> 1 end]),
        ?assertMatch({ok, [<<"error">>, <<"gone">> | _]}, pitcrew:call(Pool, call_kept)),
        %% Another call's function is another one.
        ?assertMatch({ok, 2}, pitcrew:call(Pool, apply_to, [fun() -> 2 end]))
    end).

a_thread_that_waits_when_the_call_ends_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
        {ok, nil} = pitcrew:call(Pool, left_behind, [Slow]),
        receive {slow, Pid} -> is_gone(Pid) end,
        ?assertMatch({ok, [[<<"error">>, <<"gone">> | _]]}, pitcrew:call(Pool, take_kept)),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, 1]))
    end).

the_deadline_of_the_call_ends_its_functions_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                Self = self(),
                Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
                ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, Tool, [Slow], #{timeout => 100})),
                receive {slow, Pid} -> is_gone(Pid) end,
                ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, 1]))
            end
         || Tool <- [apply_to, async_apply, catches_cancel]
        ]
    end).

a_caller_that_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
        Caller = spawn(fun() -> pitcrew:call(Pool, apply_to, [Slow], #{timeout => infinity}) end),
        receive {slow, Pid} -> ok end,
        exit(Caller, kill),
        is_gone(Pid),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, 1]))
    end).

a_caller_that_dies_and_lets_its_call_finish_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
        Caller = spawn(fun() -> pitcrew:call(Pool, caught, [Slow], #{on_caller_exit => finish}) end),
        receive {slow, Pid} -> ok end,
        exit(Caller, kill),
        is_gone(Pid),
        %% The tool is told that nobody runs the function any more, and ends.
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, 1]))
    end).

a_worker_that_dies_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Self = self(),
        Kill = fun() ->
            Self ! {inside, self()},
            {ok, Worker} = {ok, hd([W || #{os_pid := W} <- maps:get(workers, pitcrew:info(Pool))])},
            _ = os:cmd("kill -9 " ++ integer_to_list(Worker)),
            receive never -> ok end
        end,
        ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(Pool, apply_to, [Kill])),
        receive {inside, Pid} -> is_gone(Pid) end,
        ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(Pool, stops_itself, [fun(X) -> X end])),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> X end, 1]))
    end).

a_pool_that_stops_test_() ->
    [
        test(fun() ->
            pitcrew_test:with_pool_to_stop(Way#{tools => ?TOOLS, size => 1}, fun(Pool) ->
                Self = self(),
                Slow = fun() -> Self ! {slow, self()}, receive never -> ok end end,
                spawn(fun() -> Self ! {result, pitcrew:call(Pool, apply_to, [Slow], #{timeout => infinity})} end),
                Pid = receive {slow, Inside} -> Inside end,
                %% No time for the call.
                _ = pitcrew:stop_pool(Pool, #{timeout => 0}),
                receive {result, Result} -> ?assertMatch({error, #{kind := _}}, Result) end,
                is_gone(Pid)
            end)
        end)
     || Way <- pitcrew_test:ways()
    ].

%% ---- Calls that functions make

a_function_that_calls_the_pool_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        Again = fun(X) -> element(2, {ok, _} = pitcrew:call(Pool, echo, [X])) end,
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [Again, 1])),
        Awaits = fun(X) -> element(2, {ok, _} = pitcrew:await(pitcrew:async(Pool, echo, [X]), 5_000)) end,
        ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [Awaits, 1]))
    end).

%% At once, and not at some deadline: what is called from a thread of the tool's own holds the worker, which can run nothing meanwhile. The others:
%% pitcrew_nested_tests.
a_call_that_would_wait_for_itself_test_() ->
    [
        test(fun() ->
            with_pool(#{tools => ?IN_THREADS, size => Size, timeout => infinity, checkout_timeout => infinity}, fun(Pool) ->
                Level = fun
                    Level(0) -> 0;
                    Level(N) -> case pitcrew:call(Pool, in_thread, [Level, N - 1]) of {ok, V} -> V; {error, #{kind := Kind}} -> Kind end
                end,
                [?assertEqual({ok, 0}, pitcrew:call(Pool, in_thread, [Level, Size - 1])) || _ <- [1, 2, 3]],
                [?assertMatch({ok, <<"overloaded">>}, text(pitcrew:call(Pool, in_thread, [Level, Size]))) || _ <- [1, 2, 3]],
                Awaits = fun() -> {error, #{kind := Kind}} = pitcrew:await(pitcrew:async(Pool, in_thread, [Level, Size - 1]), infinity), Kind end,
                Size =:= 1 andalso ?assertMatch({ok, <<"overloaded">>}, text(pitcrew:call(Pool, in_thread, [Awaits])))
            end)
        end)
     || Size <- [1, 2, 3]
    ].

text({ok, Atom}) when is_atom(Atom) -> {ok, atom_to_binary(Atom)};
text(Other) -> Other.

%% Two that wait for each other are found as well: the one that comes last has the error, and then the others go on.
calls_that_would_wait_for_each_other_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 2, timeout => infinity, checkout_timeout => infinity}, fun(Pool) ->
            Self = self(),
            Meet = fun() ->
                Self ! {here, self()},
                receive go -> ok end,
                case pitcrew:call(Pool, echo, [1]) of {ok, 1} -> <<"ok">>; {error, #{kind := overloaded}} -> <<"overloaded">> end
            end,
            [spawn(fun() -> Self ! {result, pitcrew:call(Pool, apply_to, [Meet])} end) || _ <- [1, 2]],
            Pids = [receive {here, Pid} -> Pid end || _ <- [1, 2]],
            [Pid ! go || Pid <- Pids],
            Results = [receive {result, {ok, Result}} -> Result end || _ <- [1, 2]],
            ?assert(lists:member(<<"ok">>, Results))
        end)
    end).

%% One has the other worker, and waits there; the others run in the worker of the call around them.
several_at_once_out_of_one_function_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 2, timeout => infinity, checkout_timeout => infinity}, fun(Pool) ->
            Self = self(),
            Held = fun() -> Self ! {here, self()}, receive go -> 1 end end,
            Several = fun() ->
                First = pitcrew:async(Pool, apply_to, [Held]),
                receive begun -> ok end,
                Others = [element(2, {ok, _} = pitcrew:await(pitcrew:async(Pool, echo, [N]), infinity)) || N <- [2, 3]],
                Self ! others,
                [element(2, {ok, _} = pitcrew:await(First, infinity)) | Others]
            end,
            Outer = fun() -> Self ! {outer, self()}, Several() end,
            Caller = spawn_link(fun() -> Self ! {self(), pitcrew:call(Pool, apply_to, [Outer])} end),
            Function = receive {outer, Pid} -> Pid end,
            Inner = receive {here, Held1} -> Held1 end,
            Function ! begun,
            receive others -> Inner ! go end,
            receive {Caller, Result} -> ?assertEqual({ok, [1, 2, 3]}, Result) end,
            %% What was counted is given back.
            Once = fun() -> element(2, {ok, _} = pitcrew:call(Pool, echo, [4])) end,
            ?assertEqual({ok, 4}, pitcrew:call(Pool, apply_to, [Once]))
        end)
    end).

%% Whoever makes the calls for the function.
those_that_others_make_for_it_would_wait_as_well_test_() ->
    test(fun() ->
        with_pool(#{tools => ?IN_THREADS, size => 1, timeout => 3_000, checkout_timeout => infinity}, fun(Pool) ->
            Batch = fun() -> [atom_to_binary(Kind) || {error, #{kind := Kind}} <- pitcrew:batch(Pool, [{echo, [1]}, {pid, []}, {keep, [2]}])] end,
            ?assertEqual({ok, [<<"overloaded">> || _ <- [1, 2, 3]]}, pitcrew:call(Pool, in_thread, [Batch], #{timeout => 20_000})),
            Sent = fun() ->
                {Ref, _} = pitcrew:stream_to(self(), Pool, echo, [1], []),
                receive {pitcrew_stream, Ref, {error, #{kind := Kind}}} -> atom_to_binary(Kind) end
            end,
            ?assertEqual({ok, <<"overloaded">>}, pitcrew:call(Pool, in_thread, [Sent], #{timeout => 20_000}))
        end)
    end).

%% In chunks that run at once, with one worker for all of them.
a_batch_out_of_a_function_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        Batch = fun() -> [Value || {ok, Value} <- pitcrew:batch(Pool, [{echo, [N]} || N <- lists:seq(1, 20)], #{batch_size => 2})] end,
        ?assertEqual({ok, lists:seq(1, 20)}, pitcrew:call(Pool, apply_to, [Batch]))
    end).

%% What waits for functions does not count, however many.
many_at_once_never_wait_for_themselves_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, concurrency => 2, pipeline => 100, timeout => 20_000}, fun(Pool) ->
            Level = fun
                Level(0) -> 0;
                Level(N) -> element(2, {ok, _} = pitcrew:call(Pool, element(1 + N rem 2, {apply_to, async_apply}), [Level, N - 1])) + 1
            end,
            ?assertEqual({ok, 30}, pitcrew:call(Pool, apply_to, [Level, 30])),
            ?assertEqual({ok, 30}, pitcrew:call(Pool, apply_to, [Level, 30]))
        end)
    end).

one_that_never_ends_test_() ->
    [
        test(fun() ->
            with_pool(Options#{tools => ?TOOLS, timeout => infinity}, fun(Pool) ->
                Forever = fun Forever() -> case pitcrew:call(Pool, apply_to, [Forever]) of {ok, V} -> V; {error, #{kind := K}} -> K end end,
                ?assertEqual({ok, <<"overloaded">>}, text(pitcrew:call(Pool, apply_to, [Forever]))),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end)
        end)
     || Options <- [#{size => 1, concurrency => 1000}, #{size => 1}, #{size => 2}]
    ].

%% The count is right again, whatever has ended the functions.
what_was_counted_is_given_back_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 2, checkout_timeout => infinity}, fun(Pool) ->
            Self = self(),
            Deep = fun() -> pitcrew:call(Pool, apply_to, [fun() -> Self ! {deep, self()}, receive never -> ok end end]) end,
            [
                begin
                    Caller = spawn(fun() -> pitcrew:call(Pool, apply_to, [Deep]) end),
                    receive {deep, Pid} -> ok end,
                    exit(Caller, kill),
                    is_gone(Pid)
                end
             || _ <- [1, 2, 3]
            ],
            Again = fun(X) -> element(2, {ok, _} = pitcrew:call(Pool, echo, [X])) end,
            ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [Again, 1]))
        end)
    end).

in_a_session_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 2, checkout_timeout => infinity}, fun(Pool) ->
            {ok, _} = pitcrew:session(Pool, fun(Session) ->
                Other = fun() -> {ok, One} = pitcrew:call(Pool, echo, [1]), One end,
                ?assertEqual({ok, 1}, pitcrew:call(Session, apply_to, [Other]))
            end)
        end)
    end).

%% ---- Where there are none

where_a_function_cannot_be_given_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
            ?assertMatch({error, #{kind := encode_error}}, pitcrew:call(Pool, apply_to, [fun() -> 1 end], #{protocol => json})),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
        end)
    end).

%% ---- Streams

in_a_stream_test_() ->
    pitcrew_test:on_each_pool(#{tools => ["function_stream_tools"], size => 1}, fun(Pool, _) ->
        Self = self(),
        Told = fun(N) -> Self ! {told, N}, nil end,
        [
            begin
                ?assertEqual([0, 1, 2], chunks(pitcrew:stream(Pool, yields_and_calls, [Told, 3]))),
                [receive {told, N} -> ok end || N <- [0, 1, 2]]
            end
         || _ <- [1, 2]
        ],
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).
