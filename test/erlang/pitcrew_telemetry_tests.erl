%% Our own dispatcher has the interface and the rules of the library, which is not there in this build.
-module(pitcrew_telemetry_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).

-define(EVENT, [pitcrew_test, thing, stop]).

tell(Event, Measurements, Metadata, Pid) -> Pid ! {event, Event, Measurements, Metadata}.

own_test_() ->
    {setup, fun() -> {ok, Started} = application:ensure_all_started(pitcrew), Started end,
        fun(Started) -> [application:stop(App) || App <- lists:reverse(Started)] end, [
            fun attach_execute_detach/0,
            fun an_id_is_attached_once/0,
            fun several_events_and_their_list/0,
            fun a_handler_that_raises_is_detached/0,
            fun ids_may_be_any_term/0,
            fun an_event_is_a_list_of_atoms/0
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

ids_may_be_any_term() ->
    ok = pitcrew_telemetry:attach('_', ?EVENT, fun ?MODULE:tell/4, self()),
    ok = pitcrew_telemetry:attach('$1', ?EVENT, fun ?MODULE:tell/4, self()),
    ok = pitcrew_telemetry:detach('_'),
    ?assertMatch([#{id := '$1'}], pitcrew_telemetry:list_handlers(?EVENT)),
    ok = pitcrew_telemetry:detach('$1').

an_event_is_a_list_of_atoms() ->
    ?assertError(badarg, pitcrew_telemetry:attach(x, [<<"a">>], fun ?MODULE:tell/4, self())),
    ?assertError(badarg, pitcrew_telemetry:attach(x, [], fun ?MODULE:tell/4, self())),
    ?assertEqual({error, not_found}, pitcrew_telemetry:detach(x)).
