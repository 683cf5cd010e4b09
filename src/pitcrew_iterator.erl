%% What can be enumerated, as an argument of a call: an iterator in Python, which asks for elements as it needs them. Made here, and made to go on for the
%% worker (docs/protocol.md, section 3, Iterators).
%%
%% One process, the runner, does nothing but enumerate, with the user's code: it gets none of our messages while that runs, so whatever it receives is its
%% own. Each element is encoded there and sent to the other process, the feeder, which has what Python has not asked for yet and lives as long as the call.
%%
%% Invariants: elements that Python has not taken are never more than the buffer allows; the runner is told to end where it waits for us, or at its
%% next element, so that what it has opened is closed, and is killed when that takes too long.
-module(pitcrew_iterator).

-export([new/2, unfold/3, ask/5, finish/2, cost/1]).
-export_type([iterator/0, source/0, fed/0, terms/0]).

%% Elixir's Enumerable.reduce/3, without the enumerable.
-type reduce() :: fun((command(), reducer()) -> result()).
-type command() :: {cont | halt | suspend, term()}.
-type reducer() :: fun((Element :: term(), term()) -> command()).
-type result() :: {done, term()} | {halted, term()} | {suspended, term(), fun((command()) -> result())}.
-type source() :: list() | reduce().
-type iterator() :: #{'__struct__' := 'Elixir.Pitcrew.Iterator', reduce := reduce(), buffer := pos_integer()}.
%% The feeders of a call.
-type fed() :: #{{pitcrew_nif:channel(), Index :: non_neg_integer(), Number :: non_neg_integer()} => pid()}.
%% What a feeder has from the call.
-type terms() :: #{
    codec := pitcrew_nif:codec_opts(),
    max_frame := pos_integer(),
    %% How long Python may wait for an element, and how long what is over has to end by itself.
    timeout := timeout(),
    grace := timeout(),
    %% What a process does first that runs the user's code.
    inherit := fun(() -> term())
}.

%% What an iterator is asked, docs/protocol.md.
-define(NEXT, 0).
-define(CLOSE, 1).
-define(DROP, 2).
-define(AGAIN, 3).

%% Bytes that go in one answer, if there is more than one element; and that cost as much as an element.
-define(CHUNK, 65_536).
%% Elements stand two levels deeper than results do.
-define(MOST_DEPTH, 510).

-record(feeder, {
    terms :: terms(),
    buffer :: pos_integer(),
    runner :: pid(),
    %% Whether the runner is to end.
    flag :: atomics:atomics_ref(),
    %% What the runner may still make before it waits for us, what it may make besides when it does, and what Python has got with the last answer.
    credit :: integer(),
    room = 0 :: integer(),
    given = [] :: [binary()],
    queue = queue:new() :: queue:queue(binary()),
    %% Python could not read what it was given, and asks for one after the other.
    single = false :: boolean(),
    waiting = [] :: [{pitcrew_function:to(), reference() | none}],
    %% What comes behind the queue, encoded.
    over = none :: none | iodata()
}).

%% ---- In the caller

%% @doc An iterator over a list, or over what can be reduced as Elixir's Enumerable reduces.
-spec new(source(), map() | [{atom(), term()}]) -> {ok, iterator()} | {error, pitcrew_error:t()}.
new(List, Options) when length(List) >= 0 ->
    unfold(fun([]) -> done; ([First | Rest]) -> {ok, First, Rest} end, List, Options);
new(Reduce, Options) when is_function(Reduce, 2) ->
    case pitcrew_options:iterator(Options) of
        {ok, #{buffer := Buffer, stop := nil}} -> {ok, iterator(Reduce, Buffer)};
        {ok, _} -> pitcrew_option_check:invalid("option stop is for iterators that are made of a function and a state");
        {error, _} = Error -> Error
    end.

%% @doc An iterator over what a function gives, each time with what is behind it; option stop is told the state at the end, whatever ends it.
-spec unfold(fun((State) -> {ok, Element :: term(), State} | done | {error, term()}), State, map() | [{atom(), term()}]) ->
    {ok, iterator()} | {error, pitcrew_error:t()}.
unfold(Next, State, Options) ->
    case pitcrew_options:iterator(Options) of
        {ok, #{buffer := Buffer, stop := Stop}} ->
            {ok, iterator(fun(Command, Reducer) -> unfold(Command, Reducer, Next, State, Stop) end, Buffer)};
        {error, _} = Error ->
            Error
    end.

iterator(Reduce, Buffer) -> #{'__struct__' => 'Elixir.Pitcrew.Iterator', reduce => Reduce, buffer => Buffer}.

unfold({suspend, Acc}, Reducer, Next, State, Stop) ->
    {suspended, Acc, fun(Command) -> unfold(Command, Reducer, Next, State, Stop) end};
unfold({halt, Acc}, _, _, State, Stop) ->
    stop(Stop, State),
    {halted, Acc};
unfold({cont, Acc}, Reducer, Next, State, Stop) ->
    case after_all(fun() -> Next(State) end, Stop, State) of
        {ok, Element, Further} ->
            unfold(after_all(fun() -> Reducer(Element, Acc) end, Stop, Further), Reducer, Next, Further, Stop);
        done ->
            stop(Stop, State),
            {done, Acc};
        {error, Reason} ->
            stop(Stop, State),
            error(Reason);
        Other ->
            stop(Stop, State),
            error({bad_element, Other})
    end.

after_all(Do, Stop, State) ->
    try
        Do()
    catch
        Class:Reason:Stack ->
            stop(Stop, State),
            erlang:raise(Class, Reason, Stack)
    end.

stop(nil, _) -> ok;
stop(Stop, State) -> Stop(State).

%% ---- In the host of a call's functions

%% @doc A worker asks an iterator of the call for something. Each of the numbers that Python gives its iterators is an enumeration of its own.
-spec ask({non_neg_integer(), iterator()}, binary(), pitcrew_function:to(), terms(), fed()) -> fed().
ask({Index, Iterator}, Bytes, {Channel, _} = To, Terms, Fed) when byte_size(Bytes) =< 64 ->
    case pitcrew_nif:decode(Bytes, #{}) of
        {ok, [[Number, What], nil]} when is_integer(Number), What >= ?NEXT, What =< ?AGAIN ->
            pass_on({Channel, Index, Number}, Iterator, {What, To}, Terms, Fed);
        _ ->
            refused(To, Fed)
    end;
ask(_, _, To, _, Fed) ->
    refused(To, Fed).

refused(To, Fed) ->
    ok = pitcrew_function:refuse(To, bad_arguments, "an iterator is not asked in this way"),
    Fed.

pass_on(Key, _, Message, _, Fed) when is_map_key(Key, Fed) ->
    #{Key := Feeder} = Fed,
    Feeder ! Message,
    Fed;
%% A call is tried again in another worker: nobody is left who asks for what was enumerated for the first one.
pass_on({Channel, _, _} = Key, Iterator, Message, Terms, Fed) ->
    _ = [Feeder ! halt || {{Other, _, _}, Feeder} <- maps:to_list(Fed), Other =/= Channel],
    Host = self(),
    {Feeder, _} = spawn_opt(fun() -> start_feeder(Iterator, Terms, Host) end, [link, monitor]),
    Feeder ! Message,
    Fed#{Key => Feeder}.

%% @doc The call has ended: so has what is enumerated for it, when this returns or before long.
-spec finish(fed(), timeout()) -> ok.
finish(Fed, Patience) ->
    Feeders = maps:values(Fed),
    _ = [Feeder ! halt || Feeder <- Feeders],
    await(Feeders, pitcrew_deadline:in(Patience)).

await([], _) ->
    ok;
await([Feeder | Rest], Deadline) ->
    receive
        {'DOWN', _, process, Feeder, _} -> await(Rest, Deadline)
    after pitcrew_deadline:left(Deadline) -> ok
    end.

%% ---- The feeder

start_feeder(#{reduce := Reduce, buffer := Buffer}, #{codec := Codec} = Terms, Host) ->
    process_flag(trap_exit, true),
    Flag = atomics:new(1, []),
    Runner = pitcrew_runner:start(Reduce, Flag, Terms#{codec := Codec#{max_depth => ?MOST_DEPTH}}),
    feed(#feeder{terms = Terms, buffer = Buffer, runner = Runner, flag = Flag, credit = 0, room = Buffer}, Host).

feed(#feeder{runner = Runner} = F, Host) ->
    receive
        {?NEXT, To} ->
            feed(answer(resume(taken(wait(To, F)))), Host);
        {?AGAIN, To} ->
            feed(answer(back(wait(To, F))), Host);
        {element, Bytes} ->
            feed(answer(resume(made(Bytes, F))), Host);
        {over, Fault} ->
            feed(answer(over(Fault, F)), Host);
        {timeout, Timer, next} ->
            feed(late(Timer, F), Host);
        {'DOWN', _, process, Runner, normal} ->
            feed(F, Host);
        {'DOWN', _, process, Runner, Reason} ->
            feed(answer(over(killed(Reason), F)), Host);
        {?CLOSE, To} ->
            feed(close([To], F), Host);
        {?DROP, _} ->
            feed(close([], F), Host);
        halt ->
            gone(F);
        {'EXIT', Host, _} ->
            gone(F);
        _ ->
            feed(F, Host)
    end.

wait(To, #feeder{waiting = Waiting, terms = #{timeout := Timeout}} = F) ->
    Timer = case Timeout of infinity -> none; _ -> erlang:start_timer(Timeout, self(), next) end,
    F#feeder{waiting = Waiting ++ [{To, Timer}]}.

%% Python has taken all that it was given.
taken(#feeder{given = Given, room = Room} = F) -> F#feeder{given = [], room = Room + lists:sum([cost(Bytes) || Bytes <- Given])}.

back(#feeder{given = Given, queue = Queue} = F) ->
    F#feeder{given = [], queue = lists:foldr(fun queue:in_r/2, Queue, Given), single = true}.

cost(Bytes) -> 1 + byte_size(Bytes) div ?CHUNK.

%% Only when it waits for that: so no message of ours comes where the user's code receives some.
resume(#feeder{credit = Credit, room = Room, over = none, runner = Runner} = F) when Credit =< 0, Credit + Room > 0 ->
    Runner ! {pitcrew_credit, self(), Credit + Room},
    F#feeder{credit = Credit + Room, room = 0};
resume(F) ->
    F.

made(_, #feeder{over = Over} = F) when Over =/= none -> F;
made(Bytes, #feeder{queue = Queue, credit = Credit} = F) -> F#feeder{queue = queue:in(Bytes, Queue), credit = Credit - cost(Bytes)}.

over(Fault, #feeder{over = none} = F) -> F#feeder{over = pitcrew_function:encoded_end(Fault)};
over(_, F) -> F.

killed(Reason) -> pitcrew_function:fault(exit, io_lib:format("the process of the iterator was ended: ~0tP", [Reason, 16])).

%% Whoever waits has all that there is, at once: as it asks again there will be more, if there is anything.
answer(#feeder{waiting = []} = F) ->
    F;
answer(#feeder{queue = Queue, over = Over} = F) ->
    case {queue:is_empty(Queue), Over} of
        {true, none} -> F;
        _ -> answer(give(F))
    end.

give(#feeder{waiting = [{To, Timer} | Waiting], queue = Queue, over = Over, given = Before} = F) ->
    {Given, Rest} = chunk(F, Queue),
    End = case queue:is_empty(Rest) andalso Over =/= none of true -> Over; false -> <<16#c0>> end,
    ok = pitcrew_function:answer(To, iolist_to_binary([<<16#92>>, array(length(Given)), Given, End])),
    _ = Timer =:= none orelse erlang:cancel_timer(Timer),
    F#feeder{waiting = Waiting, queue = Rest, given = Before ++ Given}.

%% The head of an array in MessagePack.
array(N) when N < 16 -> <<(16#90 + N)>>;
array(N) when N < 16#10000 -> <<16#dc, N:16>>;
array(N) -> <<16#dd, N:32>>.

%% Not more than half of the buffer, so that there is something to do for both sides.
chunk(#feeder{single = true}, Queue) -> chunk(1, 1, Queue, []);
chunk(#feeder{buffer = Buffer, terms = #{max_frame := Max}}, Queue) -> chunk(max(1, Buffer div 2), min(?CHUNK, Max div 2), Queue, []).

chunk(Cost, Bytes, Queue, Taken) ->
    case queue:peek(Queue) of
        {value, Next} when Taken =:= []; Cost >= 1, byte_size(Next) =< Bytes ->
            chunk(Cost - cost(Next), Bytes - byte_size(Next), queue:drop(Queue), [Next | Taken]);
        _ ->
            {lists:reverse(Taken), Queue}
    end.

late(Timer, #feeder{waiting = Waiting, terms = #{timeout := Timeout}} = F) ->
    case lists:keytake(Timer, 2, Waiting) of
        {value, {To, _}, Others} ->
            ok = pitcrew_function:refuse(To, timeout, io_lib:format("there was no element for ~b ms", [Timeout])),
            close([], F#feeder{waiting = Others});
        false ->
            F
    end.

%% No more is wanted. Whoever says so is answered when the runner has ended.
close(Closers, #feeder{terms = #{grace := Grace}} = F) ->
    Closed = answer(over(done, F#feeder{queue = queue:new(), over = none})),
    ok = end_runner(Closed, pitcrew_deadline:in(Grace)),
    _ = [pitcrew_function:answer(To, <<16#c0>>) || To <- Closers],
    Closed.

%% The call has ended.
gone(#feeder{waiting = Waiting, terms = #{grace := Grace}} = F) ->
    Gone = "nobody waits any more for the call that the iterator belongs to",
    _ = [pitcrew_function:refuse(To, gone, Gone) || {To, _} <- Waiting],
    end_runner(F, pitcrew_deadline:in(Grace)).

end_runner(#feeder{runner = Runner, flag = Flag}, Deadline) ->
    ok = atomics:put(Flag, 1, 1),
    Ref = monitor(process, Runner),
    Runner ! {pitcrew_halt, self()},
    receive
        {'DOWN', Ref, process, _, _} -> ok
    after pitcrew_deadline:left(Deadline) ->
        exit(Runner, kill),
        receive
            {'DOWN', Ref, process, _, _} -> ok
        end
    end.
