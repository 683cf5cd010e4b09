%% Our own dispatcher has the interface and the rules of the library, which is not there in this build. With `make test-optional' it is the library that is
%% tested.
-module(pitcrew_telemetry_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4, log/2]).

-define(EVENT, [pitcrew_test, thing, stop]).

tell(Event, Measurements, Metadata, Pid) -> Pid ! {event, Event, Measurements, Metadata}.

own_test_() ->
    {setup, fun() -> {ok, Started} = application:ensure_all_started(pitcrew), Started end,
        fun(Started) -> [application:stop(App) || App <- lists:reverse(Started)] end, [
            fun attach_execute_detach/0,
            fun an_id_is_attached_once/0,
            fun several_events_and_their_list/0,
            fun a_handler_that_raises_is_detached/0,
            fun an_event_is_a_list_of_atoms/0,
            fun nobody_makes_events_that_nobody_wants/0,
            fun options_of_the_default_logger/0,
            fun slow_calls_and_such_as_fail_are_logged/0
            %% What an id means in a match pattern confuses telemetry 1.3.0.
            | [fun ids_may_be_any_term/0 || code:which(telemetry) =:= non_existing]
        ]}.

received() ->
    receive
        {event, _, _, _} = Event -> Event
    after 0 -> none
    end.

attach_execute_detach() ->
    ok = pitcrew_telemetry:attach(<<"a">>, ?EVENT, fun ?MODULE:tell/4, self()),
    ok = pitcrew_telemetry:execute(?EVENT, #{n => 1}, #{who => me}),
    ?assertEqual({event, ?EVENT, #{n => 1}, #{who => me}}, received()),
    ok = pitcrew_telemetry:execute([pitcrew_test, thing], #{}, #{}),
    ?assertEqual(none, received()),
    ok = pitcrew_telemetry:detach(<<"a">>),
    ok = pitcrew_telemetry:execute(?EVENT, #{n => 2}, #{}),
    ?assertEqual(none, received()),
    ?assertEqual({error, not_found}, pitcrew_telemetry:detach(<<"a">>)).

an_id_is_attached_once() ->
    ok = pitcrew_telemetry:attach(one, ?EVENT, fun ?MODULE:tell/4, self()),
    ?assertEqual({error, already_exists}, pitcrew_telemetry:attach(one, [pitcrew_test, other], fun ?MODULE:tell/4, self())),
    ok = pitcrew_telemetry:detach(one).

several_events_and_their_list() ->
    Other = [pitcrew_test, thing, start],
    ok = pitcrew_telemetry:attach_many(many, [?EVENT, Other], fun ?MODULE:tell/4, self()),
    Listed = pitcrew_telemetry:list_handlers([pitcrew_test, thing]),
    ?assertEqual([Other, ?EVENT], lists:sort([Event || #{id := many, event_name := Event} <- Listed])),
    ?assertMatch([#{function := _, config := _}], pitcrew_telemetry:list_handlers(Other)),
    ok = pitcrew_telemetry:detach(many),
    ?assertEqual([], pitcrew_telemetry:list_handlers([pitcrew_test])).

a_handler_that_raises_is_detached() ->
    Self = self(),
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    ok = pitcrew_telemetry:attach(bad, ?EVENT, fun(_, _, _, _) -> throw(oops) end, none),
    ok = pitcrew_telemetry:attach(good, ?EVENT, fun ?MODULE:tell/4, Self),
    ok = pitcrew_telemetry:attach(watch, [telemetry, handler, failure], fun ?MODULE:tell/4, Self),
    ok = pitcrew_telemetry:execute(?EVENT, #{}, #{}),
    ok = logger:set_primary_config(level, Level),
    ?assertMatch({event, [telemetry, handler, failure], _, #{handler_id := bad, kind := throw, reason := oops}}, received()),
    ?assertMatch({event, ?EVENT, _, _}, received()),
    ?assertEqual({error, not_found}, pitcrew_telemetry:detach(bad)),
    [ok = pitcrew_telemetry:detach(Id) || Id <- [good, watch]].

%% The library takes these for patterns.
ids_may_be_any_term() ->
    whereis(telemetry_handler_table) =:= undefined andalso ids_are_no_patterns().

ids_are_no_patterns() ->
    ok = pitcrew_telemetry:attach('_', ?EVENT, fun ?MODULE:tell/4, self()),
    ok = pitcrew_telemetry:attach('$1', ?EVENT, fun ?MODULE:tell/4, self()),
    ok = pitcrew_telemetry:detach('_'),
    ?assertMatch([#{id := '$1'}], pitcrew_telemetry:list_handlers(?EVENT)),
    ok = pitcrew_telemetry:detach('$1').

an_event_is_a_list_of_atoms() ->
    ?assertError(badarg, pitcrew_telemetry:attach(x, [<<"a">>], fun ?MODULE:tell/4, self())),
    ?assertError(badarg, pitcrew_telemetry:attach(x, [], fun ?MODULE:tell/4, self())),
    ?assertEqual({error, not_found}, pitcrew_telemetry:detach(x)).

nobody_makes_events_that_nobody_wants() ->
    Other = [pitcrew_test, thing, start],
    ?assertNot(pitcrew_telemetry:is_wanted(?EVENT)),
    [ok = pitcrew_telemetry:attach(Id, Event, fun ?MODULE:tell/4, self()) || {Id, Event} <- [{one, ?EVENT}, {two, ?EVENT}, {three, Other}]],
    ok = pitcrew_telemetry:detach(one),
    ?assert(pitcrew_telemetry:is_wanted(?EVENT)),
    ok = pitcrew_telemetry:detach(two),
    ?assertNot(pitcrew_telemetry:is_wanted(?EVENT)),
    ?assert(pitcrew_telemetry:is_wanted(Other)),
    ok = pitcrew_telemetry:detach(three),
    ?assertNot(pitcrew_telemetry:is_wanted(Other)).

options_of_the_default_logger() ->
    ?assertMatch({error, #{kind := invalid_option}}, pitcrew_telemetry:attach_default_logger(#{slow => -1})),
    ok = pitcrew_telemetry:attach_default_logger([]),
    ?assertEqual({error, already_exists}, pitcrew_telemetry:attach_default_logger(#{slow => 1})),
    ok = pitcrew_telemetry:attach_default_logger(#{prefix => [other]}),
    [ok = pitcrew_telemetry_log:detach(Prefix) || Prefix <- [[pitcrew], [other]]],
    ?assertEqual({error, not_found}, pitcrew_telemetry_log:detach([other])).

slow_calls_and_such_as_fail_are_logged() ->
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => self()}),
    ok = logger:set_handler_config(default, level, none),
    try
        ?assertMatch([], lines([], stop, 999)),
        ?assertMatch([{warning, "slow call of add in pool py: 1000.0 ms (queue 1.0, encode 2.0, transport 994.0, python 3.0, decode 0.5)"}], lines([], stop, 1000)),
        ?assertMatch([{warning, _}], lines([{slow, 999}], stop, 999)),
        ?assertMatch([], lines([{slow, infinity}], stop, 100_000)),
        ?assertMatch([{error, "call of add in pool py failed after 5.0 ms: " ++ _}], lines([{level, error}], exception, 5)),
        ?assertMatch([], lines([{errors, false}], exception, 5)),
        ?assertMatch([{warning, "slow call of " ++ _}], lines([{errors, false}], exception, 1000))
    after
        ok = logger:set_handler_config(default, level, all),
        ok = logger:remove_handler(?MODULE)
    end.

log(#{level := Level, msg := {Format, Args}}, #{config := Pid}) -> Pid ! {line, Level, lists:flatten(io_lib:format(Format, Args))};
log(_, _) -> ok.

%% What is logged when a call has taken so many milliseconds.
lines(Options, What, Ms) ->
    ok = pitcrew_telemetry:attach_default_logger(Options),
    Parts = [{duration, Ms}, {queue, 1}, {encode, 2}, {transport, 994}, {python, 3}, {decode, 0.5}],
    Measured = maps:from_list([{Part, erlang:convert_time_unit(round(1000 * Of), microsecond, native)} || {Part, Of} <- Parts]),
    Error = pitcrew_error:new(timeout, "it took too long"),
    ok = pitcrew_telemetry:execute([pitcrew, call, What], Measured, #{tool_id => <<"add">>, pool => py, error => Error}),
    ok = pitcrew_telemetry_log:detach([pitcrew]),
    {messages, Messages} = process_info(self(), messages),
    [receive {line, Level, Text} -> {Level, Text} end || {line, _, _} <- Messages].
