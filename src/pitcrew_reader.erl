%% The reader of a worker's channel while no caller has claimed it: one process for each, linked to the worker's own. It takes answers from the
%% socket and sends them to the callers that wait for them, all of it in native code; so it holds no state and no payload passes its heap.
-module(pitcrew_reader).

-export([start_link/0, open/2, drain/2]).

%% How long a turn of the reader may take at most, in milliseconds; it is a fraction of one.
-define(TURN_MS, 5_000).

%% @doc A reader that waits for its channel.
-spec start_link() -> pid().
start_link() ->
    Worker = self(),
    spawn_link(fun() ->
        %% A worker's process ends normally, which would not end this one.
        process_flag(trap_exit, true),
        receive
            {open, Worker, Channel} -> read(Channel, make_ref());
            {'EXIT', Worker, _} -> ok
        end
    end).

%% @doc The channel is a lane now, and has told the VM that this is its reader.
-spec open(pid(), pitcrew_nif:channel()) -> ok.
open(Reader, Channel) ->
    Reader ! {open, self(), Channel},
    ok.

%% @doc Returns when every answer that had arrived has been delivered; after the end of a worker what it had not sent yet, too, and then those are
%% all that there will be. While it lives it may be writing at the very place where that is.
-spec drain(pid(), dead | alive) -> ok.
drain(Reader, How) ->
    Ref = monitor(process, Reader),
    Reader ! {drain, self(), Ref, How},
    receive
        {Ref, drained} ->
            demonitor(Ref, [flush]),
            ok;
        {'DOWN', Ref, process, _, _} ->
            ok
    after ?TURN_MS -> ok
    end.

%% When something was there, others get their turn and then it looks again: callers have sent more meanwhile, and asking the socket
%% costs less than being told. One reference for life: a message that comes when it is not waited for any more is read as any other.
read(Channel, Ref) ->
    case pitcrew_nif:lane_deliver(Channel, Ref) of
        more ->
            erlang:yield(),
            read(Channel, Ref);
        again ->
            await(Channel, Ref);
        Nothing ->
            idle(Channel, Ref, Nothing)
    end.

await(Channel, Ref) ->
    receive
        {select, _, Ref, ready_input} ->
            read(Channel, Ref);
        {select, _, undefined, ready_output} ->
            ok = pitcrew_nif:lane_flush(Channel),
            read(Channel, Ref);
        %% Nobody keeps the channel in its lane any more.
        pitcrew_lent ->
            ok = pitcrew_nif:lane_rest(Channel),
            read(Channel, Ref);
        {drain, Worker, Tag, How} ->
            drain(Channel, Ref, How, {Worker, Tag});
        {'EXIT', _, _} ->
            ok
    end.

%% What the worker has sent and, once it is dead, what it had not sent yet.
drain(Channel, Ref, How, {Worker, Tag}) ->
    Over = last_words(Channel, Ref, How),
    Worker ! {Tag, drained},
    case Over of
        again -> await(Channel, Ref);
        _ -> idle(Channel, Ref, Over)
    end.

last_words(Channel, Ref, alive) ->
    deliver(Channel, Ref);
last_words(Channel, Ref, dead) ->
    _ = deliver(Channel, Ref),
    ok = pitcrew_nif:lane_recover(Channel),
    deliver(Channel, Ref).

deliver(Channel, Ref) ->
    case pitcrew_nif:lane_deliver(Channel, Ref) of
        more -> deliver(Channel, Ref);
        Over -> Over
    end.

%% The channel is a slot that callers claim, until it is lent; or nothing more will come, and the worker's process has been told.
idle(Channel, Ref, Why) ->
    receive
        pitcrew_lent when Why =:= idle ->
            read(Channel, Ref);
        {drain, Worker, Tag, How} ->
            drain(Channel, Ref, How, {Worker, Tag});
        {'EXIT', _, _} ->
            ok;
        %% Somebody else has sent on a channel that is lent, of which this process is only about to be told.
        {select, _, undefined, ready_output} when Why =:= idle ->
            ok = pitcrew_nif:lane_flush(Channel),
            idle(Channel, Ref, Why);
        {select, _, _, _} ->
            idle(Channel, Ref, Why)
    end.
