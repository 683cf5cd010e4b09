%% Streams, on every sort of pool: what a tool yields, in order, and every way to end before the end.
-module(pitcrew_stream_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").
-import(pitcrew_test, [with_pool/2, garbage/0, held/1, nothing_held/1]).

-define(TOOLS, ["stream_tools"]).

test(Fun) -> {timeout, 60, Fun}.

on_each_pool(Options, Fun) -> pitcrew_test:on_each_pool(Options#{tools => ?TOOLS}, Fun).

all(Stream) -> all(Stream, []).

all(Stream, Seen) ->
    case pitcrew:next(Stream) of
        {ok, Chunk, Rest} -> all(Rest, [Chunk | Seen]);
        done -> {done, lists:reverse(Seen)};
        {error, Error} -> {Error, lists:reverse(Seen)}
    end.

take(0, Stream) ->
    {[], Stream};
take(N, Stream) ->
    {ok, Chunk, Rest} = pitcrew:next(Stream),
    {Chunks, After} = take(N - 1, Rest),
    {[Chunk | Chunks], After}.

everything_comes_in_order_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            ?assertEqual({done, lists:seq(1, N)}, all(pitcrew:stream(Pool, Tool, [N], #{buffer => Buffer})))
         || Tool <- [count_to, async_count_to], N <- [0, 1, 2, 1000], Buffer <- [1, 2, 7, 256, 100_000]
        ],
        ?assertEqual({done, [<<"0">>, <<"1">>]}, all(pitcrew:stream(Pool, mapped, [2])))
    end).

%% A coroutine that returns one; where many calls run at once it would have to go back to a thread.
a_coroutine_may_return_a_generator_test_() ->
    on_each_pool(#{size => 1}, fun
        (Pool, #{concurrency := _}) ->
            {Error, []} = all(pitcrew:stream(Pool, returns_generator, [3])),
            ?assertMatch(#{kind := result_error}, Error);
        (Pool, _) ->
            ?assertEqual({done, [1, 2, 3]}, all(pitcrew:stream(Pool, returns_generator, [3])))
    end).

nothing_happens_before_the_first_chunk_is_asked_for_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Stream = pitcrew:stream(Pool, count_to, [3]),
        ok = pitcrew:stop(Stream),
        ?assertEqual({ok, []}, pitcrew:call(Pool, take_closed)),
        ?assertEqual({done, [1, 2, 3]}, all(Stream)),
        ?assertEqual({ok, [<<"count_to">>]}, pitcrew:call(Pool, take_closed))
    end).

%% At most `buffer' chunks, even of those that nobody has asked for.
the_tool_is_never_further_ahead_than_the_buffer_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {[0], One} = take(1, pitcrew:stream(Pool, forever, [], #{buffer => 10})),
        {Chunks, Stream} = take(99, One),
        ?assertEqual(lists:seq(1, 99), Chunks),
        ok = pitcrew:stop(Stream),
        {ok, [Last]} = pitcrew:call(Pool, take_closed),
        ?assert(Last >= 99),
        ?assert(Last =< 99 + 10)
    end).

%% A chunk counts as one more for each 64 KiB.
large_chunks_count_for_more_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {[Block], Stream} = take(1, pitcrew:stream(Pool, blocks, [1000, 1 bsl 20], #{buffer => 40})),
        ?assertEqual(1 bsl 20, byte_size(Block)),
        %% Three cost 51. The worker has made no others, which only its memory could tell: of the four that come, all are whole.
        {Rest, After} = take(4, Stream),
        ?assertEqual([binary:copy(<<N>>, 1 bsl 20) || N <- [1, 2, 3, 4]], Rest),
        ok = pitcrew:stop(After)
    end).

an_early_stop_closes_the_generator_and_the_worker_goes_on_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, Pid} = pitcrew:call(Pool, pid),
        [
            begin
                {_, Stream} = take(N, pitcrew:stream(Pool, Tool)),
                ok = pitcrew:stop(Stream),
                {ok, [At]} = pitcrew:call(Pool, take_closed),
                ?assert(At =:= <<"async_forever">> orelse At >= N - 1)
            end
         || N <- [1, 2, 300], Tool <- [forever, async_forever]
        ],
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid)),
        %% What the generator raises when it is closed concerns nobody any more.
        {_, Failing} = take(1, pitcrew:stream(Pool, close_fails)),
        ok = pitcrew:stop(Failing),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

a_generator_that_does_not_let_itself_be_closed_is_interrupted_test_() ->
    on_each_pool(#{size => 1, grace => 100}, fun(Pool, _) ->
        {_, Stream} = take(1, pitcrew:stream(Pool, stubborn)),
        ok = pitcrew:stop(Stream),
        ?assertMatch({ok, _}, pitcrew:call(Pool, pid, [], #{timeout => 20_000}))
    end).

an_exception_comes_after_the_chunks_before_it_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                {Error, Chunks} = all(pitcrew:stream(Pool, Tool, [N])),
                ?assertEqual(lists:seq(0, N - 1), Chunks),
                ?assertMatch(
                    #{kind := tool_error, type := <<"ValueError">>, message := <<"no more">>, pool := Pool}, Error
                )
            end
         || N <- [0, 1, 1000], Tool <- [fail_after, async_fail_after]
        ]
    end).

what_cannot_be_encoded_ends_the_stream_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, Pid} = pitcrew:call(Pool, pid),
        {Error, [0, 1]} = all(pitcrew:stream(Pool, unencodable_after, [2])),
        ?assertMatch(#{kind := result_error, type := <<"pitcrew.EncodeError">>}, Error),
        ?assertEqual({ok, [<<"unencodable_after">>]}, pitcrew:call(Pool, take_closed)),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

a_worker_that_dies_ends_the_stream_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Error, Chunks} = all(pitcrew:stream(Pool, exit_after, [5])),
        ?assertEqual([0, 1, 2, 3, 4], Chunks),
        ?assertMatch(#{kind := worker_exit, reason := {status, 7}}, Error),
        ?assertEqual({done, [1, 2]}, all(pitcrew:stream(Pool, count_to, [2])))
    end).

each_chunk_has_the_timeout_for_itself_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Error, [0, 1]} = all(pitcrew:stream(Pool, sleep_after, [2, 60], #{timeout => 300})),
        ?assertMatch(#{kind := timeout}, Error),
        {Late, []} = all(pitcrew:stream(Pool, sleep_after, [0, 60], #{timeout => 300})),
        ?assertMatch(#{kind := timeout}, Late),
        %% All of it may take longer.
        {done, [0, 1, 2]} = all(pitcrew:stream(Pool, slowly, [3, 0.15], #{timeout => 400}))
    end).

%% Between the end of the consumer's patience and its leaving, the worker's reader may have brought chunks and the end. A stream that the
%% dispatcher does not know is one that has ended.
chunks_that_come_as_their_consumer_leaves_are_dropped_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1}, fun(Pool) ->
            {ok, #pool{dispatch = Dispatch}} = pitcrew_pools:find(Pool),
            Ref = make_ref(),
            {Consumer, Monitor} = spawn_monitor(fun() ->
                exit({pitcrew_pipeline:next({Dispatch, Ref}, {none, 0}, pitcrew_deadline:in(0)), pitcrew_test:mailbox()})
            end),
            Leaves = fun() ->
                case process_info(Consumer, [status, current_function]) of
                    [{status, waiting}, {current_function, {pitcrew_pipeline, left, 3}}] -> ok;
                    Other -> Other
                end
            end,
            ?assertEqual(ok, pitcrew_test:until(Leaves)),
            Answer = {reply, 0, 1, nil},
            _ = [Consumer ! Message || Message <- [{pitcrew_chunks, Ref, 1, 1, [1]}, {pitcrew_chunk, Ref, 1, 1, Answer}]],
            Consumer ! {pitcrew_end, Ref, 17, 1, 1, Answer},
            receive {'DOWN', Monitor, process, _, Seen} -> ?assertEqual({{done, 17, 1, 1, Answer}, []}, Seen) end
        end)
    end).

%% The same as it happens: timeouts about as long as the streams take.
timeouts_around_the_ends_of_streams_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        Consumer = fun() ->
            _ = [all(pitcrew:stream(Pool, slowly, [2, 0.002], #{timeout => 1 + N rem 5})) || N <- lists:seq(1, 25)],
            exit({mailbox, pitcrew_test:mailbox()})
        end,
        Consumers = [spawn_monitor(Consumer) || _ <- lists:seq(1, 4)],
        [receive {'DOWN', Monitor, process, _, Left} -> ?assertEqual({mailbox, []}, Left) end || {_, Monitor} <- Consumers]
    end).

%% The tool is interrupted, as by the death of any caller.
a_consumer_that_dies_ends_the_tool_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, Way) ->
        {ok, Pid} = pitcrew:call(Pool, pid),
        Test = self(),
        {Consumer, Monitor} = spawn_monitor(fun() ->
            {_, Stream} = take(3, pitcrew:stream(Pool, goes_on_when_cancelled, [], #{buffer => 3})),
            Test ! {self(), ready},
            receive never -> Stream end
        end),
        receive {Consumer, ready} -> ok end,
        exit(Consumer, kill),
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        {ok, Next} = pitcrew:call(Pool, pid, [], #{timeout => 20_000}),
        case Way of
            #{concurrency := _} ->
                ?assertEqual(Pid, Next),
                ok = pitcrew_test:until(fun() ->
                    case pitcrew:call(Pool, take_closed) of
                        {ok, [<<"cancelled">>]} -> ok;
                        {ok, []} -> goes_on
                    end
                end);
            #{pipeline := 1} -> ?assertNotEqual(Pid, Next);
            #{} -> ok
        end
    end).

a_tool_that_is_no_stream_is_an_error_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Error, []} = all(pitcrew:stream(Pool, no_stream)),
        ?assertMatch(#{kind := result_error}, Error),
        ?assertNotEqual(nomatch, binary:match(maps:get(message, Error), <<"returned list">>)),
        {error, Refused} = pitcrew:call(Pool, count_to, [3]),
        ?assertMatch(#{kind := result_error}, Refused),
        ?assertNotEqual(nomatch, binary:match(maps:get(message, Refused), <<"Pitcrew.stream">>)),
        {error, #{kind := unknown_tool}} = pitcrew:next(pitcrew:stream(Pool, no_such_tool)),
        {error, #{kind := bad_arguments}} = pitcrew:next(pitcrew:stream(Pool, count_to, [1, 2, 3])),
        {error, #{kind := no_pool}} = pitcrew:next(pitcrew:stream(no_such_pool, count_to))
    end).

options_that_are_not_for_streams_are_refused_test_() ->
    on_each_pool(#{size => 1, cache => true}, fun(Pool, _) ->
        [
            ?assertMatch({error, #{kind := invalid_option}}, pitcrew:next(pitcrew:stream(Pool, count_to, [1], Options)))
         || Options <- [#{buffer => 0}, [{buffer, none}], #{ref => true}, #{cache => true}, [{protocol, json}], #{bufer => 1}, nonsense]
        ]
    end).

%% One after the other, in a pool whose only worker is taken.
streams_wait_for_a_worker_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, Way) ->
        Streams = [element(2, take(1, pitcrew:stream(Pool, forever))) || _ <- lists:seq(1, maps:get(concurrency, Way, 1))],
        Test = self(),
        Second = spawn_link(fun() -> Test ! {self(), all(pitcrew:stream(Pool, count_to, [3]))} end),
        receive {Second, _} -> ?assert(false) after 100 -> ok end,
        _ = [ok = pitcrew:stop(First) || First <- Streams],
        receive {Second, Result} -> ?assertEqual({done, [1, 2, 3]}, Result) end
    end).

%% Where nobody may wait, a worker that is free is still to be had.
a_pool_without_a_queue_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, max_queue => 0}, fun(Pool) ->
            ?assertEqual({done, [1, 2]}, all(pitcrew:stream(Pool, count_to, [2]))),
            {[0], Stream} = take(1, pitcrew:stream(Pool, forever)),
            ?assertMatch({error, #{kind := overloaded}}, pitcrew:next(pitcrew:stream(Pool, count_to, [2]))),
            ok = pitcrew:stop(Stream)
        end)
    end).

calls_behind_a_stream_have_their_turn_test_() ->
    test(fun() ->
        with_pool(#{tools => ?TOOLS, size => 1, pipeline => 8}, fun(Pool) ->
            {_, Stream} = take(1, pitcrew:stream(Pool, forever, [], #{buffer => 4})),
            Calls = [pitcrew:async(Pool, echo, [N]) || N <- lists:seq(1, 5)],
            {_, After} = take(1000, Stream),
            ok = pitcrew:stop(After),
            ?assertEqual([{ok, N} || N <- lists:seq(1, 5)], [pitcrew:await(Call) || Call <- Calls])
        end)
    end).

a_stream_of_a_session_test_() ->
    on_each_pool(#{size => 2}, fun(Pool, _) ->
        {ok, {A, B}} = pitcrew:session(Pool, fun(Session) ->
            {all(pitcrew:stream(Session, session_numbers, [3])), all(pitcrew:stream(Session, session_numbers, [2]))}
        end),
        ?assertEqual({{done, [1, 2, 3]}, {done, [4, 5]}}, {A, B})
    end).

chunks_are_sent_to_a_process_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {Ref, _} = pitcrew:stream_to(self(), Pool, count_to, [3], []),
        [receive {pitcrew_stream, Ref, {chunk, N}} -> ok end || N <- [1, 2, 3]],
        receive {pitcrew_stream, Ref, Done} -> ?assertEqual({done, 3}, Done) end,
        {Failing, _} = pitcrew:stream_to(self(), Pool, fail_after, [1], []),
        receive {pitcrew_stream, Failing, {chunk, 0}} -> ok end,
        receive {pitcrew_stream, Failing, Failed} -> ?assertMatch({error, #{kind := tool_error}}, Failed) end,
        {Waiting, Stream} = pitcrew:stream_to(self(), Pool, sleep_after, [1, 0.2], []),
        receive {pitcrew_stream, Waiting, {chunk, 0}} -> ok end,
        ok = pitcrew:stop(Stream),
        receive {pitcrew_stream, Waiting, Stopped} -> ?assertEqual({done, 1}, Stopped) end
    end).

%% Long before a chunk comes, and before a worker is free.
a_stream_to_a_process_stops_before_its_first_chunk_test_() ->
    on_each_pool(#{size => 1, timeout => infinity, checkout_timeout => infinity}, fun(Pool, Way) ->
        Send = fun() -> pitcrew:stream_to(self(), Pool, sleep_after, [0, 60], []) end,
        Ends = fun(Ref) -> receive {pitcrew_stream, Ref, End} -> ?assertEqual({done, 0}, End) after 10_000 -> error(goes_on) end end,
        Running = [Send() || _ <- lists:seq(1, maps:get(concurrency, Way, 1))],
        ok = pitcrew_test:until(fun() -> case pitcrew:info(Pool) of #{free := 0} -> ok; Info -> Info end end),
        {Waiting, Stream} = Send(),
        receive {pitcrew_stream, _, _} -> ?assert(false) after 50 -> ok end,
        ok = pitcrew:stop(Stream),
        Ends(Waiting),
        _ = [ok = pitcrew:stop(First) || {_, First} <- Running],
        _ = [Ends(Ref) || {Ref, _} <- Running],
        ?assertEqual({done, [1, 2]}, all(pitcrew:stream(Pool, count_to, [2])))
    end).

a_receiver_that_ends_before_the_first_chunk_stops_its_stream_test_() ->
    on_each_pool(#{size => 1, timeout => infinity, checkout_timeout => infinity}, fun(Pool, _) ->
        {Receiver, Monitor} = spawn_monitor(fun() -> receive end_now -> ok end end),
        {_, {_, Sender, _}} = pitcrew:stream_to(Receiver, Pool, sleep_after, [0, 60], []),
        Sent = monitor(process, Sender),
        Receiver ! end_now,
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        receive {'DOWN', Sent, process, _, Reason} -> ?assertEqual(normal, Reason) after 10_000 -> error(goes_on) end,
        ?assertEqual({done, [1, 2]}, all(pitcrew:stream(Pool, count_to, [2])))
    end).

a_receiver_that_ends_stops_its_stream_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, Pid} = pitcrew:call(Pool, pid),
        {Receiver, Monitor} = spawn_monitor(fun() -> receive {pitcrew_stream, _, {chunk, 5}} -> ok end end),
        {_, _} = pitcrew:stream_to(Receiver, Pool, forever, [], []),
        receive {'DOWN', Monitor, process, _, _} -> ok end,
        ok = pitcrew_test:until(fun() ->
            case pitcrew:call(Pool, take_closed, [], #{timeout => 20_000}) of
                {ok, [At]} when At >= 5 -> ok;
                {ok, []} -> not_closed
            end
        end),
        ?assertEqual({ok, Pid}, pitcrew:call(Pool, pid))
    end).

telemetry_tells_of_chunks_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        Test = self(),
        Events = [[pitcrew_test, call, What] || What <- [start, stop, exception]],
        ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun(E, M, D, _) -> Test ! {event, lists:last(E), M, D} end, nil),
        try
            {done, _} = all(pitcrew:stream(Pool, count_to, [7])),
            receive {event, start, _, Begun} -> ?assertMatch(#{stream := true, tool_id := <<"count_to">>}, Begun) end,
            receive {event, stop, Measured, Data} ->
                ?assertMatch(#{chunks := 7}, Measured),
                ?assertMatch(#{stream := true, result := ok}, Data),
                ?assert(maps:get(bytes_in, Measured) > 7 * 5)
            end,
            {_, Stream} = take(1, pitcrew:stream(Pool, forever)),
            ok = pitcrew:stop(Stream),
            receive {event, start, _, _} -> ok end,
            receive {event, stop, #{chunks := N}, Halted} ->
                ?assertMatch(#{result := halted}, Halted),
                ?assert(N >= 1)
            end,
            {_, _} = all(pitcrew:stream(Pool, fail_after, [2])),
            receive {event, start, _, _} -> ok end,
            receive {event, exception, #{chunks := 2}, Failed} -> ?assertMatch(#{result := tool_error}, Failed) end
        after
            pitcrew_telemetry:detach(?MODULE)
        end
    end).

%% ---- Large chunks

resident(Who) ->
    {ok, Text} = file:read_file(["/proc/", Who, "/statm"]),
    [_, Pages | _] = binary:split(Text, <<" ">>, [global]),
    binary_to_integer(Pages) * 4096.

%% Each chunk in shared memory, which is used again: none is held for longer than its chunk, and neither side grows.
large_chunks_need_no_more_memory_the_more_there_are_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        {ok, OsPid} = pitcrew:call(Pool, pid),
        Worker = integer_to_list(OsPid),
        MiB = 1 bsl 20,
        Use = fun Use(0, Stream) ->
                Stream;
            Use(N, Stream) ->
                {ok, Block, Rest} = pitcrew:next(Stream),
                ?assertEqual({MiB, binary:first(Block)}, {byte_size(Block), binary:last(Block)}),
                Use(N - 1, Rest)
        end,
        Begun = Use(100, pitcrew:stream(Pool, blocks, [1_000_000, MiB], #{buffer => 64})),
        ?assert(held(Pool) > 0),
        garbage(),
        Before = {resident("self"), resident(Worker)},
        Ended = Use(2000, Begun),
        garbage(),
        After = {resident("self"), resident(Worker)},
        ok = pitcrew:stop(Ended),
        %% Of 2000 MiB that have passed through.
        [
            ?assert(To - From < 100 * MiB)
         || {From, To} <- lists:zip(tuple_to_list(Before), tuple_to_list(After)), not pitcrew_test:is_sanitized()
        ],
        nothing_held(Pool)
    end).

%% What nobody takes any more is let go of, too.
large_chunks_that_are_never_taken_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, _) ->
        [
            begin
                {[_], Stream} = take(1, pitcrew:stream(Pool, blocks, [100, 1 bsl 20], #{buffer => 100})),
                ok = pitcrew:stop(Stream)
            end
         || _ <- lists:seq(1, 30)
        ],
        nothing_held(Pool)
    end).

%% Larger than what is decoded on the way, and in the frame.
chunks_of_every_size_test_() ->
    on_each_pool(#{size => 1, shared => false}, fun(Pool, _) ->
        [
            ?assertEqual({done, [binary:copy(<<N>>, Size) || N <- [0, 1, 2, 3]]}, all(pitcrew:stream(Pool, blocks, [4, Size])))
         || Size <- [0, 1, 8_000, 9_000, 16_000, 17_000, 70_000, 300_000, 3_000_000]
        ]
    end).

%% What is in the way of others is seen by both ends, and bounded by both.
a_worker_that_sends_more_than_it_may_is_ended_test_() ->
    on_each_pool(#{size => 1}, fun(Pool, Way) ->
        case Way of
            #{concurrency := _} ->
                ok;
            #{} ->
                {Error, Chunks} = pitcrew_test:quietly(fun() ->
                    all(pitcrew:stream(Pool, floods, [], #{buffer => 4, timeout => 20_000}))
                end),
                ?assert(length(Chunks) =< 4),
                ?assertMatch(#{kind := worker_exit}, Error)
        end
    end).
