%% Tools of the VM: functions with a name that tools in Python may call, `pitcrew.elixir.search(query="beam")'. They are registered for a pool, for a
%% session, or for all pools, in tables that are read at each call, so what was registered a moment ago is there for workers that have been running for long.
%%
%% A tool stays until it is taken out, whoever has put it in: one of a pool until that stops, one of a session until that ends, one of all pools
%% until the application stops.
-module(pitcrew_tools).

-export([register/4, register_for_all/2, unregister/2, unregister_for_all/1, list/1]).
-export([new_table/0, new_named_table/0, forget_session/2, forget_sessions/1]).
-export([find/4, arguments/3, run/4]).
-export_type([tool/0, target/0, options/0, info/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_session.hrl").

%% What a call of it needs; in the table beside its description, which is not copied then.
-record(tool, {
    name :: binary(),
    function :: fun(),
    %% Names of the arguments, in order, or that they are not known.
    parameters :: [binary()] | nil,
    %% `call': what the call that it is called in says.
    timeout :: timeout() | call,
    %% What stands for the function in the key of a cache; or that its results are not kept.
    print :: term() | none
}).

-opaque tool() :: #tool{}.
%% What only whoever looks for one wants to know.
-type description() :: #{doc := binary() | nil, schema := map(), idempotent := boolean()}.
-type target() :: pitcrew:pool() | pitcrew_sessions:target().
-type options() ::
    #{
        doc => unicode:chardata() | nil,
        schema => map() | nil,
        parameters => [atom() | unicode:chardata()] | nil,
        timeout => timeout(),
        idempotent => boolean(),
        cache => boolean(),
        replace => boolean(),
        name => atom() | unicode:chardata()
    }
    | [{atom(), term()}].
-type info() :: #{
    name := binary(),
    doc := binary() | nil,
    schema := map(),
    parameters := [binary()] | nil,
    arity := arity(),
    timeout := timeout() | nil,
    idempotent := boolean(),
    session := boolean()
}.
%% Of a pool, or of a session.
-type scope() :: pool | pos_integer().

-define(MOST_NAME, 255).

%% ---- Tables

%% @doc Of a pool; the caller's.
-spec new_table() -> ets:tid().
new_table() -> ets:new(?MODULE, [public, ordered_set, {read_concurrency, true}]).

%% @doc Of all pools; the caller's.
-spec new_named_table() -> ok.
new_named_table() ->
    ?MODULE = ets:new(?MODULE, [named_table, public, ordered_set, {read_concurrency, true}]),
    ok.

%% @doc A session has ended.
-spec forget_session(ets:tid(), pos_integer()) -> ok.
forget_session(Table, No) ->
    true = ets:match_delete(Table, {{No, '_'}, '_', '_'}),
    ok.

%% @doc All have.
-spec forget_sessions(ets:tid()) -> ok.
forget_sessions(Table) ->
    _ = ets:select_delete(Table, [{{{'$1', '_'}, '_', '_'}, [{is_integer, '$1'}], [true]}]),
    ok.

%% ---- Registering

%% @doc See {@link pitcrew:register_tool/4}.
-spec register(target(), atom() | unicode:chardata(), fun(), options()) -> ok | {error, pitcrew_error:t()}.
register(Target, Name, Function, Options) ->
    case {where(Target), tool(Name, Function, Options)} of
        {{ok, Table, Scope}, {ok, Tool, Description, Replace}} ->
            case insert(Table, Scope, {Tool, Description}, Replace) of
                ok -> still_there(Target, Table, Scope, Tool);
                {error, _} = Error -> Error
            end;
        {{error, _} = Error, _} ->
            Error;
        {_, {error, _} = Error} ->
            Error
    end.

%% Its session may have ended between the look and the entry.
still_there(_, _, pool, _) ->
    ok;
still_there(Target, Table, Scope, #tool{name = Name}) ->
    case where(Target) of
        {ok, Table, Scope} ->
            ok;
        Other ->
            _ = delete(Table, {Scope, Name}),
            case Other of {error, _} -> Other; _ -> {error, pitcrew_sessions:gone(nil)} end
    end.

%% @doc See `Pitcrew.ToolRegistry.register/2'. Without a name the tool gets one that nobody can guess, and is not listed.
-spec register_for_all(fun(), options()) -> {ok, binary()} | {error, pitcrew_error:t()}.
register_for_all(Function, Options) ->
    case pitcrew_options:split([name], Options) of
        {#{name := Name}, Rest} -> register_for_all({listed, Name}, Function, Rest);
        {[{name, Name}], Rest} -> register_for_all({listed, Name}, Function, Rest);
        {_, Rest} -> register_for_all({unlisted, new_id()}, Function, Rest)
    end.

register_for_all({Listed, Name}, Function, Options) ->
    case tool(Name, Function, Options) of
        {ok, #tool{name = Id} = Tool, Description, Replace} ->
            case insert(?MODULE, Listed, {Tool, Description}, Replace) of
                ok -> {ok, Id};
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

new_id() -> <<"tool-", (string:lowercase(binary:encode_hex(crypto:strong_rand_bytes(16))))/binary>>.

insert(Table, Scope, {#tool{name = Name} = Tool, Description}, Replace) ->
    Row = {{Scope, Name}, Tool, Description},
    try ets:insert_new(Table, Row) orelse (Replace andalso ets:insert(Table, Row)) of
        true -> ok;
        false -> invalid("there is a tool ~ts already; with the option replace this one takes its place", [Name])
    catch
        error:badarg -> {error, pitcrew_error:new(pool_down, "the pool went down")}
    end.

%% @doc Takes a tool out. Calls of it that run go on.
-spec unregister(target(), atom() | unicode:chardata()) -> ok | {error, pitcrew_error:t()}.
unregister(Target, Name) ->
    case {where(Target), name(Name)} of
        {{ok, Table, Scope}, {ok, Clean}} -> delete(Table, {Scope, Clean});
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

-spec unregister_for_all(atom() | unicode:chardata()) -> ok | {error, pitcrew_error:t()}.
unregister_for_all(Name) ->
    case name(Name) of
        {ok, Clean} ->
            ok = delete(?MODULE, {listed, Clean}),
            delete(?MODULE, {unlisted, Clean});
        {error, _} = Error ->
            Error
    end.

delete(Table, Key) ->
    try ets:delete(Table, Key) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% @doc Tools that can be called from calls to a pool or a session, by their names.
-spec list(target()) -> {ok, [info()]} | {error, pitcrew_error:t()}.
list(Target) ->
    case where(Target) of
        {ok, Table, Scope} -> {ok, infos(Table, Scope)};
        {error, _} = Error -> Error
    end.

%% What is nearer hides what is farther: session, pool, all.
infos(Table, Scope) ->
    Layers = [{?MODULE, listed}, {Table, pool} | [{Table, Scope} || Scope =/= pool]],
    Found = lists:foldl(fun layer/2, #{}, Layers),
    [Info || {_, Info} <- lists:keysort(1, maps:to_list(Found))].

layer({Table, Scope}, Found) ->
    lists:foldl(
        fun({{_, Name}, Tool, Description}, Seen) -> Seen#{Name => info(Tool, Description, is_integer(Scope))} end,
        Found,
        ets:match_object(Table, {{Scope, '_'}, '_', '_'})
    ).

info(#tool{name = Name, function = Function, parameters = Parameters, timeout = Timeout}, Description, InSession) ->
    {arity, Arity} = erlang:fun_info(Function, arity),
    Description#{
        name => Name,
        parameters => Parameters,
        arity => Arity,
        timeout => case Timeout of call -> nil; _ -> Timeout end,
        session => InSession
    }.

%% @doc The table, and whose the tool is there.
-spec where(target()) -> {ok, ets:tid(), scope()} | {error, pitcrew_error:t()}.
where(Pool) when is_atom(Pool); is_pid(Pool) ->
    case pitcrew_pools:find(Pool) of
        {ok, #pool{registry = Table}} -> {ok, Table, pool};
        absent -> {error, pitcrew_call:no_pool(Pool)}
    end;
where({_, _} = Session) ->
    in_session(Session);
where(#{'__struct__' := 'Elixir.Pitcrew.Session'} = Session) ->
    in_session(Session);
where(Other) ->
    {error, pitcrew_call:no_pool(Other)}.

in_session(Session) ->
    case pitcrew_sessions:find(Session) of
        {ok, #pool{registry = Table}, #place{no = No}} -> {ok, Table, No};
        {error, _} = Error -> Error
    end.

%% ---- What is given

tool(Name, Function, Options) ->
    case {name(Name), pitcrew_options:table(Options, option_table())} of
        {{ok, Clean}, {ok, Checked}} -> described(Clean, Function, Checked);
        {{error, _} = Error, _} -> Error;
        {_, {error, _} = Error} -> Error
    end.

option_table() ->
    [
        {doc, optional_text, {value, nil}},
        {schema, {matching, fun schema/1, "a map that can be sent, the JSON schema of an object"}, {value, nil}},
        {parameters, {matching, fun parameters/1, "a list of different names (atoms or texts)"}, {value, nil}},
        {timeout, timeout, {value, call}},
        {idempotent, {one_of, [false, true]}, {value, false}},
        {cache, {one_of, [false, true]}, {value, false}},
        {replace, {one_of, [false, true]}, {value, false}}
    ].

schema(None) when None =:= nil; None =:= undefined -> {ok, nil};
schema(Schema) when is_map(Schema), not is_map_key('__struct__', Schema) ->
    %% Python is to have it.
    case pitcrew_nif:encode(Schema, #{}) of
        {ok, _} -> {ok, Schema};
        {error, _} -> error
    end;
schema(_) -> error.

parameters(None) when None =:= nil; None =:= undefined -> {ok, nil};
parameters(Names) when length(Names) >= 0 ->
    Clean = [Name || Given <- Names, {ok, Name} <- [name(Given)]],
    case length(Clean) =:= length(Names) andalso length(lists:usort(Clean)) =:= length(Clean) of
        true -> {ok, Clean};
        false -> error
    end;
parameters(_) -> error.

%% As it is written in Python: `pitcrew.elixir.search', or `pitcrew.elixir["web search"]'. Names with `pitcrew:' are our own.
name(Atom) when is_atom(Atom), Atom =/= nil, Atom =/= undefined -> name(atom_to_binary(Atom));
name(<<"pitcrew:", _/binary>> = Name) -> bad_name(Name);
name(Name) when is_binary(Name), Name =/= <<>>, byte_size(Name) =< ?MOST_NAME ->
    case unicode:characters_to_binary(Name) of
        Name -> {ok, Name};
        _ -> bad_name(Name)
    end;
name([C | _] = Name) when is_integer(C) ->
    try unicode:characters_to_binary(Name) of
        Text when is_binary(Text) -> name(Text);
        _ -> bad_name(Name)
    catch
        error:badarg -> bad_name(Name)
    end;
name(Other) -> bad_name(Other).

bad_name(Name) ->
    invalid("the name of a tool is an atom or a text of 1 to ~b bytes that does not begin with pitcrew:, not ~0tP", [?MOST_NAME, Name, 16]).

invalid(Format, Args) -> {error, pitcrew_error:new(invalid_option, Format, Args)}.

described(_, Other, _) when not is_function(Other) ->
    invalid("a tool is a function, not ~0tP", [Other, 16]);
described(Name, Function, #{parameters := Given} = Options) ->
    {arity, Arity} = erlang:fun_info(Function, arity),
    case Given =:= nil orelse length(Given) =:= Arity of
        true -> complete(Name, Function, pitcrew_tool_schema:derive(Function, Given), Options);
        false -> invalid("option parameters names ~b arguments, and the function takes ~b", [length(Given), Arity])
    end.

%% What is given goes before what can be found out.
-spec complete(binary(), fun(), {[binary()] | nil, map(), binary() | nil}, map()) -> {ok, tool(), description(), Replace :: boolean()}.
complete(Name, Function, {Parameters, DerivedSchema, DerivedDoc}, Options) ->
    #{doc := Doc, schema := Schema, idempotent := Idempotent, cache := Cache, timeout := Timeout, replace := Replace} = Options,
    Print = print(Idempotent orelse Cache, Function),
    Tool = #tool{name = Name, function = Function, parameters = Parameters, timeout = Timeout, print = Print},
    {ok, Tool, #{doc => first(Doc, DerivedDoc), schema => first(Schema, DerivedSchema), idempotent => Idempotent}, Replace}.

first(nil, Other) -> Other;
first(Value, _) -> Value.

%% The same for the same code, also on another node; of a closure nobody can say what it will do, so each is one of its own.
print(false, _) ->
    none;
print(true, Function) ->
    case [erlang:fun_info(Function, What) || What <- [type, module, name, arity]] of
        [{type, external}, {module, Module}, {name, Name}, {arity, Arity}] -> {Module, Name, Arity, version(Module)};
        _ -> crypto:strong_rand_bytes(16)
    end.

version(Module) ->
    try
        Module:module_info(md5)
    catch
        error:_ -> crypto:strong_rand_bytes(16)
    end.

%% ---- Calling

%% @doc What a name stands for in a call of a pool, perhaps of one of its sessions, and how long it may take where the call's functions may take so long; or a text
%% that says what there is.
-spec find(binary(), pitcrew_pools:entry(), pos_integer() | none, timeout()) -> {ok, pitcrew_function:callee(), timeout()} | {error, binary()}.
find(<<"pitcrew:send">>, _, _, Timeout) ->
    {ok, {own, fun pitcrew_send:send/1}, Timeout};
find(<<"pitcrew:tools">>, #pool{registry = Table}, Session, Timeout) ->
    {ok, {own, fun([]) -> {ok, tools(Table, Session)} end}, Timeout};
find(Name, #pool{registry = Table} = Pool, Session, OfCall) ->
    Keys = [{Table, {Session, Name}} || Session =/= none] ++ [{Table, {pool, Name}}, {?MODULE, {listed, Name}}, {?MODULE, {unlisted, Name}}],
    case look(Keys) of
        #tool{timeout = call} = Tool -> {ok, {tool, Tool, Pool}, OfCall};
        #tool{timeout = Timeout} = Tool -> {ok, {tool, Tool, Pool}, Timeout};
        none -> {error, unknown(Name, Table, Session)}
    end.

%% It is not there, or the pool has gone.
look([]) ->
    none;
look([{Table, Key} | Rest]) ->
    try
        ets:lookup_element(Table, Key, 2)
    catch
        error:badarg -> look(Rest)
    end.

unknown(Name, Table, Session) ->
    Text =
        case [Known || #{name := Known} <- visible(Table, Session)] of
            [] -> io_lib:format("there is no tool ~ts, nor any other", [Name]);
            Names -> io_lib:format("there is no tool ~ts; there are: ~ts", [Name, lists:join(", ", Names)])
        end,
    unicode:characters_to_binary(Text).

visible(Table, none) -> visible(Table, pool);
visible(Table, Scope) ->
    try
        infos(Table, Scope)
    catch
        error:badarg -> []
    end.

%% As Python sees them.
tools(Table, Session) ->
    [maps:from_list([{atom_to_binary(Key), Value} || {Key, Value} <- maps:to_list(Info), Key =/= timeout]) || Info <- visible(Table, Session)].

%% @doc The arguments of the function: those by position first, those by name where their names are, or else together as a map at the end.
-spec arguments(tool(), list(), map() | nil) -> {ok, list()} | {error, binary()}.
arguments(_, Args, None) when not is_map(None) -> {ok, Args};
arguments(#tool{parameters = nil}, Args, Named) -> {ok, Args ++ [Named]};
arguments(#tool{parameters = Names}, Args, Named) when length(Args) > length(Names) ->
    {ok, Args ++ [Named]};
arguments(#tool{name = Tool, parameters = Names}, Args, Given) ->
    Rest = lists:nthtail(length(Args), Names),
    %% What was an atom in the VM is one again.
    Named = maps:from_list([{pitcrew_call:tool_id(Name), Value} || {Name, Value} <- maps:to_list(Given)]),
    case {[Name || Name <- Rest, not is_map_key(Name, Named)], maps:keys(maps:without(Rest, Named))} of
        {[], []} -> {ok, Args ++ [map_get(Name, Named) || Name <- Rest]};
        {Missing, []} -> refuse("~ts needs ~ts as well", [Tool, lists:join(", ", Missing)]);
        {_, Others} -> refuse("~ts takes ~ts; given by name was ~ts", [Tool, lists:join(", ", Names), lists:join(", ", Others)])
    end.

refuse(Format, Args) -> {error, unicode:characters_to_binary(io_lib:format(Format, Args))}.

%% @doc Runs a tool; through the pool's cache, if its results may be kept.
-spec run(tool(), pitcrew_pools:entry(), list(), fun((fun()) -> Outcome)) -> Outcome when
    Outcome :: {ok, term()} | {error, pitcrew_function:fault()}.
run(#tool{function = Function, print = Print}, #pool{cache = Cache}, _, Run) when Print =:= none; Cache =:= none ->
    Run(Function);
run(#tool{name = Name, function = Function, print = Print} = Tool, #pool{cache = Cache}, Args, Run) ->
    case pitcrew_cache_call:key({'pitcrew:elixir', Name, Print, Args}, Cache) of
        none ->
            Run(Function);
        Key ->
            Timeout = case Tool of #tool{timeout = call} -> infinity; #tool{timeout = Own} -> Own end,
            Now = erlang:monotonic_time(),
            Facts = #{tool_id => Name, started => Now, deadline => pitcrew_deadline:in(Timeout), timeout => Timeout, takes_worker => false},
            {Outcome, _} = pitcrew_cache_call:run(Cache, Key, Facts, fun() -> {Run(Function), nil} end),
            Outcome
    end.
