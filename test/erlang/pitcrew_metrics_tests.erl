%% What pools count, against what was done with them; and the text, as Prometheus' own parser reads it.
-module(pitcrew_metrics_tests).
-include_lib("eunit/include/eunit.hrl").
-include_lib("pitcrew/src/pitcrew_pool.hrl").

-import(pitcrew_test, [with_pool/2, with_meeting/2, until/1, quietly/1, meet/1, answer/2]).

test(Fun) -> {timeout, 60, Fun}.

tool(Tool, Pool) -> maps:get(Tool, maps:get(tools, pitcrew:stats(Pool))).

%% ---- Calls

%% On every sort of pool, from many processes at once: nothing is lost, and nothing is counted twice.
each_call_is_counted_test_() ->
    [test(fun() ->
        with_pool(Way#{tools => ["py_tools", "cache_tools"]}, fun(Pool) ->
            Workers = [spawn_monitor(fun() -> [{ok, N} = pitcrew:call(Pool, add, [N, 0]) || N <- lists:seq(1, 250)] end) || _ <- lists:seq(1, 8)],
            [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Workers],
            [{error, _} = pitcrew:call(Pool, add, [1, <<"x">>]) || _ <- lists:seq(1, 3)],
            {error, _} = pitcrew:call(Pool, add, [<<255>>, 1]),
            [{ok, 3} = pitcrew:call(Pool, add, [1, 2], #{protocol => json}) || _ <- lists:seq(1, 5)],
            [{ok, 3} | _] = pitcrew:batch(Pool, [{add, [1, 2]} || _ <- lists:seq(1, 40)], #{batch_size => 40}),
            #{calls := 2010, errors := #{tool_error := 3, encode_error := 1} = Errors, protocols := #{json := 5, msgpack := 2005}, batched := 39} =
                Add = tool(<<"add">>, Pool),
            ?assertEqual(2, map_size(Errors)),
            #{error_rate := ErrorRate, rate := Rate, cache := nil, python := #{avg := Python}} = Add,
            ?assertEqual(4 / 2010, ErrorRate),
            ?assert(Rate > 0),
            #{latency := #{avg := Avg, p50 := P50, p90 := P90, p99 := P99, p999 := P999, max := Max}} = Add,
            ?assert(0 < P50 andalso P50 =< P90 andalso P90 =< P99 andalso P99 =< P999 andalso P999 =< Max, Add),
            ?assert(0 < Python andalso Python < Avg andalso Avg =< Max, Add),
            {ok, _} = pitcrew:call(Pool, describe),
            #{pool := Pool, calls := 2011, errors := Errors, tools := Tools, started := 2, restarts := 0, uptime := Up} = pitcrew:stats(Pool),
            ?assert(Up > 0),
            ?assertEqual([<<"add">>, <<"describe">>], lists:sort(maps:keys(Tools)))
        end)
    end) || Way <- pitcrew_test:ways()].

streams_have_no_latency_test_() ->
    test(fun() ->
        with_pool(#{size => 1, tools => ["stream_tools"]}, fun(Pool) ->
            {ok, 0, Stream} = pitcrew:next(pitcrew:stream(Pool, forever)),
            ok = pitcrew:stop(Stream),
            {error, #{kind := unknown_tool}} = pitcrew:next(pitcrew:stream(Pool, there_is_none)),
            ?assertMatch(#{calls := 1, streams := 1, errors := #{}, latency := #{avg := 0.0, max := 0.0}}, tool(<<"forever">>, Pool)),
            ?assertMatch(#{calls := 1, errors := #{unknown_tool := 1}}, tool(<<"(others)">>, Pool))
        end)
    end).

the_cache_test_() ->
    test(fun() ->
        with_pool(#{size => 1, tools => ["cache_tools"], cache => true}, fun(Pool) ->
            [{ok, _} = pitcrew:call(Pool, fresh, [N rem 5]) || N <- lists:seq(1, 20)],
            [{error, _} = pitcrew:call(Pool, fails, [1]) || _ <- [1, 2]],
            {ok, _} = pitcrew:call(Pool, fresh_by_default, []),
            ?assertMatch(#{calls := 20, cache := #{hits := 15, misses := 5, hit_rate := 0.75}}, tool(<<"fresh">>, Pool)),
            ?assertMatch(#{cache := #{hits := 0, misses := 2}}, tool(<<"fails">>, Pool)),
            ?assertMatch(#{cache := #{hits := 0, misses := 0, hit_rate := 0.0}}, tool(<<"fresh_by_default">>, Pool)),
            ?assertMatch(#{cache := #{hits := 15, misses := 7}}, pitcrew:stats(Pool))
        end)
    end).

%% One call runs and another waits for it.
queue_and_utilization_test_() ->
    test(fun() ->
        with_meeting(#{size => 1}, fun(Pool, Listener, Port) ->
            Calls = [pitcrew:async(Pool, meet, [Port]) || _ <- [1, 2]],
            {First, OsPid} = meet(Listener),
            ok = pitcrew_test:queued(Pool, 1),
            #{queued := 1, utilization := Busy, workers := [#{os_pid := OsPid, state := busy, rss := Rss}]} = pitcrew:stats(Pool),
            ?assert(Busy > 0 andalso Busy =< 1),
            ?assert(Rss > 1_000_000),
            answer(First, "x"),
            {Second, OsPid} = meet(Listener),
            answer(Second, "x"),
            [{ok, _} = pitcrew:await(Call) || Call <- Calls],
            #{queue := #{waited := 1, p50 := P50, max := Max}, queued := 0} = tool_and_queue(Pool),
            ?assert(0 < P50 andalso P50 =< Max)
        end)
    end).

tool_and_queue(Pool) -> maps:merge(maps:with([queued], pitcrew:stats(Pool)), tool(<<"meet">>, Pool)).

%% ---- Workers

restarts_test_() ->
    test(fun() ->
        with_pool(#{size => 1, tools => ["py_tools"]}, fun(Pool) ->
            [Killed] = pitcrew_test:os_pids(Pool),
            pitcrew_test:kill(Killed),
            %% A worker of the pool's that has not heard of it may still be there.
            ok = until(fun() -> case pitcrew:stats(Pool) of #{started := 2, ended := #{crashed := 1}} -> ok; Stats -> Stats end end),
            ok = pitcrew:reload(Pool),
            ok = until(fun() -> case pitcrew:stats(Pool) of #{started := 3, restarts := 2, ended := #{reload := 1, crashed := 1}} -> ok; Stats -> Stats end end)
        end)
    end).

%% What was counted belongs to the pool, not to the processes that keep its workers.
what_was_counted_stays_test_() ->
    [{atom_to_list(Role), test(fun() ->
        quietly(fun() ->
            with_pool(#{size => 1}, fun(Pool) ->
                {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
                {ok, #pool{server = Server}} = pitcrew_pools:find(Pool),
                {Role, Pid, _, _} = lists:keyfind(Role, 1, supervisor:which_children(Pool)),
                sys:terminate(Pid, crashed),
                ok = until(fun() ->
                    case pitcrew_pools:find(Pool) of
                        {ok, #pool{server = Other}} when Other =/= Server -> ok;
                        Found -> Found
                    end
                end),
                {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
                ?assertMatch(#{calls := 2}, tool(<<"add">>, Pool))
            end)
        end)
    end)} || Role <- [server, keeper]].

%% ---- Limits

told(Tool) -> #{pool => py, tool_id => Tool, protocol => msgpack}.

tools_are_bounded_test() ->
    Metrics = pitcrew_metrics:known(pitcrew_metrics:new(#{metrics => true, concurrency => 1}), [<<"a">>]),
    Names = [integer_to_binary(N) || N <- lists:seq(1, 500)],
    [ok = pitcrew_metrics:call(Metrics, told(Name), ok, 1000, nil) || Name <- Names ++ Names],
    %% Those whose tool there may not even be take no room.
    Some = pitcrew_metrics:new(#{metrics => true, concurrency => 1}),
    [ok = pitcrew_metrics:call(Some, told(Name), unknown_tool, 1000, nil) || Name <- Names],
    ?assertEqual([<<"(others)">>], [Name || {Name, _} <- pitcrew_metrics:rows(Some)]),
    Rows = pitcrew_metrics:rows(Metrics),
    ?assertEqual(128, length(Rows)),
    ?assertEqual(1000, lists:sum([counters:get(Counts, ?CALLS) || {_, {Counts, _, _}} <- Rows])),
    {_, {Others, _, _}} = lists:keyfind(<<"(others)">>, 1, Rows),
    ?assertEqual(2 * (500 - 127), counters:get(Others, ?CALLS)).

an_option_test_() ->
    test(fun() ->
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew_pool:start_link(#{name => py, metrics => maybe_not})),
        ?assertError(#{kind := no_pool}, pitcrew:stats(there_is_none)),
        with_pool(#{size => 1, metrics => false}, fun(Pool) ->
            {ok, 3} = pitcrew:call(Pool, add, [1, 2]),
            {error, _} = pitcrew:call(Pool, add, []),
            ?assertError(#{kind := invalid_option}, pitcrew:stats(Pool)),
            ?assertEqual(<<"# EOF\n">>, iolist_to_binary(pitcrew_metrics:openmetrics())),
            ?assertEqual(<<"# EOF\n">>, iolist_to_binary(pitcrew_metrics:openmetrics([Pool, there_is_none])))
        end)
    end).

%% ---- Text

scraped(Pool, Url) ->
    {ok, [200, Type, Text]} = pitcrew:call(Pool, get, [Url]),
    ?assertEqual(<<"application/openmetrics-text; version=1.0.0; charset=utf-8">>, Type),
    {ok, Families} = pitcrew:call(Pool, parse, [Text]),
    Families.

sample(Sample, Labels, Families) ->
    {Sample, Labels, [Value || [_, _, _, Samples] <- Families, [Name, With, Value] <- Samples, Name =:= Sample, With =:= Labels]}.

with_endpoint(Options, Fun) ->
    {ok, Endpoint} = pitcrew_metrics_http:start_link(Options#{port => 0}),
    try
        Fun("http://127.0.0.1:" ++ integer_to_list(pitcrew_metrics_http:port(Endpoint)))
    after
        unlink(Endpoint),
        Monitor = monitor(process, Endpoint),
        exit(Endpoint, shutdown),
        receive {'DOWN', Monitor, process, Endpoint, _} -> ok end
    end.

prometheus_reads_it_test_() ->
    test(fun() ->
        with_pool(#{size => 1, tools => ["py_tools", "cache_tools", "metrics_tools"], cache => true}, fun(Pool) ->
            [{ok, 3} = pitcrew:call(Pool, add, [1, 2]) || _ <- lists:seq(1, 10)],
            {error, _} = pitcrew:call(Pool, add, [1, <<"x">>]),
            {ok, 3} = pitcrew:call(Pool, add, [1, 2], #{protocol => json}),
            [{ok, _} = pitcrew:call(Pool, fresh, [1]) || _ <- [1, 2, 3]],
            with_endpoint(#{}, fun(Url) ->
                Families = scraped(Pool, iolist_to_binary([Url, "/metrics?x=y"])),
                Name = atom_to_binary(Pool),
                Labels = fun(More) -> maps:merge(#{<<"pool">> => Name, <<"tool">> => <<"add">>}, More) end,
                [
                    ?assertEqual({Sample, With, [float(Value)]}, sample(Sample, With, Families))
                 || {Sample, With, Value} <- [
                        {<<"pitcrew_calls_total">>, Labels(#{<<"protocol">> => <<"msgpack">>}), 11},
                        {<<"pitcrew_calls_total">>, Labels(#{<<"protocol">> => <<"json">>}), 1},
                        {<<"pitcrew_call_errors_total">>, Labels(#{<<"kind">> => <<"tool_error">>}), 1},
                        {<<"pitcrew_call_duration_seconds_count">>, Labels(#{}), 12},
                        {<<"pitcrew_call_duration_seconds_bucket">>, Labels(#{<<"le">> => <<"+Inf">>}), 12},
                        {<<"pitcrew_cache_hits_total">>, Labels(#{<<"tool">> => <<"fresh">>}), 2},
                        {<<"pitcrew_cache_misses_total">>, Labels(#{<<"tool">> => <<"fresh">>}), 1},
                        {<<"pitcrew_cache_entries">>, #{<<"pool">> => Name}, 1},
                        {<<"pitcrew_worker_starts_total">>, #{<<"pool">> => Name}, 1},
                        {<<"pitcrew_workers_wanted">>, #{<<"pool">> => Name}, 1},
                        {<<"pitcrew_pool_status">>, #{<<"pool">> => Name, <<"pitcrew_pool_status">> => <<"ok">>}, 1}
                    ]
                ],
                {_, _, [Rss]} = sample(<<"pitcrew_worker_resident_memory_bytes">>, #{<<"pool">> => Name, <<"worker">> => <<"0">>}, Families),
                ?assert(Rss > 1.0e6),
                {_, _, [Sum]} = sample(<<"pitcrew_call_duration_seconds_sum">>, Labels(#{}), Families),
                ?assert(Sum > 0),
                [?assertMatch({ok, [Status, <<"text/plain">>, _]}, pitcrew:call(Pool, get, [iolist_to_binary([Url, Path]), Method]))
                    || {Status, Path, Method} <- [{404, "/", <<"GET">>}, {404, "/metrics/..", <<"GET">>}, {405, "/metrics", <<"POST">>}, {405, "/metrics", <<"DELETE">>}]]
            end),
            with_endpoint(#{path => "/py", pools => [there_is_none]}, fun(Url) ->
                ?assertEqual([], scraped(Pool, iolist_to_binary([Url, "/py"])))
            end)
        end)
    end).

%% What names may hold.
labels_test_() ->
    test(fun() ->
        with_pool(#{size => 1, tools => ["metrics_tools"]}, fun(Pool) ->
            Names = [<<"a\"b">>, <<"a\\b">>, <<"a\nb">>, <<"a\\nb">>, <<"grün"/utf8>>, <<"{a=\"b\"} 1">>, <<255>>],
            {ok, #pool{metrics = Metrics}} = pitcrew_pools:find(Pool),
            [ok = pitcrew_metrics:call(Metrics, told(Name), ok, 1000, nil) || Name <- Names],
            {ok, Families} = pitcrew:call(Pool, parse, [iolist_to_binary(pitcrew_metrics:openmetrics([Pool]))]),
            Read = [Tool || [<<"pitcrew_calls">>, <<"counter">>, _, Samples] <- Families, [_, #{<<"tool">> := Tool}, 1.0] <- Samples],
            ?assertEqual(lists:sort((Names -- [<<255>>]) ++ [<<"ÿ"/utf8>>]), lists:sort(Read))
        end)
    end).

endpoint_options_test() ->
    {ok, _} = application:ensure_all_started(pitcrew),
    [?assertMatch({error, #{kind := invalid_option}}, pitcrew_metrics_http:start_link(Options)) || Options <- [#{port => 70_000}, #{ip => localhost}, #{path => ""}, #{pools => [1]}, #{prot => 1}]],
    with_endpoint(#{}, fun(_) -> ok end),
    %% A port that is taken is an error.
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    process_flag(trap_exit, true),
    quietly(fun() -> ?assertMatch({error, _}, pitcrew_metrics_http:start_link(#{port => Port})) end),
    receive {'EXIT', _, _} -> ok after 0 -> ok end,
    process_flag(trap_exit, false),
    ok = gen_tcp:close(Socket).
