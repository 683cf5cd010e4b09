%% Batches through real pools: results in their order, errors of one call only, and what becomes of all when something ends.
-module(pitcrew_batch_tests).
-include_lib("eunit/include/eunit.hrl").

-export([tell/4]).
-import(pitcrew_test, [meet/1, answer/2, until/1, mailbox/0]).

-define(KIB, 1024).

test(Fun) -> {timeout, 60, Fun}.

with(Options, Fun) ->
    pitcrew_test:with_meeting(maps:merge(#{tools => ["batch_tools", "py_tools"]}, Options), Fun).

%% For pools whose callers claim a worker, for pipelined ones, and for those that run many calls at once.
each(Fun) -> each(#{}, Fun).

each(More, Fun) ->
    [
        {Name, test(fun() -> with(maps:merge(Options, More), fun(Pool, Listener, Port) -> Fun(Pool, {Listener, Port}) end) end)}
     || {Name, Options} <- [{"slots", #{}}, {"pipelined", #{pipeline => 4}}, {"concurrent", #{concurrency => 4}}]
    ].

ok(Values) -> [{ok, Value} || Value <- Values].

%% ---- Results

in_order_test_() ->
    each(fun(Pool, _) ->
        ?assertEqual([], pitcrew:batch(Pool, [])),
        Numbers = lists:seq(0, 299),
        ?assertEqual(ok(Numbers), pitcrew:batch(Pool, [{note, [N]} || N <- Numbers])),
        [
            ?assertEqual(ok(Numbers), pitcrew:batch(Pool, [{<<"note">>, #{value => N}} || N <- Numbers], Options))
         || Options <- [#{batch_size => 1}, [{batch_size, 7}, {max_concurrency, 2}], #{batch_size => 5000}, #{max_concurrency => 1}]
        ],
        %% Of several tools, with arguments of every shape.
        Calls = lists:append([[{add, [N, 1]}, {squares, [N]}, {scale, {[[N]], #{factor => 3}}}] || N <- Numbers]),
        ?assertEqual(ok(lists:append([[N + 1, N * N, [3 * N]] || N <- Numbers])), pitcrew:batch(Pool, Calls))
    end).

errors_test_() ->
    each(fun(Pool, _) ->
        [A, B, C, D, E, F] = pitcrew:batch(Pool, [
            {divide, [1, 4]}, {divide, [1, 0]}, {nothing, []}, {divide, hello}, no_call, {unencodable, []}
        ]),
        ?assertEqual({ok, 0.25}, A),
        ?assertMatch({error, #{kind := tool_error, type := <<"ZeroDivisionError">>, tool := <<"divide">>, index := 1, pool := Pool}}, B),
        {error, #{worker := Worker, traceback := <<"Traceback", _/binary>>}} = B,
        ?assert(lists:member(Worker, pitcrew_test:os_pids(Pool))),
        ?assertMatch({error, #{kind := unknown_tool, tool := <<"nothing">>, index := 2}}, C),
        ?assertMatch({error, #{kind := bad_arguments, tool := <<"divide">>, index := 3}}, D),
        ?assertMatch({error, #{kind := bad_arguments, index := 4}}, E),
        ?assertMatch({error, #{kind := result_error, path := [<<"bad">>, 1], index := 5}}, F),
        {error, Error} = B,
        ?assertMatch({_, _}, binary:match(pitcrew_error:format(Error), <<"call of the batch: 1">>))
    end).

%% Calls with their parts by name, and the pool among the options.
by_name_test_() ->
    each(fun(Pool, _) ->
        Calls = [
            #{tool_id => add, args => [1, 2]}, #{tool_id => <<"scale">>, args => [[5]], kwargs => #{factor => 3}},
            #{tool_id => note, kwargs => #{value => 7}}, {squares, [3]}, #{tool_id => squares, args => [4]}, #{tool_id => nothing}
        ],
        Checked = fun(Results) ->
            ?assertEqual(ok([3, [15], 7, 9, 16]), lists:droplast(Results)),
            ?assertMatch({error, #{kind := unknown_tool, index := 5}}, lists:last(Results))
        end,
        Checked(pitcrew:batch(Pool, Calls)),
        Checked(pitcrew:execute_batch(Calls, [{pool, Pool}, {batch_size, 10}, {timeout, 20_000}])),
        Checked(pitcrew:execute_batch(Calls, #{pool => Pool})),
        {ok, Name} = pitcrew:start_session(Pool, shared),
        ?assertEqual(ok([5]), pitcrew:execute_batch([#{tool_id => add, args => [2, 3]}], #{pool => Name})),
        ok = pitcrew:stop_session(Name)
    end).

what_is_no_call_by_name_test_() ->
    test(fun() ->
        with(#{}, fun(Pool, _, _) ->
            Wrong = [#{tool => add, args => [1, 2]}, #{tool_id => add, arguments => [1, 2]}, #{tool_id => add, args => #{a => 1}}],
            [?assertMatch({error, #{kind := bad_arguments, index := 1}}, lists:last(pitcrew:batch(Pool, [{add, [1, 2]}, Call]))) || Call <- Wrong]
        end)
    end).

the_pool_is_an_option_test() ->
    Results = fun(Options) -> pitcrew:execute_batch([{add, [1, 2]}, #{tool_id => add}], Options) end,
    ?assertMatch([{error, #{kind := invalid_option, message := <<"option pool is required">>, index := 0}}, {error, #{index := 1}}], Results([])),
    ?assertMatch([{error, #{kind := no_pool, index := 0}}, {error, #{index := 1}}], Results(#{pool => nobody})),
    ?assertMatch([{error, #{kind := invalid_option}}, _], Results([{pool, nobody}, {pool, nobody}])),
    ?assertMatch([{error, #{kind := invalid_option}}, _], Results([{pool, nobody}, {batch_size, 0}])),
    ?assertMatch([{error, #{kind := invalid_option}}, _], Results(nil)),
    ?assertEqual([], pitcrew:execute_batch([], [])).

%% As many errors as calls, whatever they are about.
all_of_them_test_() ->
    test(fun() ->
        with(#{}, fun(Pool, _, _) ->
            Calls = [{note, [N]} || N <- [1, 2, 3]],
            Kinds = fun(Results) -> [{Kind, Index} || {error, #{kind := Kind, index := Index}} <- Results] end,
            All = fun(Kind) -> [{Kind, 0}, {Kind, 1}, {Kind, 2}] end,
            ?assertEqual(All(no_pool), Kinds(pitcrew:batch(no_such_pool, Calls))),
            ?assertEqual(All(no_session), Kinds(pitcrew:batch({Pool, no_such_session}, Calls))),
            [
                ?assertEqual(All(invalid_option), Kinds(pitcrew:batch(Pool, Calls, Options)))
             || Options <- [#{batch_size => 0}, [{batch_size, 1}, {batch_size, 2}], [batch_size], #{size => 1}, [{max_concurrency, infinity}], [cache], no_options]
            ],
            {ok, Ref} = pitcrew:call(Pool, make, [1, ref]),
            ?assertEqual(All(bad_arguments), Kinds(pitcrew:batch(Ref, Calls))),
            ?assertEqual(All(timeout), Kinds(pitcrew:batch(Pool, Calls, #{timeout => 0}))),
            ?assertEqual(All(not_allowed), Kinds(pitcrew:batch(Pool, [{'math:sqrt', [N]} || N <- [1, 2, 3]]))),
            ?assertEqual({ok, []}, pitcrew:call(Pool, noted)),
            ?assertError(function_clause, pitcrew:batch(Pool, {note, [1]}))
        end)
    end).

allowed_functions_test_() ->
    test(fun() ->
        with(#{allow_import => [math], allow_eval => true}, fun(Pool, _, _) ->
            ?assertEqual(ok([2.0, 3.0, 5]), pitcrew:batch(Pool, [{'math:sqrt', [4]}, {'math:sqrt', [9]}, {'pitcrew:eval', [<<"2 + 3">>]}])),
            ?assertMatch([{error, #{kind := not_allowed}}], pitcrew:batch(Pool, [{'os:getpid', []}])),
            ?assertMatch([{error, #{kind := unknown_tool}}], pitcrew:batch(Pool, [{'pitcrew:batch', [note, []]}]))
        end)
    end).

%% ---- Values

%% The same error as for a call, and the others have run once.
what_cannot_be_sent_test_() ->
    each(fun(Pool, _) ->
        Bad = <<255>>,
        Wrong = [[[1, {Bad}]], #{value => [Bad]}, {[], #{value => #{a => Bad}}}],
        Calls = [{note, [0]} | lists:append([[{note, Args}, {note, [N]}] || {N, Args} <- lists:enumerate(Wrong)])],
        Results = pitcrew:batch(Pool, Calls, #{batch_size => 100}),
        ?assertEqual(ok([0, 1, 2, 3]), [R || {ok, _} = R <- Results]),
        Alone = [pitcrew:call(Pool, note, Args) || Args <- Wrong],
        Plain = fun({error, Error}) -> maps:with([kind, path, tool, pool], Error) end,
        ?assertEqual([Plain(R) || R <- Alone], [Plain(R) || {error, _} = R <- Results]),
        {ok, Noted} = pitcrew:call(Pool, noted),
        ?assert(length(Noted) =< 4)
    end).

structs_and_options_test_() ->
    test(fun() ->
        with(#{}, fun(Pool, _, _) ->
            Same = [nil, 1 bsl 100, 0.5, <<"text">>, [1, [2]], {3, #{<<"a">> => [b]}}, make_ref(), self()],
            ?assertEqual(ok(Same), pitcrew:batch(Pool, [{note, [V]} || V <- Same])),
            Bytes = #{binaries => bytes, bytes => tagged},
            ?assertEqual(ok([pitcrew:bytes(<<"a">>), pitcrew:bytes(<<255>>)]), pitcrew:batch(Pool, [{note, [<<"a">>]}, {note, [<<255>>]}], Bytes)),
            ?assertEqual(ok([undefined]), pitcrew:batch(Pool, [{note, [undefined]}], #{nil => undefined})),
            Clash = #{1 => a, 1.0 => b},
            ?assertMatch([{ok, 1}, {error, #{kind := decode_error, path := [<<"args">> | _]}}], named(pitcrew:batch(Pool, [{note, [1]}, {note, [Clash]}]))),
            ?assertEqual(ok([Clash]), pitcrew:batch(Pool, [{note, [Clash]}], #{keys => strict})),
            ?assertEqual(ok([[[<<"bytes">>], #{<<"k">> => <<"memoryview">>}]]), pitcrew:batch(Pool, [{kinds, {[<<"a">>], #{k => <<"b">>}}}]))
        end)
    end).

%% Paths of errors that the worker has found begin with an index or a name.
named([Ok, {error, #{path := Path} = Error}]) -> [Ok, {error, Error#{path := [<<"args">> | Path]}}].

large_payloads_test_() ->
    each(#{bytes => tagged}, fun(Pool, _) ->
        Large = [crypto:strong_rand_bytes(Kib * ?KIB) || Kib <- [63, 64, 100, 1024, 3000]],
        Tensor = #{'__struct__' => 'Elixir.Pitcrew.Tensor', dtype => <<"|u1">>, shape => {100 * ?KIB}, data => binary:copy(<<7>>, 100 * ?KIB)},
        Values = [pitcrew:bytes(B) || B <- Large] ++ [Tensor],
        [?assertEqual(ok(Values), pitcrew:batch(Pool, [{note, [V]} || V <- Values], #{batch_size => N})) || N <- [1, 3, 100]],
        Sums = [[byte_size(B), binary:first(B), binary:last(B)] || B <- Large],
        ?assertEqual(ok(Sums), pitcrew:batch(Pool, [{sums, [pitcrew:bytes(B)]} || B <- Large])),
        %% Some that cannot be written, behind large ones; and more than there are segments for.
        Calls = lists:append([[{make, [100 * ?KIB, <<"bytes">>]}, {make, [100 * ?KIB, <<"object">>]}, {make, [100 * ?KIB, <<"given">>]}] || _ <- lists:seq(1, 40)]),
        Results = pitcrew:batch(Pool, Calls, #{batch_size => 60}),
        [?assertMatch([{ok, #{data := <<"x", _/binary>>}}, {error, #{kind := result_error}}, {ok, #{data := <<7, _/binary>>}}], Three) || Three <- threes(Results)]
    end).

%% What was given away in a result that could not be written was not given away.
given_test_() ->
    each(#{size => 1, bytes => tagged}, fun(Pool, _) ->
        Calls = [{keep_given, [100 * ?KIB, What]} || What <- [<<"object">>, <<"object">>, <<"alone">>]],
        ?assertMatch([{error, #{kind := result_error}}, {error, #{kind := result_error}}, {ok, #{data := <<7, _/binary>>}}], pitcrew:batch(Pool, Calls, #{batch_size => 3}))
    end).

threes([A, B, C | Rest]) -> [[A, B, C] | threes(Rest)];
threes([]) -> [].

references_test_() ->
    test(fun() ->
        with(#{}, fun(Pool, _, _) ->
            Refs = [Ref || {ok, #{'__struct__' := 'Elixir.Pitcrew.Ref'} = Ref} <- pitcrew:batch(Pool, [{note, [[N]]} || N <- lists:seq(0, 9)], #{ref => true, batch_size => 1})],
            ?assertEqual(10, length(Refs)),
            %% Each goes to the worker that has it, also where they are in different ones.
            ?assertEqual(ok([[N] || N <- lists:seq(0, 9)]), pitcrew:batch(Pool, [{note, [Ref]} || Ref <- Refs], #{batch_size => 10})),
            ?assertMatch([{ok, #{type := <<"list">>}}, {error, _}], pitcrew:batch(Pool, [{make, [1, ref]}, {make, [1, <<"ref and object">>]}]))
        end)
    end).

json_test_() ->
    pitcrew_test:if_json(
        test(fun() ->
            with(#{protocol => json}, fun(Pool, _, _) ->
                Calls = [{divide, [1, 4]}, {divide, #{a => 1, b => 0}}, {note, {[], #{value => [1, #{<<"a">> => nil}]}}}, {unencodable, []}],
                [A, B, C, D] = pitcrew:batch(Pool, Calls),
                ?assertEqual([{ok, 0.25}, {ok, [1, #{<<"a">> => nil}]}], [A, C]),
                ?assertMatch([{error, #{type := <<"ZeroDivisionError">>}}, {error, #{kind := result_error}}], [B, D]),
                ?assertMatch([{ok, 1}, {error, #{kind := encode_error, path := [args, 0], index := 1}}], pitcrew:batch(Pool, [{note, [1]}, {note, [self()]}]))
            end)
        end)
    ).

%% ---- At once

at_once_test_() ->
    each(#{size => 2}, fun(Pool, _) ->
        ?assertEqual(ok([N * N || N <- lists:seq(1, 100)]), pitcrew:batch(Pool, [{squares, [N]} || N <- lists:seq(1, 100)])),
        {ok, One} = whoever_has_seen(Pool),
        ?assertEqual([100], One),
        ?assertEqual(ok([4, 9]), pitcrew:batch(Pool, [{later_squares, [2]}, {later_squares, [3]}])),
        ?assertMatch([{ok, 1}, {error, #{kind := tool_error, message := <<"no -1">>}}, {error, #{kind := result_error}}], pitcrew:batch(Pool, [{some_fail, [N]} || N <- [1, -1, 0]])),
        ?assertMatch(
            [{ok, 4}, {error, #{kind := encode_error, path := [args, 0], index := 1}}, {ok, 9}],
            pitcrew:batch(Pool, [{squares, [2]}, {squares, [<<255>>]}, {squares, [3]}])
        ),
        ?assertMatch([_ | _], [Tool || #{name := <<"squares">>, batch := true} = Tool <- pitcrew:tools(Pool)])
    end).

%% One worker has got them all.
whoever_has_seen(Pool) ->
    Seen = [pitcrew:call(Pool, seen) || _ <- lists:seq(1, 50)],
    {ok, hd([S || {ok, [_ | _] = S} <- Seen] ++ [none])}.

%% What has become of a batch is kept for nobody: errors are among it.
no_cache_test_() ->
    test(fun() ->
        with(#{size => 1, cache => true}, fun(Pool, _, _) ->
            Calls = [{note, [1]}, {note, [2]}],
            ?assertEqual(ok([1, 2]), pitcrew:batch(Pool, Calls)),
            ?assertEqual(ok([1, 2]), pitcrew:batch(Pool, Calls)),
            ?assertEqual({ok, [1, 2, 1, 2]}, pitcrew:call(Pool, noted))
        end)
    end).

%% ---- Sessions

sessions_test_() ->
    each(fun(Pool, _) ->
        {ok, Counts} = pitcrew:session(Pool, fun(Session) ->
            Remembered = pitcrew:batch(Session, [{remember, [N, N]} || N <- lists:seq(1, 20)], #{batch_size => 3}),
            ?assertEqual(ok([7, 8]), pitcrew:batch(Session, [{recall, [7]}, {recall, [8]}])),
            Remembered
        end),
        ?assertEqual(ok(lists:seq(1, 20)), lists:sort(Counts))
    end).

%% ---- Ends

%% One chunk is out at a time: a worker that runs many calls at once takes all of them along.
a_death_ends_its_chunk_test_() ->
    each(#{size => 2}, fun(Pool, _) ->
        Results = pitcrew:batch(Pool, [{leave_if, [N, 5]} || N <- lists:seq(0, 9)], #{batch_size => 2, max_concurrency => 1}),
        ?assertEqual(lists:seq(0, 9) -- [4, 5], [N || {ok, N} <- Results]),
        ?assertMatch([{4, {status, 3}}, {5, {status, 3}}], [{I, R} || {error, #{kind := worker_exit, index := I, reason := R}} <- Results])
    end).

tries_again_test_() ->
    each(#{size => 1}, fun(Pool, _) ->
        File = pitcrew_test:base(),
        Calls = [{leave_once, [N, list_to_binary(File)]} || N <- [1, 2, 3]],
        try
            ?assertEqual(ok([1, 2, 3]), pitcrew:batch(Pool, Calls, #{retry => 1, batch_size => 3})),
            ok = file:delete(File),
            ?assertMatch([{error, #{kind := worker_exit}}, {error, _}, {error, _}], pitcrew:batch(Pool, Calls, #{batch_size => 3}))
        after
            file:delete(File)
        end
    end).

%% The call that runs is interrupted, and none of the chunk begins any more.
a_deadline_test_() ->
    each(#{size => 1}, fun(Pool, {Listener, Port}) ->
        Caller = batch_in_a_process(Pool, [{visit, [Port, N]} || N <- [1, 2, 3]], #{timeout => 300, batch_size => 2, max_concurrency => 1}),
        {Socket, 1} = meet(Listener),
        {ok, <<>>} = closed(Socket),
        Results = await(Caller),
        ?assertMatch([{error, #{kind := timeout}}, {error, #{kind := timeout}}, {error, #{kind := timeout}}], Results),
        ?assertEqual(ok, pitcrew_test:whole(Pool)),
        ?assertEqual({error, timeout}, gen_tcp:accept(Listener, 0))
    end).

%% A tool that swallows its interrupt does not have the others run either, whom nobody waits for.
swallowed_test_() ->
    test(fun() ->
        with(#{size => 1, pipeline => 2}, fun(Pool, Listener, Port) ->
            Caller = batch_in_a_process(Pool, [{swallow, [Port, N]} || N <- [1, 2]], #{timeout => 200}),
            {Socket, 1} = meet(Listener),
            {ok, <<>>} = closed(Socket),
            _ = await(Caller),
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            ?assertEqual({error, timeout}, gen_tcp:accept(Listener, 0))
        end)
    end).

%% All that runs is interrupted, and what had not begun never does.
the_caller_dies_test_() ->
    each(#{size => 2}, fun(Pool, {Listener, Port}) ->
        {Caller, Monitor} = batch_in_a_process(Pool, [{visit, [Port, N]} || N <- lists:seq(1, 6)], #{batch_size => 1, max_concurrency => 2}),
        Sockets = [Socket || {Socket, _} <- [meet(Listener), meet(Listener)]],
        exit(Caller, kill),
        receive {'DOWN', Monitor, process, _, killed} -> ok end,
        [?assertEqual({ok, <<>>}, closed(Socket)) || Socket <- Sockets],
        ?assertEqual(ok, pitcrew_test:whole(Pool)),
        ?assertEqual({error, timeout}, gen_tcp:accept(Listener, 0))
    end).

finish_test_() ->
    test(fun() ->
        with(#{size => 2}, fun(Pool, Listener, Port) ->
            {Caller, Monitor} = batch_in_a_process(Pool, [{visit, [Port, N]} || N <- [1, 2]], #{batch_size => 1, on_caller_exit => finish}),
            Sockets = [Socket || {Socket, _} <- [meet(Listener), meet(Listener)]],
            exit(Caller, kill),
            receive {'DOWN', Monitor, process, _, killed} -> ok end,
            [answer(Socket, "x") || Socket <- Sockets],
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            Noted = lists:usort(lists:append([N || {ok, N} <- [pitcrew:call(Pool, noted) || _ <- lists:seq(1, 20)]])),
            ?assertMatch([_ | _], Noted)
        end)
    end).

%% At most so many chunks are out; and messages that the caller waits for stay where they are.
bounded_test_() ->
    each(#{size => 3}, fun(Pool, {Listener, Port}) ->
        Self = self(),
        {Other, Ref} = spawn_monitor(fun() -> exit(over) end),
        Caller = batch_in_a_process(Pool, [{visit, [Port, N]} || N <- lists:seq(1, 6)], #{batch_size => 1, max_concurrency => 2}),
        [begin
            {A, _} = meet(Listener),
            {B, _} = meet(Listener),
            ?assertEqual({error, timeout}, gen_tcp:accept(Listener, 20)),
            answer(A, "a"),
            answer(B, "b")
        end || _ <- lists:seq(1, 3)],
        ?assertEqual(6, length([ok || {ok, _} <- await(Caller)])),
        Self ! hello,
        ?assertEqual(ok([1, 2, 3]), pitcrew:batch(Pool, [{note, [N]} || N <- [1, 2, 3]], #{batch_size => 1})),
        receive {'DOWN', Ref, process, Other, over} -> ok after 0 -> error(lost) end,
        receive hello -> ok after 0 -> error(lost) end
    end).

%% A batch waits for workers as long as it may take, not as long as one call may wait.
no_checkout_timeout_test_() ->
    test(fun() ->
        with(#{size => 1, checkout_timeout => 1}, fun(Pool, Listener, Port) ->
            Caller = batch_in_a_process(Pool, [{visit, [Port, N]} || N <- [1, 2, 3]], #{batch_size => 1}),
            [begin {Socket, N} = meet(Listener), receive after 20 -> ok end, answer(Socket, "x") end || N <- [1, 2, 3]],
            ?assertEqual(ok([<<"x">>, <<"x">>, <<"x">>]), await(Caller))
        end)
    end).

batch_in_a_process(Pool, Calls, Options) ->
    spawn_monitor(fun() -> exit({results, pitcrew:batch(Pool, Calls, Options), mailbox()}) end).

await({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, {results, Results, []}} -> Results;
        {'DOWN', Ref, process, _, Reason} -> {caller, Reason}
    after 30_000 -> error(no_results)
    end.

%% The tool is gone.
closed(Socket) ->
    case gen_tcp:recv(Socket, 0, 10_000) of
        {error, closed} -> {ok, <<>>};
        Other -> Other
    end.

%% ---- Telemetry

telemetry_test_() ->
    test(fun() ->
        with(#{}, fun(Pool, _, _) ->
            Events = [[pitcrew_test, call, Event] || Event <- [stop, exception]],
            ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
            try
                _ = pitcrew:batch(Pool, [{note, [N]} || N <- [1, 2, 3]] ++ [{notte, [1]}], #{batch_size => 2}),
                Told = lists:sort([receive {told, Event, Meta} -> {Event, Meta} after 5_000 -> none end || _ <- [1, 2, 3]]),
                ?assertEqual(
                    [{exception, {<<"notte">>, 1}}, {stop, {<<"note">>, 1}}, {stop, {<<"note">>, 2}}],
                    [{Event, {Tool, N}} || {Event, #{tool_id := Tool, batch := N}} <- Told]
                )
            after
                pitcrew_telemetry:detach(?MODULE)
            end
        end)
    end).

tell([_, _, Event], _, Meta, Pid) -> Pid ! {told, Event, maps:with([tool_id, batch], Meta)}.
