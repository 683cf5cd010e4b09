-module(pitcrew_load_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2, with_meeting/2, gated/1, options/2, meet/1, answer/2, until/1, mailbox/0, quietly/1]).

scenario(More) -> maps:merge(#{name => one, calls_per_second => 100, duration => 0.2, warmup => 0}, More).

%% Every call that is due starts, although the only worker is held by the first one; and what they waited is part of their latencies.
a_stall_holds_up_no_start_and_is_part_of_every_latency_test_() ->
    {timeout, 60, fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            Test = self(),
            Run = fun() ->
                %% The probe is call 1, and the held call is the first one of the load.
                Probed = counters:new(1, []),
                Calls = fun(_) ->
                    ok = counters:add(Probed, 1, 1),
                    case counters:get(Probed, 1) of
                        2 -> {meet, [Port]};
                        _ -> {add, [1, 2]}
                    end
                end,
                Options = #{pool => Pool, scenarios => [scenario(#{calls => Calls})], progress => fun(P) -> Test ! {progress, P} end},
                Test ! {results, pitcrew_load:run(Options)}
            end,
            _ = spawn_link(Run),
            {Socket, _} = meet(Listener),
            all_have_begun(),
            answer(Socket, "go\n"),
            {ok, [Result]} = receive {results, Results} -> Results end,
            drop_progress(),
            #{calls := 20, ok := 20, errors := 0, min_latency := Least, max_latency := Longest, series := Series} = Result,
            ?assertEqual(20, lists:sum([Calls || #{calls := Calls} <- Series])),
            %% The last one was due 190 ms after the first, and could not end before it.
            ?assert(Least >= Longest - 200)
        end)
    end}.

all_have_begun() ->
    receive
        {progress, #{begun := 20, calls := 20, ended := Ended}} -> ?assertEqual(0, Ended);
        {progress, _} -> all_have_begun()
    end.

drop_progress() ->
    receive {progress, _} -> drop_progress() after 0 -> ok end.

what_is_due_beyond_the_limit_is_not_made_and_counted_test_() ->
    {timeout, 60, fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            Test = self(),
            Calls = fun
                (1) -> {meet, [Port]};
                (_) -> {add, [1, 2]}
            end,
            Options = #{pool => Pool, max_running => 2, scenarios => [scenario(#{calls => Calls})], progress => fun(P) -> Test ! {progress, P} end},
            _ = spawn_link(fun() -> Test ! {results, pitcrew_load:run(Options)} end),
            {Probe, _} = meet(Listener),
            answer(Probe, "go\n"),
            {Held, _} = meet(Listener),
            all_have_begun_but(2),
            answer(Held, "go\n"),
            {ok, [Result]} = receive {results, Results} -> Results end,
            drop_progress(),
            ?assertMatch(#{ok := 2, errors := 18, error_kinds := [#{kind := not_made, count := 18}]}, Result)
        end)
    end}.

all_have_begun_but(Running) ->
    receive
        {progress, #{begun := 20, ended := Ended}} -> ?assertEqual(20 - Running, Ended);
        {progress, _} -> all_have_begun_but(Running)
    end.

the_guides_scenarios_run_with_tools_of_their_own_test_() ->
    {timeout, 60, fun() ->
        ?assertEqual([<<"high_frequency_single">>, <<"multi_tool_moderate">>, <<"large_payload">>], [N || #{name := N} <- pitcrew_load:scenarios()]),
        gated(fun(Base) ->
            PoolOptions = #{size => 1, runtime_dir => Base, env => [{"PITCREW_TEST_BASE", Base}]},
            {ok, Results} = pitcrew_load:run(#{duration => 1, warmup => 0.2, pool_options => PoolOptions}),
            ?assertMatch(
                [
                    #{scenario := <<"high_frequency_single">>, tools := 1, calls := 100, errors := 0, payload_bytes := 32},
                    #{scenario := <<"multi_tool_moderate">>, tools := 10, calls := 20, errors := 0},
                    #{scenario := <<"large_payload">>, tools := 5, calls := 5, errors := 0, payload_bytes := 1048576}
                ],
                Results
            ),
            [?assertEqual(lists:sort(In), In) || #{percentiles := Percentiles} <- Results, In <- [[Ms || #{latency := Ms} <- Percentiles]]],
            ?assertEqual([], mailbox())
        end)
    end}.

tools_of_a_pool_are_called_by_name_or_with_arguments_test_() ->
    {timeout, 60, fun() ->
        with_pool(#{}, fun(Pool) ->
            Tools = [{add, [1, 2]}, <<"echo">>, {<<"scale">>, {[[1, 2]], #{factor => 3}}}],
            {ok, [Result]} = pitcrew_load:run(#{pool => Pool, scenarios => [scenario(#{tools => Tools, payload_size => 100})]}),
            ?assertMatch(#{calls := 20, errors := 0, tools := 3, payload_bytes := 100, faults := nil, pool := Pool}, Result),
            {error, #{kind := tool_error}} = pitcrew_load:run(#{pool => Pool, tools => [{fail, [<<"no">>]}], scenarios => [scenario(#{})]}),
            {error, #{kind := invalid_option, message := <<"calls must return", _/binary>>}} =
                pitcrew_load:run(#{pool => Pool, calls => fun(_) -> add end, scenarios => [scenario(#{})]}),
            {error, #{kind := unknown_tool}} = pitcrew_load:run(#{pool => Pool, tools => [{add, [1, 2]}, fial], scenarios => [scenario(#{})]}),
            ?assertEqual([], mailbox())
        end)
    end}.

errors_are_counted_by_kind_with_an_example_test_() ->
    {timeout, 60, fun() ->
        with_pool(#{}, fun(Pool) ->
            Calls = fun
                (1) -> {add, [1, 2]};
                (2) -> exit(no_call);
                (N) when N > 15 -> {fail, [integer_to_binary(N)]};
                (_) -> {add, [1]}
            end,
            {ok, [Result]} = pitcrew_load:run(#{pool => Pool, scenarios => [scenario(#{calls => Calls})]}),
            #{calls := 20, ok := 1, errors := 19, error_kinds := Kinds} = Result,
            ?assertMatch(
                [#{kind := bad_arguments, count := 13}, #{kind := tool_error, count := 5, message := <<_, _/binary>>}, #{kind := raised, count := 1}],
                Kinds
            )
        end)
    end}.

%% The failover test. The one worker is always busy, so each kill ends a call.
killed_workers_are_counted_with_what_they_cost_test_() ->
    {timeout, 60, fun() ->
        with_pool(#{size => 1, tools => ["cancel_tools"]}, fun(Pool) ->
            Handlers = pitcrew_telemetry:list_handlers([]),
            Naps = scenario(#{tools => [{sleep, [0.03]}], calls_per_second => 50, duration => 1}),
            Options = #{pool => Pool, scenarios => [Naps], faults => #{every => 150}},
            {ok, [#{errors := Errors, error_kinds := Kinds, faults := Faults}]} = quietly(fun() -> pitcrew_load:run(Options) end),
            #{kills := Kills, at := At, healthy := true, recovery := _} = Faults,
            ?assert(Kills >= 1),
            ?assertEqual(Kills, length(At)),
            ?assert(Errors >= 1),
            ?assertEqual(Errors, lists:sum([Count || #{kind := worker_exit, count := Count} <- Kinds])),
            ?assertEqual(Handlers, pitcrew_telemetry:list_handlers([])),
            ?assertEqual([], mailbox())
        end)
    end}.

calls_that_are_tried_again_do_not_fail_test_() ->
    {timeout, 60, fun() ->
        gated(fun(Base) ->
            Options = #{
                pool_options => options(Base, #{name => pitcrew_loadtest, size => 2, tools => []}),
                call_options => [{retry, 100}],
                scenarios => [scenario(#{calls_per_second => 300, duration => 1, payload_size => medium})],
                faults => [{every, 20}]
            },
            {ok, [#{errors := 0, faults := #{kills := Kills, retries := Retries, retried := Retried, healthy := true}}]} =
                quietly(fun() -> pitcrew_load:run(Options) end),
            ?assert(Kills >= 1),
            ?assert(Retries >= Retried),
            ?assertEqual([], mailbox())
        end)
    end}.

%% Its pool, its callers and its handlers go with whoever wanted them.
nothing_is_left_when_the_caller_dies_test_() ->
    {timeout, 60, fun() ->
        gated(fun(Base) ->
            Test = self(),
            Handlers = pitcrew_telemetry:list_handlers([]),
            Options = #{
                pool_options => options(Base, #{name => pitcrew_loadtest, size => 1, tools => []}),
                scenarios => [scenario(#{duration => 3600})],
                faults => #{every => 3_600_000},
                progress => fun(P) -> Test ! {progress, P} end
            },
            {Caller, Monitor} = spawn_monitor(fun() -> pitcrew_load:run(Options) end),
            receive {progress, #{ended := Ended}} when Ended > 0 -> ok end,
            exit(Caller, kill),
            receive {'DOWN', Monitor, process, _, killed} -> ok end,
            ?assertEqual(ok, until(fun() -> case pitcrew_pools:find(pitcrew_loadtest) of absent -> ok; Found -> Found end end)),
            ?assertEqual(ok, until(fun() -> case pitcrew_telemetry:list_handlers([]) of Handlers -> ok; More -> More end end)),
            drop_progress()
        end)
    end}.

wrong_options_say_what_is_allowed_test_() ->
    Run = fun(Options) ->
        {error, #{kind := invalid_option, message := Message}} = pitcrew_load:run(Options),
        Message
    end,
    Has = fun(Part, Options) -> fun() -> ?assertNotEqual(nomatch, binary:match(Run(Options), Part)) end end,
    [
        Has(<<"did you mean scenarios?">>, #{scenario => []}),
        Has(<<"at least one">>, #{scenarios => []}),
        Has(<<"there is no scenario nonsense">>, #{scenarios => [nonsense]}),
        Has(<<"did you mean duration?">>, #{scenarios => [#{name => a, calls_per_second => 1, durration => 3}]}),
        Has(<<"option calls_per_second is required">>, #{scenarios => [#{name => a}]}),
        Has(<<"calls_per_second must be a number above 0">>, #{scenarios => [#{name => a, calls_per_second => 0}]}),
        Has(<<"duration must be a number of seconds">>, #{duration => soon}),
        Has(<<"payload_size must be small">>, #{scenarios => [scenario(#{payload_size => huge})]}),
        Has(<<"tools must be">>, #{tools => "add"}),
        Has(<<"would make no call">>, #{scenarios => [scenario(#{calls_per_second => 0.001})]}),
        Has(<<"at most 5000000">>, #{scenarios => [scenario(#{calls_per_second => 100_000, duration => 3600})]}),
        Has(<<"give it tools or calls">>, #{pool => py}),
        Has(<<"pool_options must be">>, #{pool_options => [{"size", 1}]}),
        Has(<<"option tools must be">>, #{pool_options => #{tools => some_tools}}),
        Has(<<"option env must be">>, #{pool_options => #{env => some_env}}),
        Has(<<"every must be">>, #{faults => #{every => 0}}),
        fun() -> ?assertMatch({error, #{kind := no_pool}}, pitcrew_load:run(#{pool => there_is_none, tools => [add]})) end
    ].

%% ---- Figures

percentiles_are_values_that_were_measured_by_nearest_rank_test() ->
    Ten = list_to_tuple([float(N) || N <- lists:seq(1, 10)]),
    ?assertEqual([1.0, 1.0, 5.0, 6.0, 9.0, 10.0, 10.0, 10.0], [pitcrew_load_figures:percentile(P, Ten) || P <- [0, 10, 50, 51, 90, 90.1, 99, 100]]),
    Thousand = list_to_tuple(lists:seq(1, 1000)),
    ?assertEqual([1, 500, 990, 999, 1000, 1000], [pitcrew_load_figures:percentile(P, Thousand) || P <- [0.1, 50, 99, 99.9, 99.91, 100]]),
    ?assertEqual(7.5, pitcrew_load_figures:percentile(99, {7.5})).

calls_are_due_at_whole_milliseconds_at_the_rate_test() ->
    Due = fun(Rate, Ns) -> [pitcrew_load_pacer:due(N, #{rate => Rate}) || N <- Ns] end,
    ?assertEqual([0, 10, 20, 990, 1000], Due(100, [1, 2, 3, 100, 101])),
    ?assertEqual([0, 0, 0, 1, 1, 1, 2], Due(3000, lists:seq(1, 7))),
    ?assertEqual([0, 2000, 4000], Due(0.5, [1, 2, 3])),
    ?assertEqual([0, 333, 666, 1000], Due(3, [1, 2, 3, 4])).

ms(Ms) -> erlang:convert_time_unit(Ms, millisecond, native).

figures_are_of_all_calls_test() ->
    Ledger = pitcrew_load_ledger:new(5),
    Note = fun(N, Ms, Late, Result) -> ok = pitcrew_load_ledger:note(N, {ms(Ms), ms(Late)}, Result, Ledger) end,
    Note(1, 10, 0, ok),
    Note(2, 20, 2, ok),
    Note(3, 30, 1, {timeout, <<"too late">>}),
    Note(4, 5, 1, {timeout, <<"too late as well">>}),
    Note(warmup, 1000, 1000, {tool_error, <<"not counted">>}),
    %% The fifth, due after 4 s, had not ended after 10.
    Figures = pitcrew_load_figures:make(Ledger, #{rate => 1, duration => 5}, ms(10_000)),
    ?assertMatch(
        #{calls := 5, ok := 2, errors := 3, throughput := 0.2, avg_latency := 1213.0, min_latency := 5.0, p50_latency := 20.0, p90_latency := 6000.0, max_latency := 6000.0, max_late := 2.0},
        Figures
    ),
    #{error_kinds := Kinds, series := Series, interval := Width} = Figures,
    ?assertMatch(
        [#{kind := timeout, count := 2, message := <<"too late">>}, #{kind := unfinished, count := 1}],
        Kinds
    ),
    ?assert(Width =< 5),
    ?assertEqual([{0.0, 0}, {1.0, 0}, {2.0, 1}, {3.0, 1}, {4.0, 1}], [{At, Errors} || #{at := At, errors := Errors} <- Series]).

calls_that_were_not_made_took_no_time_and_count_as_errors_only_test() ->
    Make = fun(Notes) ->
        Ledger = pitcrew_load_ledger:new(3),
        [Note(N, Ledger) || {N, Note} <- lists:zip([1, 2, 3], Notes)],
        pitcrew_load_figures:make(Ledger, #{rate => 1, duration => 3}, 0)
    end,
    Refused = fun pitcrew_load_ledger:refused/2,
    Ok = fun(N, Ledger) -> pitcrew_load_ledger:note(N, {ms(20), 0}, ok, Ledger) end,
    ?assertMatch(#{calls := 3, errors := 2, min_latency := 20.0, avg_latency := 20.0, p50_latency := 20.0}, Make([Refused, Ok, Refused])),
    Nothing = Make([Refused, Refused, Refused]),
    ?assertMatch(#{calls := 3, errors := 3, max_latency := 0.0, throughput := 0.0}, Nothing),
    %% It can be drawn all the same.
    Described = Nothing#{scenario => <<"none">>, duration => 3, faults => nil},
    [?assertNotEqual(nomatch, binary:match(iolist_to_binary(Svg), <<"</svg>">>)) || Svg <- [pitcrew_load_chart:over_time("t", Described), pitcrew_load_chart:by_percentile("p", Described)]].

intervals_are_few_enough_to_see_and_long_enough_to_mean_something_test() ->
    Width = fun(Rate, Duration) ->
        Calls = round(Rate * Duration),
        Ledger = pitcrew_load_ledger:new(Calls),
        #{interval := Interval} = pitcrew_load_figures:make(Ledger, #{rate => Rate, duration => Duration}, ms(round(Duration * 1000))),
        Interval
    end,
    ?assertEqual([0.5, 1.0, 5.0, 5.0], [Width(Rate, 60) || Rate <- [1000, 100, 20, 5]]),
    ?assertEqual(300.0, Width(1, 3600)),
    ?assertEqual(0.5, Width(20, 8)).

limits_are_upper_ones_but_that_of_throughput_test() ->
    Result = #{scenario => <<"a">>, p99_latency => 20.0, errors => 2, throughput => 99.5, faults => nil},
    Check = fun(Limits) -> [What || #{what := What} <- pitcrew_load:check([Result], Limits)] end,
    ?assertEqual([], Check(#{})),
    ?assertEqual([], Check(#{p99_ms => 20, errors => 2, throughput => 99.5})),
    ?assertEqual([errors, p99_ms, throughput], Check(#{p99_ms => 19.9, errors => 1, throughput => 100})),
    Sick = Result#{faults := #{healthy => false}},
    ?assertMatch([#{what := healthy}], pitcrew_load:check([Sick], #{})).

the_same_seed_chooses_the_same_tools_test() ->
    Choose = fun(Seed) ->
        Call = pitcrew_load_scenario:call(#{calls => none, tools => 10}, <<>>, Seed),
        [Tool || N <- lists:seq(1, 200), {Tool, _} <- [Call(N)]]
    end,
    ?assertEqual(Choose(1), Choose(1)),
    ?assertNotEqual(Choose(1), Choose(2)),
    ?assertEqual(10, length(lists:usort(Choose(1)))).
