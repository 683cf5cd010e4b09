%% Structs inside terms. The codec has a form for some; others become what the Elixir protocol Pitcrew.Encoder makes of
%% them. Only terms that the codec has refused because of a struct come here.
%%
%% Invariant: what encoded/2 returns holds no struct that it would replace, so it changes nothing a second time.
-module(pitcrew_structs).

-export([encoded/2, map/3]).
-export_type([visitor/0]).

%% What to do with a struct: keep it; put a term there; put a term there and look for structs in that as well.
-type visitor() :: fun((Struct :: map(), Path :: [term()]) -> keep | {put, term()} | {visit, term()}).
%% Innermost first; inside of a key or an element, that of its container.
-type path() :: [term()] | {here, [term()]}.

-define(ENCODER, 'Elixir.Pitcrew.Encoder').
-define(MOST_DEPTH, 512).

%% @doc The terms with every struct encoded that the codec has no form for. Each comes with the beginning of its path;
%% `Refused' is what the codec said.
-spec encoded([{[term()], term()}], pitcrew_nif:codec_error()) ->
    {ok, [term()]} | {error, pitcrew_nif:codec_error()}.
encoded(Terms, Refused) ->
    case has_encoder() of
        true ->
            try [map(fun encode/2, Term, Path) || {Path, Term} <- Terms] of
                Encoded -> changed(Encoded, [Term || {_, Term} <- Terms], Refused)
            catch
                throw:{?MODULE, Error} -> {error, Error}
            end;
        false ->
            {error, Refused}
    end.

%% Without Elixir itself the protocol is no use, though a build by mix may have left it in the path.
has_encoder() -> lists:all(fun(Module) -> code:ensure_loaded(Module) =:= {module, Module} end, ['Elixir.Module', ?ENCODER]).

changed(Same, Same, Refused) -> {error, Refused};
changed(Encoded, _, _) -> {ok, Encoded}.

%% @doc A term with its structs replaced as the visitor says. `Path' is what stands in front of each path. A path ends at the map
%% or the set when it would go on through a key or an element.
-spec map(visitor(), term(), [term()]) -> term().
map(Visitor, Term, Path) -> walk(Visitor, Term, lists:reverse(Path), 0).

step(_, {here, _} = Path) -> Path;
step(Step, Path) -> [Step | Path].

here({here, _} = Path) -> Path;
here(Path) -> {here, Path}.

way({here, Path}) -> lists:reverse(Path);
way(Path) -> lists:reverse(Path).

walk(_, _, Path, Depth) when Depth > ?MOST_DEPTH ->
    fail(Path, "nested more than ~b levels deep", [?MOST_DEPTH]);
walk(Visitor, Term, Path, Depth) when length(Term) >= 0 ->
    elements(Visitor, Term, 0, Path, Depth + 1);
walk(Visitor, Term, Path, Depth) when is_tuple(Term) ->
    list_to_tuple(elements(Visitor, tuple_to_list(Term), 0, Path, Depth + 1));
walk(Visitor, #{'__struct__' := _} = Struct, Path, Depth) ->
    case Visitor(Struct, way(Path)) of
        keep -> inside(Visitor, Struct, Path, Depth + 1);
        {put, Term} -> Term;
        {visit, Term} -> walk(Visitor, Term, Path, Depth + 1)
    end;
walk(Visitor, Term, Path, Depth) when is_map(Term) ->
    pairs(Visitor, Term, Path, Depth + 1);
walk(_, Term, _, _) ->
    Term.

elements(_, [], _, _, _) ->
    [];
elements(Visitor, [Term | Rest], N, Path, Depth) ->
    [walk(Visitor, Term, step(N, Path), Depth) | elements(Visitor, Rest, N + 1, Path, Depth)].

%% Of the structs that are kept only a set holds terms of any kind.
inside(Visitor, #{'__struct__' := 'Elixir.MapSet', map := Map} = Set, Path, Depth) when is_map(Map) ->
    Set#{map := pairs(Visitor, Map, Path, Depth)};
inside(_, Struct, _, _) ->
    Struct.

pairs(Visitor, Map, Path, Depth) ->
    Pairs = [
        {walk(Visitor, Key, here(Path), Depth), walk(Visitor, Value, step(Key, Path), Depth)}
     || {Key, Value} <- maps:to_list(Map)
    ],
    case maps:from_list(Pairs) of
        Mapped when map_size(Mapped) =:= map_size(Map) -> Mapped;
        _ -> fail(Path, "keys that differ become the same when their structs are encoded", [])
    end.

encode(#{'__struct__' := Name} = Struct, Path) ->
    case is_known(Name) of
        true -> keep;
        false -> {visit, by_protocol(?ENCODER:impl_for(Struct), Name, Struct, Path)}
    end.

%% Those of c_src/nif/term_struct.c.
is_known('Elixir.MapSet') -> true;
is_known('Elixir.Date') -> true;
is_known('Elixir.Time') -> true;
is_known('Elixir.NaiveDateTime') -> true;
is_known('Elixir.DateTime') -> true;
is_known('Elixir.Decimal') -> true;
is_known('Elixir.Pitcrew.Tensor') -> true;
is_known('Elixir.Pitcrew.Arrow') -> true;
is_known('Elixir.Pitcrew.Bytes') -> true;
is_known('Elixir.Pitcrew.Ref') -> true;
is_known('Elixir.Pitcrew.Iterator') -> true;
is_known('Elixir.Pitcrew.MessagePack.Ext') -> true;
is_known(_) -> false.

by_protocol(nil, Name, _, Path) ->
    Text = "the struct ~ts has no implementation of Pitcrew.Encoder; derive one with @derive {Pitcrew.Encoder, only: [...]} "
           "in front of its defstruct, or write defimpl Pitcrew.Encoder, for: ~ts",
    fail(lists:reverse(Path), Text, [shown(Name), shown(Name)]);
by_protocol(Implementation, Name, Struct, Path) ->
    try
        Implementation:encode(Struct)
    catch
        Class:Reason:Stack ->
            Why = 'Elixir.Exception':format_banner(Class, Reason, Stack),
            fail(lists:reverse(Path), "Pitcrew.Encoder failed for the struct ~ts: ~ts", [shown(Name), Why])
    end.

shown(Name) when is_atom(Name) ->
    case atom_to_list(Name) of
        "Elixir." ++ Text -> Text;
        Text -> Text
    end;
shown(Name) ->
    io_lib:format("~0tp", [Name]).

-spec fail(path(), io:format(), [term()]) -> no_return().
fail(Path, Format, Args) ->
    Message = unicode:characters_to_binary(io_lib:format(Format, Args)),
    throw({?MODULE, #{kind => encode_error, message => Message, path => way(Path)}}).
