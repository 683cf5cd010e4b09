%% How many workers a pool has, and how each of them comes and goes: overflow, lazy pools, the queue's limit, recycling, draining,
%% health. Real Python, a leak gate around every test.
-module(pitcrew_lives_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").

-export([handle/4]).
-import(pitcrew_test, [with_pool/2, with_meeting/2, meet/1, answer/2, until/1]).

test(Fun) -> {timeout, 60, Fun}.

workers(Pool) -> maps:get(workers, pitcrew:info(Pool)).

states(Pool) -> [State || #{state := State} <- workers(Pool)].

%% Waits until a pool has so many workers, all idle.
idle(Pool, N) ->
    ?assertEqual(ok, until(fun() ->
        case states(Pool) of
            States when length(States) =:= N -> [ok || State <- States, State =/= idle] =:= [] andalso ok;
            States -> States
        end
    end)).

meetings(Pool, Listener, N) ->
    Port = pitcrew_test:port(Listener),
    Calls = [pitcrew:async(Pool, meet, [Port], #{timeout => 20_000, checkout_timeout => 15_000}) || _ <- lists:seq(1, N)],
    {Calls, [meet(Listener) || _ <- lists:seq(1, N)]}.

part({Calls, Met}) ->
    [answer(Socket, "x") || {Socket, _} <- Met],
    [{ok, _} = pitcrew:await(Call) || Call <- Calls].

%% ---- Overflow

both_ways(Test) -> [{atom_to_list(S) ++ integer_to_list(P), Test(#{strategy => S, pipeline => P})} || S <- [lifo, fifo], P <- [1, 4]].

calls_that_wait_bring_more_workers_which_leave_when_idle_test_() ->
    both_ways(fun(Options) ->
        test(fun() ->
            with_meeting(Options#{size => 1, max_overflow => 2, idle_timeout => 200}, fun(Pool, Listener, _) ->
                ?assertMatch([idle], states(Pool)),
                %% All three are in a tool at the same time, so there are three workers.
                {_, Met} = All = meetings(Pool, Listener, 3),
                ?assertEqual(3, length(lists:usort([OsPid || {_, OsPid} <- Met]))),
                part(All),
                idle(Pool, 1),
                ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
            end)
        end)
    end).

no_more_than_allowed_test_() ->
    test(fun() ->
        with_meeting(#{size => 1, max_overflow => 1, idle_timeout => infinity}, fun(Pool, Listener, Port) ->
            {_, Met} = All = meetings(Pool, Listener, 2),
            Third = pitcrew:async(Pool, meet, [Port], #{timeout => 20_000, checkout_timeout => 15_000}),
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:call(Pool, add, [1, 2], #{checkout_timeout => 100})),
            ?assertEqual(2, length(workers(Pool))),
            part(All),
            {Socket, OsPid} = meet(Listener),
            ?assert(lists:member(OsPid, [P || {_, P} <- Met])),
            part({[Third], [{Socket, OsPid}]}),
            %% Nobody leaves without a limit to idleness.
            idle(Pool, 2)
        end)
    end).

an_overflow_worker_that_dies_is_replaced_and_its_call_lost_test_() ->
    test(fun() ->
        with_meeting(#{size => 1, max_overflow => 1, idle_timeout => 200}, fun(Pool, Listener, _) ->
            {Calls, [{S1, First}, {S2, Second}]} = meetings(Pool, Listener, 2),
            [pitcrew_test:kill(OsPid) || OsPid <- [First, Second]],
            [?assertMatch({error, #{kind := worker_exit}}, pitcrew:await(Call)) || Call <- Calls],
            [ok = gen_tcp:close(S) || S <- [S1, S2]],
            idle(Pool, 1),
            ?assertNot(lists:member(hd([P || #{os_pid := P} <- workers(Pool)]), [First, Second]))
        end)
    end).

%% ---- Lazy pools

a_lazy_pool_has_no_workers_until_it_is_called_test_() ->
    [
        test(fun() ->
            with_meeting(#{size => 2, lazy => true, pipeline => P, idle_timeout => 200}, fun(Pool, Listener, _) ->
                ?assertEqual([], workers(Pool)),
                ?assertMatch(#{status := ok, wanted := 0, ready := 0}, pitcrew:health(Pool)),
                ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
                ?assertEqual(1, length(workers(Pool))),
                part(meetings(Pool, Listener, 2)),
                ?assertEqual(2, length(workers(Pool))),
                idle(Pool, 0),
                ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
            end)
        end)
     || P <- [1, 4]
    ].

%% The server has looked how many calls wait, and is held up while it starts a worker for one. There were times when nobody told it of the others;
%% or when it looked while the worker had taken a call and had not said yet that it was ready, which depends on what is faster: ten times.
calls_that_come_while_a_worker_starts_bring_more_test_() ->
    [
        test(fun() ->
            with_meeting(#{size => 2, lazy => true, max_overflow => 1}, fun(Pool, Listener, Port) ->
                {ok, #pool{sup = Sup, dispatch = Dispatch}} = pitcrew_pools:find(Pool),
                Workers = pitcrew_pools:member(Sup, workers),
                Call = fun() -> pitcrew:async(Pool, meet, [Port], #{timeout => 20_000, checkout_timeout => 15_000}) end,
                ok = sys:suspend(Workers),
                First = Call(),
                ?assertEqual(ok, until(fun() -> held_up(Workers) end)),
                Others = [Call(), Call()],
                ?assertEqual(ok, until(fun() -> queued(3, Dispatch) end)),
                ok = sys:resume(Workers),
                part({[First | Others], [meet(Listener) || _ <- lists:seq(1, 3)]})
            end)
        end)
     || _ <- lists:seq(1, 10)
    ].

held_up(Workers) ->
    case process_info(Workers, message_queue_len) of
        {_, 1} -> ok;
        Other -> Other
    end.

queued(N, Dispatch) ->
    case pitcrew_nif:dispatch_info(Dispatch) of
        #{queued := N} -> ok;
        Other -> Other
    end.

a_lazy_pool_knows_its_tools_when_asked_test_() ->
    test(fun() ->
        with_pool(#{lazy => true}, fun(Pool) ->
            ?assertEqual([], workers(Pool)),
            ?assert(lists:member(<<"add">>, [Name || #{name := Name} <- pitcrew:tools(Pool)]))
        end)
    end).

a_lazy_pool_says_at_its_start_what_does_not_import_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            Options = pitcrew_test:options(Base, #{lazy => true, tools => ["import_raises"]}),
            ?assertMatch({error, #{kind := start_error}}, pitcrew_pool:start_link(Options))
        end)
    end).

%% ---- The queue

a_full_queue_answers_at_once_test_() ->
    [
        test(fun() ->
            with_meeting(#{size => 1, max_queue => 1, pipeline => P}, fun(Pool, Listener, Port) ->
                {_, _} = All = meetings(Pool, Listener, 1),
                Waiting = [pitcrew:async(Pool, meet, [Port], #{timeout => 20_000, checkout_timeout => infinity}) || _ <- lists:seq(1, P)],
                ?assertEqual(ok, pitcrew_test:queued(Pool, 1)),
                {Time, Refused} = timer:tc(fun() -> pitcrew:call(Pool, add, [1, 2]) end),
                ?assertMatch({error, #{kind := overloaded, tool := <<"add">>}}, Refused),
                ?assert(Time < 5_000_000),
                {error, #{message := Message}} = Refused,
                ?assertMatch({_, _}, binary:match(Message, <<"max_queue">>)),
                part(All),
                Met = [begin {Socket, OsPid} = meet(Listener), answer(Socket, "x"), OsPid end || _ <- Waiting],
                ?assertEqual(P, length(Met)),
                [?assertMatch({ok, _}, pitcrew:await(Call)) || Call <- Waiting],
                ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
            end)
        end)
     || P <- [1, 3]
    ].

without_a_queue_the_calls_that_bring_workers_still_wait_for_them_test_() ->
    test(fun() ->
        with_meeting(#{size => 2, lazy => true, max_queue => 0}, fun(Pool, Listener, _) ->
            All = meetings(Pool, Listener, 2),
            ?assertMatch({error, #{kind := overloaded}}, pitcrew:call(Pool, add, [1, 2])),
            part(All)
        end)
    end).

%% ---- Whose turn it is

the_strategy_says_which_worker_is_next_test_() ->
    Pids = fun(Options) ->
        with_pool(Options#{size => 3}, fun(Pool) -> [begin {ok, P} = pitcrew:call(Pool, pid), P end || _ <- lists:seq(1, 6)] end)
    end,
    [
        test(fun() ->
            [Same | Rest] = Pids(#{strategy => lifo, pipeline => Depth}),
            ?assertEqual([Same, Same, Same, Same, Same], Rest),
            [A, B, C, D, E, F] = Pids(#{strategy => fifo, pipeline => Depth}),
            ?assertEqual(3, length(lists:usort([A, B, C]))),
            ?assertEqual([A, B, C], [D, E, F])
        end)
     || Depth <- [1, 4]
    ].

%% ---- Recycling

handle(Event, Measurements, Metadata, Pid) -> Pid ! {Event, Measurements, Metadata}.

with_events(Names, Fun) ->
    ok = pitcrew_telemetry:attach_many(?MODULE, [[pitcrew_test | Name] || Name <- Names], fun ?MODULE:handle/4, self()),
    try
        Fun()
    after
        pitcrew_telemetry:detach(?MODULE),
        flush()
    end.

flush() ->
    receive
        {[pitcrew_test | _], _, _} -> flush()
    after 0 -> ok
    end.

worn_workers_are_replaced_and_no_call_fails_test_() ->
    [
        test(fun() ->
            with_pool(#{size => 2, max_calls => 100, pipeline => Depth}, fun(Pool) ->
                with_events([[worker, recycle], [worker, stop]], fun() ->
                    Callers = [spawn_monitor(fun() -> call_until_told(Pool) end) || _ <- lists:seq(1, 8)],
                    [begin
                        receive
                            {[pitcrew_test, worker, recycle], #{calls := Calls}, #{reason := max_calls}} -> ?assert(Calls >= 100);
                            {'DOWN', _, process, _, Failed} -> error(Failed)
                        end,
                        receive
                            {[pitcrew_test, worker, stop], #{calls := Last}, #{reason := recycled}} -> ?assert(Last >= 100);
                            {'DOWN', _, process, _, Failed2} -> error(Failed2)
                        end
                     end || _ <- lists:seq(1, 6)],
                    [Caller ! enough || {Caller, _} <- Callers],
                    [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Ref} <- Callers],
                    ?assertEqual(ok, pitcrew_test:whole(Pool))
                end)
            end)
        end)
     || Depth <- [1, 8]
    ].

call_until_told(Pool) ->
    {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
    receive
        enough -> ok
    after 0 -> call_until_told(Pool)
    end.

a_busy_worker_ends_its_call_before_it_leaves_test_() ->
    [
        test(fun() ->
            with_meeting(#{size => 1, max_calls => 1, pipeline => Depth}, fun(Pool, Listener, _) ->
                {[Call], [{Socket, Old}]} = meetings(Pool, Listener, 1),
                %% Its successor is there, and serves.
                ?assertEqual(ok, until(fun() ->
                    case pitcrew:call(Pool, pid, [], #{checkout_timeout => 100}) of
                        {ok, Pid} when Pid =/= Old -> ok;
                        Other -> Other
                    end
                end)),
                ?assertMatch([_ | _], [W || #{os_pid := Pid, state := ending} = W <- workers(Pool), Pid =:= Old]),
                part({[Call], [{Socket, Old}]}),
                ?assertEqual(ok, until(fun() ->
                    case [W || #{os_pid := Pid} = W <- workers(Pool), Pid =:= Old] of
                        [] -> ok;
                        Still -> Still
                    end
                end))
            end)
        end)
     || Depth <- [1, 4]
    ].

workers_get_old_test_() ->
    test(fun() ->
        with_pool(#{size => 2, max_age => 300}, fun(Pool) ->
            with_events([[worker, recycle]], fun() ->
                Before = pitcrew_test:os_pids(Pool),
                [receive {[pitcrew_test, worker, recycle], #{lifetime := _}, #{reason := max_age}} -> ok end || _ <- Before],
                ?assertEqual(ok, until(fun() ->
                    case [P || P <- pitcrew_test:os_pids(Pool), lists:member(P, Before)] of
                        [] -> ok;
                        Still -> Still
                    end
                end)),
                ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
            end)
        end)
    end).

%% ---- Health

a_pool_whose_workers_fail_says_so_and_recovers_test_() ->
    test(fun() ->
        pitcrew_test:quietly(fun() ->
            Flag = "/tmp/pitcrew-flag-" ++ os:getpid(),
            ok = file:write_file(Flag, ""),
            with_pool(#{size => 2, tools => ["py_tools", "starts_while"], env => #{"PITCREW_FLAG" => Flag}}, fun(Pool) ->
                with_events([[pool, health]], fun() ->
                    ?assertMatch(#{status := ok, ready := 2, wanted := 2, failure := nil, free := 2}, pitcrew:health(Pool)),
                    ok = file:delete(Flag),
                    [One, Other] = pitcrew_test:os_pids(Pool),
                    pitcrew_test:kill(One),
                    receive {[pitcrew_test, pool, health], #{ready := 1}, #{status := degraded, before := ok, failure := #{}}} -> ok end,
                    #{status := degraded, failure := #{kind := start_error, message := Message}} = pitcrew:health(Pool),
                    ?assertMatch({_, _}, binary:match(Message, <<"no flag">>)),
                    ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
                    pitcrew_test:kill(Other),
                    receive {[pitcrew_test, pool, health], #{ready := 0}, #{status := down, before := degraded}} -> ok end,
                    ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:call(Pool, add, [1, 2], #{checkout_timeout => 50})),
                    ok = file:write_file(Flag, ""),
                    receive {[pitcrew_test, pool, health], #{}, #{status := ok}} -> ok end,
                    ?assertMatch(#{status := ok}, pitcrew:health(Pool)),
                    ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
                    ok = file:delete(Flag)
                end)
            end)
        end)
    end).

%% ---- New modules

with_module(Options, Fun) ->
    pitcrew_test:gated(fun(Base) ->
        Folder = Base ++ "-modules",
        ok = file:make_dir(Folder),
        Write = fun(Text) -> ok = file:write_file(filename:join(Folder, "changing.py"), Text) end,
        Write(module("1")),
        Env = #{"PYTHONPATH" => pitcrew_test:fixtures(), "PYTHONDONTWRITEBYTECODE" => "1"},
        All = pitcrew_test:options(Base, Options#{cd => Folder, tools => ["py_tools", "changing"], env => Env}),
        {ok, _} = pitcrew:start_pool(All),
        try
            Fun(pitcrew_test, Write)
        after
            pitcrew_pool:stop(pitcrew_test),
            file:del_dir_r(Folder)
        end
    end).

module(Answer) -> ["from pitcrew import tool\n\n\n@tool\ndef version():\n    return ", Answer, "\n"].

modules_are_imported_anew_and_no_call_fails_test_() ->
    [
        test(fun() ->
            with_module(#{size => 3, pipeline => Depth, start => Start}, fun(Pool, Write) ->
                ?assertEqual({ok, 1}, pitcrew:call(Pool, version)),
                Callers = [spawn_monitor(fun() -> call_until_told(Pool) end) || _ <- lists:seq(1, 4)],
                Before = pitcrew_test:os_pids(Pool),
                #{zygote := Zygote} = pitcrew:info(Pool),
                Write(module("2")),
                ?assertEqual(ok, pitcrew:reload(Pool)),
                [?assertEqual({ok, 2}, pitcrew:call(Pool, version)) || _ <- lists:seq(1, 20)],
                ?assertMatch(#{zygote := New} when New =/= Zygote, pitcrew:info(Pool)),
                ?assertEqual([], pitcrew_processes:wait_gone([Zygote | Before], 10_000)),
                [Caller ! enough || {Caller, _} <- Callers],
                [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Ref} <- Callers],
                ?assertEqual(ok, pitcrew_test:whole(Pool)),
                %% And again, by two at once.
                Write(module("3")),
                Two = [spawn_monitor(fun() -> exit(pitcrew:reload(Pool)) end) || _ <- [1, 2]],
                [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(ok, Reason) end || {_, Ref} <- Two],
                ?assertEqual({ok, 3}, pitcrew:call(Pool, version))
            end)
        end)
     || {Depth, Start} <- [{1, fork}, {4, fork}, {1, spawn}]
    ].

modules_that_do_not_import_any_more_leave_everything_as_it_is_test_() ->
    test(fun() ->
        with_module(#{size => 2}, fun(Pool, Write) ->
            Before = pitcrew_test:os_pids(Pool),
            Write("import nothing_of_that_name\n"),
            {error, #{kind := start_error, message := Message}} = pitcrew:reload(Pool),
            ?assertMatch({_, _}, binary:match(Message, <<"nothing_of_that_name">>)),
            Write("import os\nos._exit(3)\n"),
            ?assertMatch({error, #{kind := start_error}}, pitcrew:reload(Pool)),
            ?assertEqual(Before, pitcrew_test:os_pids(Pool)),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, version)),
            Write(module("2")),
            ?assertEqual(ok, pitcrew:reload(Pool)),
            ?assertEqual({ok, 2}, pitcrew:call(Pool, version))
        end)
    end).

new_workers_that_do_not_start_leave_the_old_ones_test_() ->
    test(fun() ->
        pitcrew_test:quietly(fun() ->
            with_module(#{size => 2}, fun(Pool, Write) ->
                Hook = "from pitcrew import on_worker_start, tool\n@on_worker_start\ndef f():\n    raise RuntimeError('not today')\n",
                Write(Hook),
                {error, #{kind := start_error, message := Message}} = pitcrew:reload(Pool),
                ?assertMatch({_, _}, binary:match(Message, <<"not today">>)),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, version)),
                Write(module("2")),
                ?assertEqual(ok, pitcrew:reload(Pool)),
                ?assertEqual({ok, 2}, pitcrew:call(Pool, version))
            end)
        end)
    end).

a_busy_worker_ends_its_call_while_others_are_new_test_() ->
    test(fun() ->
        with_module(#{size => 2}, fun(Pool, Write) ->
            Listener = pitcrew_test:listen(),
            #{zygote := Zygote} = pitcrew:info(Pool),
            All = meetings(Pool, Listener, 1),
            Write(module("2")),
            ?assertEqual(ok, pitcrew:reload(Pool)),
            [?assertEqual({ok, 2}, pitcrew:call(Pool, version)) || _ <- lists:seq(1, 5)],
            ?assert(pitcrew_processes:alive(Zygote)),
            part(All),
            ?assertEqual([], pitcrew_processes:wait_gone([Zygote], 10_000)),
            gen_tcp:close(Listener)
        end)
    end).

the_former_zygote_or_the_port_dies_meanwhile_test_() ->
    test(fun() ->
        pitcrew_test:quietly(fun() ->
            with_module(#{size => 2}, fun(Pool, Write) ->
                Listener = pitcrew_test:listen(),
                #{zygote := Zygote, port := Port} = pitcrew:info(Pool),
                {[Call], [{Socket, _}]} = meetings(Pool, Listener, 1),
                ?assertEqual(ok, pitcrew:reload(Pool)),
                pitcrew_test:kill(Zygote),
                ?assertMatch({error, #{kind := worker_exit}}, pitcrew:await(Call)),
                gen_tcp:close(Socket),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, version)),
                Write("import os, signal\nos.kill(" ++ integer_to_list(Port) ++ ", signal.SIGKILL)\n" ++ module("2")),
                ?assertMatch({error, #{kind := start_error}}, pitcrew:reload(Pool)),
                Write(module("3")),
                ?assertEqual({ok, 3}, pitcrew:call(Pool, version, [], #{checkout_timeout => 20_000})),
                gen_tcp:close(Listener)
            end)
        end)
    end).

%% The keeper hears of the death, and that the next one is ready, before it has begun to start another.
the_zygote_dies_just_before_the_next_one_is_ready_test_() ->
    test(fun() ->
        pitcrew_test:quietly(fun() ->
            with_module(#{size => 2}, fun(Pool, Write) ->
                Listener = pitcrew_test:listen(),
                #{zygote := Zygote} = pitcrew:info(Pool),
                Keeper = pitcrew_pools:member(whereis(Pool), keeper),
                Write([meets_while_it_is_imported(pitcrew_test:port(Listener)), module("2")]),
                Reload = spawn_monitor(fun() -> exit(pitcrew:reload(Pool)) end),
                {Socket, _} = meet(Listener),
                ok = sys:suspend(Keeper),
                pitcrew_test:kill(Zygote),
                ?assertEqual(ok, until(fun() -> has_event(gone, Keeper) end)),
                answer(Socket, "x"),
                ?assertEqual(ok, until(fun() -> has_event(ready, Keeper) end)),
                ok = sys:resume(Keeper),
                ?assertEqual(ok, stopped(Reload)),
                ?assertEqual(Keeper, pitcrew_pools:member(whereis(Pool), keeper)),
                ?assertEqual({ok, 2}, pitcrew:call(Pool, version)),
                gen_tcp:close(Listener)
            end)
        end)
    end).

meets_while_it_is_imported(Port) ->
    [
        "import os, socket\n\nwith socket.create_connection(('127.0.0.1', ", integer_to_list(Port), ")) as s:\n",
        "    s.sendall(b'%d\\n' % os.getpid())\n    s.recv(1)\n\n"
    ].

%% Whether such an event of the port waits for the keeper.
has_event(Name, Keeper) ->
    {messages, Messages} = process_info(Keeper, messages),
    Events = [element(1, Event) || {Port, {data, Bytes}} <- Messages, is_port(Port), Event <- [pitcrew_control:decode(Bytes)], is_tuple(Event)],
    case lists:member(Name, Events) of
        true -> ok;
        false -> Events
    end.

%% It knows of the former zygote, and its successor does not.
the_server_dies_while_a_former_zygote_is_there_test_() ->
    test(fun() ->
        pitcrew_test:quietly(fun() ->
            with_module(#{size => 2}, fun(Pool, _) ->
                Listener = pitcrew_test:listen(),
                #{zygote := Zygote} = pitcrew:info(Pool),
                {[Call], [{Socket, _}]} = meetings(Pool, Listener, 1),
                ?assertEqual(ok, pitcrew:reload(Pool)),
                ?assert(pitcrew_processes:alive(Zygote)),
                exit(pitcrew_pools:member(whereis(Pool), server), kill),
                ?assertMatch({error, #{kind := _}}, pitcrew:await(Call)),
                ?assertEqual([], pitcrew_processes:wait_gone([Zygote], 10_000)),
                ?assertEqual(ok, until(fun() ->
                    case pitcrew:call(Pool, version) of
                        {ok, 1} -> ok;
                        Other -> Other
                    end
                end)),
                gen_tcp:close(Socket),
                gen_tcp:close(Listener)
            end)
        end)
    end).

%% ---- Pools of nobody's, and draining

a_pool_of_nobodys_outlives_its_starter_and_stops_when_told_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            Self = self(),
            {_, Ref} = spawn_monitor(fun() -> Self ! pitcrew:start_pool(pitcrew_test:options(Base)) end),
            {ok, Sup} = receive {ok, _} = Started -> Started end,
            receive {'DOWN', Ref, process, _, _} -> ok end,
            ?assertMatch({error, {already_started, Sup}}, pitcrew:start_pool(pitcrew_test:options(Base))),
            ?assertEqual({ok, 3}, pitcrew:call(pitcrew_test, add, [1, 2])),
            ?assertEqual(ok, pitcrew:stop_pool(pitcrew_test)),
            ?assertMatch({error, #{kind := no_pool}}, pitcrew:call(pitcrew_test, add, [1, 2])),
            ?assertMatch({error, #{kind := no_pool}}, pitcrew:stop_pool(pitcrew_test)),
            ?assertMatch({error, #{kind := start_error}}, pitcrew:start_pool(pitcrew_test:options(Base, #{tools => ["import_raises"]})))
        end)
    end).

%% One call runs, and another one waits in the queue, or in the worker behind it.
one_waits(Pool) ->
    ?assertEqual(ok, until(fun() ->
        case pitcrew:info(Pool) of
            #{workers := [#{calls := 2}]} -> ok;
            #{queued := 1} -> ok;
            Info -> Info
        end
    end)).

calls_that_there_are_end_before_a_pool_stops_test_() ->
    [
        test(fun() ->
            pitcrew_test:gated(fun(Base) ->
                Options = pitcrew_test:options(Base, #{size => 1, pipeline => Depth}),
                {ok, _} = pitcrew:start_pool(Options),
                Listener = pitcrew_test:listen(),
                {[Call], [{Socket, OsPid}]} = meetings(pitcrew_test, Listener, 1),
                Waits = pitcrew:async(pitcrew_test, add, [1, 2], #{checkout_timeout => infinity}),
                one_waits(pitcrew_test),
                {Stopper, Ref} = spawn_monitor(fun() -> exit(pitcrew:stop_pool(pitcrew_test, [{timeout, 20_000}])) end),
                ?assertEqual(ok, until(fun() ->
                    case pitcrew_pools:find(pitcrew_test) of
                        absent -> ok;
                        Entry -> Entry
                    end
                end)),
                ?assertMatch({error, #{kind := no_pool}}, pitcrew:call(pitcrew_test, add, [1, 2])),
                ?assert(is_process_alive(Stopper)),
                part({[Call], [{Socket, OsPid}]}),
                ?assertEqual({ok, 3}, pitcrew:await(Waits)),
                receive {'DOWN', Ref, process, _, Outcome} -> ?assertEqual(ok, Outcome) end,
                gen_tcp:close(Listener)
            end)
        end)
     || Depth <- [1, 4]
    ].

%% Begins to stop a pool, and returns when its server has been told; {Monitor, its pid}.
stop_soon(Pool) ->
    Server = pitcrew_pools:member(whereis(Pool), server),
    Stopper = spawn_monitor(fun() -> exit(pitcrew:stop_pool(Pool, #{timeout => 20_000})) end),
    ?assertEqual(ok, until(fun() ->
        case {pitcrew_pools:find(Pool), drains(Server)} of
            {absent, _} -> ok;
            {_, [_ | _]} -> ok;
            Other -> Other
        end
    end)),
    Stopper.

drains(Process) ->
    {messages, Messages} = process_info(Process, messages),
    [Drain || {'$gen_call', _, {drain, _}} = Drain <- Messages].

stopped({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, Outcome} -> Outcome
    after 30_000 -> goes_on
    end.

%% Whether it waits in the queue, or in the worker behind the call that dies with it.
calls_that_wait_end_before_a_pool_stops_although_its_worker_dies_test_() ->
    [
        test(fun() ->
            pitcrew_test:with_pool_to_stop(#{size => 1, pipeline => Depth}, fun(Pool) ->
                Listener = pitcrew_test:listen(),
                {[Call], [{Socket, OsPid}]} = meetings(Pool, Listener, 1),
                Waits = pitcrew:async(Pool, add, [1, 2], #{checkout_timeout => infinity}),
                one_waits(Pool),
                Stopper = stop_soon(Pool),
                pitcrew_test:kill(OsPid),
                ?assertMatch({error, #{kind := worker_exit}}, pitcrew:await(Call)),
                ?assertEqual({ok, 3}, pitcrew:await(Waits)),
                ?assertEqual(ok, stopped(Stopper)),
                gen_tcp:close(Socket),
                gen_tcp:close(Listener)
            end)
        end)
     || Depth <- [1, 4]
    ].

a_call_that_waits_for_the_first_worker_ends_before_a_pool_stops_test_() ->
    test(fun() ->
        pitcrew_test:with_pool_to_stop(#{size => 1, lazy => true}, fun(Pool) ->
            {ok, #pool{server = Server, dispatch = Dispatch}} = pitcrew_pools:find(Pool),
            %% So it hears of the call when it is to stop already.
            true = erlang:suspend_process(Server),
            Stopper = stop_soon(Pool),
            Waits = pitcrew:async(Pool, add, [1, 2], #{checkout_timeout => infinity}),
            ?assertEqual(ok, until(fun() -> pitcrew_test:is(1, maps:get(queued, pitcrew_nif:dispatch_info(Dispatch))) end)),
            true = erlang:resume_process(Server),
            ?assertEqual({ok, 3}, pitcrew:await(Waits)),
            ?assertEqual(ok, stopped(Stopper))
        end)
    end).

what_does_not_end_in_time_is_cut_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            {ok, _} = pitcrew:start_pool(pitcrew_test:options(Base, #{size => 1})),
            Listener = pitcrew_test:listen(),
            {[Call], [{Socket, _}]} = meetings(pitcrew_test, Listener, 1),
            ?assertEqual(ok, pitcrew:stop_pool(pitcrew_test, #{timeout => 50})),
            ?assertMatch({error, #{kind := pool_down}}, pitcrew:await(Call)),
            gen_tcp:close(Socket),
            gen_tcp:close(Listener)
        end)
    end).

%% Another caller, or whoever supervises it.
somebody_else_ends_a_pool_that_is_stopped_at_the_same_time_test_() ->
    [
        test(fun() ->
            pitcrew_test:with_pool_to_stop(#{size => 1}, fun(Pool) ->
                Sup = whereis(Pool),
                true = erlang:suspend_process(Sup),
                End(Sup),
                ?assertEqual(ok, until(fun() -> pitcrew_test:is({message_queue_len, 1}, process_info(Sup, message_queue_len)) end)),
                Stopper = spawn_monitor(fun() -> exit(pitcrew_pool:stop(Pool)) end),
                ?assertEqual(ok, until(fun() -> pitcrew_test:is({message_queue_len, 2}, process_info(Sup, message_queue_len)) end)),
                true = erlang:resume_process(Sup),
                ?assertEqual(ok, stopped(Stopper))
            end)
        end)
     || End <- [fun(Sup) -> spawn(fun() -> pitcrew_pool:stop(Sup) end) end, fun(Sup) -> exit(Sup, shutdown) end]
    ].

two_who_let_calls_end_stop_a_pool_at_the_same_time_test_() ->
    test(fun() ->
        pitcrew_test:with_pool_to_stop(#{size => 1}, fun(Pool) ->
            Server = pitcrew_pools:member(whereis(Pool), server),
            true = erlang:suspend_process(Server),
            Stoppers = [spawn_monitor(fun() -> exit(pitcrew:stop_pool(Pool, #{timeout => 20_000})) end) || _ <- [1, 2]],
            ?assertEqual(ok, until(fun() -> pitcrew_test:is(2, length(drains(Server))) end)),
            true = erlang:resume_process(Server),
            ?assertEqual([ok, ok], [stopped(Stopper) || Stopper <- Stoppers])
        end)
    end).

the_time_to_stop_is_checked_test() ->
    ?assertMatch({error, #{kind := invalid_option}}, pitcrew:stop_pool(pitcrew_test, [{timeout, soon}])).
