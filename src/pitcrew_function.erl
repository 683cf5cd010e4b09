%% One call of a function that a worker has made, in a process that is there for nothing else: decodes the arguments, runs the function, encodes what
%% has become of it, and answers the worker. Knows neither the call that it belongs to nor its host.
-module(pitcrew_function).

-export([run/4, answer/2, encoded/3, encoded_end/1, refuse/3, fault/2, raised/3]).
-export_type([to/0, fault/0, callee/0]).

-type to() :: {pitcrew_nif:channel(), Id :: non_neg_integer()}.
-type fault() :: #{binary() => binary() | nil}.

%% A function that came with a call; a tool, and the pool that it is called from; or one of ours, which is given its arguments as a list.
-type callee() :: fun() | {tool, pitcrew_tools:tool(), pitcrew_pools:entry()} | {own, fun(([term()]) -> {ok, term()} | {error, atom(), unicode:chardata()})}.

%% @doc Runs a function with what a worker has sent, and answers. Whatever it does, but for the end of its process.
-spec run(callee(), binary(), pitcrew_nif:codec_opts(), to()) -> ok.
run(Callee, Bytes, Codec, To) ->
    case pitcrew_nif:decode(Bytes, Codec) of
        {ok, [Args, Kwargs]} when is_list(Args) ->
            case outcome(Callee, Args, Kwargs) of
                {ok, Value} -> give(Value, Codec, To);
                {error, Fault} -> fail(To, Fault)
            end;
        {ok, _} ->
            refuse(To, bad_arguments, "the arguments of a function are a list, and a map or nothing");
        {error, #{message := Message}} ->
            refuse(To, decode_error, Message)
    end.

outcome({own, Function}, Args, _) ->
    try Function(Args) of
        {ok, Value} -> {ok, Value};
        {error, Kind, Text} -> {error, fault(Kind, Text)}
    catch
        error:function_clause -> {error, fault(bad_arguments, "it was called with other arguments than it takes")}
    end;
outcome({tool, Tool, Pool}, Args, Kwargs) ->
    case pitcrew_tools:arguments(Tool, Args, Kwargs) of
        {ok, All} -> pitcrew_tools:run(Tool, Pool, All, fun(Function) -> apply_it(Function, All) end);
        {error, Text} -> {error, fault(bad_arguments, Text)}
    end;
outcome(Function, Args, Kwargs) ->
    apply_it(Function, Args ++ [Kwargs || is_map(Kwargs)]).

apply_it(Function, Args) when not is_function(Function, length(Args)) ->
    {arity, Arity} = erlang:fun_info(Function, arity),
    {error, fault(bad_arguments, io_lib:format("the function takes ~b arguments, and was called with ~b", [Arity, length(Args)]))};
apply_it(Function, Args) ->
    try
        {ok, apply(Function, Args)}
    catch
        Class:Reason:Stack -> {error, raised(Class, Reason, Stack)}
    end.

give(Value, Codec, To) ->
    case encoded(Value, Codec, "what the function returned") of
        {ok, Bytes} -> answer(To, Bytes);
        {error, Fault} -> fail(To, Fault)
    end.

%% @doc Answers with a value that is encoded.
-spec answer(to(), binary()) -> ok.
answer({Channel, Id} = To, Bytes) ->
    case pitcrew_nif:lane_reply(Channel, reply, Id, Bytes) of
        too_big -> refuse(To, too_big, "what the function returned is larger than max_frame");
        full -> refuse(To, result_error, "there is no memory for what the function returned");
        _ -> ok
    end.

%% @doc A value as a worker is sent it, also one with structs that have no form of their own; or why not, of something that is called so.
-spec encoded(term(), pitcrew_nif:codec_opts(), string()) -> {ok, binary()} | {error, fault()}.
encoded(Value, Codec, What) ->
    case pitcrew_nif:encode(Value, Codec) of
        {ok, _} = Encoded ->
            Encoded;
        {error, #{struct := _} = Refused} ->
            case pitcrew_structs:encoded([{[result], Value}], Refused) of
                {ok, [Other]} -> encoded(Other, Codec, What);
                {error, Still} -> unencodable(What, Still)
            end;
        {error, Refused} ->
            unencodable(What, Refused)
    end.

unencodable(What, #{kind := Kind, message := Message, path := Path}) ->
    Word = case Kind of too_big -> too_big; _ -> result_error end,
    {error, fault(Word, io_lib:format("~ts cannot be sent: ~ts, at ~0tp", [What, Message, Path]))}.

%% @doc What stands at the end of what is enumerated: true, or why it has ended.
-spec encoded_end(done | fault()) -> iodata().
encoded_end(done) ->
    <<16#c3>>;
encoded_end(Fault) ->
    {ok, Bytes} = pitcrew_nif:encode(Fault, #{binaries => auto}),
    Bytes.

%% @doc Answers with such an error.
-spec refuse(to(), Kind :: atom(), unicode:chardata()) -> ok.
refuse(To, Kind, Text) -> fail(To, fault(Kind, Text)).

%% @doc An error that is not the function's own.
-spec fault(Kind :: atom(), unicode:chardata()) -> fault().
fault(Kind, Text) -> error_of(Kind, nil, cut_whole(Text), nil).

-spec fail(to(), fault()) -> ok.
fail({Channel, Id}, Error) ->
    {ok, Bytes} = pitcrew_nif:encode(Error, #{binaries => auto}),
    _ = pitcrew_nif:lane_reply(Channel, error, Id, Bytes),
    ok.

%% What an error frame says, cut where it is long.
-spec error_of(atom(), binary() | nil, binary(), binary() | nil) -> fault().
error_of(Kind, Type, Message, Trace) ->
    #{
        <<"kind">> => atom_to_binary(Kind),
        <<"type">> => Type,
        <<"message">> => cut(Message, 16_384),
        <<"traceback">> => cut(Trace, 65_536)
    }.

cut(Text, Most) when byte_size(Text) > Most -> cut_whole(binary:part(Text, 0, Most));
cut(Text, _) -> Text.

%% Not inside a character.
cut_whole(Text) ->
    case unicode:characters_to_binary(Text) of
        Whole when is_binary(Whole) -> Whole;
        {_, Good, _} -> Good
    end.

%% @doc The error that a function of the user's has raised.
-spec raised(error | exit | throw, term(), list()) -> fault().
raised(Class, Reason, Stack) ->
    {Type, Message} = described(Class, Reason, Stack),
    error_of(Class, Type, Message, trace(Stack)).

%% An exception of Elixir's has a name and a message.
described(error, #{'__struct__' := Name, '__exception__' := true} = Exception, _) ->
    {name(Name), safely(fun() -> 'Elixir.Exception':message(Exception) end, Exception)};
described(error, Reason, Stack) ->
    case code:ensure_loaded('Elixir.Exception') of
        {module, _} ->
            #{'__struct__' := Name} = Exception = 'Elixir.Exception':normalize(error, Reason, Stack),
            {name(Name), safely(fun() -> 'Elixir.Exception':message(Exception) end, Reason)};
        _ ->
            {nil, show(Reason)}
    end;
described(_, Reason, _) ->
    {nil, show(Reason)}.

name(Name) ->
    case atom_to_binary(Name) of
        <<"Elixir.", Short/binary>> -> Short;
        Whole -> Whole
    end.

safely(Message, Instead) ->
    try Message() of
        Text when is_binary(Text) -> cut_whole(Text);
        _ -> show(Instead)
    catch
        _:_ -> show(Instead)
    end.

show(Term) -> unicode:characters_to_binary(io_lib:format("~0tP", [Term, 64])).

%% Down to our own frames.
trace(Stack) ->
    Ours = [?MODULE, pitcrew_runner, pitcrew_iterator],
    Theirs = lists:takewhile(fun(Entry) -> not lists:member(element(1, Entry), Ours) end, Stack),
    unicode:characters_to_binary([
        io_lib:format("~ts:~b: ~0tp:~0tp/~b~n", [
            proplists:get_value(file, Place, "?"), proplists:get_value(line, Place, 0), Module, Function, arity(Arity)
        ])
     || {Module, Function, Arity, Place} <- Theirs
    ]).

arity(Args) when is_list(Args) -> length(Args);
arity(Arity) -> Arity.
