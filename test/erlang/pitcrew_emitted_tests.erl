%% What Python emits arrives as telemetry of the VM, a flood of it stops nobody, and nothing of it becomes an atom that was not declared.
-module(pitcrew_emitted_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_test, [with_pool/2, until/1, os_pids/1, chunks/1]).

%% The prefix of pools in tests is [pitcrew_test].
-define(P, pitcrew_test, python).

tell(Event, Measured, Told, To) -> To ! {Event, Measured, Told}.

pool(Events, Fun) -> pool(#{}, Events, Fun).

pool(Options, Events, Fun) ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        ok = pitcrew_telemetry:attach_many(?MODULE, [[?P | Event] || Event <- Events], fun ?MODULE:tell/4, self()),
        try
            with_pool(maps:merge(#{size => 1, tools => ["event_tools"]}, Options), Fun)
        after
            ok = pitcrew_telemetry:detach(?MODULE)
        end
    end}.

%% The next event of that name.
told(Event) ->
    receive
        {[?P | Event], Measured, Told} -> {Measured, Told}
    after 20_000 -> error({not_told, Event, process_info(self(), messages)})
    end.

%% Whether it has come, when all that was emitted before in the same worker has.
nothing_is_told() ->
    receive
        {[?P | _], _, _} = Event -> error({told, Event})
    after 0 -> ok
    end.

all_has_come(Pool) ->
    {ok, true} = pitcrew:call(Pool, emit, [<<"pitcrew.done">>]),
    _ = told([pitcrew, done]),
    nothing_is_told().

%% ---- Events

an_event_brings_what_python_said_and_where_it_was_test_() ->
    pool([[pitcrew, call, done], [pitcrew, started]], fun(Pool) ->
        Begin = erlang:monotonic_time(),
        [OsPid] = os_pids(Pool),
        Metadata = #{text => <<"grüße"/utf8>>, list => [1, 2.5, nil], unheard_of_key_1 => true},
        {ok, true} = pitcrew:call(Pool, emit, [<<"pitcrew.call.done">>, #{count => 3, size => 1 bsl 70}, Metadata]),
        {Measured, Told} = told([pitcrew, call, done]),
        End = erlang:monotonic_time(),
        #{monotonic_time := At, system_time := System} = Measured,
        ?assertEqual(#{count => 3, size => 1 bsl 70}, maps:without([monotonic_time, system_time], Measured)),
        ?assert(Begin =< At andalso At =< End),
        ?assertEqual(At + erlang:time_offset(), System),
        ?assertMatch(
            #{
                text := <<"grüße"/utf8>>,
                list := [1, 2.5, nil],
                unheard_of_key_1 := true,
                pool := pitcrew_test,
                worker := OsPid,
                slot := 0,
                tool_id := <<"emit">>,
                call_id := Id
            } when is_integer(Id) andalso Id > 0,
            Told
        ),
        %% That of the start hook has no call.
        {#{count := 1}, Before} = told([pitcrew, started]),
        ?assertEqual(#{pool => pitcrew_test, worker => OsPid, slot => 0}, Before)
    end).

a_name_is_words_in_either_form_test_() ->
    pool([[pitcrew, call, done]], fun(Pool) ->
        [{ok, true} = pitcrew:call(Pool, emit, [Name]) || Name <- [<<"pitcrew.call.done">>, [pitcrew, call, done], [<<"pitcrew">>, <<"call">>, <<"done">>]]],
        [
            ?assertEqual([monotonic_time, system_time], lists:sort(maps:keys(Measured)))
         || _ <- [1, 2, 3], {Measured, _} <- [told([pitcrew, call, done])]
        ]
    end).

%% Neither words nor keys.
no_atom_is_made_of_what_was_not_declared_test_() ->
    pool([[event], [pitcrew, done]], fun(Pool) ->
        Nobody = iolist_to_binary(["nobody_has_", integer_to_binary(erlang:unique_integer([positive]))]),
        {ok, true} = pitcrew:call(Pool, emit, [<<"pitcrew.", Nobody/binary>>, #{Nobody => 1}, #{Nobody => 2}]),
        {Measured, Told} = told([event]),
        Name = <<"pitcrew.", Nobody/binary>>,
        ?assertMatch(#{name := Name, Nobody := 2, tool_id := <<"emit">>}, Told),
        ?assertMatch(#{Nobody := 1}, Measured),
        ?assertError(badarg, binary_to_existing_atom(Nobody)),
        %% Once there is the atom, it is as any other.
        ok = pitcrew_emitted:declare([#{<<"name">> => [Nobody]}]),
        Atom = binary_to_existing_atom(Nobody),
        ok = pitcrew_telemetry:attach(Atom, [?P, pitcrew, Atom], fun ?MODULE:tell/4, self()),
        {ok, true} = pitcrew:call(Pool, emit, [Name]),
        {_, _} = told([pitcrew, Atom]),
        ok = pitcrew_telemetry:detach(Atom),
        all_has_come(Pool)
    end).

%% Texts, so that this module does not make the atoms.
what_a_module_declares_becomes_atoms_test_() ->
    {timeout, 60, fun() ->
        with_pool(#{size => 1, tools => ["event_tools"]}, fun(Pool) ->
            ?assertEqual(ok, until(fun() -> case pitcrew:call(Pool, traced, [1]) of {ok, _} -> ok; Other -> Other end end)),
            [
                ?assertEqual({Word, Word}, {Word, atom_to_binary(binary_to_existing_atom(Word))})
             || Word <- [
                    <<"fixture">>, <<"declared">>, <<"only_", "declared">>, <<"also_", "declared">>, <<"of_", "tool">>,
                    %% That of a decorator, which has its name from the function.
                    <<"event_", "tools">>, <<"traced_by_", "its_own_name">>
                ]
            ]
        end)
    end}.

%% A worker is not trusted to be modest.
declarations_cannot_fill_the_table_of_atoms_test() ->
    {ok, _} = application:ensure_all_started(pitcrew),
    Made = persistent_term:get(pitcrew_emitted_atoms),
    Before = atomics:get(Made, 1),
    Some = [<<"declared_in_a_flood_", (integer_to_binary(N))/binary>> || N <- lists:seq(1, 10)],
    Event = #{<<"name">> => Some, <<"measurements">> => [hd(Some), 17], <<"metadata">> => nonsense},
    ok = pitcrew_emitted:declare([Event, #{<<"name">> => 1}, nonsense]),
    ok = pitcrew_emitted:declare([Event]),
    ?assertEqual(Before + 10, atomics:get(Made, 1)),
    ok = atomics:put(Made, 1, 20_000),
    ok = pitcrew_emitted:declare([#{<<"name">> => [<<"declared_too_late">>]}]),
    ?assertError(badarg, binary_to_existing_atom(<<"declared_too_", "late">>)),
    ok = atomics:put(Made, 1, Before + 10),
    ok = pitcrew_emitted:declare([#{<<"name">> => [binary:copy(<<"x">>, 256)]}]),
    ok = pitcrew_emitted:declare(nonsense).

%% What a worker may send that ours do not, and what becomes of it.
what_cannot_be_read_is_not_emitted_test_() ->
    {ok, Data} = pitcrew_nif:encode([#{<<"count">> => 1, <<"size">> => <<"no number">>}, #{}], #{}),
    {ok, Other} = pitcrew_nif:encode([1, 2, 3], #{}),
    Now = os:perf_counter(nanosecond),
    Good = [0, [<<"pitcrew">>, <<"done">>], nil, Now, nil, Data],
    [
        pool([[pitcrew, done]], fun(_) ->
            [
                ?assertEqual({N, unreadable}, {N, pitcrew_emitted:execute([pitcrew_test], #{}, replaced(N, Bad, Good))})
             || {N, Bad} <- [{2, <<"pitcrew">>}, {4, nil}, {5, <<"long">>}, {6, <<193>>}, {6, Other}, {6, nil}]
            ],
            ?assertEqual(unreadable, pitcrew_emitted:execute([pitcrew_test], #{}, [])),
            nothing_is_told(),
            ok = pitcrew_emitted:execute([pitcrew_test], #{}, Good ++ [more]),
            {Measured, #{}} = told([pitcrew, done]),
            ?assertEqual([count, monotonic_time, system_time], lists:sort(maps:keys(Measured)))
        end)
    ].

replaced(N, What, List) ->
    {Before, [_ | After]} = lists:split(N - 1, List),
    Before ++ [What | After].

%% In Python, at the place of the call; nothing is told.
what_is_no_event_is_an_exception_test_() ->
    pool([[pitcrew, done], [event], [dropped]], fun(Pool) ->
        [
            ?assertMatch({Args, {error, #{kind := tool_error, type := Type}}}, {Args, pitcrew:call(Pool, emit, Args)})
         || {Args, Type} <- [
                {[1], <<"TypeError">>},
                {[nil], <<"TypeError">>},
                {[<<>>], <<"ValueError">>},
                {[[]], <<"ValueError">>},
                {[<<"pitcrew..done">>], <<"ValueError">>},
                {[<<"pitcrew.do\nne">>], <<"ValueError">>},
                {[[pitcrew, 1]], <<"TypeError">>},
                {[lists:duplicate(17, done)], <<"ValueError">>},
                {[binary:copy(<<"x">>, 65)], <<"ValueError">>},
                {[<<"dropped">>], <<"ValueError">>},
                {[<<"event">>], <<"ValueError">>},
                {[<<"pitcrew.done">>, [1]], <<"TypeError">>},
                {[<<"pitcrew.done">>, #{1 => 1}], <<"TypeError">>},
                {[<<"pitcrew.done">>, #{count => <<"1">>}], <<"TypeError">>},
                {[<<"pitcrew.done">>, #{count => true}], <<"TypeError">>},
                {[<<"pitcrew.done">>, #{count => nan}], <<"ValueError">>},
                {[<<"pitcrew.done">>, #{monotonic_time => 1}], <<"ValueError">>},
                {[<<"pitcrew.done">>, nil, #{pool => 1}], <<"ValueError">>},
                {[<<"pitcrew.done">>, nil, #{text => binary:copy(<<"x">>, 16_384)}], <<"pitcrew.EncodeError">>}
            ]
        ],
        all_has_come(Pool)
    end).

%% ---- Calls

%% Whose event it is, where many calls run at once, in threads and on the loop, and where a batch or a stream does.
an_event_belongs_to_its_call_test_() ->
    [
        {lists:concat(["concurrency ", N]), pool(#{concurrency => N}, [[pitcrew, done]], fun(Pool) ->
            Async = [pitcrew:async(Pool, Tool, [<<"pitcrew.done">>]) || Tool <- [emit_twice, emit, emit_twice, emit, emit_twice]],
            _ = [pitcrew:await(A) || A <- Async],
            All = [{Tool, Id} || _ <- lists:seq(1, 8), {_, #{tool_id := Tool, call_id := Id}} <- [told([pitcrew, done])]],
            ?assertEqual(5, length(lists:usort(All))),
            ?assertEqual(3, length([Call || {<<"emit_twice">>, _} = Call <- lists:usort(All), length([C || C <- All, C =:= Call]) =:= 2])),
            [{ok, true}, {ok, true}] = pitcrew:batch(Pool, [{emit, [<<"pitcrew.done">>]}, {emit, [<<"pitcrew.done">>]}]),
            [?assertMatch({_, #{tool_id := <<"emit">>}}, told([pitcrew, done])) || _ <- [1, 2]],
            _ = chunks(pitcrew:stream(Pool, emit_each, [<<"pitcrew.done">>, 3])),
            [?assertMatch({#{count := I}, #{tool_id := <<"emit_each">>}}, told([pitcrew, done])) || I <- [0, 1, 2]],
            {ok, true} = pitcrew:call(Pool, emit, [<<"pitcrew.done">>], #{protocol => json}),
            ?assertMatch({_, #{tool_id := <<"emit">>}}, told([pitcrew, done])),
            %% A thread of the tool's own is in no call.
            {ok, nil} = pitcrew:call(Pool, emit_from_a_thread, [<<"pitcrew.done">>]),
            {_, Told} = told([pitcrew, done]),
            ?assertEqual([pool, slot, worker], lists:sort(maps:keys(Told)))
        end)}
     || N <- [1, 4]
    ].

%% ---- Spans

a_span_has_two_events_test_() ->
    pool([[pitcrew, done, What] || What <- [start, stop, exception]], fun(Pool) ->
        {ok, nil} = pitcrew:call(Pool, span, [<<"pitcrew.done">>, <<"well">>]),
        {#{monotonic_time := Begin}, #{text := <<"well">>, tool_id := <<"span">>}} = told([pitcrew, done, start]),
        {#{duration := Duration, monotonic_time := End} = Measured, Told} = told([pitcrew, done, stop]),
        ?assertEqual(2, maps:get(<<"count">>, Measured, maps:get(count, Measured, none))),
        ?assertMatch(#{text := <<"well">>, noted := true}, Told),
        %% It slept for a millisecond, in units of the VM's.
        ?assert(Duration >= erlang:convert_time_unit(1, millisecond, native)),
        %% Native units of both clocks: the events are as far apart as the block was long, within what the VM corrects.
        ?assert(End - Begin >= Duration div 2),
        {error, #{type := <<"KeyError">>}} = pitcrew:call(Pool, span, [<<"pitcrew.done">>, <<"raise">>]),
        {_, _} = told([pitcrew, done, start]),
        {#{duration := _}, Raised} = told([pitcrew, done, exception]),
        ?assertMatch(#{text := <<"raise">>, type := <<"KeyError">>, message := <<"'raise'">>}, Raised)
    end).

traced_functions_are_spans_and_tools_as_before_test_() ->
    [
        {lists:concat(["concurrency ", N]), pool(#{concurrency => N}, [[pitcrew, traced, What] || What <- [start, stop]], fun(Pool) ->
            ?assertEqual({ok, [1, true]}, pitcrew:call(Pool, traced, {[1], #{b => <<"bytes">>}})),
            spanned(<<"function">>),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, traced_coroutine, [1])),
            spanned(<<"coroutine">>),
            _ = chunks(pitcrew:stream(Pool, traced_generator, [3])),
            spanned(<<"generator">>),
            _ = chunks(pitcrew:stream(Pool, traced_async_generator, [3])),
            spanned(<<"async_generator">>),
            %% One that is not taken to its end has one, too.
            {ok, 0, Halted} = pitcrew:next(pitcrew:stream(Pool, traced_async_generator, [1_000_000], #{buffer => 2})),
            ok = pitcrew:stop(Halted),
            {_, _} = told([pitcrew, traced, start]),
            Tools = maps:from_list([{Name, {Doc, Kind}} || #{name := Name, doc := Doc, kind := Kind} <- pitcrew:tools(Pool)]),
            ?assertMatch(
                #{
                    <<"traced">> := {<<"What it has got.">>, <<"function">>},
                    <<"traced_coroutine">> := {_, <<"coroutine">>},
                    <<"traced_generator">> := {_, <<"generator">>},
                    <<"traced_async_generator">> := {_, <<"async_generator">>}
                },
                Tools
            )
        end)}
     || N <- [1, 4]
    ].

spanned(Kind) ->
    ?assertMatch({_, #{kind := Kind}}, told([pitcrew, traced, start])),
    ?assertMatch({#{duration := _}, #{kind := Kind}}, told([pitcrew, traced, stop])).

%% ---- Faults

%% Handlers are stuck, and everybody goes on. When they go on each event has come, or was counted.
a_flood_stops_nobody_and_is_counted_test_() ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        Self = self(),
        Handler = fun
            ([?P, pitcrew, flood], _, _, _) ->
                Self ! {arrived, self()},
                receive go_on -> ok end,
                Self ! one;
            ([?P, dropped], #{count := N}, #{worker := _, pool := pitcrew_test}, _) ->
                Self ! {dropped, N}
        end,
        ok = pitcrew_telemetry:attach_many(?MODULE, [[?P, pitcrew, flood], [?P, dropped]], Handler, none),
        try
            with_pool(#{size => 1, tools => ["event_tools"], heartbeat => 20}, fun(Pool) ->
                Count = 50_000,
                {ok, [Taken, _]} = pitcrew:call(Pool, flood, [Count], #{timeout => 50_000}),
                ?assert(Taken < Count),
                %% The worker's process hears it meanwhile.
                ok = until(fun() ->
                    case pitcrew:info(Pool) of
                        #{workers := [#{silent_ms := 0}]} -> ok;
                        Other -> Other
                    end
                end),
                ?assertEqual({Taken, Count - Taken}, counted(Count, {0, 0}))
            end)
        after
            ok = pitcrew_telemetry:detach(?MODULE)
        end
    end}.

counted(Count, {Arrived, Dropped}) when Arrived + Dropped =:= Count -> {Arrived, Dropped};
counted(Count, {Arrived, Dropped} = So) ->
    receive
        {arrived, Writer} -> Writer ! go_on, counted(Count, So);
        one -> counted(Count, {Arrived + 1, Dropped});
        {dropped, N} -> counted(Count, {Arrived, Dropped + N})
    after 20_000 -> error({missing, Count, So})
    end.

%% It has its own logs besides, and no VM.
a_forked_child_emits_nothing_test_() ->
    pool([[pitcrew, done]], fun(Pool) ->
        ?assertEqual({ok, 7}, pitcrew:call(Pool, emit_from_a_child, [<<"pitcrew.done">>])),
        all_has_come(Pool)
    end).

%% One that raises is detached, and the worker's events go on.
a_handler_that_raises_stops_nobody_test_() ->
    pool([[pitcrew, done]], fun(Pool) ->
        pitcrew_test:quietly(fun() ->
            ok = pitcrew_telemetry:attach(bad, [?P, pitcrew, done], fun(_, _, _, _) -> error(oops) end, none),
            {ok, true} = pitcrew:call(Pool, emit, [<<"pitcrew.done">>]),
            {_, _} = told([pitcrew, done]),
            ok = until(fun() -> case pitcrew_telemetry:detach(bad) of {error, not_found} -> ok; Still -> Still end end),
            all_has_come(Pool)
        end)
    end).
