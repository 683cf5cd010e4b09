%% The trace that a call is a part of, as W3C has it (Trace Context): what the options `traceparent' and `tracestate' say, and what calls inherit that
%% are made by a function which Python has called. It lies in the dictionary of such a process.
-module(pitcrew_trace).

-export([context/0, parent/1, state/1, inherited/1, of_meta/1, put/1, inherit/0, told/2]).
-export_type([context/0]).

-type context() :: #{traceparent := binary(), tracestate => binary()}.

-define(KEY, pitcrew_trace).
-define(MOST_STATE, 512).

%% @doc That of this process, if it runs a function that Python has called in such a call, or makes a call for one that does.
-spec context() -> context() | nil.
context() ->
    case get(?KEY) of
        undefined -> nil;
        Context -> Context
    end.

%% @doc A traceparent: version, trace id, parent id and flags in lower-case hexadecimal digits. Versions after the first may have more behind that.
-spec parent(term()) -> {ok, binary() | nil} | error.
parent(nil) -> {ok, nil};
parent(undefined) -> {ok, nil};
parent(<<Version:2/binary, $-, Trace:32/binary, $-, Parent:16/binary, $-, Flags:2/binary, Rest/binary>> = Text) ->
    Hex = lists:all(fun is_hex/1, [Version, Trace, Parent, Flags]),
    Known = Version =/= <<"ff">> andalso not is_zero(Trace) andalso not is_zero(Parent),
    case Hex andalso Known andalso may_follow(Version, Rest) of
        true -> {ok, Text};
        false -> error
    end;
parent(_) -> error.

is_hex(Text) -> lists:all(fun(C) -> C >= $0 andalso C =< $9 orelse C >= $a andalso C =< $f end, binary_to_list(Text)).

is_zero(Digits) -> binary:copy(<<"0">>, byte_size(Digits)) =:= Digits.

may_follow(_, <<>>) -> true;
may_follow(<<"00">>, _) -> false;
may_follow(_, <<$-, _/binary>> = Rest) when byte_size(Rest) =< ?MOST_STATE -> is_visible(Rest);
may_follow(_, _) -> false.

%% @doc What vendors add, which is passed on as it is.
-spec state(term()) -> {ok, binary() | nil} | error.
state(None) when None =:= nil; None =:= undefined; None =:= <<>> -> {ok, nil};
state(Text) when is_binary(Text), byte_size(Text) =< ?MOST_STATE ->
    case is_visible(Text) of
        true -> {ok, Text};
        false -> error
    end;
state(_) -> error.

%% ASCII that may stand in the value of a header.
is_visible(Text) -> lists:all(fun(C) -> C >= 32 andalso C < 127 end, binary_to_list(Text)).

%% @doc A call with no trace of its own belongs to that of the process that makes it.
-spec inherited({ok, pitcrew_options:call()} | {error, pitcrew_error:t()}) -> {ok, pitcrew_options:call()} | {error, pitcrew_error:t()}.
inherited(Checked) ->
    case get(?KEY) of
        undefined -> Checked;
        Context -> inherited(Checked, Context)
    end.

inherited({ok, #{meta := #{traceparent := _}}} = Own, _) -> Own;
inherited({ok, #{meta := nil} = Call}, Context) -> {ok, Call#{meta := Context}};
inherited({ok, #{meta := Meta} = Call}, Context) -> {ok, Call#{meta := maps:merge(Meta, Context)}};
inherited({error, _} = Error, _) -> Error.

%% @doc What the meta of a call says.
-spec of_meta(map() | nil) -> context() | nil.
of_meta(#{traceparent := _} = Meta) -> maps:with([traceparent, tracestate], Meta);
of_meta(_) -> nil.

%% @doc From now on this process has it.
-spec put(context() | nil) -> ok.
put(nil) -> ok;
put(Context) -> _ = put(?KEY, Context), ok.

%% @doc What a process that makes a call for the calling one does first.
-spec inherit() -> fun(() -> ok).
inherit() ->
    Context = context(),
    fun() -> ?MODULE:put(Context) end.

%% @doc What telemetry is told of a call.
-spec told(map(), {ok, pitcrew_options:call()} | {error, pitcrew_error:t()}) -> map().
told(Told, {ok, #{meta := #{traceparent := _} = Meta}}) -> maps:merge(Told, maps:with([traceparent, tracestate], Meta));
told(Told, _) -> Told.
