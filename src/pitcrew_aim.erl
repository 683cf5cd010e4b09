%% Where a call may run: anywhere, or in one worker only, because it is a session's or concerns an object. What follows from that is here; how
%% the call gets there is pitcrew_call's business.
-module(pitcrew_aim).

-export([at/3, of_arguments/1, options/2, use/1, is_bound/1, missed/3, elsewhere/1]).
-export_type([aim/0, on_object/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_session.hrl").

%% `tenant' is a session that begins.
-type aim() ::
    any
    | {ref, pitcrew_nif:ref()}
    | {session, No :: pos_integer(), #place{}}
    | {tenant, No :: pos_integer(), pitcrew_nif:tenant()}.

%% What can be asked of an object besides its methods: an attribute, or a copy of it.
-type on_object() :: {attribute, pitcrew:tool()} | {value}.

%% @doc What a call of something else than a pool is: the pool, where it may run, the tool's name on the wire and for people, and its
%% arguments.
-spec at(pitcrew:target(), pitcrew:tool() | on_object(), pitcrew:args()) ->
    {ok, #pool{}, aim(), {binary(), binary(), pitcrew:args()}} | {error, pitcrew_error:t()}.
at(#{'__struct__' := 'Elixir.Pitcrew.Ref', pool := Name, handle := Handle, type := Type} = Ref, Method, Args) ->
    case pitcrew_pools:find(Name) of
        {ok, Pool} ->
            {Tool, What, First} = on_object(Method),
            {ok, Pool, {ref, Handle}, {Tool, <<Type/binary, $., What/binary>>, first([Ref | First], Args)}};
        absent ->
            {error, pitcrew_call:no_pool(Name)}
    end;
at(#{'__struct__' := 'Elixir.Pitcrew.Session'} = Session, Tool, Args) ->
    in_session(Session, pitcrew_call:tool_id(Tool), Args);
at({_, _} = PoolAndName, Tool, Args) ->
    in_session(PoolAndName, pitcrew_call:tool_id(Tool), Args);
at(Other, _, _) ->
    {error, pitcrew_call:no_pool(Other)}.

in_session(Session, Id, Args) ->
    case pitcrew_sessions:find(Session) of
        {ok, Pool, #place{no = No} = Place} -> {ok, Pool, {session, No, Place}, {Id, Id, Args}};
        {error, _} = Error -> Error
    end.

%% The tool that calls a method, reads an attribute, or gives the object itself, and what stands in front of its arguments.
on_object({attribute, Name}) -> {<<"pitcrew:attribute">>, pitcrew_call:tool_id(Name), [pitcrew_call:tool_id(Name)]};
on_object({value}) -> {<<"pitcrew:value">>, <<"value">>, []};
on_object(Method) -> {<<"pitcrew:method">>, pitcrew_call:tool_id(Method), [pitcrew_call:tool_id(Method)]}.

first(First, Args) when is_list(Args) -> First ++ Args;
first(First, {Args, Kwargs}) when is_list(Args) -> {First ++ Args, Kwargs};
first(First, Args) when is_map(Args) -> {First, Args};
first(_, Args) -> Args.

%% @doc Whether the first argument says where the call must run. References elsewhere are found when the arguments are encoded.
-spec of_arguments(list()) -> aim().
of_arguments([#{'__struct__' := 'Elixir.Pitcrew.Ref', handle := Handle} | _]) -> {ref, Handle};
of_arguments(_) -> any.

%% @doc A session's calls tell the worker whose they are.
-spec options(aim(), {ok, pitcrew_options:call()} | {error, pitcrew_error:t()}) ->
    {ok, pitcrew_options:call()} | {error, pitcrew_error:t()}.
options(any, Checked) -> Checked;
options(_, {error, _} = Error) -> Error;
options(_, {ok, #{cache := true}}) ->
    {error, pitcrew_error:new(invalid_option, "option cache must be false for calls of a session or an object; it is true")};
options({ref, _}, {ok, #{protocol := json}}) -> {error, no_json("calls of an object's methods")};
options({ref, _}, Checked) -> Checked;
options(_, {ok, #{protocol := json}}) -> {error, no_json("a session's calls")};
options({_, No, _}, {ok, #{meta := nil} = Options}) -> {ok, Options#{meta := #{session => No}}};
options({_, No, _}, {ok, #{meta := Meta} = Options}) -> {ok, Options#{meta := Meta#{session => No}}}.

no_json(What) ->
    pitcrew_error:new(invalid_option, "~ts need the protocol msgpack: JSON has no place for what they carry", [What]).

%% @doc A session is in use when a call begins, and when it has ended.
-spec use(aim()) -> ok.
use({session, _, Place}) -> pitcrew_session:use(Place);
use(_) -> ok.

%% @doc Whether only one worker can run it.
-spec is_bound(aim()) -> boolean().
is_bound(any) -> false;
is_bound({tenant, _, _}) -> false;
is_bound(_) -> true.

%% @doc The only worker that could have run it is gone.
-spec missed(aim(), Reason :: term(), Tool :: binary()) -> pitcrew_error:t().
missed({ref, _}, foreign, _) -> pitcrew_error:new(bad_ref, "the object belongs to another pool than the call is for");
missed({ref, _}, _, _) -> pitcrew_error:new(bad_ref, "the object is gone: the worker that had it has ended");
missed({tenant, _, _}, Reason, Tool) -> pitcrew_error:from_exit(Reason, [" before the call of ", Tool]).

%% @doc Something in the arguments is in another worker than the call must run in.
-spec elsewhere(aim()) -> pitcrew_error:t().
elsewhere({ref, _}) ->
    pitcrew_error:new(bad_ref, "the objects that the call refers to are in two workers, and it can run in one only");
elsewhere(_) ->
    pitcrew_error:new(bad_ref, "the object that the call refers to is in another worker than its session").
