%% Our own terms as JSON text, for the dashboard: the library that pools use for JSON may not be there, and what is here is small.
-module(pitcrew_dashboard_json).

-export([encode/1]).

%% @doc Maps with atoms or texts as keys, lists, texts, atoms, numbers; `nil' is null. What is no UTF-8 is read as Latin-1.
-spec encode(term()) -> iodata().
encode(nil) -> "null";
encode(true) -> "true";
encode(false) -> "false";
encode(Atom) when is_atom(Atom) -> encode(atom_to_binary(Atom));
encode(N) when is_integer(N) -> integer_to_binary(N);
encode(F) when is_float(F) -> float_to_binary(F, [{decimals, 4}, compact]);
encode(Text) when is_binary(Text) -> [$", escaped(utf8(Text)), $"];
encode(List) when is_list(List) -> ["[", lists:join(",", [encode(Item) || Item <- List]), "]"];
encode(Map) when is_map(Map) -> ["{", lists:join(",", [[encode(Key), ":", encode(Value)] || {Key, Value} <- maps:to_list(Map)]), "}"].

utf8(Text) ->
    case unicode:characters_to_binary(Text) of
        Text -> Text;
        _ -> unicode:characters_to_binary(Text, latin1)
    end.

escaped(Text) -> [char(C) || <<C/utf8>> <= Text].

char($") -> "\\\"";
char($\\) -> "\\\\";
char(C) when C < 32; C =:= 127; C =:= 16#2028; C =:= 16#2029 -> io_lib:format("\\u~4.16.0b", [C]);
char(C) -> <<C/utf8>>.
