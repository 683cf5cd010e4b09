%% Tools of the VM, which Python calls by their names, on every sort of pool: who finds which, what they are given, what ends them, and calls that they
%% make themselves.
-module(pitcrew_tools_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").
-import(pitcrew_test, [with_pool/2, chunks/1, is/2, is_gone/1]).

-export([test/1, on_each_pool/2, waiting/0, inside/0, refused/1, text/1]).

-define(TOOLS, ["vm_tools"]).

test(Fun) -> {timeout, 60, Fun}.

on_each_pool(Options, Fun) -> pitcrew_test:on_each_pool(Options#{tools => ?TOOLS}, Fun).

%% A function that says where it runs, and waits.
waiting() ->
    Self = self(),
    fun() -> Self ! {inside, self()}, receive go -> done end end.

inside() -> receive {inside, Pid} -> Pid after 10_000 -> error(not_called) end.

refused({error, #{kind := Kind}}) when Kind =/= timeout -> ok;
refused(Other) -> Other.

text({ok, Atom}) when is_atom(Atom) -> {ok, atom_to_binary(Atom)};
text(Other) -> Other.

names(Where) -> [Name || #{name := Name} <- pitcrew:registered_tools(Where)].

%% ---- Values

what_a_tool_is_given_and_gives_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        Terms = [nil, true, 0, -1, 1 bsl 100, 1.5, <<"Zoë"/utf8>>, [1, [2]], {a, {}}, #{<<"k">> => [nil]}, self(), make_ref(), binary:copy(<<"x">>, 300_000)],
        [?assertEqual({ok, Term}, pitcrew:call(Pool, Tool, [same, Term])) || Tool <- [ask, async_ask], Term <- Terms],
        ?assertEqual({ok, [0, 1, 2, 3]}, pitcrew:call(Pool, many, [same, 4])),
        ?assertEqual({ok, [0, 1, 2, 3]}, pitcrew:call(Pool, gathered, [same, 4])),
        ?assertEqual({ok, 5}, pitcrew:call(Pool, in_a_task, [same, 5])),
        ?assertEqual([], pitcrew_test:mailbox())
    end).

%% 16 MiB each way: the first frame that the caller finds is too large to be read where it is.
what_is_large_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Much = binary:copy(<<"0123456789abcdef">>, 1 bsl 20),
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        ok = pitcrew:register_tool(Pool, size, fun erlang:byte_size/1),
        [?assertEqual({ok, Much}, pitcrew:call(Pool, Tool, [same, Much])) || Tool <- [ask, async_ask]],
        ?assertEqual({ok, 1 bsl 24}, pitcrew:call(Pool, ask, [size, Much]))
    end).

what_is_given_by_name_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Show = fun(A, B) -> {A, B} end,
        ok = pitcrew:register_tool(Pool, named, Show, #{parameters => [a, "b"]}),
        ok = pitcrew:register_tool(Pool, unnamed, Show),
        By = fun(Tool, Args, Named) -> pitcrew:call(Pool, caught, {[Tool | Args], Named}) end,
        ?assertEqual({ok, [<<"value">>, {1, 2}]}, By(named, [1, 2], #{})),
        ?assertEqual({ok, [<<"value">>, {1, 2}]}, By(named, [1], #{b => 2})),
        ?assertEqual({ok, [<<"value">>, {1, 2}]}, By(named, [], #{b => 2, a => 1})),
        ?assertEqual({ok, [<<"value">>, {1, #{<<"b">> => 2}}]}, By(unnamed, [1], #{b => 2})),
        ?assertEqual({ok, {1, 2}}, pitcrew:call(Pool, ask_with, [named, #{a => 1, <<"b">> => 2}])),
        Wrong = fun(Args, Named) -> {ok, [<<"error">>, <<"bad_arguments">>, nil, Message, nil]} = By(named, Args, Named), Message end,
        ?assertEqual(<<"named needs b as well">>, Wrong([], #{a => 1})),
        ?assertMatch({match, _}, re:run(Wrong([], #{a => 1, c => 1}), "takes a, b; given by name was c")),
        ?assertMatch({match, _}, re:run(Wrong([1, 2], #{b => 1}), "given by name was b")),
        ?assertMatch({match, _}, re:run(Wrong([1, 2, 3], #{}), "takes 2 arguments"))
    end).

%% ---- Who finds which

a_tool_is_there_at_once_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, [<<"error">>, <<"unknown_tool">>, nil, <<"there is no tool search, nor any other">>, nil]} = pitcrew:call(Pool, caught, [search]),
        ok = pitcrew:register_tool(Pool, <<"search">>, fun(Query) -> [Query] end, [{parameters, [query]}]),
        %% By a name that Python knew before there was any call.
        ?assertEqual({ok, [[<<"beam">>], [<<"beam">>]]}, pitcrew:call(Pool, searched, [<<"beam">>])),
        %% In a call that runs.
        ok = pitcrew:register_tool(Pool, register, fun(Name) -> pitcrew:register_tool(Pool, Name, fun() -> atom_to_binary(Name) end) end),
        ?assertEqual({ok, [ok, <<"value">>, <<"later">>]}, pitcrew:call(Pool, registers, [register, later])),
        ok = pitcrew:unregister_tool(Pool, search),
        {ok, [<<"error">>, <<"unknown_tool">>, nil, Message, nil]} = pitcrew:call(Pool, caught, [search]),
        ?assertEqual(<<"there is no tool search; there are: later, register">>, Message),
        ok = pitcrew:unregister_tool(Pool, search)
    end).

one_that_is_taken_out_while_it_runs_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, wait, waiting()),
        Call = pitcrew:async(Pool, ask, [wait]),
        Pid = inside(),
        ok = pitcrew:unregister_tool(Pool, wait),
        Pid ! go,
        ?assertEqual({ok, done}, pitcrew:await(Call)),
        ?assertMatch({ok, [<<"error">>, <<"unknown_tool">> | _]}, pitcrew:call(Pool, caught, [wait]))
    end).

a_name_that_is_taken_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
            ok = pitcrew:register_tool(Pool, one, fun() -> 1 end),
            ?assertMatch({error, #{kind := invalid_option}}, pitcrew:register_tool(Pool, "one", fun() -> 2 end)),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, ask, [one])),
            ok = pitcrew:register_tool(Pool, one, fun() -> 2 end, [replace]),
            ?assertEqual({ok, 2}, pitcrew:call(Pool, ask, [one]))
        end)
    end).

whoever_has_registered_it_may_end_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
            Self = self(),
            Pid = spawn(fun() -> Self ! {registered, pitcrew:register_tool(Pool, one, fun() -> 1 end)} end),
            receive {registered, ok} -> is_gone(Pid) end,
            ?assertEqual({ok, 1}, pitcrew:call(Pool, ask, [one]))
        end)
    end).

%% It is started anew within the pool, which goes on.
a_keeper_that_ends_takes_none_along_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, cache => true}, fun(Pool) ->
            ok = pitcrew:register_tool(Pool, one, fun() -> 1 end),
            {keeper, Keeper, _, _} = lists:keyfind(keeper, 1, supervisor:which_children(Pool)),
            pitcrew_test:quietly(fun() -> sys:terminate(Keeper, crashed) end),
            is_gone(Keeper),
            ?assertEqual(ok, pitcrew_test:until(fun() -> is({ok, 1}, pitcrew:call(Pool, ask, [one])) end))
        end)
    end).

of_a_session_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, who, fun() -> pool end),
        ok = pitcrew:register_tool(Pool, mine, fun() -> pool end),
        {ok, Session} = pitcrew:start_session(Pool, cart),
        ok = pitcrew:register_tool(Session, who, fun() -> session end),
        ok = pitcrew:register_tool({Pool, cart}, only, fun() -> session end),
        ?assertEqual({ok, session}, pitcrew:call(Session, ask, [who])),
        ?assertEqual({ok, session}, pitcrew:call(Session, async_ask, [only])),
        ?assertEqual({ok, pool}, pitcrew:call(Session, ask, [mine])),
        ?assertEqual({ok, pool}, pitcrew:call(Pool, ask, [who])),
        ?assertMatch({ok, [<<"error">>, <<"unknown_tool">> | _]}, pitcrew:call(Pool, caught, [only])),
        ?assertEqual([<<"mine">>, <<"only">>, <<"who">>], names(Session)),
        ?assertEqual([<<"mine">>, <<"who">>], names(Pool)),
        ?assertMatch(#{session := true}, hd([T || #{name := <<"who">>} = T <- pitcrew:registered_tools(Session)])),
        ok = pitcrew:stop_session(Session),
        ?assertMatch({error, #{kind := no_session}}, pitcrew:register_tool(Session, late, fun() -> 1 end)),
        %% Another of the same name has none of them.
        {ok, Next} = pitcrew:start_session(Pool, cart),
        ?assertEqual([<<"mine">>, <<"who">>], names(Next))
    end).

nothing_of_a_session_is_left_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
            {ok, #pool{registry = Table}} = pitcrew_pools:find(Pool),
            Rows = fun() -> ets:info(Table, size) end,
            {ok, _} = pitcrew:session(Pool, fun(S) -> ok = pitcrew:register_tool(S, a, fun() -> 1 end), ?assertEqual(1, Rows()) end),
            ?assertEqual(ok, pitcrew_test:until(fun() -> is(0, Rows()) end))
        end)
    end).

of_all_pools_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, Id} = pitcrew_tools:register_for_all(fun(X) -> {id, X} end, []),
        {ok, <<"everywhere">>} = pitcrew_tools:register_for_all(fun(X) -> {named, X} end, #{name => everywhere}),
        try
            ?assertEqual({ok, {id, 1}}, pitcrew:call(Pool, ask, [Id, 1])),
            ?assertEqual({ok, {named, 1}}, pitcrew:call(Pool, async_ask, [everywhere, 1])),
            ?assertEqual([<<"everywhere">>], names(Pool)),
            ?assertMatch({error, #{kind := invalid_option}}, pitcrew_tools:register_for_all(fun() -> 1 end, [{name, "everywhere"}])),
            ok = pitcrew:register_tool(Pool, everywhere, fun(_) -> here end),
            ?assertEqual({ok, here}, pitcrew:call(Pool, ask, [everywhere, 1]))
        after
            ok = pitcrew_tools:unregister_for_all(Id),
            ok = pitcrew_tools:unregister_for_all(<<"everywhere">>)
        end,
        ?assertMatch({ok, [<<"error">>, <<"unknown_tool">> | _]}, pitcrew:call(Pool, caught, [Id, 1])),
        ?assertEqual({ok, here}, pitcrew:call(Pool, ask, [everywhere, 1]))
    end).

what_python_knows_of_them_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Schema = #{<<"type">> => <<"object">>, <<"properties">> => #{<<"q">> => #{<<"type">> => <<"string">>}}},
        ok = pitcrew:register_tool(Pool, search, fun(Q) -> Q end, #{doc => "Searches.", schema => Schema, parameters => [q], idempotent => true}),
        ok = pitcrew:register_tool(Pool, nth, fun lists:nth/2),
        {ok, [Nth, Search]} = pitcrew:call(Pool, known),
        ?assertEqual({ok, [Nth, Search]}, pitcrew:call(Pool, async_known)),
        ?assertMatch(#{<<"name">> := <<"search">>, <<"doc">> := <<"Searches.">>, <<"schema">> := Schema, <<"parameters">> := [<<"q">>], <<"idempotent">> := true}, Search),
        ?assertMatch(#{<<"parameters">> := [<<"n">>, <<"list">>], <<"schema">> := #{<<"properties">> := #{<<"n">> := #{<<"type">> := <<"integer">>}}}}, Nth),
        ?assertEqual({ok, c}, pitcrew:call(Pool, ask, {[nth], #{n => 3, list => [a, b, c]}})),
        ?assertEqual({ok, [<<"nth">>, <<"search">>, <<"tools">>]}, pitcrew:call(Pool, listed)),
        ?assertMatch({ok, <<"'_private' begins with an underscore", _/binary>>}, pitcrew:call(Pool, attribute_error))
    end).

what_is_wrong_is_refused_test() ->
    with_pool(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
        Refused = fun(Name, Function, Options) ->
            {error, #{kind := invalid_option, message := Message}} = pitcrew:register_tool(Pool, Name, Function, Options),
            Message
        end,
        One = fun(_) -> 1 end,
        [
            ?assertMatch({match, _}, re:run(Refused(Name, One, []), "the name of a tool"))
         || Name <- [<<>>, nil, undefined, <<255>>, 1, {a}, <<"pitcrew:send">>, binary:copy(<<"x">>, 256), ""]
        ],
        ?assertMatch({match, _}, re:run(Refused(a, not_a_function, []), "is a function")),
        [
            ?assertMatch({match, _}, re:run(Refused(a, One, Options), Text))
         || {Options, Text} <- [
                {#{parameters => [a, b]}, "names 2 arguments, and the function takes 1"},
                {#{parameters => [a, a]}, "different names"},
                {#{parameters => [<<>>]}, "different names"},
                {#{schema => [a]}, "JSON schema"},
                {#{schema => #{a => <<255>>}}, "JSON schema"},
                {#{timeout => -1}, "milliseconds"},
                {#{idempotent => maybe}, "one of"},
                {#{timout => 1}, "did you mean timeout"}
            ]
        ],
        ?assertEqual([], names(Pool)),
        ?assertMatch({error, #{kind := no_pool}}, pitcrew:register_tool(no_such_pool, a, One)),
        ?assertMatch({error, #{kind := no_pool}}, pitcrew:unregister_tool(no_such_pool, a)),
        ?assertMatch({error, #{kind := no_session}}, pitcrew:register_tool({Pool, nobody}, a, One)),
        ?assertError(#{kind := no_pool}, pitcrew:registered_tools(no_such_pool))
    end).

%% ---- Where it runs

a_process_of_its_own_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, where, fun() -> {self(), get('$callers'), group_leader()} end),
        {ok, {Pid, Callers, Leader}} = pitcrew:call(Pool, ask, [where]),
        ?assertNotEqual(self(), Pid),
        ?assertEqual([self()], Callers),
        ?assertEqual(group_leader(), Leader)
    end).

threads_of_the_tools_own_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, Way) ->
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        ?assertEqual({ok, lists:seq(0, 9)}, pitcrew:call(Pool, in_threads, [same, 10])),
        %% Where many calls run, a thread must be told which is its own.
        Expected = case Way of #{concurrency := _} -> [<<"error">>, <<"gone">>]; _ -> [<<"value">>, 1] end,
        {ok, Named} = pitcrew:call(Pool, named_in_a_thread, [same, 1]),
        ?assertEqual(Expected, lists:sublist(Named, 2))
    end).

a_process_that_a_tool_forks_cannot_call_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        {ok, Said} = pitcrew:call(Pool, in_a_fork, [same, 1]),
        ?assertMatch({match, _}, re:run(Said, "forked"))
    end).

%% It is a name, and good in every call.
what_was_kept_is_good_in_the_next_call_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
        ?assertEqual({ok, <<"<pitcrew.Function 'same'>">>}, pitcrew:call(Pool, keep, [same])),
        ?assertEqual({ok, [<<"value">>, 1]}, pitcrew:call(Pool, call_kept, [1])),
        ?assertEqual({ok, [<<"value">>, 2]}, pitcrew:call(Pool, call_kept, [2]))
    end).

workers_that_are_spawned_test_() ->
    test(fun() ->
        [
            with_pool(#{tools => ?TOOLS, size => 1, start => Start}, fun(Pool) ->
                ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, ask, [same, 1]))
            end)
         || Start <- [fork, spawn]
        ]
    end).

%% The slot goes back, and others have it afterwards.
slots_are_free_again_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 2, max_queue => 0}, fun(Pool) ->
            ok = pitcrew:register_tool(Pool, same, fun(X) -> X end),
            [
                begin
                    ?assertEqual({ok, N}, pitcrew:call(Pool, ask, [same, N])),
                    ?assertEqual({ok, N}, pitcrew:call(Pool, echo, [N]))
                end
             || N <- lists:seq(1, 50)
            ],
            ?assertEqual(ok, pitcrew_test:until(fun() -> is(2, maps:get(free, pitcrew:info(Pool))) end)),
            ?assertEqual([], pitcrew_test:mailbox())
        end)
    end).

callers_that_wait_meanwhile_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, wait, waiting()),
        Call = pitcrew:async(Pool, ask, [wait]),
        Pid = inside(),
        Others = [pitcrew:async(Pool, echo, [N]) || N <- lists:seq(1, 20)],
        Pid ! go,
        ?assertEqual({ok, done}, pitcrew:await(Call)),
        ?assertEqual([{ok, N} || N <- lists:seq(1, 20)], [pitcrew:await(Other) || Other <- Others])
    end).

%% ---- Errors

what_a_tool_raises_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                ok = pitcrew:register_tool(Pool, bad, Function, [replace]),
                {ok, [<<"error">>, Kind, _, Message, Trace]} = pitcrew:call(Pool, Tool, [bad]),
                ?assertEqual(Expected, Kind),
                ?assertMatch({match, _}, re:run(Message, Text)),
                ?assertMatch({match, _}, re:run(Trace, "pitcrew_tools_tests"))
            end
         || Tool <- [caught, async_caught],
            {Expected, Text, Function} <- [
                {<<"error">>, "boom|{bad,1}|bad", fun() -> error({bad, 1}) end},
                {<<"throw">>, "thrown", fun() -> throw(thrown) end},
                {<<"exit">>, "over", fun() -> exit(over) end}
            ]
        ],
        ok = pitcrew:register_tool(Pool, killed, fun() -> exit(self(), kill), receive never -> ok end end),
        {ok, [_, <<"exit">>, nil, Killed, nil]} = pitcrew:call(Pool, caught, [killed]),
        ?assertMatch({match, _}, re:run(Killed, "killed")),
        ok = pitcrew:register_tool(Pool, unsendable, fun() -> <<255>> end),
        ?assertMatch({ok, [_, <<"result_error">> | _]}, pitcrew:call(Pool, caught, [unsendable])),
        %% What is not caught is the error of the call.
        ?assertMatch({error, #{kind := tool_error, type := <<"pitcrew.ElixirError">>}}, pitcrew:call(Pool, ask, [bad]))
    end).

how_long_a_tool_may_take_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, slow, waiting()),
        ok = pitcrew:register_tool(Pool, limited, waiting(), #{timeout => 20}),
        {ok, [<<"error">>, <<"timeout">>, nil, <<"the function took longer than 20 ms">>, nil]} = pitcrew:call(Pool, caught, [limited]),
        is_gone(inside()),
        {ok, [<<"error">>, <<"timeout">>, nil, <<"the function took longer than 30 ms">>, nil]} =
            pitcrew:call(Pool, caught, [slow], #{function_timeout => 30}),
        is_gone(inside()),
        %% Its own limit counts, not that of the call.
        ok = pitcrew:register_tool(Pool, patient, waiting(), #{timeout => infinity}),
        Call = pitcrew:async(Pool, ask, [patient], #{function_timeout => 10}),
        Pid = inside(),
        receive after 30 -> Pid ! go end,
        ?assertEqual({ok, done}, pitcrew:await(Call))
    end).

%% ---- Streams and JSON

a_stream_can_call_them_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, square, fun(X) -> X * X end),
        ?assertEqual([0, 1, 4, 9], chunks(pitcrew:stream(Pool, count, [square, 4]))),
        ?assertEqual([0, 1, 4, 9], chunks(pitcrew:stream(Pool, async_count, [square, 4])))
    end).

%% Whatever comes of a stream, and whether it calls anything.
nothing_of_a_stream_is_left_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, square, fun(X) -> X * X end),
        ok = pitcrew:register_tool(Pool, bad, fun(_) -> error(bad) end),
        Before = erlang:system_info(process_count),
        [0, 1] = chunks(pitcrew:stream(Pool, count, [square, 2])),
        {ok, 0, Halted} = pitcrew:next(pitcrew:stream(Pool, count, [square, 1_000])),
        ok = pitcrew:stop(Halted),
        {error, #{kind := tool_error}} = pitcrew:next(pitcrew:stream(Pool, count, [bad, 2])),
        {error, #{kind := unknown_tool}} = pitcrew:next(pitcrew:stream(Pool, no_such_tool, [])),
        {error, #{kind := encode_error}} = pitcrew:next(pitcrew:stream(Pool, count, [square, <<255>>])),
        ok = pitcrew:stop(pitcrew:stream(Pool, count, [square, 2])),
        Ended = spawn(fun() -> {ok, 0, _} = pitcrew:next(pitcrew:stream(Pool, count, [square, 1_000])) end),
        is_gone(Ended),
        ?assertEqual(ok, pitcrew_test:until(fun() -> is({ok, 1}, pitcrew:call(Pool, echo, [1])) end)),
        ?assertEqual(ok, pitcrew_test:until(fun() -> is(Before, erlang:system_info(process_count)) end))
    end).

calls_in_json_can_call_them_test_() ->
    pitcrew_test:if_json(
        on_each_pool(#{size => 1}, fun(Pool, _) ->
            ok = pitcrew:register_tool(Pool, square, fun(X) -> X * X end),
            ?assertEqual({ok, 16}, pitcrew:call(Pool, ask, [square, 4], #{protocol => json})),
            ?assertMatch({ok, [<<"error">>, <<"unknown_tool">> | _]}, pitcrew:call(Pool, caught, [no], #{protocol => json})),
            ?assertEqual({ok, 25}, pitcrew:call(Pool, ask, [square, 5]))
        end)
    ).

batches_can_call_them_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        ok = pitcrew:register_tool(Pool, square, fun(X) -> X * X end),
        ?assertEqual([{ok, N * N} || N <- lists:seq(1, 5)], pitcrew:batch(Pool, [{ask, [square, N]} || N <- lists:seq(1, 5)]))
    end).
