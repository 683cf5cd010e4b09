%% What those have in common that write for people: terminals, pages and drawings.
-module(pitcrew_text).

-export([pool/1, table/3, decimal/2, escape/1]).
-export_type([side/0]).

-type side() :: left | right.

%% @doc A pool's name, as Elixir writes it where it is a module's.
-spec pool(atom() | pid()) -> binary().
pool(Pid) when is_pid(Pid) -> list_to_binary(pid_to_list(Pid));
pool(Name) ->
    case atom_to_binary(Name) of
        <<"Elixir.", Module/binary>> -> Module;
        Text -> Text
    end.

%% @doc Lines of columns as wide as what is in them; those that nothing is said of stand on the right.
-spec table([unicode:chardata(), ...], [side()], [[unicode:chardata(), ...]]) -> unicode:chardata().
table(Heads, Sides, Rows) ->
    Columns = transpose([Heads | Rows]),
    Padded = [column(Column, Side) || {Column, Side} <- lists:zip(Columns, sides(Sides, length(Columns)))],
    [[string:trim(lists:join("  ", Row), trailing), "\n"] || Row <- transpose(Padded)].

sides(Sides, Length) -> lists:sublist(Sides ++ lists:duplicate(Length, right), Length).

transpose([[] | _]) -> [];
transpose(Rows) -> [[hd(Row) || Row <- Rows] | transpose([tl(Row) || Row <- Rows])].

column(Texts, Side) ->
    Width = lists:max([string:length(Text) || Text <- Texts]),
    Direction =
        case Side of
            left -> trailing;
            right -> leading
        end,
    [string:pad(Text, Width, Direction) || Text <- Texts].

%% @doc A number with at most so many digits behind the point, and no point without one.
-spec decimal(number(), Most :: pos_integer()) -> string().
decimal(Value, Most) ->
    Text = lists:flatten(io_lib:format("~.*f", [Most, float(Value)])),
    string:trim(string:trim(Text, trailing, "0"), trailing, ".").

%% @doc Text that stands in HTML and XML, without what XML does not allow.
-spec escape(unicode:chardata()) -> binary().
escape(Text) -> unicode:characters_to_binary([escaped(C) || C <- unicode:characters_to_list(Text)]).

escaped($<) -> "&lt;";
escaped($>) -> "&gt;";
escaped($&) -> "&amp;";
escaped($") -> "&quot;";
escaped(C) when C < $\s, C =/= $\t, C =/= $\n, C =/= $\r; C =:= 16#fffe; C =:= 16#ffff -> $?;
escaped(C) -> C.
