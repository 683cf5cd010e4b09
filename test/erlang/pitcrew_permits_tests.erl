%% Calls of what is no tool: refused here and in Python unless the pool's options say otherwise.
-module(pitcrew_permits_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2]).

test(Fun) -> {timeout, 60, Fun}.

permits(Options) ->
    {ok, All} = pitcrew_options:pool(maps:merge(#{name => py}, Options)),
    pitcrew_permits:new(All).

kind(Tool, Tools, Options) ->
    case pitcrew_permits:check(Tool, Tools, permits(Options)) of
        ok -> ok;
        {error, #{kind := Kind}} -> Kind
    end.

what_is_allowed_test() ->
    [
        ?assertEqual({Tool, Expected}, {Tool, kind(Tool, #{<<"a:tool">> => false}, Options)})
     || {Tool, Options, Expected} <- [
            {<<"tool">>, #{}, ok},
            {<<"">>, #{}, ok},
            {<<"a:tool">>, #{}, ok},
            {<<"b:tool">>, #{}, not_allowed},
            {<<"pitcrew:eval">>, #{}, not_allowed},
            {<<"pitcrew:eval">>, #{allow_import => ["numpy"]}, not_allowed},
            {<<"pitcrew:eval">>, #{allow_eval => true}, ok},
            {<<"numpy:norm">>, #{allow_eval => true}, not_allowed},
            {<<"numpy:norm">>, #{allow_import => [numpy]}, ok},
            {<<"numpy.linalg:norm">>, #{allow_import => ["math", "numpy"]}, ok},
            {<<"numpy.linalg:norm">>, #{allow_import => [<<"numpy.linalg">>]}, ok},
            {<<"numpy:norm">>, #{allow_import => ["numpy.linalg"]}, not_allowed},
            {<<"numpyx:norm">>, #{allow_import => ["numpy"]}, not_allowed},
            {<<"numpyx.linalg:norm">>, #{allow_import => ["numpy"]}, not_allowed},
            {<<"nump:norm">>, #{allow_import => ["numpy"]}, not_allowed},
            {<<"x.numpy:norm">>, #{allow_import => ["numpy"]}, not_allowed},
            {<<":norm">>, #{allow_import => ["numpy"]}, not_allowed},
            {<<"os:system:numpy">>, #{allow_import => ["numpy"]}, not_allowed}
        ]
    ].

what_may_be_a_tool_test() ->
    ?assertEqual(ok, kind(<<"a:tool">>, unknown, #{})),
    ?assertEqual(ok, kind(<<"pitcrew:eval">>, unknown, #{allow_eval => true})),
    ?assertEqual(not_allowed, kind(<<"pitcrew:eval">>, unknown, #{})).

a_refusal_names_the_option_test() ->
    {error, Eval} = pitcrew_permits:check(<<"pitcrew:eval">>, #{}, permits(#{})),
    ?assertEqual(<<"the pool does not allow eval: its option allow_eval must be true">>, maps:get(message, Eval)),
    {error, Import} = pitcrew_permits:check(<<"os.path:join">>, #{}, permits(#{allow_import => [numpy]})),
    ?assertEqual(
        <<"the pool does not allow calls of os.path:join: its option allow_import must name os.path or a package that it is in">>,
        maps:get(message, Import)
    ).

names_that_cannot_be_allowed_test() ->
    [
        begin
            {error, #{kind := invalid_option, message := Message}} = pitcrew_options:pool(#{name => py, allow_import => Given}),
            ?assertMatch({_, _}, binary:match(Message, <<"allow_import must be a list of names of Python modules or packages">>))
        end
     || Given <- ["numpy", numpy, true, [17], [""], ["numpy:norm"], ["numpy."], [".numpy"], ["a..b"], ["numpy.*"], ["a b"], ["pitcrew"], ["pitcrew.worker"]]
    ],
    ?assertMatch({ok, #{allow_import := [<<"pitcrews">>, <<"os.path">>]}}, pitcrew_options:pool(#{name => py, allow_import => [pitcrews, "os.path"]})),
    ?assertMatch({error, #{kind := invalid_option}}, pitcrew_options:pool(#{name => py, allow_eval => yes})).

%% ---- With Python

neither_by_default_test_() ->
    test(fun() ->
        with_pool(#{}, fun(Pool) ->
            ?assertMatch(
                {error, #{kind := not_allowed, tool := <<"pitcrew:eval">>, pool := Pool, message := <<"the pool does not allow eval", _/binary>>}},
                pitcrew:eval(Pool, "1 + 1")
            ),
            ?assertMatch({error, #{kind := not_allowed}}, pitcrew:call(Pool, <<"math:sqrt">>, [4])),
            ?assertMatch({error, #{kind := not_allowed}}, pitcrew:call(Pool, 'math:sqrt', [4])),
            ?assertMatch({error, #{kind := not_allowed}}, pitcrew:await(pitcrew:async(Pool, <<"math:sqrt">>, [4]))),
            %% No worker has heard of it.
            ?assertEqual(0, lists:sum([Calls || #{calls := Calls} <- maps:get(workers, pitcrew:info(Pool))]))
        end)
    end).

both_when_the_pool_says_so_test_() ->
    [
        test(fun() ->
            with_pool(Way#{allow_eval => true, allow_import => ["math", "collections", "permitted"]}, fun(Pool) ->
                ?assertEqual({ok, 7}, pitcrew:eval(Pool, "x + 4", #{x => 3})),
                ?assertEqual({ok, 7}, pitcrew:eval(Pool, <<"x + 4">>, #{<<"x">> => 3})),
                ?assertEqual({ok, 2}, pitcrew:eval(Pool, "1 + 1")),
                ?assertEqual({ok, <<"ä→"/utf8>>}, pitcrew:eval(Pool, "'ä→'", #{}, [{timeout, 10_000}])),
                ?assertEqual({ok, nil}, pitcrew:eval(Pool, "x = 1")),
                ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:eval(Pool, "x", #{<<"a b">> => 1})),
                ?assertMatch({error, #{kind := bad_arguments}}, pitcrew:eval(Pool, [no_text], #{})),
                {error, #{kind := tool_error, type := <<"ZeroDivisionError">>, traceback := Traceback}} =
                    pitcrew:eval(Pool, "a = 1\nb = a / 0"),
                ?assertMatch({_, _}, binary:match(Traceback, <<", line 2">>)),
                ?assertEqual({ok, 2.0}, pitcrew:call(Pool, <<"math:sqrt">>, [4])),
                ?assertEqual({ok, 2.0}, pitcrew:call(Pool, 'math:sqrt', [4])),
                ?assertEqual({ok, 42}, pitcrew:call(Pool, <<"permitted.inner:triple">>, #{n => 14})),
                ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:call(Pool, <<"math:square">>, [4])),
                ?assertMatch({error, #{kind := not_allowed}}, pitcrew:call(Pool, <<"permitted:os.system">>, [<<"true">>])),
                ?assertMatch({error, #{kind := not_allowed}}, pitcrew:call(Pool, <<"os:system">>, [<<"true">>])),
                ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:call(Pool, <<"pitcrew:other">>)),
                ?assertMatch({error, #{kind := unknown_tool}}, pitcrew:call(Pool, <<"ad">>)),
                ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
                %% What is listed are tools.
                ?assertNot(lists:any(fun(#{name := Name}) -> binary:match(Name, <<":">>) =/= nomatch end, pitcrew:tools(Pool)))
            end)
        end)
     || Way <- [#{}, #{protocol => json}, #{pipeline => 4}, #{start => spawn}]
    ].

types_that_json_has_not_test_() ->
    test(fun() ->
        with_pool(#{allow_eval => true, allow_import => ["collections"]}, fun(Pool) ->
            ?assertEqual({ok, {1, <<"a">>}}, pitcrew:eval(Pool, "(x, y)", #{x => 1, y => <<"a">>})),
            ?assertEqual({ok, #{<<"a">> => 1, <<"b">> => 1}}, pitcrew:call(Pool, <<"collections:OrderedDict.fromkeys">>, [[<<"a">>, <<"b">>], 1])),
            ?assertEqual({ok, 2}, pitcrew:eval(Pool, <<"len(x)">>, #{x => <<"ab">>}, #{binaries => bytes}))
        end)
    end).

%% A tool of the pool comes first, whatever it is called; also in a pool that does not know its tools yet.
a_tool_with_a_colon_test_() ->
    [a_tool_with_a_colon(Lazy) || Lazy <- [false, true]].

a_tool_with_a_colon(Lazy) ->
    test(fun() ->
        with_pool(#{tools => ["colon_tools"], allow_import => ["math"], lazy => Lazy}, fun(Pool) ->
            ?assertEqual({ok, <<"mine">>}, pitcrew:call(Pool, <<"math:sqrt">>, [4])),
            ?assertEqual({ok, <<"mine, too">>}, pitcrew:call(Pool, <<"os:system">>, [<<"true">>])),
            ?assertEqual({ok, 1.0}, pitcrew:call(Pool, <<"math:cos">>, [0]))
        end)
    end).
