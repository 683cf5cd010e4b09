%% Keeps a pool's cache within its limits: hears of each result that callers have put into the table, and takes out what has to go. Callers that find
%% their result never meet it. The tables are the pool's supervisor's, so nothing is lost when this process starts anew.
-module(pitcrew_cache_keeper).
-behaviour(gen_server).

-export([new/2, child_specs/2, start_link/1, stored/4, dropped/3, clear/1, clear_soon/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-include("pitcrew_cache.hrl").

-record(state, {cache :: #cache{}, policy :: pitcrew_cache_policy:policy()}).

%% How often it looks for what has expired, and for what the dead have left behind, in milliseconds.
-define(LEAST_SWEEP, 1_000).
-define(MOST_SWEEP, 30_000).
%% Rows at a time.
-define(CHUNK, 500).

%% ---- The tables, and this process

%% @doc The cache of a pool, or none; whoever calls this owns its tables.
-spec new(pid(), pitcrew_options:pool()) -> #cache{} | none.
new(_, #{cache := none}) ->
    none;
new(Sup, #{cache := Cache, name := Name, telemetry_prefix := Prefix} = Options) ->
    #{backend := Backend, max_entries := Entries, max_bytes := Bytes, ttl := Ttl} = Cache,
    Module = pitcrew_cache_backend:module(Backend),
    {HashKey, Handle} = Module:init(Options),
    #cache{
        sup = Sup,
        pool = Name,
        table = ets:new(pitcrew_cache, [set, public, {read_concurrency, true}, {write_concurrency, true}]),
        waiters = ets:new(pitcrew_cache_waiters, [bag, public, {write_concurrency, true}]),
        key = HashKey,
        backend = Module,
        handle = Handle,
        max_entries = Entries,
        max_bytes = Bytes,
        ttl = Ttl,
        size = atomics:new(1, []),
        counts = counters:new(?COUNTS, [write_concurrency]),
        events = {Prefix ++ [cache, hit], Prefix ++ [cache, miss], Prefix ++ [cache, evict]}
    }.

-spec child_specs(#cache{} | none, pitcrew_options:pool()) -> [supervisor:child_spec()].
child_specs(none, _) -> [];
child_specs(#cache{sup = Sup, backend = Backend} = Cache, Options) ->
    %% Not with the cache itself, which reports of its end would show.
    Keeper = #{id => cache, start => {?MODULE, start_link, [Sup]}},
    [Keeper | Backend:child_spec(Cache, Options)].

-spec start_link(pid()) -> {ok, pid()} | {error, term()}.
start_link(Sup) -> gen_server:start_link(?MODULE, Sup, []).

%% ---- For callers

%% @doc There is a new row. Nobody waits for anybody.
-spec stored(#cache{}, binary(), integer(), pos_integer()) -> ok.
stored(Cache, Key, Stamp, Bytes) -> tell(Cache, {stored, Key, Stamp, Bytes}).

%% @doc A row is gone, or has become another.
-spec dropped(#cache{}, binary(), integer()) -> ok.
dropped(Cache, Key, Stamp) -> tell(Cache, {dropped, Key, Stamp}).

%% A row that nobody hears of while this process starts anew is there for it to find.
tell(#cache{sup = Sup}, News) ->
    try pitcrew_pools:member(Sup, cache) of
        Pid ->
            Pid ! {?MODULE, News},
            ok
    catch
        error:badarg -> ok
    end.

%% @doc Takes out everything; what runs now will not be kept.
-spec clear(#cache{}) -> ok | {error, pitcrew_error:t()}.
clear(#cache{sup = Sup}) ->
    try
        gen_server:call(pitcrew_pools:member(Sup, cache), clear, infinity)
    catch
        _:_ -> {error, pitcrew_error:new(pool_down, "the pool went down")}
    end.

%% @doc The same, for those who wait for nobody.
-spec clear_soon(#cache{} | none) -> ok.
clear_soon(none) -> ok;
clear_soon(Cache) -> tell(Cache, clear).

%% ---- The process

-spec init(pid()) -> {ok, #state{}, {continue, look}}.
init(Sup) ->
    Cache = pitcrew_pools:cache(Sup),
    %% First, so that whatever is not heard of from now on is in the table already.
    ok = pitcrew_pools:join(Sup, cache),
    ok = sweep_later(Cache),
    {ok, emptied(Cache), {continue, look}}.

handle_continue(look, State) -> {noreply, make_room(sweep(State))}.

handle_call(clear, _, State) ->
    {Outcome, Emptied} = empty(State),
    {reply, Outcome, Emptied};
handle_call(_, _, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({?MODULE, {stored, Key, Stamp, Bytes}}, State) ->
    {noreply, make_room(learn({Key, Stamp, Bytes}, State))};
handle_info({?MODULE, {dropped, Key, Stamp}}, #state{policy = Policy} = State) ->
    {noreply, tally(State#state{policy = pitcrew_cache_policy:forget(Key, Stamp, Policy)})};
handle_info({?MODULE, clear}, State) ->
    {_, Emptied} = empty(State),
    {noreply, Emptied};
handle_info({timeout, _, sweep}, #state{cache = Cache} = State) ->
    ok = sweep_later(Cache),
    {noreply, make_room(sweep(State))};
handle_info(_, State) ->
    {noreply, State}.

%% With the calls that run, so that their results are not kept.
empty(#state{cache = #cache{table = Table, size = Size, backend = Backend} = Cache}) ->
    true = ets:delete_all_objects(Table),
    ok = atomics:put(Size, 1, 0),
    {Backend:clear(Cache), emptied(Cache)}.

emptied(#cache{max_entries = Entries, max_bytes = Bytes} = Cache) ->
    #state{cache = Cache, policy = pitcrew_cache_policy:new(Entries, Bytes)}.

learn({Key, Stamp, Bytes}, #state{policy = Policy} = State) ->
    State#state{policy = pitcrew_cache_policy:insert(Key, Stamp, Bytes, Policy)}.

%% What callers have added and have not been heard of yet is missing here, for as long as their message takes.
tally(#state{cache = #cache{size = Size}, policy = Policy} = State) ->
    ok = atomics:put(Size, 1, pitcrew_cache_policy:bytes(Policy)),
    State.

make_room(#state{cache = #cache{table = Table} = Cache, policy = Policy} = State) ->
    {Gone, Fewer} = pitcrew_cache_policy:evict(fun(Key, Stamp, How) -> uses(Table, Key, Stamp, How) end, Policy),
    ok = evicted(Cache, ?EVICTED, full, [take(Table, Entry) || Entry <- Gone]),
    tally(State#state{policy = Fewer}).

uses(Table, Key, Stamp, How) ->
    try
        Stamp = ets:lookup_element(Table, Key, 5),
        Uses = ets:lookup_element(Table, Key, 3),
        _ = ets:update_counter(Table, Key, {3, lowered(How), 0, 0}),
        Uses
    catch
        error:_ -> gone
    end.

lowered(clear) -> -4;
lowered(spend) -> -1.

%% Bytes of the row, if it is still that one.
take(Table, {Key, Stamp}) ->
    try ets:lookup_element(Table, Key, 6) of
        Bytes ->
            case ets:select_delete(Table, [{{Key, '_', '_', '_', Stamp, '_'}, [], [true]}]) of
                1 -> Bytes;
                0 -> gone
            end
    catch
        error:badarg -> gone
    end.

evicted(#cache{counts = Counts, pool = Pool, events = {_, _, Event}}, Count, Reason, Taken) ->
    case [Bytes || Bytes <- Taken, Bytes =/= gone] of
        [] ->
            ok;
        Gone ->
            ok = counters:add(Counts, Count, length(Gone)),
            case pitcrew_telemetry:is_quiet() of
                true -> ok;
                false -> pitcrew_telemetry:execute(Event, #{entries => length(Gone), bytes => lists:sum(Gone)}, #{pool => Pool, reason => Reason})
            end
    end.

%% ---- What nobody tells

sweep_later(#cache{ttl = Ttl}) ->
    _ = erlang:start_timer(max(?LEAST_SWEEP, min(Ttl, ?MOST_SWEEP)), self(), sweep),
    ok.

%% Through the whole table: rows that have expired, rows of callers who died before they could say so, and what callers who died have left.
sweep(#state{cache = #cache{table = Table, waiters = Waiters}} = State) ->
    Rows = [
        {{'$1', '_', '_', '$2', '$3', '$4'}, [], [{{'$1', '$2', '$3', '$4'}}]},
        {{'$1', '$2'}, [], [{{'$1', '$2'}}]}
    ],
    true = ets:safe_fixtable(Table, true),
    Swept = sweep(ets:select(Table, Rows, ?CHUNK), erlang:monotonic_time(), State),
    true = ets:safe_fixtable(Table, false),
    _ = [ets:delete_object(Waiters, Name) || {_, _, Pid} = Name <- ets:tab2list(Waiters), not is_process_alive(Pid)],
    Swept.

sweep('$end_of_table', _, State) ->
    State;
sweep({Rows, Continuation}, Now, State) ->
    Swept = lists:foldl(fun(Row, S) -> sweep_row(Row, Now, S) end, State, Rows),
    sweep(ets:select(Continuation), Now, Swept).

sweep_row({Key, {flight, Pid, _} = Flight}, _, #state{cache = #cache{table = Table}} = State) ->
    _ = [ets:delete_object(Table, {Key, Flight}) || not is_process_alive(Pid)],
    State;
sweep_row({Key, Expires, Stamp, _}, Now, #state{cache = #cache{table = Table} = Cache, policy = Policy} = State) when Expires =< Now ->
    ok = evicted(Cache, ?EXPIRED, expired, [take(Table, {Key, Stamp})]),
    State#state{policy = pitcrew_cache_policy:forget(Key, Stamp, Policy)};
sweep_row({Key, _, Stamp, Bytes}, _, #state{policy = Policy} = State) ->
    case pitcrew_cache_policy:knows(Key, Stamp, Policy) of
        true -> State;
        false -> learn({Key, Stamp, Bytes}, State)
    end.
