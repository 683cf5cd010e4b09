%% Looks at the pools once a second for the dashboard, keeps what it saw in the last minutes, and tells those who look, of whom there may be a few.
-module(pitcrew_dashboard_sampler).
-behaviour(gen_server).

-export([start_link/1, subscribe/1, latest/1]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(EVERY_MS, 1_000).
%% Five minutes.
-define(KEPT, 300).
-define(MOST_CLIENTS, 16).

-record(state, {
    pools :: all | [atom()],
    look :: pitcrew_dashboard_data:look(),
    view :: pitcrew_dashboard_data:view(),
    %% The latest first.
    history = #{} :: #{atom() => [map()]},
    clients = #{} :: #{reference() => pid()}
}).

-spec start_link(all | [atom()]) -> {ok, pid()} | {error, term()}.
start_link(Pools) -> gen_server:start_link(?MODULE, Pools, []).

%% @doc From now on the caller is sent `{pitcrew_dashboard, Json}' once a second, as long as it lives. What there was is returned.
-spec subscribe(pid()) -> {ok, binary()} | full.
subscribe(Sampler) ->
    case gen_server:call(Sampler, subscribe) of
        {ok, View, History} ->
            Points = maps:from_list([{Name, lists:reverse(Kept)} || {Name, Kept} <- maps:to_list(History)]),
            {ok, pitcrew_plain_json:line(View#{history => Points})};
        full ->
            full
    end.

%% @doc What was seen last, as JSON.
-spec latest(pid()) -> binary().
latest(Sampler) -> pitcrew_plain_json:line(gen_server:call(Sampler, latest)).

init(Pools) ->
    Look = pitcrew_dashboard_data:look(Pools),
    tick(),
    {ok, #state{pools = Pools, look = Look, view = pitcrew_dashboard_data:view(Look, Look)}}.

tick() ->
    _ = erlang:start_timer(?EVERY_MS, self(), look),
    ok.

handle_call(subscribe, _, #state{clients = Clients} = State) when map_size(Clients) >= ?MOST_CLIENTS ->
    {reply, full, State};
handle_call(subscribe, {Pid, _}, #state{clients = Clients, view = View, history = History} = State) ->
    {reply, {ok, View, History}, State#state{clients = Clients#{monitor(process, Pid) => Pid}}};
handle_call(latest, _, #state{view = View} = State) ->
    {reply, View, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({timeout, _, look}, #state{pools = Pools, look = Before, history = History, clients = Clients} = State) ->
    Look = pitcrew_dashboard_data:look(Pools),
    View = pitcrew_dashboard_data:view(Look, Before),
    ok = tell(maps:values(Clients), View),
    tick(),
    {noreply, State#state{look = Look, view = View, history = kept(View, History)}};
handle_info({'DOWN', Monitor, process, _, _}, #state{clients = Clients} = State) ->
    {noreply, State#state{clients = maps:remove(Monitor, Clients)}};
handle_info(_, State) ->
    {noreply, State}.

tell([], _) ->
    ok;
tell(Clients, View) ->
    %% One binary that all share.
    Text = pitcrew_plain_json:line(View),
    lists:foreach(fun(Client) -> Client ! {pitcrew_dashboard, Text} end, Clients).

%% A pool that is gone takes its history along.
kept(#{pools := Pools}, History) ->
    maps:from_list([{Name, lists:sublist([Point | maps:get(Name, History, [])], ?KEPT)} || #{name := Name, now := Point} <- Pools]).
