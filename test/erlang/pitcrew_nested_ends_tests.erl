%% The ends of calls that run inside of others, and of those around them: deadlines, callers, workers, pools that end.
-module(pitcrew_nested_ends_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, until/1, is_gone/1]).

-define(TOOLS, ["function_tools", "nested_tools"]).

with_one(Fun) -> with_one(#{}, Fun).

with_one(Options, Fun) ->
    All = maps:merge(#{tools => ?TOOLS, size => 1, timeout => 20_000, checkout_timeout => infinity}, Options),
    {timeout, 60, fun() -> with_pool(All, Fun) end}.

value(Target, Tool) -> value(Target, Tool, []).
value(Target, Tool, Args) ->
    {ok, Value} = pitcrew:call(Target, Tool, Args),
    Value.

kind({error, #{kind := Kind}}) -> atom_to_binary(Kind);
kind({ok, Value}) -> Value.

%% A file that a tool touches when it has begun.
touched(Path) ->
    ?assertEqual(ok, until(fun() -> case filelib:is_file(Path ++ ".begun") of true -> ok; false -> not_yet end end)),
    ok = file:delete(Path ++ ".begun").

path() -> filename:join("/tmp", "pitcrew-nested-" ++ os:getpid() ++ "-" ++ integer_to_list(erlang:unique_integer([positive]))).

%% ---- The inner one ends

%% Neither its worker nor the call around it.
at_its_deadline_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Path = path(),
        Inner = fun() ->
            Kind = kind(pitcrew:call(Pool, sleeps_and_says, [list_to_binary(Path)], #{timeout => 200})),
            [Kind, value(Pool, pid), value(Pool, take_caught)]
        end,
        [
            begin
                ?assertEqual({ok, [<<"timeout">>, Pid, [<<"inner">>]]}, pitcrew:call(Pool, Tool, [Inner])),
                touched(Path)
            end
         || Tool <- [apply_to, async_apply, waits_and_says]
        ],
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid)),
        ?assertEqual({ok, []}, pitcrew:call(Pool, take_caught))
    end).

a_coroutine_at_its_deadline_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Inner = fun() -> [kind(pitcrew:call(Pool, async_sleeps, [60], #{timeout => 100})), value(Pool, async_pid)] end,
        [?assertEqual({ok, [<<"timeout">>, Pid]}, pitcrew:call(Pool, Tool, [Inner])) || Tool <- [apply_to, async_apply]]
    end).

%% Then both end with their worker.
that_cannot_be_interrupted_test_() ->
    with_one(#{grace => 100}, fun(Pool) ->
        Path = path(),
        Inner = fun() -> kind(pitcrew:call(Pool, cannot_be_interrupted, [list_to_binary(Path)], #{timeout => 200})) end,
        ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(Pool, caught, [fun() -> Inner(), receive never -> ok end end])),
        touched(Path),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

whose_caller_dies_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Path = path(),
        Inner = fun() ->
            Async = pitcrew:async(Pool, sleeps_and_says, [list_to_binary(Path)], #{timeout => infinity}),
            touched(Path),
            ok = pitcrew:cancel(Async),
            [value(Pool, take_caught), value(Pool, pid)]
        end,
        ?assertEqual({ok, [[<<"inner">>], Pid]}, pitcrew:call(Pool, apply_to, [Inner])),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

%% It goes on, and the call around it waits; but not for longer than the pool's timeout.
that_finishes_without_its_caller_test_() ->
    [
        with_one(#{timeout => Timeout, grace => 5_000}, fun(Pool) ->
            Pid = value(Pool, pid),
            Path = path(),
            Inner = fun() ->
                {Caller, Ref} = spawn_monitor(with_around(fun() ->
                    pitcrew:call(Pool, Tool, [list_to_binary(Path)], #{on_caller_exit => finish, timeout => infinity})
                end)),
                touched(Path),
                exit(Caller, kill),
                receive {'DOWN', Ref, process, _, _} -> ok end,
                {ok, Found} = pitcrew:call(Pool, take_caught, [], #{timeout => infinity}),
                Found
            end,
            ?assertEqual({ok, Caught}, pitcrew:call(Pool, apply_to, [Inner], #{timeout => infinity})),
            ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
        end)
     || {Tool, Timeout, Caught} <- [{touches_and_sleeps, 5_000, []}, {sleeps_and_says, 300, [<<"inner">>]}]
    ].

%% As those do that make calls for others.
with_around(Fun) ->
    Inherit = pitcrew_functions:inherit(),
    fun() ->
        Inherit(),
        Fun()
    end.

%% Some wait for their turn to run inside, and leave.
before_its_turn_test_() ->
    with_one(fun(Pool) ->
        Path = path(),
        Inner = fun() ->
            First = pitcrew:async(Pool, sleeps_and_says, [list_to_binary(Path)], #{timeout => infinity}),
            touched(Path),
            Kinds = [kind(pitcrew:call(Pool, echo, [1], #{timeout => 50})) || _ <- [1, 2]],
            ok = pitcrew:cancel(First),
            Kinds ++ [value(Pool, echo, [2])]
        end,
        ?assertEqual({ok, [<<"timeout">>, <<"timeout">>, 2]}, pitcrew:call(Pool, apply_to, [Inner]))
    end).

%% ---- The outer one ends

at_the_deadline_around_it_test_() ->
    with_one(#{grace => 5_000}, fun(Pool) ->
        [
            begin
                Self = self(),
                Path = path(),
                Inner = fun() -> Self ! {inner, self()}, value(Pool, sleeps_and_says, [list_to_binary(Path)]) end,
                Around = fun() -> value(Pool, waits_and_says, [Inner]) end,
                ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, Tool, [Around], #{timeout => 500})),
                receive {inner, Pid} -> is_gone(Pid) end,
                touched(Path),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, apply_to, [fun(X) -> value(Pool, echo, [X]) end, 1]))
            end
         || Tool <- [apply_to, async_apply]
        ]
    end).

whose_caller_dies_around_it_test_() ->
    with_one(fun(Pool) ->
        Path = path(),
        Inner = fun() -> value(Pool, sleeps_and_says, [list_to_binary(Path)]) end,
        Caller = spawn(fun() -> pitcrew:call(Pool, apply_to, [Inner], #{timeout => infinity}) end),
        touched(Path),
        exit(Caller, kill),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% The time of the function is over, and the call around it goes on; in the worker as soon as what runs inside of it has ended.
the_time_of_the_function_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        Path = path(),
        Inner = fun() -> value(Pool, sleeps_and_says, [list_to_binary(Path)]) end,
        ?assertMatch({ok, [<<"error">>, <<"timeout">> | _]}, pitcrew:call(Pool, caught, [Inner], #{function_timeout => 300})),
        touched(Path),
        ?assertEqual({ok, [<<"inner">>]}, pitcrew:call(Pool, take_caught)),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

%% ---- Workers

%% At each level: all calls that run there end with it, and none of them is tried anywhere else.
a_worker_that_dies_test_() ->
    with_one(#{retry => 0}, fun(Pool) ->
        [
            begin
                Self = self(),
                Level = fun
                    Level(0) ->
                        Self ! {kind, kind(pitcrew:call(Pool, dies, [9]))};
                    Level(N) ->
                        Self ! {kind, kind(pitcrew:call(Pool, element(1 + N rem 2, {apply_to, async_apply}), [Level, N - 1]))}
                end,
                Level(Depth),
                receive {kind, Kind} -> ?assertEqual(<<"worker_exit">>, Kind) end,
                %% Those inside are ended with the functions that have made them.
                [receive {kind, <<"worker_exit">>} -> ok after 0 -> ok end || _ <- lists:seq(1, Depth)],
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end
         || Depth <- [1, 2, 5]
        ]
    end).

a_worker_that_is_killed_while_it_waits_test_() ->
    with_one(fun(Pool) ->
        Self = self(),
        Deepest = fun() -> Self ! {deep, self()}, receive never -> ok end end,
        Inner = fun() -> kind(pitcrew:call(Pool, apply_to, [Deepest])) end,
        Caller = spawn_link(fun() -> Self ! {result, kind(pitcrew:call(Pool, apply_to, [Inner]))} end),
        Deep = receive {deep, Pid} -> Pid end,
        [#{os_pid := Worker}] = maps:get(workers, pitcrew:info(Pool)),
        _ = pitcrew_test:kill(Worker),
        receive {result, Kind} -> ?assertEqual(<<"worker_exit">>, Kind) end,
        is_gone(Deep),
        unlink(Caller),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% In the child the exception goes through the tool around it as well; in the worker everything goes on.
a_tool_that_forks_test_() ->
    with_one(fun(Pool) ->
        Pid = value(Pool, pid),
        ?assertEqual({ok, [1, Pid]}, pitcrew:call(Pool, apply_to, [fun() -> [value(Pool, forks), value(Pool, pid)] end])),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

%% It takes no more calls, but for those that it waits for itself.
a_worker_that_is_to_leave_test_() ->
    with_one(#{max_calls => 1}, fun(Pool) ->
        Inner = fun() -> [value(Pool, echo, [N]) || N <- [1, 2, 3]] end,
        [?assertEqual({ok, [1, 2, 3]}, pitcrew:call(Pool, apply_to, [Inner])) || _ <- [1, 2, 3]]
    end).

a_pool_that_stops_test_() ->
    {timeout, 60, fun() ->
        pitcrew_test:with_pool_to_stop(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
            Self = self(),
            Path = path(),
            Inner = fun() -> value(Pool, sleeps_and_says, [list_to_binary(Path)]) end,
            spawn(fun() -> Self ! {result, pitcrew:call(Pool, apply_to, [Inner], #{timeout => infinity})} end),
            touched(Path),
            _ = pitcrew:stop_pool(Pool, #{timeout => 0}),
            receive {result, Result} -> ?assertMatch({error, #{kind := _}}, Result) end
        end)
    end}.
