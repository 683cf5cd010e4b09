%% Streams: what a generator yields, one chunk after the other, in the process that asks for them. Nothing happens before the first is asked
%% for, and the worker is never further ahead than the buffer allows: credit for chunks goes to it when they have been taken.
%%
%% Invariant: a stream that has begun ends once, with its last chunk, an error or stop/1; then nothing of it is left in the mailbox.
-module(pitcrew_stream).

-export([new/4, next/1, batch/1, stop/1, to/5]).
-export_type([stream/0, sent/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

-record(stream, {
    what :: {pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options()},
    %% Who consumes it; `none' before the first chunk, `over' after the last.
    owner = none :: none | pid() | over,
    opened :: undefined | pitcrew_call:opened(),
    job :: undefined | #job{},
    way :: undefined | pitcrew_pipeline:stream(),
    %% Messages that have come.
    received = 0 :: non_neg_integer(),
    %% Chunks that have come and have not been taken, and the credit they cost.
    chunks = [] :: [term()],
    cost = 0 :: non_neg_integer(),
    %% Credit to be given back for those that have been.
    owed = 0 :: non_neg_integer(),
    %% Who may say that no more are wanted: pitcrew_pipeline:next/3.
    watch = none :: none | reference()
}).

-opaque stream() :: #stream{}.
%% A process that sends what a stream yields to another one.
-opaque sent() :: {?MODULE, pid(), reference()}.

-spec new(pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options()) -> stream().
new(Target, Tool, Args, Options) -> #stream{what = {Target, Tool, Args, Options}}.

-spec next(stream()) -> {ok, term(), stream()} | done | {error, pitcrew_error:t()}.
next(#stream{chunks = [Chunk | Rest]} = Stream) ->
    {ok, Chunk, Stream#stream{chunks = Rest}};
next(Stream) ->
    case batch(Stream) of
        {ok, Chunks, After} -> next(After#stream{chunks = Chunks});
        Over -> Over
    end.

%% @doc All chunks that have come, at least one. Those of the batch before count as taken.
-spec batch(stream()) -> {ok, [term(), ...], stream()} | done | {error, pitcrew_error:t()}.
batch(#stream{owner = none} = Stream) ->
    begin_it(Stream);
batch(#stream{owner = Owner, job = #job{timeout = Timeout}} = Stream) when Owner =:= self() ->
    #stream{way = Way, watch = Watch, received = Received} = Ready = give_credit(Stream),
    taken(pitcrew_pipeline:next(Way, {Watch, Received}, pitcrew_deadline:in(Timeout)), Ready);
batch(#stream{owner = over}) ->
    done.

begin_it(#stream{what = {Target, Tool, Args, Options}} = Stream) ->
    case pitcrew_call:open(Target, Tool, Args, Options) of
        {Opened, {{begun, Way, Chunks}, Job}} ->
            taken(Chunks, Stream#stream{owner = self(), opened = Opened, way = Way, job = Job});
        {Opened, {Result, Job}} ->
            over(Result, Stream#stream{opened = Opened, job = Job});
        {error, _} = Error ->
            Error
    end.

%% In halves of the buffer, so that the worker need not wait, and is not told of each chunk.
give_credit(#stream{cost = Cost, owed = Owed, way = {Dispatch, Ref}, job = #job{stream = Buffer}} = Stream) when
    (Owed + Cost) * 2 >= Buffer
->
    _ = pitcrew_nif:stream_tell(Dispatch, Ref, Owed + Cost),
    Stream#stream{owed = 0, cost = 0};
give_credit(#stream{cost = Cost, owed = Owed} = Stream) ->
    Stream#stream{owed = Owed + Cost, cost = 0}.

taken({chunks, Cost, Bytes, Chunks}, #stream{job = #job{bytes_in = BytesIn} = Job} = Stream) ->
    {ok, Chunks, received(Cost, length(Chunks), Stream#stream{job = Job#job{bytes_in = BytesIn + Bytes}})};
taken({chunk, Cost, _, Answer}, #stream{job = Job} = Stream) ->
    case pitcrew_call:chunk(Answer, Job) of
        {{ok, Chunk}, After} ->
            {ok, [Chunk], received(Cost, 1, Stream#stream{job = After})};
        {{error, _} = Error, After} ->
            _ = ended(received(Cost, 0, Stream#stream{job = After})),
            over(Error, Stream#stream{job = After})
    end;
taken(halt, Stream) ->
    _ = stop(Stream),
    done;
taken(Outcome, #stream{job = Job} = Stream) ->
    {Result, After} = pitcrew_call:last(Outcome, Job),
    over(Result, Stream#stream{job = After}).

received(Cost, N, #stream{received = Received, job = #job{chunks = Chunks} = Job} = Stream) ->
    Stream#stream{received = Received + 1, cost = Cost, job = Job#job{chunks = Chunks + N}}.

over(Result, #stream{opened = Opened, job = Job}) ->
    case pitcrew_call:close(Opened, Result, Job) of
        {ok, _} -> done;
        {error, _} = Error -> Error
    end.

%% @doc No more chunks are wanted. Returns when the generator is closed, or has been interrupted because it takes longer than the pool's grace.
-spec stop(stream() | sent()) -> ok.
stop(#stream{owner = Owner, opened = Opened} = Stream) when Owner =:= self() ->
    Job = ended(Stream),
    _ = pitcrew_call:close(Opened, halted, Job),
    ok;
stop(#stream{}) ->
    ok;
stop({?MODULE, Pid, Ref}) ->
    Pid ! {pitcrew_halt, Ref},
    ok.

%% Whatever came of it.
ended(#stream{way = Way, received = Received, job = #job{pool = #pool{grace = Grace}} = Job}) ->
    {_, After} = pitcrew_call:last(pitcrew_pipeline:stop(Way, {Received, pitcrew_deadline:in(Grace)}), Job),
    After.

%% ---- To another process

%% @doc A process that is linked to the caller sends {pitcrew_stream, Ref, {chunk, Term}} for each chunk, and then {done, Chunks} or {error, Error}.
%% It stops when the receiver has ended, or is told to.
-spec to(pid(), pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options()) -> {reference(), sent()}.
to(Receiver, Target, Tool, Args, Options) ->
    Ref = make_ref(),
    Sender = spawn_link(fun() ->
        _ = watch(Receiver, self(), Ref),
        send_on(new(Target, Tool, Args, Options), {Receiver, Ref}, 0)
    end),
    {Ref, {?MODULE, Sender, Ref}}.

%% A monitor of the sender's own would need a place in each of its receives.
watch(Receiver, Sender, Ref) ->
    spawn(fun() ->
        Gone = monitor(process, Receiver),
        Ended = monitor(process, Sender),
        receive
            {'DOWN', Gone, process, _, _} -> Sender ! {pitcrew_halt, Ref};
            {'DOWN', Ended, process, _, _} -> ok
        end
    end).

send_on(Stream, {Receiver, Ref} = To, N) ->
    case batch(Stream#stream{watch = Ref}) of
        {ok, Chunks, After} ->
            _ = [Receiver ! {pitcrew_stream, Ref, {chunk, Chunk}} || Chunk <- Chunks],
            send_on(After, To, N + length(Chunks));
        done ->
            Receiver ! {pitcrew_stream, Ref, {done, N}};
        {error, _} = Error ->
            Receiver ! {pitcrew_stream, Ref, Error}
    end.
