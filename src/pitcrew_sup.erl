%% The application's supervisor. It has no children: it owns the two tables that must outlive every pool and every
%% caller, the pools that callers look up and the telemetry handlers of our own dispatcher.
-module(pitcrew_sup).
-behaviour(supervisor).

-export([start_link/0]).
-export([init/1]).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    ok = pitcrew_pools:new_table(),
    ok = pitcrew_telemetry:new_table(),
    {ok, {#{strategy => one_for_one}, []}}.
