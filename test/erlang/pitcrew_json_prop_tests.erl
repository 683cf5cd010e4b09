%% Properties of JSON, with PropEr run by EUnit. PropEr's functions are called by their names, because its header
%% is a package of its own on Debian.
-module(pitcrew_json_prop_tests).

-include_lib("eunit/include/eunit.hrl").

-import(proper_types, [list/1, oneof/1, frequency/1, integer/0, float/0, range/2, byte/0, non_neg_integer/0, boolean/0]).

for_all(Type, Fun) -> proper:forall(Type, Fun).
with(Type, Fun) -> proper_types:bind(Type, Fun, false).

check(Property, Tests) ->
    {timeout, 120, fun() ->
        case proper:quickcheck(Property, [{numtests, Tests}, {max_size, 30}, quiet]) of
            true -> ok;
            false -> error({counterexample, proper:counterexample()})
        end
    end}.

round_trip_test_() -> check(prop_round_trip(), 500).
arbitrary_bytes_test_() -> check(prop_arbitrary_bytes(), 30000).
damaged_text_test_() -> check(prop_damaged_text(), 1000).
agrees_with_itself_test_() -> check(prop_agrees_with_itself(), 30000).
big_integers_test_() -> check(prop_big_integers(), 5000).
any_term_test_() -> check(prop_any_term(), 1000).

%% What goes out comes back, however it is laid out.
prop_round_trip() ->
    for_all({value(), range(0, 31), boolean()}, fun({Term, Indent, SortKeys}) ->
        {ok, Text} = pitcrew_json:encode(Term, #{indent => Indent, sort_keys => SortKeys}),
        {ok, Term} =:= pitcrew_json:decode(Text)
    end).

%% Bytes from anywhere give a sound term or an error.
prop_arbitrary_bytes() -> for_all({hostile(), options()}, fun({Bytes, Options}) -> is_survived(Bytes, Options) end).

%% So does good text with a part taken out, put in or changed.
prop_damaged_text() ->
    Input = {value(), oneof([cut, insert, change, cut_front]), non_neg_integer(), byte(), options()},
    for_all(Input, fun({Term, Damage, At, Byte, Options}) ->
        {ok, Text} = pitcrew_json:encode(Term),
        is_survived(damage(Damage, Text, At rem byte_size(Text), Byte), Options)
    end).

%% Whatever can be decoded can be encoded again, and is then the same.
prop_agrees_with_itself() ->
    for_all({hostile(), options()}, fun({Bytes, Options}) ->
        case pitcrew_json:decode(Bytes, Options) of
            {ok, Term} ->
                {ok, Again} = pitcrew_json:encode(Term),
                {ok, Term} =:= pitcrew_json:decode(Again);
            {error, _} ->
                true
        end
    end).

%% With floats for them, integers of any size are read, and those that fit stay what they are.
prop_big_integers() ->
    Digits = with({range(0, 70), range(-2, 2), oneof([1, -1])}, fun({Bits, Delta, Sign}) -> Sign * ((1 bsl Bits) + Delta) end),
    for_all(list(Digits), fun(Numbers) ->
        Text = iolist_to_binary([$[, lists:join($,, [integer_to_binary(N) || N <- Numbers]), $]]),
        Expected = [case N >= -(1 bsl 63) andalso N < (1 bsl 63) of true -> N; false -> float(N) end || N <- Numbers],
        {ok, Expected} =:= pitcrew_json:decode(Text, [{big_integers, float}])
    end).

%% A term of any kind is text that can be read, or an error whose path leads to something that is there.
prop_any_term() ->
    for_all(any_term(), fun(Term) ->
        case pitcrew_json:encode(Term) of
            {ok, Text} -> element(1, pitcrew_json:decode(Text)) =:= ok;
            {error, #{kind := encode_error, path := Path}} -> leads_to_something(Path, Term)
        end
    end).

leads_to_something([], _) -> true;
leads_to_something([Key | Path], Map) when is_map(Map) -> leads_to_something(Path, maps:get(Key, Map));
leads_to_something([N | Path], List) -> leads_to_something(Path, nth(N, List)).

nth(0, [Element | _]) -> Element;
nth(N, [_ | Rest]) -> nth(N - 1, Rest).

is_survived(Bytes, Options) ->
    case pitcrew_json:decode(Bytes, Options) of
        {ok, Term} ->
            binary_to_term(term_to_binary(Term)) =:= Term;
        {error, #{kind := decode_error, message := Message, path := [], reason := #{line := Line, column := Column, position := At}}} ->
            is_list(unicode:characters_to_list(Message)) andalso Line >= 1 andalso Column >= 0 andalso At >= 0 andalso At =< byte_size(Bytes)
    end.

damage(cut, Text, At, _) -> binary:part(Text, 0, At);
damage(cut_front, Text, At, _) -> binary:part(Text, At, byte_size(Text) - At);
damage(insert, Text, At, Byte) ->
    <<Before:At/binary, After/binary>> = Text,
    <<Before/binary, Byte, After/binary>>;
damage(change, Text, At, Byte) ->
    <<Before:At/binary, _, After/binary>> = Text,
    <<Before/binary, Byte, After/binary>>.

options() -> with({oneof([last, error]), oneof([error, float])}, fun({D, B}) -> #{duplicate_keys => D, big_integers => B} end).

value() -> proper_types:sized(fun value/1).

value(0) -> scalar();
value(Size) ->
    Part = proper_types:lazy(fun() -> proper_types:resize(Size div 4, value(Size div 4)) end),
    frequency([{4, scalar()}, {2, list(Part)}, {2, with(list({key(), Part}), fun maps:from_list/1)}]).

scalar() ->
    Edge = with({range(0, 62), range(-2, 2), oneof([1, -1])}, fun({Bits, Delta, Sign}) -> Sign * ((1 bsl Bits) + Delta) end),
    oneof([integer(), Edge, float(), any_float(), text(), oneof([nil, true, false])]).

any_float() ->
    with(list(byte()), fun(Bytes) ->
        case <<(list_to_binary(Bytes))/binary, 0:64>> of
            <<F:64/float, _/binary>> -> F;
            _ -> 0.0
        end
    end).

text() ->
    Char = frequency([{5, range(32, 126)}, {1, range(0, 31)}, {1, range(16#80, 16#7ff)}, {1, range(16#e000, 16#10ffff)}]),
    with(list(Char), fun unicode:characters_to_binary/1).

key() ->
    Char = frequency([{5, range(32, 126)}, {1, range(1, 31)}, {1, range(16#80, 16#7ff)}]),
    with(list(Char), fun unicode:characters_to_binary/1).

%% Keys and values of every kind, also those that JSON has no place for.
any_term() -> proper_types:sized(fun any_term/1).

any_term(0) ->
    oneof([scalar(), key(), oneof([a, b, 'λ', nan, {}, {1}, self(), make_ref(), <<255>>, <<1:3>>, 1 bsl 64, [1 | 2], '__struct__'])]);
any_term(Size) ->
    Part = proper_types:lazy(fun() -> proper_types:resize(Size div 4, any_term(Size div 4)) end),
    Key = frequency([{8, oneof([key(), a, b, <<"a">>, <<"b">>])}, {1, Part}]),
    frequency([{3, any_term(0)}, {2, list(Part)}, {2, with(list({Key, Part}), fun maps:from_list/1)}]).

%% Bytes that look like JSON often enough to get far.
hostile() ->
    Pieces = [<<"[">>, <<"]">>, <<"{">>, <<"}">>, <<",">>, <<":">>, <<"\"">>, <<"\"a\":">>, <<"\"a\"">>, <<"\\">>, <<"\\u00">>, <<"\\ud83d\\ude00">>,
        <<"null">>, <<"true">>, <<"-1">>, <<"1.5e3">>, <<"99999999999999999999">>, <<"e">>, <<".">>, <<" ">>, <<"\n">>, <<"[1,">>, <<"{\"k\":1,">>],
    with(list(frequency([{1, byte()}, {12, oneof(Pieces)}])), fun iolist_to_binary/1).
