%% Writes JSON where the library that Pitcrew.JSON is made of may be missing: for reports of tools, not for data of users. Maps, lists, numbers,
%% atoms (nil and undefined are null) and text; keys in their order, two spaces for each level, so that two reports can be compared by lines; or all in one line.
-module(pitcrew_plain_json).

-export([encode/1, line/1]).

-spec encode(term()) -> binary().
encode(Term) -> unicode:characters_to_binary([value(Term, "\n"), "\n"]).

%% @doc The same in one line, without its end.
-spec line(term()) -> binary().
line(Term) -> unicode:characters_to_binary(value(Term, none)).

value(Null, _) when Null =:= nil; Null =:= undefined; Null =:= null -> "null";
value(true, _) -> "true";
value(false, _) -> "false";
value(Atom, _) when is_atom(Atom) -> text(atom_to_binary(Atom));
value(Number, _) when is_integer(Number) -> integer_to_list(Number);
value(Number, _) when is_float(Number) -> io_lib:format("~w", [Number]);
value(Text, _) when is_binary(Text) -> text(Text);
value([], _) -> "[]";
value(List, Line) when is_list(List) -> block("[", [value(Item, deeper(Line)) || Item <- List], "]", Line);
value(Map, _) when map_size(Map) =:= 0 -> "{}";
value(Map, Line) when is_map(Map) ->
    Pairs = lists:keysort(1, [{key(Key), Value} || {Key, Value} <- maps:to_list(Map)]),
    block("{", [[text(Key), ": ", value(Value, deeper(Line))] || {Key, Value} <- Pairs], "}", Line);
%% Whatever else there is, as Erlang shows it.
value(Other, _) -> text(unicode:characters_to_binary(io_lib:format("~0tp", [Other]))).

deeper(none) -> none;
deeper(Line) -> [Line, "  "].

block(Open, Items, Close, none) -> [Open, lists:join(",", Items), Close];
block(Open, Items, Close, Line) -> [Open, Line, "  ", lists:join([",", Line, "  "], Items), Line, Close].

key(Key) when is_atom(Key) -> atom_to_binary(Key);
key(Key) when is_binary(Key) -> Key;
key(Key) -> unicode:characters_to_binary(io_lib:format("~0tp", [Key])).

text(Text) ->
    Characters = case unicode:characters_to_list(Text) of List when is_list(List) -> List; _ -> binary_to_list(Text) end,
    [$", [escaped(C) || C <- Characters], $"].

escaped($") -> "\\\"";
escaped($\\) -> "\\\\";
escaped($\n) -> "\\n";
escaped($\t) -> "\\t";
escaped(C) when C < 32; C =:= 127 -> io_lib:format("\\u~4.16.0b", [C]);
escaped(C) -> C.
