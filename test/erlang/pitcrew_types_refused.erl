%% Whether an error about a term is right: its path leads to something that docs/types.md says is refused.
-module(pitcrew_types_refused).

-export([is_justified/3, untagged/1]).

-define(DAY, 86400).
%% Keys that are nested deeper are told as text in a path that comes from Python.
-define(PATH_DEPTH, 4).
%% The kinds of NumPy's dtypes that the generators use and that are refused.
-define(DTYPES, [<<"<f3">>, <<"|O8">>, <<"<u1">>, <<"|f8">>, <<>>]).

%% @doc Options are those of the call that matter: {keys, strict}.
is_justified(#{kind := encode_error, path := [args, 0 | Path]}, Term, _) ->
    lists:any(fun has_no_text/1, follow(Path, Term));
is_justified(#{kind := decode_error, path := [0 | Path]}, Term, Options) ->
    lists:any(fun(Place) -> is_unreadable(Place, lists:member({keys, strict}, Options)) end, follow(Path, Term));
is_justified(#{kind := result_error, path := Path}, Term, _) ->
    lists:any(fun has_twins/1, follow(Path, Term));
is_justified(_, _, _) ->
    false.

%% @doc What stands at the end of a path. Keys that are told as text may be those of several values.
follow([], Term) -> [Term];
follow([N | Path], List) when is_integer(N), N >= 0, length(List) > N -> follow(Path, lists:nth(N + 1, List));
follow([N | Path], Tuple) when is_integer(N), N >= 0, tuple_size(Tuple) > N -> follow(Path, element(N + 1, Tuple));
follow([Step | Path], #{} = Map) ->
    lists:append([follow(Path, Value) || {Key, Value} <- maps:to_list(Map), is_step(Step, Key)]);
follow(_, _) -> [].

%% In a path a key is as it comes back from Python, and as text if it does not.
is_step(Step, Key) -> Step =:= Key orelse Step =:= untagged(Key) orelse (is_binary(Step) andalso is_text_in_paths(Key)).

is_text_in_paths(Key) -> depth(Key) > ?PATH_DEPTH orelse has_twins(#{Key => nil}).

depth(Term) when is_list(Term); is_tuple(Term); is_map(Term) -> 1 + lists:max([0 | lists:map(fun depth/1, elements(Term))]);
depth(_) -> 0.

proper([Head | Tail]) -> [Head | proper(Tail)];
proper([]) -> [];
proper(Tail) -> [Tail].

is_no_text(Binary) when is_binary(Binary) -> not is_binary(unicode:characters_to_binary(Binary));
is_no_text(_) -> false.

%% What stands in a key or an element is told at the map or the set.
has_no_text(Place) -> is_no_text(Place) orelse lists:any(fun is_no_text/1, parts(keys(Place))).

%% There strict keys are no help.
is_unreadable(#{'__struct__' := 'Elixir.MapSet'} = Set, _) -> is_unreadable(maps:get(map, Set), false);
is_unreadable(#{'__struct__' := _} = Struct, _) -> is_bad_struct(Struct);
is_unreadable(#{} = Map, IsStrict) ->
    (not IsStrict andalso are_twins(Map, fun python/1)) orelse
        lists:any(fun(Part) -> is_bad_struct(Part) orelse are_twins(Part, fun python/1) end, parts(maps:keys(Map)));
is_unreadable(_, _) -> false.

is_bad_struct(#{year := Year}) when Year < 1 -> true;
is_bad_struct(#{utc_offset := Utc, std_offset := Std}) -> lists:any(fun(N) -> abs(N) >= ?DAY end, [Utc, Std, Utc + Std]);
is_bad_struct(#{coef := Coef, exp := Exp}) when is_atom(Coef) -> Exp =/= 0;
is_bad_struct(#{dtype := Dtype}) -> lists:member(Dtype, ?DTYPES);
is_bad_struct(_) -> false.

%% Whether keys, or elements, become the same; those inside of keys are told here, too.
has_twins(Place) -> lists:any(fun(Part) -> are_twins(Part, fun untagged/1) end, [Place | parts(keys(Place))]).

are_twins(Place, Form) ->
    Keys = keys(Place),
    length(lists:usort([Form(Key) || Key <- Keys])) < length(Keys).

keys(#{'__struct__' := 'Elixir.MapSet', map := Map}) -> maps:keys(Map);
keys(#{'__struct__' := _}) -> [];
keys(#{} = Map) -> maps:keys(Map);
keys(_) -> [].

%% A term and everything in it.
parts(Term) -> [Term | lists:append([parts(Part) || Part <- elements(Term)])].

elements(List) when is_list(List) -> proper(List);
elements(Tuple) when is_tuple(Tuple) -> tuple_to_list(Tuple);
elements(#{'__struct__' := Name}) when Name =/= 'Elixir.MapSet' -> [];
elements(#{'__struct__' := _} = Set) -> keys(Set);
elements(#{} = Map) -> maps:keys(Map) ++ maps:values(Map);
elements(_) -> [].

%% @doc A term as it comes back without `bytes: tagged'.
untagged(#{'__struct__' := 'Elixir.Pitcrew.Bytes', data := Data}) -> Data;
untagged(#{'__struct__' := 'Elixir.MapSet', map := Map} = Set) -> Set#{map := untagged(Map)};
untagged(#{'__struct__' := _} = Struct) -> Struct;
untagged(#{} = Map) -> maps:from_list([{untagged(Key), untagged(Value)} || {Key, Value} <- maps:to_list(Map)]);
untagged(Tuple) when is_tuple(Tuple) -> list_to_tuple(untagged(tuple_to_list(Tuple)));
untagged([Head | Tail]) -> [untagged(Head) | untagged(Tail)];
untagged(Other) -> Other.

%% Equal for keys that Python calls equal. Numbers are a pair of integers, text is a binary.
python(true) -> python(1);
python(false) -> python(0);
python(nan) -> make_ref();
python(infinity) -> infinity;
python(neg_infinity) -> neg_infinity;
python(nil) -> nil;
python(Atom) when is_atom(Atom) -> atom_to_binary(Atom);
python(Integer) when is_integer(Integer) -> {number, Integer, 0};
python(Float) when is_float(Float) -> of_float(Float);
python(#{'__struct__' := 'Elixir.Pitcrew.Bytes', data := Data}) -> {bytes, Data};
python(#{'__struct__' := 'Elixir.MapSet'} = Set) -> {set, lists:sort(lists:map(fun python/1, keys(Set)))};
python(#{sign := Sign, coef := inf}) -> python(if Sign =:= 1 -> infinity; true -> neg_infinity end);
python(#{coef := 'NaN'}) -> make_ref();
python(#{sign := Sign, coef := Coef, exp := Exp}) -> of_decimal(Sign * Coef, Exp);
python(#{utc_offset := _, year := Year} = Moment) when Year > 0 -> of_moment(Moment);
python(#{microsecond := {Microsecond, _}} = Time) -> Time#{microsecond := Microsecond};
python(#{'__struct__' := _} = Struct) -> Struct;
python(#{} = Map) -> {map, lists:sort([{python(Key), python(Value)} || {Key, Value} <- maps:to_list(Map)])};
python(Tuple) when is_tuple(Tuple) -> {tuple, lists:map(fun python/1, tuple_to_list(Tuple))};
python(List) when length(List) >= 0 -> {list, lists:map(fun python/1, List)};
python(Other) -> Other.

of_float(Float) ->
    case trunc(Float) of
        Whole when Whole == Float -> {number, Whole, 0};
        _ -> {number, Float}
    end.

of_decimal(Number, Exp) when Exp >= 0, Exp < 400 -> {number, Number * pow10(Exp), 0};
of_decimal(Number, Exp) when Exp < 0, Exp > -400 ->
    case Number rem pow10(-Exp) of
        0 -> {number, Number div pow10(-Exp), 0};
        _ -> fraction(Number, Exp)
    end;
of_decimal(Number, Exp) -> {decimal, Number, Exp}.

%% A float that is exactly the fraction is equal to it.
fraction(Number, Exp) when Number rem 10 =:= 0 -> fraction(Number div 10, Exp + 1);
fraction(Number, Exp) ->
    Power = pow10(-Exp),
    case Number rem (Power bsr -Exp) of
        0 -> {number, Number / Power};
        _ -> {decimal, Number, Exp}
    end.

pow10(N) -> lists:foldl(fun(_, Power) -> 10 * Power end, 1, lists:seq(1, N)).

of_moment(#{microsecond := {Microsecond, _}, utc_offset := Utc, std_offset := Std} = M) ->
    #{year := Year, month := Month, day := Day, hour := Hour, minute := Minute, second := Second} = M,
    Seconds = calendar:datetime_to_gregorian_seconds({{Year, Month, Day}, {Hour, Minute, Second}}),
    {moment, Seconds - Utc - Std, Microsecond}.
