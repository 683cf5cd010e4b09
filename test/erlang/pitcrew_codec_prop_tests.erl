%% Properties of the codec, with PropEr run by EUnit. PropEr's functions are called by their names, because its header
%% is a package of its own on Debian.
-module(pitcrew_codec_prop_tests).

-include_lib("eunit/include/eunit.hrl").

-import(proper_types, [list/1, oneof/1, frequency/1, integer/0, float/0, range/2, byte/0, non_neg_integer/0]).

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

%% What goes out comes back.
prop_round_trip() ->
    for_all(value(), fun(Term) ->
        {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
        {ok, Term} =:= pitcrew_nif:decode(Bytes, #{})
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

value() -> proper_types:sized(fun value/1).

value(0) -> scalar();
value(Size) ->
    Part = proper_types:lazy(fun() -> proper_types:resize(Size div 4, value(Size div 4)) end),
    Map = with(list({Part, Part}), fun maps:from_list/1),
    Tuple = with(list(Part), fun list_to_tuple/1),
    frequency([{4, scalar()}, {2, list(Part)}, {2, Map}, {1, Tuple}]).

scalar() ->
    Atoms = [nil, true, false, nan, infinity, neg_infinity, undefined, ok, 'é', 'λ', ''],
    oneof([integer(), large_integer(), float(), text(), oneof(Atoms), range(-40, 300)]).

large_integer() ->
    with({range(0, 300), range(-2, 2), oneof([1, -1])}, fun({Bits, Delta, Sign}) -> Sign * ((1 bsl Bits) + Delta) end).

text() ->
    Char = frequency([{5, range(32, 126)}, {1, range(16#80, 16#7ff)}, {1, range(16#e000, 16#10ffff)}]),
    with(list(Char), fun unicode:characters_to_binary/1).

%% Bytes that look like MessagePack often enough to get far.
hostile() ->
    Starts = [<<16#dc, 0, 2>>, <<16#d4, 1>>, <<16#c7, 3, 3, 16#92>>, <<16#d5, 2, 0>>, <<16#a1, "x">>],
    Part = frequency([{3, byte()}, {2, range(16#c0, 16#df)}, {2, range(16#80, 16#9f)}, {1, oneof(Starts)}]),
    with(list(Part), fun iolist_to_binary/1).
