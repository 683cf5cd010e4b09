%% Heartbeats and memory with real workers: who is replaced, who is not, and what is said of it.
-module(pitcrew_heartbeat_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_test, [with_meeting/2, whole/1, os_pids/1, quietly/1, until/1, meet/1, answer/2]).

-define(MIB, 1048576).
-define(MAX, 64 * ?MIB).

test(Fun) -> {timeout, 60, Fun}.

pool(Options, Fun) -> with_meeting(maps:merge(#{size => 1, tools => ["heart_tools"], heartbeat => 20}, Options), Fun).

call(Pool, Tool, Args) ->
    {_, Ref} = spawn_monitor(fun() -> exit({answer, pitcrew:call(Pool, Tool, Args, #{timeout => infinity})}) end),
    Ref.

await(Ref) ->
    receive {'DOWN', Ref, process, _, {answer, Answer}} -> Answer
    after 30_000 -> error(no_answer)
    end.

%% Waits until the only worker's vitals are as a fun wants them.
vitals(Pool, Wanted) ->
    ok = until(fun() ->
        #{workers := [Worker]} = pitcrew:info(Pool),
        case Wanted(Worker) of
            true -> ok;
            false -> Worker
        end
    end).

signal(Name, OsPid) -> "" = os:cmd("kill -" ++ Name ++ " " ++ integer_to_list(OsPid)).

%% ---- Heartbeats

a_stopped_worker_is_killed_and_its_caller_told_test_() ->
    [{atom_to_list(Start), test(fun() ->
        quietly(fun() ->
            pool(#{start => Start}, fun(Pool, Listener, Port) ->
                Call = call(Pool, peak, [1, Port]),
                {Socket, OsPid} = meet(Listener),
                signal("STOP", OsPid),
                {error, Error} = await(Call),
                ?assertMatch(#{kind := worker_exit, reason := stopped, worker := OsPid}, Error),
                ?assertMatch({_, _}, binary:match(maps:get(message, Error), <<"was stopped, by SIGSTOP or a debugger">>)),
                gen_tcp:close(Socket),
                ?assertEqual(ok, whole(Pool)),
                ?assertNotEqual([OsPid], os_pids(Pool))
            end)
        end)
    end)} || Start <- [fork, spawn]].

an_idle_worker_that_is_stopped_is_replaced_test_() ->
    test(fun() ->
        quietly(fun() ->
            pool(#{}, fun(Pool, _, _) ->
                [OsPid] = os_pids(Pool),
                ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, worker, stop], fun ?MODULE:tell/4, self()),
                signal("STOP", OsPid),
                receive {[pitcrew_test, worker, stop], _, Told} -> ?assertMatch(#{worker := OsPid, reason := stopped}, Told)
                after 30_000 -> error(not_replaced)
                end,
                ok = pitcrew_telemetry:detach(?MODULE),
                ?assertEqual(ok, whole(Pool)),
                ?assertNotEqual([OsPid], os_pids(Pool))
            end)
        end)
    end).

%% Neither is a fault: the thread that answers needs no GIL. Both are shown.
a_gil_that_is_held_in_c_is_shown_test_() -> shown(hold_gil, fun(#{in_c_ms := InC, running_ms := Running}) -> InC > 400 andalso Running > 400 end).

a_long_call_in_c_is_shown_test_() -> shown(peak, fun(#{in_c_ms := InC, running_ms := Running}) -> InC > 400 andalso Running > 400 end).

a_busy_interpreter_is_shown_test_() -> shown(compute, fun(#{in_c_ms := InC, running_ms := Running}) -> InC =:= 0 andalso Running > 400 end).

shown(Tool, Wanted) ->
    test(fun() ->
        pool(#{}, fun(Pool, Listener, Port) ->
            Args = case Tool of
                peak -> [1, Port];
                _ -> [Port]
            end,
            Call = call(Pool, Tool, Args),
            {Socket, OsPid} = meet(Listener),
            vitals(Pool, fun(#{state := State, silent_ms := Silent} = Worker) -> State =:= busy andalso Silent =:= 0 andalso Wanted(Worker) end),
            answer(Socket, "y"),
            ?assertMatch({ok, _}, await(Call)),
            ?assertEqual({ok, OsPid}, pitcrew:call(Pool, pid)),
            vitals(Pool, fun(#{running_ms := Running, in_c_ms := InC}) -> Running =:= 0 andalso InC =:= 0 end)
        end)
    end).

%% Silent for many beats, and not stopped: it may be slow, so it is left alone.
a_silent_worker_is_not_killed_quickly_test_() ->
    test(fun() ->
        pool(#{}, fun(Pool, Listener, Port) ->
            Call = call(Pool, mute, [Port]),
            {Socket, OsPid} = meet(Listener),
            vitals(Pool, fun(#{silent_ms := Silent}) -> Silent > 500 end),
            answer(Socket, "y"),
            ?assertEqual({ok, nil}, await(Call)),
            ?assertEqual({ok, OsPid}, pitcrew:call(Pool, pid))
        end)
    end).

%% ---- Memory

tell(Event, Measurements, Metadata, Pid) -> Pid ! {Event, Measurements, Metadata}.

heavy(Options, Fun) ->
    pitcrew_test:unless_sanitized(test(fun() ->
        pool(maps:merge(#{max_rss => ?MAX}, Options), fun(Pool, Listener, Port) ->
            Events = [[pitcrew_test, worker, What] || What <- [memory, trim, recycle]],
            ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
            try Fun(Pool, Listener, Port)
            after pitcrew_telemetry:detach(?MODULE)
            end
        end)
    end)).

event(What) ->
    receive {[pitcrew_test, worker, What], Measurements, Metadata} -> {Measurements, Metadata}
    after 30_000 -> error({no_event, What})
    end.

a_worker_that_has_too_much_after_a_trim_is_replaced_test_() ->
    [{atom_to_list(Start), heavy(#{start => Start}, fun(Pool, _, _) ->
        {ok, OsPid} = pitcrew:call(Pool, leak, [2 * ?MAX]),
        {#{before := First, duration := _, objects := _}, #{step := collect, reason := max_rss, pool := Pool, worker := OsPid}} = event(memory),
        {#{'after' := Last}, #{step := trim, reason := max_rss}} = event(memory),
        {#{before := Before, 'after' := After}, #{pool := Pool, worker := OsPid, id := 0}} = event(trim),
        ?assert(First > ?MAX),
        ?assertEqual(After, Last),
        ?assert(Before > ?MAX),
        ?assert(After > 2 * ?MAX),
        {#{calls := 1}, #{worker := OsPid, reason := {max_rss, After}}} = event(recycle),
        ok = until(fun() -> case os_pids(Pool) of [Other] when Other =/= OsPid -> ok; Still -> Still end end),
        ?assertEqual(ok, whole(Pool))
    end)} || Start <- [fork, spawn]].

%% In an idle worker, which has to be woken for that.
garbage_is_collected_first_test_() ->
    heavy(#{}, fun(Pool, _, _) ->
        {ok, OsPid} = pitcrew:call(Pool, litter, [2 * ?MAX]),
        {#{before := Before, 'after' := After}, #{worker := OsPid}} = event(trim),
        ?assert(Before > ?MAX),
        ?assert(After < ?MAX),
        ?assertMatch({#{objects := Found}, #{step := collect}} when Found > 0, event(memory)),
        ?assertMatch({#{}, #{step := trim}}, event(memory)),
        vitals(Pool, fun(#{rss := Rss}) -> Rss < ?MAX end),
        ?assertEqual([], pitcrew_test:mailbox()),
        ?assertEqual({ok, OsPid}, pitcrew:call(Pool, pid))
    end).

%% What a call needs while it runs is judged when it has ended.
the_peak_of_a_call_is_no_reason_test_() ->
    heavy(#{}, fun(Pool, Listener, Port) ->
        Call = call(Pool, peak, [2 * ?MAX, Port]),
        {Socket, OsPid} = meet(Listener),
        vitals(Pool, fun(#{rss := Rss}) -> is_integer(Rss) andalso Rss > ?MAX end),
        ?assertEqual([], pitcrew_test:mailbox()),
        answer(Socket, "y"),
        ?assertEqual({ok, 2 * ?MAX}, await(Call)),
        {#{'after' := After}, #{worker := OsPid}} = event(trim),
        ?assert(After < ?MAX),
        _ = [event(memory) || _ <- [collect, trim]],
        ?assertEqual([], pitcrew_test:mailbox())
    end).

%% What was imported before the fork belongs to all workers, and counts for none.
shared_memory_does_not_count_test_() ->
    heavy(#{start => fork, tools => ["heart_tools", "heart_ballast"]}, fun(Pool, _, _) ->
        {ok, Size} = pitcrew:call(Pool, look),
        ?assert(Size > 2 * ?MAX),
        vitals(Pool, fun(#{rss := Rss}) -> is_integer(Rss) andalso Rss < ?MAX end),
        ?assertEqual([], pitcrew_test:mailbox())
    end).

%% ---- Hooks

%% A cache that a hook clears goes, one that only a replacement would free does not, and what one hook raises keeps no other from its work.
caches_are_cleared_before_a_worker_is_replaced_test_() ->
    [{lists:concat(["concurrency ", Many]), heavy(#{tools => ["heart_tools", "pressure_tools"], concurrency => Many}, fun(Pool, _, _) ->
        {ok, OsPid} = pitcrew:call(Pool, cache, [2 * ?MAX]),
        Cleared = fun() -> event(memory) end,
        {#{before := Before, 'after' := After}, #{step := hooks, reason := max_rss}} = pitcrew_test:quietly(Cleared),
        ?assert(Before > ?MAX),
        ?assert(After =< Before),
        {_, #{step := collect}} = event(memory),
        {_, #{step := trim}} = event(memory),
        {#{'after' := Left}, #{worker := OsPid}} = event(trim),
        ?assert(Left < ?MAX),
        {ok, [Seen]} = pitcrew:call(Pool, pressures),
        ?assertMatch([Rss, ?MAX] when Rss > ?MAX, Seen),
        ?assertEqual({ok, OsPid}, pitcrew:call(Pool, pid)),
        ?assertEqual([], pitcrew_test:mailbox())
    end)} || Many <- [1, 4]].

%% In workers that are idle as in those that have calls; the garbage is such that only a full collection finds.
garbage_is_collected_every_so_often_test_() ->
    [{lists:concat(["concurrency ", Many]), test(fun() ->
        pool(#{tools => ["heart_tools", "pressure_tools"], gc_interval => 100, concurrency => Many}, fun(Pool, _, _) ->
            {ok, _} = pitcrew:call(Pool, old_garbage),
            ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, worker, memory], fun ?MODULE:tell/4, self()),
            try
                {#{before := _, 'after' := _, objects := _}, #{step := collect, reason := gc_interval}} = event(memory),
                {_, #{reason := gc_interval}} = event(memory),
                ?assertEqual({ok, false}, pitcrew:call(Pool, is_garbage_there))
            after pitcrew_telemetry:detach(?MODULE)
            end
        end)
    end)} || Many <- [1, 4]].

what_start_hooks_have_made_is_frozen_test_() ->
    [{lists:concat([Start, " ", Freeze]), test(fun() ->
        pool(#{tools => ["heart_tools", "pressure_tools"], gc_freeze => Freeze, start => Start}, fun(Pool, _, _) ->
            ?assertEqual({ok, not Freeze}, pitcrew:call(Pool, is_collected))
        end)
    end)} || {Start, Freeze} <- [{fork, true}, {fork, false}, {spawn, true}]].
