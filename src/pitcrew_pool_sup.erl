%% One pool: keeper, sessions, workers, server, and the cache if it has one, in this order, `rest_for_one'.
%%
%%   keeper dies    its port closes, which kills every process; workers and server start anew after it
%%   sessions die   their workers go too, since nobody knows any more who uses them; the sessions' own processes end by themselves
%%   workers die    the server's slots are empty: it starts anew with them, Python's zygote stays
%%   server dies    the workers watch it and go too; the new server forks fresh ones
%%   cache dies     it starts anew with what is in its tables, which are the supervisor's
%%
%% Deaths outside the VM (worker, zygote, guard, port) are the keeper's and the server's daily work and restart nothing here.
-module(pitcrew_pool_sup).
-behaviour(supervisor).

-export([start_link/1, server/1]).
-export([init/1]).

-spec start_link(pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_link(#{name := Name} = Options) -> supervisor:start_link({local, Name}, ?MODULE, Options).

-spec server(pid()) -> pid().
server(Sup) -> pitcrew_pools:member(Sup, server).

-spec init(pitcrew_options:pool()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(#{grace := Grace} = Options) ->
    Args = [self(), Options],
    Cache = pitcrew_cache_keeper:new(self(), Options),
    ok = pitcrew_pools:put_cache(self(), Cache),
    ok = pitcrew_pools:put_registry(self(), pitcrew_tools:new_table()),
    ok = pitcrew_pools:put_metrics(self(), pitcrew_metrics:new(Options)),
    Children = [
        #{id => keeper, start => {pitcrew_keeper, start_link, Args}, shutdown => Grace + 10_000},
        #{id => sessions, start => {pitcrew_sessions, start_link, Args}},
        #{id => workers, start => {pitcrew_worker_sup, start_link, Args}, type => supervisor},
        #{id => server, start => {pitcrew_pool_server, start_link, Args}, shutdown => 5_000}
        | pitcrew_cache_keeper:child_specs(Cache, Options)
    ],
    {ok, {#{strategy => rest_for_one, intensity => 3, period => 10}, Children}}.
