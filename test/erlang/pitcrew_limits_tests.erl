%% What a worker is allowed: rlimits, nice, threads of numeric libraries; and modules that are imported beforehand.
-module(pitcrew_limits_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, gated/1, quietly/1, unless_sanitized/1]).

-define(MIB, 1048576).

test(Fun) -> {timeout, 60, Fun}.

each_start(Fun) -> [{atom_to_list(Start), test(fun() -> Fun(Start) end)} || Start <- [fork, spawn]].

pool(Options, Fun) -> with_pool(maps:merge(#{size => 1, tools => ["limit_tools"]}, Options), Fun).

limits_are_set_before_anything_of_the_users_runs_test_() ->
    unless_sanitized(each_start(fun(Start) ->
        Nice = nice(),
        Limits = [{address_space, 4096 * ?MIB}, {cpu, 1000}, {files, 100}],
        pool(#{start => Start, rlimits => Limits, nice => 3}, fun(Pool) ->
            Expected = min(Nice + 3, 19),
            {ok, #{<<"address_space">> := Space, <<"cpu">> := Cpu, <<"files">> := Files, <<"nice">> := Got, <<"at_start">> := AtStart}} =
                pitcrew:call(Pool, limits),
            ?assertEqual({4096 * ?MIB, 1000, 100, Expected}, {Space, Cpu, Files, Got}),
            ?assertEqual(#{<<"files">> => 100, <<"nice">> => Expected}, AtStart)
        end)
    end)).

%% The VM's own: field 19 of stat, the 17th behind the name.
nice() ->
    {ok, Text} = file:read_file("/proc/self/stat"),
    [_, Rest] = binary:split(Text, <<") ">>),
    binary_to_integer(lists:nth(17, binary:split(Rest, <<" ">>, [global]))).

without_options_there_are_no_limits_test_() ->
    test(fun() ->
        Nice = nice(),
        pool(#{}, fun(Pool) ->
            ?assertMatch({ok, #{<<"address_space">> := -1, <<"cpu">> := -1, <<"nice">> := Nice}}, pitcrew:call(Pool, limits))
        end)
    end).

%% One large piece, many small ones that the traceback holds, and a result that is too much on its way out: each is an error that
%% says so, and its worker goes on.
memory_that_runs_out_is_an_error_test_() ->
    unless_sanitized(each_start(fun(Start) ->
        pool(#{start => Start, rlimits => #{address_space => 256 * ?MIB}}, fun(Pool) ->
            {ok, Pid} = pitcrew:call(Pool, pid),
            Large = pitcrew:call(Pool, take, [1024 * ?MIB]),
            ?assertMatch({error, #{kind := tool_error, type := <<"MemoryError">>, traceback := <<_, _/binary>>, worker := Pid}}, Large),
            Small = pitcrew:call(Pool, hoard),
            ?assertMatch({error, #{kind := tool_error, type := <<"MemoryError">>, traceback := <<_, _/binary>>}}, Small),
            ?assertMatch({error, #{kind := result_error, type := <<"MemoryError">>}}, pitcrew:call(Pool, too_much)),
            ?assertEqual({ok, 10 * ?MIB}, pitcrew:call(Pool, take, [10 * ?MIB])),
            ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
        end)
    end)).

files_that_run_out_are_an_error_test_() ->
    each_start(fun(Start) ->
        pool(#{start => Start, rlimits => [{files, 40}]}, fun(Pool) ->
            {ok, Pid} = pitcrew:call(Pool, pid),
            {error, Error} = pitcrew:call(Pool, open_all),
            ?assertMatch(#{kind := tool_error, type := <<"OSError">>, traceback := <<_, _/binary>>, worker := Pid}, Error),
            ?assertMatch({_, _}, binary:match(maps:get(message, Error), <<"[Errno 24] Too many open files">>)),
            ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
        end)
    end).

processor_time_that_runs_out_ends_the_worker_test_() ->
    test(fun() ->
        pool(#{rlimits => #{cpu => 1}}, fun(Pool) ->
            {ok, Pid} = pitcrew:call(Pool, pid),
            Burnt = pitcrew:call(Pool, burn, [], #{timeout => infinity}),
            ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigxcpu}, worker := Pid}}, Burnt),
            {ok, Next} = pitcrew:call(Pool, pid),
            ?assertNotEqual(Pid, Next)
        end)
    end).

limits_that_are_impossible_are_start_errors_test_() ->
    Refused = fun(Options, Texts) ->
        test(fun() ->
            quietly(fun() ->
                gated(fun(Base) ->
                    process_flag(trap_exit, true),
                    All = pitcrew_test:options(Base, Options#{name => ?MODULE, size => 1, tools => ["limit_tools"]}),
                    {error, #{kind := start_error, message := Message}} = pitcrew_pool:start_link(All),
                    receive {'EXIT', _, _} -> ok after 0 -> ok end,
                    process_flag(trap_exit, false),
                    [?assertMatch({_, _}, binary:match(Message, Text)) || Text <- Texts]
                end)
            end)
        end)
    end,
    [
        Refused(#{start => fork, rlimits => [{address_space, ?MIB}]}, [<<"address space">>, <<"limit of 1048576 leaves it no room">>]),
        Refused(#{start => spawn, rlimits => [{address_space, ?MIB}]}, [<<"limit of 1048576 leaves it no room">>])
    ].

%% The libraries read their limits when they load, which is in the zygote or in each worker.
threads_of_numeric_libraries_test_() ->
    Pools = fun(Options) ->
        with_pool(Options#{size => 1, tools => ["thread_limits"]}, fun(Pool) ->
            {ok, Pools} = pitcrew:call(Pool, pools, [], #{timeout => infinity}),
            #{start := Start} = pitcrew:info(Pool),
            {Start, lists:usort(Pools)}
        end)
    end,
    One = [[<<"blas">>, 1], [<<"openmp">>, 1]],
    [
        {"fork", test(fun() -> ?assertEqual({fork, One}, Pools(#{start => fork})) end)},
        {"spawn", test(fun() -> ?assertEqual({spawn, One}, Pools(#{start => spawn})) end)},
        {"three", test(fun() ->
            %% A library of matrices takes no more than there are processors; OpenMP does as it is told.
            {spawn, Three} = Pools(#{start => spawn, thread_limits => 3}),
            ?assert(lists:member([<<"openmp">>, 3], Three))
        end)},
        {"a variable of the user's is stronger", test(fun() ->
            {spawn, Two} = Pools(#{start => spawn, env => #{"OMP_NUM_THREADS" => "2"}}),
            ?assert(lists:member([<<"openmp">>, 2], Two))
        end)}
    ].

modules_that_are_preloaded_test_() ->
    Asked = fun(Start, Expected) ->
        test(fun() ->
            with_pool(#{start => Start, size => 1, preload => [preloaded], tools => ["asks_preloaded"]}, fun(Pool) ->
                ?assertEqual({ok, Expected}, pitcrew:call(Pool, preloaded))
            end)
        end)
    end,
    [
        {"fork: by the zygote", Asked(fork, [true, false, true])},
        {"spawn: by the worker", Asked(spawn, [true, true, false])},
        {"one that does not import", test(fun() ->
            quietly(fun() ->
                gated(fun(Base) ->
                    process_flag(trap_exit, true),
                    Options = #{name => ?MODULE, size => 1, preload => ["nobody_wrote_this"]},
                    {error, #{kind := start_error, message := Message}} = pitcrew_pool:start_link(pitcrew_test:options(Base, Options)),
                    receive {'EXIT', _, _} -> ok after 0 -> ok end,
                    process_flag(trap_exit, false),
                    ?assertMatch({_, _}, binary:match(Message, <<"No module named 'nobody_wrote_this'">>))
                end)
            end)
        end)}
    ].
