%% The rules of heartbeats and memory by themselves: no process, no time but what the test says.
-module(pitcrew_heart_tests).
-include_lib("eunit/include/eunit.hrl").

-define(MIB, 1048576).

heart(Options) -> pitcrew_heart:new(maps:merge(#{heartbeat => 1000, max_rss => infinity, gc_interval => infinity}, Options)).

as(State) -> fun() -> State end.
unasked() -> fun() -> error(looked) end.

%% A beat that must be a ping.
ping(Now, Heart) ->
    {{ping, Id, [Asks | _]}, _, Beaten} = pitcrew_heart:beat(Now, unasked(), Heart),
    {Id, Asks, Beaten}.

pong(Now, Id, Fields, Heart) -> pitcrew_heart:pong(Now, {Id, maps:merge(#{<<"started">> => 0, <<"in_c_ms">> => 0}, Fields)}, Heart).

vitals(Now, Heart) -> pitcrew_heart:vitals(Now, Heart).

a_worker_that_answers_is_asked_with_every_beat_test() ->
    ?assertEqual(1000, pitcrew_heart:every(heart(#{}))),
    {Id, 1, Asked} = ping(1000, heart(#{})),
    {[], Answered} = pong(1001, Id, #{}, Asked),
    {Next, 1, _} = ping(2000, Answered),
    ?assert(Next > Id).

there_may_be_no_beats_test() ->
    ?assertEqual(infinity, pitcrew_heart:every(heart(#{heartbeat => infinity}))),
    %% Memory is looked after all the same.
    ?assertEqual(1000, pitcrew_heart:every(heart(#{heartbeat => infinity, max_rss => ?MIB}))),
    ?assertEqual(1000, pitcrew_heart:every(heart(#{heartbeat => 60_000, max_rss => ?MIB}))),
    ?assertEqual(50, pitcrew_heart:every(heart(#{heartbeat => 50, max_rss => ?MIB}))).

a_stopped_worker_is_killed_at_the_second_look_test() ->
    {_, _, Asked} = ping(1000, heart(#{})),
    {wait, 100, Once} = pitcrew_heart:beat(2000, as(stopped), Asked),
    ?assertMatch({{kill, stopped}, _, _}, pitcrew_heart:beat(2100, as(stopped), Once)).

a_worker_that_was_stopped_for_a_moment_is_not_test() ->
    {Id, _, Asked} = ping(1000, heart(#{})),
    {wait, 100, Once} = pitcrew_heart:beat(2000, as(stopped), Asked),
    {wait, 1000, Going} = pitcrew_heart:beat(2100, as(alive), Once),
    {wait, 100, Again} = pitcrew_heart:beat(3100, as(stopped), Going),
    %% Its answer came before the second look.
    {[], Answered} = pong(3150, Id, #{}, Again),
    {_, _, _} = ping(3200, Answered).

silence_alone_has_a_minute_and_twenty_beats_test() ->
    Last = fun Last(Now, Every, Heart) ->
        case pitcrew_heart:beat(Now, as(alive), Heart) of
            {wait, Every, Waiting} -> Last(Now + Every, Every, Waiting);
            {{kill, silent}, _, _} -> Now
        end
    end,
    [
        begin
            {_, _, Asked} = ping(0, heart(#{heartbeat => Every})),
            ?assertEqual(Patience, Last(Every, Every, Asked))
        end
     || {Every, Patience} <- [{100, 60_000}, {1000, 60_000}, {10_000, 200_000}]
    ].

nobody_is_held_to_account_while_the_vm_was_asleep_test() ->
    {_, _, Asked} = ping(0, heart(#{})),
    Hour = 3_600_000,
    {wait, 1000, Woken} = pitcrew_heart:beat(Hour, as(alive), Asked),
    {wait, 1000, Later} = pitcrew_heart:beat(Hour + 1000, as(alive), Woken),
    ?assertMatch(#{silent_ms := 3000}, vitals(Hour + 1000, Later)).

what_cannot_be_looked_up_is_not_stopped_test() ->
    {_, _, Asked} = ping(0, heart(#{})),
    {wait, 1000, Once} = pitcrew_heart:beat(1000, as(unknown), Asked),
    ?assertMatch({wait, 1000, _}, pitcrew_heart:beat(2000, as(unknown), Once)).

silence_is_no_fault_without_heartbeats_test() ->
    {_, _, Asked} = ping(0, heart(#{heartbeat => infinity, max_rss => ?MIB})),
    ?assertMatch({wait, 1000, _}, pitcrew_heart:beat(3_600_000, unasked(), Asked)).

an_answer_to_an_earlier_ping_says_nothing_test() ->
    {Id, _, Asked} = ping(0, heart(#{})),
    ?assertEqual({[], Asked}, pong(1, Id - 1, #{}, Asked)),
    ?assertEqual({[], Asked}, pitcrew_heart:pong(1, {Id, #{<<"other">> => 1}}, Asked)).

what_a_worker_does_is_told_test() ->
    {First, _, A} = ping(1000, heart(#{})),
    {[], B} = pong(1000, First, #{<<"started">> => 7}, A),
    {Second, _, C} = ping(2000, B),
    {[], D} = pong(2001, Second, #{<<"started">> => 7, <<"in_c_ms">> => 1000}, C),
    ?assertEqual(#{rss => nil, silent_ms => 0, running_ms => 1001, in_c_ms => 1000}, vitals(2001, D)),
    {Third, _, E} = ping(3000, D),
    {[], F} = pong(3000, Third, #{<<"started">> => 8}, E),
    ?assertMatch(#{running_ms := 0, in_c_ms := 0}, vitals(3000, F)).

%% ---- Memory

memory_is_asked_for_with_each_beat_but_not_too_often_test() ->
    {A, 3, Asked} = ping(0, heart(#{heartbeat => 100, max_rss => 1000 * ?MIB})),
    {[], Light} = pong(0, A, weighs(50), Asked),
    ?assertMatch(#{rss := 50 * ?MIB}, vitals(0, Light)),
    {B, 3, Next} = ping(100, Light),
    {[], Heavy} = pong(100, B, weighs(500), Next),
    {C, 1, Between} = ping(200, Heavy),
    {[], Still} = pong(200, C, #{}, Between),
    {_, 3, _} = ping(600, Still).

weighs(Mib) -> #{<<"private">> => Mib * ?MIB, <<"trims">> => 0, <<"trimmed">> => 0}.
has_trimmed(Times, Mib) -> #{<<"trims">> => Times, <<"trimmed">> => Mib * ?MIB}.

%% A heart that has just learned that there is too much, and asks at once; until the worker has trimmed it asks again.
heavy() ->
    {A, 3, Asked} = ping(0, heart(#{max_rss => 10 * ?MIB})),
    {[beat_now], Heavy} = pong(1, A, weighs(50), Asked),
    {B, 5, Trimming} = ping(1, Heavy),
    {[], Not} = pong(2, B, has_trimmed(0, 0), Trimming),
    {C, 5, Again} = ping(1001, Not),
    {C, Again}.

too_much_is_trimmed_first_test() ->
    {Id, Trimming} = heavy(),
    {[{trimmed, Before, After}], Light} = pong(1002, Id, has_trimmed(1, 8), Trimming),
    ?assertEqual({50 * ?MIB, 8 * ?MIB}, {Before, After}),
    ?assertMatch(#{rss := After}, vitals(1002, Light)),
    %% And so it is the next time.
    {Next, 3, Asked} = ping(2001, Light),
    {[beat_now], Heavy} = pong(2001, Next, (weighs(50))#{<<"trims">> => 1}, Asked),
    {_, 5, _} = ping(2001, Heavy).

what_stays_too_much_is_told_once_test() ->
    {Id, Trimming} = heavy(),
    {[{trimmed, _, _}, {recycle, Rss}], Told} = pong(1002, Id, has_trimmed(1, 40), Trimming),
    ?assertEqual(40 * ?MIB, Rss),
    {Next, 3, Asked} = ping(2001, Told),
    {[], Quiet} = pong(2001, Next, (weighs(60))#{<<"trims">> => 1}, Asked),
    ?assertMatch(#{rss := 60 * ?MIB}, vitals(2001, Quiet)).

a_system_that_does_not_tell_is_said_once_test() ->
    {Id, 3, Asked} = ping(0, heart(#{max_rss => ?MIB})),
    {[cannot_measure], Unknown} = pong(0, Id, #{<<"trims">> => 0, <<"trimmed">> => 0}, Asked),
    ?assertMatch({_, 1, _}, ping(1000, Unknown)),
    ?assertMatch(#{rss := nil}, vitals(0, Unknown)).

the_limit_comes_with_the_wish_for_memory_test() ->
    {A, 3, First} = ping(0, heart(#{max_rss => 10 * ?MIB})),
    {[beat_now], More} = pong(1, A, weighs(50), First),
    ?assertMatch({{ping, _, [5, 10 * ?MIB]}, _, _}, pitcrew_heart:beat(1, unasked(), More)).

each_step_is_told_before_what_came_of_all_test() ->
    {Id, Trimming} = heavy(),
    Steps = [[<<"hooks">>, 50, 40, 7, nil], [<<"collect">>, 40, 30, 8, 5], [<<"trim">>, 30, 8 * ?MIB, 9, nil]],
    {News, _} = pong(1002, Id, (has_trimmed(1, 8))#{<<"steps">> => Steps}, Trimming),
    ?assertMatch(
        [
            {step, max_rss, hooks, #{before := 50, 'after' := 40}},
            {step, max_rss, collect, #{before := 40, 'after' := 30, objects := 5}},
            {step, max_rss, trim, #{before := 30}},
            {trimmed, _, _}
        ],
        News
    ),
    ?assertNot(maps:is_key(objects, element(4, hd(News)))).

%% ---- Garbage

garbage_is_collected_every_so_often_test() ->
    ?assertEqual(200, pitcrew_heart:every(heart(#{gc_interval => 200}))),
    {A, 1, Asked} = ping(0, heart(#{gc_interval => 2500})),
    {[], Idle} = pong(0, A, #{}, Asked),
    {B, 1, Early} = ping(2000, Idle),
    {[], Before} = pong(2000, B, #{}, Early),
    {C, 9, Due} = ping(3000, Before),
    %% It is asked until it has.
    {[], Not} = pong(3000, C, #{<<"collects">> => 0, <<"collected">> => nil}, Due),
    {D, 9, Again} = ping(4000, Not),
    Collect = [<<"collect">>, 9, 8, 7, 6],
    {News, Done} = pong(4000, D, #{<<"collects">> => 1, <<"collected">> => Collect}, Again),
    ?assertMatch([{step, gc_interval, collect, #{before := 9, 'after' := 8, objects := 6}}], News),
    {E, 1, Then} = ping(6000, Done),
    {[], Later} = pong(6000, E, #{}, Then),
    ?assertMatch({_, 9, _}, ping(6500, Later)).
