%% Properties of the codec, with PropEr run by EUnit. PropEr's functions are called by their names, because its header
%% is a package of its own on Debian.
-module(pitcrew_codec_prop_tests).

-include_lib("eunit/include/eunit.hrl").

-import(proper_types, [list/1, oneof/1, frequency/1, range/2, byte/0, non_neg_integer/0]).

-define(GEN, pitcrew_types_gen).

for_all(Type, Fun) -> proper:forall(Type, Fun).
with(Type, Fun) -> proper_types:bind(Type, Fun, false).

check(Property, Tests) ->
    {timeout, 120, fun() ->
        case proper:quickcheck(Property, [{numtests, Tests}, {max_size, 30}, quiet]) of
            true -> ok;
            false -> error({counterexample, proper:counterexample()})
        end
    end}.

round_trip_test_() -> check(prop_round_trip(), 400).
arbitrary_bytes_test_() -> check(prop_arbitrary_bytes(), 3000).
damaged_bytes_test_() -> check(prop_damaged_bytes(), 400).
agrees_with_itself_test_() -> check(prop_agrees_with_itself(), 1500).
every_type_test_() -> [check(prop_round_trip(Type), 200) || Type <- types()].
iodata_test_() -> check(prop_iodata(), 300).
chunks_test_() -> check(prop_chunks(), 200).
options_test_() -> check(prop_options(), 300).

%% What goes out comes back.
prop_round_trip() ->
    for_all(value(), fun(Term) ->
        {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
        {ok, Term} =:= pitcrew_nif:decode(Bytes, #{})
    end).

prop_round_trip(Type) ->
    for_all(list(Type), fun(Terms) ->
        {ok, Bytes} = pitcrew_nif:encode(Terms, #{}),
        {ok, Terms} =:= pitcrew_nif:decode(Bytes, #{bytes => tagged})
    end).

%% In parts or in one, it is the same.
prop_iodata() ->
    for_all(proper_types:resize(8, list(oneof([value(), ?GEN:large_text()]))), fun(Term) ->
        {ok, Bytes} = pitcrew_msgpack:encode(Term),
        {ok, Parts} = pitcrew_msgpack:encode_to_iodata(Term),
        {ok, Copied} = pitcrew_msgpack:decode(Bytes, [{copy_binaries, true}]),
        Bytes =:= iolist_to_binary(Parts) andalso {ok, Copied} =:= pitcrew_msgpack:decode(Bytes)
    end).

%% However a stream is cut, the same values come out of it.
prop_chunks() ->
    for_all({proper_types:resize(8, list(value())), list(range(1, 20))}, fun({Terms, Sizes}) ->
        {ok, Bytes} = encode_all(Terms),
        Terms =:= feed(Bytes, Sizes, <<>>)
    end).

encode_all(Terms) -> {ok, iolist_to_binary([element(2, {ok, _} = pitcrew_msgpack:encode(Term)) || Term <- Terms])}.

feed(Bytes, [Size | Sizes], Rest) when byte_size(Bytes) > Size ->
    {Chunk, More} = split_binary(Bytes, Size),
    {ok, Terms, NewRest} = pitcrew_msgpack:decode_all(<<Rest/binary, Chunk/binary>>),
    Terms ++ feed(More, Sizes, NewRest);
feed(Bytes, _, Rest) ->
    {ok, Terms, <<>>} = pitcrew_msgpack:decode_all(<<Rest/binary, Bytes/binary>>),
    Terms.

%% Whatever the options, bytes from anywhere give a term or an error.
prop_options() ->
    Handlers = oneof([nil, fun(Type, Data) -> {Type, Data} end, #{1 => fun(Data) -> Data end, 77 => fun(Data) -> Data end}]),
    Options = [
        {bytes, oneof([plain, tagged])}, {atoms, oneof([ext, existing, string])}, {keys, oneof([string, existing_atom])},
        {nil, oneof([nil, undefined, null])}, {floats, oneof([atoms, error])}, {max_depth, range(1, 512)},
        {copy_binaries, proper_types:boolean()}, {ext, Handlers}
    ],
    for_all({hostile(), Options}, fun({Bytes, Given}) ->
        case pitcrew_msgpack:decode(Bytes, Given) of
            {ok, Term} -> is_binary(term_to_binary(Term));
            {error, #{kind := decode_error, path := Path}} -> is_list(Path)
        end
    end).

%% Bytes from anywhere give a sound term or an error.
prop_arbitrary_bytes() -> for_all(hostile(), fun is_survived/1).

%% So do good bytes with a part taken out, put in or changed.
prop_damaged_bytes() ->
    Input = {value(), oneof([cut, insert, change, cut_front]), non_neg_integer(), byte()},
    for_all(Input, fun({Term, Damage, At, Byte}) ->
        {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
        is_survived(damage(Damage, Bytes, At rem byte_size(Bytes), Byte))
    end).

%% Whatever can be decoded can be encoded again (bin as bytes, since it need not be text), and is then the same.
prop_agrees_with_itself() ->
    for_all(hostile(), fun(Bytes) ->
        case pitcrew_nif:decode(Bytes, #{}) of
            {ok, Term} ->
                {ok, Again} = pitcrew_nif:encode(Term, #{binaries => bytes}),
                {ok, Term} =:= pitcrew_nif:decode(Again, #{});
            {error, _} ->
                true
        end
    end).

is_survived(Bytes) ->
    case pitcrew_nif:decode(Bytes, #{}) of
        {ok, Term} -> binary_to_term(term_to_binary(Term)) =:= Term;
        {error, #{kind := decode_error, message := Message, path := Path}} -> is_binary(Message) andalso is_list(Path)
    end.

damage(cut, Bytes, At, _) -> binary:part(Bytes, 0, At);
damage(cut_front, Bytes, At, _) -> binary:part(Bytes, At, byte_size(Bytes) - At);
damage(insert, Bytes, At, Byte) ->
    <<Before:At/binary, After/binary>> = Bytes,
    <<Before/binary, Byte, After/binary>>;
damage(change, Bytes, At, Byte) ->
    <<Before:At/binary, _, After/binary>> = Bytes,
    <<Before/binary, Byte, After/binary>>.

value() -> ?GEN:value(oneof([?GEN:set(?GEN:scalar()) | structs()])).

types() -> structs() ++ [?GEN:scalar(), ?GEN:set(?GEN:scalar()), ?GEN:any_tensor(), ?GEN:arrow(), ?GEN:bytes(), ?GEN:large_text()].

structs() ->
    Years = range(-9999, 9999),
    Zone = {?GEN:text(), ?GEN:text(), range(-50000, 50000), proper_types:integer()},
    [
        ?GEN:a_date(Years), ?GEN:a_time(), ?GEN:naive(Years), ?GEN:utc(Years), ?GEN:zoned(Years, Zone),
        ?GEN:decimal(proper_types:integer()), ?GEN:opaque()
    ].

%% Bytes that look like MessagePack often enough to get far.
hostile() ->
    Starts = [<<16#dc, 0, 2>>, <<16#d4, 1>>, <<16#c7, 3, 3, 16#92>>, <<16#d5, 2, 0>>, <<16#a1, "x">>],
    Part = frequency([{3, byte()}, {2, range(16#c0, 16#df)}, {2, range(16#80, 16#9f)}, {1, oneof(Starts)}]),
    with(list(Part), fun iolist_to_binary/1).
