%% The profiler with real pools: what it sees in each kind of them, whose part is missing, and that nothing is left on.
-module(pitcrew_profiler_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2, with_meeting/2, meet/1, answer/2, until/1, os_pids/1]).

test(Fun) -> {timeout, 60, Fun}.

options(Options) -> maps:merge(#{tools => ["profile_tools"], size => 1}, Options).

%% One call at a time, many in a queue, many at once.
each_way(Options, Fun) ->
    [
        {lists:flatten(io_lib:format("~0p", [Way])), test(fun() -> with_pool(options(maps:merge(Options, Way)), Fun) end)}
     || Way <- pitcrew_test:ways()
    ].

calls(Name, #{functions := Functions}) -> [Calls || #{function := Function, calls := Calls} <- Functions, Function =:= Name].

%% Of every worker, asked more often than there are some; of the event loop's thread as well.
is_quiet(Pool) ->
    Answers = [pitcrew:call(Pool, Tool, [], #{timeout => 10_000}) || Tool <- [is_quiet, is_quiet_on_the_loop], _ <- lists:seq(1, 5)],
    case lists:usort(Answers) of
        [{ok, [true, true, true, true]}] -> ok;
        Other -> Other
    end.

everything() -> #{sample => 1, memory => 1, top => 10_000}.

%% ---- Functions

calls_of_functions_are_counted_in_all_workers_test_() ->
    each_way(#{size => 2}, fun(Pool) ->
        Run = fun() ->
            Calls = [pitcrew:async(Pool, Tool, [Times], #{}) || {Tool, Times} <- [{work, 10}, {work, 20}, {later, 30}, {work, 40}]],
            [{ok, _} = pitcrew:await(Call) || Call <- Calls]
        end,
        {ok, Results, Profile} = pitcrew_profiler:run(Pool, #{top => 10_000}, Run),
        ?assertMatch([{ok, _}, {ok, _}, {ok, _}, {ok, _}], Results),
        ?assertEqual([100], calls(<<"inner">>, Profile)),
        ?assertEqual([4], calls(<<"outer">>, Profile)),
        ?assertEqual([3], calls(<<"work">>, Profile)),
        ?assertMatch(#{samples := nil, stacks := nil, flame_graph := nil, memory := nil, missing := []}, Profile),
        ?assertEqual(os_pids(Pool), lists:sort(maps:get(workers, Profile))),
        ?assertEqual(ok, is_quiet(Pool)),
        ?assertEqual([], pitcrew_test:mailbox())
    end).

batches_and_streams_are_seen_too_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            Run = fun() ->
                _ = pitcrew:batch(Pool, [{work, [5]}, {work, [6]}]),
                pitcrew_test:chunks(pitcrew:stream(Pool, numbers, [7]))
            end,
            {ok, Seven, Profile} = pitcrew_profiler:run(Pool, #{top => 10_000}, Run),
            ?assertEqual(lists:seq(0, 6), Seven),
            ?assertEqual([5 + 6 + 7], calls(<<"inner">>, Profile))
        end)
    end).

whatever_the_options_of_the_pool_are_test_() ->
    Unusual = #{cache => true, binaries => bytes, bytes => tagged, nil => undefined, keys => strict, copy_binaries => true, shared => false, retry => 2},
    each_way(Unusual, fun(Pool) ->
        {ok, _, #{missing := [], memory := #{}} = Profile} =
            pitcrew_profiler:run(Pool, everything(), fun() -> pitcrew:call(Pool, work, [7]) end),
        ?assertEqual([7], calls(<<"inner">>, Profile)),
        ?assertEqual(ok, is_quiet(Pool))
    end).

also_where_calls_are_json_test_() ->
    pitcrew_test:if_json(each_way(#{protocol => json}, fun(Pool) ->
        {ok, _, Profile} = pitcrew_profiler:run(Pool, [{top, 10_000}], fun() -> {ok, _} = pitcrew:call(Pool, work, [7]) end),
        ?assertEqual([7], calls(<<"inner">>, Profile))
    end)).

recursions_are_told_apart_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            {ok, {ok, 10}, #{functions := Functions}} =
                pitcrew_profiler:run(Pool, #{top => 10_000}, fun() -> pitcrew:call(Pool, recurse, [10]) end),
            ?assertMatch([#{calls := 11, primitive_calls := 1}], [F || #{function := <<"recursive">>} = F <- Functions])
        end)
    end).

%% Sums of workers, read by Python, with who has called whom.
python_reads_the_merged_file_test_() ->
    test(fun() ->
        with_pool(options(#{size => 2}), fun(Pool) ->
            Run = fun() -> [{ok, _} = pitcrew:await(C) || C <- [pitcrew:async(Pool, work, [N], #{}) || N <- [100, 200, 300]]] end,
            {ok, _, Profile} = pitcrew_profiler:run(Pool, [], Run),
            Folder = filename:join(pitcrew_test:base(), "profile"),
            {ok, [_, Pstats]} = pitcrew_profiler:write(Profile, Folder),
            Code = "import pstats, sys; s = pstats.Stats(sys.argv[1]).stats; f = {k[2]: v for k, v in s.items()}; print(f['outer'][1], "
                "f['inner'][0], [(k[2], v[0]) for k, v in f['outer'][4].items()], f['inner'][2] >= 0, f['outer'][3] >= f['outer'][2])",
            Output = os:cmd(lists:join(" ", [python(), "-c", ["\"", Code, "\""], Pstats])),
            ?assertEqual("3 600 [('work', 3)] True True\n", Output),
            ok = file:del_dir_r(Folder)
        end)
    end).

python() -> os:getenv("PITCREW_PYTHON", "python3").

%% ---- Stacks

stacks_are_seen_while_they_are_there_test_() ->
    each_way(#{}, fun(Pool) ->
        {ok, _} = pitcrew:call(Pool, later, [1]), %% which makes the event loop
        {ok, _, #{samples := Samples, stacks := Stacks, flame_graph := Svg, functions := nil, pstats := nil}} =
            pitcrew_profiler:run(Pool, #{sample => 1, functions => false}, fun() ->
                {ok, _} = pitcrew:call(Pool, until_sampled),
                {ok, _} = pitcrew:call(Pool, until_sampled_later)
            end),
        ?assert(Samples >= 2),
        Lines = binary:split(Stacks, <<"\n">>, [global, trim]),
        Roots = lists:usort([hd(string:split(hd(string:split(Line, ";")), " (")) || Line <- Lines]),
        %% Nothing else has run: a worker that waits is no sample.
        ?assertEqual([<<"until_sampled">>, <<"until_sampled_later">>], Roots),
        {Root, _} = xmerl_scan:string(binary_to_list(Svg), [{quiet, true}]),
        ?assertEqual(svg, element(2, Root)),
        ?assertMatch({_, _}, binary:match(Svg, <<"until_sampled_later (profile_tools.py:">>)),
        ?assertEqual(ok, is_quiet(Pool))
    end).

%% ---- Memory

lines_that_allocate_are_named_and_what_came_after_a_mark_is_growth_test_() ->
    each_way(#{}, fun(Pool) ->
        {ok, _, #{memory := #{current := Current, peak := Peak, allocations := [Most | _], growth := Growth}}} =
            pitcrew_profiler:run(Pool, #{memory => 1, functions => false}, fun(Handle) ->
                {ok, _} = pitcrew:call(Pool, hold, [2000]),
                ok = pitcrew_profiler:mark(Handle),
                {ok, _} = pitcrew:call(Pool, hold, [500])
            end),
        #{file := File, line := Line, bytes := Bytes, blocks := Blocks} = Most,
        ?assertEqual("profile_tools.py", filename:basename(binary_to_list(File))),
        ?assert(Bytes > 2_500_000 andalso Bytes < 3_500_000),
        ?assert(Blocks >= 2500),
        ?assert(Current >= Bytes andalso Peak >= Current),
        ?assertMatch([#{bytes := More}] when More > 500_000, [G || #{file := F, line := L} = G <- Growth, F =:= File, L =:= Line]),
        ?assertMatch([#{bytes := More}] when More < 1_000_000, [G || #{file := F, line := L} = G <- Growth, F =:= File, L =:= Line]),
        ?assertEqual(ok, is_quiet(Pool))
    end).

%% ---- Nothing is left on

what_the_fun_raises_is_raised_test_() ->
    each_way(#{size => 2}, fun(Pool) ->
        ?assertError(mine, pitcrew_profiler:run(Pool, everything(), fun() -> error(mine) end)),
        ?assertThrow(mine, pitcrew_profiler:run(Pool, everything(), fun(_) -> throw(mine) end)),
        ?assertExit(mine, pitcrew_profiler:run(Pool, everything(), fun(_) -> exit(mine) end)),
        ?assertEqual(ok, is_quiet(Pool)),
        ?assertEqual([], pitcrew_test:mailbox())
    end).

a_caller_that_dies_leaves_nothing_on_test_() ->
    each_way(#{size => 2}, fun(Pool) ->
        Self = self(),
        {Caller, Monitor} = spawn_monitor(fun() ->
            pitcrew_profiler:run(Pool, everything(), fun(Recorder) ->
                Self ! {inside, Recorder},
                receive never -> ok end
            end)
        end),
        Recorder = receive {inside, R} -> R after 30_000 -> error(not_inside) end,
        ?assertMatch({ok, [_, _, false, false]}, pitcrew:call(Pool, is_quiet)),
        exit(Caller, kill),
        receive {'DOWN', Monitor, _, _, killed} -> ok end,
        ?assertEqual(ok, until(fun() -> is_quiet(Pool) end)),
        ?assertNot(is_process_alive(Recorder)),
        nobody_refers(Pool)
    end).

%% Not even if the process that would switch it off is killed.
a_recorder_that_dies_leaves_nothing_on_test_() ->
    each_way(#{size => 2}, fun(Pool) ->
        ?assertExit({profiler, _}, pitcrew_profiler:run(Pool, everything(), fun(Recorder) ->
            exit(Recorder, kill),
            pitcrew_profiler:mark(Recorder)
        end)),
        ?assertEqual(ok, until(fun() -> is_quiet(Pool) end)),
        nobody_refers(Pool)
    end).

nobody_refers(Pool) ->
    ?assertEqual(ok, until(fun() ->
        _ = pitcrew_test:garbage(),
        case [Kept || _ <- lists:seq(1, 5), {ok, {ok, Kept}} <- [pitcrew:session(Pool, fun(S) -> pitcrew:call(S, refs) end)], Kept > 0] of
            [] -> ok;
            Others -> Others
        end
    end)).

nothing_is_imported_before_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            ?assertEqual({ok, false}, pitcrew:call(Pool, has_imported)),
            {ok, _, _} = pitcrew_profiler:run(Pool, [], fun() -> ok end),
            ?assertEqual({ok, true}, pitcrew:call(Pool, has_imported))
        end)
    end).

%% ---- Whose part is missing

a_worker_that_dies_has_no_part_and_its_successor_is_late_test_() ->
    each_way(#{size => 2}, fun(Pool) ->
        Before = os_pids(Pool),
        {ok, Dead, #{missing := Missing, workers := [_]} = Profile} = pitcrew_profiler:run(Pool, [{top, 10_000}], fun() ->
            {error, #{kind := worker_exit, worker := Dead}} = pitcrew:call(Pool, die),
            ok = until(fun() -> case os_pids(Pool) -- Before of [New] when is_integer(New) -> ok; Other -> Other end end),
            [{ok, _} = pitcrew:call(Pool, work, [1]) || _ <- lists:seq(1, 3)],
            Dead
        end),
        ?assertEqual([{Dead, gone}], [{OsPid, gone} || #{worker := OsPid, reason := gone} <- Missing]),
        ?assertMatch([#{message := <<"it was started during the run">>}], [M || #{reason := late} = M <- Missing]),
        Text = unicode:characters_to_binary(pitcrew_profiler:format(Profile)),
        ?assertMatch({_, _}, binary:match(Text, <<"worker ", (integer_to_binary(Dead))/binary, " has no part in this (gone)">>))
    end).

a_worker_that_is_busy_is_not_waited_for_for_ever_test_() ->
    [{lists:flatten(io_lib:format("~0p", [Way])), test(fun() ->
        with_meeting(options(maps:merge(Way, #{size => 1})), fun(Pool, Listener, Port) ->
            First = pitcrew:async(Pool, wait_inside, [Port], #{}),
            {Socket, OsPid} = meet(Listener),
            Never = fun() -> error(was_called) end,
            ?assertMatch({error, #{kind := checkout_timeout}}, pitcrew_profiler:run(Pool, #{timeout => 50}, Never)),
            answer(Socket, "y"),
            {ok, OsPid} = pitcrew:await(First),
            ?assertEqual(ok, until(fun() -> is_quiet(Pool) end)),
            %% The same at the end: there is a result, and it says whose part is not in it.
            {ok, {Second, Other}, #{missing := Missing, workers := [], functions := []}} =
                once_begun(Pool, #{timeout => 200}, fun() ->
                    Call = pitcrew:async(Pool, wait_inside, [Port], #{}),
                    {Inside, OsPid} = meet(Listener),
                    {Call, Inside}
                end),
            ?assertMatch([#{worker := OsPid, reason := busy}], Missing),
            answer(Other, "y"),
            {ok, OsPid} = pitcrew:await(Second),
            ?assertEqual(ok, until(fun() -> _ = pitcrew_test:garbage(), is_quiet(Pool) end))
        end)
    end)} || Way <- [#{pipeline => 1}, #{pipeline => 4}]].

%% However slow the machine is: a run that did not begin is tried again.
once_begun(Pool, Options, Fun) ->
    case pitcrew_profiler:run(Pool, Options, Fun) of
        {error, #{kind := checkout_timeout}} -> once_begun(Pool, Options, Fun);
        Ran -> Ran
    end.

one_at_a_time_test_() ->
    each_way(#{}, fun(Pool) ->
        {ok, Second, #{missing := []}} = pitcrew_profiler:run(Pool, [], fun() ->
            pitcrew_profiler:run(Pool, [], fun() -> error(was_called) end)
        end),
        {error, #{message := Message}} = Second,
        ?assertMatch({_, _}, binary:match(Message, <<"it is being profiled already">>)),
        ?assertEqual(ok, is_quiet(Pool))
    end).

an_exclusive_session_keeps_its_worker_test_() ->
    test(fun() ->
        with_pool(options(#{size => 2}), fun(Pool) ->
            {ok, Session} = pitcrew:start_session(Pool, nil, #{exclusive => true}),
            {ok, Reserved} = pitcrew:call(Session, work, [1]),
            %% One that begins during the run gets the other worker, which has its part all the same.
            {ok, {ok, {ok, Other}}, #{missing := Missing, workers := Workers} = Profile} = pitcrew_profiler:run(Pool, [{top, 10_000}], fun() ->
                pitcrew:session(Pool, fun(S) -> pitcrew:call(S, work, [3]) end, #{exclusive => true})
            end),
            ?assertMatch([#{worker := Reserved, reason := reserved}], Missing),
            ?assertEqual([Other], Workers),
            ?assertEqual([3], calls(<<"inner">>, Profile))
        end)
    end).

a_worker_that_is_replaced_stays_until_the_end_test_() ->
    test(fun() ->
        with_pool(options(#{max_calls => 5}), fun(Pool) ->
            [Old] = os_pids(Pool),
            {ok, _, #{workers := Workers, missing := Missing}} = pitcrew_profiler:run(Pool, [], fun() ->
                [{ok, _} = pitcrew:call(Pool, work, [1]) || _ <- lists:seq(1, 5)],
                ok = until(fun() -> case pitcrew:call(Pool, work, [1]) of {ok, Old} -> Old; {ok, _} -> ok end end)
            end),
            ?assertEqual([Old], Workers),
            ?assertMatch([#{reason := late} | _], Missing),
            ok = until(fun() -> _ = pitcrew_test:garbage(), case lists:member(Old, os_pids(Pool)) of false -> ok; true -> Old end end)
        end)
    end).

%% One whose only worker has just been cut gets another, and that is profiled.
a_worker_that_is_about_to_leave_is_not_the_last_word_test_() ->
    test(fun() ->
        with_meeting(options(#{}), fun(Pool, Listener, Port) ->
            {Caller, Monitor} = spawn_monitor(fun() -> pitcrew:call(Pool, wait_inside, [Port]) end),
            {Socket, Cut} = meet(Listener),
            exit(Caller, kill),
            receive {'DOWN', Monitor, _, _, killed} -> ok end,
            {ok, {ok, OsPid}, #{workers := [OsPid]}} = pitcrew_profiler:run(Pool, [], fun() -> pitcrew:call(Pool, work, [1]) end),
            ?assertNotEqual(Cut, OsPid),
            gen_tcp:close(Socket)
        end)
    end).

a_pool_without_workers_starts_one_test_() ->
    test(fun() ->
        with_pool(options(#{lazy => true}), fun(Pool) ->
            {ok, {ok, OsPid}, #{workers := Workers}} = pitcrew_profiler:run(Pool, [], fun() -> pitcrew:call(Pool, work, [1]) end),
            ?assertEqual([OsPid], Workers)
        end)
    end).

what_cannot_be_profiled_is_an_error_test_() ->
    Never = fun() -> error(was_called) end,
    [
        ?_assertMatch({error, #{kind := no_pool}}, pitcrew_profiler:run(no_such_pool, [], Never)),
        ?_assertMatch({error, #{kind := invalid_option}}, pitcrew_profiler:run(any, [{sample, 0}], Never)),
        ?_assertMatch({error, #{kind := invalid_option}}, pitcrew_profiler:run(any, [{smaple, 1}], Never)),
        ?_assertMatch(
            {error, #{kind := invalid_option, message := <<"there is nothing to profile", _/binary>>}},
            pitcrew_profiler:run(any, #{functions => false}, Never)
        )
    ].
