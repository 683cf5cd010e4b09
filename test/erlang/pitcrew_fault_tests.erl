%% Bad input and faults: each gives a clear error, loses no other call, and leaks no process, descriptor or file. Every
%% test runs beside other callers of the same pool whose calls must all come back right.
-module(pitcrew_fault_tests).
-include_lib("eunit/include/eunit.hrl").

-define(POOL, ?MODULE).

%% ---- the tool's own errors

a_tool_that_raises_test_() ->
    faulty("raise_error", <<"add">>, fun() ->
        {error, E} = pitcrew:call(?POOL, fail, [<<"no luck">>]),
        ?assertMatch(#{kind := tool_error, type := <<"raise_error.Broken">>, message := <<"no luck">>, tool := <<"fail">>}, E),
        #{traceback := Traceback} = E,
        ?assertNotEqual(nomatch, binary:match(Traceback, <<"raise Broken(text)">>)),
        ?assertNotEqual(nomatch, binary:match(Traceback, <<"raise_error.py">>)),
        same_worker(E)
    end).

a_tool_that_wants_to_exit_test_() ->
    faulty("raise_error", <<"add">>, fun() ->
        {error, #{kind := tool_error, type := <<"SystemExit">>} = E} = pitcrew:call(?POOL, give_up),
        same_worker(E)
    end).

arguments_that_do_not_fit_test_() ->
    faulty("raise_error", <<"add">>, fun() ->
        {error, #{kind := bad_arguments, type := <<"TypeError">>, message := Missing}} = pitcrew:call(?POOL, add, [1]),
        ?assertNotEqual(nomatch, binary:match(Missing, <<"missing 1 required positional argument: 'b'">>)),
        {error, #{kind := bad_arguments}} = pitcrew:call(?POOL, add, #{a => 1, c => 2}),
        %% From inside the tool it is the tool's error.
        {error, #{kind := tool_error, type := <<"TypeError">>}} = pitcrew:call(?POOL, add, [1, <<"x">>])
    end).

a_tool_that_does_not_exist_test_() ->
    faulty("raise_error", <<"add">>, fun() ->
        {error, #{kind := unknown_tool, message := Message}} = pitcrew:call(?POOL, <<"fial">>, []),
        ?assertNotEqual(nomatch, binary:match(Message, <<"fail">>))
    end).

a_result_that_cannot_be_encoded_test_() ->
    faulty("unencodable", <<"echo">>, fun() ->
        {error, #{kind := result_error, message := Message} = E} = pitcrew:call(?POOL, bad_result),
        ?assertNotEqual(nomatch, binary:match(Message, <<"object">>)),
        ?assertNotEqual(nomatch, binary:match(iolist_to_binary(io_lib:format("~p", [E])), <<"result">>)),
        same_worker(E),
        {error, #{kind := result_error}} = pitcrew:call(?POOL, endless)
    end).

an_argument_that_cannot_be_encoded_test_() ->
    faulty("unencodable", <<"echo">>, fun() ->
        {error, #{kind := encode_error, path := Path}} = pitcrew:call(?POOL, echo, [#{<<"x">> => [1, #{'__struct__' => no_such_struct}]}]),
        ?assertEqual([args, 0, <<"x">>, 1], Path),
        {error, #{kind := encode_error}} = pitcrew:call(?POOL, echo, [<<255>>]),
        {ok, <<255>>} = pitcrew:call(?POOL, echo, [pitcrew:bytes(<<255>>)]),
        {error, #{kind := decode_error, message := Keys}} = pitcrew:call(?POOL, echo, [#{<<"a">> => 1, a => 2}]),
        ?assertNotEqual(nomatch, binary:match(Keys, <<"a">>))
    end).

%% ---- death

os_exit_test_() ->
    faulty("os_exit", <<"echo">>, fun() ->
        {error, #{kind := worker_exit, reason := {status, 3}} = E} = pitcrew:call(?POOL, leave, [3]),
        another_worker(E)
    end).

an_orderly_looking_exit_is_an_exit_too_test_() ->
    faulty("os_exit", <<"echo">>, fun() ->
        {error, #{kind := worker_exit, reason := {status, 0}}} = pitcrew:call(?POOL, leave, [0])
    end).

segfault_test_() ->
    faulty("segfault", <<"echo">>, fun() ->
        {error, #{kind := worker_exit, reason := {signal, sigsegv}} = E} = pitcrew:call(?POOL, crash),
        another_worker(E)
    end).

%% Children made by multiprocessing hold the worker's sockets open until they close them: its death is learned all the same, and
%% they go with it.
a_worker_killed_among_its_forked_children_test_() ->
    faulty("fork_a_lot", <<"echo">>, fun() ->
        File = filename:join("/tmp", "pitcrew-fork-" ++ os:getpid()),
        Self = self(),
        spawn_link(fun() -> Self ! {result, pitcrew:call(?POOL, with_children, [3, list_to_binary(File)])} end),
        [Worker | Children] = read_pids(File),
        ?assertEqual(3, length(Children)),
        pitcrew_test:kill(Worker),
        receive {result, Result} -> ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigkill}}}, Result)
        after 5000 -> error(no_answer)
        end,
        ?assertEqual([], pitcrew_processes:wait_gone([Worker | Children], 1000)),
        {ok, [1, 4, 9]} = pitcrew:call(?POOL, pooled, [[1, 2, 3]]),
        file:delete(File)
    end).

%% What double-forked and left its session still goes with its worker.
a_worker_killed_above_its_daemon_test_() ->
    faulty("stay_behind", <<"echo">>, fun() ->
        {ok, [Worker | _] = Pids} = pitcrew:call(?POOL, start),
        pitcrew_test:kill(Worker),
        ?assertEqual([], pitcrew_processes:wait_gone(Pids, 1000))
    end).

a_timeout_in_c_ends_the_worker_and_what_it_started_test_() ->
    faulty("stay_behind", <<"echo">>, fun() ->
        File = filename:join("/tmp", "pitcrew-timeout-" ++ os:getpid()),
        {error, #{kind := timeout}} = pitcrew:call(?POOL, busy, [<<"compute">>, list_to_binary(File)], #{timeout => 2000}),
        Pids = read_pids(File),
        ?assertEqual([], pitcrew_processes:wait_gone(Pids, 1000)),
        file:delete(File)
    end).

%% ---- output

megabytes_on_stdout_test_() ->
    faulty("print_megabytes", <<"echo">>, fun() -> {ok, 20} = pitcrew:call(?POOL, flood, [20]) end).

garbage_on_both_outputs_test_() ->
    faulty("print_garbage", <<"echo">>, fun() -> {ok, N} = pitcrew:call(?POOL, garbage, [1000]), ?assert(N > 1000 * 64) end).

%% ---- starts that fail

a_module_that_does_not_import_test_() ->
    refused(#{tools => ["does_not_import"]}, fun(#{kind := start_error, traceback := Traceback} = E) ->
        ?assertNotEqual(nomatch, binary:match(Traceback, <<"import a_module_that_nobody_has">>)),
        ?assertMatch(#{type := <<"ModuleNotFoundError">>}, E)
    end).

a_module_that_is_not_there_test_() ->
    refused(#{tools => ["nobody_wrote_this"]}, fun(#{kind := start_error, message := Message}) ->
        ?assertNotEqual(nomatch, binary:match(Message, <<"nobody_wrote_this">>))
    end).

a_python_that_does_not_exist_test_() ->
    refused(#{python => "/nonexistent/python"}, fun(#{kind := start_error, message := Message}) ->
        ?assertNotEqual(nomatch, binary:match(Message, <<"/nonexistent/python">>))
    end).

an_interpreter_without_a_build_test_() ->
    %% Something that runs, but is no Python with _core.
    refused(#{python => "/bin/false"}, fun(#{kind := start_error, message := Message}) ->
        ?assertNotEqual(nomatch, binary:match(Message, <<"status 1">>))
    end).

a_directory_that_cannot_be_made_test_() ->
    refused(#{runtime_dir => "/proc/nothing"}, fun(#{kind := start_error, message := Message}) ->
        ?assertNotEqual(nomatch, binary:match(Message, <<"/proc/nothing">>))
    end).

a_directory_with_too_long_a_name_test_() ->
    refused(#{runtime_dir => "/tmp/" ++ lists:duplicate(120, $x)}, fun(#{kind := start_error, message := Message}) ->
        ?assertNotEqual(nomatch, binary:match(Message, <<"107">>))
    end).

%% ---- the frame of every test

faulty(Module, Echo, Test) ->
    {timeout, 60, {Module, fun() ->
        pitcrew_test:quietly(fun() ->
            pitcrew_test:with_pool(#{name => ?POOL, tools => [Module], size => 3}, fun(?POOL) ->
                Beside = [spawn_monitor(fun() -> exit(beside(Echo, 0)) end) || _ <- [1, 2]],
                try Test()
                after [Pid ! stop || {Pid, _} <- Beside]
                end,
                [receive {'DOWN', Ref, process, Pid, Outcome} -> ?assertMatch({all_right, N} when N > 0, Outcome) end
                 || {Pid, Ref} <- Beside]
            end)
        end)
    end}}.

beside(Echo, N) ->
    Answer = case Echo of
        <<"add">> -> {pitcrew:call(?POOL, Echo, [N, 1]), {ok, N + 1}};
        <<"echo">> -> {pitcrew:call(?POOL, Echo, [[N, <<"same">>]]), {ok, [N, <<"same">>]}}
    end,
    case Answer of
        {Same, Same} -> receive stop -> {all_right, N + 1} after 0 -> beside(Echo, N + 1) end;
        {Wrong, _} -> {wrong, Wrong}
    end.

refused(Options, Check) ->
    {timeout, 60, fun() ->
        pitcrew_test:quietly(fun() ->
            pitcrew_test:gated(fun(Base) ->
                process_flag(trap_exit, true),
                Result = pitcrew_pool:start_link(maps:merge((pitcrew_test:options(Base))#{name => ?POOL, size => 2}, Options)),
                receive {'EXIT', _, _} -> ok after 0 -> ok end,
                process_flag(trap_exit, false),
                ?assertMatch({error, #{kind := start_error}}, Result),
                {error, Error} = Result,
                Check(Error),
                %% For people, too.
                ?assert(iolist_size(pitcrew_error:format(Error)) > 20),
                ?assertMatch({error, #{kind := no_pool}}, pitcrew:call(?POOL, echo, [1]))
            end)
        end)
    end}.

same_worker(#{worker := Worker}) -> ?assert(lists:member(Worker, workers())).

another_worker(#{worker := Worker}) ->
    ?assertEqual(ok, pitcrew_test:until(fun() ->
        Now = workers(),
        case length(Now) =:= 3 andalso not lists:member(Worker, Now) of
            true -> ok;
            false -> Now
        end
    end)).

workers() ->
    #{workers := Workers} = pitcrew:info(?POOL),
    [Pid || #{os_pid := Pid} <- Workers, is_integer(Pid)].

read_pids(File) ->
    ?assertEqual(ok, pitcrew_test:until(fun() -> case filelib:is_file(File) of true -> ok; false -> no_file end end)),
    {ok, Text} = file:read_file(File),
    [binary_to_integer(Pid) || Pid <- binary:split(Text, <<" ">>, [global])].
