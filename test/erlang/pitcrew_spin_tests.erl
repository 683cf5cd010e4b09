%% Pools whose callers and workers poll (spin_us), and calls beside a full mailbox.
-module(pitcrew_spin_tests).

-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2, until/1]).

test(Fun) -> {timeout, 60, Fun}.

spinning(Options, Fun) -> with_pool(Options#{spin_us => 100}, Fun).

many_calls_one_caller_test_() ->
    test(fun() ->
        spinning(#{size => 1}, fun(Pool) ->
            [?assertEqual({ok, {N, <<"x">>}}, pitcrew:call(Pool, echo, [{N, <<"x">>}])) || N <- lists:seq(1, 2000)],
            ?assertMatch({error, #{kind := tool_error}}, pitcrew:call(Pool, fail, [<<"no">>])),
            ?assertEqual([], pitcrew_test:mailbox())
        end)
    end).

many_callers_test_() ->
    test(fun() ->
        spinning(#{size => 3}, fun(Pool) ->
            Callers = [spawn_monitor(fun() -> exit({answers, [pitcrew:call(Pool, echo, [{N, M}]) || M <- lists:seq(1, 100)]}) end)
                       || N <- lists:seq(1, 16)],
            Answers = [receive {'DOWN', Ref, process, _, {answers, A}} -> A end || {_, Ref} <- Callers],
            ?assertEqual([[{ok, {N, M}} || M <- lists:seq(1, 100)] || N <- lists:seq(1, 16)], Answers)
        end)
    end).

deadlines_and_deaths_test_() ->
    test(fun() ->
        spinning(#{size => 2}, fun(Pool) ->
            [case pitcrew:call(Pool, echo, [N], #{timeout => N rem 3}) of
                 {ok, N} -> ok;
                 {error, #{kind := timeout}} -> ok
             end || N <- lists:seq(1, 60)],
            [begin
                 {Pid, Ref} = spawn_monitor(fun() -> [pitcrew:call(Pool, echo, [N]) || N <- lists:seq(1, 1000)] end),
                 _ = lists:seq(1, rand:uniform(5000)),
                 exit(Pid, kill),
                 receive {'DOWN', Ref, process, _, _} -> ok end
             end || _ <- lists:seq(1, 60)],
            ?assertEqual([], pitcrew_test:mailbox()),
            ?assertEqual(ok, until(fun() ->
                case pitcrew:info(Pool) of
                    #{free := 2, queued := 0} -> ok;
                    Info -> Info
                end
            end))
        end)
    end).

a_large_value_test_() ->
    test(fun() ->
        spinning(#{size => 1}, fun(Pool) ->
            Data = binary:copy(<<"0123456789abcdef">>, 1 bsl 18),
            [?assertEqual({ok, Data}, pitcrew:call(Pool, echo, [Data])) || _ <- lists:seq(1, 5)]
        end)
    end).

%% The calls have their answers, and those who wait are still there, in order.
a_full_mailbox_test_() ->
    test(fun() ->
        with_pool(#{size => 1}, fun(Pool) ->
            [self() ! {waiting, N} || N <- lists:seq(1, 100_000)],
            [?assertEqual({ok, N}, pitcrew:call(Pool, echo, [N])) || N <- lists:seq(1, 100)],
            [receive {waiting, M} -> ?assertEqual(N, M) end || N <- lists:seq(1, 100_000)]
        end)
    end).

%% That a call does not look through what waits there depends on marks that the compiler sets. It drops them in a local function that
%% is given the reference and does not receive: on the way from make_ref to receive there may be none.
marks_test() ->
    ?assertEqual([exchange], with(recv_marker_reserve, pitcrew_slot, [exchange])),
    ?assertEqual([await], with(recv_marker_use, pitcrew_slot, [await])),
    ?assertEqual([], with(recv_marker_clear, pitcrew_slot, [send, write, read, await])),
    ?assertEqual([exchange, open], with(recv_marker_reserve, pitcrew_pipeline, [exchange, open])),
    ?assertEqual([await, await_last, refuse_calls, ended, drop_news], with(recv_marker_use, pitcrew_pipeline, [await, await_last, refuse_calls, ended, drop_news])).

%% Those of the functions that have an instruction.
with(Op, Module, Functions) ->
    {beam_file, Module, _, _, _, Code} = beam_disasm:file(code:which(Module)),
    Has = [Name || {function, Name, _, _, Instructions} <- Code, I <- Instructions, is_tuple(I), element(1, I) =:= Op],
    [Name || Name <- Functions, lists:member(Name, Has)].
