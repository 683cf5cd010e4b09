%% What can be found out of a function `fun Module:Name/Arity': the names of its arguments, what its documentation says, and from its spec the
%% JSON schema of its arguments. All of it is in the module's file, where that was compiled with debug information; of other functions nothing is known.
-module(pitcrew_tool_schema).

-export([derive/2]).

-define(MOST_DEPTH, 8).
-define(OBJECT, #{<<"type">> => <<"object">>}).

%% Types of the module, and what its variables stand for.
-type types() :: #{{type, atom(), arity()} | {var, atom()} => term()}.

%% @doc Names (given, or found), schema and documentation; nil where they are not known.
-spec derive(fun(), [binary()] | nil) -> {[binary()] | nil, map(), binary() | nil}.
derive(Function, Given) ->
    {arity, Arity} = erlang:fun_info(Function, arity),
    {Forms, Docs} = known(Function),
    {_, Name} = erlang:fun_info(Function, name),
    Spec = spec(Forms, Name, Arity),
    {Signature, Doc} = documented(Docs, Name, Arity),
    Parameters =
        case Given of
            nil when Forms =:= [], Signature =:= [] -> nil;
            nil -> names(Arity, [annotated(Spec, Arity), Signature, clauses(Forms, Name, Arity)]);
            _ -> Given
        end,
    {Parameters, schema(Parameters, Spec, types(Forms)), Doc}.

known(Function) ->
    case erlang:fun_info(Function, type) of
        {type, external} ->
            {module, Module} = erlang:fun_info(Function, module),
            case code:get_object_code(Module) of
                {_, Beam, _} -> {forms(Module, Beam), docs(Beam)};
                error -> {[], none}
            end;
        _ ->
            {[], none}
    end.

forms(Module, Beam) ->
    try
        {ok, {_, [{debug_info, {debug_info_v1, Backend, Data}}]}} = beam_lib:chunks(Beam, [debug_info]),
        {ok, Forms} = Backend:debug_info(erlang_v1, Module, Data, []),
        Forms
    catch
        _:_ -> []
    end.

docs(Beam) ->
    try
        {ok, {_, [{"Docs", Chunk}]}} = beam_lib:chunks(Beam, ["Docs"]),
        binary_to_term(Chunk)
    catch
        _:_ -> none
    end.

%% ---- Names

%% Of each argument the first name that is known, and in the end its number.
names(Arity, Sources) ->
    Names = [first_name(N, Sources) || N <- lists:seq(1, Arity)],
    case length(lists:usort(Names)) of
        Arity -> Names;
        _ -> [numbered(N) || N <- lists:seq(1, Arity)]
    end.

first_name(N, Sources) ->
    case [Name || Source <- Sources, length(Source) >= N, Name <- [lists:nth(N, Source)], Name =/= none] of
        [Name | _] -> Name;
        [] -> numbered(N)
    end.

numbered(N) -> <<"arg", (integer_to_binary(N))/binary>>.

annotated(none, _) -> [];
annotated({Types, _}, _) -> [annotation(Type) || Type <- Types].

annotation({ann_type, _, [{var, _, Name}, _]}) -> clean(atom_to_binary(Name));
annotation({var, _, Name}) -> clean(atom_to_binary(Name));
annotation(_) -> none.

%% Of all clauses.
clauses(Forms, Name, Arity) ->
    Heads = [Patterns || {function, _, N, A, Clauses} <- Forms, N =:= Name, A =:= Arity, {clause, _, Patterns, _, _} <- Clauses],
    [variable([lists:nth(I, Patterns) || Patterns <- Heads]) || Heads =/= [], I <- lists:seq(1, Arity)].

variable(Patterns) ->
    case [Name || Pattern <- Patterns, Name <- [pattern(Pattern)], Name =/= none] of
        [Name | _] -> Name;
        [] -> none
    end.

pattern({var, _, Name}) -> clean(atom_to_binary(Name));
pattern({match, _, A, B}) -> case pattern(A) of none -> pattern(B); Name -> Name end;
pattern(_) -> none.

%% As Python would write it: `_query@1' of Elixir's and `MaxResults' of Erlang's are query and max_results.
clean(Variable) ->
    [Bare | _] = string:split(string:trim(Variable, leading, "_"), "@"),
    Snake = re:replace(Bare, "(?<=[a-z0-9])([A-Z])", "_\\1", [global, {return, binary}]),
    identifier(string:lowercase(Snake)).

identifier(Text) ->
    case re:run(Text, "^[a-z][a-z0-9_]*$", [{capture, none}]) of
        match -> Text;
        nomatch -> none
    end.

%% ---- Documentation

documented({docs_v1, _, _, _, _, _, Docs}, Name, Arity) ->
    case [Entry || {{function, N, A}, _, _, _, _} = Entry <- Docs, N =:= Name, A =:= Arity] of
        [{_, _, Signature, Doc, _} | _] -> {signature(Signature), text(Doc)};
        [] -> {[], nil}
    end;
documented(_, _, _) ->
    {[], nil}.

%% ["search(query, k \\\\ 10)"]
signature([Text]) when is_binary(Text) ->
    case re:run(Text, "^[^(]*\\((.*)\\)$", [dotall, {capture, all_but_first, binary}]) of
        {match, [<<>>]} -> [];
        {match, [Inside]} -> [identifier(argument(Part)) || Part <- binary:split(Inside, <<", ">>, [global])];
        nomatch -> []
    end;
signature(_) ->
    [].

argument(Part) -> hd(binary:split(Part, <<" \\\\">>)).

text(#{} = Languages) ->
    case [Text || Text <- [maps:get(<<"en">>, Languages, none) | maps:values(Languages)], is_binary(Text)] of
        [Text | _] -> string:trim(Text);
        [] -> nil
    end;
text(_) ->
    nil.

%% ---- Schema

%% The types of the arguments, and what is said of their variables.
spec(Forms, Name, Arity) ->
    case [Spec || {attribute, _, spec, {Of, [Spec | _]}} <- Forms, is_of(Of, Name, Arity)] of
        [{type, _, 'fun', [{type, _, product, Types}, _]} | _] -> {Types, []};
        [{type, _, bounded_fun, [{type, _, 'fun', [{type, _, product, Types}, _]}, Constraints]} | _] -> {Types, Constraints};
        _ -> none
    end.

is_of({Name, Arity}, Name, Arity) -> true;
is_of({_, Name, Arity}, Name, Arity) -> true;
is_of(_, _, _) -> false.

types(Forms) ->
    maps:from_list([
        {{type, Name, length(Parameters)}, {Definition, Parameters}}
     || {attribute, _, Kind, {Name, Definition, Parameters}} <- Forms, Kind =:= type orelse Kind =:= opaque
    ]).

schema(nil, _, _) ->
    ?OBJECT;
schema(Names, Spec, Types) ->
    Of =
        case Spec of
            {Arguments, Constraints} when length(Arguments) =:= length(Names) ->
                Bound = maps:merge(Types, maps:from_list(lists:flatmap(fun bound/1, Constraints))),
                [type(Argument, Bound, ?MOST_DEPTH) || Argument <- Arguments];
            _ ->
                [#{} || _ <- Names]
        end,
    ?OBJECT#{<<"properties">> => maps:from_list(lists:zip(Names, Of)), <<"required">> => Names}.

bound({type, _, constraint, [_, [{var, _, Name}, Type]]}) -> [{{var, Name}, Type}];
bound(_) -> [].

%% What says nothing is anything.
-spec type(term(), types(), non_neg_integer()) -> map().
type(_, _, 0) -> #{};
type({ann_type, _, [_, Type]}, Types, Depth) -> type(Type, Types, Depth);
type({paren_type, _, [Type]}, Types, Depth) -> type(Type, Types, Depth);
type({atom, _, Nil}, _, _) when Nil =:= nil; Nil =:= undefined -> named(null);
type({atom, _, Boolean}, _, _) when is_boolean(Boolean) -> #{<<"const">> => Boolean};
type({atom, _, Atom}, _, _) -> #{<<"const">> => atom_to_binary(Atom)};
type({integer, _, N}, _, _) -> #{<<"const">> => N};
type({var, _, Name}, Types, Depth) when is_map_key({var, Name}, Types) -> type(map_get({var, Name}, Types), Types, Depth - 1);
type({type, _, union, Members}, Types, Depth) -> union([type(Member, Types, Depth - 1) || Member <- Members]);
type({type, _, Kind, Arguments}, Types, Depth) -> built_in(Kind, Arguments, Types, Depth - 1);
type({remote_type, _, [{atom, _, 'Elixir.String'}, {atom, _, t}, []]}, _, _) -> named(string);
type({user_type, _, Name, Arguments}, Types, Depth) -> user_type({type, Name, length(Arguments)}, Arguments, Types, Depth - 1);
type(_, _, _) -> #{}.

built_in(range, [{integer, _, Least}, {integer, _, Most}], _, _) -> (named(integer))#{<<"minimum">> => Least, <<"maximum">> => Most};
built_in(integer, [], _, _) -> named(integer);
built_in(non_neg_integer, [], _, _) -> (named(integer))#{<<"minimum">> => 0};
built_in(pos_integer, [], _, _) -> (named(integer))#{<<"minimum">> => 1};
built_in(neg_integer, [], _, _) -> (named(integer))#{<<"maximum">> => -1};
built_in(Number, [], _, _) when Number =:= float; Number =:= number -> named(number);
built_in(boolean, [], _, _) -> named(boolean);
built_in(Text, _, _, _) when Text =:= binary; Text =:= nonempty_binary; Text =:= atom; Text =:= module -> named(string);
built_in(List, [Element], Types, Depth) when List =:= list; List =:= nonempty_list ->
    (named(array))#{<<"items">> => type(Element, Types, Depth)};
built_in(List, [], _, _) when List =:= list; List =:= nonempty_list -> named(array);
built_in(map, Pairs, Types, Depth) when is_list(Pairs) -> object([pair(Pair, Types, Depth) || Pair <- Pairs]);
built_in(map, any, _, _) -> named(object);
built_in(tuple, Elements, Types, Depth) when is_list(Elements) ->
    Size = length(Elements),
    Of = [type(Element, Types, Depth) || Element <- Elements],
    (named(array))#{<<"prefixItems">> => Of, <<"minItems">> => Size, <<"maxItems">> => Size};
built_in(tuple, any, _, _) -> named(array);
built_in(_, _, _, _) -> #{}.

named(Type) -> #{<<"type">> => atom_to_binary(Type)}.

pair({type, _, Field, [{atom, _, Key}, Type]}, Types, Depth) -> {Field, atom_to_binary(Key), type(Type, Types, Depth)};
pair(_, _, _) -> other.

object(Pairs) ->
    Properties = maps:from_list([{Key, Type} || {_, Key, Type} <- Pairs]),
    Required = [Key || {map_field_exact, Key, _} <- Pairs],
    maps:merge(named(object), maps:filter(fun(_, Value) -> Value =/= [] andalso Value =/= #{} end, #{
        <<"properties">> => Properties, <<"required">> => Required
    })).

union(Schemas) ->
    case [Value || #{<<"const">> := Value} <- Schemas] of
        Values when length(Values) =:= length(Schemas) -> #{<<"enum">> => Values};
        _ -> one_of(lists:member(#{}, Schemas), Schemas)
    end.

one_of(true, _) -> #{};
one_of(false, Schemas) -> #{<<"anyOf">> => Schemas}.

user_type(Key, Arguments, Types, Depth) ->
    case Types of
        #{Key := {Definition, Parameters}} ->
            Bound = maps:from_list([{{var, Name}, Argument} || {{var, _, Name}, Argument} <- lists:zip(Parameters, Arguments)]),
            type(Definition, maps:merge(Types, Bound), Depth);
        #{} ->
            #{}
    end.
