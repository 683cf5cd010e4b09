%% Python's logging arrives in the VM's logger, and a flood of it stops nobody.
-module(pitcrew_logs_tests).
-include_lib("eunit/include/eunit.hrl").
-export([log/2]).
-import(pitcrew_test, [with_pool/2, whole/1, os_pids/1]).

%% ---- A handler that tells a process, which keeps what nobody has asked for yet

%% Records of a flood wait for that process: a slow log.
log(#{meta := #{python_logger := <<"flood">>}} = Event, #{config := #{keeper := Keeper}}) ->
    Keeper ! {logged, Event, self()},
    receive {Keeper, kept} -> ok
    after 60_000 -> ok
    end;
log(Event, #{config := #{keeper := Keeper}}) ->
    Keeper ! {logged, Event}.

%% Those of a flood are only counted: {arrived, dropped}.
keep(Events, {Arrived, Dropped} = Flood) ->
    receive
        {logged, _, Writer} ->
            Writer ! {self(), kept},
            keep(Events, {Arrived + 1, Dropped});
        {logged, #{meta := #{python := logging, dropped := N}, level := warning} = Event} ->
            Said = <<(integer_to_binary(N))/binary, " records of Python's logging were dropped: they come faster than the log takes them">>,
            Said = text(Event),
            keep(Events, {Arrived, Dropped + N});
        {logged, Event} -> keep(Events ++ [Event], Flood);
        {take, From, Ref, Wanted} -> keep(take(From, Ref, Wanted, Events), Flood);
        {flood, From, Ref} ->
            From ! {Ref, Flood},
            keep(Events, Flood)
    end.

take(From, Ref, Wanted, Events) ->
    case lists:splitwith(fun(Event) -> not Wanted(Event) end, Events) of
        {_, []} ->
            From ! {Ref, none},
            Events;
        {Before, [Event | After]} ->
            From ! {Ref, Event},
            Before ++ After
    end.

%% The first event that is wanted; waits for it.
taken(Wanted) ->
    Result = pitcrew_test:until(fun() ->
        Ref = make_ref(),
        ?MODULE ! {take, self(), Ref, Wanted},
        receive
            {Ref, none} -> none;
            {Ref, Event} -> put(taken, Event), ok
        end
    end),
    ?assertEqual(ok, Result),
    erase(taken).

%% A pool, with everything that is logged kept.
pool(Options, Fun) ->
    {timeout, 60, fun() ->
        #{level := Level} = logger:get_primary_config(),
        Default = logger:get_handler_config(default),
        Keeper = spawn_link(fun() -> keep([], {0, 0}) end),
        true = register(?MODULE, Keeper),
        ok = logger:add_handler(?MODULE, ?MODULE, #{config => #{keeper => Keeper}}),
        _ = logger:set_handler_config(default, level, none),
        ok = logger:set_primary_config(level, debug),
        try
            with_pool(maps:merge(#{size => 1, tools => ["log_tools"], log_level => info}, Options), Fun)
        after
            ok = logger:remove_handler(?MODULE),
            ok = logger:set_primary_config(level, Level),
            [logger:set_handler_config(default, level, L) || {ok, #{level := L}} <- [Default]],
            unregister(?MODULE),
            unlink(Keeper),
            exit(Keeper, kill)
        end
    end}.

%% The next record of a logger.
record(Logger) ->
    taken(fun
        (#{meta := #{python_logger := Same}}) -> Same =:= Logger;
        (_) -> false
    end).

%% The next line of an output that has a text in it.
line(Stream, Part) ->
    taken(fun
        (#{meta := #{python := Same}} = Event) -> Same =:= Stream andalso binary:match(text(Event), Part) =/= nomatch;
        (_) -> false
    end).

text(#{msg := {Format, Args}}) -> unicode:characters_to_binary(io_lib:format(Format, Args)).

each_way(Fun) ->
    [
        {lists:concat([Start, " ", When]), Fun(#{start => Start, env => #{"LOG_WHEN" => When}})}
     || Start <- [fork, spawn], When <- ["early", "late"]
    ].

%% ---- Records

a_record_brings_what_python_knows_test_() ->
    each_way(fun(Options) ->
        pool(Options, fun(Pool) ->
            Before = erlang:system_time(microsecond),
            {ok, OsPid} = pitcrew:call(Pool, log, [<<"app.db">>, 40, <<"grüße"/utf8>>]),
            #{level := error, meta := Meta} = Event = record(<<"app.db">>),
            ?assertEqual(<<"grüße"/utf8>>, text(Event)),
            #{file := File, line := Line, time := Time} = Meta,
            ?assertMatch(
                #{pool := pitcrew_test, worker := OsPid, slot := 0, python := logging, domain := [pitcrew, python],
                    python_module := <<"log_tools">>, python_function := <<"log">>},
                Meta
            ),
            ?assertEqual("log_tools.py", filename:basename(File)),
            {ok, Source} = file:read_file(File),
            Named = lists:nth(Line, binary:split(Source, <<"\n">>, [global])),
            ?assertMatch({_, _}, binary:match(Named, <<"the line that the test looks for">>)),
            ?assert(Time > Before - 1_000_000 andalso Time =< erlang:system_time(microsecond))
        end)
    end).

levels_keep_their_order_test_() ->
    pool(#{log_level => debug}, fun(Pool) ->
        Levels = [{10, debug}, {20, info}, {25, notice}, {30, warning}, {40, error}, {50, critical}, {5, none}, {35, warning}, {60, critical}],
        [{ok, _} = pitcrew:call(Pool, log, [<<"levels">>, N, atom_to_binary(Name)]) || {N, Name} <- Levels],
        [
            begin
                #{level := Level} = Event = record(<<"levels">>),
                ?assertEqual({Level, atom_to_binary(Level)}, {Level, text(Event)})
            end
         || {_, Name} <- Levels, Name =/= none
        ]
    end).

%% What is below the level is not even made in Python; the next one that comes is the one that counts.
the_level_is_pythons_test_() ->
    each_way(fun(Options) ->
        pool(Options#{log_level => warning}, fun(Pool) ->
            {ok, _} = pitcrew:call(Pool, log, [<<"quiet">>, 20, <<"info">>]),
            {ok, _} = pitcrew:call(Pool, log, [<<"quiet">>, 30, <<"warning">>]),
            ?assertEqual(<<"warning">>, text(record(<<"quiet">>))),
            ?assertEqual({ok, [30, [<<"pitcrew.logs">>]]}, pitcrew:call(Pool, handlers))
        end)
    end).

without_a_level_nothing_is_changed_test_() ->
    pool(#{log_level => none}, fun(Pool) ->
        ?assertEqual({ok, [30, []]}, pitcrew:call(Pool, handlers)),
        {ok, _} = pitcrew:call(Pool, log, [<<"none">>, 40, <<"as Python does it">>]),
        ?assertEqual(<<"as Python does it">>, text(line(stderr, <<"as Python">>)))
    end).

an_exception_brings_its_traceback_test_() ->
    pool(#{}, fun(Pool) ->
        {ok, nil} = pitcrew:call(Pool, fail_and_log),
        #{level := error} = Event = record(<<"app">>),
        Text = text(Event),
        ?assertMatch(<<"no luck with that\nTraceback (most recent call last):\n", _/binary>>, Text),
        ?assertMatch({_, _}, binary:match(Text, <<"{}[\"missing\"]">>)),
        ?assertMatch({_, _}, binary:match(Text, <<"KeyError: 'missing'">>))
    end).

odd_texts_arrive_as_they_can_test_() ->
    pool(#{}, fun(Pool) ->
        {ok, nil} = pitcrew:call(Pool, odd_texts),
        ?assertEqual(<<"half of \\ud800 a pair">>, text(record(<<"odd">>))),
        Long = text(record(<<"odd">>)),
        ?assert(byte_size(Long) =< 16 * 1024),
        ?assertMatch({_, _}, binary:match(Long, <<"bytes left out">>)),
        %% One that cannot be formatted is what logging says of it, on stderr.
        _ = line(stderr, <<"--- Logging error ---">>),
        ?assertEqual(<<"the end">>, text(record(<<"odd">>)))
    end).

threads_log_too_test_() ->
    pool(#{}, fun(Pool) ->
        {ok, nil} = pitcrew:call(Pool, from_threads, [20]),
        [
            ?assertEqual([integer_to_binary(I) || I <- lists:seq(0, 19)], [text(record(<<"thread", N>>)) || _ <- lists:seq(1, 20)])
         || N <- "0123"
        ]
    end).

%% ---- Where there is no side channel: lines of stderr

before_and_after_a_worker_serves_records_are_lines_test_() ->
    [{atom_to_list(Start), pool(#{start => Start, env => #{"LOG_WHEN" => "early"}}, fun(Pool) ->
        _ = line(stderr, <<"imported">>),
        ?assertEqual(<<"WARNING:early:started">>, text(line(stderr, <<"started">>))),
        %% A worker that was interrupted ends in an orderly way.
        {error, #{kind := timeout}} = pitcrew:call(Pool, wait, [], #{timeout => 1}),
        ?assertEqual(<<"WARNING:early:stopped">>, text(line(stderr, <<"stopped">>)))
    end)} || Start <- [fork, spawn]].

a_forked_child_logs_lines_test_() ->
    pool(#{}, fun(Pool) ->
        ?assertEqual({ok, 0}, pitcrew:call(Pool, from_a_child)),
        ?assertEqual(<<"WARNING:child:from a child">>, text(line(stderr, <<"from a child">>)))
    end).

%% ---- Faults

%% All of it lies in the socket when the worker's process learns of the death.
what_was_logged_before_a_death_arrives_test_() ->
    pool(#{}, fun(Pool) ->
        [Worker] = worker_processes(Pool),
        true = erlang:suspend_process(Worker),
        [{ok, OsPid}, _, _] = [pitcrew:call(Pool, log, [<<"app">>, 50, Text]) || Text <- [<<"one">>, <<"two">>, <<"three">>]],
        ok = pitcrew_test:until(fun() ->
            case pitcrew:call(Pool, unread, []) of
                {ok, N} when N > 0 -> ok;
                Other -> Other
            end
        end),
        pitcrew_test:kill(OsPid),
        ok = pitcrew_test:until(fun() ->
            {messages, Messages} = process_info(Worker, messages),
            case [Exit || {pitcrew_keeper, {exit, _, _} = Exit} <- Messages] of
                [_] -> ok;
                [] -> Messages
            end
        end),
        true = erlang:resume_process(Worker),
        [?assertMatch({Text, #{meta := #{worker := OsPid}}}, {text(Event), Event}) || Text <- [<<"one">>, <<"two">>, <<"three">>], Event <- [record(<<"app">>)]],
        ?assertEqual(ok, replaced(Pool, OsPid)),
        {ok, Next} = pitcrew:call(Pool, log, [<<"app">>, 50, <<"first words">>]),
        ?assertMatch(#{meta := #{worker := Next}}, record(<<"app">>))
    end).

worker_processes(Pool) ->
    {_, Workers, _, _} = lists:keyfind(workers, 1, supervisor:which_children(Pool)),
    [Pid || {_, Pid, _, _} <- supervisor:which_children(Workers)].

replaced(Pool, OsPid) ->
    pitcrew_test:until(fun() ->
        case {whole(Pool), os_pids(Pool)} of
            {ok, [Other]} when Other =/= OsPid -> ok;
            Still -> Still
        end
    end).

%% A tool that closes the alarm delays records until the next heartbeat, no more.
an_alarm_that_a_tool_closes_test_() ->
    pool(#{heartbeat => 50}, fun(Pool) ->
        {ok, nil} = pitcrew:call(Pool, close_everything),
        ?assertEqual([<<"before">>, <<"after">>], [text(record(<<"closing">>)) || _ <- [1, 2]])
    end).

%% The log is stuck, and everybody goes on: the tool, which never waits; other callers; the worker's process, which hears the heartbeats.
%% When the log goes on, each record has arrived or was counted.
a_flood_stops_nobody_and_is_counted_test_() ->
    pool(#{size => 2, heartbeat => 20}, fun(Pool) ->
        Count = 200_000,
        Test = self(),
        Beside = spawn_link(fun() -> Test ! {beside, beside(Pool, 0)} end),
        true = erlang:suspend_process(whereis(?MODULE)),
        ?assertMatch({ok, Seconds} when is_float(Seconds), pitcrew:call(Pool, flood, [Count], #{timeout => 50_000})),
        Beside ! stop,
        receive {beside, Calls} -> ?assert(Calls > 0) end,
        ok = pitcrew_test:until(fun() ->
            case [Worker || #{silent_ms := Silent} = Worker <- maps:get(workers, pitcrew:info(Pool)), Silent > 0] of
                [] -> ok;
                Silent -> Silent
            end
        end),
        true = erlang:resume_process(whereis(?MODULE)),
        {Arrived, Dropped} = flood(Count),
        ?assert(Dropped > Count div 2),
        ?assert(Arrived > 200),
        %% And then all is as before.
        {ok, _} = pitcrew:call(Pool, log, [<<"after">>, 20, <<"the flood">>]),
        ?assertEqual(<<"the flood">>, text(record(<<"after">>)))
    end).

beside(Pool, N) ->
    case pitcrew:call(Pool, handlers, [], #{timeout => 20_000, checkout_timeout => 20_000}) of
        {ok, _} -> receive stop -> N + 1 after 0 -> beside(Pool, N + 1) end
    end.

%% Waits until every record of a flood is accounted for.
flood(Count) ->
    ok = pitcrew_test:until(fun() ->
        Ref = make_ref(),
        ?MODULE ! {flood, self(), Ref},
        receive
            {Ref, {Arrived, Dropped}} when Arrived + Dropped =:= Count -> put(flood, {Arrived, Dropped}), ok;
            {Ref, Other} -> Other
        end
    end),
    erase(flood).
