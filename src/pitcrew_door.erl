%% Connections that come in, until they have said who they are (docs/protocol.md, section 2). Functions for the keeper, whose
%% process owns the listener and every connection that has not been given away.
-module(pitcrew_door).

-export([open/1, close/1, accept/1, readable/2, expired/2]).
-export_type([door/0, guest/0]).

-include_lib("kernel/include/logger.hrl").

-record(door, {
    listener :: pitcrew_nif:listener(),
    ref :: reference(),
    %% Connections that have not sent their frame yet.
    strangers = #{} :: #{reference() => {pitcrew_nif:channel(), Timer :: reference()}}
}).

-opaque door() :: #door{}.
%% A connection that said something sensible. It belongs to the keeper until it is given away or closed.
-type guest() :: {pitcrew_nif:channel(), Token :: binary(), Role :: binary()}.

-define(AUTH, 0).
-define(PATIENCE_MS, 5_000).
%% When the system refuses a connection (no descriptors, say), the next try is this much later.
-define(RETRY_MS, 100).

-spec open(file:filename_all()) -> {ok, door()} | {error, file:posix()}.
open(Path) ->
    case pitcrew_nif:listen(Path) of
        {ok, Listener} -> {ok, #door{listener = Listener, ref = make_ref()}};
        {error, _} = Error -> Error
    end.

-spec close(door()) -> ok.
close(#door{listener = Listener, strangers = Strangers}) ->
    ok = pitcrew_nif:close_listener(Listener),
    lists:foreach(fun turn_away/1, maps:values(Strangers)).

%% @doc Takes everybody who is there. To be called once at first, and again on {select, _, Ref, ready_input} and on
%% {timeout, _, {?MODULE, accept}}.
-spec accept(door()) -> {[guest()], door()}.
accept(Door) -> accept(Door, []).

accept(#door{listener = Listener, ref = Ref} = Door, Guests) ->
    case pitcrew_nif:accept(Listener, Ref) of
        {ok, Channel, _Peer} ->
            {More, Next} = greet(Channel, Door),
            accept(Next, More ++ Guests);
        again ->
            {Guests, Door};
        {error, Reason} ->
            ?LOG_WARNING("a worker's connection could not be taken: ~ts", [file:format_error(Reason)]),
            _ = erlang:start_timer(?RETRY_MS, self(), {?MODULE, accept}),
            {Guests, Door}
    end.

greet(Channel, #door{strangers = Strangers} = Door) ->
    Ref = make_ref(),
    Timer = erlang:start_timer(?PATIENCE_MS, self(), {?MODULE, Ref}),
    readable(Ref, Door#door{strangers = Strangers#{Ref => {Channel, Timer}}}).

%% @doc Something can be read, from the listener or from a stranger; other references are not ours and change nothing.
-spec readable(reference(), door()) -> {[guest()], door()}.
readable(Ref, #door{ref = Ref} = Door) ->
    accept(Door);
readable(Ref, #door{strangers = Strangers} = Door) ->
    case Strangers of
        #{Ref := {Channel, Timer}} -> listen_to(Channel, Timer, Ref, Door);
        #{} -> {[], Door}
    end.

listen_to(Channel, Timer, Ref, #door{strangers = Strangers} = Door) ->
    case pitcrew_nif:channel_recv(Channel, Ref) of
        again ->
            {[], Door};
        {ok, [?AUTH, _, Token, Role | _]} when is_binary(Token), is_binary(Role) ->
            _ = erlang:cancel_timer(Timer),
            {[{Channel, Token, Role}], Door#door{strangers = maps:remove(Ref, Strangers)}};
        _ ->
            turn_away({Channel, Timer}),
            {[], Door#door{strangers = maps:remove(Ref, Strangers)}}
    end.

%% @doc On {timeout, _, {?MODULE, Ref}}: somebody had nothing to say.
-spec expired(reference(), door()) -> door().
expired(Ref, #door{strangers = Strangers} = Door) ->
    case maps:take(Ref, Strangers) of
        {Stranger, Rest} ->
            turn_away(Stranger),
            Door#door{strangers = Rest};
        error ->
            Door
    end.

turn_away({Channel, Timer}) ->
    _ = erlang:cancel_timer(Timer),
    _ = pitcrew_nif:channel_close(Channel),
    ok.
