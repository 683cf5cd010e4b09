%% Large arguments of calls that no slot was claimed for when they were made, in shared memory: calls that wait, among others, and in sessions, streams and
%% objects; and whatever takes them out of the queue.
-module(pitcrew_buffers_queue_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool_to_stop/2, until/1, queued/2, quietly/1, nothing_held/1, chunks/1]).
-import(pitcrew_buffers_tests, [test/1, with/2, each/1, random/1, tensor/1]).

-define(MIB, 1_048_576).

%% How many of those that wait at once came in shared memory; each says which bytes it had.
shared_of(Pool, N) ->
    Me = self(),
    Bytes = [random(?MIB + I) || I <- lists:seq(1, N)],
    Callers = [spawn_link(fun() -> Me ! {self(), pitcrew:call(Pool, is_shared, [pitcrew:bytes(B)])} end) || B <- Bytes],
    [receive {Caller, {ok, [Shared, Sum]}} -> ?assertEqual(erlang:crc32(B), Sum), Shared end || {Caller, B} <- lists:zip(Callers, Bytes)].

all_shared(Results) -> ?assertEqual([true || _ <- Results], Results).

busy(Pool, Seconds) -> busy(Pool, Pool, Seconds).

%% A worker, in a call that was sent.
busy(Pool, Target, Seconds) ->
    Calls = fun() -> lists:sum([N || #{calls := N} <- maps:get(workers, pitcrew:info(Pool))]) end,
    Before = Calls(),
    _ = spawn(fun() -> pitcrew:call(Target, sleep, [Seconds]) end),
    ok = until(fun() ->
        case Calls() of
            Before -> idle;
            _ -> ok
        end
    end).

%% A worker in a call that goes on until let_go/1.
stuck(Pool) ->
    Listener = pitcrew_test:listen(),
    _ = spawn_link(fun() -> {ok, _} = pitcrew:call(Pool, meet, [pitcrew_test:port(Listener)]) end),
    {Socket, _} = pitcrew_test:meet(Listener),
    {Listener, Socket}.

let_go({Listener, Socket}) ->
    pitcrew_test:answer(Socket, "x"),
    ok = gen_tcp:close(Listener).

%% So many calls that wait in the queue; each sends its result.
waiting(Pool, N) ->
    Me = self(),
    B = pitcrew:bytes(random(?MIB)),
    Callers = [spawn_link(fun() -> Me ! {self(), pitcrew:call(Pool, is_shared, [B])} end) || _ <- lists:seq(1, N)],
    ok = queued(Pool, N),
    Callers.

calls_that_wait_share_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            {ok, [true, _]} = pitcrew:call(Pool, is_shared, [pitcrew:bytes(random(?MIB))]),
            ok = busy(Pool, 0.3),
            %% As many as a worker may be given, or any number of those that wait for a slot.
            all_shared(shared_of(Pool, case map_size(Options) of 0 -> 12; _ -> 3 end)),
            nothing_held(Pool)
        end)
    end).

%% They are among others that do not, and all have their turn.
they_wait_among_others_test_() ->
    each(fun(Options) ->
        with(Options#{size => 2}, fun(Pool) ->
            Me = self(),
            Small = [spawn_link(fun() -> Me ! {self(), [pitcrew:call(Pool, echo, [N]) || _ <- lists:seq(1, 100)]} end) || N <- lists:seq(1, 8)],
            Shared = [shared_of(Pool, 6) || _ <- lists:seq(1, 5)],
            %% Where workers are full, and are not claimed, nobody knows which one it will be.
            [all_shared(lists:append(Shared)) || map_size(Options) =:= 0],
            [receive {Caller, Results} -> ?assertEqual(100, length([ok || {ok, _} <- Results])) end || Caller <- Small]
        end)
    end).

sessions_and_objects_share_test_() ->
    each(fun(Options) ->
        with(Options#{size => 2}, fun(Pool) ->
            B = random(?MIB),
            Is = {ok, [true, erlang:crc32(B)]},
            [pitcrew:session(Pool, fun(Session) ->
                 [?assertEqual(Is, pitcrew:call(Session, is_shared, [pitcrew:bytes(B)])) || _ <- lists:seq(1, 3)]
             end, Mode) || Mode <- [#{}, #{exclusive => true}], Mode =:= #{} orelse Options =:= #{}],
            {ok, Place} = pitcrew:call(Pool, place),
            ?assertEqual(Is, pitcrew:call(Place, is_shared, [tensor(B)]))
        end)
    end).

streams_and_functions_share_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            B = random(?MIB),
            Is = [true, erlang:crc32(B)],
            ?assertEqual([Is, Is, Is], chunks(pitcrew:stream(Pool, are_shared, [pitcrew:bytes(B), 3]))),
            ?assertEqual({ok, Is ++ [7]}, pitcrew:call(Pool, is_shared_beside, [pitcrew:bytes(B), fun() -> 7 end]))
        end)
    end).

%% The first of its worker's calls, and large, is as likely to have been run as any other: not once more.
what_dies_with_its_worker_had_begun_test_() ->
    each(fun(Options) ->
        [died_once(Options, Run) || Run <- [fun in_a_session/2, fun with_a_function/2]]
    end).

died_once(Options, Run) ->
    with(Options, fun(Pool) ->
        File = pitcrew_test:base() ++ ".txt",
        Result = quietly(fun() -> Run(Pool, [pitcrew:bytes(random(?MIB)), list_to_binary(File)]) end),
        Written = file:read_file(File),
        ok = file:delete(File),
        ?assertEqual({ok, <<"here\n">>}, Written),
        ?assertMatch({error, #{kind := worker_exit}}, Result)
    end).

in_a_session(Pool, Args) ->
    {ok, Session} = pitcrew:start_session(Pool, dies),
    Result = pitcrew:call(Session, note_and_die, Args),
    _ = pitcrew:stop_session(Session),
    Result.

with_a_function(Pool, Args) -> pitcrew:call(Pool, note_and_die, Args ++ [fun() -> ok end]).

%% More calls than there are segments, which nobody waits for any more before they go out: theirs are free again.
what_leaves_the_queue_leaves_its_segments_test_() ->
    each(fun(Options) ->
        with(Options#{grace => 2000}, fun(Pool) ->
            pitcrew:session(Pool, fun(Session) ->
                B = pitcrew:bytes(random(?MIB)),
                ok = busy(Pool, Session, 1.0),
                Callers = [spawn_monitor(fun() -> exit(pitcrew:call(Session, is_shared, [B], #{checkout_timeout => 20})) end) || _ <- lists:seq(1, 100)],
                Killed = [spawn_monitor(fun() -> exit(pitcrew:call(Session, is_shared, [B])) end) || _ <- lists:seq(1, 50)],
                [receive {'DOWN', Ref, process, _, Reason} -> Reason end || {_, Ref} <- Callers],
                [exit(Pid, kill) || {Pid, _} <- Killed],
                [receive {'DOWN', Ref, process, _, _} -> ok end || {_, Ref} <- Killed],
                ?assertMatch({ok, [true, _]}, pitcrew:call(Session, is_shared, [B], #{checkout_timeout => 5000}))
            end)
        end)
    end).

%% A slot that is free goes to whoever has waited for one, unless that is gone.
slots_that_are_waited_for_test_() ->
    [
        {"by callers that are killed", test(fun() ->
            with(#{}, fun(Pool) ->
                Stuck = stuck(Pool),
                B = pitcrew:bytes(random(?MIB)),
                Callers = [spawn_monitor(fun() -> pitcrew:call(Pool, is_shared, [B]) end) || _ <- lists:seq(1, 200)],
                ok = queued(Pool, 200),
                [exit(Pid, kill) || {Pid, _} <- Callers],
                [receive {'DOWN', Ref, process, _, _} -> ok end || {_, Ref} <- Callers],
                let_go(Stuck),
                ?assertMatch({ok, [true, _]}, pitcrew:call(Pool, is_shared, [B])),
                ?assertMatch(#{free := 1, queued := 0}, pitcrew:info(Pool))
            end)
        end)},
        {"by callers with too little time", test(fun() ->
            with(#{}, fun(Pool) ->
                Stuck = stuck(Pool),
                B = pitcrew:bytes(random(?MIB)),
                ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, is_shared, [B], #{timeout => 50})),
                ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:call(Pool, is_shared, [B], #{checkout_timeout => 50})),
                let_go(Stuck),
                ?assertMatch({ok, [true, _]}, pitcrew:call(Pool, is_shared, [B])),
                ?assertEqual([], element(2, process_info(self(), messages)))
            end)
        end)},
        {"of a pool that stops", test(fun() ->
            with_pool_to_stop(#{tools => ["buffer_tools"], size => 1}, fun(Pool) ->
                ok = busy(Pool, 600),
                Callers = waiting(Pool, 5),
                ok = quietly(fun() -> pitcrew_pool:stop(Pool) end),
                [receive {Caller, Result} -> ?assertMatch({error, #{kind := pool_down}}, Result) end || Caller <- Callers]
            end)
        end)},
        {"of a worker that dies", test(fun() ->
            with(#{}, fun(Pool) ->
                ok = busy(Pool, 600),
                #{workers := [#{os_pid := OsPid}]} = pitcrew:info(Pool),
                Callers = waiting(Pool, 5),
                quietly(fun() -> pitcrew_test:kill(OsPid), [receive {Caller, {ok, [true, _]}} -> ok end || Caller <- Callers] end)
            end)
        end)},
        {"where only so many may wait", test(fun() ->
            with(#{max_queue => 2}, fun(Pool) ->
                Stuck = stuck(Pool),
                Callers = waiting(Pool, 2),
                ?assertMatch({error, #{kind := overloaded}}, pitcrew:call(Pool, is_shared, [pitcrew:bytes(random(?MIB))])),
                let_go(Stuck),
                [receive {Caller, Result} -> ?assertMatch({ok, [true, _]}, Result) end || Caller <- Callers]
            end)
        end)}
    ].

%% Without shared memory in the pool nobody waits for a slot.
without_shared_memory_test_() ->
    [{Name, test(fun() ->
        with(maps:merge(#{shared => false}, Options), fun(Pool) ->
            ok = busy(Pool, 0.2),
            ?assertEqual([false || _ <- lists:seq(1, 4)], shared_of(Pool, 4))
        end)
    end)} || {Name, Options} <- [{"slots", #{}}, {"pipelined", #{pipeline => 4}}]].
