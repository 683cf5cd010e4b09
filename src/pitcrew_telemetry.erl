%% @doc Events for metrics and logs: through the `telemetry' application when it is there, and through a
%% dispatcher of our own with the same interface and the same rules when it is not.
%%
%% ```
%% ok = pitcrew_telemetry:attach(<<"slow">>, [pitcrew, call, stop], fun my_metrics:handle/4, #{})
%% '''
%%
%% Handlers run in the process that emits the event. One that raises is detached, and a log line says so.
-module(pitcrew_telemetry).

-export([attach/4, attach_many/4, detach/1, list_handlers/1, execute/3, attach_default_logger/1]).
-export([choose/0, new_table/0, is_wanted/1]).
-export_type([event/0, handler_id/0, handler/0]).

-include_lib("kernel/include/logger.hrl").

-type event() :: [atom(), ...].
-type handler_id() :: term().
-type handler() :: fun((event(), map(), map(), Config :: term()) -> term()).

-define(TABLE, pitcrew_handlers).
%% Looked up with every event, so that atoms serve better than tuples.
-define(CHOICE, pitcrew_telemetry_dispatcher).
%% Where to look for handlers before an event is made. `nobody': the dispatcher is our own, and there are none. `anybody': that cannot be seen.
-define(LOOK, pitcrew_telemetry_look).

%% @private Once, when the application starts.
-spec choose() -> telemetry | own.
choose() ->
    Choice =
        case application:ensure_all_started(telemetry) of
            {ok, _} -> telemetry;
            {error, _} -> own
        end,
    persistent_term:put(?CHOICE, Choice),
    persistent_term:put(?LOOK, look(Choice)),
    Choice.

%% The library has no function for that, but one that it asks itself first.
look(own) ->
    nobody;
look(telemetry) ->
    _ = code:ensure_loaded(telemetry_handler_table),
    case erlang:function_exported(telemetry_handler_table, list_for_event, 1) of
        true -> library;
        false -> anybody
    end.

%% @private The table of our own handlers belongs to whoever calls this. Two sorts of rows: {{id, Id}, Events}, whose
%% insertion decides who attached first, and {Event, Id, Handler, Config}, in the order of attaching.
-spec new_table() -> ok.
new_table() ->
    ?TABLE = ets:new(?TABLE, [named_table, public, bag, {read_concurrency, true}]),
    ok.

%% @doc Attaches a handler to one event.
-spec attach(handler_id(), event(), handler(), term()) -> ok | {error, already_exists}.
attach(Id, Event, Handler, Config) -> attach_many(Id, [Event], Handler, Config).

%% @doc Attaches one handler to several events under one id.
-spec attach_many(handler_id(), [event()], handler(), term()) -> ok | {error, already_exists}.
attach_many(Id, Events, Handler, Config) when is_list(Events), is_function(Handler, 4) ->
    lists:foreach(fun check_event/1, Events),
    case chosen() of
        telemetry ->
            apply(telemetry, attach_many, [Id, Events, Handler, Config]);
        own ->
            case ets:insert_new(?TABLE, {{id, Id}, Events}) of
                true ->
                    true = ets:insert(?TABLE, [{Event, Id, Handler, Config} || Event <- Events]),
                    %% In this order: see hush/0.
                    persistent_term:put(?LOOK, own);
                false ->
                    {error, already_exists}
            end
    end.

%% @doc Detaches a handler from all its events.
-spec detach(handler_id()) -> ok | {error, not_found}.
detach(Id) ->
    case chosen() of
        telemetry ->
            apply(telemetry, detach, [Id]);
        own ->
            case ets:take(?TABLE, {id, Id}) of
                [{_, Events}] ->
                    %% A guard, because an id may hold atoms that mean something in a match pattern.
                    Match = fun(Event) -> [{{Event, '$1', '_', '_'}, [{'=:=', '$1', {const, Id}}], [true]}] end,
                    lists:foreach(fun(Event) -> ets:select_delete(?TABLE, Match(Event)) end, Events),
                    hush();
                [] ->
                    {error, not_found}
            end
    end.

%% When no handler is left, nobody makes events any more. One that is attached at the same time is found by the second look, or says so itself after
%% that.
hush() ->
    case ets:info(?TABLE, size) of
        0 ->
            ok = persistent_term:put(?LOOK, nobody),
            case ets:info(?TABLE, size) of
                0 -> ok;
                _ -> persistent_term:put(?LOOK, own)
            end;
        _ ->
            ok
    end.

%% @doc The handlers of every event that begins with the prefix.
-spec list_handlers([atom()]) -> [#{id := handler_id(), event_name := event(), function := handler(), config := term()}].
list_handlers(Prefix) when is_list(Prefix) ->
    case chosen() of
        telemetry ->
            apply(telemetry, list_handlers, [Prefix]);
        own ->
            [
                #{id => Id, event_name => Event, function => Handler, config => Config}
             || {Event, Id, Handler, Config} <- ets:tab2list(?TABLE), lists:prefix(Prefix, Event)
            ]
    end.

%% @doc Logs calls that are slow and calls that fail: what {@link pitcrew_telemetry_log} says.
-spec attach_default_logger(pitcrew_telemetry_log:options()) -> ok | {error, already_exists | pitcrew_error:t()}.
attach_default_logger(Options) -> pitcrew_telemetry_log:attach(Options).

%% @private Whether there is anybody to emit an event to. Otherwise it need not be made.
-spec is_wanted(event()) -> boolean().
is_wanted(Event) ->
    case persistent_term:get(?LOOK, nobody) of
        nobody -> false;
        own -> ets:member(?TABLE, Event);
        library -> apply(telemetry_handler_table, list_for_event, [Event]) =/= [];
        anybody -> true
    end.

%% @doc Emits an event. Never raises, whatever a handler does.
-spec execute(event(), map(), map()) -> ok.
execute(Event, Measurements, Metadata) ->
    case chosen() of
        telemetry -> apply(telemetry, execute, [Event, Measurements, Metadata]);
        own -> lists:foreach(fun(Row) -> run(Row, Measurements, Metadata) end, ets:lookup(?TABLE, Event))
    end.

run({Event, Id, Handler, Config}, Measurements, Metadata) ->
    try
        Handler(Event, Measurements, Metadata, Config)
    catch
        Class:Reason:Stack ->
            _ = detach(Id),
            ?LOG_ERROR(
                "handler ~tp has failed and has been detached. Class=~tp~nReason=~tp~nStacktrace=~tp~n",
                [Id, Class, Reason, Stack]
            ),
            Failure = #{
                event_name => Event,
                handler_id => Id,
                handler_config => Config,
                kind => Class,
                reason => Reason,
                stacktrace => Stack
            },
            Times = #{monotonic_time => erlang:monotonic_time(), system_time => erlang:system_time()},
            execute([telemetry, handler, failure], Times, Failure)
    end.

chosen() -> persistent_term:get(?CHOICE).

check_event([_ | _] = Event) ->
    case lists:all(fun is_atom/1, Event) of
        true -> ok;
        false -> erlang:error(badarg, [Event])
    end;
check_event(Event) ->
    erlang:error(badarg, [Event]).
