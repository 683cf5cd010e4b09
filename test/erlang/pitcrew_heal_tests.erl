%% Whatever part of a pool dies, or is stopped (SIGSTOP): callers are told, and soon there is a whole pool again.
-module(pitcrew_heal_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_meeting/2, whole/1, os_pids/1, quietly/1, until/1, meet/1]).

-define(SIZE, 4).
%% What healing may take besides the imports, and how often it may be tried on a machine that is busy with other things.
-define(SECOND, 1_000).
-define(TRIES, 5).

test(Fun) -> {timeout, 120, Fun}.

killed_test_() -> [{atom_to_list(Part), test(fun() -> heals(Part, kill, ?SECOND) end)} || Part <- [zygote, port, guard, server, workers, sessions, keeper]].

%% A stopped port is seen by its guard, which gives it a second.
stopped_port_test_() -> test(fun() -> heals(port, stop, 2 * ?SECOND) end).

%% Every worker is in a call, and one more call waits, when the part dies. Within the bound, and what the imports take, calls are answered again.
heals(Part, Signal, Bound) -> heals(Part, Signal, Bound, ?TRIES).

heals(Part, Signal, Bound, Tries) ->
    Allowed = Bound + start_time(),
    with_meeting(#{size => ?SIZE}, fun(Pool, Listener, _) -> put(healed_in, heal(Pool, Listener, Part, Signal)) end),
    case erase(healed_in) of
        Ms when Ms =< Allowed -> ok;
        _ when Tries > 1 -> heals(Part, Signal, Bound, Tries - 1);
        Ms -> ?assertEqual({Part, at_most, Allowed}, {Part, took, Ms})
    end.

%% Of a pool without faults: its port, its imports and its workers.
start_time() ->
    pitcrew_test:gated(fun(Base) ->
        Started = now_ms(),
        {ok, Sup} = pitcrew_pool:start_link(pitcrew_test:options(Base, #{size => ?SIZE})),
        Ms = now_ms() - Started,
        ok = pitcrew_pool:stop(Sup),
        Ms
    end).

now_ms() -> erlang:monotonic_time(millisecond).

heal(Pool, Listener, Part, Signal) ->
    Port = pitcrew_test:port(Listener),
    Busy = [call(fun() -> pitcrew:call(Pool, meet, [Port], #{timeout => infinity}) end) || _ <- lists:seq(1, ?SIZE)],
    Sockets = [Socket || _ <- Busy, {Socket, _} <- [meet(Listener)]],
    Waiting = call(fun() -> pitcrew:call(Pool, add, [1, 2], #{timeout => infinity, checkout_timeout => 20_000}) end),
    ok = pitcrew_test:queued(Pool, 1),
    Sup = whereis(Pool),
    Before = os_pids(Pool),
    Ms = quietly(fun() ->
        Struck = now_ms(),
        strike(Pool, Part, Signal),
        %% An error, which is no time-out: there is none.
        [?assertMatch({error, #{kind := Kind}} when Kind =:= worker_exit; Kind =:= pool_down, answer(Caller)) || Caller <- Busy],
        answered(Pool),
        Healed = now_ms(),
        ?assertEqual(ok, until(fun() -> try whole(Pool) catch error:Error -> Error end end)),
        ?assertEqual([], pitcrew_processes:wait_gone(Before, 1000)),
        Healed - Struck
    end),
    %% Whoever only waited has lost nothing, unless nobody is left who knows of it.
    ?assertMatch({true, _}, case answer(Waiting) of
        {ok, 3} = Answer -> {true, Answer};
        {error, #{kind := pool_down}} = Answer -> {lists:member(Part, [server, workers, sessions, keeper]), Answer};
        Answer -> {false, Answer}
    end),
    ?assertEqual(Sup, whereis(Pool)),
    ?assertEqual([], [OsPid || OsPid <- os_pids(Pool), lists:member(OsPid, Before)]),
    ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
    [gen_tcp:close(Socket) || Socket <- Sockets],
    Ms.

strike(Pool, Part, Signal) ->
    case pitcrew:info(Pool) of
        #{Part := OsPid} when is_integer(OsPid) -> pitcrew_port_harness:kill(OsPid, Signal);
        #{} -> exit(pitcrew_pools:member(whereis(Pool), Part), kill)
    end.

%% The pool itself may be away for a moment.
answered(Pool) ->
    case pitcrew:call(Pool, add, [1, 2], #{checkout_timeout => 20_000}) of
        {ok, 3} -> ok;
        {error, #{kind := Kind}} when Kind =:= pool_down; Kind =:= no_pool -> receive after 1 -> answered(Pool) end
    end.

call(Fun) -> spawn_monitor(fun() -> exit({answer, Fun()}) end).

answer({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, {answer, Answer}} -> Answer;
        {'DOWN', Ref, process, _, Reason} -> {caller_died, Reason}
    after 30_000 -> no_answer
    end.

%% ---- A zygote that is stopped reports no deaths and forks nobody; one that lives and does not answer is as good as dead.

a_stopped_zygote_hides_no_death_test_() ->
    test(fun() ->
        with_meeting(#{size => 2}, fun(Pool, Listener, Port) ->
            #{zygote := Zygote} = pitcrew:info(Pool),
            [First, Second] = [call(fun() -> pitcrew:call(Pool, meet, [Port], #{timeout => infinity}) end) || _ <- [1, 2]],
            {S1, OsPid} = meet(Listener),
            {S2, _} = meet(Listener),
            quietly(fun() ->
                pitcrew_port_harness:kill(Zygote, stop),
                pitcrew_test:kill(OsPid),
                [?assertMatch({error, #{kind := worker_exit, reason := {signal, sigkill}}}, answer(Caller)) || Caller <- [First, Second]],
                ?assertEqual([], pitcrew_processes:wait_gone([Zygote], 1000))
            end),
            [gen_tcp:close(Socket) || Socket <- [S1, S2]],
            ?assertEqual(ok, whole(Pool)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end).

%% The guard has nothing to do while the others live.
a_stopped_guard_hinders_nobody_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            #{guard := Guard} = pitcrew:info(Pool),
            pitcrew_port_harness:kill(Guard, stop),
            Caller = call(fun() -> pitcrew:call(Pool, meet, [Port], #{timeout => infinity}) end),
            {Socket, OsPid} = meet(Listener),
            pitcrew_test:kill(OsPid),
            ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigkill}}}, answer(Caller)),
            gen_tcp:close(Socket),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual(ok, whole(Pool))
            %% And then the pool stops, with everything.
        end)
    end).
