%% Streams: what a generator yields, one chunk after the other, in the process that asks for them. Nothing happens before the first is asked
%% for, and the worker is never further ahead than the buffer allows: credit for chunks goes to it when they have been taken.
%%
%% Invariant: a stream that has begun ends once, with its last chunk, an error or stop/1; then nothing of it is left in the mailbox.
-module(pitcrew_stream).

-export([new/4, next/1, batch/1, stop/1, to/5, to/6]).
-export_type([stream/0, sent/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

-record(stream, {
    what :: {pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options()},
    %% Who consumes it, from the first chunk on; and whether it has ended, which older copies of this know, too.
    owner = none :: none | pid(),
    is_over :: undefined | atomics:atomics_ref(),
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
    watch = none :: pitcrew_pipeline:watch()
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
batch(#stream{owner = Owner} = Stream) when Owner =:= self() ->
    case is_over(Stream) of
        true -> done;
        false -> go_on(give_credit(Stream))
    end.

go_on(#stream{way = Way, watch = Watch, received = Received, job = #job{timeout = Timeout}} = Stream) ->
    taken(pitcrew_pipeline:next(Way, {Watch, Received}, pitcrew_deadline:in(Timeout)), Stream).

is_over(#stream{is_over = Flag}) -> atomics:get(Flag, 1) =:= 1.

begin_it(#stream{what = {Target, Tool, Args, Options}, watch = Watch} = Stream) ->
    case pitcrew_call:open(Target, Tool, Args, Options, Watch) of
        {Opened, {{begun, Way, Chunks}, Job}} ->
            taken(Chunks, Stream#stream{owner = self(), is_over = atomics:new(1, []), opened = Opened, way = Way, job = Job});
        {Opened, {Result, Job}} ->
            close(Result, Stream#stream{opened = Opened, job = Job});
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
taken({called, Call}, #stream{way = Way, received = Received, job = Job} = Stream) ->
    go_on(Stream#stream{received = Received + 1, job = pitcrew_functions:host_stream(Call, Way, Job)});
taken(halt, Stream) ->
    _ = stop(Stream),
    done;
taken(Outcome, #stream{job = Job} = Stream) ->
    {Result, After} = pitcrew_call:last(Outcome, Job),
    over(Result, Stream#stream{job = After}).

received(Cost, N, #stream{received = Received, job = #job{chunks = Chunks} = Job} = Stream) ->
    Stream#stream{received = Received + 1, cost = Cost, job = Job#job{chunks = Chunks + N}}.

over(Result, #stream{is_over = Flag} = Stream) ->
    ok = atomics:put(Flag, 1, 1),
    close(Result, Stream).

close(Result, #stream{opened = Opened, job = Job}) ->
    case pitcrew_call:close(Opened, Result, Job) of
        {ok, _} -> done;
        {error, _} = Error -> Error
    end.

%% @doc No more chunks are wanted. Returns when the generator is closed, or has been interrupted because it takes longer than the pool's grace.
-spec stop(stream() | sent()) -> ok.
stop(#stream{owner = none}) ->
    ok;
stop(#stream{owner = Owner} = Stream) when Owner =:= self() ->
    case is_over(Stream) of
        true ->
            ok;
        false ->
            _ = over(halted, Stream#stream{job = ended(Stream)}),
            ok
    end;
stop({?MODULE, Pid, Ref}) ->
    Pid ! {pitcrew_halt, Ref},
    ok.

ended(#stream{way = Way, received = Received, job = #job{pool = #pool{grace = Grace}} = Job}) ->
    pitcrew_call:halted(pitcrew_pipeline:stop(Way, {Received, pitcrew_deadline:in(Grace)}), Job).

%% ---- To another process

%% @doc A process that is linked to the caller sends {pitcrew_stream, Ref, {chunk, Term}} for each chunk, and then {done, Chunks} or {error, Error}.
%% It stops when the receiver has ended, or is told to.
-spec to(pid(), pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options()) -> {reference(), sent()}.
to(Receiver, Target, Tool, Args, Options) -> to(Receiver, Target, Tool, Args, Options, fun(Error) -> Error end).

%% @doc The same, with what becomes of an error.
-spec to(pid(), pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options(), fun((pitcrew_error:t()) -> term())) ->
    {reference(), sent()}.
to(Receiver, Target, Tool, Args, Options, OnError) when is_pid(Receiver) ->
    Ref = make_ref(),
    Inherit = pitcrew_functions:inherit(),
    Sender = spawn_link(fun() ->
        _ = Inherit(),
        Self = self(),
        ok = pitcrew_watch:when_gone(Receiver, fun() -> Self ! {pitcrew_halt, Ref} end),
        send_on((new(Target, Tool, Args, Options))#stream{watch = Ref}, {Receiver, Ref, OnError}, 0)
    end),
    {Ref, {?MODULE, Sender, Ref}}.

send_on(Stream, {Receiver, Ref, OnError} = To, N) ->
    case batch(Stream) of
        {ok, Chunks, After} ->
            _ = [Receiver ! {pitcrew_stream, Ref, {chunk, Chunk}} || Chunk <- Chunks],
            send_on(After, To, N + length(Chunks));
        done ->
            Receiver ! {pitcrew_stream, Ref, {done, N}};
        {error, Error} ->
            Receiver ! {pitcrew_stream, Ref, {error, OnError(Error)}}
    end.
