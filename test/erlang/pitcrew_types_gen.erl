%% PropEr generators for every row of docs/types.md. PropEr's functions are called by their names, because its header is
%% a package of its own on Debian.
-module(pitcrew_types_gen).

-export([value/1, scalar/0, text/0, large_text/0, struct/2]).
-export([set/1, a_date/1, a_time/0, naive/1, utc/1, zoned/2, decimal/1, tensor/0, any_tensor/0, arrow/0, bytes/0, opaque/0, passive/0]).

-import(proper_types, [list/1, oneof/1, frequency/1, integer/0, float/0, range/2, non_neg_integer/0]).

with(Type, Fun) -> proper_types:bind(Type, Fun, false).

%% @doc Scalars and what else is given, alone and in lists, tuples, maps and keys of maps.
value(Other) -> proper_types:sized(fun(Size) -> value(Size, Other) end).

value(0, _) ->
    scalar();
value(Size, Other) ->
    Part = proper_types:lazy(fun() -> proper_types:resize(Size div 4, value(Size div 4, Other)) end),
    Map = with(list({Part, Part}), fun maps:from_list/1),
    Tuple = with(list(Part), fun list_to_tuple/1),
    frequency([{6, scalar()}, {3, list(Part)}, {3, Map}, {2, Tuple}, {1, set(Part)}, {3, Other}]).

scalar() ->
    Atoms = [nil, true, false, nan, infinity, neg_infinity, undefined, ok, 'é', 'λ', ''],
    oneof([integer(), large_integer(), float(), text(), oneof(Atoms), range(-40, 300)]).

large_integer() ->
    with({range(0, 300), range(-2, 2), oneof([1, -1])}, fun({Bits, Delta, Sign}) -> Sign * ((1 bsl Bits) + Delta) end).

struct(Name, Fields) -> Fields#{'__struct__' => list_to_atom("Elixir." ++ Name)}.

set(Element) ->
    with(list(Element), fun(Elements) ->
        struct("MapSet", #{map => maps:from_list([{E, []} || E <- Elements]), version => 2})
    end).

a_date(Year) ->
    with({Year, range(1, 12), range(1, 28)}, fun({Y, M, D}) ->
        struct("Date", #{calendar => 'Elixir.Calendar.ISO', year => Y, month => M, day => D})
    end).

a_time() ->
    Fraction = oneof([{0, 0}, {0, 6}, {range(0, 999999), range(0, 6)}]),
    with({range(0, 23), range(0, 59), range(0, 59), Fraction}, fun({H, M, S, Microsecond}) ->
        struct("Time", #{calendar => 'Elixir.Calendar.ISO', hour => H, minute => M, second => S, microsecond => Microsecond})
    end).

naive(Year) ->
    with({a_date(Year), a_time()}, fun({Date, Time}) -> maps:merge(Date, Time#{'__struct__' => 'Elixir.NaiveDateTime'}) end).

utc(Year) ->
    Zone = #{time_zone => <<"Etc/UTC">>, zone_abbr => <<"UTC">>, utc_offset => 0, std_offset => 0},
    with(naive(Year), fun(Naive) -> maps:merge(Naive, Zone#{'__struct__' => 'Elixir.DateTime'}) end).

%% Zones is a generator of {Name, Abbreviation, UtcOffset, StdOffset}.
zoned(Year, Zones) ->
    with({utc(Year), Zones}, fun({Utc, {Zone, Abbreviation, Offset, Summer}}) ->
        Utc#{time_zone := Zone, zone_abbr := Abbreviation, utc_offset := Offset, std_offset := Summer}
    end).

%% Exp is a generator of the exponents of what is not finite.
decimal(Exp) ->
    Finite = {oneof([1, -1]), with(large_integer(), fun abs/1), integer()},
    Special = {oneof([1, -1]), oneof(['NaN', inf]), Exp},
    with(frequency([{3, Finite}, {1, Special}]), fun({Sign, Coef, E}) ->
        struct("Decimal", #{sign => Sign, coef => Coef, exp => E})
    end).

%% Of dtypes as NumPy calls them, with as many bytes as dtype and shape say.
tensor() ->
    Dtypes = [
        {<<"|b1">>, 1}, {<<"|i1">>, 1}, {<<"|u1">>, 1}, {<<"<i2">>, 2}, {<<">u4">>, 4}, {<<"<i8">>, 8}, {<<"<f2">>, 2},
        {<<"<f8">>, 8}, {<<">f4">>, 4}, {<<"<c16">>, 16}, {<<"<M8[ns]">>, 8}, {<<">m8[us]">>, 8}, {<<"|S3">>, 3}, {<<"<U2">>, 8}
    ],
    with({oneof(Dtypes), proper_types:resize(3, list(range(0, 3)))}, fun({{Dtype, Width}, Shape}) ->
        Size = lists:foldl(fun erlang:'*'/2, Width, Shape),
        with(proper_types:vector(Size, range(0, 127)), fun(Bytes) -> tensor(Dtype, Shape, list_to_binary(Bytes)) end)
    end).

%% Whatever the VM takes for one.
any_tensor() ->
    with({text(), list(non_neg_integer()), proper_types:binary()}, fun({Dtype, Shape, Data}) -> tensor(Dtype, Shape, Data) end).

tensor(Dtype, Shape, Data) -> struct("Pitcrew.Tensor", #{dtype => Dtype, shape => list_to_tuple(Shape), data => Data}).

arrow() -> with(proper_types:binary(), fun(Data) -> struct("Pitcrew.Arrow", #{data => Data}) end).
bytes() -> with(oneof([proper_types:binary(), text()]), fun pitcrew:bytes/1).

opaque() ->
    Fun = with(scalar(), fun(Inside) -> fun() -> Inside end end),
    oneof([passive(), passive(), Fun, fun lists:map/2]).

%% @doc Opaque, and nothing that Python could call.
passive() ->
    Improper = with({non_empty_list(scalar()), integer()}, fun({List, Tail}) -> List ++ Tail end),
    Bits = with(proper_types:bitstring(), fun(B) when bit_size(B) rem 8 =:= 0 -> <<B/bitstring, 1:1>>; (B) -> B end),
    oneof([self(), make_ref(), Improper, Bits]).

non_empty_list(Type) -> with({Type, list(Type)}, fun({First, Rest}) -> [First | Rest] end).

large_text() -> with(range(0, 2000), fun(N) -> binary:copy(<<"x">>, N) end).

text() ->
    Char = frequency([{5, range(32, 126)}, {1, range(16#80, 16#7ff)}, {1, range(16#e000, 16#10ffff)}]),
    with(list(Char), fun unicode:characters_to_binary/1).
