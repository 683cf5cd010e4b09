%% What becomes of a call whose caller gives up or dies: the tool is interrupted, and its `finally' runs; or it goes on.
-module(pitcrew_interrupt_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_test, [whole/1, os_pids/1, until/1, meet/1, answer/2]).

%% Longer than any test: a worker that was killed was not meant to be.
-define(PATIENCE, 50_000).

test(Fun) -> {timeout, 60, Fun}.

tell(_, _, #{worker := OsPid, reason := Reason}, Pid) -> Pid ! {stopped, OsPid, Reason}.

%% A pool of one worker, where to meet its tools, a file for them to write to, and news of the workers' ends.
with_tools(Options, Fun) ->
    with_file(fun(File) ->
        pitcrew_test:with_meeting(options(Options, File), fun(Pool, Listener, Port) ->
            with_news(fun() -> Fun(Pool, Listener, [Port, File]) end)
        end)
    end).

options(Options, File) ->
    Env = #{"INTERRUPT_STOP_FILE" => File},
    maps:merge(#{size => 1, tools => ["py_tools", "interrupt_tools"], grace => ?PATIENCE, env => Env}, Options).

with_file(Fun) ->
    Dir = pitcrew_test:base(),
    ok = file:make_dir(Dir),
    try
        Fun(list_to_binary(filename:join(Dir, "file")))
    after
        file:del_dir_r(Dir)
    end.

with_news(Fun) ->
    ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, worker, stop], fun ?MODULE:tell/4, self()),
    try
        Fun()
    after
        pitcrew_telemetry:detach(?MODULE)
    end.

stopped(OsPid) ->
    receive
        {stopped, OsPid, Reason} -> Reason
    after 20_000 -> error({worker_goes_on, OsPid})
    end.

words(File) ->
    case file:read_file(File) of
        {ok, Text} -> string:lexemes(binary_to_list(Text), "\n");
        {error, enoent} -> []
    end.

start(Pool, Tool, Args, Options) -> spawn_monitor(fun() -> exit({answer, pitcrew:call(Pool, Tool, Args, Options)}) end).

ended({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, Reason} -> Reason
    after 30_000 -> error(no_answer)
    end.

kill({Pid, _} = Caller) ->
    exit(Pid, kill),
    ?assertEqual(killed, ended(Caller)).

state(Pool) ->
    #{workers := [#{state := State}]} = pitcrew:info(Pool),
    State.

signal(OsPid, Name) -> "" = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)).

%% ---- How calls end

%% The tool got its exception, the worker ran its hooks and exited, and another one is there.
interrupted_in_order(Pool, Socket, OsPid, File) ->
    ?assertEqual(interrupted, stopped(OsPid)),
    ?assertEqual(["finally", "stopped"], words(File)),
    gen_tcp:close(Socket),
    ?assertEqual(ok, whole(Pool)).

%% The tool is told to go on, and runs to its end in a worker that stays.
finishes(Pool, Socket, OsPid, File) ->
    answer(Socket, "x"),
    ?assertEqual(ok, whole(Pool)),
    ?assertEqual(["done", "finally"], words(File)),
    ?assertEqual([OsPid], os_pids(Pool)).

%% ---- cancel

at_the_deadline_the_tool_is_interrupted_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, [Port, File]) ->
            Caller = start(Pool, work, [Port, File], #{timeout => 500}),
            {Socket, OsPid} = meet(Listener),
            ?assertMatch({answer, {error, #{kind := timeout, worker := OsPid}}}, ended(Caller)),
            ?assertEqual(interrupted, stopped(OsPid)),
            ?assertEqual(["finally", "stopped"], words(File)),
            gen_tcp:close(Socket),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

when_its_caller_dies_the_tool_is_interrupted_test_() ->
    [
        {lists:flatten(io_lib:format("~p", [Options])),
            test(fun() ->
                with_tools(#{on_caller_exit => cancel}, fun(Pool, Listener, [Port, File]) ->
                    Caller = start(Pool, work, [Port, File], Options),
                    {Socket, OsPid} = meet(Listener),
                    kill(Caller),
                    interrupted_in_order(Pool, Socket, OsPid, File)
                end)
            end)}
     || Options <- [#{}, #{protocol => json}]
    ].

a_tool_that_goes_on_is_killed_test_() ->
    test(fun() ->
        with_tools(#{grace => 100}, fun(Pool, Listener, [Port, File]) ->
            Caller = start(Pool, stubborn, [Port], #{timeout => 500}),
            {Socket, OsPid} = meet(Listener),
            ?assertMatch({answer, {error, #{kind := timeout}}}, ended(Caller)),
            ?assertEqual({signal, sigkill}, stopped(OsPid)),
            ?assertEqual([], words(File)),
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

without_a_grace_it_is_killed_at_once_test_() ->
    test(fun() ->
        with_tools(#{grace => 0}, fun(Pool, Listener, [Port, _]) ->
            Caller = start(Pool, stubborn, [Port], #{}),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            ?assertEqual({signal, sigkill}, stopped(OsPid)),
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

%% The worker has a part of the frame and waits for the rest: there is no call to interrupt.
a_call_that_is_cut_while_it_is_written_ends_the_worker_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, _, [Port, File]) ->
            [OsPid] = os_pids(Pool),
            signal(OsPid, "STOP"),
            Caller = start(Pool, work, [Port, File, pitcrew:bytes(<<0:(64 bsl 23)>>)], #{}),
            ?assertEqual(ok, writing(Pool)),
            kill(Caller),
            ok = until(fun() -> case state(Pool) of ending -> ok; State -> State end end),
            signal(OsPid, "CONT"),
            ?assertEqual(interrupted, stopped(OsPid)),
            ?assertEqual(["stopped"], words(File)),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

%% Waits until a call is under way whose frame the socket did not take.
writing(Pool) ->
    Workers = pitcrew_pools:member(whereis(Pool), workers),
    [{_, Worker, _, _}] = supervisor:which_children(Workers),
    {ready, Data} = sys:get_state(Worker),
    [Channel] = [Term || Term <- tuple_to_list(Data), is_reference(Term), is_call_channel(Term)],
    until(fun() ->
        case pitcrew_nif:channel_info(Channel) of
            #{phase := writing, bytes_out := Out} when Out > 0 -> ok;
            Info -> Info
        end
    end).

is_call_channel(Term) ->
    try pitcrew_nif:channel_info(Term) of
        #{phase := Phase} -> Phase =/= control
    catch
        error:badarg -> false
    end.

a_pool_that_is_stopped_lets_an_interrupted_tool_tidy_up_test_() ->
    test(fun() ->
        with_file(fun(File) ->
            pitcrew_test:gated(fun(Base) ->
                {ok, Pool} = pitcrew_pool:start_link(pitcrew_test:options(Base, options(#{}, File))),
                Listener = pitcrew_test:listen(),
                Caller = start(Pool, tidy_up, [pitcrew_test:port(Listener), File], #{}),
                {Socket, OsPid} = meet(Listener),
                ?assertEqual(busy, state(Pool)),
                kill(Caller),
                {Again, OsPid} = meet(Listener),
                ?assertEqual(ending, state(Pool)),
                unlink(Pool),
                with_news(fun() ->
                    Stop = spawn_monitor(fun() -> exit({answer, pitcrew_pool:stop(Pool)}) end),
                    ok = until(fun() -> case pitcrew_pools:find(Pool) of absent -> ok; Found -> Found end end),
                    answer(Again, "x"),
                    ?assertEqual({answer, ok}, ended(Stop)),
                    ?assertEqual(interrupted, stopped(OsPid))
                end),
                ?assertEqual(["cancelled", "tidy", "stopped"], words(File)),
                [gen_tcp:close(S) || S <- [Socket, Listener]]
            end)
        end)
    end).

a_channel_that_was_lost_before_it_was_cut_test_() ->
    test(fun() ->
        with_tools(#{grace => 100, tools => ["close_channels"]}, fun(Pool, _, _) ->
            [First] = os_pids(Pool),
            Caller = start(Pool, close_channels, [], #{}),
            ok = until(fun() -> case state(Pool) of ending -> ok; State -> State end end),
            kill(Caller),
            ?assertEqual({signal, sigkill}, stopped(First)),
            ?assertEqual(ok, whole(Pool)),
            [Second] = os_pids(Pool),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, close_channels, [], #{timeout => 500})),
            ?assertEqual({signal, sigkill}, stopped(Second)),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

%% ---- finish

a_call_goes_on_when_its_caller_dies_test_() ->
    [
        {lists:flatten(io_lib:format("~p", [Options])),
            test(fun() ->
                with_tools(OfPool, fun(Pool, Listener, [Port, File]) ->
                    Caller = start(Pool, work, [Port, File], Options),
                    {Socket, OsPid} = meet(Listener),
                    kill(Caller),
                    ?assertEqual(busy, state(Pool)),
                    answer(Socket, "x"),
                    ?assertEqual(ok, whole(Pool)),
                    ?assertEqual(["done", "finally"], words(File)),
                    %% The same worker takes the next call, and one after that whose caller lives.
                    Next = start(Pool, work, [Port, File], Options),
                    {Socket2, OsPid} = meet(Listener),
                    answer(Socket2, "y"),
                    ?assertEqual({answer, {ok, <<"y">>}}, ended(Next)),
                    ?assertMatch(#{workers := [#{calls := 2, os_pid := OsPid}]}, pitcrew:info(Pool))
                end)
            end)}
     || {OfPool, Options} <- [
            {#{on_caller_exit => finish}, #{}},
            {#{}, #{on_caller_exit => finish}},
            {#{on_caller_exit => finish}, #{protocol => json}},
            {#{on_caller_exit => finish, spin_us => 100}, #{timeout => infinity}}
        ]
    ].

whoever_waits_gets_the_slot_of_a_call_that_went_on_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish}, fun(Pool, Listener, [Port, File]) ->
            Caller = start(Pool, work, [Port, File], #{}),
            {Socket, _} = meet(Listener),
            kill(Caller),
            Waiting = start(Pool, add, [1, 2], #{}),
            ok = pitcrew_test:queued(Pool, 1),
            answer(Socket, "x"),
            ?assertEqual({answer, {ok, 3}}, ended(Waiting)),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_large_answer_that_nobody_waits_for_is_read_test_() ->
    pitcrew_test:shared_or_not(60, #{on_caller_exit => finish}, fun(Options) ->
        with_tools(Options, fun(Pool, Listener, [Port, _]) ->
            Caller = start(Pool, large, [Port, 64 bsl 20], #{}),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            answer(Socket, "x"),
            ?assertEqual(ok, whole(Pool)),
            ?assertEqual([OsPid], os_pids(Pool)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end).

a_frame_that_is_half_out_goes_out_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish, shared => false}, fun(Pool, Listener, [Port, File]) ->
            [OsPid] = os_pids(Pool),
            signal(OsPid, "STOP"),
            Caller = start(Pool, work, [Port, File, pitcrew:bytes(<<0:(64 bsl 23)>>)], #{}),
            ?assertEqual(ok, writing(Pool)),
            kill(Caller),
            signal(OsPid, "CONT"),
            {Socket, OsPid} = meet(Listener),
            finishes(Pool, Socket, OsPid, File)
        end)
    end).

a_call_that_goes_on_does_not_go_on_for_ever_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish, timeout => 500}, fun(Pool, Listener, [Port, File]) ->
            Caller = start(Pool, work, [Port, File], #{timeout => infinity}),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            interrupted_in_order(Pool, Socket, OsPid, File)
        end)
    end).

a_deadline_ends_a_call_that_would_go_on_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish}, fun(Pool, Listener, [Port, File]) ->
            Caller = start(Pool, work, [Port, File], #{timeout => 500}),
            {Socket, OsPid} = meet(Listener),
            ?assertMatch({answer, {error, #{kind := timeout}}}, ended(Caller)),
            ?assertEqual(interrupted, stopped(OsPid)),
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_worker_that_dies_in_a_call_that_goes_on_is_replaced_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish}, fun(Pool, Listener, [Port, File]) ->
            Caller = start(Pool, work, [Port, File], #{}),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            pitcrew_test:kill(OsPid),
            ?assertEqual({signal, sigkill}, stopped(OsPid)),
            gen_tcp:close(Socket),
            ?assertEqual(ok, whole(Pool))
        end)
    end).

a_pool_stops_in_the_middle_of_a_call_that_goes_on_test_() ->
    test(fun() ->
        with_file(fun(File) ->
            pitcrew_test:gated(fun(Base) ->
                Options = options(#{on_caller_exit => finish}, File),
                {ok, Pool} = pitcrew_pool:start_link(pitcrew_test:options(Base, Options)),
                Listener = pitcrew_test:listen(),
                Caller = start(Pool, work, [pitcrew_test:port(Listener), File], #{}),
                {Socket, OsPid} = meet(Listener),
                kill(Caller),
                unlink(Pool),
                with_news(fun() ->
                    ?assertEqual(ok, pitcrew_pool:stop(Pool)),
                    ?assertEqual({signal, sigkill}, stopped(OsPid))
                end),
                [gen_tcp:close(S) || S <- [Socket, Listener]]
            end)
        end)
    end).

callers_killed_anywhere_lose_nothing_test_() ->
    test(fun() ->
        pitcrew_test:with_meeting(#{on_caller_exit => finish}, fun(Pool, _, _) ->
            [
                begin
                    %% Frames of one packet, such as the socket does not take at once, and work for dirty schedulers.
                    Caller = start(Pool, echo, [lists:seq(1, 1 bsl (N rem 18))], #{}),
                    _ = lists:seq(1, rand:uniform(20_000)),
                    {Pid, _} = Caller,
                    exit(Pid, kill),
                    case ended(Caller) of
                        killed -> ok;
                        {answer, {ok, [1 | _]}} -> ok
                    end,
                    ?assertEqual({ok, N}, pitcrew:call(Pool, echo, [N]))
                end
             || N <- lists:seq(1, 500)
            ],
            ?assertEqual(ok, whole(Pool))
        end)
    end).

%% ---- Calls for which no slot was claimed: that had to wait for one, or of pipelined workers

%% A caller whose call had to wait, until another one ended.
start_behind(Pool, Listener, Port, Tool, Args) ->
    Before = start(Pool, meet, [Port], #{}),
    {Socket, _} = meet(Listener),
    Caller = start(Pool, Tool, Args, #{}),
    ok = pitcrew_test:queued(Pool, 1),
    answer(Socket, "x"),
    ?assertEqual({answer, {ok, <<"x">>}}, ended(Before)),
    Caller.

a_call_that_waited_is_interrupted_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Listener, [Port, File]) ->
            Caller = start_behind(Pool, Listener, Port, work, [Port, File]),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            interrupted_in_order(Pool, Socket, OsPid, File)
        end)
    end).

a_call_that_waited_goes_on_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish}, fun(Pool, Listener, [Port, File]) ->
            Caller = start_behind(Pool, Listener, Port, work, [Port, File]),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            finishes(Pool, Socket, OsPid, File)
        end)
    end).

but_not_for_ever_test_() ->
    test(fun() ->
        with_tools(#{on_caller_exit => finish, timeout => 1_000}, fun(Pool, Listener, [Port, File]) ->
            Caller = start_behind(Pool, Listener, Port, work, [Port, File]),
            {Socket, OsPid} = meet(Listener),
            kill(Caller),
            interrupted_in_order(Pool, Socket, OsPid, File)
        end)
    end).

a_pipelined_worker_goes_on_test_() ->
    [
        {atom_to_list(OnExit),
            test(fun() ->
                with_tools(#{on_caller_exit => OnExit, pipeline => 4}, fun(Pool, Listener, [Port, File]) ->
                    Caller = start(Pool, work, [Port, File], #{}),
                    {Socket, OsPid} = meet(Listener),
                    kill(Caller),
                    _ = [answer(Socket, "x") || OnExit =:= finish],
                    ?assertEqual(ok, whole(Pool)),
                    ?assertEqual(Words, words(File)),
                    ?assertEqual([OsPid], os_pids(Pool)),
                    gen_tcp:close(Socket)
                end)
            end)}
     || {OnExit, Words} <- [{cancel, ["finally"]}, {finish, ["done", "finally"]}]
    ].
