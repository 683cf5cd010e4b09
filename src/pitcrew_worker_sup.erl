%% The workers' processes of one pool. They are temporary: the pool's server decides when a slot is filled again.
-module(pitcrew_worker_sup).
-behaviour(supervisor).

-export([start_link/2, start_worker/2]).
-export([init/1]).

-spec start_link(pid(), pitcrew_options:pool()) -> {ok, pid()} | {error, term()}.
start_link(Sup, Options) -> supervisor:start_link(?MODULE, {Sup, Options}).

-spec start_worker(pid(), pitcrew_worker:start()) -> {ok, pid()}.
start_worker(Workers, Start) ->
    {ok, _} = supervisor:start_child(Workers, [Start]).

-spec init({pid(), pitcrew_options:pool()}) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init({Sup, #{grace := Grace}}) ->
    ok = pitcrew_pools:join(Sup, workers),
    Worker = #{
        id => worker,
        start => {pitcrew_worker, start_link, []},
        restart => temporary,
        shutdown => Grace + 5_000
    },
    {ok, {#{strategy => simple_one_for_one}, [Worker]}}.
