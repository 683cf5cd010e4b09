%% Sessions with real pools: where their calls go, what they keep, and every way in which they end.
-module(pitcrew_session_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").

-import(pitcrew_test, [with_pool/2, with_meeting/2, meet/1, answer/2, until/1, os_pids/1, kill/1]).

test(Fun) -> {timeout, 60, Fun}.

options(Options) -> maps:merge(#{tools => ["session_tools"], size => 2}, Options).

both(Fun) -> pitcrew_test:both(options(#{}), Fun).

%% Waits until what is done in a session says that there is none.
ended(Use) ->
    until(fun() ->
        case Use() of
            {error, #{kind := no_session}} -> ok;
            Other -> Other
        end
    end).

nothing_kept(Pool) -> ?assertEqual(ok, until(fun() -> kept(Pool) end)).

%% Of all workers: each is asked by a session that shares it.
kept(Pool) ->
    case lists:usort([Kept || _ <- os_pids(Pool), {ok, {ok, Kept}} <- [pitcrew:session(Pool, fun(S) -> pitcrew:call(S, kept) end)]]) of
        [[0, 0]] -> ok;
        Other -> Other
    end.

%% ---- Where calls go, and what is there

calls_go_to_one_worker_that_keeps_their_state_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 3}, fun(Pool) ->
            Used = [
                begin
                    {ok, Pids} = pitcrew:session(Pool, fun(S) ->
                        {ok, nil} = pitcrew:call(S, remember, [<<"n">>, N]),
                        [?assertEqual({ok, N}, pitcrew:call(S, recall, [<<"n">>])) || _ <- lists:seq(1, 5)],
                        {ok, Id} = pitcrew:call(S, session_id),
                        ?assertEqual(maps:get(id, S), Id),
                        lists:usort([element(2, pitcrew:call(S, pid)) || _ <- lists:seq(1, 5)])
                    end),
                    ?assertMatch([_], Pids),
                    hd(Pids)
                end
             || N <- lists:seq(1, 3)
            ],
            ?assertMatch([_ | _], Used),
            nothing_kept(Pool),
            ?assertEqual([], pitcrew_test:mailbox())
        end)
    end).

sessions_are_spread_over_the_workers_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 3}, fun(Pool) ->
            Sessions = [element(2, {ok, _} = pitcrew:start_session(Pool, nil)) || _ <- lists:seq(1, 6)],
            Pids = [element(2, {ok, _} = pitcrew:call(S, pid)) || S <- Sessions],
            ?assertEqual(os_pids(Pool), lists:usort(Pids)),
            ?assertEqual([2, 2, 2], [length([P || P <- Pids, P =:= Pid]) || Pid <- os_pids(Pool)]),
            %% Each has a state of its own, though two share a worker.
            [{ok, nil} = pitcrew:call(S, remember, [a, maps:get(id, S)]) || S <- Sessions],
            ?assertEqual([{ok, maps:get(id, S)} || S <- Sessions], [pitcrew:call(S, recall, [a]) || S <- Sessions]),
            %% And other calls go on.
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            [ok = pitcrew:stop_session(S) || S <- Sessions],
            nothing_kept(Pool)
        end)
    end).

outside_of_a_session_there_is_no_state_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            {error, #{kind := tool_error, type := <<"RuntimeError">>, message := Message}} = pitcrew:call(Pool, recall, [a]),
            ?assertMatch({_, _}, binary:match(Message, <<"there is no session here">>))
        end)
    end).

many_callers_share_a_session_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, everybody),
            Callers = [
                spawn_monitor(fun() ->
                    exit({said, [{pitcrew:call({Pool, everybody}, add, [N, M]), pitcrew:call(S, pid), pitcrew:call(Pool, add, [M, N])}
                                 || M <- lists:seq(1, 20)]})
                end)
             || N <- lists:seq(1, 16)
            ],
            Said = [receive {'DOWN', Ref, process, _, {said, All}} -> All end || {_, Ref} <- Callers],
            ?assertEqual(1, length(lists:usort([Pid || All <- Said, {_, Pid, _} <- All]))),
            [?assertEqual({ok, N + M}, Sum) || {N, All} <- lists:zip(lists:seq(1, 16), Said), {M, {Sum, _, Sum}} <- lists:zip(lists:seq(1, 20), All)],
            ok = pitcrew:stop_session(S)
        end)
    end).

the_fun_s_result_and_exception_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            ?assertEqual({ok, result}, pitcrew:session(Pool, fun(_) -> result end)),
            Self = self(),
            ?assertError(badarg, pitcrew:session(Pool, fun(S) -> Self ! {session, S}, error(badarg) end)),
            receive {session, S} -> ?assertMatch({error, #{kind := no_session}}, pitcrew:call(S, pid)) end,
            ?assertMatch({error, #{kind := no_pool}}, pitcrew:session(no_such_pool, fun(_) -> ok end))
        end)
    end).

code_and_functions_of_modules_run_in_a_session_test_() ->
    both(fun(Options) ->
        with_pool(Options#{allow_eval => true, allow_import => ["os"]}, fun(Pool) ->
            {ok, _} = pitcrew:session(Pool, fun(S) ->
                {ok, nil} = pitcrew:eval(S, "from pitcrew import session\nsession.state['x'] = x", #{x => 7}),
                ?assertEqual({ok, 7}, pitcrew:call(S, recall, [<<"x">>])),
                ?assertEqual(pitcrew:call(S, pid), pitcrew:call(S, <<"os:getpid">>))
            end),
            nothing_kept(Pool)
        end)
    end).

%% ---- Names, and how long they live

named_sessions_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, {cart, 1}, [{ttl, 60_000}]),
            ?assertMatch(#{name := {cart, 1}, pool := Pool}, S),
            {error, #{kind := invalid_option, message := Taken}} = pitcrew:start_session(Pool, {cart, 1}),
            ?assertMatch({_, _}, binary:match(Taken, <<"{cart,1}">>)),
            {ok, nil} = pitcrew:call({Pool, {cart, 1}}, remember, [a, 1]),
            ?assertEqual({ok, 1}, pitcrew:call(S, recall, [a])),
            ?assertEqual({ok, 1}, pitcrew:await(pitcrew:async({Pool, {cart, 1}}, recall, [a]))),
            ?assertEqual({ok, 1}, pitcrew:await(pitcrew:async(S, recall, [a]))),
            ?assertEqual(ok, pitcrew:stop_session({Pool, {cart, 1}})),
            {error, #{kind := no_session, message := Gone}} = pitcrew:call({Pool, {cart, 1}}, recall, [a]),
            ?assertMatch({_, _}, binary:match(Gone, <<"{cart,1}">>)),
            ?assertMatch({error, #{kind := no_session}}, pitcrew:stop_session(S)),
            ?assertMatch({error, #{kind := no_session}}, pitcrew:call({Pool, never}, pid)),
            ?assertMatch({error, #{kind := no_pool}}, pitcrew:call({no_such_pool, x}, pid)),
            %% The name is free again, and nothing of the old one is there.
            {ok, Next} = pitcrew:start_session(Pool, {cart, 1}),
            ?assertEqual({ok, nil}, pitcrew:call(Next, recall, [a])),
            ok = pitcrew:stop_session(Next),
            nothing_kept(Pool)
        end)
    end).

a_session_that_is_not_used_ends_test_() ->
    test(fun() ->
        with_meeting(options(#{}), fun(Pool, Listener, Port) ->
            {ok, S} = pitcrew:start_session(Pool, short, [{ttl, 800}]),
            {ok, nil} = pitcrew:call(S, remember, [a, 1]),
            %% A call that runs is use, however long it takes.
            Call = pitcrew:async(S, meet, [Port]),
            {Socket, _} = meet(Listener),
            receive after 1_200 -> ok end,
            ?assertEqual({ok, 1}, begin answer(Socket, "x"), {ok, <<"x">>} = pitcrew:await(Call), pitcrew:call(S, recall, [a]) end),
            ?assertEqual(ok, ended(fun() -> pitcrew_sessions:find({Pool, short}) end)),
            ?assertMatch({error, #{kind := no_session}}, pitcrew:call(S, recall, [a])),
            nothing_kept(Pool)
        end)
    end).

%% ---- Whose it is

a_session_ends_with_its_owner_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            Self = self(),
            {Owner, Ref} = spawn_monitor(fun() ->
                {ok, S} = pitcrew:start_session(Pool, his),
                {ok, nil} = pitcrew:call(S, remember, [a, 1]),
                Self ! {started, S},
                receive never -> ok end
            end),
            S = receive {started, Session} -> Session end,
            ?assertEqual({ok, 1}, pitcrew:call(S, recall, [a])),
            exit(Owner, kill),
            receive {'DOWN', Ref, process, _, killed} -> ok end,
            ?assertEqual(ok, ended(fun() -> pitcrew:call(S, recall, [a]) end)),
            nothing_kept(Pool),
            %% One that nobody owns outlives whoever has started it.
            {_, Other} = spawn_monitor(fun() -> {ok, _} = pitcrew:start_session(Pool, everybody_s, [{owner, nil}]) end),
            receive {'DOWN', Other, process, _, normal} -> ok end,
            ?assertMatch({ok, _}, pitcrew:call({Pool, everybody_s}, pid)),
            ok = pitcrew:stop_session({Pool, everybody_s})
        end)
    end).

%% The process of a session is killed: nothing of it stays, in or outside of the VM.
a_session_s_process_is_killed_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, unlucky, [{exclusive, true}]),
            {ok, nil} = pitcrew:call(S, remember, [a, 1]),
            {ok, _, Place} = pitcrew_sessions:find(S),
            exit(element(4, Place), kill),
            ?assertEqual(ok, ended(fun() -> pitcrew:call(S, pid) end)),
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            nothing_kept(Pool)
        end)
    end).

what_waits_when_a_session_is_stopped_test_() ->
    both(fun(Options) ->
        with_meeting(Options, fun(Pool, Listener, Port) ->
            {ok, S} = pitcrew:start_session(Pool, stopped),
            Running = pitcrew:async(S, meet_in_session, [Port, a]),
            {Socket, _} = meet(Listener),
            Many = [pitcrew:async(S, recall, [a]) || _ <- lists:seq(1, 8)],
            ?assertEqual(ok, until(fun() ->
                case pitcrew:info(Pool) of
                    #{queued := N} when N >= 4 -> ok;
                    #{queued := N} -> N
                end
            end)),
            ok = pitcrew:stop_session(S),
            %% Those that wait in the VM are ended, those that are in the worker end as they would.
            answer(Socket, "x"),
            ?assertMatch({ok, _}, pitcrew:await(Running)),
            Ends = [case pitcrew:await(Call) of {ok, _} -> ran; {error, #{kind := no_session}} -> ended end || Call <- Many],
            ?assert(length([E || E <- Ends, E =:= ended]) >= 4),
            nothing_kept(Pool)
        end)
    end).

%% ---- Its worker dies

its_worker_dies_and_it_says_so_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, mortal),
            {ok, nil} = pitcrew:call(S, remember, [a, 1]),
            {ok, Pid} = pitcrew:call(S, pid),
            ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigkill}, worker := Pid}}, pitcrew:call(S, die)),
            [
                begin
                    {error, #{kind := worker_exit, reason := {signal, sigkill}, message := Message, pool := Pool}} = pitcrew:call(S, recall, [a]),
                    ?assertMatch({_, _}, binary:match(Message, <<"what it kept for the session is lost">>))
                end
             || _ <- [1, 2, 3]
            ],
            %% Other calls go on, and it can be ended like any.
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertEqual(ok, pitcrew:stop_session(S)),
            ?assertMatch({error, #{kind := no_session}}, pitcrew:call(S, recall, [a])),
            ?assertEqual(ok, pitcrew_test:whole(Pool))
        end)
    end).

or_begins_again_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, phoenix, [{on_worker_exit, restart}, {on_start, {'begin', [<<"again">>]}}]),
            ?assertEqual({ok, <<"again">>}, pitcrew:call(S, recall, [<<"begun">>])),
            {ok, nil} = pitcrew:call(S, remember, [a, 1]),
            [
                begin
                    {ok, Pid} = pitcrew:call(S, pid),
                    kill(Pid),
                    %% Whoever comes while it looks for another worker waits.
                    ?assertEqual({ok, <<"again">>}, until_begun(S)),
                    ?assertNotEqual({ok, Pid}, pitcrew:call(S, pid)),
                    ?assertEqual({ok, nil}, pitcrew:call(S, recall, [a]))
                end
             || _ <- [1, 2, 3]
            ],
            %% A call that had begun is lost all the same.
            ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(S, die)),
            ?assertEqual({ok, <<"again">>}, pitcrew:call(S, recall, [<<"begun">>])),
            ok = pitcrew:stop_session(S),
            nothing_kept(Pool)
        end)
    end).

%% The call may be in the very worker that has just been killed.
until_begun(S) ->
    case pitcrew:call(S, recall, [<<"begun">>]) of
        {error, #{kind := worker_exit}} -> until_begun(S);
        Other -> Other
    end.

waiting_callers_follow_a_session_test_() ->
    both(fun(Options) ->
        with_meeting(Options, fun(Pool, Listener, Port) ->
            {ok, S} = pitcrew:start_session(Pool, nil, [{on_worker_exit, restart}, {on_start, {'begin', [7]}}]),
            Running = pitcrew:async(S, meet, [Port]),
            {Socket, Pid} = meet(Listener),
            Calls = [pitcrew:async(S, recall, [<<"begun">>]) || _ <- lists:seq(1, 8)],
            ?assertEqual(ok, until(fun() ->
                case pitcrew:info(Pool) of
                    #{queued := N} when N >= 4 -> ok;
                    #{queued := N} -> N
                end
            end)),
            kill(Pid),
            gen_tcp:close(Socket),
            ?assertMatch({error, #{kind := worker_exit}}, pitcrew:await(Running)),
            ?assertEqual([{ok, 7} || _ <- Calls], [pitcrew:await(Call) || Call <- Calls]),
            ok = pitcrew:stop_session(S)
        end)
    end).

a_start_that_fails_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            ?assertMatch({error, #{kind := tool_error, message := <<"no">>}}, pitcrew:start_session(Pool, a, [{on_start, {fail, [<<"no">>]}}])),
            ?assertMatch({error, #{kind := tool_error}}, pitcrew:start_session(Pool, a, [{on_start, {fail, [<<"no">>]}}, {exclusive, true}])),
            ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:start_session(Pool, a, [{on_start, {no_such_tool, []}}])),
            ?assertMatch({error, #{kind := no_session}}, pitcrew:call({Pool, a}, pid)),
            %% Nothing is left that would keep others away.
            {ok, One} = pitcrew:start_session(Pool, a, [{exclusive, true}]),
            {ok, Two} = pitcrew:start_session(Pool, b, [{exclusive, true}]),
            ok = pitcrew:stop_session(One),
            ok = pitcrew:stop_session(Two),
            nothing_kept(Pool)
        end)
    end).

options_are_checked_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            Message = fun(Options) ->
                {error, #{kind := invalid_option, message := M}} = pitcrew:start_session(Pool, a, Options),
                binary_to_list(M)
            end,
            ?assertMatch("unknown option tll (did you mean ttl?)" ++ _, Message([{tll, 1}])),
            ?assertMatch("option exclusive must be one of false, true; given was 1", Message(#{exclusive => 1})),
            ?assertMatch("option on_worker_exit must be one of error, restart; given was stop", Message([{on_worker_exit, stop}])),
            ?assertMatch("option on_start must be a tool and its arguments" ++ _, Message([{on_start, add}])),
            ?assertMatch("option owner must be a pid" ++ _, Message([{owner, me}])),
            ?assertMatch("option ttl must be an integer" ++ _, Message([{ttl, 0}]))
        end)
    end).

json_has_no_place_for_them_test_() ->
    pitcrew_test:if_json(
        test(fun() ->
            with_pool(options(#{protocol => json}), fun(Pool) ->
                {ok, S} = pitcrew:start_session(Pool, nil),
                {error, #{kind := invalid_option, message := Message}} = pitcrew:call(S, pid),
                ?assertMatch({_, _}, binary:match(Message, <<"need the protocol msgpack">>)),
                ?assertMatch({ok, _}, pitcrew:call(S, pid, [], [{protocol, msgpack}])),
                ok = pitcrew:stop_session(S)
            end)
        end)
    ).

%% ---- Workers of their own

an_exclusive_session_has_its_worker_alone_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, nil, [{exclusive, true}]),
            {ok, Own} = pitcrew:call(S, pid),
            Others = [element(2, {ok, _} = pitcrew:await(Call)) || Call <- [pitcrew:async(Pool, pid) || _ <- lists:seq(1, 40)]],
            ?assertNot(lists:member(Own, Others)),
            ?assertEqual({ok, Own}, pitcrew:call(S, pid)),
            %% Sessions that share go elsewhere, too, and where one is nobody gets his own.
            {ok, Shared} = pitcrew:start_session(Pool, nil),
            {ok, Other} = pitcrew:call(Shared, pid),
            ?assertNotEqual(Own, Other),
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:start_session(Pool, nil, [{exclusive, true}, {checkout_timeout, 50}])),
            ok = pitcrew:stop_session(Shared),
            {ok, Next} = pitcrew:start_session(Pool, nil, [{exclusive, true}]),
            ?assertEqual({ok, Other}, pitcrew:call(Next, pid)),
            %% Now nobody is left for anybody else.
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:call(Pool, pid, [], [{checkout_timeout, 50}])),
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:start_session(Pool, nil, [{checkout_timeout, 50}])),
            ?assertMatch(#{free := 0}, pitcrew:info(Pool)),
            ok = pitcrew:stop_session(Next),
            ok = pitcrew:stop_session(S),
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            nothing_kept(Pool)
        end)
    end).

whoever_waits_for_a_worker_gets_the_first_one_test_() ->
    both(fun(Options) ->
        with_meeting(Options, fun(Pool, Listener, Port) ->
            Busy = [pitcrew:async(Pool, meet, [Port]) || _ <- [1, 2]],
            [{One, Pid}, {Two, _}] = [meet(Listener), meet(Listener)],
            Self = self(),
            {Starter, Ref} = spawn_monitor(fun() ->
                {ok, S} = pitcrew:start_session(Pool, nil, [{exclusive, true}]),
                Self ! {pid, pitcrew:call(S, pid)},
                receive done -> ok = pitcrew:stop_session(S) end
            end),
            ?assertEqual(ok, pitcrew_test:queued(Pool, 1)),
            answer(One, "x"),
            ?assertEqual({ok, Pid}, receive {pid, Got} -> Got end),
            answer(Two, "x"),
            [{ok, <<"x">>} = pitcrew:await(Call) || Call <- Busy],
            Starter ! done,
            receive {'DOWN', Ref, process, _, normal} -> ok end,
            ?assertEqual(ok, pitcrew_test:whole(Pool))
        end)
    end).

whoever_gives_up_waiting_takes_none_test_() ->
    both(fun(Options) ->
        with_meeting(Options, fun(Pool, Listener, Port) ->
            Busy = [pitcrew:async(Pool, meet, [Port]) || _ <- [1, 2]],
            Met = [meet(Listener), meet(Listener)],
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:start_session(Pool, nil, [{exclusive, true}, {checkout_timeout, 50}])),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:start_session(Pool, nil, [{exclusive, true}, {timeout, 50}])),
            [answer(Socket, "x") || {Socket, _} <- Met],
            [{ok, <<"x">>} = pitcrew:await(Call) || Call <- Busy],
            ?assertEqual(ok, pitcrew_test:whole(Pool))
        end)
    end).

%% ---- Deadlines, and callers who die

calls_of_a_session_obey_their_deadlines_test_() ->
    both(fun(Options) ->
        with_meeting(Options, fun(Pool, Listener, Port) ->
            {ok, S} = pitcrew:start_session(Pool, nil),
            Running = pitcrew:async(S, meet, [Port]),
            {Socket, _} = meet(Listener),
            %% One more than the worker holds waits in the VM, whose patience ends first.
            Filling = [pitcrew:async(S, add, [1, 2]) || _ <- lists:seq(1, maps:get(pipeline, Options) - 1)],
            ?assertEqual(ok, until(fun() ->
                case [Load || {ok, _, P} <- [pitcrew_sessions:find(S)], {tenant, T} <- [element(5, P)], {C, _} <- [pitcrew_nif:tenant_info(T)],
                              #{load := Load} <- [pitcrew_nif:channel_info(C)]] of
                    [N] when N =:= 1 + length(Filling) -> ok;
                    %% A slot that its caller has claimed, for it was free.
                    Other -> Other
                end
            end)),
            {error, #{kind := checkout_timeout, message := Message}} = pitcrew:call(S, add, [1, 2], [{checkout_timeout, 30}]),
            ?assertMatch({_, _}, binary:match(Message, <<"the worker that the call must run in was busy">>)),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(S, add, [1, 2], [{timeout, 30}])),
            %% Whoever waits and is killed leaves nothing.
            {Caller, Ref} = spawn_monitor(fun() -> pitcrew:call(S, remember, [a, 1]) end),
            ?assertEqual(ok, pitcrew_test:queued(Pool, 1)),
            exit(Caller, kill),
            receive {'DOWN', Ref, process, _, killed} -> ok end,
            answer(Socket, "x"),
            [{ok, _} = pitcrew:await(Call) || Call <- [Running | Filling]],
            ?assertEqual({ok, nil}, pitcrew:call(S, recall, [a])),
            ok = pitcrew:stop_session(S)
        end)
    end).

%% ---- The pool

a_worker_that_is_replaced_stays_for_its_sessions_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 1, max_calls => 3}, fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, nil),
            {ok, nil} = pitcrew:call(S, remember, [a, 1]),
            {ok, Old} = pitcrew:call(S, pid),
            %% Others are served by its successor.
            ?assertEqual(ok, until(fun() ->
                case pitcrew:call(Pool, pid) of
                    {ok, Old} -> Old;
                    {ok, _} -> ok
                end
            end)),
            [?assertEqual({ok, 1}, pitcrew:call(S, recall, [a])) || _ <- lists:seq(1, 10)],
            ?assertEqual({ok, Old}, pitcrew:call(S, pid)),
            ok = pitcrew:stop_session(S),
            ?assertEqual(ok, until(fun() ->
                case lists:member(Old, os_pids(Pool)) of
                    false -> ok;
                    true -> Old
                end
            end))
        end)
    end).

but_not_for_ever_test_() ->
    test(fun() ->
        with_pool(options(#{size => 1, max_calls => 3, linger => 100}), fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, nil),
            {ok, Old} = pitcrew:call(S, pid),
            {ok, R} = pitcrew:start_session(Pool, nil, [{on_worker_exit, restart}, {on_start, {'begin', [1]}}]),
            {ok, Old} = pitcrew:call(R, pid),
            ?assertEqual(ok, until(fun() ->
                case pitcrew:call(S, pid) of
                    {error, #{kind := worker_exit, reason := recycled, message := M}} ->
                        ?assertMatch({_, _}, binary:match(M, <<"was replaced by another">>)),
                        ok;
                    Other ->
                        Other
                end
            end)),
            %% One that can begin again elsewhere does so at once.
            ?assertEqual({ok, 1}, pitcrew:call(R, recall, [<<"begun">>])),
            ?assertNotEqual({ok, Old}, pitcrew:call(R, pid)),
            ok = pitcrew:stop_session(S),
            ok = pitcrew:stop_session(R)
        end)
    end).

%% Its worker dies, and it does not begin in the next one: that does not stay for it.
no_worker_stays_for_a_session_that_is_lost_test_() ->
    both(fun(Options) ->
        with_meeting(Options#{size => 1}, fun(Pool, Listener, Port) ->
            Self = self(),
            Start = [{owner, Self}, {on_worker_exit, restart}, {on_start, {meet, [Port]}}],
            spawn_link(fun() -> Self ! {started, pitcrew:start_session(Pool, nil, Start)} end),
            {Socket, _} = meet(Listener),
            answer(Socket, "x"),
            {ok, S} = receive {started, Started} -> Started end,
            %% Now nobody is there to meet.
            ok = gen_tcp:close(Listener),
            {error, #{kind := worker_exit}} = pitcrew:call(S, die),
            {error, #{kind := tool_error, message := Message}} = pitcrew:call(S, pid),
            ?assertMatch({_, _}, binary:match(Message, <<"could not begin again">>)),
            {ok, Old} = pitcrew:call(Pool, pid),
            [#{id := Id}] = maps:get(workers, pitcrew:info(Pool)),
            ok = pitcrew_pool:recycle(Pool, Id),
            ?assertEqual(ok, until(fun() -> case os_pids(Pool) of [Pid] when Pid =/= Old -> ok; Pids -> Pids end end)),
            ok = pitcrew:stop_session(S)
        end)
    end).

%% Its first call runs when the worker is told to leave, which waits for no session that has not begun.
an_exclusive_session_does_not_begin_in_a_worker_that_leaves_test_() ->
    both(fun(Options) ->
        with_meeting(Options#{size => 1}, fun(Pool, Listener, Port) ->
            Self = self(),
            Start = [{owner, Self}, {exclusive, true}, {on_start, {meet, [Port]}}],
            spawn_link(fun() -> Self ! {started, pitcrew:start_session(Pool, nil, Start)} end),
            {Socket, Old} = meet(Listener),
            [#{id := Id}] = maps:get(workers, pitcrew:info(Pool)),
            ok = pitcrew_pool:recycle(Pool, Id),
            ?assertEqual(ok, until(fun() -> leaving(Pool) end)),
            answer(Socket, "x"),
            {Next, Pid} = meet(Listener),
            ?assertNotEqual(Old, Pid),
            answer(Next, "x"),
            {ok, S} = receive {started, Started} -> Started end,
            ?assertEqual({ok, Pid}, pitcrew:call(S, pid)),
            ?assertEqual(ok, until(fun() -> pitcrew_test:is([Pid], os_pids(Pool)) end)),
            ok = pitcrew:stop_session(S)
        end)
    end).

%% Whether the manager of sessions knows of a worker that is to leave.
leaving(Pool) ->
    {ok, #pool{sup = Sup}} = pitcrew_pools:find(Pool),
    Workers = element(4, sys:get_state(pitcrew_pools:member(Sup, sessions))),
    case [Worker || {Worker, {_, leaves, _}} <- maps:to_list(Workers)] of
        [_] -> ok;
        _ -> Workers
    end.

a_pool_that_has_no_worker_yet_starts_one_test_() ->
    both(fun(Options) ->
        with_pool(Options#{lazy => true}, fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, nil),
            ?assertMatch({ok, _}, pitcrew:call(S, pid)),
            {ok, E} = pitcrew:start_session(Pool, nil, [{exclusive, true}]),
            ?assertNotEqual(pitcrew:call(S, pid), pitcrew:call(E, pid)),
            ok = pitcrew:stop_session(S),
            ok = pitcrew:stop_session(E)
        end)
    end).

%% Its first call may be the worker's first as well, which comes before anybody has been told of the worker.
and_begins_once_there_test_() ->
    [{"exclusive " ++ atom_to_list(Exclusive), both(fun(Options) ->
         Self = self(),
         Handler = fun(_, _, _, _) -> Self ! {handler, self()}, receive go -> ok end end,
         with_pool(Options#{size => 1, lazy => true}, fun(Pool) ->
             ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, worker, start], Handler, none),
             try
                 {ok, S} = pitcrew:start_session(Pool, nil, [{exclusive, Exclusive}, {on_start, {'begin', [1]}}]),
                 ?assertEqual({ok, 1}, pitcrew:call(S, recall, [<<"begun">>])),
                 %% One that shares has waited with a call of its own until there was a worker.
                 Calls = case Exclusive of true -> 2; false -> 3 end,
                 ?assertMatch(#{workers := [#{calls := Calls}]}, pitcrew:info(Pool)),
                 receive {handler, Pid} -> Pid ! go end,
                 ok = pitcrew:stop_session(S)
             after
                 ok = pitcrew_telemetry:detach(?MODULE)
             end
         end)
     end)} || Exclusive <- [true, false]].

%% What is said of a worker is that it comes, and then nothing but its end.
a_worker_that_never_comes_holds_up_no_session_test_() ->
    test(fun() ->
        with_pool(options(#{size => 1, lazy => true}), fun(Pool) ->
            {ok, #pool{sup = Sup}} = pitcrew_pools:find(Pool),
            Manager = pitcrew_pools:member(Sup, sessions),
            Worker = spawn(fun() -> receive done -> ok end end),
            Manager ! {pitcrew_worker, Worker, {comes, none}},
            Self = self(),
            spawn_link(fun() -> Self ! {started, pitcrew:start_session(Pool, nil, [{owner, Self}])} end),
            ?assertEqual(ok, until(fun() -> case element(6, sys:get_state(Manager)) of [_] -> ok; Waiting -> Waiting end end)),
            Worker ! done,
            S = receive {started, {ok, Session}} -> Session end,
            ?assertMatch({ok, _}, pitcrew:call(S, pid)),
            ok = pitcrew:stop_session(S)
        end)
    end).

the_pool_stops_test_() ->
    test(fun() ->
        Sessions = with_pool(options(#{}), fun(Pool) ->
            {ok, S} = pitcrew:start_session(Pool, named),
            {ok, E} = pitcrew:start_session(Pool, nil, [{exclusive, true}, {on_worker_exit, restart}]),
            {ok, _} = pitcrew:call(E, pid),
            [{Pool, named}, S, E]
        end),
        [?assertMatch({error, #{kind := no_pool}}, pitcrew:call(S, pid)) || S <- Sessions],
        %% Another pool of that name has none of them.
        with_pool(options(#{}), fun(_) -> [?assertMatch({error, #{kind := no_session}}, pitcrew:call(S, pid)) || S <- Sessions] end)
    end).

%% ---- All at once

%% Sessions of every sort begin and end, references are made, used and dropped, others call, and workers are killed: every call ends as one
%% of those can, a session never sees what another has kept, and in the end everything is free and nothing is kept.
everything_at_once_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 3, checkout_timeout => 20_000}, fun(Pool) ->
            Doers = [spawn_monitor(fun() -> _ = rand:seed(exsss, N), exit({did, [do_something(Pool, N) || _ <- lists:seq(1, 60)]}) end)
                     || N <- lists:seq(1, 8)],
            Killer = spawn_link(fun() -> kill_some(Pool) end),
            Done = lists:append([receive {'DOWN', Ref, process, _, {did, All}} -> All end || {_, Ref} <- Doers]),
            unlink(Killer),
            exit(Killer, kill),
            ?assertEqual([], [Other || Other <- Done, not lists:member(Other, [ok, worker_exit, bad_ref, no_session])]),
            ?assert(length([ok || ok <- Done]) > length(Done) div 2),
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            [garbage_collect(Pid) || Pid <- processes()],
            nothing_kept(Pool)
        end)
    end).

do_something(Pool, N) ->
    Outcome =
        case rand:uniform(6) of
            1 -> pitcrew:session(Pool, fun(S) -> use_session(S) end);
            2 -> pitcrew:session(Pool, fun(S) -> use_session(S) end, [{exclusive, true}]);
            3 -> pitcrew:session(Pool, fun(S) -> use_session(S) end, [{on_worker_exit, restart}, {on_start, {'begin', [N]}}]);
            4 -> use_reference(Pool, N);
            _ -> {ok, pitcrew:call(Pool, add, [N, N])}
        end,
    case Outcome of
        {ok, {ok, _}} -> ok;
        {ok, {error, #{kind := Kind}}} -> Kind;
        {error, #{kind := Kind}} -> Kind;
        Other -> Other
    end.

use_session(S) ->
    Id = maps:get(id, S),
    case pitcrew:call(S, remember, [id, Id]) of
        {ok, nil} ->
            case pitcrew:call(S, recall, [id]) of
                {ok, Id} -> {ok, Id};
                %% It has begun again meanwhile.
                {ok, nil} -> {error, #{kind => worker_exit}};
                Other -> Other
            end;
        Other ->
            Other
    end.

use_reference(Pool, N) ->
    case pitcrew:call(Pool, counter, [N]) of
        {ok, Ref} ->
            case pitcrew:call(Pool, total, [Ref, Ref]) of
                {ok, Sum} when Sum =:= 2 * N -> {ok, {ok, Sum}};
                Other -> {ok, Other}
            end;
        Other ->
            {ok, Other}
    end.

kill_some(Pool) ->
    receive after 60 -> ok end,
    case os_pids(Pool) of
        Pids when Pids =/= [] -> [kill(Pid) || Pid <- [lists:nth(rand:uniform(length(Pids)), Pids)], is_integer(Pid)];
        [] -> ok
    end,
    kill_some(Pool).
