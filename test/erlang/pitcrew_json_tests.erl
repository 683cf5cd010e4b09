%% JSON: what becomes what, and what is refused where.
-module(pitcrew_json_tests).

-include_lib("eunit/include/eunit.hrl").

-define(DEPTH, 512).

encode(Term) -> encode(Term, []).
encode(Term, Opts) ->
    {ok, Text} = pitcrew_json:encode(Term, Opts),
    Text.

decode(Text) -> decode(Text, []).
decode(Text, Opts) ->
    {ok, Term} = pitcrew_json:decode(Text, Opts),
    Term.

refused(Term) ->
    {error, #{kind := encode_error, message := Message, path := Path} = Error} = pitcrew_json:encode(Term),
    ?assertEqual(3, map_size(Error)),
    {Path, Message}.

unreadable(Text) -> unreadable(Text, []).
unreadable(Text, Opts) ->
    {error, #{kind := decode_error, message := Message, path := [], reason := #{line := Line, column := Column, position := Position}}} =
        pitcrew_json:decode(Text, Opts),
    {{Line, Column, Position}, Message}.

says(Message, Part) -> ?assertMatch({_, _}, binary:match(Message, Part), Message).

%% ---- Vectors

good_vectors_are_read_test() ->
    [?assertEqual({Text, Value}, {Text, decode(Text)}) || {Text, Value} <- pitcrew_json_vectors:good()].

%% Terms that were decoded must be sound inside: equal to, and hashed like, those that Erlang makes itself.
good_vectors_are_sound_test() ->
    [begin
         Own = binary_to_term(term_to_binary(Value)),
         Term = decode(Text),
         ?assertEqual(term_to_binary(Own), term_to_binary(Term)),
         ?assertEqual(erlang:phash2(Own), erlang:phash2(Term))
     end || {Text, Value} <- pitcrew_json_vectors:good()].

good_vectors_come_back_test() ->
    [?assertEqual({Text, Value}, {Text, decode(encode(Value))}) || {Text, Value} <- pitcrew_json_vectors:good()].

bad_vectors_are_refused_test() ->
    [begin
         {{Line, Column, Position}, Message} = unreadable(Text),
         ?assert(Line >= 1),
         ?assert(Column >= 0 andalso Position >= Column andalso Position =< byte_size(Text)),
         ?assert(is_list(unicode:characters_to_list(Message)))
     end || Text <- pitcrew_json_vectors:bad()].

every_cut_is_survived_test() ->
    [case pitcrew_json:decode(binary:part(Text, 0, N)) of
         {ok, Value} -> ?assert(is_number(Value) orelse binary:match(Text, <<"\n">>) =/= nomatch orelse N =:= byte_size(Text));
         {error, #{kind := decode_error}} -> ok
     end || {Text, _} <- pitcrew_json_vectors:good(), byte_size(Text) < 1000, N <- lists:seq(0, byte_size(Text) - 1)].

every_changed_byte_is_survived_test_() ->
    Texts = [Text || {Text, _} <- pitcrew_json_vectors:good()] ++ pitcrew_json_vectors:bad(),
    {timeout, 60, fun() ->
        [changed(Text, At) || Text <- Texts, byte_size(Text) < 200, At <- lists:seq(0, byte_size(Text) - 1)]
    end}.

changed(Text, At) ->
    <<Before:At/binary, Byte, After/binary>> = Text,
    [case pitcrew_json:decode(<<Before/binary, (Byte bxor Change), After/binary>>) of
         {ok, Term} -> ?assertEqual(Term, binary_to_term(term_to_binary(Term)));
         {error, #{kind := decode_error, message := Message}} -> ?assert(is_list(unicode:characters_to_list(Message)))
     end || Change <- [1, 2, 4, 8, 16, 32, 64, 128, 255]].

%% ---- Values

words_test() ->
    ?assertEqual(<<"[null,true,false]">>, encode([nil, true, false])),
    ?assertEqual(<<"[null,\"nil\",\"null\"]">>, encode([undefined, nil, null], [{nil, undefined}])),
    ?assertEqual(<<"[\"undefined\",\"nil\",null]">>, encode([undefined, nil, null], [{nil, null}])),
    ?assertEqual([undefined], decode(<<"[null]">>, [{nil, undefined}])),
    ?assertEqual(#{<<"a">> => null}, decode(<<"{\"a\":null}">>, #{nil => null})).

atoms_become_strings_test() ->
    ?assertEqual(<<"[\"ok\",\"undefined\",\"null\",\"\"]">>, encode([ok, undefined, null, ''])),
    ?assertEqual(<<"[\"é\",\"λ\",\"日本\"]"/utf8>>, encode(['é', 'λ', '日本'])),
    Long = binary_to_atom(binary:copy(<<"λ"/utf8>>, 255)),
    ?assertEqual(<<$", (atom_to_binary(Long))/binary, $">>, encode(Long)),
    Longest = binary_to_atom(binary:copy(<<"😀"/utf8>>, 255)),
    ?assertEqual(#{atom_to_binary(Longest) => 1}, decode(encode(#{Longest => 1}))).

%% A text that nobody has made an atom of must not become one.
no_atom_is_made_test() ->
    Name = <<"json_", (integer_to_binary(erlang:unique_integer([positive])))/binary, "_never_an_atom">>,
    ?assertEqual(#{Name => Name}, decode(<<"{\"", Name/binary, "\":\"", Name/binary, "\"}">>)),
    ?assertError(badarg, binary_to_existing_atom(Name)).

integers_of_64_bits_test() ->
    [?assertEqual(N, decode(encode(N))) || N <- [0, 1, -1, 1 bsl 59, -(1 bsl 59) - 1, (1 bsl 63) - 1, -(1 bsl 63)]],
    ?assertEqual(<<"-9223372036854775808">>, encode(-(1 bsl 63))).

larger_integers_are_refused_test() ->
    [begin
         {[<<"a">>, 1], Message} = refused(#{<<"a">> => [0, N]}),
         says(Message, <<"beyond 64 bits">>)
     end || N <- [1 bsl 63, -(1 bsl 63) - 1, (1 bsl 64) - 1, 1 bsl 64, 1 bsl 1000]],
    {{2, 20, 23}, Message} = unreadable(<<"[1\n,9223372036854775808]">>),
    says(Message, <<"too big integer">>),
    says(Message, <<"big_integers: float">>).

larger_integers_as_floats_test() ->
    Float = fun(Text) -> decode(Text, [{big_integers, float}]) end,
    ?assertEqual([9223372036854775807, 9223372036854775808.0], Float(<<"[9223372036854775807,9223372036854775808]">>)),
    ?assertEqual([-9223372036854775808, -9223372036854775809.0], Float(<<"[-9223372036854775808,-9223372036854775809]">>)),
    ?assertEqual(#{<<"a">> => 1.0e30, <<"99999999999999999999">> => <<"99999999999999999999">>, <<"b">> => 1},
        Float(<<"{\"a\":1000000000000000000000000000000,\"99999999999999999999\":\"99999999999999999999\",\"b\":1}">>)),
    ?assertEqual([1, 2], Float(<<"[1,2]">>)),
    {_, Message} = unreadable(binary:copy(<<"9">>, 400), [{big_integers, float}]),
    says(Message, <<"real number overflow">>).

%% Places are those of the text that was given, not of the one that jansson saw.
errors_behind_large_integers_test() ->
    {Place, _} = unreadable(<<"[99999999999999999999,\n99999999999999999999,é]"/utf8>>, [{big_integers, float}]),
    ?assertEqual(element(1, unreadable(<<"[9999999999999999999.,\n9999999999999999999e,é]"/utf8>>, [{big_integers, float}])), {1, 21, 21}),
    ?assertEqual({2, 22, 46}, Place),
    {{1, 42, 42}, _} = unreadable(<<"[99999999999999999999 99999999999999999999]">>, [{big_integers, float}]).

floats_come_back_test() ->
    [?assertEqual(F, decode(encode(F))) || F <- [0.0, 1.0, -1.5, 0.1, 1 / 3, 1.0e15, 1.0e16, 1.0e17, 1.0e22, 1.0e23, 123456789.125,
        5.0e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.7976931348623157e308, 9007199254740993.0]],
    ?assertEqual(<<"-0.0">>, encode(-0.0)),
    ?assertEqual(<<128, 0, 0, 0, 0, 0, 0, 0>>, <<(decode(<<"-0.0">>)):64/float>>),
    %% A float stays one.
    ?assertEqual(<<"1.0">>, encode(1.0)),
    ?assertEqual(<<"1e22">>, encode(1.0e22)),
    %% 17 digits, which are enough for every float and more than some need.
    ?assertEqual(<<"0.10000000000000001">>, encode(0.1)).

random_floats_come_back_test() ->
    [?assertEqual(F, decode(encode(F))) || _ <- lists:seq(1, 20000), <<F/float>> <- [rand:bytes(8)]].

nan_and_infinity_are_refused_test() ->
    [begin
         {[<<"x">>, 0], Message} = refused(#{<<"x">> => [F]}),
         says(Message, <<"nan">>)
     end || F <- [nan, infinity, neg_infinity]],
    %% As a key an atom is only its text.
    ?assertEqual(<<"{\"nan\":1}">>, encode(#{nan => 1})).

strings_test() ->
    ?assertEqual(<<"\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\"">>, encode(<<"\"\\/\b\f\n\r\t", 1>>)),
    ?assertEqual(<<"\"é😀\""/utf8>>, encode(<<"é😀"/utf8>>)).

control_characters_come_back_test() ->
    All = list_to_binary(lists:seq(0, 127)),
    ?assertEqual(All, decode(encode(All))),
    [?assertEqual(<<C>>, decode(encode(<<C>>))) || C <- lists:seq(0, 127)].

text_of_every_plane_comes_back_test() ->
    Text = unicode:characters_to_binary([16#80, 16#7ff, 16#800, 16#d7ff, 16#e000, 16#ffff, 16#10000, 16#10ffff, 16#2028, 16#feff]),
    ?assertEqual(Text, decode(encode(Text))),
    ?assertEqual(#{Text => Text}, decode(encode(#{Text => Text}))).

%% Strings around the size above which a binary lies outside the heap, and the size of the buffer for short texts.
lengths_test() ->
    [begin
         Text = binary:copy(<<"x">>, N),
         ?assertEqual(Text, decode(encode(Text))),
         ?assertEqual(#{Text => [Text]}, decode(encode(#{Text => [Text]})))
     end || N <- [0, 1, 63, 64, 65, 1020, 1021, 1022, 1023, 1024, 1025, 4096, 100000]].

binaries_that_are_no_text_are_refused_test() ->
    [begin
         {[0, <<"b">>], Message} = refused([#{<<"b">> => Bytes}]),
         says(Message, <<"UTF-8">>)
     end || Bytes <- [<<255>>, <<"abc", 128>>, <<16#ed, 16#a0, 16#80>>, <<16#c0, 16#80>>]],
    {[<<255>>], _} = refused(#{<<255>> => 1}),
    {[], Bits} = refused(<<1:3>>),
    says(Bits, <<"bitstring">>).

nul_test() ->
    ?assertEqual(<<"\"a\\u0000b\"">>, encode(<<"a", 0, "b">>)),
    ?assertEqual(<<"a", 0, "b">>, decode(<<"\"a\\u0000b\"">>)),
    %% jansson does not read such keys, so they are not written either.
    {[<<"a", 0>>], Message} = refused(#{<<"a", 0>> => 1}),
    says(Message, <<"NUL">>),
    {['a\0'], _} = refused(#{'a\0' => 1}),
    {_, Reading} = unreadable(<<"{\"a\\u0000\":1}">>),
    says(Reading, <<"NUL">>).

%% jansson by itself reads over a NUL byte behind a number.
nul_bytes_are_refused_test() ->
    [begin
         {_, Message} = unreadable(Text, [{big_integers, Big}]),
         says(Message, <<"NUL">>)
     end || Text <- [<<"1", 0>>, <<"[1", 0, "]">>, <<"1", 0, 0>>, <<0>>, <<"\"a", 0, "\"">>, <<"[1", 0, ",99999999999999999999]">>],
            Big <- [error, float], Big =:= float orelse binary:match(Text, <<"999">>) =:= nomatch],
    {{2, 2, 6}, _} = unreadable(<<"[1,\n1", 0, "]">>).

%% ---- Keys

keys_test() ->
    ?assertEqual(<<"{\"a\":1}">>, encode(#{a => 1})),
    ?assertEqual(<<"{\"a\":1}">>, encode(#{<<"a">> => 1})),
    ?assertEqual(<<"{\"nil\":1}">>, encode(#{nil => 1})),
    ?assertEqual(<<"{\"\":1}">>, encode(#{<<>> => 1})),
    [begin
         {[<<"m">>, Key], Message} = refused(#{<<"m">> => #{Key => 1}}),
         says(Message, <<"key">>)
     end || Key <- [1, 1.5, [], "a", {a}, #{}]].

keys_that_collide_are_refused_test() ->
    Large = maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, 100)]),
    [begin
         {[0], Message} = refused([Map]),
         says(Message, <<"<<\"twin\">>">>),
         says(Message, <<"'twin'">>)
     end || Map <- [#{twin => 1, <<"twin">> => 1}, Large#{twin => 1, <<"twin">> => 2}]].

maps_of_every_size_come_back_test() ->
    [begin
         Map = maps:from_list([{integer_to_binary(I), I} || I <- lists:seq(1, N)]),
         ?assertEqual(Map, decode(encode(Map)))
     end || N <- [0, 1, 31, 32, 33, 64, 1000, 20000]].

%% More keys than the decoder remembers, in an order that defeats it.
repeated_keys_test() ->
    Maps = [maps:from_list([{<<"key", (integer_to_binary(J))/binary>>, I} || J <- lists:seq(1, 50)]) || I <- lists:seq(1, 40)],
    ?assertEqual(Maps, decode(encode(Maps))),
    Alike = [#{<<"aXb">> => 1, <<"aXXb">> => 2, <<"aYb">> => 3, <<"a", 195, 169, "b">> => 4} || _ <- lists:seq(1, 10)],
    ?assertEqual(Alike, decode(encode(Alike))).

duplicate_keys_test() ->
    Text = <<"{\"a\":1,\"b\":2,\"a\":3}">>,
    ?assertEqual(#{<<"a">> => 3, <<"b">> => 2}, decode(Text)),
    ?assertEqual(#{<<"a">> => 3, <<"b">> => 2}, decode(Text, [{duplicate_keys, last}])),
    {{1, 16, 16}, Message} = unreadable(Text, [{duplicate_keys, error}]),
    says(Message, <<"duplicate">>),
    ?assertEqual(#{<<"a">> => #{<<"a">> => 1}}, decode(<<"{\"a\":{\"a\":1}}">>, [{duplicate_keys, error}])).

%% ---- What JSON cannot carry

other_terms_are_refused_test() ->
    Port = hd(erlang:ports()),
    [begin
         {[<<"a">>, 2, b], Message} = refused(#{<<"a">> => [1, 2, #{b => Term}]}),
         says(Message, Word)
     end || {Term, Word} <- [
         {{1, 2}, <<"tuple">>}, {self(), <<"pid">>}, {make_ref(), <<"reference">>}, {fun() -> ok end, <<"function">>}, {Port, <<"port">>},
         {[1 | 2], <<"improper">>}, {<<1:1>>, <<"bitstring">>}
     ]].

structs_are_refused_by_name_test() ->
    Date = #{'__struct__' => 'Elixir.Date', calendar => x, day => {1}},
    {[0], Message} = refused([Date]),
    says(Message, <<"Elixir.Date">>),
    {[<<"d">>], Bytes} = refused(#{<<"d">> => pitcrew:bytes(<<"abc">>)}),
    says(Bytes, <<"Base64">>),
    %% The key is only special as an atom.
    ?assertEqual(<<"{\"__struct__\":1}">>, encode(#{<<"__struct__">> => 1})).

depth_test() ->
    Lists = nest(?DEPTH, fun(T) -> [T] end, []),
    Maps = nest(?DEPTH, fun(T) -> #{<<"k">> => T} end, #{}),
    [?assertEqual(T, decode(encode(T))) || T <- [Lists, Maps]],
    {Path, Message} = refused([Lists]),
    ?assertEqual(lists:duplicate(?DEPTH, 0), Path),
    says(Message, <<"512 levels">>),
    {Keys, _} = refused(#{<<"k">> => Maps}),
    ?assertEqual(lists:duplicate(?DEPTH, <<"k">>), Keys).

nest(1, _, Inner) -> Inner;
nest(N, Wrap, Inner) -> Wrap(nest(N - 1, Wrap, Inner)).

%% Depth is what is open, not what there was.
many_containers_side_by_side_test() ->
    Rows = [[[], #{}, [#{<<"a">> => []}]] || _ <- lists:seq(1, 2000)],
    ?assertEqual(Rows, decode(encode(Rows))).

too_deep_text_is_refused_with_its_place_test() ->
    {{2, 512, 514}, Message} = unreadable(<<"[\n", (binary:copy(<<"[">>, 600))/binary>>),
    says(Message, <<"512 levels">>),
    %% Brackets in strings are text.
    Text = <<"[\"", (binary:copy(<<"[">>, 1000))/binary, "\"]">>,
    ?assertEqual([binary:copy(<<"[">>, 1000)], decode(Text)).

%% As deep as can be, on the smaller stack of a dirty scheduler.
depth_on_a_dirty_scheduler_test() ->
    Pad = binary:copy(<<" ">>, 10000),
    Open = binary:copy(<<"{\"k\":[">>, 256),
    Term = decode(<<Open/binary, Pad/binary, (binary:copy(<<"]}">>, 256))/binary>>),
    Wide = nest(?DEPTH, fun(T) -> #{<<"k">> => T} end, #{<<"x">> => 1}),
    ?assertEqual(Term, decode(encode(Term))),
    Much = nest(?DEPTH - 1, fun(T) -> #{<<"k">> => T} end, lists:duplicate(10000, 1)),
    ?assertEqual(Much, decode(encode(Much, [{indent, 31}, {sort_keys, true}]))),
    ?assertEqual(Wide, decode(encode(Wide))).

%% ---- Options

indent_test() ->
    ?assertEqual(<<"{\n  \"a\": [\n    1\n  ]\n}">>, encode(#{a => [1]}, [{indent, 2}])),
    ?assertEqual(<<"[1,2]">>, encode([1, 2], [{indent, 0}])),
    Term = #{<<"a">> => [1, #{<<"b">> => []}]},
    [?assertEqual(Term, decode(encode(Term, [{indent, N}]))) || N <- lists:seq(0, 31)].

sort_keys_test() ->
    Keys = [integer_to_binary(N) || N <- lists:seq(100, 200)],
    Map = maps:from_list([{Key, 0} || Key <- Keys]),
    Expected = iolist_to_binary([${, lists:join($,, [[$", Key, "\":0"] || Key <- Keys]), $}]),
    ?assertEqual(Expected, encode(Map, [sort_keys])),
    ?assertEqual(Expected, encode(Map, #{sort_keys => true})).

wrong_options_are_refused_test() ->
    [begin
         {error, #{kind := invalid_option, message := Message}} = Result,
         says(Message, Word)
     end || {Result, Word} <- [
         {pitcrew_json:encode(1, [{idnent, 1}]), <<"idnent">>},
         {pitcrew_json:encode(1, [{indent, 32}]), <<"from 0 to 31">>},
         {pitcrew_json:encode(1, [{indent, -1}]), <<"-1">>},
         {pitcrew_json:encode(1, [{indent, 1.0}]), <<"1.0">>},
         {pitcrew_json:encode(1, [{sort_keys, yes}]), <<"true, false">>},
         {pitcrew_json:encode(1, [{nil, none}]), <<"nil, undefined, null">>},
         {pitcrew_json:encode(1, [{indent, 1}, {indent, 2}]), <<"twice">>},
         {pitcrew_json:encode(1, [{big_integers, float}]), <<"big_integers">>},
         {pitcrew_json:encode(1, indent), <<"indent">>},
         {pitcrew_json:encode(1, [indent | 1]), <<"indent">>},
         {pitcrew_json:encode(1, [<<"indent">>]), <<"pairs">>},
         {pitcrew_json:decode(<<"1">>, #{indent => 1}), <<"duplicate_keys">>},
         {pitcrew_json:decode(<<"1">>, #{duplicate_keys => first}), <<"last, error">>},
         {pitcrew_json:decode(<<"1">>, #{big_integers => string}), <<"error, float">>}
     ]].

only_binaries_are_decoded_test() ->
    ?assertError(function_clause, pitcrew_json:decode("[]")),
    ?assertError(badarg, pitcrew_json_nif:decode([], nil, last, error)),
    ?assertError(badarg, pitcrew_json_nif:decode(<<"1">>, none, last, error)),
    ?assertError(badarg, pitcrew_json_nif:encode(1, nil, 32, false)).

available_test() -> ?assertEqual(ok, pitcrew_json:available()).

errors_can_be_shown_test() ->
    {error, Reading} = pitcrew_json:decode(<<"[1,\n 2,]">>),
    says(pitcrew_error:format(Reading), <<"line 2, column 4">>),
    {error, Writing} = pitcrew_json:encode(#{<<"a">> => [{}]}),
    says(pitcrew_error:format(Writing), <<"at: [<<\"a\">>,0]">>).

%% A message quotes the text, also where the text is not UTF-8, and is always text itself.
messages_are_text_test() ->
    [begin
         {_, Message} = unreadable(Text),
         ?assert(is_list(unicode:characters_to_list(Message)))
     end || Text <- [<<"é"/utf8>>, <<255>>, <<"[1 é"/utf8>>, <<"\"", 255>>, <<"\"é"/utf8, 200>>, <<"nullé"/utf8>>,
         <<"{\"", (binary:copy(<<"é"/utf8>>, 100))/binary, "\":1,\"", (binary:copy(<<"é"/utf8>>, 100))/binary, "\"}">>]].
