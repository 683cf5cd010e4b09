%% A call for which a slot was claimed, in the caller's process: send, wait, read, give the slot back. For one without, see pitcrew_pipeline.
%%
%% Invariants: there is exactly one checkin or abandon, whatever happens before it; nothing of the call stays in the caller's mailbox.
-module(pitcrew_slot).

-export([exchange/2, leave/1, leave_to_lane/3]).
-export_type([outcome/0, called/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

-type outcome() ::
    {sent, pitcrew_nif:sent(), pitcrew_pipeline:answer() | called()}
    | {error, pitcrew_nif:codec_error()}
    | poisoned.

%% The worker calls the VM in the middle of the call: leave_to_lane/3 must follow.
-type called() :: {called, pitcrew_nif:channel(), reference()}.

%% @doc From here to the end of the exchange the slot is ours. What is returned but for `sent' has not begun.
-spec exchange(pitcrew_nif:channel(), #job{}) -> outcome().
exchange(Channel, #job{deadline = Deadline, codec = Codec} = Job) ->
    _ = announce_finish(Channel, Job),
    Ref = make_ref(),
    case send(Channel, Job#job{ref = Ref}) of
        {sent, BytesOut} -> {sent, BytesOut, await(Channel, Ref, Codec, Deadline)};
        {ready, BytesOut} -> {sent, BytesOut, read(Channel, Ref, Codec, Deadline, 0)};
        Unsent -> Unsent
    end.

%% @doc Nothing was sent, and nothing will be.
-spec leave(pitcrew_nif:channel()) -> ok.
leave(Channel) -> give_back(Channel, make_ref()).

%% Poisoned already: the call says so, too.
announce_finish(_, #job{on_caller_exit = cancel}) -> ok;
announce_finish(Channel, #job{on_caller_exit = finish}) -> pitcrew_nif:finish(Channel).

%% The reference is in the job here, where the compiler does not look for it: a function that is given it and does not receive
%% would drop the mark in the mailbox, and await/4 would look through everything that waits there.
send(Channel, #job{ref = Ref} = Job) ->
    try write(Channel, Job) of
        {Progress, BytesOut} when Progress =:= ok; Progress =:= pending ->
            {sent, BytesOut};
        {ready, BytesOut} ->
            {ready, BytesOut};
        Unsent ->
            give_back(Channel, Ref),
            Unsent
    catch
        Class:Reason:Stack ->
            give_back(Channel, Ref),
            erlang:raise(Class, Reason, Stack)
    end.

write(Channel, #job{ref = Ref, texts = nil, pool = #pool{max_frame = Max}} = Job) ->
    #job{tool = Tool, args = Args, kwargs = Kwargs, meta = Meta, codec = Codec, deadline = Deadline} = Job,
    pitcrew_nif:call(Channel, Ref, Tool, Args, Kwargs, Meta, Codec, Max, spin_ns(Job), Deadline);
write(Channel, #job{ref = Ref, texts = {Tool, Args, Kwargs}, deadline = Deadline, pool = #pool{max_frame = Max}} = Job) ->
    pitcrew_nif:call_json(Channel, Ref, Tool, Args, Kwargs, Max, spin_ns(Job), Deadline).

%% A caller polls only where nobody else wants its scheduler.
spin_ns(#job{pool = #pool{spin_us = 0}}) ->
    0;
spin_ns(#job{pool = #pool{spin_us = Spin}}) ->
    case erlang:statistics(total_run_queue_lengths) of
        0 -> Spin * 1000;
        _ -> 0
    end.

await(Channel, Ref, Codec, Deadline) ->
    receive
        {select, _, Ref, _} ->
            read(Channel, Ref, Codec, Deadline, 1);
        {pitcrew_verdict, Ref, Reason, Owed} ->
            judged(Channel, Ref, Reason, Owed)
    after pitcrew_deadline:left(Deadline) -> abandon(Channel, Ref, 0)
    end.

%% `Taken' is 1 if a select message was received for it.
read(Channel, Ref, Codec, Deadline, Taken) ->
    case pitcrew_nif:reply(Channel, Ref, Codec) of
        again -> await(Channel, Ref, Codec, Deadline);
        lost -> await_verdict(Channel, Ref, Deadline, 0);
        poisoned -> await_verdict(Channel, Ref, Deadline, Taken);
        called -> {called, Channel, Ref};
        Answer -> leave(Channel, Ref, Answer)
    end.

%% The channel is no use any more; the worker's process knows and will say how the worker ended. `Taken' is how many of the
%% select messages that the verdict counts have been received already.
await_verdict(Channel, Ref, Deadline, Taken) ->
    receive
        {pitcrew_verdict, Ref, Reason, Owed} -> judged(Channel, Ref, Reason, Owed - Taken)
    after pitcrew_deadline:left(Deadline) -> abandon(Channel, Ref, Taken)
    end.

judged(Channel, Ref, Reason, Owed) ->
    flush(Ref, Owed),
    _ = pitcrew_nif:checkin(Channel),
    {exit, Reason}.

%% @doc The channel becomes its lane's, whose reader tells the host of such calls, and from now on the call is one that was handed on. Or it has an end
%% already.
-spec leave_to_lane(called(), BytesOut :: non_neg_integer(), #job{}) -> {left, pitcrew_pipeline:waits()} | pitcrew_pipeline:answer().
leave_to_lane({called, Channel, Ref}, BytesOut, #job{codec = Codec, deadline = Deadline, pool = #pool{dispatch = Dispatch}}) ->
    case pitcrew_nif:take_over(Channel, Ref, Codec, BytesOut) of
        {ok, Owed} ->
            flush(Ref, Owed),
            {left, {Dispatch, Ref, 0, untimed}};
        lost ->
            await_verdict(Channel, Ref, Deadline, 0)
    end.

leave(Channel, Ref, Answer) ->
    give_back(Channel, Ref),
    Answer.

%% A verdict that was passed meanwhile changes nothing for a call that has ended, or was never sent.
give_back(Channel, Ref) ->
    case settle(pitcrew_nif:checkin(Channel), Ref, 0) of
        verdict -> _ = take_verdict(Ref, 0);
        _ -> ok
    end,
    ok.

abandon(Channel, Ref, Taken) ->
    case settle(pitcrew_nif:abandon(Channel, Ref), Ref, Taken) of
        verdict -> {exit, take_verdict(Ref, Taken)};
        poisoned -> timeout
    end.

take_verdict(Ref, Taken) ->
    receive
        {pitcrew_verdict, Ref, Reason, Owed} ->
            flush(Ref, Owed - Taken),
            Reason
    end.

settle({owed, N, Outcome}, Ref, Taken) ->
    flush(Ref, N - Taken),
    Outcome;
settle(Outcome, _, _) ->
    Outcome.

%% Exactly as many select messages as the VM has sent or is about to send: one may come later than the cancelling of its select.
flush(_, N) when N =< 0 -> ok;
flush(Ref, N) ->
    receive
        {select, _, Ref, _} -> flush(Ref, N - 1)
    end.
