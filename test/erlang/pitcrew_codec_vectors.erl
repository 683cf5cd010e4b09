%% The files of test/vectors as terms. Their format is described at their top.
-module(pitcrew_codec_vectors).

-export([both/0, read/0, bad/0, decoded/1, encodable/1]).

%% [{Name, Bytes, Value}]; decoded/1 and encodable/1 make terms of a value.
both() -> [{Name, Bytes, parse(Third)} || {Name, Bytes, Third} <- rows("codec_both.tsv")].
read() -> [{Name, Bytes, parse(Third)} || {Name, Bytes, Third} <- rows("codec_read.tsv")].
bad() -> [{Name, Bytes, binary_to_atom(Third)} || {Name, Bytes, Third} <- rows("codec_bad.tsv")].

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
term(["map" | Values], Rec) -> maps:from_list(pairs(Values, Rec)).

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
