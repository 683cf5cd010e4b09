-module(pitcrew_crew_tests).
-include_lib("eunit/include/eunit.hrl").

a_slot_goes_through_its_states_test() ->
    C0 = pitcrew_crew:new(3, 3),
    ?assertEqual([0, 1, 2], pitcrew_crew:empty(C0)),
    C1 = pitcrew_crew:started(1, C0),
    ?assertEqual([0, 2], pitcrew_crew:empty(C1)),
    {none, C2} = pitcrew_crew:ready(1, 4711, 0, C1),
    ?assertEqual(1, pitcrew_crew:count(ready, C2)),
    ?assertEqual(
        [#{id => 0, state => empty, os_pid => nil}, #{id => 1, state => ready, os_pid => 4711}, #{id => 2, state => empty, os_pid => nil}],
        pitcrew_crew:list(C2)
    ),
    {restart, C3} = pitcrew_crew:stopped(1, {5, 10}, C2),
    ?assertEqual([0, 1, 2], pitcrew_crew:empty(C3)).

up(Index, Crew) ->
    {none, Ready} = pitcrew_crew:ready(Index, 1, 0, pitcrew_crew:started(Index, Crew)),
    Ready.

more_are_wanted_and_fewer_test() ->
    C0 = pitcrew_crew:new(0, 2),
    ?assertEqual([], pitcrew_crew:empty(C0)),
    C1 = up(1, up(0, pitcrew_crew:want(3, C0))),
    ?assertEqual(2, pitcrew_crew:wanted(C1)),
    ?assertEqual([0, 1], pitcrew_crew:idle(C1)),
    C2 = pitcrew_crew:leave(0, pitcrew_crew:want(1, C1)),
    ?assertEqual([1], pitcrew_crew:idle(C2)),
    ?assertEqual(1, pitcrew_crew:present(C2)),
    {vacant, C3} = pitcrew_crew:stopped(0, {5, 10}, C2),
    ?assertEqual([#{id => 1, state => ready, os_pid => 1}], pitcrew_crew:list(C3)),
    %% One that dies when it is one too many is not started again; otherwise it is.
    {vacant, C4} = pitcrew_crew:stopped(1, {5, 10}, pitcrew_crew:want(0, C3)),
    ?assertEqual([], pitcrew_crew:list(C4)),
    {restart, _} = pitcrew_crew:stopped(1, {5, 10}, C3).

one_is_replaced_before_it_leaves_test() ->
    C0 = up(1, up(0, pitcrew_crew:new(2, 2))),
    C1 = pitcrew_crew:replace(0, C0),
    ?assertEqual(none, pitcrew_crew:replace(0, C1)),
    ?assertEqual([2], pitcrew_crew:empty(C1)),
    ?assertEqual(2, pitcrew_crew:count(ready, C1)),
    {0, C2} = pitcrew_crew:ready(2, 3, 0, pitcrew_crew:started(2, C1)),
    ?assertEqual(2, pitcrew_crew:count(ready, C2)),
    ?assertEqual(1, pitcrew_crew:count(leaving, C2)),
    {vacant, C3} = pitcrew_crew:stopped(0, {5, 10}, C2),
    ?assertEqual([1, 2], pitcrew_crew:idle(C3)),
    %% All at once, the last slot too.
    Both = pitcrew_crew:replace(2, pitcrew_crew:replace(1, C3)),
    ?assertEqual([0, 3], pitcrew_crew:empty(Both)),
    ?assertEqual(none, pitcrew_crew:replace(1, Both)).

%% Workers may wear out faster than those before them leave.
one_that_finds_no_slot_for_its_successor_waits_for_one_test() ->
    C0 = pitcrew_crew:replace(1, pitcrew_crew:replace(0, up(1, up(0, pitcrew_crew:new(2, 2))))),
    {0, C1} = pitcrew_crew:ready(2, 3, 0, pitcrew_crew:started(2, C0)),
    {1, C2} = pitcrew_crew:ready(3, 4, 0, pitcrew_crew:started(3, C1)),
    C3 = pitcrew_crew:replace(2, pitcrew_crew:replace(3, C2)),
    ?assertEqual([], pitcrew_crew:empty(C3)),
    {vacant, C4} = pitcrew_crew:stopped(1, {5, 10}, C3),
    ?assertEqual([1], pitcrew_crew:empty(C4)),
    {2, C5} = pitcrew_crew:ready(1, 5, 0, pitcrew_crew:started(1, C4)),
    {vacant, C6} = pitcrew_crew:stopped(0, {5, 10}, C5),
    {3, C7} = pitcrew_crew:ready(0, 6, 0, pitcrew_crew:started(0, C6)),
    ?assertEqual([0, 1], pitcrew_crew:idle(C7)),
    %% One that has left has nobody to wait for.
    {vacant, C8} = pitcrew_crew:stopped(3, {5, 10}, C7),
    ?assertEqual([], pitcrew_crew:empty(C8)).

one_that_dies_before_its_successor_is_ready_is_not_started_again_test() ->
    C1 = pitcrew_crew:started(2, pitcrew_crew:replace(0, up(1, up(0, pitcrew_crew:new(2, 2))))),
    {vacant, C2} = pitcrew_crew:stopped(0, {5, 10}, C1),
    ?assertEqual(2, pitcrew_crew:present(C2)),
    {none, C3} = pitcrew_crew:ready(2, 3, 0, C2),
    ?assertEqual([1, 2], pitcrew_crew:idle(C3)).

%% Its successor's slot may be another worker's successor's by the time it has gone.
one_that_leaves_slowly_leaves_others_alone_test() ->
    C1 = pitcrew_crew:replace(0, up(1, up(0, pitcrew_crew:new(2, 2)))),
    {0, C2} = pitcrew_crew:ready(2, 3, 0, pitcrew_crew:started(2, C1)),
    {vacant, C3} = pitcrew_crew:stopped(2, {5, 10}, pitcrew_crew:leave(2, pitcrew_crew:want(1, C2))),
    C4 = pitcrew_crew:replace(1, C3),
    ?assertEqual([2], pitcrew_crew:empty(C4)),
    {vacant, C5} = pitcrew_crew:stopped(0, {5, 10}, C4),
    {1, C6} = pitcrew_crew:ready(2, 3, 0, pitcrew_crew:started(2, C5)),
    ?assertEqual([2], pitcrew_crew:idle(C6)).

all_leave_who_are_there_or_come_and_others_may_be_wanted_then_test() ->
    C0 = pitcrew_crew:started(3, pitcrew_crew:replace(1, up(1, up(0, pitcrew_crew:new(3, 3))))),
    C1 = pitcrew_crew:dismiss(C0),
    ?assertEqual([{0, leaving}, {1, leaving}, {3, starting}], [{Index, State} || #{id := Index, state := State} <- pitcrew_crew:list(C1)]),
    ?assertEqual({0, []}, {pitcrew_crew:wanted(C1), pitcrew_crew:empty(C1)}),
    {none, C2} = pitcrew_crew:ready(3, 4, 0, C1),
    C3 = pitcrew_crew:dismiss(C2),
    ?assertEqual(3, pitcrew_crew:count(leaving, C3)),
    {vacant, C4} = pitcrew_crew:stopped(3, {0, 10}, C3),
    ?assertEqual([2], pitcrew_crew:empty(pitcrew_crew:want(1, C4))),
    %% Whoever dies at its start is not started again.
    {vacant, C5} = pitcrew_crew:stopped(3, {0, 10}, C1),
    ?assertEqual([], pitcrew_crew:empty(C5)).

generations_test() ->
    C1 = pitcrew_crew:renew(up(1, up(0, pitcrew_crew:new(2, 2)))),
    ?assertEqual([{0, ready}, {1, ready}], pitcrew_crew:outdated(C1)),
    C2 = pitcrew_crew:started(2, pitcrew_crew:replace(0, C1)),
    ?assertEqual([{0, succeeded}, {1, ready}], pitcrew_crew:outdated(C2)),
    ?assertEqual({false, true}, {pitcrew_crew:is_current(0, C2), pitcrew_crew:is_current(2, C2)}),
    {0, C3} = pitcrew_crew:ready(2, 3, 0, C2),
    ?assertEqual([{1, ready}], pitcrew_crew:outdated(C3)),
    ?assert(pitcrew_crew:lingering(C3)),
    {vacant, C4} = pitcrew_crew:stopped(0, {5, 10}, C3),
    {restart, C5} = pitcrew_crew:stopped(1, {5, 10}, C4),
    ?assertEqual([], pitcrew_crew:outdated(C5)),
    ?assertNot(pitcrew_crew:lingering(C5)).

a_successor_that_fails_is_tried_again_and_the_old_one_stays_test() ->
    C1 = pitcrew_crew:started(1, pitcrew_crew:replace(0, up(0, pitcrew_crew:new(1, 1)))),
    {restart, C2} = pitcrew_crew:stopped(1, {0, 0}, C1),
    ?assertEqual(1, pitcrew_crew:failures(C2)),
    ?assertEqual(1, pitcrew_crew:count(ready, C2)),
    {0, C3} = pitcrew_crew:ready(1, 3, 0, pitcrew_crew:started(1, C2)),
    ?assertEqual(0, pitcrew_crew:failures(pitcrew_crew:settled(1, C3))).

dying_at_the_start_again_and_again_rests_longer_and_longer_test() ->
    Rest = fun Rest(Crew, 0) -> {[], Crew};
               Rest(Crew, N) ->
                   case pitcrew_crew:stopped(0, {0, 0}, pitcrew_crew:started(0, Crew)) of
                       {restart, Next} -> {Delays, Last} = Rest(Next, N - 1), {[0 | Delays], Last};
                       {{rest, Delay}, Next} ->
                           ?assertEqual([], pitcrew_crew:empty(Next)),
                           {Delays, Last} = Rest(pitcrew_crew:rested(0, Next), N - 1),
                           {[Delay | Delays], Last}
                   end
           end,
    {[0, Second | Delays], Crew} = Rest(pitcrew_crew:new(1, 1), 14),
    ?assert(Second >= 10 andalso Second =< 20),
    ?assert(lists:max(Delays) =< pitcrew_backoff:max()),
    ?assert(lists:last(Delays) >= pitcrew_backoff:max() div 2),
    ?assertEqual(14, pitcrew_crew:failures(Crew)),
    %% One that served a call ends the row, and so does one that lived.
    {restart, Served} = pitcrew_crew:stopped(0, {1, 1}, up(0, Crew)),
    {restart, _} = pitcrew_crew:stopped(0, {0, 0}, pitcrew_crew:started(0, Served)),
    {restart, _} = pitcrew_crew:stopped(0, {0, 60000}, up(0, Crew)).

delays_double_with_jitter_test() ->
    ?assertEqual([0, 0, 20, 40, 80, 160, 320, 640, 1000, 1000], [pitcrew_backoff:delay(N, 0.0) || N <- lists:seq(0, 9)]),
    ?assertEqual(500, pitcrew_backoff:delay(1000000, 1.0)).
