%% Pipelined workers end to end: real Python, a leak gate around every test.
-module(pitcrew_pipeline_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_pipeline_harness, [with_tools/2, call/4, await/1, holds/2, started/1, ended/1, os_pids/1]).
-import(pitcrew_test, [meet/1, answer/2, until/1]).

-define(MB, 1024 * 1024).

test(Fun) -> {timeout, 60, Fun}.

bytes(N) -> binary:copy(<<"0123456789abcdefghijklmnopqrstuv">>, N div 32).

%% ---- Values and errors are as in other pools

values_and_errors_test_() ->
    test(fun() ->
        with_tools(#{size => 2}, fun(Pool, _) ->
            Values = [nil, 1, 1 bsl 100, 0.5, <<"text">>, [1, [2]], {3, #{<<"a">> => [b]}}, infinity, make_ref()],
            [?assertEqual({ok, V}, pitcrew:call(Pool, echo, [V])) || V <- Values],
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, #{a => 1, b => 2})),
            ?assertEqual({ok, [4, 7]}, pitcrew:call(Pool, scale, {[[1, 2]], #{factor => 3, offset => 1}})),
            ?assertMatch(
                {error, #{kind := tool_error, type := <<"ValueError">>, message := <<"no">>, worker := W}} when is_integer(W),
                pitcrew:call(Pool, fail, [<<"no">>])
            ),
            ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:call(Pool, ad, [1])),
            ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:call(Pool, add, [1])),
            ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:call(Pool, add, 17)),
            ?assertMatch({error, #{kind := result_error, path := [<<"bad">>, 1]}}, pitcrew:call(Pool, unencodable, [])),
            ?assertMatch({error, #{kind := encode_error, path := [args, 1, 0]}}, pitcrew:call(Pool, add, [1, [#{'__struct__' => nobody}]])),
            ?assertMatch({error, #{kind := encode_error}}, pitcrew:call(Pool, add, [1, <<255>>])),
            ?assertEqual(2, length([1 || #{state := idle} <- maps:get(workers, pitcrew:info(Pool))])),
            Calls = length(Values) + 6,
            ?assertEqual(Calls, lists:sum([C || #{calls := C} <- maps:get(workers, pitcrew:info(Pool))]))
        end)
    end).

json_test_() ->
    test(fun() ->
        with_tools(#{protocol => json}, fun(Pool, _) ->
            ?assertEqual({ok, #{<<"a">> => [1, 2.5, nil]}}, pitcrew:call(Pool, echo, [#{a => [1, 2.5, nil]}])),
            ?assertEqual({ok, #{<<"a">> => undefined}}, pitcrew:call(Pool, echo, [#{a => undefined}], #{nil => undefined})),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, #{a => 1, b => 2})),
            ?assertMatch({error, #{kind := tool_error, message := <<"no">>}}, pitcrew:call(Pool, fail, [<<"no">>])),
            ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:call(Pool, ad, [1])),
            [?assertEqual({ok, bytes(N)}, pitcrew:call(Pool, echo, [bytes(N)])) || N <- [1024, 20 * 1024, 100 * 1024, 3 * ?MB]],
            %% Both formats on one channel.
            Callers = [
                {N, call(Pool, echo, [[N]], #{protocol => Protocol})}
             || N <- lists:seq(1, 40), Protocol <- [json, msgpack]
            ],
            [?assertEqual({ok, [N]}, await(Caller)) || {N, Caller} <- Callers]
        end)
    end).

many_callers_test_() ->
    test(fun() ->
        with_tools(#{size => 2, pipeline => 16}, fun(Pool, _) ->
            Callers = [
                spawn_monitor(fun() ->
                    exit({answer, [pitcrew:call(Pool, echo, [{N, M}]) || M <- lists:seq(1, 100)], pitcrew_test:mailbox()})
                end)
             || N <- lists:seq(1, 64)
            ],
            ?assertEqual([[{ok, {N, M}} || M <- lists:seq(1, 100)] || N <- lists:seq(1, 64)], [await(C) || C <- Callers]),
            ?assertEqual(6400, lists:sum([C || #{calls := C} <- maps:get(workers, pitcrew:info(Pool))]))
        end)
    end).

%% Around the sizes from which on answers go to their callers undecoded, and bodies and answers are not copied.
sizes_test_() ->
    pitcrew_test:shared_or_not(60, #{bytes => tagged}, fun(Options) ->
        with_tools(Options, fun(Pool, _) ->
            [begin
                 B = bytes(N),
                 Terms = [B, [1, B, 2], [B, B], #{<<"a">> => B, <<"b">> => {B, [pitcrew:bytes(B)]}}, lists:seq(1, N div 8)],
                 [?assertEqual({N, {ok, Term}}, {N, pitcrew:call(Pool, echo, [Term])}) || Term <- Terms]
             end || N <- [1024, 16 * 1024 - 32, 16 * 1024, 40 * 1024, 64 * 1024 - 32, 64 * 1024, 64 * 1024 + 32, 200 * 1024, 3 * ?MB]],
            %% An error whose text is long takes the same ways.
            [begin
                 {error, #{kind := tool_error, message := Message}} = pitcrew:call(Pool, fail, [bytes(N)]),
                 ?assertEqual(binary:part(bytes(N), 0, 1024), binary:part(Message, 0, 1024))
             end || N <- [1024, 30 * 1024, 100 * 1024]]
        end)
    end).

%% Several callers at once, 64 MiB each way, with small calls in between.
much_test_() ->
    pitcrew_test:shared_or_not(120, #{size => 2, timeout => 60_000}, fun(Options) ->
        with_tools(Options, fun(Pool, _) ->
            Sum = erlang:md5(bytes(64 * ?MB)),
            Large = [
                spawn_monitor(fun() ->
                    {ok, Back} = pitcrew:call(Pool, echo, [[N, bytes(64 * ?MB)]]),
                    [N, Bytes] = Back,
                    exit({answer, erlang:md5(Bytes), pitcrew_test:mailbox()})
                end)
             || N <- [1, 2, 3, 4]
            ],
            Small = [call(Pool, echo, [N], #{}) || N <- lists:seq(1, 50)],
            ?assertEqual([{ok, N} || N <- lists:seq(1, 50)], [await(C) || C <- Small]),
            ?assertEqual([Sum, Sum, Sum, Sum], [await(C) || C <- Large])
        end)
    end).

memory_test_() ->
    test(fun() ->
        with_tools(#{shared => false}, fun(Pool, _) ->
            Term = [bytes(?MB), bytes(1024), bytes(?MB)],
            {ok, [Large, Small, _]} = pitcrew:call(Pool, echo, [Term]),
            ?assertNotEqual(?MB, binary:referenced_byte_size(Large)),
            ?assertEqual(1024, binary:referenced_byte_size(Small)),
            {ok, [Copied | _] = Same} = pitcrew:call(Pool, echo, [Term], #{copy_binaries => true}),
            ?assertEqual(?MB, binary:referenced_byte_size(Copied)),
            ?assertEqual(Term, Same),
            %% One that is handed out but small is no part of anything large.
            {ok, [Medium]} = pitcrew:call(Pool, echo, [[bytes(20 * 1024)]]),
            ?assert(binary:referenced_byte_size(Medium) < 64 * 1024)
        end)
    end).

too_big_test_() ->
    test(fun() ->
        with_tools(#{max_frame => 4096}, fun(Pool, _) ->
            Refused = fun(Args, Options) -> ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, echo, Args, Options)) end,
            Refused([binary:copy(<<"x">>, 5000)], #{}),
            Refused([binary:copy(<<"x">>, 5000)], #{protocol => json}),
            Refused([binary:copy(<<"x">>, ?MB)], #{}),
            Refused([binary:copy(<<"x">>, ?MB)], #{protocol => json}),
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, describe, [binary:copy(<<"\\">>, 3000)])),
            %% Every size up to what is refused: a frame that is accepted here fits there.
            [case pitcrew:call(Pool, size, [binary:copy(<<"x">>, N)], #{protocol => Protocol}) of
                 {ok, [<<"str">>, N]} -> ok;
                 {error, #{kind := too_big}} -> ?assert(N > 4000)
             end || N <- lists:seq(3990, 4096), Protocol <- [msgpack, json]]
        end)
    end).

%% Each answer is decoded as its own call wants it, though all wait in one worker.
options_of_each_call_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 64}, fun(Pool, #{listener := Listener, port := Port}) ->
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            Bin = pitcrew:bytes(<<"ab">>),
            Kinds = [
                {#{}, [<<"ab">>, nil]},
                {#{bytes => tagged}, [Bin, nil]},
                {#{nil => undefined}, [<<"ab">>, undefined]},
                {#{nil => undefined, bytes => tagged}, [Bin, undefined]},
                {#{keys => strict}, [<<"ab">>, nil]}
            ],
            Callers = [
                {Expected, call(Pool, echo, [[Bin, lists:last(Expected)]], Options)}
             || _ <- lists:seq(1, 10), {Options, Expected} <- Kinds
            ],
            holds(Pool, #{out => 51, queued => 0}),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(First)),
            [?assertEqual({ok, Expected}, await(Caller)) || {Expected, Caller} <- Callers]
        end)
    end).

%% ---- The queue

first_come_first_served_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 2}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            Others = [
                begin
                    Caller = call(Pool, note, [N], #{}),
                    holds(Pool, #{out => 2, queued => N - 1}),
                    Caller
                end
             || N <- lists:seq(1, 20)
            ],
            ?assertMatch(#{free := 0, queued := 19, workers := [#{state := busy, calls := 2}]}, pitcrew:info(Pool)),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(First)),
            ?assertEqual([{ok, N} || N <- lists:seq(1, 20)], [await(C) || C <- Others]),
            ?assertEqual(lists:seq(0, 20), started(Tools)),
            ?assertMatch(#{free := 1, queued := 0, workers := [#{state := idle, calls := 21}]}, pitcrew:info(Pool))
        end)
    end).

a_full_pool_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 2}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            Second = call(Pool, note, [1], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            ?assertMatch({error, #{kind := checkout_timeout, worker := nil}}, pitcrew:call(Pool, note, [2], #{checkout_timeout => 50})),
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew:call(Pool, note, [3], #{checkout_timeout => 0})),
            ?assertMatch({error, #{kind := timeout, worker := nil}}, pitcrew:call(Pool, note, [4], #{timeout => 50})),
            ?assertMatch(
                {error, #{kind := timeout}}, pitcrew:call(Pool, note, [5], #{timeout => 50, checkout_timeout => infinity, protocol => json})
            ),
            holds(Pool, #{out => 2, queued => 0}),
            %% The time in the queue is over, that of the call is not: it counts only until a worker has the call.
            Patient = call(Pool, note, [6], #{checkout_timeout => 10_000, timeout => infinity}),
            holds(Pool, #{out => 2, queued => 1}),
            answer(Socket, "x"),
            ?assertEqual([{ok, <<"x">>}, {ok, 1}, {ok, 6}], [await(C) || C <- [First, Second, Patient]]),
            ?assertEqual([0, 1, 6], started(Tools))
        end)
    end).

%% What was handed to a worker in time is not taken back when the time for the queue is over.
checkout_timeout_ends_with_the_queue_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, #{listener := Listener, port := Port}) ->
            First = call(Pool, wait, [0, Port], #{checkout_timeout => 0}),
            {Socket, _} = meet(Listener),
            Second = call(Pool, note, [1], #{checkout_timeout => 0}),
            holds(Pool, #{out => 2, queued => 0}),
            answer(Socket, "x"),
            ?assertEqual([{ok, <<"x">>}, {ok, 1}], [await(First), await(Second)])
        end)
    end).

large_bodies_in_the_queue_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 1 + 1}, fun(Pool, #{listener := Listener, port := Port}) ->
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            Second = call(Pool, note, [1], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            Sizes = [10, 10_000, 100_000, 5_000_000],
            Protocols = [msgpack, json],
            Callers = [{N, call(Pool, size, [binary:copy(<<"x">>, N)], #{protocol => P})} || N <- Sizes, P <- Protocols],
            Gone = [call(Pool, size, [binary:copy(<<"x">>, N)], #{protocol => P}) || N <- Sizes, P <- Protocols],
            holds(Pool, #{out => 2, queued => 16}),
            [exit(Pid, kill) || {Pid, _} <- Gone],
            ?assertEqual([{caller, killed} || _ <- Gone], [await(C) || C <- Gone]),
            holds(Pool, #{out => 2, queued => 8}),
            answer(Socket, "x"),
            ?assertEqual([{ok, <<"x">>}, {ok, 1}], [await(First), await(Second)]),
            [?assertEqual({ok, [<<"str">>, N]}, await(C)) || {N, C} <- Callers]
        end)
    end).

%% ---- Callers who leave

%% The deadline of a call that waits in a worker: the tool never runs, and the worker has heard of nothing worse.
an_unstarted_call_is_dropped_test_() ->
    test(fun() ->
        with_tools(#{grace => 60_000}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            OsPids = os_pids(Pool),
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, note, [1], #{timeout => 50})),
            ?assertMatch({error, #{kind := timeout}}, pitcrew:call(Pool, note, [2], #{timeout => 50, protocol => json})),
            holds(Pool, #{out => 1, queued => 0}),
            {Pid, _} = Killed = call(Pool, note, [3], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            exit(Pid, kill),
            ?assertEqual({caller, killed}, await(Killed)),
            holds(Pool, #{out => 1, queued => 0}),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(First)),
            ?assertEqual({ok, 4}, pitcrew:call(Pool, note, [4])),
            ?assertEqual([0, 4], started(Tools)),
            ?assertEqual(OsPids, os_pids(Pool)),
            %% What was dropped was no call of that worker's.
            ?assertMatch(#{workers := [#{calls := 2}]}, pitcrew:info(Pool))
        end)
    end).

%% The place of a call that was dropped goes to the first in the queue, whose waiting is counted right.
a_place_that_comes_free_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 2}, fun(Pool, #{listener := Listener, port := Port}) ->
            watching(fun() ->
                First = call(Pool, wait, [0, Port], #{}),
                {Socket, _} = meet(Listener),
                {Pid, _} = Leaves = call(Pool, note, [1], #{}),
                holds(Pool, #{out => 2, queued => 0}),
                Next = call(Pool, note, [2], #{}),
                holds(Pool, #{out => 2, queued => 1}),
                exit(Pid, kill),
                holds(Pool, #{out => 2, queued => 0}),
                answer(Socket, "x"),
                ?assertEqual({ok, <<"x">>}, await(First)),
                ?assertEqual({ok, 2}, await(Next)),
                await(Leaves),
                {#{duration := Duration, queue := Queue}, _} = told(stop, <<"note">>),
                ?assert(Queue > 0 andalso Queue < Duration)
            end)
        end)
    end).

%% The deadline of the call that runs: it is interrupted and cleans up, and its worker goes on with the others.
the_started_call_is_interrupted_test_() ->
    test(fun() ->
        with_tools(#{grace => 60_000}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            OsPids = os_pids(Pool),
            Late = call(Pool, wait, [0, Port], #{timeout => 1_000}),
            {Socket, OsPid} = meet(Listener),
            Others = [call(Pool, note, [N], #{}) || N <- [1, 2, 3]],
            ?assertMatch({error, #{kind := timeout, worker := OsPid}}, await(Late)),
            ?assertEqual([{ok, N} || N <- [1, 2, 3]], [await(C) || C <- Others]),
            ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 10_000)),
            gen_tcp:close(Socket),
            ?assertEqual([0], ended(Tools)),
            ?assertEqual([0, 1, 2, 3], lists:sort(started(Tools))),
            ?assertEqual(OsPids, os_pids(Pool))
        end)
    end).

the_started_calls_caller_dies_test_() ->
    test(fun() ->
        with_tools(#{grace => 60_000}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            OsPids = os_pids(Pool),
            {Pid, _} = Dies = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            Other = call(Pool, note, [1], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            exit(Pid, kill),
            ?assertEqual({caller, killed}, await(Dies)),
            ?assertEqual({ok, 1}, await(Other)),
            gen_tcp:close(Socket),
            ?assertEqual({[0, 1], [0]}, {started(Tools), ended(Tools)}),
            ?assertEqual(OsPids, os_pids(Pool))
        end)
    end).

%% What does not let itself be interrupted is killed after the grace. The others run elsewhere, once.
does_not_end_test_() ->
    [
        {atom_to_list(Tool), test(fun() ->
            with_tools(#{grace => 100}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
                {Pid, _} = Dies = call(Pool, Tool, [0, Port], #{}),
                {Socket, OsPid} = meet(Listener),
                Others = [call(Pool, note, [N], #{}) || N <- [1, 2, 3, 4, 5]],
                holds(Pool, #{out => 4, queued => 2}),
                exit(Pid, kill),
                ?assertEqual({caller, killed}, await(Dies)),
                ?assertEqual([{ok, N} || N <- [1, 2, 3, 4, 5]], [await(C) || C <- Others]),
                ?assertEqual([], pitcrew_processes:wait_gone([OsPid], 5000)),
                ?assertEqual([0, 1, 2, 3, 4, 5], lists:sort(started(Tools))),
                gen_tcp:close(Socket)
            end)
        end)}
     || Tool <- [swallow, hold_gil, endless_result]
    ].

%% A worker takes note of so many calls that shall not begin, and no more. One that begins all the same, though nobody waits for it,
%% is stopped too.
too_many_to_cancel_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 1024, grace => 100, timeout => 20_000}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            [Worker] = pitcrew_pipeline_harness:processes(Pool),
            leave_all([call(Pool, note, [N], #{}) || N <- lists:seq(1, 1023)], 1024, Pool),
            holds(Pool, #{out => 1, queued => 0}),
            1 = erlang:trace(Worker, true, ['receive']),
            leave_all([call(Pool, swallow, [N, Port], #{}) || N <- [2001, 2002, 2003]], 4, Pool),
            [receive {trace, Worker, 'receive', {pitcrew_cancelled, _, <<"full">>}} -> ok end || _ <- [1, 2]],
            1 = erlang:trace(Worker, false, ['receive']),
            forget_traces(Worker),
            answer(Socket, "x"),
            ?assertEqual({ok, <<"x">>}, await(First)),
            ?assertEqual({ok, 3000}, pitcrew:call(Pool, note, [3000])),
            ?assertEqual([], started(Tools) -- [0, 2001, 2002, 2003, 3000])
        end)
    end).

leave_all(Callers, Out, Pool) ->
    holds(Pool, #{out => Out, queued => 0}),
    [exit(Pid, kill) || {Pid, _} <- Callers],
    [?assertEqual({caller, killed}, await(C)) || C <- Callers].

forget_traces(Pid) ->
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    (fun Forget() ->
        receive
            {trace, Pid, _, _} -> Forget()
        after 0 -> ok
        end
    end)().

%% A call that is on its way as large arguments is left: the rest is sent all the same, and the next ones are understood.
left_while_it_is_sent_test_() ->
    test(fun() ->
        with_tools(#{grace => 60_000}, fun(Pool, #{listener := Listener, port := Port}) ->
            OsPids = os_pids(Pool),
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            {Pid, _} = Large = call(Pool, note, [1, bytes(8 * ?MB)], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            Next = call(Pool, note, [2], #{}),
            holds(Pool, #{out => 3, queued => 0}),
            exit(Pid, kill),
            ?assertEqual({caller, killed}, await(Large)),
            holds(Pool, #{out => 2, queued => 0}),
            answer(Socket, "x"),
            ?assertEqual([{ok, <<"x">>}, {ok, 2}], [await(First), await(Next)]),
            ?assertEqual(OsPids, os_pids(Pool))
        end)
    end).

%% Deadlines that fall anywhere in a call, before it and after it, in many processes at once.
deadlines_anywhere_test_() ->
    test(fun() ->
        with_tools(#{size => 2, pipeline => 8}, fun(Pool, _) ->
            Callers = [
                spawn_monitor(fun() ->
                    Answers = [{M, pitcrew:call(Pool, echo, [M], #{timeout => M rem 3})} || M <- lists:seq(1, 200)],
                    exit({answer, Answers, pitcrew_test:mailbox()})
                end)
             || _ <- lists:seq(1, 16)
            ],
            [
                case Answer of
                    {ok, M} -> ok;
                    {error, #{kind := timeout}} -> ok
                end
             || Caller <- Callers, {M, Answer} <- await(Caller)
            ]
        end)
    end).

%% ---- Workers that die

%% The call that runs gets the error; those behind it, and those in the queue, run in the next worker.
worker_dies_test_() ->
    [
        {How, test(fun() ->
            with_tools(#{pipeline => 3}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
                Dies = call(Pool, meet_and_die, [0, Port, list_to_binary(How)], #{}),
                {Socket, _} = meet(Listener),
                Others = [call(Pool, note, [N], #{protocol => P}) || {N, P} <- [{1, msgpack}, {2, json}, {3, msgpack}, {4, json}]],
                holds(Pool, #{out => 3, queued => 2}),
                answer(Socket, "x"),
                ?assertMatch({error, #{kind := worker_exit, reason := Reason}}, await(Dies)),
                ?assertEqual([{ok, N} || N <- [1, 2, 3, 4]], [await(C) || C <- Others]),
                ?assertEqual([0, 1, 2, 3, 4], lists:sort(started(Tools)))
            end)
        end)}
     || {How, Reason} <- [{"kill", {signal, sigkill}}, {"exit", {status, 17}}, {"crash", {signal, sigsegv}}]
    ].

%% Also to a caller who looks only when another worker has taken its place.
the_worker_that_died_is_named_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, #{listener := Listener, port := Port}) ->
            {Pid, _} = Dies = call(Pool, meet_and_die, [0, Port, <<"exit">>], #{}),
            {Socket, OsPid} = meet(Listener),
            true = erlang:suspend_process(Pid),
            answer(Socket, "x"),
            ?assertEqual(ok, until(fun() -> case os_pids(Pool) of [Next] when is_integer(Next), Next =/= OsPid -> ok; Other -> Other end end)),
            true = erlang:resume_process(Pid),
            ?assertMatch({error, #{kind := worker_exit, worker := OsPid}}, await(Dies))
        end)
    end).

%% The others go to a worker that is there.
another_takes_over_test_() ->
    test(fun() ->
        with_tools(#{size => 2}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            [{_, {One, OsPid}}, {Second, {Two, _}}] = Long = [
                begin
                    C = call(Pool, wait, [N, Port], #{}),
                    {C, meet(Listener)}
                end
             || N <- [0, 1]
            ],
            Others = [call(Pool, note, [N], #{}) || N <- lists:seq(2, 7)],
            holds(Pool, #{out => 8, queued => 0}),
            pitcrew_test:kill(OsPid),
            [{First, _} | _] = Long,
            ?assertMatch({error, #{kind := worker_exit}}, await(First)),
            answer(Two, "x"),
            ?assertEqual({ok, <<"x">>}, await(Second)),
            ?assertEqual([{ok, N} || N <- lists:seq(2, 7)], [await(C) || C <- Others]),
            ?assertEqual(lists:seq(0, 7), lists:sort(started(Tools))),
            gen_tcp:close(One)
        end)
    end).

an_idempotent_call_is_retried_test_() ->
    test(fun() ->
        with_tools(#{retry => 1}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            Again = call(Pool, wait_again, [0, Port], #{}),
            {Socket, OsPid} = meet(Listener),
            Other = call(Pool, note, [1], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            pitcrew_test:kill(OsPid),
            {Next, _} = meet(Listener),
            answer(Next, "y"),
            ?assertEqual([{ok, <<"y">>}, {ok, 1}], [await(Again), await(Other)]),
            ?assertEqual([0, 0, 1], lists:sort(started(Tools))),
            gen_tcp:close(Socket)
        end)
    end).

%% Nothing runs, and the worker is killed: nobody sees an error, now and afterwards.
an_idle_worker_dies_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, Tools) ->
            [
                begin
                    [OsPid] = os_pids(Pool),
                    pitcrew_test:kill(OsPid),
                    ?assertEqual({ok, N}, pitcrew:call(Pool, note, [N])),
                    ?assertEqual([], pitcrew_processes:wait_gone([OsPid], 5000))
                end
             || N <- [1, 2, 3]
            ],
            ?assertEqual([1, 2, 3], started(Tools))
        end)
    end).

%% Without its reader a worker is of no use; what it had not started runs in the next.
the_reader_dies_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            First = call(Pool, wait, [0, Port], #{}),
            {Socket, _} = meet(Listener),
            Other = call(Pool, note, [1], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            [Worker] = pitcrew_pipeline_harness:processes(Pool),
            exit(pitcrew_pipeline_harness:reader(Worker), kill),
            ?assertMatch({error, #{kind := worker_exit}}, await(First)),
            ?assertEqual({ok, 1}, await(Other)),
            ?assertEqual([0, 1], started(Tools)),
            gen_tcp:close(Socket)
        end)
    end).

%% ---- Balance

%% Calls behind a long one move to a worker that has nothing to do, and run once.
calls_move_test_() ->
    test(fun() ->
        with_tools(#{size => 2, pipeline_age => 1}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            OsPids = os_pids(Pool),
            [{Long, One}, {Short, Two}] = [
                begin
                    C = call(Pool, wait, [N, Port], #{}),
                    {Socket, _} = meet(Listener),
                    {C, Socket}
                end
             || N <- [0, 1]
            ],
            Others = [call(Pool, note, [N], #{}) || N <- lists:seq(2, 7)],
            holds(Pool, #{out => 8, queued => 0}),
            answer(Two, "x"),
            ?assertEqual({ok, <<"x">>}, await(Short)),
            %% All of them, those behind the long one too.
            ?assertEqual([{ok, N} || N <- lists:seq(2, 7)], [await(C) || C <- Others]),
            holds(Pool, #{out => 1, queued => 0}),
            answer(One, "y"),
            ?assertEqual({ok, <<"y">>}, await(Long)),
            ?assertEqual(lists:seq(0, 7), lists:sort(started(Tools))),
            ?assertEqual(OsPids, os_pids(Pool)),
            ?assertEqual(8, lists:sum([C || #{calls := C} <- maps:get(workers, pitcrew:info(Pool))]))
        end)
    end).

%% The other worker comes later: it is new.
calls_move_to_a_new_worker_test_() ->
    test(fun() ->
        with_tools(#{size => 2, pipeline_age => 1}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            Long = call(Pool, wait, [0, Port], #{}),
            {One, _} = meet(Listener),
            Dies = call(Pool, meet_and_die, [1, Port, <<"kill">>], #{}),
            {Two, _} = meet(Listener),
            Others = [call(Pool, note, [N], #{}) || N <- lists:seq(2, 7)],
            holds(Pool, #{out => 8, queued => 0}),
            answer(Two, "x"),
            ?assertMatch({error, #{kind := worker_exit}}, await(Dies)),
            ?assertEqual([{ok, N} || N <- lists:seq(2, 7)], [await(C) || C <- Others]),
            answer(One, "y"),
            ?assertEqual({ok, <<"y">>}, await(Long)),
            ?assertEqual(lists:seq(0, 7), lists:sort(started(Tools)))
        end)
    end).

%% A worker says that it will never start a call, starts a later one, and dies; the news of its death is read before what it said.
%% The call has not run, whatever is said of later ones.
moved_from_a_dying_worker_test_() ->
    test(fun() ->
        with_tools(#{}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
            First = call(Pool, wait, [0, Port], #{}),
            {One, OsPid} = meet(Listener),
            Moved = call(Pool, note, [1], #{}),
            holds(Pool, #{out => 2, queued => 0}),
            Last = call(Pool, wait, [2, Port], #{}),
            holds(Pool, #{out => 3, queued => 0}),
            [Worker] = pitcrew_pipeline_harness:processes(Pool),
            Self = self(),
            ok = sys:install(Worker, {fun(_, Event, _) -> hold_the_answer(Event, Self) end, none}),
            Worker ! {pitcrew_move, 2},
            receive held -> ok end,
            answer(One, "x"),
            ?assertEqual({ok, <<"x">>}, await(First)),
            {Two, OsPid} = meet(Listener),
            pitcrew_test:kill(OsPid),
            ?assertMatch({error, #{kind := worker_exit}}, await(Last)),
            ?assertEqual({ok, 1}, await(Moved)),
            ?assertEqual([0, 2, 1], started(Tools)),
            gen_tcp:close(Two)
        end)
    end).

%% In the worker's process: something can be read on the side channel. Goes on when the exit report is there too.
hold_the_answer({in, {info, {select, _, _, ready_input}}, _}, Test) ->
    Test ! held,
    ok = until(fun() ->
        {messages, Messages} = process_info(self(), messages),
        case [Exit || {pitcrew_keeper, Exit} <- Messages] of
            [_ | _] -> ok;
            [] -> Messages
        end
    end),
    done;
hold_the_answer(_, _) ->
    none.

%% ---- The pool ends

a_pool_is_stopped_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            Log = Base ++ ".log",
            Options = #{size => 2, pipeline => 2, tools => ["pipeline_tools"], env => [{"PITCREW_TEST_LOG", Log}]},
            {ok, Sup} = pitcrew_pool:start_link(pitcrew_test:options(Base, Options)),
            Listener = pitcrew_test:listen(),
            Long = [call(Sup, wait, [N, pitcrew_test:port(Listener)], #{timeout => infinity}) || N <- [0, 1]],
            Sockets = [Socket || _ <- Long, {Socket, _} <- [meet(Listener)]],
            Others = [call(Sup, note, [N], #{timeout => infinity, checkout_timeout => infinity}) || N <- lists:seq(2, 9)],
            holds(Sup, #{out => 4, queued => 6}),
            unlink(Sup),
            ok = pitcrew_pool:stop(Sup),
            [?assertMatch({error, #{kind := pool_down}}, await(C)) || C <- Long ++ Others],
            ?assertEqual([0, 1], lists:sort(started(#{log => Log}))),
            [gen_tcp:close(S) || S <- [Listener | Sockets]],
            file:delete(Log)
        end)
    end).

%% Calls that are made all the time, while the pool goes: each ends.
stopped_under_load_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            {ok, Sup} = pitcrew_pool:start_link(pitcrew_test:options(Base, #{size => 2, pipeline => 4})),
            Self = self(),
            Callers = [
                spawn_monitor(fun() -> exit({answer, until_error(Sup, Self, 0), pitcrew_test:mailbox()}) end)
             || _ <- lists:seq(1, 32)
            ],
            [receive {under_way, Pid} -> ok end || {Pid, _} <- Callers],
            unlink(Sup),
            ok = pitcrew_pool:stop(Sup),
            [?assert(lists:member(await(C), [pool_down, no_pool])) || C <- Callers]
        end)
    end).

until_error(Pool, Test, N) ->
    _ = N =:= 10 andalso (Test ! {under_way, self()}),
    case pitcrew:call(Pool, echo, [N], #{timeout => infinity}) of
        {ok, N} -> until_error(Pool, Test, N + 1);
        {error, #{kind := Kind}} -> Kind
    end.

%% Server or keeper die: who waits is told, and the pool comes back.
parts_of_the_pool_die_test_() ->
    [
        {atom_to_list(Part), test(fun() ->
            pitcrew_test:quietly(fun() ->
                with_tools(#{pipeline => 2}, fun(Pool, #{listener := Listener, port := Port} = Tools) ->
                    First = call(Pool, wait, [0, Port], #{}),
                    {Socket, _} = meet(Listener),
                    Others = [call(Pool, note, [N], #{}) || N <- [1, 2, 3]],
                    holds(Pool, #{out => 2, queued => 2}),
                    exit(pitcrew_pools:member(whereis(Pool), Part), kill),
                    [?assertMatch({error, #{kind := Kind}} when Kind =:= worker_exit; Kind =:= pool_down, await(C)) || C <- [First | Others]],
                    ?assertEqual([0], started(Tools)),
                    gen_tcp:close(Socket),
                    ?assertEqual(ok, until(fun() -> comes_back(Pool) end))
                end)
            end)
        end)}
     || Part <- [server, keeper]
    ].

comes_back(Pool) ->
    case pitcrew:call(Pool, note, [4]) of
        {ok, 4} -> ok;
        {error, #{kind := Kind}} -> Kind
    end.

%% ---- Telemetry

tell(Event, Measurements, Metadata, Pid) -> Pid ! {told, lists:last(Event), maps:get(tool_id, Metadata), Measurements, Metadata}.

watching(Fun) ->
    Events = [[pitcrew_test, call, What] || What <- [start, stop, exception]],
    ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
    try
        Fun()
    after
        pitcrew_telemetry:detach(?MODULE),
        flush()
    end.

told(What, Tool) ->
    receive
        {told, What, Tool, Measurements, Metadata} -> {Measurements, Metadata}
    after 10_000 -> error({nothing_told, What, Tool})
    end.

flush() ->
    receive
        {told, _, _, _, _} -> flush()
    after 0 -> ok
    end.

telemetry_test_() ->
    test(fun() ->
        with_tools(#{pipeline => 2, retry => 1}, fun(Pool, #{listener := Listener, port := Port}) ->
            watching(fun() ->
                ?assertEqual({ok, <<"abc">>}, pitcrew:call(Pool, echo, [<<"abc">>], #{timeout => infinity})),
                {Idle, #{worker := OsPid, result := ok}} = told(stop, <<"echo">>),
                %% [3, 1, "echo", ["abc"], nil, nil, nil] and [4, 1, nanoseconds, "abc"], each with its length in front.
                ?assertMatch(#{queue := 0, bytes_out := 20, retries := 0}, Idle),
                #{python := Python, bytes_in := In, duration := Duration} = Idle,
                ?assert(Python > 0 andalso Python < Duration),
                ?assert(In > 11 andalso In =< 20),
                First = call(Pool, wait, [0, Port], #{}),
                {Socket, _} = meet(Listener),
                Second = call(Pool, note, [1], #{}),
                holds(Pool, #{out => 2, queued => 0}),
                Third = call(Pool, size, [bytes(100 * 1024)], #{}),
                holds(Pool, #{out => 2, queued => 1}),
                answer(Socket, "x"),
                ?assertMatch([{ok, <<"x">>}, {ok, 1}, {ok, _}], [await(C) || C <- [First, Second, Third]]),
                ?assertMatch({#{queue := 0}, #{worker := OsPid}}, told(stop, <<"wait">>)),
                ?assertMatch({#{queue := 0}, _}, told(stop, <<"note">>)),
                {#{queue := Queue, bytes_out := Out, duration := Whole}, _} = told(stop, <<"size">>),
                ?assert(Queue > 0 andalso Queue < Whole),
                ?assert(Out > 100 * 1024 andalso Out < 101 * 1024)
            end)
        end)
    end).
