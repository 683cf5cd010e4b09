%% What is said on a worker's side channel, both ways (docs/protocol.md), in the process of the worker that owns the channel.
%%
%% What the worker says comes to that process as messages: {pitcrew_cancelled, Id, State}, {pitcrew_pong, Id, Fields}, and
%% {pitcrew_record, Sort, {record, Fields} | {dropped, N}} for pitcrew_records. What it is told may be lost with the channel, of which the owner hears
%% in another way.
-module(pitcrew_side).

-export([hear/2, hear_out/2, refuse/3]).
-export([ping/3, cancel/2, move/2, credit/3]).
-export_type([sort/0]).

-type sort() :: log | event.

-define(ERROR, 5).
-define(CREDIT, 8).
-define(PING, 16).
-define(PONG, 17).
-define(CANCEL, 18).
-define(EVENT, 20).
-define(LOG, 21).
-define(STATS, 22).
-define(CANCELLED, 23).
%% Frames that are looked at when a worker is dead.
-define(LAST_FRAMES, 4_096).

%% ---- From the worker

%% @doc Hears one frame, and asks for another look if there was one. `again': there may be more, or there will be a select message.
-spec hear(pitcrew_nif:channel(), reference()) -> again | {error, term()}.
hear(Channel, Ref) ->
    case pitcrew_nif:channel_recv(Channel, Ref) of
        {ok, [Kind, Id | Fields]} when is_integer(Kind), is_integer(Id) ->
            ok = heard(Channel, Kind, Id, Fields),
            %% One at a time: a worker that talks without end must not keep this process from its other duties.
            self() ! {select, Channel, Ref, ready_input},
            again;
        {ok, _} ->
            {error, closed};
        Other ->
            Other
    end.

%% @doc Hears what a dead worker has said, as far as that is there.
-spec hear_out(pitcrew_nif:channel(), reference()) -> ok.
hear_out(Channel, Ref) -> hear_out(?LAST_FRAMES, Channel, Ref).

hear_out(0, _, _) ->
    ok;
hear_out(N, Channel, Ref) ->
    case pitcrew_nif:channel_recv(Channel, Ref) of
        {ok, [Kind, Id | Fields]} when is_integer(Kind), is_integer(Id) ->
            ok = heard(Channel, Kind, Id, Fields),
            hear_out(N - 1, Channel, Ref);
        _ ->
            ok
    end.

heard(_, ?CANCELLED, Id, [State | _]) -> tell({pitcrew_cancelled, Id, State});
heard(_, ?PONG, Id, [Fields | _]) when is_map(Fields) -> tell({pitcrew_pong, Id, Fields});
heard(_, ?LOG, Id, Fields) -> tell({pitcrew_record, log, {record, [Id | Fields]}});
heard(_, ?EVENT, Id, Fields) -> tell({pitcrew_record, event, {record, [Id | Fields]}});
%% The id says of what sort they were.
heard(_, ?STATS, ?EVENT, [#{<<"dropped">> := Dropped} | _]) -> tell({pitcrew_record, event, {dropped, Dropped}});
heard(_, ?STATS, _, [#{<<"dropped">> := Dropped} | _]) -> tell({pitcrew_record, log, {dropped, Dropped}});
heard(Channel, Kind, Id, _) -> refuse(Channel, Kind, Id).

tell(News) ->
    self() ! News,
    ok.

%% @doc Says of a frame that its kind is not known here. Those that are a worker's to send, and say nothing that is understood, are skipped.
-spec refuse(pitcrew_nif:channel(), Kind :: integer(), Id :: integer()) -> ok.
refuse(_, Kind, _) when Kind =:= ?ERROR; Kind =:= ?PONG; Kind =:= ?STATS ->
    ok;
refuse(Channel, Kind, Id) ->
    Refusal = #{<<"kind">> => <<"unknown_kind">>, <<"message">> => <<"frame kind ", (integer_to_binary(Kind))/binary, " is not known">>},
    send([?ERROR, Id, 0, Refusal], Channel).

%% ---- To the worker

%% @doc What it is asked is pitcrew_heart's.
-spec ping(pos_integer(), [non_neg_integer(), ...], pitcrew_nif:channel()) -> ok.
ping(Id, Asks, Channel) -> send([?PING, Id | Asks], Channel).

%% @doc Interrupts a call, or takes it back if it has not begun; the answer is the call's state.
-spec cancel(Id :: integer(), pitcrew_nif:channel()) -> ok.
cancel(Id, Channel) -> send([?CANCEL, Id], Channel).

%% @doc Takes a call back only if it has not begun.
-spec move(Id :: integer(), pitcrew_nif:channel()) -> ok.
move(Id, Channel) -> send([?CANCEL, Id, false], Channel).

%% @doc So many records or events more may come.
-spec credit(sort(), non_neg_integer(), pitcrew_nif:channel()) -> ok.
credit(_, 0, _) -> ok;
credit(log, N, Channel) -> send([?CREDIT, 0, N], Channel);
credit(event, N, Channel) -> send([?CREDIT, ?EVENT, N], Channel).

send(Frame, Channel) ->
    _ = pitcrew_nif:channel_send(Channel, Frame),
    ok.
