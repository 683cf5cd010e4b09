%% The application: one supervisor that owns the tables; pools live in the trees of those who start them.
-module(pitcrew_app).
-behaviour(application).

-export([start/2, stop/1, version/0]).

-spec start(application:start_type(), term()) -> {ok, pid()} | {error, term()}.
start(_Type, _Args) ->
    _ = pitcrew_telemetry:choose(),
    ok = pitcrew_emitted:init(),
    pitcrew_sup:start_link().

%% @doc Whether it is started or not.
-spec version() -> binary().
version() ->
    _ = application:load(pitcrew),
    {ok, Version} = application:get_key(pitcrew, vsn),
    list_to_binary(Version).

-spec stop(term()) -> ok.
stop(_State) -> ok.
