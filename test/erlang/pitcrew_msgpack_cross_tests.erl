%% The codec by itself on both sides: what pitcrew_msgpack writes, pitcrew.unpackb reads, and the other way round, with the
%% options that docs/types.md names.
-module(pitcrew_msgpack_cross_tests).

-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_types_prop_tests, [in_a_pool/1, for_all/2, holds/1, term/0]).

-define(PLAIN, [{atoms, string}, {tuples, list}]).

%% The VM's defaults are Python's types="pitcrew".
defaults_of_the_vm_test_() -> in_a_pool(fun(Pool) -> holds(prop_defaults_of_the_vm(Pool)) end).

prop_defaults_of_the_vm(Pool) ->
    for_all(term(), fun(Term) ->
        case pitcrew_msgpack:encode(Term) of
            {ok, Data} ->
                case pitcrew:call(Pool, repack, [pitcrew:bytes(Data), <<"pitcrew">>]) of
                    {ok, Again} -> {ok, Term} =:= pitcrew_msgpack:decode(Again, [{bytes, tagged}]);
                    {error, #{kind := tool_error, type := Type}} -> is_codec_error(Type) andalso is_refused_by_a_call(Pool, Term)
                end;
            {error, #{kind := encode_error}} ->
                is_refused_by_a_call(Pool, Term)
        end
    end).

is_codec_error(Type) -> lists:member(Type, [<<"pitcrew.DecodeError">>, <<"pitcrew.EncodeError">>]).

is_refused_by_a_call(Pool, Term) -> element(1, pitcrew:call(Pool, echo, [Term])) =:= error.

every_row_of_the_table_test_() ->
    in_a_pool(fun(Pool) ->
        [
            begin
                Text = unicode:characters_to_binary(pitcrew_types_doc_tests:code(Python)),
                {ok, Data} = pitcrew:call(Pool, pack_example, [Text]),
                Term = pitcrew_types_doc_tests:evaluate(Example),
                ?assertEqual({Title, {ok, Term}}, {Title, pitcrew_msgpack:decode(Data, [{bytes, tagged}])})
            end
         || {Title, Example, Python, _} <- pitcrew_types_doc_tests:rows(), Python =/= "–"
        ]
    end).

%% Python's defaults are the VM's plain options, and anybody's.
defaults_of_python_test_() -> in_a_pool(fun(Pool) -> holds(prop_defaults_of_python(Pool)) end).

prop_defaults_of_python(Pool) ->
    for_all(proper_types:range(0, 1 bsl 40), fun(Seed) ->
        {ok, [Data, Data]} = pitcrew:call(Pool, pack_plain, [Seed]),
        {ok, Term} = pitcrew_msgpack:decode(Data, [{bytes, tagged}]),
        {ok, Data} =:= pitcrew_msgpack:encode(Term, ?PLAIN) andalso
            {ok, Data} =:= pitcrew:call(Pool, repack, [pitcrew:bytes(Data), <<"plain">>])
    end).

what_the_plain_options_write_test_() ->
    in_a_pool(fun(Pool) ->
        {ok, Data} = pitcrew_msgpack:encode(#{name => {1, [ok, nil]}}, ?PLAIN),
        ?assertEqual({ok, Data}, pitcrew:call(Pool, repack, [pitcrew:bytes(Data), <<"plain">>])),
        ?assertEqual({ok, #{<<"name">> => [1, [<<"ok">>, nil]]}}, pitcrew_msgpack:decode(Data))
    end).

%% Python's defaults show extensions as what they are, and write them as they were.
extensions_are_not_misread_test_() ->
    in_a_pool(fun(Pool) ->
        Term = [ok, {1, 2}, 1 bsl 70, self(), #{'__struct__' => 'Elixir.Pitcrew.MessagePack.Ext', type => 99, data => <<"x">>}],
        {ok, Data} = pitcrew_msgpack:encode(Term),
        [
            begin
                {ok, Again} = pitcrew:call(Pool, repack, [pitcrew:bytes(Data), Types]),
                ?assertEqual({ok, Term}, pitcrew_msgpack:decode(Again))
            end
         || Types <- [<<"plain">>, <<"pitcrew">>]
        ]
    end).
