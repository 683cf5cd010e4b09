%% What docs/forking.md says of forked workers: libraries with threads, random numbers, hooks and exit functions.
-module(pitcrew_forking_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, with_meeting/2, meet/1, answer/2]).

test(Fun) -> {timeout, 120, Fun}.

says(Text, Message) -> ?assertMatch({_, _}, binary:match(Message, Text)).

%% ---- Models that do not survive a fork

a_model_with_threads_test_() ->
    test(fun() ->
        pitcrew_test:with_library("openmp", "-fopenmp", fun(Library) ->
            Env = [{"OPENMP_LIBRARY", Library}],
            %% As everybody does it, this hangs; where it does not, the rest holds all the same.
            naive(["openmp_model", "predict", "1000"], [{"OMP_NUM_THREADS", "2"} | Env]),
            Options = #{tools => ["openmp_model"], env => Env},
            %% By default the library has no threads when it is forked, since it may have only one.
            predicts(Options#{thread_limits => 1, start => auto}, fork, 1),
            predicts(Options#{thread_limits => 1, start => fork}, fork, 1),
            %% With more it has, so there is no fork.
            predicts(Options#{thread_limits => 2, start => auto}, spawn, 2),
            predicts(Options#{thread_limits => none, env => [{"OMP_NUM_THREADS", "3"} | Env]}, spawn, 3),
            Error = start_error(Options#{thread_limits => 2, start => fork}),
            says(<<"start: fork is impossible">>, maps:get(message, Error)),
            says(<<"(native thread)">>, maps:get(message, Error))
        end)
    end).

predicts(Options, Start, Threads) ->
    with_pool(Options, fun(Pool) ->
        ?assertMatch(#{start := Start}, pitcrew:info(Pool)),
        Calls = [pitcrew:async(Pool, predict, [1000]) || _ <- lists:seq(1, 20)],
        Answers = [pitcrew:await(Call) || Call <- Calls],
        [?assertMatch({ok, [499500, 499500, Threads, _]}, Answer) || Answer <- Answers]
    end).

%% Not everybody who runs the tests has scikit-learn.
a_model_of_scikit_learn_test_() ->
    case python(["-c", "import sklearn"], []) of
        {0, _} -> [test(fun scikit_learn/0)];
        _ -> []
    end.

scikit_learn() ->
    naive(["boosting_model", "predict", "400"], [{"OMP_NUM_THREADS", "2"}]),
    with_pool(#{tools => ["boosting_model"], start => fork}, fun(Pool) ->
        {ok, [Right, _]} = pitcrew:call(Pool, predict, [400]),
        Calls = [pitcrew:async(Pool, predict, [400]) || _ <- lists:seq(1, 10)],
        Answers = [Answer || Call <- Calls, {ok, [Answer, _]} <- [pitcrew:await(Call)]],
        ?assertEqual(lists:duplicate(10, Right), Answers)
    end).

naive(Args, Env) ->
    Path = filename:join([pitcrew_test:fixtures(), "fork_naively.py"]),
    case python([Path | Args], Env) of
        {0, <<"hangs\n">>} -> ok;
        {0, <<"ends\n">>} -> ?debugMsg("on this machine the library survives a fork")
    end.

python(Args, Env) ->
    Python = os:find_executable(os:getenv("PITCREW_PYTHON", "python3")),
    Path = {"PYTHONPATH", pitcrew_python:priv("python") ++ ":" ++ pitcrew_test:fixtures()},
    Port = open_port({spawn_executable, Python}, [{args, Args}, {env, [Path | Env]}, exit_status, binary, stderr_to_stdout]),
    printed(Port, <<>>).

printed(Port, Text) ->
    receive
        {Port, {data, More}} -> printed(Port, <<Text/binary, More/binary>>);
        {Port, {exit_status, Status}} -> {Status, Text}
    end.

start_error(Options) ->
    {error, Error} = pitcrew_test:quietly(fun() ->
        pitcrew_test:gated(fun(Base) -> pitcrew_pool:start_link(pitcrew_test:options(Base, Options)) end)
    end),
    Error.

%% ---- Threads that a module has started

threads_of_an_import_test_() ->
    test(fun() ->
        Error = start_error(#{tools => ["starts_thread"], start => fork}),
        ?assertMatch(#{kind := start_error}, Error),
        says(<<"poller-of-this-test">>, maps:get(message, Error)),
        says(<<"@on_worker_start">>, maps:get(message, Error)),
        with_pool(#{tools => ["starts_thread"], start => auto}, fun(Pool) ->
            ?assertMatch(#{start := spawn}, pitcrew:info(Pool)),
            {ok, Names} = pitcrew:call(Pool, alive),
            ?assert(lists:member(<<"poller-of-this-test">>, Names))
        end)
    end).

%% ---- Random numbers

workers_draw_different_numbers_test_() ->
    test(fun() ->
        case python(["-c", "import numpy"], []) of
            {0, _} -> with_meeting(#{tools => ["random_tools"], size => 4, start => fork}, fun different/3);
            _ -> ok
        end
    end).

different(Pool, Listener, Port) ->
    Calls = [pitcrew:async(Pool, draw, [Port]) || _ <- [1, 2, 3, 4]],
    {Sockets, OsPids} = lists:unzip([meet(Listener) || _ <- Calls]),
    ?assertEqual(4, length(lists:usort(OsPids))),
    [answer(Socket, "x") || Socket <- Sockets],
    Drawn = [begin {ok, Numbers} = pitcrew:await(Call), Numbers end || Call <- Calls],
    Different = maps:map(fun(Way, _) -> length(lists:usort([maps:get(Way, Numbers) || Numbers <- Drawn])) end, hd(Drawn)),
    %% An object that an import has made is its owner's, who may have seeded it on purpose.
    {1, Others} = maps:take(<<"generator of the import">>, Different),
    ?assertEqual(maps:map(fun(_, _) -> 4 end, Others), Others),
    ?assertEqual(9, map_size(Others)).

%% ---- Hooks and exit functions

once_for_each_worker_test_() ->
    [
        test(fun() ->
            Log = pitcrew_test:base() ++ ".log",
            Options = #{tools => ["worker_hooks"], start => Start, size => 3, env => [{"PITCREW_TEST_LOG", Log}]},
            try
                OsPids = with_pool(Options, fun(Pool) ->
                    Workers = pitcrew_test:os_pids(Pool),
                    {ok, nil} = pitcrew:call(Pool, nothing),
                    ?assertEqual([{<<"start">>, Workers}], logged(Log)),
                    Workers
                end),
                Each = [{Word, OsPids} || Word <- [<<"start">>, <<"stop-1">>, <<"stop-2">>, <<"atexit-of-worker">> | OfImport]],
                ?assertEqual(lists:sort(Each), logged(Log))
            after
                file:delete(Log)
            end
        end)
     %% What was registered during the import is the zygote's, unless each worker has imported for itself.
     || {Start, OfImport} <- [{fork, []}, {spawn, [<<"atexit-of-import">>]}]
    ].

%% Each word, and which processes have said it, as often as they have.
logged(Log) ->
    {ok, Text} = file:read_file(Log),
    Lines = [binary:split(Line, <<" ">>) || Line <- binary:split(Text, <<"\n">>, [global, trim])],
    Words = lists:usort([Word || [Word, _] <- Lines]),
    [{Word, lists:sort([binary_to_integer(OsPid) || [W, OsPid] <- Lines, W =:= Word])} || Word <- Words].
