%% The public codec: every option, streams, what is shared and what is copied.
-module(pitcrew_msgpack_tests).

-include_lib("eunit/include/eunit.hrl").

encode(Term, Options) ->
    {ok, Bytes} = pitcrew_msgpack:encode(Term, Options),
    Bytes.

decode(Bytes, Options) ->
    {ok, Term} = pitcrew_msgpack:decode(Bytes, Options),
    Term.

refused(Term, Options) ->
    {error, #{kind := encode_error, message := Message, path := Path}} = pitcrew_msgpack:encode(Term, Options),
    {Path, Message}.

unreadable(Bytes, Options) ->
    {error, #{kind := decode_error, message := Message, path := Path}} = pitcrew_msgpack:decode(Bytes, Options),
    {Path, Message}.

invalid(Options) ->
    {error, #{kind := invalid_option, message := Message}} = pitcrew_msgpack:encode(1, Options),
    ?assertMatch({error, #{kind := invalid_option, message := Message}}, pitcrew_msgpack:decode(<<1>>, Options)),
    ?assertMatch({error, #{kind := invalid_option, message := Message}}, pitcrew_msgpack:decode_all(<<1>>, Options)),
    ?assertMatch({error, #{kind := invalid_option, message := Message}}, pitcrew_msgpack:encode_to_iodata(1, Options)),
    Message.

says(Message, Text) -> ?assertMatch({_, _}, binary:match(Message, Text)).

ext(Type, Data) -> #{'__struct__' => 'Elixir.Pitcrew.MessagePack.Ext', type => Type, data => Data}.
bytes(Data) -> #{'__struct__' => 'Elixir.Pitcrew.Bytes', data => Data}.

%% ---- Mappings

binaries_test() ->
    ?assertEqual(<<16#a1, "a">>, encode(<<"a">>, [])),
    ?assertEqual(<<16#a1, "a">>, encode(<<"a">>, [{binaries, str}])),
    ?assertEqual(<<16#c4, 1, "a">>, encode(<<"a">>, [{binaries, bin}])),
    ?assertEqual(<<16#92, 16#a1, "a", 16#c4, 1, 255>>, encode([<<"a">>, <<255>>], #{binaries => auto})),
    {[1], Message} = refused([<<"a">>, <<255>>], []),
    says(Message, <<"binaries: bin">>),
    ?assertEqual(<<16#c4, 1, "a">>, encode(bytes(<<"a">>), [{binaries, auto}])).

bytes_test() ->
    ?assertEqual([<<"a">>, <<"a">>], decode(<<16#92, 16#c4, 1, "a", 16#a1, "a">>, [])),
    ?assertEqual([bytes(<<"a">>), <<"a">>], decode(<<16#92, 16#c4, 1, "a", 16#a1, "a">>, [{bytes, tagged}])).

atoms_test() ->
    Unknown = <<16#d9, 30, "an atom that nobody ever made!">>,
    <<_:2/binary, Text/binary>> = Unknown,
    UnknownAtom = <<16#c7, 30, 1, Text/binary>>,
    ?assertEqual(<<16#d5, 1, "ok">>, encode(ok, [])),
    ?assertEqual(<<16#d5, 1, "ok">>, encode(ok, [{atoms, existing}])),
    ?assertEqual(<<16#a2, "ok">>, encode(ok, [{atoms, string}])),
    ?assertEqual(<<16#a2, "λ"/utf8>>, encode('λ', [{atoms, string}])),
    ?assertEqual([ok, Text], decode(<<16#92, 16#d5, 1, "ok", UnknownAtom/binary>>, [])),
    ?assertEqual(ok, decode(<<16#d5, 1, "ok">>, [{atoms, existing}])),
    ?assertMatch({[0], <<"an atom that does not exist">>}, unreadable(<<16#91, UnknownAtom/binary>>, [{atoms, existing}])),
    ?assertEqual(<<"ok">>, decode(<<16#d5, 1, "ok">>, [{atoms, string}])),
    [?assertMatch({_, <<"an atom whose text", _/binary>>}, unreadable(<<16#d4, 1, 255>>, [{atoms, As}])) || As <- [ext, existing, string]],
    ?assertEqual(<<16#94, 16#c0, 16#c3, 16#c2, 16#a3, "yes">>, encode([nil, true, false, yes], [{atoms, string}])).

tuples_test() ->
    ?assertEqual(<<16#92, 1, 16#90>>, encode({1, {}}, [{tuples, list}])),
    ?assertEqual({1, {}}, decode(encode({1, {}}, []), [{tuples, list}])),
    {[<<"a">>], Message} = refused(#{<<"a">> => {1}}, [{tuples, error}]),
    says(Message, <<"tuples: error">>).

keys_test() ->
    Unknown = <<"a key that nobody ever made">>,
    Map = <<16#82, 16#a2, "ok", 16#a2, "ok", (16#a0 + byte_size(Unknown)), Unknown/binary, 1>>,
    ?assertEqual(#{<<"ok">> => <<"ok">>, Unknown => 1}, decode(Map, [])),
    ?assertEqual(#{ok => <<"ok">>, Unknown => 1}, decode(Map, [{keys, existing_atom}])),
    Maps = <<16#dc, 100:16, (binary:copy(Map, 100))/binary>>,
    ?assertEqual(lists:duplicate(100, #{ok => <<"ok">>, Unknown => 1}), decode(Maps, [{keys, existing_atom}])),
    ?assertEqual(#{'λ' => 1}, decode(<<16#81, 16#a2, "λ"/utf8, 1>>, [{keys, existing_atom}])),
    %% Long keys are not remembered, and are looked up all the same.
    Long = binary_to_atom(binary:copy(<<"k">>, 200)),
    ?assertEqual(#{Long => 1}, decode(encode(#{atom_to_binary(Long) => 1}, []), [{keys, existing_atom}])),
    ?assertMatch({[], <<"a str that is not valid UTF-8", _/binary>>}, unreadable(<<16#81, 16#a1, 255, 1>>, [{keys, existing_atom}])).

no_atom_is_made_from_keys_test() ->
    Before = erlang:system_info(atom_count),
    [decode(encode(#{<<"nobody has ", (integer_to_binary(erlang:unique_integer([positive])))/binary>> => 1}, []), [{keys, existing_atom}])
     || _ <- lists:seq(1, 100)],
    ?assertEqual(Before, erlang:system_info(atom_count)).

nil_test() ->
    [begin
         ?assertEqual(<<16#91, 16#c0>>, encode([Nil], [{nil, Nil}])),
         ?assertEqual([Nil], decode(<<16#91, 16#c0>>, [{nil, Nil}]))
     end || Nil <- [nil, undefined, null]],
    ?assertEqual(<<16#d7, 1, "infinity">>, encode(infinity, [{floats, error}])).

floats_test() ->
    Nan = <<16#cb, 16#7ff8000000000000:64>>,
    ?assertEqual(nan, decode(Nan, [])),
    ?assertEqual(Nan, encode(nan, [{floats, atoms}])),
    ?assertEqual(<<16#c7, 3, 1, "nan">>, encode(nan, [{floats, error}])),
    ?assertMatch({[0], _}, unreadable(<<16#91, Nan/binary>>, [{floats, error}])),
    ?assertMatch({[], _}, unreadable(<<16#ca, 16#ff800000:32>>, [{floats, error}])),
    ?assertEqual(1.5, decode(<<16#ca, 1.5:32/float>>, [{floats, error}])).

keys_that_would_become_one_test() ->
    Message = <<"a map with another key that would be the same">>,
    ?assertMatch({[0, a], Message}, refused([#{a => 1, <<"a">> => 2}], [{atoms, string}])),
    ?assertMatch({[{1}], Message}, refused(#{{1} => 1, [1] => 2}, [{tuples, list}])),
    Large = maps:from_list([{N, N} || N <- lists:seq(1, 100)]),
    ?assertMatch({['λ'], Message}, refused(Large#{'λ' => 1, <<"λ"/utf8>> => 2}, [{atoms, string}])),
    Fine = #{nil => 1, <<"nil">> => 2, true => 3, <<"true">> => 4, nan => 5, <<"nan">> => 6, a => 7, {1} => 8, [2] => 9},
    ?assertEqual(Fine, decode(encode(Fine, []), [])),
    ?assertEqual(9, map_size(decode(encode(Fine, [{atoms, string}, {tuples, list}]), []))).

%% ---- Extensions

unknown_extensions_are_kept_test() ->
    Known = [-1, 13 | lists:seq(1, 11)],
    [begin
         Term = [ext(Type, Data), 1],
         ?assertEqual(Term, decode(encode(Term, []), []))
     end || Type <- lists:seq(-128, 127) -- Known, Data <- [<<>>, <<1>>, <<1:16>>, <<1:32>>, <<1:64>>, <<1:128>>, <<1:24>>]],
    [?assertEqual(ext(99, <<0:N/unit:8>>), decode(encode(ext(99, <<0:N/unit:8>>), []), [])) || N <- [255, 256, 65535, 65536]].

calls_know_no_foreign_extensions_test() ->
    ?assertMatch({error, #{kind := encode_error}}, pitcrew_nif:encode(ext(99, <<>>), #{})),
    ?assertMatch({error, #{kind := decode_error}}, pitcrew_nif:decode(<<16#d4, 99, 0>>, #{})).

extensions_that_are_none_test() ->
    [?assertMatch({[0], _}, refused([Ext], []))
     || Ext <- [ext(128, <<>>), ext(-129, <<>>), ext(a, <<>>), ext(1 bsl 40, <<>>), ext(99, nil), ext(99, <<1:3>>), (ext(99, <<>>))#{more => 1}]].

handlers_test() ->
    Bytes = <<16#93, 16#d4, 99, 5, 16#d4, 100, 6, 16#d5, 1, "ok">>,
    ?assertEqual([{99, <<5>>}, {100, <<6>>}, ok], decode(Bytes, [{ext, fun(Type, Data) -> {Type, Data} end}])),
    ?assertEqual([[5], ext(100, <<6>>), ok], decode(Bytes, [{ext, #{99 => fun binary_to_list/1}}])),
    ?assertEqual([ext(99, <<5>>), ext(100, <<6>>), "ok"], decode(Bytes, #{ext => #{1 => fun binary_to_list/1}})),
    Inside = <<16#81, 16#d4, 99, 5, 16#c9, 4:32, 4, 16#91, 16#d4, 99, 6>>,
    ?assertEqual(#{5 => #{'__struct__' => 'Elixir.MapSet', map => #{6 => []}, version => 2}}, decode(Inside, [{ext, fun(99, <<N>>) -> N end}])),
    ?assertEqual({ok, [7, [8]], <<>>}, pitcrew_msgpack:decode_all(<<16#d4, 99, 7, 16#91, 16#d4, 99, 8>>, [{ext, fun(99, <<N>>) -> N end}])).

handlers_that_fail_test() ->
    {[0, <<"a">>], Message} = unreadable(<<16#91, 16#81, 16#a1, "a", 16#d4, 99, 5>>, [{ext, fun(100, _) -> ok end}]),
    says(Message, <<"extension 99">>),
    {[0], Thrown} = unreadable(<<16#91, 16#d4, 99, 5>>, [{ext, #{99 => fun(_) -> throw(no) end}}]),
    says(Thrown, <<"throw">>).

handlers_of_every_type_test() ->
    [?assertEqual(Type, decode(<<16#d4, Type, 5>>, [{ext, #{Type => fun(<<5>>) -> Type end}}])) || Type <- lists:seq(0, 127)],
    [?assertEqual(Type, decode(<<16#d4, Type, 5>>, [{ext, #{Type => fun(<<5>>) -> Type end}}])) || Type <- lists:seq(-128, -1)].

timestamps_test() ->
    Year = fun(Bytes) -> maps:get(year, decode(Bytes, [])) end,
    ?assertEqual(1970, Year(<<16#d6, 255, 0:32>>)),
    ?assertEqual(2514, Year(<<16#d7, 255, 0:30, 16#3ffffffff:34>>)),
    ?assertEqual(1969, Year(<<16#c7, 12, 255, 0:32, -1:64>>)),
    [?assertEqual(ext(-1, Data), decode(<<16#c7, (byte_size(Data)), 255, Data/binary>>, [])) || Data <- [<<1:30, 0:34>>, <<0:32, (1 bsl 60):64>>]],
    ?assertEqual(<<16#d7, 255, 1:30, 0:34>>, encode(ext(-1, <<1:30, 0:34>>), [])),
    ?assertEqual({at, 5}, decode(<<16#d6, 255, 5:32>>, [{ext, #{-1 => fun(<<Seconds:32>>) -> {at, Seconds} end}}])),
    ?assertMatch({[], _}, unreadable(<<16#d4, 255, 0>>, [])).

%% ---- Limits

max_depth_test() ->
    ?assertEqual(<<16#91, 16#91, 1>>, encode([[1]], [{max_depth, 2}])),
    ?assertMatch({[0, 0], <<"nested more than 2 levels deep">>}, refused([[[1]]], [{max_depth, 2}])),
    ?assertEqual([[1]], decode(<<16#91, 16#91, 1>>, [{max_depth, 2}])),
    ?assertMatch({[0, 0], <<"nested more than 2 levels deep">>}, unreadable(<<16#91, 16#91, 16#91, 1>>, [{max_depth, 2}])),
    ?assertEqual(1, decode(encode(1, [{max_depth, 1}]), [{max_depth, 1}])),
    ?assertMatch({[0], _}, refused([{1}], [{max_depth, 1}])).

max_size_test() ->
    TooBig = fun(Result) -> ?assertMatch({error, #{kind := too_big}}, Result) end,
    [begin
         Term = [<<0:N/unit:8>>, <<"x">>],
         Size = byte_size(encode(Term, [])),
         ?assertMatch({ok, _}, pitcrew_msgpack:encode(Term, [{max_size, Size}])),
         ?assertMatch({ok, _}, pitcrew_msgpack:encode_to_iodata(Term, [{max_size, Size}])),
         [begin
              TooBig(pitcrew_msgpack:encode(Term, [{max_size, Less}])),
              TooBig(pitcrew_msgpack:encode_to_iodata(Term, [{max_size, Less}]))
          end || Less <- lists:usort([1, 2, Size div 2, Size - 3, Size - 2, Size - 1]), Less > 0, Less < Size],
         Bytes = encode(Term, []),
         ?assertEqual({ok, Term}, pitcrew_msgpack:decode(Bytes, [{max_size, Size}])),
         TooBig(pitcrew_msgpack:decode(Bytes, [{max_size, Size - 1}])),
         ?assertEqual({ok, [Term, Term], <<>>}, pitcrew_msgpack:decode_all(<<Bytes/binary, Bytes/binary>>, [{max_size, Size}])),
         TooBig(pitcrew_msgpack:decode_all(<<1, Bytes/binary>>, [{max_size, Size - 1}])),
         TooBig(pitcrew_msgpack:decode_all(binary:part(Bytes, 0, Size - 1), [{max_size, Size - 2}]))
     end || N <- [0, 1, 511, 512, 513, 1024, 2000, 100000]].

%% ---- Streams

every_chunking_is_equal_test() ->
    Terms = [1, <<"hello">>, [1, #{<<"a">> => {1, 2.5}}], ok, self(), <<0:8000>>, #{}, 1 bsl 100],
    Bytes = iolist_to_binary([encode(Term, []) || Term <- Terms]),
    [?assertEqual({Size, Terms}, {Size, feed(Bytes, Size, <<>>)}) || Size <- [1, 2, 3, 7, 64, 1000, byte_size(Bytes)]].

feed(<<>>, _, <<>>) ->
    [];
feed(Bytes, Size, Rest) when byte_size(Bytes) > 0 ->
    {Chunk, More} = split_binary(Bytes, min(Size, byte_size(Bytes))),
    {ok, Terms, NewRest} = pitcrew_msgpack:decode_all(<<Rest/binary, Chunk/binary>>),
    Terms ++ feed(More, Size, NewRest).

streams_with_an_error_test() ->
    ?assertMatch({error, #{kind := decode_error, path := [2, 0]}}, pitcrew_msgpack:decode_all(<<1, 2, 16#91, 16#c1, 3>>)),
    ?assertEqual({ok, [], <<>>}, pitcrew_msgpack:decode_all(<<>>)),
    ?assertEqual({ok, [], <<16#dd>>}, pitcrew_msgpack:decode_all(<<16#dd>>)).

long_streams_test() ->
    Terms = lists:seq(1, 100000),
    Bytes = iolist_to_binary([encode(Term, []) || Term <- Terms]),
    ?assertEqual({ok, Terms, <<>>}, pitcrew_msgpack:decode_all(Bytes)),
    ?assertMatch({error, #{path := [100000]}}, pitcrew_msgpack:decode_all(<<Bytes/binary, 16#c1>>)).

%% ---- What is shared

large_binaries_are_not_copied_into_iodata_test() ->
    Large = binary:copy(<<"x">>, 5000),
    {ok, [_, Same, _]} = pitcrew_msgpack:encode_to_iodata([Large, 1]),
    ?assertEqual(Large, Same),
    Before = erlang:memory(binary),
    Huge = binary:copy(<<"x">>, 50000000),
    {ok, Parts} = pitcrew_msgpack:encode_to_iodata([Huge, {Huge, #{Huge => bytes(Huge)}}]),
    ?assert(erlang:memory(binary) - Before < 60000000),
    ?assertEqual(4 * byte_size(Huge) + 6 + 4 * 5 + 2, iolist_size(Parts) - 1).

iodata_is_the_same_test() ->
    Blob = fun(N) -> binary:copy(<<"y">>, N) end,
    Struct = fun(Name, Fields) -> Fields#{'__struct__' => Name} end,
    [?assertEqual(encode(Term, Options), iolist_to_binary(element(2, {ok, _} = pitcrew_msgpack:encode_to_iodata(Term, Options))))
     || Term <- [
            1, Blob(511), Blob(512), [Blob(600) || _ <- lists:seq(1, 15)], [Blob(600) || _ <- lists:seq(1, 16)],
            [[Blob(700), N, {Blob(800), [Blob(900)]}] || N <- lists:seq(1, 40)],
            {Blob(600), {Blob(700), {Blob(800)}}}, [[a, {Blob(600)}] | [[ok, Blob(600), ok]]],
            #{Blob(600) => Blob(700), a => #{Blob(600) => a}}, [#{Blob(600) => 1}, #{Blob(600) => 2}],
            [bytes(Blob(1000)), ext(99, Blob(1000)), ok, ok],
            [Struct('Elixir.Pitcrew.Arrow', #{data => Blob(1000)}), Struct('Elixir.Pitcrew.Tensor', #{dtype => <<"|u1">>, shape => {1000}, data => Blob(1000)})],
            Struct('Elixir.MapSet', #{map => #{Blob(600) => [], {Blob(700)} => []}, version => 2}),
            [[Blob(600), <<255>> | improper], Blob(700), ok], [ok, [[Blob(600) | x] | y], [Blob(700)], ok],
            [[[ok, Blob(600), ok] || _ <- lists:seq(1, 20)], ok]
        ],
        Options <- [[], [{binaries, bin}], [{atoms, string}]]].

a_large_iodata_goes_on_elsewhere_test() ->
    Term = [[binary:copy(<<"z">>, 600), N] || N <- lists:seq(1, 5000)],
    {ok, Parts} = pitcrew_msgpack:encode_to_iodata(Term),
    ?assertEqual(Term, decode(iolist_to_binary(Parts), [])).

copies_when_asked_test() ->
    Large = binary:copy(<<"x">>, 100000),
    Bytes = encode([Large, 1], []),
    [Part, 1] = decode(Bytes, []),
    ?assertEqual(byte_size(Bytes), binary:referenced_byte_size(Part)),
    [Own, 1] = decode(Bytes, [{copy_binaries, true}]),
    ?assertEqual(byte_size(Large), binary:referenced_byte_size(Own)),
    ?assertEqual({ok, Bytes}, pitcrew_msgpack:encode_to_iodata([Large, 1], [{copy_binaries, true}])).

parts_of_odd_inputs_test() ->
    Term = [binary:copy(<<"abc">>, 1000), ext(99, binary:copy(<<1>>, 1000)), #{binary:copy(<<"k">>, 300) => 1}],
    Bytes = encode(Term, []),
    <<_:3, Unaligned:(byte_size(Bytes))/binary, _/bitstring>> = <<0:3, Bytes/binary, 0:5>>,
    ?assertEqual(Term, decode(Unaligned, [])),
    Inner = binary:part(<<0, Bytes/binary, 0>>, 1, byte_size(Bytes)),
    ?assertEqual(Term, decode(Inner, [])).

parts_outlive_the_input_test() ->
    Part = hd(decode(encode([binary:copy(<<"abc">>, 1000)], []), [])),
    erlang:garbage_collect(),
    ?assertEqual(binary:copy(<<"abc">>, 1000), Part).

%% ---- Options

wrong_options_test() ->
    [says(invalid([{Name, Value}]), atom_to_binary(Name))
     || {Name, Value} <- [{binaries, bytes}, {bytes, raw}, {atoms, atom}, {tuples, tuple}, {keys, atom}, {nil, none}, {floats, float}, {ext, 1},
                          {ext, #{200 => fun(_) -> 1 end}}, {ext, #{1 => fun(_, _) -> 1 end}}, {ext, fun(_) -> 1 end}, {max_depth, 0}, {max_depth, 513},
                          {max_size, 0}, {max_size, big}, {copy_binaries, maybe_}]],
    says(invalid([{binarie, str}]), <<"did you mean binaries?">>),
    says(invalid([{keys, string}, {keys, string}]), <<"twice">>),
    says(invalid(not_a_list), <<"a map or a list">>).

structs_without_elixir_test() ->
    Struct = #{'__struct__' => 'Elixir.NoSuchStruct'},
    {[1], Message} = refused([1, Struct], []),
    says(Message, <<"NoSuchStruct">>),
    {error, #{path := [1]}} = pitcrew_msgpack:encode_to_iodata([1, Struct]).
