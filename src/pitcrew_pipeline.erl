%% A call for which no slot was claimed, in the caller's process: the frame is handed to the pool's dispatcher, and one message with the
%% answer comes back. Where it goes, and when, is native code's business.
%%
%% Invariant: every submission that is not refused is followed by exactly one message, or by a leave/3 that says that none comes.
-module(pitcrew_pipeline).

-export([exchange/3]).
-export_type([outcome/0, answer/0, limits/0]).

-type request() ::
    {msgpack, Tool :: binary(), Args :: list(), Kwargs :: map() | nil, Meta :: map() | nil}
    | {json, Tool :: binary(), Args :: binary(), Kwargs :: binary()}.
-type answer() ::
    {reply | fault, PythonNs :: integer(), BytesIn :: integer(), term()}
    | {frame | json, reply | fault, PythonNs :: integer(), BytesIn :: integer(), binary()}
    | {frame, reply, PythonNs :: integer(), BytesIn :: integer(), binary(), pitcrew_nif:lease()}
    | {frame, reply, PythonNs :: integer(), BytesIn :: integer(), binary(), pitcrew_nif:lease() | none, pitcrew_nif:parcel() | none}
    | {error, pitcrew_nif:codec_error()}
    | {exit, term()}
    | {gone, term()}
    | unstarted
    | timeout.
-type outcome() ::
    {done, OsPid :: pos_integer() | nil, BytesOut :: non_neg_integer(), QueueNs :: non_neg_integer(), answer()}
    | {error, pitcrew_nif:codec_error()}
    | over
    | full
    | gone
    | foreign
    | queue_timeout
    | checkout_timeout.
%% Until when to wait for the answer, in monotonic milliseconds, and how long for a worker.
-type limits() :: {Deadline :: pitcrew_deadline:deadline(), CheckoutTimeout :: timeout()}.

-spec exchange(pitcrew_nif:way(), {request(), pitcrew_nif:codec_opts(), pos_integer(), cancel | finish}, limits()) -> outcome().
exchange(Way, Request, {Deadline, Timeout}) ->
    Ref = make_ref(),
    Dispatch = dispatch(Way),
    case submit(Way, {Ref, Request, Deadline}) of
        ok -> await(Dispatch, Ref, Deadline);
        %% `infinity' is greater than every number.
        queued -> await_worker(Dispatch, Ref, min(Deadline, pitcrew_deadline:in(Timeout)), Deadline);
        Refused -> Refused
    end.

dispatch({Dispatch, _}) -> Dispatch;
dispatch(Dispatch) -> Dispatch.

%% In a tuple, where the compiler does not look for the reference: see pitcrew_call:send/2.
submit(Dispatch, {Ref, {{msgpack, Tool, Args, Kwargs, Meta}, Codec, Max, OnExit}, Deadline}) ->
    pitcrew_nif:submit(Dispatch, Ref, Tool, Args, Kwargs, Meta, Codec, Max, OnExit, Deadline);
submit(Dispatch, {Ref, {{json, Tool, Args, Kwargs}, Codec, Max, OnExit}, Deadline}) ->
    pitcrew_nif:submit_json(Dispatch, Ref, Tool, Args, Kwargs, Codec, Max, OnExit, Deadline).

await(Dispatch, Ref, Deadline) ->
    receive
        {pitcrew_end, Ref, OsPid, Bytes, QueueNs, Answer} -> {done, OsPid, Bytes, QueueNs, Answer}
    after pitcrew_deadline:left(Deadline) -> leave(Dispatch, Ref, Deadline, false)
    end.

%% The deadline is the call's own, or the end of its patience with the queue.
await_worker(Dispatch, Ref, Until, Deadline) ->
    receive
        {pitcrew_end, Ref, OsPid, Bytes, QueueNs, Answer} -> {done, OsPid, Bytes, QueueNs, Answer}
    after pitcrew_deadline:left(Until) -> leave(Dispatch, Ref, Deadline, Until < Deadline)
    end.

leave(Dispatch, Ref, Deadline, OnlyQueued) ->
    case pitcrew_nif:leave(Dispatch, Ref, OnlyQueued) of
        queued when OnlyQueued -> checkout_timeout;
        queued -> queue_timeout;
        out -> await(Dispatch, Ref, Deadline);
        {out, OsPid} -> {done, OsPid, 0, 0, timeout};
        none -> await(Dispatch, Ref, infinity)
    end.
