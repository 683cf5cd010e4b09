%% The application's supervisor. It owns the tables that must outlive every pool and every caller, the pools that callers
%% look up, the telemetry handlers of our own dispatcher, and tools of the VM for all pools; and under it are the pools that nobody else supervises.
-module(pitcrew_sup).
-behaviour(supervisor).

-export([start_link/0, start_pool/1, end_pool/1]).
-export([init/1]).

-define(POOLS, pitcrew_pools_sup).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> supervisor:start_link({local, ?MODULE}, ?MODULE, application).

%% @doc Starts a pool's supervisor; whoever calls waits for the pool itself.
-spec start_pool(pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_pool(Options) -> supervisor:start_child(?POOLS, [Options]).

-spec end_pool(pid()) -> ok.
end_pool(Pool) ->
    _ = supervisor:terminate_child(?POOLS, Pool),
    ok.

-spec init(application | pools) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(application) ->
    ok = pitcrew_pools:new_table(),
    ok = pitcrew_telemetry:new_table(),
    ok = pitcrew_tools:new_named_table(),
    Pools = #{
        id => pools,
        start => {supervisor, start_link, [{local, ?POOLS}, ?MODULE, pools]},
        type => supervisor,
        shutdown => infinity
    },
    Functions = #{id => functions, start => {pitcrew_functions, start_supervisor, []}, type => supervisor, shutdown => infinity},
    Sampler = #{id => sampler, start => {pitcrew_metrics_sampler, start_link, []}},
    {ok, {#{strategy => one_for_one}, [Functions, Pools, Sampler]}};
init(pools) ->
    Pool = #{
        id => pool,
        start => {pitcrew_pool_sup, start_link, []},
        %% Whoever stops a pool ends its supervisor normally.
        restart => transient,
        type => supervisor,
        shutdown => infinity
    },
    {ok, {#{strategy => simple_one_for_one, intensity => 10, period => 10}, [Pool]}}.
