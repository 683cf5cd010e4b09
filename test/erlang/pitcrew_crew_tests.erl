-module(pitcrew_crew_tests).
-include_lib("eunit/include/eunit.hrl").

a_slot_goes_through_its_states_test() ->
    C0 = pitcrew_crew:new(3),
    ?assertEqual([0, 1, 2], pitcrew_crew:empty(C0)),
    C1 = pitcrew_crew:started(1, C0),
    ?assertEqual([0, 2], pitcrew_crew:empty(C1)),
    C2 = pitcrew_crew:ready(1, 4711, 0, C1),
    ?assertEqual(1, pitcrew_crew:count(ready, C2)),
    ?assertEqual(
        [#{id => 0, state => empty, os_pid => nil}, #{id => 1, state => ready, os_pid => 4711}, #{id => 2, state => empty, os_pid => nil}],
        pitcrew_crew:list(C2)
    ),
    {restart, C3} = pitcrew_crew:stopped(1, {5, 10}, C2),
    ?assertEqual([0, 1, 2], pitcrew_crew:empty(C3)).

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
    {[0, Second | Delays], Crew} = Rest(pitcrew_crew:new(1), 14),
    ?assert(Second >= 10 andalso Second =< 20),
    ?assert(lists:max(Delays) =< pitcrew_backoff:max()),
    ?assert(lists:last(Delays) >= pitcrew_backoff:max() div 2),
    %% One that served a call ends the row, and so does one that lived.
    {restart, Served} = pitcrew_crew:stopped(0, {1, 1}, pitcrew_crew:ready(0, 1, 0, pitcrew_crew:started(0, Crew))),
    {restart, _} = pitcrew_crew:stopped(0, {0, 0}, pitcrew_crew:started(0, Served)),
    {restart, _} = pitcrew_crew:stopped(0, {0, 60000}, pitcrew_crew:ready(0, 1, 0, pitcrew_crew:started(0, Crew))).

delays_double_with_jitter_test() ->
    ?assertEqual([0, 0, 20, 40, 80, 160, 320, 640, 1000, 1000], [pitcrew_backoff:delay(N, 0.0) || N <- lists:seq(0, 9)]),
    ?assertEqual(500, pitcrew_backoff:delay(1000000, 1.0)).
