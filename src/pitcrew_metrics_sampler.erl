%% Looks at every pool once a second, so that there are rates: what was counted some time ago, and how many workers were busy since.
-module(pitcrew_metrics_sampler).
-behaviour(gen_server).

-export([start_link/0, since/1, load/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([load/0]).

-include_lib("kernel/include/logger.hrl").
-include("pitcrew_pool.hrl").

-define(EVERY_MS, 1_000).
%% So many are kept of each pool, and rates are over that time.
-define(KEPT, 10).

%% Calls that run, and how many could.
-type load() :: {Running :: non_neg_integer(), Room :: non_neg_integer()}.
-type sample() :: {At :: integer(), #{binary() => non_neg_integer()}, load()}.

%% The latest first. At the first look nothing is known of when a pool has begun to count.
-record(state, {samples = #{} :: #{pid() => [sample()]}, is_first = true :: boolean()}).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() -> gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

%% @doc When a pool was looked at, at most ten seconds ago, how many calls each of its tools had had then, and the loads that were seen since. Of a
%% pool that nobody has looked at yet it is its beginning.
-spec since(#pool{}) -> {At :: integer(), #{binary() => non_neg_integer()}, [load()]}.
since(#pool{sup = Sup, metrics = #metrics{since = Begin}}) ->
    try gen_server:call(?MODULE, {samples, Sup}) of
        [] ->
            {Begin, #{}, []};
        Samples ->
            {At, Calls, _} = lists:last(Samples),
            {At, Calls, [Load || {_, _, Load} <- Samples]}
    catch
        exit:_ -> {Begin, #{}, []}
    end.

init([]) ->
    tick(),
    {ok, #state{}}.

tick() -> _ = erlang:start_timer(?EVERY_MS, self(), look), ok.

handle_call({samples, Sup}, _, #state{samples = Samples} = State) -> {reply, maps:get(Sup, Samples, []), State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({timeout, _, look}, #state{samples = Before, is_first = IsFirst}) ->
    Pools = [Pool || #pool{metrics = #metrics{}} = Pool <- pitcrew_pools:all()],
    First = [{erlang:monotonic_time() - erlang:convert_time_unit(?EVERY_MS, millisecond, native), #{}, {0, 0}} || not IsFirst],
    Samples = maps:from_list([{Sup, lists:sublist(sample(Pool) ++ maps:get(Sup, Before, First), ?KEPT)} || #pool{sup = Sup} = Pool <- Pools]),
    tick(),
    {noreply, #state{samples = Samples, is_first = false}};
handle_info(_, State) ->
    {noreply, State}.

%% None, rather than that what only looks on takes part in the restarts of the application's supervisor.
sample(#pool{name = Name, metrics = Metrics} = Pool) ->
    try
        Calls = maps:from_list([{Tool, counters:get(Counts, ?CALLS)} || {Tool, {Counts, _, _}} <- pitcrew_metrics:rows(Metrics)]),
        [{erlang:monotonic_time(), Calls, load(Pool)}]
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR("pool ~tp cannot be looked at: ~tp:~tp~n~tp", [Name, Class, Reason, Stack]),
            []
    end.

%% @doc The load of a pool at this moment.
-spec load(#pool{}) -> load().
load(#pool{slots = Slots, dispatch = Dispatch, is_pipelined = IsPipelined, metrics = #metrics{width = Width}}) ->
    #{lanes := Lanes, out := Out, free := Free} = pitcrew_nif:dispatch_info(Dispatch),
    case IsPipelined of
        true ->
            %% What is out beyond that waits in its worker.
            {min(Out, Lanes * Width), Lanes * Width};
        false ->
            #{installed := Installed, free := FreeSlots} = pitcrew_nif:slots_info(Slots),
            {max(0, Installed - FreeSlots - Free), Installed}
    end.
