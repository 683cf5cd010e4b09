%% Reads options by tables, of whatever they are: what is wrong is an error that says what was given and what is allowed.
-module(pitcrew_option_check).

-export([valid/1, invalid/1, read/2, complete/2, fail/2]).
-export_type([row/0]).

%% Name, type, and the default: a value, a fun, or `required'; `none' where what was not given is not there.
-type row() :: {atom(), atom() | tuple(), {value, term()} | fun(() -> term()) | required | none}.

%% Other names of options.
aliases() -> #{pool_size => size, connection_pool_size => concurrency}.

%% @doc What a check makes of options, which may fail/2.
-spec valid(fun(() -> T)) -> {ok, T} | {error, pitcrew_error:t()}.
valid(Check) ->
    try
        {ok, Check()}
    catch
        throw:{invalid, Message} -> invalid(Message)
    end.

-spec invalid(unicode:chardata()) -> {error, pitcrew_error:t()}.
invalid(Message) -> {error, pitcrew_error:new(invalid_option, Message)}.

%% @doc Each option that was given, in its one form.
-spec read(map() | [{atom(), term()}], [row()]) -> map().
read(Options, Table) -> read(Options, Table, #{}).

%% @doc The same, with the defaults.
-spec complete(map() | [{atom(), term()}], [row()]) -> map().
complete(Options, Table) ->
    Given = read(Options, Table),
    maps:from_list([{Name, default(Name, Default, Given)} || {Name, _, Default} <- Table]).

read(Options, Table, Seen) when is_map(Options) ->
    read(maps:to_list(Options), Table, Seen);
read([], _, Seen) ->
    Seen;
read([{Key, Value} | Rest], Table, Seen) ->
    Name = maps:get(Key, aliases(), Key),
    case lists:keyfind(Name, 1, Table) of
        {Name, _, _} when is_map_key(Name, Seen) ->
            fail("option ~ts is given twice", [show(Key)]);
        {Name, Type, _} ->
            read(Rest, Table, Seen#{Name => checked(Key, Type, Value)});
        false ->
            fail("unknown option ~ts~ts; the options are ~ts", [show(Key), suggestion(Key, Table), names_text(Table)])
    end;
read([Flag | Rest], Table, Seen) when is_atom(Flag) ->
    read([{Flag, true} | Rest], Table, Seen);
read([Other | _], _, _) ->
    fail("options are pairs of a name and a value, not ~ts", [show(Other)]);
read(Other, _, _) ->
    fail("options are a map or a list of pairs, not ~ts", [show(Other)]).

default(Name, Default, Given) ->
    case Given of
        #{Name := Value} -> Value;
        #{} when Default =:= required -> fail("option ~ts is required", [show(Name)]);
        #{} when is_function(Default) -> Default();
        #{} -> element(2, Default)
    end.

checked(Key, {Nested, _} = Type, Value) when Nested =:= options; Nested =:= switch ->
    %% What is wrong inside says so, and where it stands.
    try check(Type, Value) of
        {ok, Clean} -> Clean;
        error -> fail("option ~ts must be ~ts; given was ~ts", [show(Key), allowed(Type), show(Value)])
    catch
        throw:{invalid, Message} -> fail("in option ~ts: ~ts", [show(Key), Message])
    end;
checked(Key, Type, Value) ->
    case check(Type, Value) of
        {ok, Clean} -> Clean;
        error -> fail("option ~ts must be ~ts; given was ~ts", [show(Key), allowed(Type), show(Value)]);
        {error, Why} -> fail("option ~ts must be ~ts; ~ts", [show(Key), allowed(Type), Why])
    end.

%% {ok, Value in its one form} | error | {error, what is wrong}
check(name, Name) when is_atom(Name), Name =/= undefined, Name =/= nil, Name =/= true, Name =/= false -> {ok, Name};
check({integer, Min, Max}, N) when is_integer(N), N >= Min, N =< Max -> {ok, N};
check({integer_or, _, _, Word}, Word) -> {ok, Word};
check({integer_or, Min, Max, _}, N) -> check({integer, Min, Max}, N);
check(timeout, infinity) -> {ok, infinity};
check(timeout, N) -> check({integer, 0, 16#ffffffff}, N);
check({one_of, Values}, Value) -> member(Value, Values);
check({options, Table}, Options) when is_map(Options); is_list(Options) -> {ok, read(Options, Table)};
check({switch, _}, Off) when Off =:= false; Off =:= none; Off =:= nil; Off =:= undefined -> {ok, none};
check({switch, Table}, true) -> {ok, complete([], Table)};
check({switch, Table}, Options) when is_map(Options); is_list(Options) -> {ok, complete(Options, Table)};
check({backend, _}, ets) -> {ok, ets};
check({backend, Table}, {redis, Options}) when is_map(Options); is_list(Options) -> {ok, {redis, complete(Options, Table)}};
%% As a fun, which no report shows.
check({secret, Least}, Secret) when is_binary(Secret), byte_size(Secret) >= Least -> {ok, fun() -> Secret end};
check({secret, _}, _) -> {error, "what was given is not shown"};
check(term, Term) -> {ok, Term};
check({number, Min}, N) when is_number(N), N >= Min -> {ok, N};
%% Nobody has said that the frames are to be read.
check(protocol, auto) -> {ok, pitcrew_protocol:fastest()};
check(protocol, Protocol) -> member(Protocol, [msgpack, json]);
check(handlers, Handlers) -> handlers(Handlers);
check({matching, Test, _}, Value) -> Test(Value);
check(prefix, [_ | _] = Prefix) -> all(Prefix, fun is_atom/1);
check(modules, [_ | _] = Modules) -> modules(Modules);
check(modules, []) -> {ok, []};
check(hosts, Hosts) -> check(modules, Hosts);
check(packages, Names) -> packages(check(modules, Names));
check(env, Env) when is_map(Env) -> env(maps:to_list(Env), #{});
check(env, Env) when is_list(Env) -> env(Env, #{});
check({function, _}, None) when None =:= nil; None =:= undefined -> {ok, nil};
check({function, Arity}, Function) when is_function(Function, Arity) -> {ok, Function};
check(start_call, None) when None =:= nil; None =:= undefined -> {ok, nil};
check(start_call, {Tool, _} = Call) when is_binary(Tool); is_atom(Tool) -> {ok, Call};
check(owner, None) when None =:= nil; None =:= undefined -> {ok, nil};
check(owner, Owner) when is_pid(Owner) -> {ok, Owner};
check(address, Address) ->
    case inet:ntoa(Address) of
        {error, _} -> error;
        _ -> {ok, Address}
    end;
check(pools, all) -> {ok, all};
check(pools, [_ | _] = Names) -> all(Names, fun is_atom/1);
check(traceparent, Text) -> pitcrew_trace:parent(Text);
check(tracestate, Text) -> pitcrew_trace:state(Text);
check(text, Text) -> text(Text);
check(optional_text, Text) when Text =:= nil; Text =:= undefined -> {ok, nil};
check(optional_text, Text) -> text(Text);
%% Whatever a test of the table's own takes.
check({fits, Test, _}, Value) ->
    case Test(Value) of
        true -> {ok, Value};
        false -> error
    end;
check(_, _) -> error.

member(Value, Values) ->
    case lists:member(Value, Values) of
        true -> {ok, Value};
        false -> error
    end.

all(List, Test) ->
    case is_list(List) andalso length(List) >= 0 andalso lists:all(Test, List) of
        true -> {ok, List};
        false -> error
    end.

%% A path or a command: text that is not empty and holds no zero byte, which no system call would take.
text(Text) when is_binary(Text); is_list(Text) ->
    try unicode:characters_to_binary(Text) of
        <<_, _/binary>> = Binary ->
            case binary:match(Binary, <<0>>) of
                nomatch -> {ok, Binary};
                _ -> error
            end;
        _ ->
            error
    catch
        error:badarg -> error
    end;
text(_) ->
    error.

modules([C | _] = Text) when is_integer(C) ->
    {error, io_lib:format("given was the text ~tp, so write [~tp]", [Text, Text])};
modules(Modules) ->
    Names = [module(Module) || Module <- Modules],
    case lists:member(error, Names) of
        true -> error;
        false -> {ok, Names}
    end.

module(Module) when is_atom(Module) -> module(atom_to_binary(Module));
module(Module) ->
    case text(Module) of
        {ok, Name} -> Name;
        error -> error
    end.

%% Nobody is to reach Pitcrew itself by them.
packages({ok, Names}) ->
    case [Name || Name <- Names, not is_package(Name)] of
        [] -> {ok, Names};
        [Name | _] -> {error, io_lib:format("~ts cannot be allowed", [show(Name)])}
    end;
packages(Other) ->
    Other.

is_package(Name) ->
    Parts = binary:split(Name, <<".">>, [global]),
    not lists:member(<<>>, Parts) andalso hd(Parts) =/= <<"pitcrew">> andalso
        binary:match(Name, [<<":">>, <<" ">>, <<"*">>]) =:= nomatch.

%% One fun for every extension, or one for each of some.
handlers(nil) -> {ok, nil};
handlers(Handler) when is_function(Handler, 2) -> {ok, Handler};
handlers(Handlers) when is_map(Handlers) ->
    Fits = fun({Type, Handler}) -> is_integer(Type) andalso abs(2 * Type + 1) < 256 andalso is_function(Handler, 1) end,
    case lists:all(Fits, maps:to_list(Handlers)) of
        true -> {ok, Handlers};
        false -> error
    end;
handlers(_) ->
    error.

env([], Env) ->
    {ok, Env};
env([{Name, Value} | Rest], Env) ->
    case {module(Name), env_value(Value)} of
        {error, _} ->
            {error, io_lib:format("~ts cannot be the name of a variable", [show(Name)])};
        {_, error} ->
            {error, io_lib:format("the value of ~ts was ~ts", [show(Name), show(Value)])};
        {Key, {ok, Clean}} ->
            case binary:match(Key, <<"=">>) of
                nomatch -> env(Rest, Env#{Key => Clean});
                _ -> {error, io_lib:format("~ts cannot be the name of a variable", [show(Name)])}
            end
    end;
env(_, _) ->
    error.

env_value(Unset) when Unset =:= nil; Unset =:= false; Unset =:= undefined -> {ok, nil};
env_value(Empty) when Empty =:= ""; Empty =:= <<>> -> {ok, <<>>};
env_value(Text) -> text(Text).

allowed(name) -> "an atom that is not nil, undefined or a boolean";
allowed({integer, Min, Max}) -> io_lib:format("an integer from ~b to ~b", [Min, Max]);
allowed({integer_or, Min, Max, Word}) -> io_lib:format("an integer from ~b to ~b, or ~tp", [Min, Max, Word]);
allowed({options, Table}) -> ["a map or a list of pairs with some of ", names_text(Table)];
allowed({switch, Table}) -> ["true, false, or a map or a list of pairs with some of ", names_text(Table)];
allowed({function, Arity}) -> io_lib:format("a function of ~b arguments, or nil", [Arity]);
allowed({backend, Table}) -> ["ets, or {redis, Options} with some of ", names_text(Table)];
allowed({secret, Least}) -> io_lib:format("a binary of at least ~b bytes", [Least]);
allowed({number, Min}) -> io_lib:format("a number of at least ~b", [Min]);
allowed(timeout) -> "a number of milliseconds or infinity";
allowed({one_of, Values}) -> ["one of ", lists:join(", ", [show(Value) || Value <- Values])];
allowed(protocol) -> allowed({one_of, [msgpack, json, auto]});
allowed({matching, _, Text}) -> Text;
allowed(handlers) ->
    "a function of type and data, or a map from types (-128 to 127) to functions of the data";
allowed(prefix) -> "a list of atoms with at least one element";
allowed(modules) -> "a list of names of Python modules (binaries, strings or atoms)";
allowed(hosts) -> "a list of names of hosts (binaries, strings or atoms)";
allowed(packages) -> "a list of names of Python modules or packages, such as numpy or os.path";
allowed(env) -> "a map or a list of pairs from names to texts, or to nil, which removes the variable";
allowed(start_call) -> "a tool and its arguments, {Tool, Args}, or nil";
allowed(owner) -> "a pid, or nil for nobody";
allowed(address) -> "an IP address, such as {127, 0, 0, 1}";
allowed(pools) -> "all, or a list of names of pools";
allowed({fits, _, Text}) -> Text;
allowed(traceparent) -> "a traceparent as W3C has it, 00-TRACE-PARENT-FLAGS with 32, 16 and 2 hexadecimal digits, or nil";
allowed(tracestate) -> "a binary of at most 512 printable characters, or nil";
allowed(text) -> "a text (binary or string) that is not empty";
allowed(optional_text) -> "a text (binary or string) that is not empty, or nil".

names_text(Table) -> lists:join(", ", [atom_to_list(Name) || {Name, _, _} <- Table]).

suggestion(Key, Table) when is_atom(Key); is_binary(Key) ->
    Given = unicode:characters_to_list(io_lib:format("~ts", [Key])),
    Near = [
        {Distance, Name}
     || Name <- maps:keys(aliases()) ++ [Name || {Name, _, _} <- Table],
        Distance <- [distance(Given, atom_to_list(Name))],
        Distance =< 1 + length(Given) div 4
    ],
    case lists:sort(Near) of
        [{0, Name} | _] -> [" (the name is an atom: ", atom_to_list(Name), ")"];
        [{_, Name} | _] -> [" (did you mean ", atom_to_list(Name), "?)"];
        [] -> ""
    end;
suggestion(_, _) ->
    "".

%% Levenshtein's distance, one row of the table at a time.
distance(A, B) ->
    Row = lists:foldl(fun(C, Row) -> next_row(C, B, Row) end, lists:seq(0, length(B)), A),
    lists:last(Row).

next_row(C, B, [First | _] = Row) -> [First + 1 | next_row(C, B, Row, First + 1)].

next_row(_, [], [_], _) ->
    [];
next_row(C, [D | B], [Diagonal | [Above | _] = Row], Left) ->
    Cost = if C =:= D -> 0; true -> 1 end,
    Cell = lists:min([Above + 1, Left + 1, Diagonal + Cost]),
    [Cell | next_row(C, B, Row, Cell)].

show(Value) -> io_lib:format("~0tp", [Value]).

%% @doc What is wrong with options, inside of valid/1.
-spec fail(io:format(), [term()]) -> no_return().
fail(Format, Args) -> throw({invalid, unicode:characters_to_binary(io_lib:format(Format, Args))}).
