%% What can be found out of a function: names and schema of its arguments, and its documentation.
-module(pitcrew_tool_schema_tests).
-include_lib("eunit/include/eunit.hrl").

-export([search/2, bounded/2, annotated/3, clauses/2, plain/2, types/8, many/3, same/2, nothing/0, deep/1]).

-type query() :: binary() | [binary()].
-type tagged(Of) :: {tag, Of}.
-type endless() :: nil | [endless()].

-spec search(query(), 1..10) -> [term()].
search(Query, MaxResults) -> [Query, MaxResults].

-spec bounded(Text, N) -> {Text, N} when Text :: binary(), N :: pos_integer().
bounded(_, _) -> {<<>>, 1}.

-spec annotated(Where :: atom(), integer(), Last :: boolean()) -> ok.
annotated(_, _, _) -> ok.

clauses([], _) -> none;
clauses([_ | _] = List, _N) -> List.

plain(_, <<>>) -> ok.

-spec types(
    float(), number(), {integer(), binary()}, #{a := binary(), b => nil | integer()}, [boolean()], yes | no, tagged(atom()), map()
) -> ok.
types(_, _, _, _, _, _, _, _) -> ok.

-spec many(non_neg_integer() | infinity, term(), unicode:chardata()) -> ok.
many(_A, _A2, _B) -> ok.

same(X, _X) -> X.

nothing() -> ok.

-spec deep(endless()) -> ok.
deep(_) -> ok.

derive(Function) -> pitcrew_tool_schema:derive(Function, nil).

properties(Function) ->
    {_, #{<<"properties">> := Properties}, _} = derive(Function),
    Properties.

names(Function) -> element(1, derive(Function)).

names_test() ->
    ?assertEqual([<<"query">>, <<"max_results">>], names(fun ?MODULE:search/2)),
    ?assertEqual([<<"text">>, <<"n">>], names(fun ?MODULE:bounded/2)),
    ?assertEqual([<<"where">>, <<"arg2">>, <<"last">>], names(fun ?MODULE:annotated/3)),
    ?assertEqual([<<"list">>, <<"n">>], names(fun ?MODULE:clauses/2)),
    ?assertEqual([<<"arg1">>, <<"arg2">>], names(fun ?MODULE:plain/2)),
    ?assertEqual([<<"a">>, <<"a2">>, <<"b">>], names(fun ?MODULE:many/3)),
    %% Two that Python could not tell apart.
    ?assertEqual([<<"arg1">>, <<"arg2">>], names(fun ?MODULE:same/2)),
    ?assertEqual([], names(fun ?MODULE:nothing/0)).

schema_test() ->
    {_, Schema, nil} = derive(fun ?MODULE:search/2),
    Text = #{<<"type">> => <<"string">>},
    ?assertEqual(
        #{
            <<"type">> => <<"object">>,
            <<"required">> => [<<"query">>, <<"max_results">>],
            <<"properties">> => #{
                <<"query">> => #{<<"anyOf">> => [Text, #{<<"type">> => <<"array">>, <<"items">> => Text}]},
                <<"max_results">> => #{<<"type">> => <<"integer">>, <<"minimum">> => 1, <<"maximum">> => 10}
            }
        },
        Schema
    ),
    ?assertEqual(
        #{<<"text">> => Text, <<"n">> => #{<<"type">> => <<"integer">>, <<"minimum">> => 1}}, properties(fun ?MODULE:bounded/2)
    ).

types_test() ->
    Integer = #{<<"type">> => <<"integer">>},
    ?assertEqual(
        #{
            <<"arg1">> => #{<<"type">> => <<"number">>},
            <<"arg2">> => #{<<"type">> => <<"number">>},
            <<"arg3">> => #{
                <<"type">> => <<"array">>, <<"minItems">> => 2, <<"maxItems">> => 2, <<"prefixItems">> => [Integer, #{<<"type">> => <<"string">>}]
            },
            <<"arg4">> => #{
                <<"type">> => <<"object">>,
                <<"required">> => [<<"a">>],
                <<"properties">> => #{
                    <<"a">> => #{<<"type">> => <<"string">>}, <<"b">> => #{<<"anyOf">> => [#{<<"type">> => <<"null">>}, Integer]}
                }
            },
            <<"arg5">> => #{<<"type">> => <<"array">>, <<"items">> => #{<<"type">> => <<"boolean">>}},
            <<"arg6">> => #{<<"enum">> => [<<"yes">>, <<"no">>]},
            <<"arg7">> => #{
                <<"type">> => <<"array">>,
                <<"minItems">> => 2,
                <<"maxItems">> => 2,
                <<"prefixItems">> => [#{<<"const">> => <<"tag">>}, #{<<"type">> => <<"string">>}]
            },
            <<"arg8">> => #{<<"type">> => <<"object">>}
        },
        properties(fun ?MODULE:types/8)
    ).

%% A type that refers to itself comes to an end.
endless_test() -> ?assertMatch(#{<<"anyOf">> := [_, _]}, maps:get(<<"arg1">>, properties(fun ?MODULE:deep/1))).

of_others_nothing_is_known_test() ->
    ?assertEqual({nil, #{<<"type">> => <<"object">>}, nil}, derive(fun(X) -> X end)),
    ?assertEqual({nil, #{<<"type">> => <<"object">>}, nil}, derive(fun no_such_module:f/1)),
    ?assertMatch({[<<"x">>], #{<<"properties">> := #{<<"x">> := Any}}, nil} when Any =:= #{}, pitcrew_tool_schema:derive(fun(X) -> X end, [<<"x">>])).

%% All that there is can be sent.
of_many_functions_test() ->
    [
        begin
            {Names, Schema, Doc} = derive(fun Module:Name/Arity),
            ?assert(Names =:= nil orelse length(Names) =:= Arity),
            ?assertMatch({ok, _}, pitcrew_nif:encode([Names, Schema, Doc], #{}))
        end
     || Module <- [lists, maps, string, gen_server, ets, binary, pitcrew], {Name, Arity} <- Module:module_info(exports)
    ].
