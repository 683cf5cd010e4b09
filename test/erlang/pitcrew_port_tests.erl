%% The port program's messages: what it starts, reports, prints and refuses (docs/protocol.md, sections 5 and 6).
-module(pitcrew_port_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_port_harness, [start/0, start/1, stop/1, send/2, zygote/3, fork/4, await/2, none/2, exit_status/1, gone/2, wait/1]).

-define(CREDIT, 1 bsl 20).
-define(TEST(Name), {timeout, 60, {??Name, fun() -> pitcrew_port_harness:alone(fun Name/0) end}}).

port_test_() ->
    [
        ?TEST(hello_and_stop),
        ?TEST(signals_stop_orderly),
        ?TEST(stop_gives_grace),
        ?TEST(tells_vitals),
        ?TEST(refuses_bad_directories),
        ?TEST(cannot_be_started),
        ?TEST(starts_clean),
        ?TEST(zygotes_that_fail),
        ?TEST(exit_that_nobody_saw),
        ?TEST(two_zygotes),
        ?TEST(how_workers_end),
        ?TEST(refused_forks),
        ?TEST(kill_before_birth),
        ?TEST(kill_beside_a_stopped_zygote),
        ?TEST(no_descriptor_leaks),
        ?TEST(too_many_workers),
        ?TEST(lines),
        ?TEST(credit),
        ?TEST(floods),
        ?TEST(unknown_operation),
        ?TEST(bad_input)
    ].

%% ---- Starting and stopping

hello_and_stop() ->
    #{guard := Guard, pid := Pid, dir := Dir} = H = start(),
    ?assert(filelib:is_file(filename:join(Dir, "lock"))),
    ok = file:write_file(filename:join(Dir, "s"), <<>>),
    ?assert(pitcrew_processes:alive(Guard)),
    ?assert(pitcrew_processes:alive(Pid)),
    ok = stop(H),
    gone([Guard, Pid], 1000).

signals_stop_orderly() ->
    [
        begin
            H = start(),
            Zygote = zygote(H, 1, good),
            Worker = fork(H, 1, 2, <<"idle">>),
            pitcrew_port_harness:kill(maps:get(Who, H), Signal),
            ?assertMatch([_, _, Worker, <<"signal">>, 15 | _], await(H, [<<"exit">>, 2])),
            ?assertMatch([_, _, Zygote | _], await(H, [<<"gone">>, 1])),
            ?assertEqual(0, exit_status(H)),
            ?assertNot(filelib:is_dir(maps:get(dir, H)))
        end
     || Who <- [guard, pid], Signal <- [term, hup, int]
    ].

stop_gives_grace() ->
    H = start(),
    zygote(H, 1, good),
    send(H, [<<"credit">>, ?CREDIT]),
    fork(H, 1, 2, <<"idle">>),
    fork(H, 1, 3, <<"ignore_sigterm">>),
    [await(H, [<<"log">>, Wid, 1, <<"up">>]) || Wid <- [2, 3]],
    send(H, [<<"stop">>, 150]),
    send(H, [<<"fork">>, 1, 4, pitcrew:bytes(<<"idle">>)]),
    ?assertMatch([_, _, _, <<"signal">>, 15 | _], await(H, [<<"exit">>, 2])),
    ?assertMatch([_, 4, <<"the port is stopping">>], await(H, [<<"fork_failed">>])),
    ?assertMatch([_, _, _, <<"signal">>, 9 | _], await(H, [<<"exit">>, 3])),
    ?assertMatch([_, 1, _, <<"signal">>, _], await(H, [<<"gone">>])),
    ?assertEqual(0, exit_status(H)),
    none(H, [<<"exit">>]).

%% Of workers that run; nobody answers for others, and the next question is heard.
tells_vitals() ->
    H = start(),
    zygote(H, 1, good),
    send(H, [<<"credit">>, ?CREDIT]),
    fork(H, 1, 2, <<"idle">>),
    fork(H, 1, 3, <<"idle">>),
    [await(H, [<<"log">>, Wid, 1, <<"up">>]) || Wid <- [2, 3]],
    [send(H, [<<"vitals">>, Wid]) || Wid <- [2, 99, 1, 3]],
    [
        ?assertMatch([_, _, Resident, CpuUs, 1, Files] when Resident > 1 bsl 20 andalso CpuUs >= 0 andalso Files >= 3, await(H, [<<"vitals">>, Wid]))
     || Wid <- [2, 3]
    ],
    %% A stopped process has memory, too.
    send(H, [<<"kill">>, 2, 19]),
    send(H, [<<"vitals">>, 2]),
    ?assertMatch([_, _, Resident | _] when Resident > 1 bsl 20, await(H, [<<"vitals">>, 2])),
    send(H, [<<"kill">>, 2, 9]),
    await(H, [<<"exit">>, 2]),
    send(H, [<<"vitals">>, 2]),
    send(H, [<<"vitals">>, 3]),
    await(H, [<<"vitals">>, 3]),
    none(H, [<<"vitals">>]),
    ok = stop(H).

refuses_bad_directories() ->
    Base = pitcrew_port_harness:base(),
    Fatal = fun(Options, Status, Part) ->
        H = start(Options#{hello => false, wrap => "exec \"$0\" \"$@\" 2>/dev/null"}),
        [_, Text] = await(H, [<<"fatal">>]),
        contains(Part, Text),
        ?assertEqual(Status, exit_status(H))
    end,
    Fatal(#{base => filename:join(Base, "none")}, 73, <<"No such file or directory">>),
    Fatal(#{dir => filename:join(Base, "elsewhere")}, 64, <<"usage: pitcrew_port">>),
    Fatal(#{base => Base, instance => "a b"}, 64, <<"usage: pitcrew_port">>),
    #{instance := Instance} = H = start(#{base => Base}),
    Fatal(#{base => Base, instance => binary_to_list(Instance)}, 73, <<"in use">>),
    ok = stop(H),
    Open = filename:join(Base, "pitcrew.open"),
    ok = file:make_dir(Open),
    ok = file:change_mode(Open, 8#777),
    Fatal(#{base => Base, instance => "open"}, 73, <<"only this user">>),
    ok = file:del_dir(Open),
    pitcrew_port_harness:remove_base(Base).

%% ---- Zygotes

cannot_be_started() ->
    H = start(),
    Python = hd(pitcrew_port_harness:zygote_args(good)),
    Cases = [
        {[<<"no-such-python">>], #{}, nil, <<"FileNotFoundError">>, <<"cannot run the program \"no-such-python\": No such file or directory">>},
        {[<<"/etc/passwd">>], #{}, nil, <<"PermissionError">>, <<"cannot run the program \"/etc/passwd\": Permission denied">>},
        {[<<"/etc/passwd/x">>], #{}, nil, <<"NotADirectoryError">>, <<"cannot run the program \"/etc/passwd/x\": Not a directory">>},
        {[filename:basename(Python)], #{<<"PATH">> => <<"/dev:/proc">>}, nil, <<"FileNotFoundError">>, <<"cannot run">>},
        {[Python], #{}, <<"/no/such/folder">>, <<"FileNotFoundError">>, <<"cannot change to the folder \"/no/such/folder\"">>},
        {[], #{}, nil, <<"ValueError">>, <<"no program">>},
        {[Python, <<"a\0b">>], #{}, nil, <<"ValueError">>, <<"NUL">>},
        {[Python], #{<<"A=B">> => <<"c">>}, nil, <<"ValueError">>, <<"'='">>}
    ],
    [
        begin
            send(H, [<<"zygote">>, Zid, Argv, Env, Cd]),
            [_, _, Payload] = await(H, [<<"failed">>, Zid]),
            {ok, Report} = pitcrew_nif:decode(Payload, #{}),
            ?assertMatch(#{<<"stage">> := <<"exec">>, <<"type">> := Type, <<"traceback">> := nil}, Report),
            contains(Part, maps:get(<<"message">>, Report)),
            ?assertMatch([_, _, _, <<"exit">>, 127], await(H, [<<"gone">>, Zid])),
            none(H, [<<"ready">>])
        end
     || {Zid, {Argv, Env, Cd, Type, Part}} <- lists:zip(lists:seq(1, length(Cases)), Cases)
    ],
    ok = stop(H).

%% The program finds a clean process: four descriptors, no signal blocked or ignored (Python ignores SIGPIPE and SIGXFSZ by itself).
starts_clean() ->
    #{instance := Instance} = H = start(#{wrap => "trap '' HUP TERM USR1; export PORT_REMOVED=1; exec \"$0\" \"$@\""}),
    [Python | Args] = pitcrew_port_harness:zygote_args(shows),
    %% Found by the PATH of the new environment, from the new folder.
    Folder = pitcrew_port_harness:base(),
    %% What is called python may be a script that looks at its own name.
    Real = os:cmd(binary_to_list(Python) ++ " -c 'import sys; sys.stdout.write(sys.executable)'"),
    ok = file:make_symlink(Real, filename:join(Folder, "my-python")),
    Env = #{<<"PATH">> => <<"/nowhere:">>, <<"PORT_SET">> => <<"x=y">>, <<"PORT_REMOVED">> => nil},
    send(H, [<<"zygote">>, 1, [<<"my-python">> | Args], Env, list_to_binary(Folder)]),
    [_, _, Payload] = await(H, [<<"ready">>, 1]),
    Expect = fun(Text) -> contains(unicode:characters_to_binary(Text), Payload) end,
    %% The fifth is that of the folder it looks at.
    ?assertEqual(match, re:run(Payload, "\"fds\": \\[0, 1, 2, 3, \\d+\\]", [{capture, none}])),
    Expect("\"stdin\": \"/dev/null\""),
    Expect("\"blocked\": \"0000000000000000\""),
    Expect("\"ignored\": \"0000000001001000\""),
    Expect("\"cwd\": \"" ++ Folder ++ "\""),
    Expect("\"group\": true"),
    Expect("\"mark\": \"" ++ binary_to_list(Instance) ++ "-00000000\""),
    Expect("\"env\": {\"PORT_SET\": \"x=y\", \"PORT_REMOVED\": null}"),
    ok = file:delete(filename:join(Folder, "my-python")),
    pitcrew_port_harness:remove_base(Folder),
    ok = stop(H).

zygotes_that_fail() ->
    H = start(),
    send(H, [<<"credit">>, ?CREDIT]),
    zygote(H, 1, failing),
    [_, _, Payload] = await(H, [<<"failed">>, 1]),
    ?assertMatch({ok, #{<<"stage">> := <<"import">>}}, pitcrew_nif:decode(Payload, #{})),
    ?assertMatch([_, _, _, <<"exit">>, 1], await(H, [<<"gone">>, 1])),
    [
        begin
            Pid = zygote(H, Zid, Way),
            ?assertMatch([_, _, Pid, <<"signal">>, 9], await(H, [<<"gone">>, Zid]))
        end
     || {Zid, Way} <- [{2, garbage}, {3, forged}, {4, linkless}]
    ],
    [await(H, [<<"log">>, 0, 2, note(Zid)]) || Zid <- [2, 3]],
    ok = stop(H).

note(Zid) -> iolist_to_binary(io_lib:format("pitcrew_port: zygote ~b is killed: it sent a message that is not in the protocol", [Zid])).

%% It had waited for the worker, so nobody else can, and its report is lost with it.
exit_that_nobody_saw() ->
    H = start(),
    zygote(H, 1, forgetful),
    fork(H, 1, 2, <<"idle">>),
    Pid = fork(H, 1, 3, <<"leave 5">>),
    ?assertEqual([<<"exit">>, 3, Pid, <<"unknown">>, 0, 0, 0, 0], await(H, [<<"exit">>, 3])),
    ?assertMatch([_, _, _, <<"signal">>, 9 | _], await(H, [<<"exit">>, 2])),
    ?assertMatch([_, _, _, <<"exit">>, 3], await(H, [<<"gone">>, 1])),
    ok = stop(H).

two_zygotes() ->
    H = start(),
    zygote(H, 1, good),
    zygote(H, 2, good),
    fork(H, 1, 11, <<"idle">>),
    Other = fork(H, 2, 22, <<"idle">>),
    send(H, [<<"kill_zygote">>, 1, 9]),
    ?assertMatch([_, _, _, <<"signal">>, 9 | _], await(H, [<<"exit">>, 11])),
    await(H, [<<"gone">>, 1]),
    send(H, [<<"fork">>, 1, 12, pitcrew:bytes(<<"idle">>)]),
    ?assertMatch([_, 12, <<"the zygote is not running">>], await(H, [<<"fork_failed">>])),
    ?assert(pitcrew_processes:alive(Other)),
    send(H, [<<"kill">>, 22, 15]),
    ?assertMatch([_, _, Other, <<"signal">>, 15 | _], await(H, [<<"exit">>, 22])),
    ok = stop(H).

%% ---- Workers

how_workers_end() ->
    H = start(),
    zygote(H, 1, good),
    Ends = [{2, <<"leave 0">>, <<"exit">>, 0}, {3, <<"leave 3">>, <<"exit">>, 3}, {4, <<"fall 11">>, <<"signal">>, 11}, {5, <<"burn">>, <<"exit">>, 0}],
    [
        begin
            Pid = fork(H, 1, Wid, Behaviour),
            [_, _, Pid, How, Code, Utime, Stime, Rss] = await(H, [<<"exit">>, Wid]),
            ?assert(Utime >= 0 andalso Stime >= 0 andalso Rss > 0),
            Wid =:= 5 andalso ?assert(Utime >= 90000 andalso Rss >= 32 * 1024)
        end
     || {Wid, Behaviour, How, Code} <- Ends
    ],
    ok = stop(H),
    none(H, [<<"exit">>]).

refused_forks() ->
    H = start(),
    zygote(H, 1, good),
    fork(H, 1, 2, <<"idle">>),
    Refused = fun(Zid, Wid, Payload, Message) ->
        send(H, [<<"fork">>, Zid, Wid, pitcrew:bytes(Payload)]),
        ?assertEqual([<<"fork_failed">>, Wid, Message], await(H, [<<"fork_failed">>]))
    end,
    Refused(1, 3, <<"refuse">>, <<"as it was told">>),
    Refused(9, 3, <<"idle">>, <<"the zygote is not running">>),
    Refused(1, 0, <<"idle">>, <<"worker 0 is the zygote">>),
    Refused(1, 2, <<"idle">>, <<"a worker with this id is there already">>),
    Refused(1, 3, binary:copy(<<"x">>, 64 * 1024 + 1), <<"the payload is larger than 64 KiB">>),
    %% The largest payload does get through, far beyond what an exec'ed argument could hold.
    fork(H, 1, 4, <<"idle ", (binary:copy(<<"x">>, 64 * 1024 - 5))/binary>>),
    ok = stop(H).

%% A kill that overtakes its worker's birth is not lost; one for nobody is ignored.
kill_before_birth() ->
    H = start(),
    zygote(H, 1, good),
    send(H, [<<"kill">>, 77, 9]),
    send(H, [<<"fork">>, 1, 2, pitcrew:bytes(<<"idle">>)]),
    send(H, [<<"kill">>, 2, 9]),
    ?assertMatch([_, _, _, <<"signal">>, 9 | _], await(H, [<<"exit">>, 2])),
    ok = stop(H).

%% A zygote that does not react hinders no kill.
kill_beside_a_stopped_zygote() ->
    H = start(),
    Zygote = zygote(H, 1, good),
    Worker = fork(H, 1, 2, <<"ignore_sigterm">>),
    send(H, [<<"kill_zygote">>, 1, 19]),
    send(H, [<<"kill">>, 2, 9]),
    gone([Worker], 1000),
    send(H, [<<"kill_zygote">>, 1, 9]),
    ?assertMatch([_, _, Worker, <<"signal">>, 9 | _], await(H, [<<"exit">>, 2])),
    ?assertMatch([_, _, Zygote, <<"signal">>, 9], await(H, [<<"gone">>, 1])),
    ok = stop(H).

no_descriptor_leaks() ->
    #{pid := Pid} = H = start(),
    zygote(H, 1, good),
    Round = fun(Wids) ->
        [send(H, [<<"fork">>, 1, Wid, pitcrew:bytes(<<"say_and_leave x|y">>)]) || Wid <- Wids],
        [await(H, [<<"exit">>, Wid]) || Wid <- Wids]
    end,
    Round([1]),
    Before = pitcrew_port_harness:descriptors(Pid),
    Round(lists:seq(2, 201)),
    ?assertEqual(Before, pitcrew_port_harness:descriptors(Pid)),
    ok = stop(H).

too_many_workers() ->
    H = start(#{wrap => "ulimit -n 64; exec \"$0\" \"$@\""}),
    zygote(H, 1, good),
    [send(H, [<<"fork">>, 1, Wid, pitcrew:bytes(<<"idle">>)]) || Wid <- lists:seq(1, 30)],
    [_, First, Message] = await(H, [<<"fork_failed">>]),
    ?assert(First > 8 andalso First < 20),
    contains(<<"64 open descriptors">>, Message),
    [await(H, [<<"forked">>, Wid]) || Wid <- lists:seq(1, First - 1)],
    ok = stop(H).

%% ---- Output

lines() ->
    H = start(),
    zygote(H, 1, good),
    send(H, [<<"credit">>, ?CREDIT]),
    fork(H, 1, 2, <<"say_and_leave one||three|rest">>),
    Lines = [{1, <<"one">>}, {1, <<>>}, {1, <<"three">>}, {1, <<"rest">>}, {2, <<"complaint">>}],
    [await(H, [<<"log">>, 2, Fd, Line]) || {Fd, Line} <- Lines],
    await(H, [<<"exit">>, 2]),
    ok = stop(H),
    none(H, [<<"log">>]).

%% A line costs its bytes and 32 more; without credit it waits.
credit() ->
    H = start(),
    zygote(H, 1, good),
    fork(H, 1, 2, <<"say_and_leave 12345|67890|">>),
    await(H, [<<"exit">>, 2]),
    send(H, [<<"credit">>, 36]),
    synchronize(H),
    none(H, [<<"log">>]),
    send(H, [<<"credit">>, 1]),
    await(H, [<<"log">>, 2, 1, <<"12345">>]),
    synchronize(H),
    none(H, [<<"log">>]),
    send(H, [<<"credit">>, 37]),
    await(H, [<<"log">>, 2, 1, <<"67890">>]),
    ok = stop(H).

%% Four that print without end: each gets its share, others are heard, and kills, forks and exits go on as if nothing were.
floods() ->
    H = start(),
    zygote(H, 1, good),
    send(H, [<<"credit">>, 1 bsl 30]),
    Flooders = [{Wid, fork(H, 1, Wid, <<"flood_for_ever">>)} || Wid <- [2, 3, 4, 5]],
    [await(H, [<<"log">>, Wid, 1]) || {Wid, _} <- Flooders],
    await(H, [<<"dropped">>]),
    fork(H, 1, 6, <<"say_and_leave quiet">>),
    await(H, [<<"log">>, 6, 1, <<"quiet">>]),
    await(H, [<<"log">>, 6, 2, <<"complaint">>]),
    ?assertMatch([_, _, _, <<"exit">>, 0 | _], await(H, [<<"exit">>, 6])),
    [
        begin
            send(H, [<<"kill">>, Wid, 9]),
            ?assertMatch([_, _, Pid, <<"signal">>, 9 | _], await(H, [<<"exit">>, Wid]))
        end
     || {Wid, Pid} <- Flooders
    ],
    %% What is left is told at the end.
    Before = length([said || [<<"dropped">> | _] <- pitcrew_port_harness:kept(H)]),
    ok = stop(H),
    ?assert(length([said || [<<"dropped">> | _] <- pitcrew_port_harness:kept(H)]) > Before).

%% Answers go before lines, but the lines that were allowed in one turn of the port's loop go before the answers of the next.
synchronize(H) ->
    [
        begin
            send(H, [<<"fork">>, 99, 99, pitcrew:bytes(<<>>)]),
            await(H, [<<"fork_failed">>, 99])
        end
     || _ <- [1, 2]
    ].

%% ---- Bad input

unknown_operation() ->
    H = start(),
    send(H, [<<"credit">>, ?CREDIT]),
    send(H, [<<"dance">>, 1, 2]),
    await(H, [<<"log">>, 0, 2, <<"pitcrew_port: an unknown operation was ignored: dance">>]),
    ok = stop(H).

bad_input() ->
    Bad = [
        <<16#C1>>,
        <<>>,
        <<"text">>,
        element(2, pitcrew_nif:encode([], #{})),
        element(2, pitcrew_nif:encode([<<"kill">>, <<"one">>, 9], #{})),
        element(2, pitcrew_nif:encode([<<"kill">>, 1, 0], #{})),
        element(2, pitcrew_nif:encode([<<"fork">>, 1], #{})),
        element(2, pitcrew_nif:encode([<<"fork">>, 1, 1 bsl 32, <<>>], #{})),
        element(2, pitcrew_nif:encode([<<"zygote">>, 1, [<<"x">>], #{<<"a">> => 1}, nil], #{})),
        element(2, pitcrew_nif:encode([<<"stop">>, -1], #{})),
        binary:copy(<<0>>, 1024 * 1024 + 1)
    ],
    [refused(Bytes) || Bytes <- Bad].

%% The status is read from a file: a VM that is still writing when the port goes learns only that the pipe broke.
refused(Bytes) ->
    process_flag(trap_exit, true),
    #{dir := Dir} = H = start(#{wrap => "\"$0\" \"$@\" 2>\"$1.stderr\"; echo $? >\"$1.part\"; mv \"$1.part\" \"$1.status\""}),
    Zygote = zygote(H, 7, good),
    Worker = fork(H, 7, 8, <<"ignore_sigterm">>),
    pitcrew_port_harness:send_raw(H, Bytes),
    wait(fun() -> filelib:is_file(Dir ++ ".status") end),
    ?assertEqual({{ok, <<"65\n">>}, Bytes}, {file:read_file(Dir ++ ".status"), Bytes}),
    ?assertMatch({ok, <<"pitcrew_port: a control message ", _/binary>>}, file:read_file(Dir ++ ".stderr")),
    gone([Zygote, Worker], 0),
    ?assertNot(filelib:is_dir(Dir)),
    [ok = file:delete(Dir ++ Suffix) || Suffix <- [".status", ".stderr"]].

contains(Part, Text) -> ?assertMatch({{_, _}, _, _}, {binary:match(Text, Part), Part, Text}).
