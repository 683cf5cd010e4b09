%% The files of test/vectors as terms. Their format is described at their top.
-module(pitcrew_codec_vectors).

-export([both/0, read/0, bad/0, types/0, types_read/0, decoded/1, encodable/1, directory/0]).

%% [{Name, Bytes, Value}]; decoded/1 and encodable/1 make terms of a value.
both() -> [{Name, Bytes, parse(Third)} || {Name, Bytes, Third} <- rows("codec_both.tsv")].
read() -> [{Name, Bytes, parse(Third)} || {Name, Bytes, Third} <- rows("codec_read.tsv")].
bad() ->
    [{Name, Bytes, binary_to_atom(Third)} || File <- ["codec_bad.tsv", "codec_types_bad.tsv"], {Name, Bytes, Third} <- rows(File)].
types() -> [{Name, Bytes, parse(Third)} || {Name, Bytes, Third} <- rows("codec_types.tsv")].
types_read() -> [{Name, Bytes, parse(Third)} || {Name, Bytes, Third} <- rows("codec_types_read.tsv")].

%% What decoding gives: bin and str are both plain binaries.
decoded(["bin", Hex]) -> binary:decode_hex(list_to_binary(Hex));
decoded(Value) -> term(Value, fun decoded/1).

%% What has to be given to encoding: bin needs its wrapper.
encodable(["bin", Hex]) -> #{'__struct__' => 'Elixir.Pitcrew.Bytes', data => binary:decode_hex(list_to_binary(Hex))};
encodable(Value) -> term(Value, fun encodable/1).

term(["nil"], _) -> nil;
term(["bool", "true"], _) -> true;
term(["bool", "false"], _) -> false;
term(["int", Digits], _) -> list_to_integer(Digits);
term(["float", "nan"], _) -> nan;
term(["float", "inf"], _) -> infinity;
term(["float", "-inf"], _) -> neg_infinity;
term(["float", Digits], _) -> list_to_float(Digits);
term(["str", Text], _) -> list_to_binary(Text);
term(["strx", Hex], _) -> binary:decode_hex(list_to_binary(Hex));
term(["atom", Text], _) -> list_to_atom(Text);
term(["atomx", Hex], _) -> binary_to_atom(binary:decode_hex(list_to_binary(Hex)), utf8);
term(["array" | Values], Rec) -> [Rec(Value) || Value <- Values];
term(["tuple" | Values], Rec) -> list_to_tuple([Rec(Value) || Value <- Values]);
term(["map" | Values], Rec) -> maps:from_list(pairs(Values, Rec));
term(["set" | Values], Rec) -> struct('MapSet', #{map => maps:from_list([{Rec(Value), []} || Value <- Values]), version => 2});
term(["date" | Fields], _) -> iso('Date', date(Fields));
term(["time" | Fields], _) -> iso('Time', clock(Fields));
term(["naive", Y, M, D | Clock], _) -> iso('NaiveDateTime', maps:merge(date([Y, M, D]), clock(Clock)));
term(["datetime", Y, M, D, H, Mi, S, Us, P, Zone, Abbreviation, Utc, Std], _) ->
    Offsets = #{
        time_zone => list_to_binary(Zone), zone_abbr => list_to_binary(Abbreviation),
        utc_offset => list_to_integer(Utc), std_offset => list_to_integer(Std)
    },
    iso('DateTime', maps:merge(Offsets, maps:merge(date([Y, M, D]), clock([H, Mi, S, Us, P]))));
term(["decimal", Sign, Coefficient, Exponent], _) ->
    Coef = case Coefficient of "NaN" -> 'NaN'; "inf" -> inf; Digits -> list_to_integer(Digits) end,
    struct('Decimal', #{sign => list_to_integer(Sign), coef => Coef, exp => list_to_integer(Exponent)});
term(["tensor", Dtype, Shape, Hex], _) ->
    Sizes = list_to_tuple([list_to_integer(Size) || Size <- Shape]),
    struct('Pitcrew.Tensor', #{dtype => list_to_binary(Dtype), shape => Sizes, data => binary:decode_hex(list_to_binary(Hex))});
term(["arrow", Hex], _) -> struct('Pitcrew.Arrow', #{data => binary:decode_hex(list_to_binary(Hex))}).

struct(Name, Fields) -> Fields#{'__struct__' => list_to_atom("Elixir." ++ atom_to_list(Name))}.

iso(Name, Fields) -> struct(Name, Fields#{calendar => 'Elixir.Calendar.ISO'}).

date(Fields) -> numbers([year, month, day], Fields).

clock([H, M, S, Microsecond, Precision]) ->
    (numbers([hour, minute, second], [H, M, S]))#{microsecond => {list_to_integer(Microsecond), list_to_integer(Precision)}}.

numbers(Keys, Fields) -> maps:from_list(lists:zip(Keys, [list_to_integer(Field) || Field <- Fields])).

pairs([Key, Value | Rest], Rec) -> [{Rec(Key), Rec(Value)} | pairs(Rest, Rec)];
pairs([], _) -> [].

parse(Text) ->
    {ok, Tokens, _} = erl_scan:string(binary_to_list(Text) ++ "."),
    {ok, Value} = erl_parse:parse_term(Tokens),
    Value.

rows(File) ->
    {ok, Text} = file:read_file(filename:join(directory(), File)),
    [row(Line) || <<First, _/binary>> = Line <- binary:split(Text, <<"\n">>, [global]), First =/= $#].

row(Line) ->
    [Name, Hex, Third] = binary:split(Line, <<"\t">>, [global]),
    {Name, binary:decode_hex(Hex), Third}.

%% The compiled module may lie anywhere below the project, and the current directory too.
directory() ->
    {ok, Here} = file:get_cwd(),
    hd([Dir || Start <- [Here, filename:dirname(code:which(?MODULE)), filename:dirname(filename:absname(?FILE))], Dir <- above(Start)]).

above(Dir) ->
    Vectors = filename:join([Dir, "test", "vectors"]),
    case {filelib:is_dir(Vectors), filename:dirname(Dir)} of
        {true, _} -> [Vectors];
        {false, Dir} -> [];
        {false, Parent} -> above(Parent)
    end.
