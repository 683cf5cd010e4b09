%% A call for which no slot was claimed, in the caller's process: the frame is handed to the pool's dispatcher, and one message with the
%% answer comes back. Where it goes, and when, is native code's business.
%%
%% Invariant: every submission that is not refused is followed by exactly one message, or by a leave/3 that says that none comes.
-module(pitcrew_pipeline).

-export([exchange/3, host/2, go_on/2, open/4, next/3, stop/2]).
-export_type([outcome/0, answer/0, limits/0, waits/0, stream/0, news/0, watch/0]).

-type request() ::
    {msgpack, Tool :: binary(), Args :: list(), Kwargs :: map() | nil, Meta :: map() | nil}
    | {json, Tool :: binary(), Args :: binary(), Kwargs :: binary()}.
-type answer() ::
    {reply | fault, pitcrew_nif:times(), BytesIn :: integer(), term()}
    | {frame | json, reply | fault, PythonNs :: integer(), BytesIn :: integer(), binary()}
    | {frame, reply, PythonNs :: integer(), BytesIn :: integer(), binary(), pitcrew_nif:lease()}
    | {frame, reply, PythonNs :: integer(), BytesIn :: integer(), binary(), pitcrew_nif:lease() | none, pitcrew_nif:parcel() | none}
    | {error, pitcrew_nif:codec_error()}
    | {exit, term()}
    | {gone, term()}
    %% Claimed for the call, which has not been sent.
    | {slot, pitcrew_nif:channel()}
    | unstarted
    | timeout.
%% A call that goes on, how many messages there have been of what its worker calls, and how long it took to make its frame.
-type waits() :: {pitcrew_nif:dispatch(), reference(), non_neg_integer(), EncodeNs :: non_neg_integer() | untimed}.
%% A stream that has begun.
-type stream() :: {pitcrew_nif:dispatch(), reference()}.
%% Of {pitcrew_halt, Watch}, by which a stream's consumer is told that no more are wanted.
-type watch() :: reference() | none.
%% Of a stream: chunks, in one message, each of which costs some of the credit. `chunk' is one that is still to be decoded. Or its worker calls the VM.
-type news() ::
    {chunks, Cost :: pos_integer(), Bytes :: pos_integer(), [term()]}
    | {chunk, Cost :: pos_integer(), Bytes :: pos_integer(), answer()}
    | {called, tuple()}.
-type outcome() ::
    {done, OsPid :: pos_integer() | nil, pitcrew_nif:sent(), QueueNs :: non_neg_integer(), answer()}
    | {error, pitcrew_nif:codec_error()}
    | over
    | full
    | gone
    | held
    | foreign
    | queue_timeout
    | checkout_timeout.
%% Until when to wait for the answer, in monotonic milliseconds, and how long for a worker.
-type limits() :: {Deadline :: pitcrew_deadline:deadline(), CheckoutTimeout :: timeout()}.

%% `called': the worker calls the VM, with a message that is for a host of pitcrew_functions; go_on/2 must follow.
-spec exchange(pitcrew_nif:way(), {request(), pitcrew_nif:codec_opts(), pos_integer(), cancel | finish}, limits()) ->
    outcome() | {called, tuple(), waits()}.
exchange(Way, Request, {Deadline, Timeout}) ->
    Begun = clock(Request),
    Ref = make_ref(),
    Dispatch = dispatch(Way),
    case submit(Way, {Ref, Request, Deadline}) of
        ok ->
            Encode = since(Begun),
            told(Encode, await(Dispatch, Ref, 0, Deadline, Deadline));
        queued ->
            Encode = since(Begun),
            %% `infinity' is greater than every number.
            told(Encode, await(Dispatch, Ref, 0, min(Deadline, pitcrew_deadline:in(Timeout)), Deadline));
        Refused ->
            Refused
    end.

%% Of a call that is `timed', how long it takes to make its frame and to hand it over.
clock({_, #{timed := true}, _, _}) -> erlang:monotonic_time();
clock(_) -> untimed.

since(untimed) -> untimed;
since(Begun) -> erlang:convert_time_unit(erlang:monotonic_time() - Begun, native, nanosecond).

told(untimed, Outcome) -> Outcome;
told(Encode, {done, OsPid, Bytes, QueueNs, Answer}) -> {done, OsPid, {Bytes, Encode}, QueueNs, Answer};
told(Encode, {called, Call, Waits}) -> {called, Call, setelement(4, Waits, Encode)};
told(_, Outcome) -> Outcome.

dispatch({Dispatch, _}) -> Dispatch;
dispatch(Dispatch) -> Dispatch.

%% In a tuple, where the compiler does not look for the reference: see pitcrew_slot.
submit(Dispatch, {Ref, {{msgpack, Tool, Args, Kwargs, Meta}, Codec, Max, OnExit}, Deadline}) ->
    pitcrew_nif:submit(Dispatch, Ref, Tool, Args, Kwargs, Meta, Codec, Max, OnExit, Deadline);
submit(Dispatch, {Ref, {{json, Tool, Args, Kwargs}, Codec, Max, OnExit}, Deadline}) ->
    pitcrew_nif:submit_json(Dispatch, Ref, Tool, Args, Kwargs, Codec, Max, OnExit, Deadline).

%% @doc What its worker calls from now on comes to a host.
-spec host(waits() | stream(), pid()) -> ok | none.
host({Dispatch, Ref, _, _}, Host) -> pitcrew_nif:set_host(Dispatch, Ref, Host);
host({Dispatch, Ref}, Host) -> pitcrew_nif:set_host(Dispatch, Ref, Host).

%% @doc Waits for the end of a call, or for what its worker calls next.
-spec go_on(waits(), pitcrew_deadline:deadline()) -> outcome() | {called, tuple(), waits()}.
go_on({Dispatch, Ref, Received, Encode}, Deadline) -> told(Encode, await(Dispatch, Ref, Received, Deadline, Deadline)).

%% Until the deadline of the call, or before that the end of its patience with the queue. The reference goes from hand to hand by itself, so that the
%% compiler knows where in the mailbox to look.
await(Dispatch, Ref, Received, Until, Deadline) ->
    receive
        {pitcrew_end, Ref, OsPid, Bytes, QueueNs, Answer} -> {done, OsPid, Bytes, QueueNs, Answer};
        {pitcrew_called, Ref, Call} -> {called, Call, {Dispatch, Ref, Received + 1, untimed}}
    after pitcrew_deadline:left(Until) -> leave(Dispatch, Ref, Received, Deadline, Until < Deadline)
    end.

leave(Dispatch, Ref, Received, Deadline, OnlyQueued) ->
    case pitcrew_nif:leave(Dispatch, Ref, OnlyQueued) of
        queued when OnlyQueued ->
            checkout_timeout;
        queued ->
            queue_timeout;
        out ->
            await(Dispatch, Ref, Received, Deadline, Deadline);
        {out, OsPid} ->
            {done, OsPid, 0, 0, timeout};
        none ->
            await_last(Ref);
        {owed, Sent, Outcome} ->
            refuse_calls(Ref, Sent - Received),
            case Outcome of
                {out, OsPid} -> {done, OsPid, 0, 0, timeout};
                none -> await_last(Ref)
            end
    end.

%% It has ended meanwhile; what its worker has called before stands in front of that.
await_last(Ref) ->
    receive
        {pitcrew_end, Ref, OsPid, Bytes, QueueNs, Answer} -> {done, OsPid, Bytes, QueueNs, Answer};
        {pitcrew_called, Ref, _} -> await_last(Ref)
    end.

%% A tool that has caught its interrupt would wait on.
refuse_calls(_, N) when N =< 0 -> ok;
refuse_calls(Ref, N) ->
    receive
        {pitcrew_called, Ref, Call} -> pitcrew_functions:refuse(Call)
    end,
    refuse_calls(Ref, N - 1).

%% ---- Streams

%% As exchange/3, but that it returns with the first chunks, too, or when no more are wanted: then stop/2 must follow. The frame has no deadline:
%% each chunk has one of its own.
-spec open(pitcrew_nif:way(), {request(), pitcrew_nif:codec_opts(), pos_integer(), cancel}, limits(), watch()) ->
    outcome() | {begun, stream(), news() | halt}.
open(Way, Request, {Deadline, Timeout}, Watch) ->
    Ref = make_ref(),
    Dispatch = dispatch(Way),
    case submit(Way, {Ref, Request, infinity}) of
        ok -> first(Dispatch, Ref, Watch, Deadline, Deadline);
        queued -> first(Dispatch, Ref, Watch, min(Deadline, pitcrew_deadline:in(Timeout)), Deadline);
        Refused -> Refused
    end.

first(Dispatch, Ref, Watch, Until, Deadline) ->
    case take(Ref, Watch, Until) of
        late -> first_late(Dispatch, Ref, Watch, Until < Deadline, Deadline);
        {done, _, _, _, _} = Done -> Done;
        News -> {begun, {Dispatch, Ref}, News}
    end.

first_late(Dispatch, Ref, Watch, OnlyQueued, Deadline) ->
    case left(Dispatch, Ref, 0, OnlyQueued) of
        queued when OnlyQueued -> checkout_timeout;
        queued -> queue_timeout;
        out -> first(Dispatch, Ref, Watch, Deadline, Deadline);
        Done -> Done
    end.

%% What comes next, until a moment; or that whoever watches wants no more.
-spec next(stream(), {watch(), Received :: non_neg_integer()}, pitcrew_deadline:deadline()) ->
    news() | outcome() | halt.
next({Dispatch, Ref}, {Watch, Received}, Deadline) ->
    case take(Ref, Watch, Deadline) of
        late -> left(Dispatch, Ref, Received, false);
        What -> What
    end.

take(Ref, Watch, Deadline) ->
    receive
        {pitcrew_chunks, Ref, Cost, Bytes, Terms} -> {chunks, Cost, Bytes, Terms};
        {pitcrew_chunk, Ref, Cost, Bytes, Answer} -> {chunk, Cost, Bytes, Answer};
        {pitcrew_called, Ref, Call} -> {called, Call};
        {pitcrew_end, Ref, OsPid, Bytes, QueueNs, Answer} -> ended(Ref, {done, OsPid, Bytes, QueueNs, Answer});
        {pitcrew_halt, Watch} -> halt
    after pitcrew_deadline:left(Deadline) -> late
    end.

%% The end overtakes chunks only where a pool dies in the middle of them.
ended(Ref, Done) ->
    receive
        {pitcrew_chunks, Ref, _, _, _} -> ended(Ref, Done);
        {pitcrew_chunk, Ref, _, _, _} -> ended(Ref, Done);
        {pitcrew_called, Ref, _} -> ended(Ref, Done)
    after 0 -> Done
    end.

%% So many messages have come already; no others stay behind.
left(Dispatch, Ref, Received, OnlyQueued) ->
    case pitcrew_nif:leave(Dispatch, Ref, OnlyQueued) of
        {owed, Sent, Outcome} ->
            drop_news(Ref, Sent - Received),
            left(Dispatch, Ref, Outcome);
        Outcome ->
            left(Dispatch, Ref, Outcome)
    end.

left(_, _, {out, OsPid}) ->
    {done, OsPid, 0, 0, timeout};
%% It has ended meanwhile: chunks that came since this process looked last are in front of the end.
left(_, Ref, none) ->
    receive
        {pitcrew_end, Ref, OsPid, Bytes, QueueNs, Answer} -> ended(Ref, {done, OsPid, Bytes, QueueNs, Answer})
    end;
left(_, _, Queued) ->
    Queued.

drop_news(_, N) when N =< 0 -> ok;
drop_news(Ref, N) ->
    receive
        {pitcrew_chunks, Ref, _, _, _} -> ok;
        {pitcrew_chunk, Ref, _, _, _} -> ok;
        {pitcrew_called, Ref, Call} -> pitcrew_functions:refuse(Call)
    end,
    drop_news(Ref, N - 1).

%% No more chunks are wanted: the tool is told to end in its own way, until a moment, and then interrupted. `Received' as above. `queued': no
%% worker has seen it.
-spec stop(stream(), {Received :: non_neg_integer(), pitcrew_deadline:deadline()}) -> outcome() | queued.
stop({Dispatch, Ref}, {Received, Deadline}) ->
    case pitcrew_nif:leave(Dispatch, Ref, true) of
        queued ->
            queued;
        _ ->
            _ = pitcrew_nif:stream_tell(Dispatch, Ref, stop),
            await_end(Dispatch, Ref, Received, Deadline)
    end.

await_end(Dispatch, Ref, Received, Deadline) ->
    case take(Ref, none, Deadline) of
        late ->
            left(Dispatch, Ref, Received, false);
        {done, _, _, _, _} = Done ->
            Done;
        {called, Call} ->
            ok = pitcrew_functions:refuse(Call),
            await_end(Dispatch, Ref, Received + 1, Deadline);
        _ ->
            await_end(Dispatch, Ref, Received + 1, Deadline)
    end.
