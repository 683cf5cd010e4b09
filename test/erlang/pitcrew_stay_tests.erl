%% Nothing stays above a millisecond on a normal scheduler, whatever it is given: by the clock of the native functions.
-module(pitcrew_stay_tests).

-include_lib("eunit/include/eunit.hrl").

%% Large, each in its own way: many small things, few large ones, what costs more than it seems, and what is found out late.
terms() ->
    Wide = unicode:characters_to_binary(lists:duplicate(700_000, 16#20ac)),
    Keys = [{integer_to_binary(N), N} || N <- lists:seq(1, 200_000)],
    [
        {numbers, lists:seq(1, 300_000)},
        {floats, [N / 7 || N <- lists:seq(1, 100_000)]},
        {most_floats_at_once, [N / 7 || N <- lists:seq(1, 43_000)]},
        {wide_text, [Wide, Wide, Wide]},
        {text_and_numbers, [binary:copy(<<"x">>, 3_000_000) | lists:seq(1, 100_000)]},
        {numbers_and_text, lists:seq(1, 20_000) ++ [Wide]},
        {bytes, [binary:copy(<<"y">>, 20_000_000)]},
        {middling_texts, [binary:copy(<<N:8, "z">>, 1000) || _ <- lists:seq(1, 100), N <- lists:seq(1, 100)]},
        {large_map, maps:from_list(Keys)},
        {small_maps, [#{<<"id">> => N, <<"name">> => <<"name">>, N => [N]} || N <- lists:seq(1, 50_000)]},
        {tuples, [{N, {N, a}} || N <- lists:seq(1, 100_000)]},
        {one_tuple, list_to_tuple(lists:seq(1, 200_000))},
        {set, #{'__struct__' => 'Elixir.MapSet', map => maps:from_keys(lists:seq(1, 100_000), []), version => 2}},
        {dates, lists:duplicate(50_000, #{'__struct__' => 'Elixir.Date', calendar => 'Elixir.Calendar.ISO', year => 2024, month => 2, day => 29})},
        {big_integers, [(1 bsl 200) + N || N <- lists:seq(1, 50_000)]},
        {huge_integer, 1 bsl 4_000_000},
        {huge_integers, [1, -(1 bsl 4_000_000), 1 bsl 131_072, 1 bsl 131_071, -(1 bsl 131_072)]},
        {huge_decimal, [#{'__struct__' => 'Elixir.Decimal', sign => 1, coef => 1 bsl 4_000_000, exp => 0}]},
        {improper, lists:seq(1, 100_000) ++ tail},
        {opaque, [make_ref() || _ <- lists:seq(1, 20_000)]},
        {large_opaque, fun() -> {Keys, self()} end},
        {atoms, [[a, b, c, ok, error, 'ä'] || _ <- lists:seq(1, 20_000)]},
        {nested, lists:foldl(fun(N, Inner) -> [N, Inner, lists:seq(1, 500)] end, [], lists:seq(1, 400))},
        {tensor, #{'__struct__' => 'Elixir.Pitcrew.Tensor', dtype => <<"|u1">>, shape => {20_000_000}, data => binary:copy(<<1>>, 20_000_000)}},
        {arrow, #{'__struct__' => 'Elixir.Pitcrew.Arrow', data => binary:copy(<<255, 255, 255, 255, 0, 0, 0, 0>>, 1_000_000)}}
    ].

stays_test_() ->
    [{timeout, 60, {atom_to_list(Name) ++ " " ++ atom_to_list(What), fun() -> pitcrew_test:stays_short(Fun) end}}
     || {Name, Term} <- terms(), {What, Fun} <- functions(Term)].

functions(Term) ->
    {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
    Twice = binary:copy(Bytes, 2),
    [
        {encode, fun() -> {ok, Bytes} = pitcrew_nif:encode(Term, #{}) end},
        {encode_iov, fun() -> {ok, _} = pitcrew_nif:encode_iov(Term, #{}) end},
        {decode, fun() -> {ok, _} = pitcrew_nif:decode(Bytes, #{}) end},
        {decode_copying, fun() -> {ok, _} = pitcrew_nif:decode(Bytes, #{copy_binaries => true}) end},
        {decode_all, fun() -> {ok, [_, _], 0} = pitcrew_nif:decode_all(Twice, #{}) end}
    ].

%% The clock that the tests above rely on does measure.
clock_test() ->
    ?assert(pitcrew_test:longest_stay(fun() -> {ok, _} = pitcrew_nif:encode(lists:seq(1, 10_000), #{inline_units => 1_000_000}) end) > 1000),
    {ok, _} = pitcrew_nif:encode(lists:seq(1, 1000), #{}),
    ?assertEqual(0, pitcrew_nif:longest_stay(false)).
