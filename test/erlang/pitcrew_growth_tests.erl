-module(pitcrew_growth_tests).
-include_lib("eunit/include/eunit.hrl").

options(More) -> maps:merge(#{size => 2, max_overflow => 3, lazy => false, pipeline => 1, concurrency => 1, idle_timeout => 1000}, More).

load(More) -> maps:merge(#{queued => 0, waited_ns => 0, free => 0, lanes => 2, out => 2}, More).

crew(Ready, Coming, Options) ->
    Crew = pitcrew_crew:want(Ready + Coming, pitcrew_crew:new(pitcrew_growth:least(Options), pitcrew_growth:most(Options))),
    lists:foldl(
        fun(Index, C) ->
            {none, Next} = pitcrew_crew:ready(Index, 1, 0, pitcrew_crew:started(Index, C)),
            Next
        end,
        Crew,
        lists:seq(0, Ready - 1)
    ).

grow(Load, Ready, Coming, More) ->
    Options = options(More),
    pitcrew_growth:grow(load(Load), crew(Ready, Coming, Options), Options).

the_least_and_the_most_test() ->
    ?assertEqual({2, 5}, {pitcrew_growth:least(options(#{})), pitcrew_growth:most(options(#{}))}),
    ?assertEqual({0, 5}, {pitcrew_growth:least(options(#{lazy => true})), pitcrew_growth:most(options(#{}))}).

calls_that_have_waited_bring_workers_test() ->
    Long = 5_000_000,
    ?assertEqual(enough, grow(#{}, 2, 0, #{})),
    ?assertEqual(wait, grow(#{queued => 1, waited_ns => 1000}, 2, 0, #{})),
    ?assertEqual({grow, 1}, grow(#{queued => 1, waited_ns => Long}, 2, 0, #{})),
    ?assertEqual({grow, 3}, grow(#{queued => 9, waited_ns => Long}, 2, 0, #{})),
    %% Those that are on their way are counted.
    ?assertEqual({grow, 1}, grow(#{queued => 2, waited_ns => Long}, 2, 1, #{})),
    ?assertEqual(enough, grow(#{queued => 1, waited_ns => Long}, 2, 1, #{})),
    ?assertEqual(enough, grow(#{queued => 9, waited_ns => Long}, 5, 0, #{})),
    %% Without any worker nobody needs to have waited.
    ?assertEqual({grow, 2}, grow(#{queued => 2, waited_ns => 1}, 0, 0, #{lazy => true})).

pipelined_workers_hold_calls_that_wait_test() ->
    %% Two run in each worker.
    Wide = #{pipeline => 16, concurrency => 2},
    ?assertEqual(enough, grow(#{free => 0, lanes => 2, out => 4}, 2, 0, Wide)),
    ?assertEqual({grow, 1}, grow(#{free => 0, lanes => 2, out => 5}, 2, 0, Wide)),
    Deep = #{pipeline => 16},
    ?assertEqual({grow, 1}, grow(#{out => 3}, 2, 0, Deep)),
    ?assertEqual(enough, grow(#{out => 2}, 2, 0, Deep)),
    ?assertEqual(enough, grow(#{out => 3, free => 1}, 2, 0, Deep)),
    ?assertEqual({grow, 2}, grow(#{out => 32, queued => 17, waited_ns => 5_000_000}, 2, 0, Deep)).

idle_workers_leave_the_longest_idle_first_test() ->
    Options = options(#{}),
    Crew = crew(4, 0, Options),
    Look = fun(Uses, Now, Before) -> pitcrew_growth:shrink(lists:enumerate(0, Uses), Now, Before, Crew, Options) end,
    {[], I0} = Look([{1, idle}, {1, idle}, {1, idle}, {1, busy}], 0, pitcrew_growth:nobody()),
    {[], I1} = Look([{1, idle}, {2, idle}, {1, idle}, {1, busy}], 500, I0),
    {[0, 2], I2} = Look([{1, idle}, {2, idle}, {1, idle}, {1, busy}], 1000, I1),
    %% Two are too many, not three.
    {[0, 2], _} = Look([{1, idle}, {2, idle}, {1, idle}, {1, idle}], 1999, I2),
    %% One that was used meanwhile begins anew.
    {[2], _} = Look([{9, idle}, {3, idle}, {1, idle}, {1, idle}], 1999, I2).

nobody_leaves_who_is_wanted_test() ->
    Options = options(#{}),
    {Nobody, _} = pitcrew_growth:shrink([{0, {0, idle}}, {1, {0, idle}}], 9999, pitcrew_growth:nobody(), crew(2, 0, Options), Options),
    ?assertEqual([], Nobody).
