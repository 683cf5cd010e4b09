-module(pitcrew_reload_tests).
-include_lib("eunit/include/eunit.hrl").

up(Index, Crew) ->
    {Old, Ready} = pitcrew_crew:ready(Index, 1, 0, pitcrew_crew:started(Index, Crew)),
    {Old, Ready}.

crew(N) ->
    lists:foldl(fun(Index, C) -> {none, Next} = up(Index, C), Next end, pitcrew_crew:new(N, N), lists:seq(0, N - 1)).

%% Replaces as told until nothing is left to do; returns the replies.
roll(Crew, Reload) ->
    case pitcrew_reload:step(Crew, Reload) of
        {[{replace, Index} | _] = Replace, Next} ->
            ?assertEqual(1, length(Replace)),
            Replaced = pitcrew_crew:replace(Index, Crew),
            [New] = pitcrew_crew:empty(Replaced),
            {Index, Ready} = up(New, Replaced),
            {vacant, Gone} = pitcrew_crew:stopped(Index, {1, 1}, Ready),
            roll(Gone, Next);
        Over ->
            Over
    end.

workers_are_replaced_one_after_the_other_test() ->
    {[renew], R1} = pitcrew_reload:request(a, pitcrew_reload:new()),
    {[], R2} = pitcrew_reload:request(b, R1),
    R3 = pitcrew_reload:renewed(R2),
    ?assert(pitcrew_reload:is_rolling(R3)),
    %% Whoever came late has another import; the former zygote goes all the same.
    {Actions, R4} = roll(pitcrew_crew:renew(crew(3)), R3),
    ?assertEqual([{reply, a, ok}, renew, retire], Actions),
    ?assertNot(pitcrew_reload:is_rolling(R4)),
    {[{reply, b, ok}, retire], _} = roll(pitcrew_crew:renew(crew(3)), pitcrew_reload:renewed(R4)).

a_quarter_at_a_time_test() ->
    {[renew], R1} = pitcrew_reload:request(a, pitcrew_reload:new()),
    {Replaced, _} = pitcrew_reload:step(pitcrew_crew:renew(crew(8)), pitcrew_reload:renewed(R1)),
    ?assertEqual([{replace, 0}, {replace, 1}], Replaced).

an_import_that_fails_changes_nothing_test() ->
    Error = pitcrew_error:new(start_error, "no"),
    {[renew], R1} = pitcrew_reload:request(a, pitcrew_reload:new()),
    {[{reply, a, {error, Error}}], R2} = pitcrew_reload:not_renewed(Error, R1),
    {[], R3} = pitcrew_reload:step(crew(2), R2),
    ?assertNot(pitcrew_reload:is_rolling(R3)),
    {[], R3} = pitcrew_reload:start_failed(Error, R3).

a_start_that_fails_is_told_and_tried_again_test() ->
    Error = pitcrew_error:new(start_error, "no"),
    {[renew], R1} = pitcrew_reload:request(a, pitcrew_reload:new()),
    {[{reply, a, {error, Error}}], R2} = pitcrew_reload:start_failed(Error, pitcrew_reload:renewed(R1)),
    ?assert(pitcrew_reload:is_rolling(R2)),
    {[retire], _} = roll(pitcrew_crew:renew(crew(2)), R2).
