%% docs/types.md through a real worker: what goes to Python and back is equal, and so is what goes to the VM and back, or
%% an error names the path to what is wrong. Properties with PropEr, and every row of the table.
-module(pitcrew_types_prop_tests).

-include_lib("eunit/include/eunit.hrl").

-export([in_a_pool/1, for_all/2, holds/1, term/0]).

-import(proper_types, [oneof/1, frequency/1, integer/0, range/2]).

-define(GEN, pitcrew_types_gen).
-define(TESTS, 400).
-define(TAGGED, [{bytes, tagged}]).
%% What Python's generator uses must be there before it is sent here.
-define(ATOMS, [ok, error, undefined, 'λ', 'é', '']).

in_a_pool(Fun) -> {timeout, 240, fun() -> pitcrew_test:with_pool(#{tools => ["types_tools"], size => 1}, Fun) end}.

%% An exception is a failure with a counterexample; PropEr's own report of one needs an older OTP than ours.
for_all(Type, Fun) ->
    proper:forall(Type, fun(Instance) ->
        try
            Fun(Instance)
        catch
            _:_ ->
                false
        end
    end).
with(Type, Fun) -> proper_types:bind(Type, Fun, false).

holds(Property) ->
    case proper:quickcheck(Property, [{numtests, ?TESTS}, {max_size, 30}, quiet]) of
        true -> ok;
        false -> error({counterexample, proper:counterexample()})
    end.

%% ---- From the VM to Python and back

out_and_back_test_() -> in_a_pool(fun(Pool) -> holds(prop_out_and_back(Pool, [])) end).
out_and_back_with_strict_keys_test_() -> in_a_pool(fun(Pool) -> holds(prop_out_and_back(Pool, [{keys, strict}])) end).
out_and_back_without_tags_test_() -> in_a_pool(fun(Pool) -> holds(prop_without_tags(Pool)) end).
out_and_back_as_bytes_test_() -> in_a_pool(fun(Pool) -> holds(prop_as_bytes(Pool)) end).

prop_out_and_back(Pool, Keys) ->
    for_all(term(), fun(Term) ->
        case pitcrew:call(Pool, echo, [Term], Keys ++ ?TAGGED) of
            {ok, Back} -> Back =:= Term;
            {error, Error} -> pitcrew_types_refused:is_justified(Error, Term, Keys)
        end
    end).

%% Without the option Python's bytes and its str are both binaries.
prop_without_tags(Pool) ->
    for_all(term(), fun(Term) ->
        case pitcrew:call(Pool, echo, [Term]) of
            {ok, Back} -> Back =:= pitcrew_types_refused:untagged(Term);
            {error, Error} -> pitcrew_types_refused:is_justified(Error, Term, [])
        end
    end).

%% The other way round every binary is bytes, whatever is in it.
prop_as_bytes(Pool) ->
    Term = ?GEN:value(oneof([proper_types:binary(), ?GEN:a_time(), ?GEN:arrow()])),
    for_all(Term, fun(Given) ->
        case pitcrew:call(Pool, echo, [Given], [{binaries, bytes}]) of
            {ok, Back} -> Back =:= Given;
            {error, #{kind := decode_error} = Error} -> pitcrew_types_refused:is_justified(Error, Given, [])
        end
    end).

%% Of every row; a few of what is refused are among them.
term() ->
    Years = range(1, 9999),
    Sound = [
        ?GEN:bytes(), ?GEN:a_date(Years), ?GEN:a_time(), ?GEN:naive(Years), ?GEN:utc(Years), ?GEN:zoned(Years, zone()),
        ?GEN:decimal(0), ?GEN:tensor(), ?GEN:arrow(), ?GEN:passive(), ?GEN:large_text()
    ],
    ?GEN:value(frequency([{60, oneof(Sound)}, {1, refused()}])).

zone() ->
    Offsets = {range(-50000, 50000), oneof([0, 3600, -3600, range(-20000, 20000)])},
    Told = with({?GEN:text(), ?GEN:text(), Offsets}, fun({Name, Abbreviation, {Utc, Std}}) -> {Name, Abbreviation, Utc, Std} end),
    Real = [
        {<<"Europe/Berlin">>, <<"CET">>, 3600, 0}, {<<"Europe/Berlin">>, <<"CEST">>, 3600, 3600}, {<<"UTC">>, <<"UTC">>, 0, 0},
        {<<"Etc/UTC">>, <<"UTC">>, 0, 3600}, {<<"UTC+01:00">>, <<"UTC+01:00">>, 3600, 0}, {<<"Europe">>, <<"X">>, 0, 0}
    ],
    oneof([Told, oneof(Real)]).

refused() ->
    Early = range(-9999, 0),
    Far = {<<"Far">>, <<"F">>, oneof([86400, -86400, integer()]), oneof([0, 86400])},
    Tensor = with(oneof([<<"<f3">>, <<"|O8">>, <<"<u1">>, <<"|f8">>, <<>>]), fun(Dtype) ->
        ?GEN:struct("Pitcrew.Tensor", #{dtype => Dtype, shape => {1}, data => <<0:64>>})
    end),
    Twins = oneof([{1, 1.0}, {true, 1}, {0, false}, {<<"ok">>, ok}, {[1], [1.0]}, {{ok}, {<<"ok">>}}, {#{1 => 2}, #{1 => 2.0}}]),
    Colliding = with(Twins, fun({A, B}) -> #{A => 1, B => 2, c => 3} end),
    oneof([
        <<255>>, ?GEN:a_date(Early), ?GEN:naive(Early), ?GEN:utc(Early), ?GEN:zoned(range(1, 9999), Far),
        ?GEN:decimal(range(1, 3)), Tensor, Colliding, #{<<"a">> => 1, pitcrew:bytes(<<"a">>) => 2}
    ]).

%% ---- From Python to the VM and back

in_and_back_test_() -> in_a_pool(fun(Pool) -> ?assert(length(?ATOMS) > 0), holds(prop_in_and_back(Pool)) end).

prop_in_and_back(Pool) ->
    for_all(range(0, 1 bsl 40), fun(Seed) ->
        {ok, Term} = pitcrew:call(Pool, generate, [Seed], ?TAGGED),
        {ok, nil} =:= pitcrew:call(Pool, differs_from_generated, [Seed, Term], [{keys, strict}])
    end).

the_path_to_what_python_cannot_send_test_() -> in_a_pool(fun(Pool) -> holds(prop_path_from_python(Pool)) end).

prop_path_from_python(Pool) ->
    for_all(range(0, 1 bsl 40), fun(Seed) ->
        {error, #{kind := result_error, path := Path}} = pitcrew:call(Pool, generate_refused, [Seed], ?TAGGED),
        {ok, Path} =:= pitcrew:call(Pool, path_to_refused, [Seed], ?TAGGED)
    end).

%% ---- The table

every_row_test_() ->
    in_a_pool(fun(Pool) ->
        Rows = pitcrew_types_doc_tests:rows(),
        ?assert(length(Rows) >= 24),
        [row(Pool, Title, pitcrew_types_doc_tests:evaluate(Example), Python) || {Title, Example, Python, _} <- Rows]
    end).

%% What only the VM understands is the same class in Python, whatever it is.
row(Pool, Title, Term, "–") ->
    ?assertEqual({Title, {ok, <<"Opaque">>}}, {Title, pitcrew:call(Pool, type_name, [Term])}),
    ?assertEqual({Title, {ok, Term}}, {Title, pitcrew:call(Pool, echo, [Term])});
row(Pool, Title, Term, Python) ->
    Text = unicode:characters_to_binary(pitcrew_types_doc_tests:code(Python)),
    ?assertEqual({Title, {ok, nil}}, {Title, pitcrew:call(Pool, differs_from_example, [Term, Text])}),
    ?assertEqual({Title, {ok, Term}}, {Title, pitcrew:call(Pool, example, [Text], ?TAGGED)}).

another_nil_test_() ->
    in_a_pool(fun(Pool) ->
        Term = #{undefined => [undefined, nil, ok], k => {undefined}},
        ?assertEqual({ok, Term}, pitcrew:call(Pool, echo, [Term], [{nil, undefined}])),
        ?assertEqual({ok, <<"NoneType">>}, pitcrew:call(Pool, type_name, [undefined], [{nil, undefined}])),
        ?assertEqual({ok, <<"Atom">>}, pitcrew:call(Pool, type_name, [nil], [{nil, undefined}]))
    end).

%% ---- keys: strict

keys_that_python_calls_equal_test_() ->
    in_a_pool(fun(Pool) ->
        Map = #{1 => a, 1.0 => b, true => c, <<"ok">> => d, ok => e},
        Within = [#{<<"k">> => Map}],
        {error, #{kind := decode_error, path := [0, 0, <<"k">>], message := Message}} = pitcrew:call(Pool, echo, [Within]),
        ?assertMatch({_, _}, binary:match(Message, <<"are equal in Python">>)),
        ?assertEqual({ok, Within}, pitcrew:call(Pool, echo, [Within], [{keys, strict}])),
        ?assertEqual({ok, <<"Map">>}, pitcrew:call(Pool, type_name, [Map], #{keys => strict})),
        ?assertEqual({ok, <<"dict">>}, pitcrew:call(Pool, type_name, [#{1 => a}], [{keys, strict}])),
        ?assertEqual({ok, <<"Map">>}, pitcrew:call(Pool, type_name, #{value => Map}, [{keys, strict}, {binaries, bytes}])),
        %% What must be hashable is no Map.
        ?assertMatch({error, #{kind := decode_error, path := [0]}}, pitcrew:call(Pool, echo, [#{Map => 1}], [{keys, strict}]))
    end).

a_pool_may_say_so_for_its_calls_test_() ->
    {timeout, 60, fun() ->
        pitcrew_test:with_pool(#{tools => ["types_tools"], size => 1, keys => strict}, fun(Pool) ->
            Map = #{0 => a, false => b},
            ?assertEqual({ok, Map}, pitcrew:call(Pool, echo, [Map])),
            ?assertEqual({ok, Map}, pitcrew:call(Pool, echo, [Map], [{timeout, 5000}])),
            ?assertMatch({error, #{kind := decode_error}}, pitcrew:call(Pool, echo, [Map], [{keys, dict}]))
        end)
    end}.
