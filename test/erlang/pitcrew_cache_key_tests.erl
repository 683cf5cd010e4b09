%% Keys of terms: equal where Python could see no difference, else different; and how much terms weigh.
-module(pitcrew_cache_key_tests).
-include_lib("eunit/include/eunit.hrl").

-define(KEY, <<1:128>>).
-define(GEN, pitcrew_types_gen).

key(Term) -> pitcrew_nif:term_key(Term, ?KEY, 0).

struct(Name, Fields) -> Fields#{'__struct__' => Name}.
set(Elements) -> struct('Elixir.MapSet', #{map => maps:from_list([{E, []} || E <- Elements]), version => 2}).

%% Every one of them is something else to a tool.
differ() ->
    [
        1, 1.0, -1, 0, 0.0, <<"1">>, 'a', <<"a">>, pitcrew:bytes(<<"a">>), "a", [<<"a">>], {<<"a">>}, [], {}, #{}, <<>>, '', nil, undefined,
        true, [1, 2], [2, 1], {1, 2}, [[1], 2], [1, [2]], [[1, 2]], [1, 2, []], #{1 => 2}, #{2 => 1}, #{1 => #{}}, #{#{} => 1},
        #{a => b}, #{b => a}, #{a => 1, b => 2}, #{a => 2, b => 1}, #{<<"a">> => b}, #{a => #{b => 1}}, set([]), set([1]), set([1, 2]), set([[1, 2]]),
        #{1 => [], 2 => []}, [{1, []}, {2, []}], 1 bsl 54, 1 bsl 55, 1 bsl 56, 1 bsl 62, 1 bsl 63, 1 bsl 64, -(1 bsl 55), -(1 bsl 55) - 1,
        -(1 bsl 63), -(1 bsl 64), 1 bsl 300, <<0>>, <<0, 0>>, binary:copy(<<0>>, 7), binary:copy(<<0>>, 8), binary:copy(<<0>>, 9), 'λ', <<"λ"/utf8>>,
        float(1 bsl 60), 1 bsl 60, 'é', <<"é">>, [a | [b]], [a, b, c], struct(date, #{y => 1}), struct(time, #{y => 1}), #{y => 1}
    ].

different_terms_test() ->
    Keys = [{key(Term), Term} || Term <- differ()],
    ?assertEqual([], [{A, B} || {K, A} <- Keys, {L, B} <- Keys, K =:= L, A =/= B]),
    ?assert(lists:all(fun({Key, _}) -> byte_size(Key) =:= 16 end, Keys)).

%% One test could not see it if the VM calls them the same term.
signed_zeros_differ_test() ->
    <<Minus/float>> = <<16#8000000000000000:64>>,
    ?assertNotEqual(key(0.0), key(Minus)).

%% However they were made, and whatever the order in which this VM keeps them.
order_does_not_matter_test() ->
    [begin
         Pairs = [{{N, a}, N * 1.5} || N <- lists:seq(1, Size)],
         Key = key([maps:from_list(Pairs), set(Pairs)]),
         Shuffled = pitcrew_test:shuffle(Pairs),
         ?assertEqual(Key, key([lists:foldl(fun({K, V}, M) -> M#{K => V} end, #{}, Shuffled), set(Shuffled)]))
     end || Size <- [0, 1, 2, 8, 9, 31, 32, 33, 100, 1000]].

%% Versions of Elixir differ in what else a MapSet has.
fields_of_a_set_do_not_matter_test() ->
    ?assertEqual(key(set([1, 2])), key((set([1, 2]))#{version := 3})).

%% The same on every node, so another build must not change it.
it_is_written_down_test() ->
    Term = {<<"search">>, [#{query => <<"beam">>, k => 5}, [1.5, -1, nil, 1 bsl 70]], 0},
    ?assertEqual(<<"78C17A1F24A5649BFA6BDB9D68A16EA2">>, binary:encode_hex(key(Term))).

the_key_of_the_hash_counts_test() ->
    ?assertNotEqual(key(1), pitcrew_nif:term_key(1, <<2:128>>, 0)),
    ?assertError(badarg, pitcrew_nif:term_key(1, <<2:120>>, 0)),
    ?assertError(badarg, pitcrew_nif:term_key(1, key, 0)).

no_key_test() ->
    Port = hd(erlang:ports()),
    Deep = lists:foldl(fun(_, Inside) -> [Inside] end, [], lists:seq(1, 600)),
    [begin
         [?assertEqual({none, Whole}, {key(Whole), Whole}) || Whole <- [Term, [Term], {1, Term}, #{a => Term}, #{Term => 1}, set([Term])]],
         ?assertEqual({none, Term}, {pitcrew_nif:term_weight([Term]), Term})
     end || Term <- [self(), make_ref(), Port, fun lists:map/2, fun() -> Port end, <<1:3>>, [1 | 2], Deep]].

%% Wherever a walk goes on on a dirty scheduler, it comes to the same.
budgets_test_() ->
    {timeout, 60, fun() ->
        Terms = [lists:seq(1, 200), maps:from_list([{N, {N}} || N <- lists:seq(1, 50)]), binary:copy(<<"x">>, 5000), [1 bsl 4000, set([1, 2])]],
        [?assertEqual(key(Term), pitcrew_nif:term_key(Term, ?KEY, Units)) || Term <- Terms, Units <- lists:seq(1, 300)]
    end}.

%% As deep as calls go, on the short stack of a dirty scheduler.
deep_terms_test() ->
    Deep = fun(Around) -> lists:foldl(fun(_, Inside) -> Around(Inside) end, 1, lists:seq(1, 511)) end,
    [begin
         ?assertEqual(key(Deep(Around)), pitcrew_nif:term_key(Deep(Around), ?KEY, 1)),
         ?assert(pitcrew_nif:term_weight(Deep(Around)) > 511)
     end || Around <- [fun(X) -> [X] end, fun(X) -> {X} end, fun(X) -> #{a => X, b => 1} end, fun(X) -> #{X => 1} end, fun(X) -> set([X]) end]].

it_stays_short_test_() ->
    {timeout, 60, fun() ->
        Term = [maps:from_list([{N, binary:copy(<<"y">>, N rem 500)} || N <- lists:seq(1, 20_000)]), binary:copy(<<"x">>, 5_000_000), lists:seq(1, 100_000)],
        pitcrew_test:stays_short(fun() -> key(Term), pitcrew_nif:term_weight(Term) end)
    end}.

%% ---- Properties

check(Property, Tests) ->
    {timeout, 120, fun() ->
        case proper:quickcheck(Property, [{numtests, Tests}, {max_size, 30}, quiet]) of
            true -> ok;
            false -> error({counterexample, proper:counterexample()})
        end
    end}.

plain() -> ?GEN:value(proper_types:oneof([?GEN:bytes(), ?GEN:any_tensor(), ?GEN:a_date(proper_types:range(0, 3000))])).

%% A copy that shares nothing, with its maps made anew in another order.
rebuilt(Map) when is_map(Map) ->
    lists:foldl(fun({K, V}, M) -> M#{rebuilt(K) => rebuilt(V)} end, #{}, pitcrew_test:shuffle(maps:to_list(Map)));
rebuilt(List) when is_list(List) -> [rebuilt(E) || E <- List];
rebuilt(Tuple) when is_tuple(Tuple) -> list_to_tuple(rebuilt(tuple_to_list(Tuple)));
rebuilt(Other) -> binary_to_term(term_to_binary(Other)).

equal_terms_test_() -> check(proper:forall(plain(), fun(Term) -> key(Term) =:= key(rebuilt(Term)) end), 500).

%% Zeros apart, which are one term with two forms on some releases.
different_terms_test_() ->
    check(proper:forall({plain(), plain()}, fun({A, B}) -> (A =:= B) =:= (key(A) =:= key(B)) end), 1000).

%% What is wrapped in what, and where one ends and the next begins, counts.
nesting_test_() ->
    check(proper:forall({plain(), plain()}, fun({A, B}) ->
        All = [[A, B], [[A], B], [A, [B]], [[A, B]], {A, B}, [A | [[B]]] ++ [B], #{A => B}],
        length(lists:usort([key(T) || T <- All])) =:= length(lists:usort(All))
    end), 300).

%% No less than what the VM says, and not much more.
weight_test_() ->
    check(proper:forall(plain(), fun(Term) ->
        Weight = pitcrew_nif:term_weight(Term),
        Flat = 8 * erts_debug:flat_size(Term),
        Weight >= Flat - 64 andalso Weight =< 3 * Flat + erlang:external_size(Term) + 64
    end), 500).
