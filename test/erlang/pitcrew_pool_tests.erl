%% Pools end to end: real Python, a leak gate around every test.
-module(pitcrew_pool_tests).
-include_lib("eunit/include/eunit.hrl").

-export([log/2]).
-import(pitcrew_test, [with_pool/1, with_pool/2]).

%% Every test gets the time that a loaded machine may need for a few interpreters.
test(Fun) -> {timeout, 60, Fun}.

three_in_a_row_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            [?assertEqual({ok, N + 1}, pitcrew:call(Pool, add, [N, 1])) || N <- [1, 2, 3]],
            ?assertEqual([], pitcrew_test:mailbox())
        end)
    end).

arguments_by_place_by_name_and_both_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            ?assertEqual({ok, <<"ab">>}, pitcrew:call(Pool, <<"add">>, [<<"a">>, <<"b">>])),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, #{a => 1, <<"b">> => 2})),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, {[1], #{b => 2}})),
            ?assertEqual({ok, [4, 7]}, pitcrew:call(Pool, scale, {[[1, 2]], #{factor => 3, offset => 1}})),
            ?assertEqual({ok, [<<"()">>, <<"[]">>]}, pitcrew:call(Pool, describe)),
            %% A keyword list is a list of tuples like any other.
            ?assertEqual({ok, [{nil, 1}]}, pitcrew:call(Pool, echo, [[{nil, 1}]])),
            ?assertEqual({ok, [<<"bytes">>, 3]}, pitcrew:call(Pool, size, [pitcrew:bytes(<<0, 255, 1>>)])),
            ?assertEqual({ok, [<<"bytes">>, 2]}, pitcrew:call(Pool, size, [<<"ab">>], [{binaries, bytes}])),
            ?assertEqual({ok, [<<"str">>, 2]}, pitcrew:call(Pool, size, [<<"ab">>])),
            ?assertEqual({ok, undefined}, pitcrew:call(Pool, echo, [undefined], #{nil => undefined}))
        end)
    end).

sixty_four_callers_share_four_workers_test_() ->
    test(fun() ->
        with_pool(#{size => 4}, fun(Pool) ->
            Self = self(),
            Callers = [
                spawn_monitor(fun() -> exit({answers, [pitcrew:call(Pool, echo, [{N, M}]) || M <- lists:seq(1, 50)]}) end)
             || N <- lists:seq(1, 64)
            ],
            Answers = [receive {'DOWN', Ref, process, _, {answers, A}} -> A end || {_, Ref} <- Callers],
            ?assertEqual([[{ok, {N, M}} || M <- lists:seq(1, 50)] || N <- lists:seq(1, 64)], Answers),
            ?assertMatch(#{free := 4, queued := 0, size := 4}, pitcrew:info(Pool)),
            ?assertEqual(64 * 50, lists:sum([Calls || #{calls := Calls} <- maps:get(workers, pitcrew:info(Pool))])),
            ?assertEqual(Self, self())
        end)
    end).

a_large_value_goes_both_ways_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Data = binary:copy(<<"0123456789abcdef">>, 1 bsl 20),
            {ok, Back} = pitcrew:call(Pool, echo, [pitcrew:bytes(Data)]),
            ?assertEqual(erlang:md5(Data), erlang:md5(Back)),
            Rows = [#{<<"id">> => N, <<"name">> => <<"row">>, <<"values">> => [1.5, N, nil]} || N <- lists:seq(1, 20000)],
            ?assertEqual({ok, Rows}, pitcrew:call(Pool, echo, [Rows])),
            ?assertEqual([], pitcrew_test:mailbox())
        end)
    end).

every_error_has_its_kind_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Error = fun(Tool, Args) ->
                {error, #{tool := Id, pool := Pool, message := <<_, _/binary>>} = E} = pitcrew:call(Pool, Tool, Args),
                ?assertEqual(atom_to_binary(Tool), Id),
                E
            end,
            #{kind := tool_error, type := <<"ValueError">>, message := <<"no luck">>, traceback := Traceback} =
                Error(fail, [<<"no luck">>]),
            ?assertMatch({_, _}, binary:match(Traceback, <<"py_tools.py">>)),
            #{kind := unknown_tool, message := Unknown} = Error(ad, [1, 2]),
            ?assertMatch({_, _}, binary:match(Unknown, <<"add">>)),
            ?assertMatch(#{kind := bad_arguments, type := <<"TypeError">>}, Error(add, [1])),
            ?assertMatch(#{kind := bad_arguments}, Error(add, #{a => 1, c => 2})),
            ?assertMatch(#{kind := bad_arguments}, Error(add, 17)),
            ?assertMatch(#{kind := bad_arguments}, Error(add, [1 | 2])),
            ?assertMatch(#{kind := result_error, path := [<<"bad">>, 1]}, Error(unencodable, [])),
            ?assertMatch(#{kind := encode_error, path := [args, 1, 0]}, Error(add, [1, [#{'__struct__' => no_such_struct}]])),
            ?assertMatch(#{kind := encode_error}, Error(add, [1, <<255>>])),
            ?assertMatch(
                {error, #{kind := invalid_option, tool := <<"add">>}}, pitcrew:call(Pool, add, [1, 2], [{timout, 5}])
            ),
            %% Nothing of this cost a worker or a slot.
            ?assertMatch(#{free := 2, workers := [#{state := idle}, #{state := idle}]}, pitcrew:info(Pool)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end).

too_big_is_told_on_either_side_test_() ->
    test(fun() ->
        with_pool(#{max_frame => 4096}, fun(Pool) ->
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, echo, [binary:copy(<<"x">>, 5000)])),
            %% What Python shows of a backslash is longer than what was sent.
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, describe, [binary:copy(<<"\\">>, 3000)])),
            ?assertMatch({ok, _}, pitcrew:call(Pool, echo, [binary:copy(<<"x">>, 3000)])),
            ?assertMatch(#{free := 2}, pitcrew:info(Pool))
        end)
    end).

what_python_runs_in_test_() ->
    test(fun() ->
        with_pool(#{env => [{"PITCREW_A", "ä"}, {"HOME", nil}, {"OMP_NUM_THREADS", "3"}], cd => pitcrew_test:fixtures()}, fun(Pool) ->
            Get = fun(Name) -> element(2, pitcrew:call(Pool, environment, [Name])) end,
            ?assertEqual(<<"ä"/utf8>>, Get(<<"PITCREW_A">>)),
            ?assertEqual(nil, Get(<<"HOME">>)),
            ?assertEqual(<<"3">>, Get(<<"OMP_NUM_THREADS">>)),
            ?assertEqual(<<"1">>, Get(<<"OPENBLAS_NUM_THREADS">>)),
            ?assertEqual(<<"background_thread:false">>, Get(<<"JE_ARROW_MALLOC_CONF">>)),
            ?assertEqual({ok, list_to_binary(pitcrew_test:fixtures())}, pitcrew:call(Pool, folder))
        end)
    end).

tools_and_info_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Tools = maps:from_list([{maps:get(name, Tool), Tool} || Tool <- pitcrew:tools(Pool)]),
            ?assertMatch(
                #{
                    doc := <<"The sum of two values.">>,
                    module := <<"py_tools">>,
                    idempotent := false,
                    kind := <<"function">>,
                    params := [#{name := <<"a">>, required := true, kind := <<"positional_or_keyword">>}, #{name := <<"b">>}]
                },
                maps:get(<<"add">>, Tools)
            ),
            ?assertMatch(#{idempotent := true}, maps:get(<<"echo">>, Tools)),
            Sup = whereis(Pool),
            ?assertMatch(#{name := Pool, size := 2, start := fork, zygote := _, guard := _, port := _}, pitcrew:info(Sup)),
            ?assertEqual({ok, 3}, pitcrew:call(Sup, add, [1, 2])),
            OsPids = [OsPid || #{os_pid := OsPid} <- maps:get(workers, pitcrew:info(Pool))],
            {ok, OsPid} = pitcrew:call(Pool, pid),
            ?assert(lists:member(OsPid, OsPids))
        end)
    end).

a_spawned_pool_works_the_same_test_() ->
    test(fun() ->
        with_pool(#{start => spawn}, fun(Pool) ->
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            ?assertMatch(#{start := spawn}, pitcrew:info(Pool)),
            {ok, OsPid} = pitcrew:call(Pool, pid),
            ?assert(OsPid =/= maps:get(zygote, pitcrew:info(Pool)))
        end)
    end).

python_is_logged_line_by_line_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            ok = logger:add_handler(?MODULE, ?MODULE, #{level => info, config => #{to => self()}}),
            #{level := Level} = logger:get_primary_config(),
            ok = logger:set_primary_config(level, info),
            try
                {ok, OsPid} = pitcrew:call(Pool, pid),
                {ok, nil} = pitcrew:call(Pool, speak, [<<"to you">>, <<"beware ä"/utf8>>]),
                ?assertEqual({info, <<"to you">>, stdout, Pool, OsPid}, logged(stdout)),
                ?assertEqual({warning, <<"beware ä"/utf8>>, stderr, Pool, OsPid}, logged(stderr))
            after
                logger:set_primary_config(level, Level),
                logger:remove_handler(?MODULE)
            end,
            flush_log()
        end)
    end).

%% A logger handler that sends lines of Python to the test.
log(#{level := Level, msg := {Format, Args}, meta := #{python := Stream, pool := Pool, worker := Worker}}, #{config := #{to := To}}) ->
    To ! {logged, Stream, {Level, unicode:characters_to_binary(io_lib:format(Format, Args)), Stream, Pool, Worker}};
log(_, _) ->
    ok.

logged(Stream) ->
    receive
        {logged, Stream, Line} -> Line
    after 10_000 -> nothing
    end.

flush_log() ->
    receive
        {logged, _, _} -> flush_log()
    after 0 -> ok
    end.

%% ---- Starting and stopping

stop_leaves_nothing_and_can_be_followed_by_a_start_test_() ->
    test(fun() ->
        [with_pool(fun(Pool) -> ?assertEqual({ok, N}, pitcrew:call(Pool, echo, [N])) end) || N <- [1, 2]],
        ?assertMatch({error, #{kind := no_pool}}, pitcrew_pool:stop(pitcrew_test)),
        ?assertMatch({error, #{kind := no_pool}}, pitcrew:call(pitcrew_test, add, [1, 2])),
        ?assertError(#{kind := no_pool}, pitcrew:tools(pitcrew_test)),
        ?assertError(#{kind := no_pool}, pitcrew:info(pitcrew_test))
    end).

stop_runs_the_hooks_of_idle_workers_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            File = filename:join(Base, "stopped"),
            Options = pitcrew_test:options(Base, #{tools => ["stop_hook"], env => #{"STOP_HOOK_FILE" => File}}),
            {ok, Sup} = pitcrew_pool:start_link(Options),
            Workers = [OsPid || #{os_pid := OsPid} <- maps:get(workers, pitcrew:info(Sup))],
            ok = pitcrew_pool:stop(Sup),
            {ok, Text} = file:read_file(File),
            ?assertEqual(lists:sort(Workers), lists:sort([binary_to_integer(P) || P <- binary:split(Text, <<"\n">>, [global, trim])])),
            ok = file:delete(File)
        end)
    end).

a_name_is_used_once_test_() ->
    test(fun() ->
        with_pool(fun(Pool) ->
            Sup = whereis(Pool),
            ?assertEqual({error, {already_started, Sup}}, pitcrew_pool:start_link([{name, Pool}]))
        end)
    end).

under_a_supervisor_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            Spec = pitcrew_pool:child_spec(pitcrew_test:options(Base, #{size => 1})),
            {ok, Sup} = pitcrew_test_sup:start_link([Spec]),
            ?assertEqual({ok, 3}, pitcrew:call(pitcrew_test, add, [1, 2])),
            ?assertMatch([{pitcrew_test, _, supervisor, _}], supervisor:which_children(Sup)),
            unlink(Sup),
            ok = gen_server:stop(Sup, shutdown, infinity)
        end)
    end).

start_error(Options) ->
    Result = pitcrew_test:quietly(fun() ->
        pitcrew_test:gated(fun(Base) ->
            pitcrew_pool:start_link(pitcrew_test:options(Base, Options))
        end)
    end),
    ?assertMatch({error, #{message := <<_, _/binary>>}}, Result),
    element(2, Result).

says(Text, #{message := Message}) -> ?assertMatch({_, _}, binary:match(Message, unicode:characters_to_binary(Text))).

a_module_that_does_not_import_test_() ->
    [
        test(fun() ->
            Error = start_error(#{tools => ["py_tools", "does_not_import"], start => Start}),
            ?assertMatch(#{kind := start_error, type := <<"ModuleNotFoundError">>, pool := pitcrew_test}, Error),
            says("a_module_that_nobody_has", Error),
            ?assertMatch({_, _}, binary:match(maps:get(traceback, Error), <<"does_not_import.py">>))
        end)
     || Start <- [fork, spawn]
    ].

a_module_that_is_not_there_test_() ->
    test(fun() ->
        Error = start_error(#{tools => ["py_toolz"]}),
        ?assertMatch(#{kind := start_error, type := <<"ModuleNotFoundError">>}, Error),
        says("py_toolz", Error)
    end).

a_python_that_is_not_there_test_() ->
    test(fun() ->
        Error = start_error(#{python => "/nowhere/bin/python3"}),
        ?assertMatch(#{kind := start_error}, Error),
        says("/nowhere/bin/python3", Error),
        says("no-such-python", start_error(#{python => "no-such-python"}))
    end).

a_python_that_is_none_test_() ->
    test(fun() ->
        Error = start_error(#{python => "/bin/false"}),
        ?assertMatch(#{kind := start_error}, Error),
        says("exited with status 1", Error)
    end).

a_socket_directory_that_cannot_be_made_test_() ->
    test(fun() ->
        Missing = start_error(#{runtime_dir => "/nowhere/at/all"}),
        ?assertMatch(#{kind := start_error}, Missing),
        says("/nowhere/at/all", Missing),
        says("runtime_dir", Missing),
        Long = start_error(#{runtime_dir => "/tmp/" ++ lists:duplicate(100, $x)}),
        says("shorter", Long)
    end).

a_folder_that_is_not_there_test_() ->
    test(fun() -> says("/nowhere/at/all", start_error(#{cd => "/nowhere/at/all"})) end).

an_option_that_is_wrong_test_() ->
    test(fun() ->
        Error = start_error(#{sise => 3}),
        ?assertMatch(#{kind := invalid_option}, Error),
        says("did you mean size?", Error)
    end).

a_start_that_takes_too_long_test_() ->
    [
        test(fun() ->
            Error = start_error(#{tools => ["slow_import"], start_timeout => 300, start => Start}),
            ?assertMatch(#{kind := start_error}, Error),
            says("start_timeout", Error)
        end)
     || Start <- [fork, spawn]
    ].
