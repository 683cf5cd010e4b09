%% Workers that print without end, in a pool: what the log is given is bounded, what it is not given is counted, and nobody else notices.
-module(pitcrew_flood_tests).
-include_lib("eunit/include/eunit.hrl").
-export([log/2]).
-import(pitcrew_test, [with_meeting/2, whole/1, meet/1]).

-define(SHOUTERS, 3).

floods_hold_nobody_up_test_() ->
    {timeout, 60, fun() ->
        with_meeting(#{size => ?SHOUTERS + 1, tools => ["print_for_ever"], grace => 100}, fun(Pool, Listener, Port) ->
            with_log(fun() ->
                Callers = [
                    spawn_monitor(fun() -> exit(pitcrew:call(Pool, shout, [Port], #{timeout => infinity})) end)
                 || _ <- lists:seq(1, ?SHOUTERS)
                ],
                Met = [meet(Listener) || _ <- Callers],
                ?assertEqual(ok, dropped()),
                %% A quiet worker is heard among them, and its calls are as quick as ever.
                {ok, Quiet} = pitcrew:call(Pool, whisper, [<<"psst">>], #{timeout => 2_000}),
                ?assertEqual(Quiet, receive {said, <<"psst">>, OsPid} -> OsPid after 10_000 -> nobody end),
                %% A death is reported, and a new worker made, while the others shout on.
                [{_, First} | _] = Met,
                pitcrew_test:kill(First),
                ?assertMatch({error, #{kind := worker_exit, worker := First}}, first_answer(Callers)),
                ?assertMatch({ok, _}, pitcrew:call(Pool, whisper, [<<"done">>], #{timeout => 2_000})),
                {error, #{kind := timeout}} = pitcrew:call(Pool, shout, [Port], #{timeout => 200}),
                {ok, Late} = gen_tcp:accept(Listener, 10_000),
                [exit(Pid, kill) || {Pid, _} <- Callers],
                [receive {'DOWN', Ref, process, _, _} -> ok end || {_, Ref} <- Callers, Ref =/= get(answered)],
                [gen_tcp:close(Socket) || Socket <- [Late | [Socket || {Socket, _} <- Met]]],
                ?assertEqual(ok, whole(Pool))
            end)
        end)
    end}.

first_answer(Callers) ->
    receive
        {'DOWN', Ref, process, _, Answer} ->
            ?assert(lists:keymember(Ref, 2, Callers)),
            put(answered, Ref),
            Answer
    after 10_000 -> nothing
    end.

dropped() ->
    receive
        {dropped, Lines, Bytes} when Lines > 0, Bytes >= Lines -> ok
    after 10_000 -> nothing
    end.

with_log(Fun) ->
    #{level := Level} = logger:get_primary_config(),
    {ok, #{level := Shown}} = logger:get_handler_config(default),
    ok = logger:set_handler_config(default, level, none),
    ok = logger:add_handler(?MODULE, ?MODULE, #{level => info, config => #{to => self()}}),
    ok = logger:set_primary_config(level, info),
    try
        Fun()
    after
        logger:set_primary_config(level, Level),
        logger:remove_handler(?MODULE),
        logger:set_handler_config(default, level, Shown),
        flush()
    end.

flush() ->
    receive
        {said, _, _} -> flush();
        {dropped, _, _} -> flush()
    after 0 -> ok
    end.

%% A logger handler, which passes on what is not shouted.
log(#{msg := {_, [<<"y", _/binary>>]}}, _) -> ok;
log(#{msg := {_, [Line]}, meta := #{python := _, worker := OsPid}}, #{config := #{to := To}}) -> To ! {said, Line, OsPid};
log(#{level := warning, msg := {"~b lines" ++ _, [Lines, Bytes]}}, #{config := #{to := To}}) -> To ! {dropped, Lines, Bytes};
log(_, _) -> ok.
