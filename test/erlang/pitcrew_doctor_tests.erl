-module(pitcrew_doctor_tests).
-include_lib("eunit/include/eunit.hrl").

-define(MIB, 1048576).

status(Name, Checks) -> [Status || #{name := Found, status := Status} <- Checks, Found =:= Name].

%% What is wrong says what to do; what is in order says nothing.
is_complete(#{area := _, name := _, status := Status, text := <<_, _/binary>>, fix := Fix}) ->
    case Status of
        ok -> Fix =:= nil;
        note -> Fix =:= nil orelse is_binary(Fix);
        _ -> is_binary(Fix) andalso Fix =/= <<>>
    end.

%% ---- The whole

this_machine_is_looked_at_and_left_as_it_was_test_() ->
    {timeout, 60, fun() ->
        pitcrew_test:gated(fun(Base) ->
            true = os:putenv("PITCREW_RUNTIME_DIR", Base),
            Checks = try pitcrew_doctor:run() after os:unsetenv("PITCREW_RUNTIME_DIR") end,
            ?assertEqual([], [Check || Check <- Checks, not is_complete(Check)]),
            Areas = lists:usort([Area || #{area := Area} <- Checks]),
            ?assertEqual([build, checklist, pools, python, system], Areas),
            ?assertEqual([ok, ok, ok, ok], lists:append([status(Name, Checks) || Name <- [nif, port, extension, runtime_dir]])),
            ?assertEqual([], pitcrew_test:mailbox())
        end)
    end}.

every_point_of_the_checklist_has_its_line_test_() ->
    {timeout, 60, fun() ->
        pitcrew_test:with_pool(#{cache => true}, fun(_) ->
            Checks = pitcrew_doctor_pools:checks(pitcrew_doctor_pools:facts()),
            Points = [
                load_test, growth, sizing, caching, monitoring, cleanup, failover, formats, startup, system,
                hit_rate, latency, slow_calls, serialization, gc, error_rates
            ],
            ?assertEqual([], Points -- [Name || #{name := Name} <- Checks])
        end)
    end}.

the_worst_one_counts_test() ->
    Of = fun(Statuses) -> pitcrew_doctor:worst([pitcrew_doctor:check(system, x, {Status, "fix"}, "text") || Status <- Statuses]) end,
    ?assertEqual([ok, note, warn, fail, fail], [Of(S) || S <- [[], [ok, note, ok], [warn, ok, note], [fail, warn], [ok, fail, fail]]]).

lines_stand_under_their_area_with_the_fix_below_test() ->
    Checks = [
        pitcrew_doctor:check(system, a, {fail, "do this"}, "broken"),
        pitcrew_doctor:check(build, b, ok, "well"),
        pitcrew_doctor:check(build, c, note, "by the way")
    ],
    Text = unicode:characters_to_list(pitcrew_doctor:format(Checks)),
    ?assertEqual(
        "Build\n  ok    well\n  note  by the way\n\nSystem\n  fail  broken\n        -> do this\n\n1 ok, 1 to know, 0 to look at, 1 to repair\n",
        Text
    ).

json_has_the_same_test_() ->
    pitcrew_test:if_json(fun() ->
        Json = pitcrew_doctor:json([pitcrew_doctor:check(system, a, {fail, "do \"this\""}, <<"broken: é"/utf8>>)]),
        ?assertEqual(
            {ok, #{
                <<"status">> => <<"fail">>,
                <<"checks">> => [
                    #{<<"area">> => <<"system">>, <<"name">> => <<"a">>, <<"status">> => <<"fail">>, <<"text">> => <<"broken: é"/utf8>>, <<"fix">> => <<"do \"this\"">>}
                ]
            }},
            pitcrew_json:decode(Json)
        )
    end).

%% ---- Build

build() -> (pitcrew_doctor_build:facts())#{nif := true, port := true, compiler := <<"cc">>, make := <<"make">>, erl_nif := true, msgpack := <<"4">>}.

build_status(Name, Facts) ->
    Checks = pitcrew_doctor_build:checks(Facts),
    ?assertEqual([], [Check || Check <- Checks, not is_complete(Check)]),
    status(Name, Checks).

what_is_missing_to_build_matters_where_nothing_is_built_test() ->
    ?assertEqual([ok], build_status(compiler, build())),
    ?assertEqual([note], build_status(compiler, (build())#{compiler := nil})),
    [?assertEqual([fail], build_status(Name, (build())#{nif := false, Name := Missing})) || {Name, Missing} <- [{compiler, nil}, {make, nil}, {erl_nif, false}, {msgpack, nil}]],
    ?assertEqual([note], build_status(jansson, (build())#{nif := false, jansson := nil})).

old_versions_and_missing_parts_fail_test() ->
    ?assertEqual([fail], build_status(otp, (build())#{otp := "24"})),
    ?assertEqual([fail], build_status(elixir, (build())#{elixir := <<"1.13.4">>})),
    ?assertEqual([ok], build_status(elixir, (build())#{elixir := <<"1.19.0-rc.1">>})),
    ?assertEqual([note], build_status(elixir, (build())#{elixir := nil})),
    ?assertEqual([fail], build_status(nif, (build())#{nif := false})),
    ?assertEqual([fail], build_status(port, (build())#{port := false})),
    ?assertEqual([warn], build_status(json, (build())#{json := <<"install it">>})).

%% ---- Python

this_python_can_be_a_worker_test() ->
    Facts = pitcrew_doctor_python:facts(pitcrew_doctor_python:default()),
    ?assertMatch([#{name := interpreter, status := ok}, #{name := extension, status := ok} | _], pitcrew_doctor_python:checks(Facts)),
    ?assertMatch(#{said := #{<<"memfd">> := <<"ok">>, <<"pidfd">> := <<"ok">>}}, Facts).

python_status(Name, Said) ->
    Version = <<"1.2.3">>,
    All = #{
        <<"version">> => <<"3.12.1">>, <<"implementation">> => <<"cpython">>, <<"executable">> => <<"/p">>, <<"prefix">> => <<"venv">>,
        <<"headers">> => <<"True">>, <<"gil">> => <<"True">>, <<"core">> => Version
    },
    Checks = pitcrew_doctor_python:checks(#{python => <<"p">>, pitcrew => Version, said => maps:merge(All, Said)}),
    ?assertEqual([], [Check || Check <- Checks, not is_complete(Check)]),
    status(Name, Checks).

an_interpreter_is_refused_for_what_it_is_test() ->
    ?assertEqual([ok], python_status(interpreter, #{})),
    ?assertEqual([fail], python_status(interpreter, #{<<"version">> => <<"3.10.14">>})),
    ?assertEqual([fail], python_status(interpreter, #{<<"implementation">> => <<"pypy">>})),
    ?assertEqual([fail], python_status(interpreter, #{<<"gil">> => <<"False">>})),
    ?assertEqual([ok], python_status(extension, #{})),
    ?assertEqual([fail], python_status(extension, #{<<"core">> => <<"1.2.2">>})),
    NotBuilt = #{<<"core">> => <<"error: ImportError: pitcrew._core is not built">>},
    ?assertEqual([fail], python_status(extension, NotBuilt)),
    NoHeaders = #{<<"headers">> => <<"False">>},
    ?assertEqual([note], python_status(headers, NoHeaders)),
    ?assertEqual([fail], python_status(headers, maps:merge(NoHeaders, NotBuilt))).

what_is_no_python_fails_and_says_why_test() ->
    Look = fun(Program) -> pitcrew_doctor_python:checks(pitcrew_doctor_python:facts(Program)) end,
    ?assertMatch([#{status := fail, text := <<"there is no interpreter no_such_python">>}], Look("no_such_python")),
    ?assertMatch([#{status := fail, text := <<"there is no interpreter /no/such/python">>}], Look(<<"/no/such/python">>)),
    ?assertMatch([#{status := fail, fix := <<"it says nothing">>}], Look("false")),
    ?assertMatch([#{status := fail, text := <<"true does not answer", _/binary>>}], Look("true")),
    ?assertEqual([], pitcrew_test:mailbox()).

%% ---- The system

good() ->
    #{
        kernel => <<"6.1.0-18-amd64">>, open_files => 65536, processes => 30000, pids => nil, memory => infinity, memory_total => 16384 * ?MIB,
        overcommit => 0, shm => 8192 * ?MIB, thp => <<"madvise">>, shmem_thp => <<"advise">>, runtime_dir => {ok, <<"/tmp">>, "the default"},
        memfd => <<"ok">>, pidfd => <<"ok">>
    }.

system_status(Name, Facts) ->
    Checks = pitcrew_doctor_system:checks(maps:merge(good(), Facts)),
    ?assertEqual([], [Check || Check <- Checks, not is_complete(Check)]),
    status(Name, Checks).

a_good_system_has_nothing_to_look_at_test() ->
    ?assertEqual([], [Check || #{status := Status} = Check <- pitcrew_doctor_system:checks(good()), Status =/= ok]).

limits_that_are_too_low_are_seen_test_() ->
    [
        {lists:flatten(io_lib:format("~p ~p", [Name, Value])), ?_assertEqual([Wanted], system_status(Name, #{Name => Value}))}
     || {Name, Value, Wanted} <- [
            {kernel, <<"5.3.18">>, fail}, {kernel, <<"5.4.0">>, ok}, {kernel, <<"strange">>, warn},
            {open_files, 255, fail}, {open_files, 1023, warn}, {open_files, 1024, ok}, {open_files, infinity, ok}, {open_files, nil, note},
            {processes, 63, fail}, {processes, 1023, warn}, {processes, infinity, ok},
            {pids, {90, 100}, fail}, {pids, {100, 300}, warn}, {pids, {100, 4096}, ok},
            {memory, 128 * ?MIB, warn}, {memory, 512 * ?MIB, ok},
            {overcommit, 2, warn}, {overcommit, 1, ok},
            {shm, 64 * ?MIB, warn}, {shm, nil, note},
            {thp, <<"always">>, warn}, {thp, <<"never">>, ok}, {shmem_thp, <<"never">>, note},
            {memfd, <<"error: OSError: [Errno 38]">>, warn}, {pidfd, <<"error: OSError: [Errno 1]">>, fail}, {pidfd, nil, note},
            {runtime_dir, {error, <<"cannot be made">>}, fail}
        ]
    ].

folders_of_control_groups_are_those_around_as_well_test() ->
    ?assertEqual(
        ["/sys/fs/cgroup", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/system.slice/app.service"],
        pitcrew_doctor_system:cgroups(<<"0::/system.slice/app.service">>)
    ),
    ?assertEqual(
        ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a:b", "/sys/fs/cgroup/pids"],
        pitcrew_doctor_system:cgroups(<<"8:pids,hugetlb:/\n4:memory:/a:b\n0::/">>)
    ),
    ?assertEqual([], pitcrew_doctor_system:cgroups(<<>>)).

a_folder_for_sockets_that_cannot_be_used_is_seen_test() ->
    Nowhere = "/no/such/folder",
    true = os:putenv("PITCREW_RUNTIME_DIR", Nowhere),
    Facts = try pitcrew_doctor_system:facts(#{python => <<"p">>, said => absent, pitcrew => <<"1">>}) after os:unsetenv("PITCREW_RUNTIME_DIR") end,
    Checks = pitcrew_doctor_system:checks(Facts),
    ?assertEqual([[fail], [note], [note]], [status(Name, Checks) || Name <- [runtime_dir, memfd, pidfd]]),
    ?assertEqual([], [Check || Check <- Checks, not is_complete(Check)]).

%% ---- Pools

pool_status(Name) -> status(Name, pitcrew_doctor_pools:checks(pitcrew_doctor_pools:facts())).

pools_that_run_are_found_and_looked_at_test_() ->
    {timeout, 60, fun() ->
        Python = os:getenv("PITCREW_PYTHON", "python3"),
        pitcrew_test:with_pool(#{max_rss => 1 bsl 30, python => Python, heartbeat => 20, start => fork}, fun(Pool) ->
            ?assert(lists:member(Pool, names())),
            %% Whatever interpreter others have by default.
            true = os:putenv("PITCREW_PYTHON", "/no/such/python"),
            Checks = try pitcrew_doctor:run() after true = os:putenv("PITCREW_PYTHON", Python) end,
            ?assertEqual([[ok], [ok]], [status(Name, Checks) || Name <- [interpreter, extension]]),
            ?assertEqual([ok], pool_status(health)),
            ?assertEqual([ok], pool_status(startup)),
            ?assertEqual([note], pool_status(caching)),
            ?assertEqual([note], pool_status(monitoring)),
            ?assertEqual([note], pool_status(latency)),
            [{ok, 3} = pitcrew:call(Pool, add, [1, 2]) || _ <- lists:seq(1, 95)],
            [{error, _} = pitcrew:call(Pool, add, [1]) || _ <- lists:seq(1, 5)],
            ?assertEqual([[warn], [note]], [pool_status(Name) || Name <- [error_rates, serialization]]),
            ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, call, stop], fun(_, _, _, _) -> ok end, nil),
            ?assertEqual([ok], pool_status(monitoring)),
            ok = pitcrew_telemetry:detach(?MODULE),
            %% A worker says what it has with its first heartbeat.
            ?assertEqual(ok, pitcrew_test:until(fun() -> case pool_status(cleanup) of [ok] -> ok; Other -> Other end end))
        end),
        ?assertNot(lists:member(pitcrew_test, names()))
    end}.

names() -> [Name || #{name := Name} <- pitcrew_doctor_pools:facts()].

pool(More) ->
    maps:merge(
        #{
            name => 'Elixir.My.Py', health => #{status => ok, ready => 2, wanted => 2, failure => nil},
            info => #{size => 2, queued => 0, start => fork, workers => [#{state => busy, rss => nil}, #{state => idle, rss => nil}]},
            tools => [#{name => <<"a">>, idempotent => true}, #{name => <<"pitcrew:value">>, idempotent => true}],
            cache => nil, stats => stats(#{}), is_watched => true, python => <<"python3">>, rss => [30 * ?MIB, 10 * ?MIB]
        },
        More
    ).

stats(More) ->
    maps:merge(
        #{
            calls => 1000, latency => #{avg => 3.0, p99 => 12.3}, queue => #{avg => 0.5}, python => #{avg => 2.0}, error_rate => 0.001, utilization => 0.5,
            tools => #{<<"a">> => #{calls => 990, error_rate => 0.0, errors => #{}}, <<"b">> => #{calls => 10, error_rate => 0.1, errors => #{timeout => 1}}}
        },
        More
    ).

line(Name, Pool) ->
    Checks = pitcrew_doctor_pools:checks([Pool]),
    ?assertEqual([], [Check || Check <- Checks, not is_complete(Check)]),
    hd([{Status, Text} || #{name := Found, status := Status, text := Text} <- Checks, Found =:= Name]).

what_is_seen_of_a_pool_is_judged_test() ->
    ?assertMatch({ok, <<"My.Py is ok: 2 of 2 workers are ready">>}, line(health, pool(#{}))),
    Sick = #{status => down, ready => 0, wanted => 2, failure => #{message => <<"no numpy">>}},
    ?assertMatch({fail, _}, line(health, pool(#{health => Sick}))),
    ?assertMatch({warn, _}, line(health, pool(#{health => Sick#{status := degraded, failure := nil}}))),
    ?assertMatch({ok, <<"My.Py: 1 of 2 workers are busy, 0 calls wait, 50 % ", _/binary>>}, line(sizing, pool(#{}))),
    ?assertMatch({warn, _}, line(sizing, pool(#{stats => stats(#{utilization => 0.95})}))),
    #{info := Info} = pool(#{}),
    ?assertMatch({warn, _}, line(sizing, pool(#{info => Info#{queued := 3}}))),
    ?assertMatch({warn, _}, line(startup, pool(#{info => Info#{start := spawn}}))),
    ?assertMatch({note, <<"My.Py: 1 tools are declared idempotent", _/binary>>}, line(caching, pool(#{}))),
    ?assertMatch({warn, _}, line(cleanup, pool(#{}))),
    ?assertMatch({note, <<"My.Py: its workers have 40 MiB in memory, the largest 30 MiB", _/binary>>}, line(growth, pool(#{}))).

what_is_counted_is_judged_test() ->
    Of = fun(Name, More) -> line(Name, pool(#{stats => stats(More)})) end,
    ?assertMatch({ok, <<"My.Py: 99 of 100 calls took at most 12.3 ms (wanted: 100 ms), of 1,000">>}, Of(latency, #{})),
    ?assertMatch({warn, _}, Of(latency, #{latency => #{avg => 3.0, p99 => 100.5}})),
    %% Of ten calls one says nothing.
    ?assertMatch({ok, <<"My.Py: 0.1 % of 1,000 calls failed">>}, Of(error_rates, #{})),
    Failing = #{<<"a">> => #{calls => 400, error_rate => 0.04, errors => #{}}, <<"b">> => #{calls => 600, error_rate => 0.05, errors => #{timeout => 10, tool_error => 20}}},
    ?assertMatch({warn, <<"My.Py: 5.0 % of 1,000 calls failed; of those of b 5.0 % (timeout 10, tool_error 20)">>}, Of(error_rates, #{error_rate => 0.05, tools => Failing})),
    ?assertMatch({note, <<"My.Py: of 3.00 ms of an average call the tool has 2.00, and waiting for a worker 0.500; codecs and transport have 0.500">>}, Of(serialization, #{})),
    [?assertMatch({note, _}, line(Name, pool(#{stats => Stats}))) || Name <- [latency, error_rates, serialization], Stats <- [nil, stats(#{calls => 99})]],
    Unwatched = pool(#{is_watched => false}),
    ?assertMatch([{note, _}, {warn, _}], [line(monitoring, Pool) || Pool <- [Unwatched, Unwatched#{stats := nil}]]).

a_hit_rate_is_judged_when_there_is_one_test() ->
    Stats = fun(Hits, Joined, Misses) -> pool(#{cache => #{hits => Hits, joined => Joined, misses => Misses, entries => 3, max_entries => 10}}) end,
    ?assertMatch({note, _}, line(hit_rate, pool(#{}))),
    ?assertMatch({note, _}, line(hit_rate, Stats(0, 0, 99))),
    ?assertMatch({ok, <<"My.Py: 80.0 % of the calls", _/binary>>}, line(hit_rate, Stats(70, 10, 20))),
    ?assertMatch({warn, _}, line(hit_rate, Stats(79, 0, 21))).

%% ---- Commands

commands_end_and_say_how_test() ->
    ?assertEqual({3, <<"out\nerr\n">>}, pitcrew_doctor_command:run("sh", ["-c", "echo out; echo err >&2; exit 3"], [])),
    ?assertEqual({0, <<"a b\n">>}, pitcrew_doctor_command:run("sh", ["-c", "echo $X"], [{"X", "a b"}])),
    ?assertEqual(absent, pitcrew_doctor_command:run("/etc/passwd", [], [])),
    ?assertEqual([], pitcrew_test:mailbox()).
