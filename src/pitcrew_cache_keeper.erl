%% Keeps a pool's cache within its limits: takes out what has to go. Callers that find their result never meet it; those that put one into the table write
%% that down, and wake it when there is something to do: whoever wakes another process for each call does not get to poll for the next answer (docs/performance.md). The tables are the pool's supervisor's, so nothing is lost when this process starts anew.
-module(pitcrew_cache_keeper).
-behaviour(gen_server).

-export([new/2, child_specs/2, start_link/1, stored/4, dropped/3, clear/1, clear_soon/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-include("pitcrew_cache.hrl").

-record(state, {cache :: #cache{}, policy :: pitcrew_cache_policy:policy()}).

%% How often it looks for what has expired, and for what the dead have left behind, in milliseconds.
-define(LEAST_SWEEP, 1_000).
-define(MOST_SWEEP, 30_000).
%% It is woken when so many rows are new.
-define(BATCH, 32).
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
        news = ets:new(pitcrew_cache_news, [ordered_set, public, {write_concurrency, true}]),
        key = HashKey,
        backend = Module,
        handle = Handle,
        max_entries = Entries,
        max_bytes = Bytes,
        ttl = Ttl,
        size = atomics:new(3, []),
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
stored(#cache{news = News, size = Size, max_entries = Entries, max_bytes = Most} = Cache, Key, Stamp, Bytes) ->
    AllBytes = atomics:add_get(Size, ?BYTES, Bytes),
    AllEntries = atomics:add_get(Size, ?ENTRIES, 1),
    true = ets:insert(News, {erlang:unique_integer([monotonic]), Key, Stamp, Bytes}),
    case AllBytes > Most orelse AllEntries > Entries orelse atomics:add_get(Size, ?NEWS, 1) rem ?BATCH =:= 0 of
        true -> tell(Cache, news);
        false -> ok
    end.

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

handle_continue(look, State) -> {noreply, sweep(State)}.

handle_call(clear, _, State) ->
    {Outcome, Emptied} = empty(State),
    {reply, Outcome, Emptied};
handle_call(_, _, State) ->
    {reply, {error, unknown}, State}.

handle_cast(_, State) -> {noreply, State}.

handle_info({?MODULE, news}, State) ->
    {noreply, make_room(read_news(State))};
handle_info({?MODULE, {dropped, Key, Stamp}}, State) ->
    {noreply, forget(Key, Stamp, State)};
handle_info({?MODULE, clear}, State) ->
    {_, Emptied} = empty(State),
    {noreply, Emptied};
handle_info({timeout, _, sweep}, #state{cache = Cache} = State) ->
    ok = sweep_later(Cache),
    {noreply, sweep(State)};
handle_info(_, State) ->
    {noreply, State}.

%% With the calls that run, so that their results are not kept.
empty(#state{cache = #cache{table = Table, backend = Backend} = Cache} = State) ->
    Known = read_news(State),
    true = ets:delete_all_objects(Table),
    Empty = emptied(Cache),
    ok = less(Known, Empty),
    %% Of rows that were among those, and of others that have come since and stay.
    {Backend:clear(Cache), read_news(Empty)}.

emptied(#cache{max_entries = Entries, max_bytes = Bytes} = Cache) ->
    #state{cache = Cache, policy = pitcrew_cache_policy:new(Entries, Bytes)}.

read_news(#state{cache = #cache{news = News}} = State) ->
    case ets:first(News) of
        '$end_of_table' -> State;
        No -> read_news(lists:foldl(fun learn_new/2, State, ets:take(News, No)))
    end.

%% The row may be gone already, or may have been found before.
learn_new({_, Key, Stamp, Bytes}, #state{cache = #cache{table = Table, size = Size}, policy = Policy} = State) ->
    case pitcrew_cache_policy:knows(Key, Stamp, Policy) of
        true ->
            State;
        false ->
            case stamp(Table, Key) of
                Stamp ->
                    learn({Key, Stamp, Bytes}, State);
                _ ->
                    ok = subtract(Size, Bytes, 1),
                    State
            end
    end.

stamp(Table, Key) ->
    try
        ets:lookup_element(Table, Key, 5)
    catch
        error:badarg -> none
    end.

%% In place of another one with its key, if that was not heard of.
learn({Key, Stamp, Bytes}, #state{cache = #cache{size = Size}, policy = Before} = State) ->
    After = pitcrew_cache_policy:insert(Key, Stamp, Bytes, Before),
    ok = subtract(
        Size,
        pitcrew_cache_policy:bytes(Before) + Bytes - pitcrew_cache_policy:bytes(After),
        pitcrew_cache_policy:count(Before) + 1 - pitcrew_cache_policy:count(After)
    ),
    State#state{policy = After}.

forget(Key, Stamp, #state{policy = Policy} = State) -> lessened(State, State#state{policy = pitcrew_cache_policy:forget(Key, Stamp, Policy)}).

make_room(#state{cache = #cache{table = Table} = Cache, policy = Policy} = State) ->
    {Gone, Fewer} = pitcrew_cache_policy:evict(fun(Key, Stamp, How) -> uses(Table, Key, Stamp, How) end, Policy),
    ok = evicted(Cache, ?EVICTED, full, [take(Table, Entry) || Entry <- Gone]),
    lessened(State, State#state{policy = Fewer}).

%% What callers count up is counted down here.
lessened(Before, After) ->
    ok = less(Before, After),
    After.

less(#state{policy = Before}, #state{cache = #cache{size = Size}, policy = After}) ->
    subtract(
        Size,
        pitcrew_cache_policy:bytes(Before) - pitcrew_cache_policy:bytes(After),
        pitcrew_cache_policy:count(Before) - pitcrew_cache_policy:count(After)
    ).

subtract(_, 0, 0) ->
    ok;
subtract(Size, Bytes, Entries) ->
    ok = atomics:sub(Size, ?BYTES, Bytes),
    atomics:sub(Size, ?ENTRIES, Entries).

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
            case pitcrew_telemetry:is_wanted(Event) of
                false -> ok;
                true -> pitcrew_telemetry:execute(Event, #{entries => length(Gone), bytes => lists:sum(Gone)}, #{pool => Pool, reason => Reason})
            end
    end.

%% ---- What nobody tells

sweep_later(#cache{ttl = Ttl}) ->
    _ = erlang:start_timer(max(?LEAST_SWEEP, min(Ttl, ?MOST_SWEEP)), self(), sweep),
    ok.

%% Through the whole table: rows that have expired, rows of callers who died before they could say so, and what callers who died have left. Those may not
%% have counted either.
sweep(#state{cache = #cache{table = Table, waiters = Waiters, size = Size}} = State) ->
    Rows = [
        {{'$1', '_', '_', '$2', '$3', '$4'}, [], [{{'$1', '$2', '$3', '$4'}}]},
        {{'$1', '$2'}, [], [{{'$1', '$2'}}]}
    ],
    true = ets:safe_fixtable(Table, true),
    Swept = make_room(sweep(ets:select(Table, Rows, ?CHUNK), erlang:monotonic_time(), read_news(State))),
    true = ets:safe_fixtable(Table, false),
    _ = [ets:delete_object(Waiters, Name) || {_, _, Pid} = Name <- ets:tab2list(Waiters), not is_process_alive(Pid)],
    Counted = {atomics:get(Size, ?BYTES), atomics:get(Size, ?ENTRIES)},
    correct(Size, Counted, make_room(read_news(Swept))).

%% What is counted between a caller's two steps is corrected the next time.
correct(Size, {Bytes, Entries}, #state{policy = Policy} = State) ->
    ok = subtract(Size, Bytes - pitcrew_cache_policy:bytes(Policy), Entries - pitcrew_cache_policy:count(Policy)),
    State.

sweep('$end_of_table', _, State) ->
    State;
sweep({Rows, Continuation}, Now, State) ->
    Swept = lists:foldl(fun(Row, S) -> sweep_row(Row, Now, S) end, State, Rows),
    sweep(ets:select(Continuation), Now, Swept).

sweep_row({Key, {flight, Pid, _} = Flight}, _, #state{cache = #cache{table = Table}} = State) ->
    _ = [ets:delete_object(Table, {Key, Flight}) || not is_process_alive(Pid)],
    State;
sweep_row({Key, Expires, Stamp, _}, Now, #state{cache = #cache{table = Table} = Cache} = State) when Expires =< Now ->
    ok = evicted(Cache, ?EXPIRED, expired, [take(Table, {Key, Stamp})]),
    forget(Key, Stamp, State);
sweep_row({Key, _, Stamp, Bytes}, _, #state{policy = Policy} = State) ->
    case pitcrew_cache_policy:knows(Key, Stamp, Policy) of
        true -> State;
        false -> learn({Key, Stamp, Bytes}, State)
    end.
