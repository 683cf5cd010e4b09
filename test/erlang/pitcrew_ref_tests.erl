%% Objects that stay in a worker, with real pools: what can be done with references to them, and when the objects go.
-module(pitcrew_ref_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2, with_meeting/2, meet/1, answer/2, until/1, os_pids/1, kill/1]).

test(Fun) -> {timeout, 60, Fun}.

options(Options) -> maps:merge(#{tools => ["session_tools"], size => 2}, Options).

both(Fun) -> pitcrew_test:both(options(#{}), Fun).

%% What every worker keeps.
kept(Pool) -> lists:usort([element(2, {ok, _} = kept_by_one(Pool)) || _ <- os_pids(Pool)]).

kept_by_one(Pool) ->
    {ok, Kept} = pitcrew:session(Pool, fun(S) -> pitcrew:call(S, kept) end),
    Kept.

%% References are collected with the processes that have them, or when they collect their garbage.
nothing_kept(Pool) ->
    ?assertEqual(ok, until(fun() ->
        [garbage_collect(Pid) || Pid <- processes()],
        case kept(Pool) of
            [[0, 0]] -> ok;
            Other -> Other
        end
    end)).

in_a_process(Fun) ->
    {_, Ref} = spawn_monitor(fun() -> exit({said, Fun()}) end),
    receive {'DOWN', Ref, process, _, {said, Said}} -> Said; {'DOWN', Ref, process, _, Why} -> error(Why) end.

%% ---- What can be done with one

methods_attributes_and_arguments_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            in_a_process(fun() ->
                {ok, Ref} = pitcrew:call(Pool, counter, [5]),
                ?assertMatch(#{'__struct__' := 'Elixir.Pitcrew.Ref', pool := Pool, type := <<"session_tools.Counter">>}, Ref),
                ?assertEqual({ok, 6}, pitcrew:call(Ref, add)),
                ?assertEqual({ok, 8}, pitcrew:call(Ref, <<"add">>, [2])),
                ?assertEqual({ok, 11}, pitcrew:call(Ref, add, #{k => 3})),
                ?assertEqual({ok, 15}, pitcrew:call(Ref, add, {[], #{k => 4}})),
                ?assertEqual({ok, 15}, pitcrew:attribute(Ref, n)),
                ?assertEqual({ok, <<"counter">>}, pitcrew:attribute(Ref, kind)),
                ?assertEqual({ok, 16}, pitcrew:await(pitcrew:async(Ref, add, []))),
                %% Many times, so that with slots most calls would have gone elsewhere.
                [?assertEqual({ok, 32}, pitcrew:call(Pool, total, [Ref, Ref])) || _ <- lists:seq(1, 20)],
                ?assertEqual({ok, 48}, pitcrew:call(Pool, total, {[Ref], #{a => Ref, b => Ref}})),
                ?assertEqual({ok, [true, true]}, pitcrew:call(Pool, is_same, [[[Ref, Ref], {Ref, Ref}]])),
                {ok, Other} = pitcrew:call(Ref, fork),
                ?assertEqual({ok, [true, false]}, pitcrew:call(Pool, is_same, [[{Other, Other}, {Ref, Other}]])),
                ?assertEqual({ok, 17}, pitcrew:call(Ref, add)),
                ?assertEqual({ok, 16}, pitcrew:attribute(Other, n))
            end),
            nothing_kept(Pool)
        end)
    end).

any_result_can_stay_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            in_a_process(fun() ->
                ?assertMatch({error, #{kind := result_error}}, pitcrew:call(Pool, plain_counter, [3])),
                {ok, Ref} = pitcrew:call(Pool, plain_counter, [3], [{ref, true}]),
                ?assertEqual({ok, 3}, pitcrew:attribute(Ref, n)),
                {ok, Sum} = pitcrew:call(Pool, add, [[1], [2]], #{ref => true}),
                ?assertMatch(#{type := <<"list">>}, Sum),
                ?assertEqual({ok, [1, 2]}, pitcrew:value(Sum)),
                ?assertMatch({error, #{kind := result_error, tool := <<"session_tools.Counter.value">>}}, pitcrew:value(Ref)),
                %% What is one already stays the same.
                {ok, Same} = pitcrew:call(Pool, counter, [4], #{ref => true}),
                ?assertEqual({ok, 4}, pitcrew:attribute(Same, n)),
                {ok, Method} = pitcrew:attribute(Same, add, #{ref => true}),
                ?assertMatch(#{type := <<"method">>}, Method)
            end),
            nothing_kept(Pool)
        end)
    end).

what_python_says_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            {ok, Ref} = pitcrew:call(Pool, counter),
            ?assertMatch({error, #{kind := tool_error, type := <<"AttributeError">>, tool := <<"session_tools.Counter.nothing">>}}, pitcrew:call(Ref, nothing)),
            {error, #{kind := tool_error, type := <<"AttributeError">>, message := Hidden}} = pitcrew:call(Ref, '_hidden'),
            ?assertMatch({_, _}, binary:match(Hidden, <<"begins with an underscore">>)),
            ?assertMatch({error, #{kind := tool_error, type := <<"AttributeError">>}}, pitcrew:attribute(Ref, '__class__')),
            ?assertMatch({error, #{kind := tool_error, type := <<"TypeError">>}}, pitcrew:call(Ref, add, [1, 2, 3])),
            ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:call(Ref, add, 17)),
            ?assertEqual({ok, 1}, pitcrew:call(Ref, add))
        end)
    end).

in_a_session_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            in_a_process(fun() ->
                {ok, S} = pitcrew:start_session(Pool, nil, [{exclusive, true}]),
                {ok, Ref} = pitcrew:call(S, counter, [1]),
                ?assertEqual({ok, 2}, pitcrew:call(S, total, [Ref, Ref])),
                ?assertEqual({ok, 2}, pitcrew:call(Ref, add)),
                {ok, Elsewhere} = pitcrew:call(Pool, counter, [1]),
                {error, #{kind := bad_ref, message := Message, path := [args, 0]}} = pitcrew:call(S, total, [Elsewhere]),
                ?assertMatch({_, _}, binary:match(Message, <<"another worker than its session">>)),
                ok = pitcrew:stop_session(S),
                %% The object is not the session's.
                ?assertEqual({ok, 3}, pitcrew:call(Ref, add))
            end),
            nothing_kept(Pool)
        end)
    end).

%% ---- What cannot be done

objects_of_two_workers_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            {ok, {One, Two}} = pitcrew:session(Pool, fun(A) ->
                {ok, Both} = pitcrew:session(Pool, fun(B) ->
                    {ok, One} = pitcrew:call(A, counter, [1]),
                    {ok, Two} = pitcrew:call(B, counter, [2]),
                    {One, Two}
                end),
                Both
            end),
            [
                begin
                    {error, #{kind := bad_ref, message := Message, path := Path}} = pitcrew:call(Pool, total, Args),
                    ?assertMatch({_, _}, binary:match(Message, <<"in two workers">>)),
                    ?assertEqual(Where, Path)
                end
             || {Args, Where} <- [{[One, Two], [args, 1]}, {{[Two], #{a => One}}, [kwargs, a]}]
            ],
            ?assertMatch({error, #{kind := bad_ref}}, pitcrew:call(One, add, [Two])),
            ?assertEqual({ok, 2}, pitcrew:call(Pool, total, [One, One]))
        end)
    end).

its_worker_is_gone_test_() ->
    both(fun(Options) ->
        with_pool(Options, fun(Pool) ->
            {ok, Ref} = pitcrew:call(Pool, counter, [1]),
            Before = os_pids(Pool),
            [kill(Pid) || Pid <- Before],
            ?assertEqual(ok, until(fun() ->
                case [Pid || Pid <- os_pids(Pool), lists:member(Pid, Before)] of
                    [] -> pitcrew_test:whole(Pool);
                    Still -> Still
                end
            end)),
            [
                begin
                    {error, #{kind := bad_ref, message := Message}} = Used,
                    ?assertMatch({_, _}, binary:match(Message, <<"the worker that had it has ended">>))
                end
             || Used <- [pitcrew:call(Ref, add), pitcrew:attribute(Ref, n), pitcrew:value(Ref), pitcrew:call(Pool, total, [Ref])]
            ]
        end)
    end).

%% Its calls that wait are told; the one that runs dies with it.
its_worker_dies_in_between_test_() ->
    both(fun(#{pipeline := Depth} = Options) ->
        with_meeting(Options#{size => 1}, fun(Pool, Listener, Port) ->
            {ok, Ref} = pitcrew:call(Pool, counter, [1]),
            Running = pitcrew:async(Pool, meet, [Port, Ref]),
            {Socket, Pid} = meet(Listener),
            Calls = [pitcrew:async(Ref, add) || _ <- lists:seq(1, 2 * Depth)],
            ?assertEqual(ok, until(fun() ->
                case pitcrew:info(Pool) of
                    #{queued := N} when N >= Depth -> ok;
                    #{queued := N} -> N
                end
            end)),
            kill(Pid),
            gen_tcp:close(Socket),
            ?assertMatch({error, #{kind := worker_exit}}, pitcrew:await(Running)),
            [?assertMatch({error, #{kind := bad_ref}}, pitcrew:await(Call)) || Call <- Calls],
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end).

another_pool_and_another_vm_test_() ->
    test(fun() ->
        with_pool(options(#{}), fun(Pool) ->
            {ok, Ref} = pitcrew:call(Pool, counter, [1]),
            with_pool(options(#{name => another}), fun(Another) ->
                {error, #{kind := bad_ref, message := Message}} = pitcrew:call(Another, total, [Ref]),
                ?assertMatch({_, _}, binary:match(Message, <<"another pool">>))
            end),
            %% What a handle of another VM is here: a reference, and nothing behind it.
            Foreign = Ref#{handle := make_ref()},
            {error, #{kind := encode_error, message := Foreigner}} = pitcrew:call(Foreign, add),
            {error, #{kind := encode_error, message := Foreigner}} = pitcrew:call(Pool, total, [Foreign]),
            ?assertMatch({_, _}, binary:match(Foreigner, <<"another VM">>)),
            ?assertMatch({error, #{kind := encode_error}}, pitcrew:call(Pool, total, [maps:remove(type, Ref)])),
            ?assertMatch({error, #{kind := no_pool}}, pitcrew:call(Ref#{pool := no_such_pool}, add))
        end),
        pitcrew_test:gated(fun(Base) ->
            #{name := Name} = Options = pitcrew_test:options(Base, options(#{})),
            in_a_process(fun() ->
                {ok, _} = pitcrew_pool:start_link(Options),
                {ok, Ref} = pitcrew:call(Name, counter, [1]),
                ok = pitcrew_pool:stop(Name),
                ?assertMatch({error, #{kind := no_pool}}, pitcrew:call(Ref, add)),
                %% A new pool of that name has other workers.
                {ok, _} = pitcrew_pool:start_link(Options),
                {error, #{kind := bad_ref}} = pitcrew:call(Ref, add),
                ok = pitcrew_pool:stop(Name)
            end)
        end)
    end).

json_has_no_place_for_them_test_() ->
    pitcrew_test:if_json(
        test(fun() ->
            with_pool(options(#{}), fun(Pool) ->
                {ok, Ref} = pitcrew:call(Pool, counter, [1]),
                [
                    begin
                        {error, #{message := Message}} = Used,
                        ?assertMatch({Message, {_, _}}, {Message, binary:match(Message, <<"JSON">>)})
                    end
                 || Used <- [
                        pitcrew:call(Pool, counter, [1], #{protocol => json}),
                        pitcrew:call(Ref, add, [1], #{protocol => json}),
                        pitcrew:call(Pool, total, [Ref], #{protocol => json})
                    ]
                ],
                ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Pool, add, [1, 2], #{protocol => json, ref => true}))
            end)
        end)
    ).

outside_of_calls_test() ->
    Ref = #{'__struct__' => 'Elixir.Pitcrew.Ref', handle => make_ref(), pool => p, type => <<"t">>},
    ?assertMatch({error, #{kind := encode_error}}, pitcrew_nif:encode([Ref], #{})),
    {error, #{kind := decode_error, message := Message}} = pitcrew_nif:decode(<<16#c7, 5, 14, 16#93, 1, 0, 16#a1, $t>>, #{}),
    ?assertMatch({_, _}, binary:match(Message, <<"not in the answer to a call">>)).

%% ---- When the objects go

ten_thousand_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 1}, fun(Pool) ->
            in_a_process(fun() ->
                Refs = [element(2, {ok, _} = pitcrew:call(Pool, counter, [N])) || N <- lists:seq(1, 5_000)],
                {ok, More} = pitcrew:call(Pool, counters, [5_000]),
                ?assertEqual([[0, 10_000]], kept(Pool)),
                ?assertEqual({ok, 5_000}, pitcrew:attribute(lists:last(Refs), n)),
                ?assertEqual({ok, 4_999}, pitcrew:attribute(maps:get(<<"counter">>, lists:last(More)), n))
            end),
            nothing_kept(Pool),
            ?assertMatch(#{refs := 0}, pitcrew_nif:live())
        end)
    end).

one_of_many_goes_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 1}, fun(Pool) ->
            {ok, All} = pitcrew:call(Pool, counters, [10]),
            Keep = [maps:get(<<"counter">>, C) || #{<<"i">> := I} = C <- All, I =:= 3],
            Last = lists:last(All),
            ?assertEqual([[0, 10]], kept(Pool)),
            ?assertEqual(10, length(All)), %% alive until here
            put(keep, Keep),
            ?assertEqual({ok, 9}, pitcrew:attribute(maps:get(<<"counter">>, Last), n)),
            erase_all_but_keep(),
            ?assertEqual(ok, until(fun() ->
                garbage_collect(),
                case kept(Pool) of
                    [[0, 1]] -> ok;
                    Other -> Other
                end
            end)),
            ?assertEqual({ok, 3}, pitcrew:attribute(hd(get(keep)), n)),
            erase(keep),
            ok
        end)
    end).

%% A place of its own, so that the list is not live any more when it returns.
erase_all_but_keep() -> ok.

copies_share_the_object_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 1}, fun(Pool) ->
            Holder = spawn(fun() -> receive {hold, Ref} -> receive {use, From} -> From ! {used, pitcrew:call(Ref, add)}, receive stop -> ok end end end end),
            in_a_process(fun() ->
                {ok, Ref} = pitcrew:call(Pool, counter, [1]),
                Holder ! {hold, Ref}
            end),
            [garbage_collect(Pid) || Pid <- processes()],
            ?assertEqual([[0, 1]], kept(Pool)),
            Holder ! {use, self()},
            ?assertEqual({ok, 2}, receive {used, Used} -> Used end),
            Holder ! stop,
            nothing_kept(Pool)
        end)
    end).

%% Answers that nobody gets, or that cannot be read.
answers_that_are_lost_test_() ->
    both(fun(Options) ->
        with_pool(Options#{size => 1, max_frame => 100_000}, fun(Pool) ->
            in_a_process(fun() ->
                ?assertMatch({error, #{kind := decode_error}}, pitcrew:call(Pool, broken_answer, [20])),
                ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, too_many, [10_000])),
                {ok, [Ref, Text]} = pitcrew:call(Pool, large_answer, [80_000]),
                ?assertEqual(80_000, byte_size(Text)),
                ?assertEqual({ok, 2}, pitcrew:call(Ref, add))
            end),
            nothing_kept(Pool)
        end)
    end).

whoever_gives_up_leaves_no_objects_test_() ->
    [
        test(fun() ->
            with_meeting(options(#{pipeline => Depth, size => 1, on_caller_exit => finish, grace => 5_000}), fun(Pool, Listener, Port) ->
                {Caller, Ref} = spawn_monitor(fun() -> pitcrew:call(Pool, meet, [Port], #{ref => true}) end),
                {Socket, _} = meet(Listener),
                exit(Caller, kill),
                receive {'DOWN', Ref, process, _, killed} -> ok end,
                answer(Socket, "x"),
                nothing_kept(Pool)
            end)
        end)
     || Depth <- [1, 4]
    ].

%% The last reference goes while a call that has it is on its way: the object is there all the same.
the_last_use_of_a_reference_test_() ->
    both(fun(Options) ->
        with_meeting(Options#{size => 1}, fun(Pool, Listener, Port) ->
            Busy = pitcrew:async(Pool, meet, [Port]),
            {Socket, _} = meet(Listener),
            _ = Busy,
            answer(Socket, "x"),
            {ok, <<"x">>} = pitcrew:await(Busy),
            in_a_process(fun() ->
                [
                    begin
                        {ok, Ref} = pitcrew:call(Pool, counter, [N]),
                        ?assertEqual({ok, N}, pitcrew:call(Pool, total, [Ref])),
                        garbage_collect()
                    end
                 || N <- lists:seq(1, 200)
                ]
            end),
            nothing_kept(Pool)
        end)
    end).

%% Ten times: it hears of what is collected, and looks whether that was the last, while the VM still collects.
a_worker_that_is_replaced_stays_for_its_objects_test_() -> [stays_for_objects() || _ <- lists:seq(1, 10)].

stays_for_objects() ->
    both(fun(Options) ->
        with_pool(Options#{size => 1, max_calls => 3}, fun(Pool) ->
            Old = in_a_process(fun() ->
                {ok, Ref} = pitcrew:call(Pool, counter, [0]),
                {ok, Old} = pitcrew:call(Pool, pid),
                ?assertEqual(ok, until(fun() ->
                    case pitcrew:call(Pool, pid) of
                        {ok, Old} -> Old;
                        {ok, _} -> ok
                    end
                end)),
                [?assertEqual({ok, N}, pitcrew:call(Ref, add)) || N <- lists:seq(1, 10)],
                Old
            end),
            ?assertEqual(ok, until(fun() ->
                [garbage_collect(Pid) || Pid <- processes()],
                case lists:member(Old, os_pids(Pool)) of
                    false -> ok;
                    true -> Old
                end
            end))
        end)
    end).
