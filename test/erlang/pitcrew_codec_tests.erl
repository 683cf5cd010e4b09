%% Terms to MessagePack and back through pitcrew_nif:encode/2 and decode/2.
-module(pitcrew_codec_tests).

-include_lib("eunit/include/eunit.hrl").

-define(DEPTH, 512).

encode(Term) -> encode(Term, #{}).
encode(Term, Opts) ->
    {ok, Bytes} = pitcrew_nif:encode(Term, Opts),
    Bytes.

decode(Bytes) -> decode(Bytes, #{}).
decode(Bytes, Opts) ->
    {ok, Term} = pitcrew_nif:decode(Bytes, Opts),
    Term.

returns(Term) -> ?assertEqual(Term, decode(encode(Term))).

refused(Term) ->
    {error, #{kind := encode_error, message := Message, path := Path}} = pitcrew_nif:encode(Term, #{}),
    {Path, Message}.

unreadable(Bytes) ->
    {error, #{kind := decode_error, message := Message, path := Path}} = pitcrew_nif:decode(Bytes, #{}),
    {Path, Message}.

says(Message, Text) -> ?assertMatch({_, _}, binary:match(Message, Text)).

bytes(Binary) -> #{'__struct__' => 'Elixir.Pitcrew.Bytes', data => Binary}.

%% ---- Vectors

readable() ->
    pitcrew_codec_vectors:both() ++ pitcrew_codec_vectors:read() ++ pitcrew_codec_vectors:types() ++ pitcrew_codec_vectors:types_read().

vectors_encode_test() ->
    [?assertEqual({Name, Bytes}, {Name, encode(pitcrew_codec_vectors:encodable(Value))}) || {Name, Bytes, Value} <- pitcrew_codec_vectors:both() ++ pitcrew_codec_vectors:types()].

vectors_decode_test() ->
    [?assertEqual({Name, pitcrew_codec_vectors:decoded(Value)}, {Name, decode(Bytes)})
     || {Name, Bytes, Value} <- readable()].

%% Terms that were decoded must be sound inside: equal to, and hashed like, those that Erlang makes itself.
vectors_decode_sound_terms_test() ->
    [begin
         Term = decode(Bytes),
         Own = binary_to_term(term_to_binary(pitcrew_codec_vectors:decoded(Value))),
         ?assertEqual({Name, Own}, {Name, Term}),
         ?assertEqual(erlang:phash2(Own), erlang:phash2(Term)),
         ?assertEqual(term_to_binary(Own), term_to_binary(Term))
     end || {Name, Bytes, Value} <- readable()].

bad_vectors_are_refused_test() ->
    [begin
         {error, #{kind := Kind, message := Message}} = pitcrew_nif:decode(Bytes, #{}),
         ?assertEqual({Name, decode_error}, {Name, Kind}),
         case Why of
             truncated -> says(Message, <<"ends inside">>);
             too_deep -> says(Message, <<"512 levels">>);
             invalid -> ?assertEqual({Name, nomatch}, {Name, binary:match(Message, <<"ends inside">>)})
         end
     end || {Name, Bytes, Why} <- pitcrew_codec_vectors:bad()].

every_cut_is_an_error_test() ->
    [{_, _} = unreadable(binary:part(Bytes, 0, N))
     || {_, Bytes, _} <- readable(), N <- lists:seq(0, byte_size(Bytes) - 1)].

every_changed_byte_is_survived_test_() ->
    {timeout, 60, fun() ->
        Vectors = readable() ++ pitcrew_codec_vectors:bad(),
        [changed(Bytes, At) || {_, Bytes, _} <- Vectors, byte_size(Bytes) < 300, At <- lists:seq(0, byte_size(Bytes) - 1)]
    end}.

changed(Bytes, At) ->
    <<Before:At/binary, Byte, After/binary>> = Bytes,
    [case pitcrew_nif:decode(<<Before/binary, (Byte bxor Change), After/binary>>, #{}) of
         {ok, Term} -> true = is_binary(term_to_binary(Term));
         {error, #{kind := decode_error, message := Message}} -> true = is_binary(Message)
     end || Change <- [1, 2, 4, 8, 16, 32, 64, 128, 255]].

bytes_after_the_value_are_refused_test() ->
    {[], Message} = unreadable(<<1, 2>>),
    says(Message, <<"after the value">>).

%% ---- Numbers

integers_around_powers_of_two_test() ->
    [returns(Sign * ((1 bsl Bits) + Delta)) || Bits <- lists:seq(0, 200), Delta <- [-1, 0, 1], Sign <- [1, -1]].

integer_widths_test() ->
    Widths = [{0, 1}, {127, 1}, {128, 2}, {255, 2}, {256, 3}, {65535, 3}, {65536, 5}, {1 bsl 32 - 1, 5}, {1 bsl 32, 9},
              {1 bsl 64 - 1, 9}, {1 bsl 64, 13}, {-1, 1}, {-32, 1}, {-33, 2}, {-128, 2}, {-129, 3}, {-32768, 3}, {-32769, 5},
              {-(1 bsl 31), 5}, {-(1 bsl 31) - 1, 9}, {-(1 bsl 63), 9}, {-(1 bsl 63) - 1, 12}],
    [?assertEqual({Int, Width}, {Int, byte_size(encode(Int))}) || {Int, Width} <- Widths].

huge_integers_test() ->
    [returns(Sign * ((1 bsl Bits) + 12345)) || Bits <- [2039, 2040, 2047, 2048, 65536, 1000000], Sign <- [1, -1]].

floats_test() ->
    [returns(Float) || Float <- [0.0, 1.0, -1.5, 0.1, 1.0e308, 5.0e-324, 123456789.123]],
    ?assertEqual(<<16#cb, 1:1, 0:63>>, encode(-0.0)).

not_finite_test() ->
    [returns(Atom) || Atom <- [nan, infinity, neg_infinity]],
    ?assertEqual(<<16#cb, 16#7ff0000000000000:64>>, encode(infinity)),
    ?assertEqual(nan, decode(<<16#ca, 16#ffffffff:32>>)).

%% 1, 1.0 and true stay apart, as keys too.
numbers_keep_their_type_test() ->
    returns(#{1 => a, 1.0 => b, true => c, <<"1">> => d}).

%% ---- Binaries

binary_boundaries_test() ->
    [begin
         returns(binary:copy(<<"x">>, N)),
         ?assertEqual(binary:copy(<<255>>, N), decode(encode(bytes(binary:copy(<<255>>, N)))))
     end || N <- [0, 1, 31, 32, 63, 64, 65, 255, 256, 1000, 1023, 1024, 1025, 65535, 65536, 1000000]].

str_and_bytes_test() ->
    ?assertEqual(<<16#a2, "hi">>, encode(<<"hi">>)),
    ?assertEqual(<<16#c4, 2, "hi">>, encode(<<"hi">>, #{binaries => bytes})),
    ?assertEqual(<<16#c4, 2, "hi">>, encode(bytes(<<"hi">>))),
    ?assertEqual(<<16#c4, 2, "hi">>, encode(bytes(<<"hi">>), #{binaries => bytes})),
    ?assertEqual(<<16#a2, "hi">>, encode(<<"hi">>, #{binaries => str})).

a_binary_that_is_not_utf8_test() ->
    {Path, Message} = refused(#{<<"k">> => [1, {ok, <<255>>}]}),
    ?assertEqual([<<"k">>, 1, 1], Path),
    says(Message, <<"Pitcrew.bytes/1">>),
    says(Message, <<"binaries: bytes">>),
    ?assertEqual(<<16#c4, 1, 255>>, encode(<<255>>, #{binaries => bytes})).

parts_of_binaries_test() ->
    Whole = <<"0123456789", (binary:copy(<<"abc">>, 100))/binary>>,
    returns(binary:part(Whole, 3, 5)),
    returns(binary:part(Whole, 3, 200)),
    <<_:3, Unaligned:20/binary, _/bitstring>> = <<0:3, Whole/binary, 0:5>>,
    ?assertEqual(binary:part(Whole, 0, 20), decode(encode(Unaligned))),
    Bytes = encode([Whole, Whole]),
    <<_:5, Packed:(byte_size(Bytes))/binary, _:3>> = <<0:5, Bytes/binary, 0:3>>,
    ?assertEqual([Whole, Whole], decode(Packed)).

%% ---- Atoms

atoms_test() ->
    Texts = [<<>>, <<"ok">>, <<"with space">>, <<"Elixir.Enum">>, <<"é"/utf8>>, <<"ÿÿ"/utf8>>, <<"λ"/utf8>>, <<"日本"/utf8>>, <<"😀"/utf8>>,
             binary:copy(<<"a">>, 255), binary:copy(<<"é"/utf8>>, 255), binary:copy(<<"😀"/utf8>>, 255), <<0, 1>>],
    [begin
         Atom = binary_to_atom(Text, utf8),
         returns(Atom),
         returns([Atom, Atom, #{Atom => Atom}]),
         ?assertEqual(Text, binary:part(encode(Atom), {byte_size(encode(Atom)), -byte_size(Text)}))
     end || Text <- Texts].

many_atoms_test() ->
    Atoms = [list_to_atom("pitcrew_test_atom_" ++ integer_to_list(N)) || N <- lists:seq(1, 200)],
    returns(Atoms ++ lists:reverse(Atoms) ++ Atoms),
    returns([#{Atom => N} || N <- [1, 2], Atom <- Atoms]).

no_atom_is_made_from_input_test() ->
    Before = erlang:system_info(atom_count),
    [?assertEqual(Text, decode(<<16#c7, (byte_size(Text)), 1, Text/binary>>))
     || N <- lists:seq(1, 50), Prefix <- [<<"never seen ">>, <<"né "/utf8>>, <<"λ "/utf8>>],
        Text <- [<<Prefix/binary, (integer_to_binary(erlang:unique_integer([positive]) * 50 + N))/binary>>]],
    ?assertEqual(Before, erlang:system_info(atom_count)).

an_atom_too_long_to_exist_test() ->
    [?assertEqual(Text, decode(<<16#c8, (byte_size(Text)):16, 1, Text/binary>>))
     || Text <- [binary:copy(<<"a">>, 256), binary:copy(<<"é"/utf8>>, 256), binary:copy(<<"λ"/utf8>>, 256), binary:copy(<<"λ"/utf8>>, 5000)]].

nil_option_test() ->
    ?assertEqual(<<16#c0>>, encode(nil)),
    ?assertEqual(nil, decode(<<16#c0>>)),
    ?assertEqual(<<16#c0>>, encode(undefined, #{nil => undefined})),
    ?assertEqual(undefined, decode(<<16#c0>>, #{nil => undefined})),
    returns(undefined),
    ?assertEqual(nil, decode(encode(nil, #{nil => undefined}), #{nil => undefined})).

%% ---- Containers

list_boundaries_test() ->
    [returns(lists:seq(1, N)) || N <- [0, 1, 15, 16, 127, 128, 129, 255, 256, 65535, 65536]].

tuple_boundaries_test() ->
    [returns(list_to_tuple(lists:seq(1, N))) || N <- [0, 1, 15, 16, 255, 256, 65535, 65536]].

map_boundaries_test() ->
    [returns(maps:from_list([{N * 3, integer_to_binary(N)} || N <- lists:seq(1, Size)]))
     || Size <- [0, 1, 15, 16, 31, 32, 33, 34, 255, 256, 65535, 65536]].

map_keys_of_any_type_test() ->
    returns(#{[1, 2] => a, #{x => 1} => b, {1} => c, 1.5 => d, nil => e, <<>> => f, (1 bsl 70) => g, [] => h, #{} => i, {} => j}).

mixed_test() ->
    returns([#{id => N, <<"name">> => <<"user">>, tags => [<<"a">>, {b, N, 1.5}], nested => #{#{} => [[], {}]}} || N <- lists:seq(1, 50)]).

repeated_keys_of_different_types_test() ->
    returns([#{<<"ok">> => 1}, #{ok => 2}, #{<<"ok">> => 3}, #{<<"ko">> => 4}, #{<<>> => 5}, #{'' => 6}]).

duplicate_keys_test() ->
    [begin
         Pairs = [{I rem Keys, I} || I <- lists:seq(0, N - 1)],
         Bytes = iolist_to_binary([<<16#df, N:32>>, [[encode(K), encode(V)] || {K, V} <- Pairs]]),
         Map = decode(Bytes),
         ?assertEqual({N, Keys, maps:from_list(Pairs)}, {N, Keys, Map}),
         ?assertEqual(Keys, length(maps:keys(Map))),
         ?assertEqual(maps:from_list(Pairs), maps:map(fun(_, V) -> V end, Map))
     end || {N, Keys} <- [{2, 1}, {32, 31}, {32, 1}, {33, 32}, {33, 33}, {33, 1}, {64, 32}, {100, 33}, {100, 99}, {3000, 32}, {70000, 50000}]].

duplicate_keys_are_those_that_match_test() ->
    ?assertEqual(#{1 => a, 1.0 => b}, decode(<<16#82, 1, 16#d4, 1, "a", 16#cb, 1.0/float, 16#d4, 1, "b">>)).

%% ---- What cannot be encoded

no_form() -> #{'__struct__' => no_such_struct, field => 1}.

unencodable_keys_test() ->
    Struct = no_form(),
    {[<<"x">>], Message} = refused(#{<<"x">> => #{Struct => 1}}),
    says(Message, <<"in a key">>),
    %% [{a, <<255>>}, 1] would lead to y.
    {[<<"x">>], Other} = refused(#{<<"x">> => #{{a, <<255>>} => [x, y]}}),
    says(Other, <<"not valid UTF-8">>),
    %% The same when reading: an array with text that is not UTF-8, as a key.
    {[1], Read} = unreadable(<<16#92, 1, 16#81, 16#92, 1, 16#a1, 255, 2>>),
    says(Read, <<"in a key">>).

structs_test() ->
    {[1, <<"when">>], Message} = refused([1, #{<<"when">> => #{'__struct__' => 'Elixir.URI', year => 2024, zone => <<255>>}}]),
    says(Message, <<"Elixir.URI">>),
    {[], Other} = refused(#{'__struct__' => my_struct, 'Another' => <<255>>}),
    says(Other, <<"my_struct">>),
    {[], Big} = refused(maps:put('__struct__', big_struct, maps:from_list([{N, N} || N <- lists:seq(1, 100)]))),
    says(Big, <<"big_struct">>).

bytes_struct_without_binary_test() ->
    [?assertMatch({[0], _}, refused([Struct])) || Struct <- [bytes(not_a_binary), #{'__struct__' => 'Elixir.Pitcrew.Bytes'}, bytes(<<1:3>>)]].

%% A map that begins with atoms, then turns out to be bytes, must not leave their places behind.
bytes_struct_among_atoms_test() ->
    Bytes = (bytes(<<1, 2>>))#{'AAA' => aaa, 'BBB' => bbb},
    ?assertEqual(['AAA', <<1, 2>>, 'AAA', 'BBB', aaa, bbb], decode(encode(['AAA', Bytes, 'AAA', 'BBB', aaa, bbb]))).

%% ---- Depth and size

nest(_, 0, Leaf) -> Leaf;
nest(Wrap, N, Leaf) -> Wrap(nest(Wrap, N - 1, Leaf)).

depth_limit_test() ->
    [begin
         returns(nest(Wrap, ?DEPTH, 1)),
         {Path, Message} = refused(nest(Wrap, ?DEPTH + 1, 1)),
         ?assertEqual(Length, length(Path)),
         says(Message, <<"512">>)
     end || {Length, Wrap} <- [{?DEPTH, fun(T) -> [T] end}, {?DEPTH, fun(T) -> {T} end}, {?DEPTH, fun(T) -> #{k => T} end}, {0, fun(T) -> #{T => v} end}]].

decode_depth_limit_test() ->
    Deep = binary:copy(<<16#91>>, ?DEPTH),
    ?assertEqual(nest(fun(T) -> [T] end, ?DEPTH, 1), decode(<<Deep/binary, 1>>)),
    {Path, Message} = unreadable(<<Deep/binary, 16#91, 1>>),
    ?assertEqual(lists:duplicate(?DEPTH, 0), Path),
    says(Message, <<"512">>),
    {_, _} = unreadable(binary:copy(<<16#91>>, 1000000)),
    {_, _} = unreadable(binary:copy(<<16#81>>, 1000000)).

%% Large work goes on on a dirty scheduler; it is the same work.
large_terms_test() ->
    returns(lists:seq(1, 300000)),
    returns([#{id => N, <<"name">> => integer_to_binary(N)} || N <- lists:seq(1, 20000)]),
    returns(binary:copy(<<"0123456789">>, 1000000)),
    returns(maps:from_list([{integer_to_binary(N), N} || N <- lists:seq(1, 50000)])),
    ?assertMatch({[299999], _}, refused(lists:duplicate(299999, 1) ++ [no_form()])),
    Large = encode(lists:seq(1, 300000)),
    ?assertMatch({[_], _}, unreadable(binary:part(Large, 0, byte_size(Large) - 1))).

deep_terms_on_a_dirty_scheduler_test() ->
    Long = lists:seq(1, 100000),
    [returns([nest(Wrap, ?DEPTH - 1, 1), Long]) || Wrap <- [fun(T) -> [T] end, fun(T) -> {T} end, fun(T) -> #{k => T} end, fun(T) -> #{T => v} end]].

%% Little input that takes long: it moves to a dirty scheduler in the middle.
costly_input_test() ->
    [?assertEqual(lists:duplicate(10000, Term), decode(<<16#dc, 10000:16, (binary:copy(Bytes, 10000))/binary>>))
     || {Bytes, Term} <- [{<<16#80>>, #{}}, {<<16#90>>, []}, {<<16#d5, 2, 0, 5>>, 5}, {<<16#d4, 3, 16#90>>, {}}]],
    Atoms = [list_to_atom([16#3bb, N]) || N <- lists:seq($0, $z)],
    returns(lists:append(lists:duplicate(200, Atoms))),
    returns([maps:from_list([{N + K, K} || K <- lists:seq(1, 40)]) || N <- lists:seq(1, 300)]).

%% ---- Hostile input

counts_that_lie_test() ->
    Lies = [<<16#dd, 16#ffffffff:32, 1>>, <<16#df, 16#7fffffff:32, 1, 1>>, <<16#db, 16#ffffffff:32>>, <<16#c6, 16#ffffffff:32>>, <<16#c9, 16#ffffffff:32, 3>>],
    [?assertMatch({_, <<"the input ends inside a value">>}, unreadable(Lie)) || Lie <- Lies].

%% Each of these maps and arrays alone could be filled from the bytes that are left; together they cannot.
nested_counts_that_lie_test() ->
    Size = 1000000,
    [begin
         Head = <<Kind, (Size div 4):32>>,
         Bytes = <<(binary:copy(Head, 400))/binary, (binary:copy(<<16#c0>>, Size))/binary>>,
         ?assertMatch({_, <<"the input ends inside a value", _/binary>>}, unreadable(Bytes))
     end || Kind <- [16#dd, 16#df]].

nested_tuples_that_lie_test() ->
    Inner = <<16#dd, 4000:32, (binary:copy(<<16#c0>>, 3000))/binary>>,
    ?assertMatch({_, <<"the input ends inside a value">>}, unreadable(<<16#92, 16#c9, (byte_size(Inner)):32, 3, Inner/binary, 16#91>>)).

error_paths_of_decoding_test() ->
    ?assertMatch({[<<"a">>, 1], <<"a str", _/binary>>}, unreadable(<<16#81, 16#a1, "a", 16#92, 1, 16#a1, 255>>)),
    {[0], Message} = unreadable(<<16#91, 16#d4, 42, 0>>),
    says(Message, <<"42">>).

failures_release_their_memory_test() ->
    Good = [binary:copy(<<"x">>, 100000), no_form()],
    Fail = fun() -> [{[1], _} = refused(Good) || _ <- lists:seq(1, 500)], erlang:garbage_collect() end,
    Fail(),
    Before = erlang:memory(binary),
    Fail(),
    ?assert(erlang:memory(binary) - Before < 10000000).

%% ---- Options

options_test() ->
    [?assertError(badarg, pitcrew_nif:encode(1, Opts)) || Opts <- [[], nil, #{binaries => string}, #{nil => none}, #{unknown => 1}, #{nil => nil, x => y}]],
    [?assertError(badarg, pitcrew_nif:decode(<<1>>, Opts)) || Opts <- [[], #{binaries => 1}, #{nil => 'None'}]],
    [?assertError(badarg, pitcrew_nif:decode(Bytes, #{})) || Bytes <- [atom, "list", <<1:3>>, 1]],
    ?assertEqual({ok, <<1>>}, pitcrew_nif:encode(1, #{binaries => str, nil => nil})).
