%% Whoever dies, by whatever signal: one second later nothing of the port's is left, and the port never blocks on its output.
-module(pitcrew_port_death_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_port_harness, [base/0, remove_base/1, start/1, stop/1, close/1, send/2, zygote/3, fork/4, await/2, none/2, gone/2, rss/1, wait/1]).
-export([victim/1]).

-define(TEST(Name), {timeout, 120, {??Name, fun() -> pitcrew_port_harness:alone(fun Name/0) end}}).
-define(WORKERS, 3).
-define(SECOND, 1000).

death_test_() ->
    [
        ?TEST(guard_killed),
        ?TEST(port_killed),
        ?TEST(port_stopped_and_killed),
        ?TEST(port_stopped),
        ?TEST(zygote_killed),
        ?TEST(zygote_stopped_hides_no_death),
        ?TEST(zygote_stopped_owes_a_fork),
        ?TEST(zygote_stopped_for_a_while),
        ?TEST(worker_killed),
        ?TEST(worker_leaves),
        ?TEST(life_line),
        ?TEST(life_line_and_stopped_port),
        ?TEST(life_line_and_stopped_zygote),
        ?TEST(life_line_and_stopped_guard),
        ?TEST(stop_and_stopped_guard),
        ?TEST(stop_operation),
        ?TEST(vm_killed),
        ?TEST(both_killed_then_another_start),
        ?TEST(both_killed_then_the_same_again),
        ?TEST(abandoned_directories),
        ?TEST(owner_suspended),
        ?TEST(life_line_in_a_flood)
    ].

%% A port with workers, each of which has a child that ignores SIGTERM and a daemon in a session of its own.
crew() -> crew(base()).

crew(Base) ->
    H = start(#{base => Base}),
    send(H, [<<"credit">>, 65536]),
    Zygote = zygote(H, 1, good),
    Workers = [{Wid, fork(H, 1, Wid, <<"leave_behind">>), left_behind(H, Wid)} || Wid <- lists:seq(11, 10 + ?WORKERS)],
    All = [Zygote | lists:append([[Pid | Left] || {_, Pid, Left} <- Workers])],
    ?assertEqual(1 + 3 * ?WORKERS, length(All)),
    ?assertEqual([], [Pid || Pid <- All, not pitcrew_processes:alive(Pid)]),
    ?assertEqual([], All -- pitcrew_processes:marked(maps:get(instance, H))),
    H#{base => Base, zygote => Zygote, workers => Workers, all => All}.

left_behind(H, Wid) ->
    [_, _, _, <<"pids ", Pids/binary>>] = await(H, [<<"log">>, Wid, 1]),
    [binary_to_integer(Pid) || Pid <- binary:split(Pids, <<" ">>)].

%% Everything has gone in time, and the directory with it.
all_gone(#{guard := Guard, pid := Pid, all := All, base := Base, dir := Dir}) ->
    gone([Guard, Pid | All], ?SECOND),
    wait(fun() -> not filelib:is_dir(Dir) end),
    remove_base(Base).

kill(Pid, Signal) -> pitcrew_port_harness:kill(Pid, Signal).

%% The tests watch the port's end themselves.
without_link(#{port := Port} = H) ->
    true = unlink(Port),
    H.

%% ---- Parts that die

guard_killed() ->
    #{guard := Guard} = H = crew(),
    kill(Guard, kill),
    all_gone(H),
    ?assertEqual(137, pitcrew_port_harness:exit_status(H)).

port_killed() ->
    #{pid := Pid} = H = crew(),
    kill(Pid, kill),
    all_gone(H),
    ?assertEqual(137, pitcrew_port_harness:exit_status(H)).

port_stopped_and_killed() ->
    #{pid := Pid} = H = crew(),
    kill(Pid, stop),
    kill(Pid, kill),
    all_gone(H).

%% The guard sees it, and gives it a second.
port_stopped() ->
    #{pid := Pid} = H = crew(),
    kill(Pid, stop),
    ?assertEqual(137, pitcrew_port_harness:exit_status(H)),
    all_gone(H).

zygote_killed() ->
    #{zygote := Zygote, all := All, workers := Workers, base := Base} = H = crew(),
    kill(Zygote, kill),
    gone(All, ?SECOND),
    ?assertEqual([<<"gone">>, 1, Zygote, <<"signal">>, 9], await(H, [<<"gone">>])),
    %% All exits came before it, each once.
    [?assertMatch([_, _, Pid, <<"signal">>, 9 | _], kept_exit(H, Wid)) || {Wid, Pid, _} <- Workers],
    %% The port goes on.
    zygote(H, 2, good),
    fork(H, 2, 99, <<"idle">>),
    ok = stop(H),
    await(H, [<<"exit">>, 99]),
    none(H, [<<"exit">>]),
    remove_base(Base).

%% A worker dies beside it: the port has the pidfd, and does not wait for a report for ever.
zygote_stopped_hides_no_death() ->
    #{zygote := Zygote, workers := [{Wid, Pid, _} | _], all := All, base := Base} = H = crew(),
    kill(Zygote, stop),
    kill(Pid, segv),
    %% How it ended is known all the same, by the port's own wait.
    ?assertMatch([_, _, Pid, <<"signal">>, 11 | _], await(H, [<<"exit">>, Wid])),
    ?assertEqual([<<"gone">>, 1, Zygote, <<"signal">>, 9], await(H, [<<"gone">>])),
    await(H, [<<"log">>, 0, 2, <<"pitcrew_port: zygote 1 is killed: it does not report that a worker has died">>]),
    gone(All, ?SECOND),
    ok = stop(H),
    remove_base(Base).

zygote_stopped_owes_a_fork() ->
    #{zygote := Zygote, base := Base} = H = crew(),
    kill(Zygote, stop),
    send(H, [<<"fork">>, 1, 50, pitcrew:bytes(<<"idle">>)]),
    ?assertEqual([<<"fork_failed">>, 50, <<"the zygote has ended">>], await(H, [<<"fork_failed">>])),
    ?assertEqual([<<"gone">>, 1, Zygote, <<"signal">>, 9], await(H, [<<"gone">>])),
    await(H, [<<"log">>, 0, 2, <<"pitcrew_port: zygote 1 is killed: it does not answer a request for a worker">>]),
    ok = stop(H),
    remove_base(Base).

%% One that owes nothing, or goes on before its time is up, is left alone.
zygote_stopped_for_a_while() ->
    #{zygote := Zygote, workers := Workers, base := Base} = H = crew(),
    kill(Zygote, stop),
    kill(Zygote, cont),
    [{_, First, _} | _] = Workers,
    kill(First, kill),
    await(H, [<<"exit">>, 11]),
    fork(H, 1, 50, <<"idle">>),
    none(H, [<<"gone">>]),
    others_live(tl(Workers)),
    ok = stop(H),
    remove_base(Base).

kept_exit(H, Wid) -> pitcrew_port_harness:await(H, [<<"exit">>, Wid], 0).

worker_killed() ->
    #{workers := [{Wid, Pid, Left} | Others], base := Base} = H = crew(),
    send(H, [<<"kill">>, Wid, 9]),
    ?assertMatch([_, _, Pid, <<"signal">>, 9 | _], await(H, [<<"exit">>, Wid])),
    gone([Pid | Left], ?SECOND),
    others_live(Others),
    ok = stop(H),
    remove_base(Base).

worker_leaves() ->
    #{workers := Others, base := Base} = H = crew(),
    Pid = fork(H, 1, 50, <<"leave_behind leave">>),
    ?assertMatch([_, _, Pid, <<"exit">>, 0 | _], await(H, [<<"exit">>, 50])),
    gone([Pid | left_behind(H, 50)], ?SECOND),
    others_live(Others),
    ok = stop(H),
    remove_base(Base).

%% The daemons of the other workers, too.
others_live(Others) ->
    ?assertEqual([], [Pid || {_, Worker, Left} <- Others, Pid <- [Worker | Left], not pitcrew_processes:alive(Pid)]).

%% ---- The VM's side

life_line() ->
    H = without_link(crew()),
    close(H),
    all_gone(H).

life_line_and_stopped_port() ->
    #{pid := Pid} = H = without_link(crew()),
    kill(Pid, stop),
    close(H),
    all_gone(H).

life_line_and_stopped_zygote() ->
    #{zygote := Zygote} = H = without_link(crew()),
    kill(Zygote, stop),
    close(H),
    all_gone(H).

life_line_and_stopped_guard() ->
    #{guard := Guard} = H = without_link(crew()),
    kill(Guard, stop),
    close(H),
    all_gone(H).

stop_and_stopped_guard() ->
    #{guard := Guard, base := Base} = H = crew(),
    kill(Guard, stop),
    ok = stop(H),
    remove_base(Base).

stop_operation() ->
    #{workers := Workers, zygote := Zygote} = H = crew(),
    send(H, [<<"stop">>, 5000]),
    [?assertMatch([_, _, Pid, <<"signal">>, 15 | _], await(H, [<<"exit">>, Wid])) || {Wid, Pid, _} <- Workers],
    ?assertMatch([_, _, Zygote | _], await(H, [<<"gone">>, 1])),
    ?assertEqual(0, pitcrew_port_harness:exit_status(H)),
    all_gone(H),
    none(H, [<<"exit">>]).

%% A second VM that owns the port is killed with SIGKILL.
vm_killed() ->
    Base = base(),
    Vm = pitcrew_test:second_vm(?MODULE, victim, [Base], [{line, 65536}, binary, use_stdio]),
    H = receive
        {Vm, {data, {eol, <<"victim ", Line/binary>>}}} -> binary_to_term(base64:decode(Line))
    after 30000 -> error(the_victim_says_nothing)
    end,
    kill(maps:get(vm, H), kill),
    all_gone(H),
    catch port_close(Vm).

victim(Base) ->
    H = maps:remove(port, crew(Base)),
    io:format("victim ~s~n", [base64:encode(term_to_binary(H#{vm => list_to_integer(os:getpid())}))]),
    receive never -> ok end.

%% ---- Both processes of the port at once: the next start sweeps, by the instance's mark

%% The workers' children and daemons outlive everybody.
orphaned_crew() ->
    #{pid := Pid, guard := Guard, all := All, zygote := Zygote, workers := Workers, dir := Dir} = H = without_link(crew()),
    kill(Guard, stop),
    kill(Pid, kill),
    kill(Guard, kill),
    gone([Guard, Pid, Zygote | [Worker || {_, Worker, _} <- Workers]], ?SECOND),
    Left = [Process || {_, _, Both} <- Workers, Process <- Both],
    ?assertEqual([], [Process || Process <- Left, not pitcrew_processes:alive(Process)]),
    ?assertEqual([], Left -- All),
    ?assert(filelib:is_dir(Dir)),
    {H, Left}.

both_killed_then_another_start() ->
    {#{base := Base, dir := Dir}, Left} = orphaned_crew(),
    %% A directory in use is left alone, and so are its processes.
    Neighbour = crew(filename:dirname(Base)),
    Next = start(#{base => Base}),
    gone(Left, 0),
    ?assertNot(filelib:is_dir(Dir)),
    Third = start(#{base => filename:dirname(Base)}),
    others_live(maps:get(workers, Neighbour)),
    [ok = stop(H) || H <- [Next, Neighbour, Third]],
    remove_base(Base).

both_killed_then_the_same_again() ->
    {#{base := Base, instance := Instance}, Left} = orphaned_crew(),
    Next = start(#{base => Base, instance => binary_to_list(Instance)}),
    gone(Left, 0),
    ok = stop(Next),
    remove_base(Base).

%% A directory without a lock may belong to somebody who is just starting, but not for longer than a minute.
abandoned_directories() ->
    Base = base(),
    [Old, New, Other] = Dirs = [filename:join(Base, Name) || Name <- ["pitcrew.old", "pitcrew.new", "somebody.else"]],
    [ok = file:make_dir(Dir) || Dir <- Dirs],
    ok = file:write_file(filename:join(Old, "s"), <<>>),
    LongAgo = calendar:gregorian_seconds_to_datetime(calendar:datetime_to_gregorian_seconds(calendar:local_time()) - 120),
    [ok = file:change_time(Dir, LongAgo) || Dir <- [Old, Other]],
    H = start(#{base => Base}),
    ?assertEqual([false, true, true], [filelib:is_dir(Dir) || Dir <- Dirs]),
    ok = stop(H),
    [ok = file:del_dir(Dir) || Dir <- [New, Other]],
    remove_base(Base).

%% ---- Nobody reads what is printed

%% A process that owns the port and does nothing, as a suspended keeper does. Everybody else may still write to the port.
suspended_owner(Behaviour) ->
    Test = self(),
    Owner = spawn_link(fun() ->
        Base = base(),
        H = start(#{base => Base}),
        Zygote = zygote(H, 1, good),
        send(H, [<<"credit">>, 65536]),
        Workers = [fork(H, 1, 2, Behaviour(Base)), fork(H, 1, 3, <<"ignore_sigterm">>)],
        Test ! H#{base => Base, zygote => Zygote, all => [Zygote | Workers], workers => Workers},
        receive {go_on, From} -> From ! {log, await(H, [<<"exit">>, 2]), stopped(H)} end
    end),
    H = receive #{workers := _} = Started -> Started end,
    true = erlang:suspend_process(Owner),
    {Owner, H}.

%% Stops it and counts the lines that it has said or dropped, and the bytes of the latter.
stopped(H) ->
    ok = stop(H),
    Dropped = [{Lines, Bytes} || [<<"dropped">>, Lines, Bytes] <- pitcrew_port_harness:kept(H)],
    Said = length([said || [<<"log">> | _] <- pitcrew_port_harness:kept(H)]),
    {Said + lists:sum([Lines || {Lines, _} <- Dropped]), lists:sum([Bytes || {_, Bytes} <- Dropped])}.

%% 1 GiB through a port whose owner sleeps: the worker is not held up, memory is bounded, a kill works at once.
owner_suspended() ->
    {Owner, #{base := Base, guard := Guard, pid := Pid, workers := [Flooder, Other]} = H} =
        suspended_owner(fun(Base) -> iolist_to_binary(["flood 1024 ", filename:join(Base, "flooded")]) end),
    Before = rss(Pid),
    Memory = erlang:memory(binary),
    Done = filename:join(Base, "flooded"),
    pitcrew_port_harness:wait(fun() -> filelib:is_file(Done) end, 60000),
    ?assert(rss(Pid) - Before < 4 * 1024),
    ?assert(rss(Guard) < 32 * 1024),
    ?assert(erlang:memory(binary) - Memory < 16 bsl 20),
    send(H, [<<"kill">>, 3, 9]),
    gone([Other], ?SECOND),
    send(H, [<<"kill">>, 2, 9]),
    gone([Flooder], ?SECOND),
    send(H, [<<"credit">>, 1 bsl 20]),
    true = erlang:resume_process(Owner),
    Owner ! {go_on, self()},
    %% Nothing but log lines was lost, and how much is known.
    receive
        {log, Exit, {Lines, Bytes}} ->
            ?assertMatch([_, 2, Flooder, <<"signal">>, 9 | _], Exit),
            %% The other worker has said a line, too.
            ?assertEqual(1024 * 8192 + 1, Lines),
            ?assert(Bytes > 900 bsl 20)
    after 10000 -> error(nothing_said)
    end,
    ok = file:delete(Done),
    all_gone(H).

life_line_in_a_flood() ->
    {Owner, H} = suspended_owner(fun(_) -> <<"flood_for_ever">> end),
    true = unlink(Owner),
    close(H),
    all_gone(H),
    exit(Owner, kill).
