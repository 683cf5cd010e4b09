%% Results of one pool, in the cache's own table: callers find them there.
-module(pitcrew_cache_ets).
-behaviour(pitcrew_cache_backend).

-export([init/1, fetch/2, store/6, delete/2, clear/1, child_spec/2]).

-include("pitcrew_cache.hrl").

%% Nobody else need find anything under the keys, so nobody else can tell what has which.
-spec init(pitcrew_options:pool()) -> {<<_:128>>, none}.
init(_) ->
    <<_:128>> = Key = crypto:strong_rand_bytes(16),
    {Key, none}.

-spec fetch(#cache{}, binary()) -> {miss, none}.
fetch(_, _) -> {miss, none}.

%% One step from the call that runs to its result: if the call is not there any more, somebody has asked meanwhile that nothing be kept.
-spec store(#cache{}, binary(), pitcrew_cache_backend:flight(), none, term(), pos_integer()) -> look | over.
store(#cache{table = Table, size = Size, max_bytes = Most} = Cache, Key, Flight, none, Value, Bytes) ->
    case atomics:get(Size, ?BYTES) + Bytes > Most + Most div 4 of
        true ->
            %% What is there already has not been looked through yet.
            over(Cache, ?TOO_LARGE, Key, Flight);
        false ->
            Stamp = erlang:unique_integer(),
            Row = {Key, Value, 0, expiry(Cache), Stamp, Bytes},
            case ets:select_replace(Table, [{{Key, Flight}, [], [{const, Row}]}]) of
                1 -> stored(Cache, Key, Stamp, Bytes);
                0 -> over
            end
    end.

over(#cache{table = Table, counts = Counts}, Count, Key, Flight) ->
    ok = counters:add(Counts, Count, 1),
    true = ets:delete_object(Table, {Key, Flight}),
    over.

stored(#cache{counts = Counts} = Cache, Key, Stamp, Bytes) ->
    ok = counters:add(Counts, ?STORED, 1),
    ok = pitcrew_cache_keeper:stored(Cache, Key, Stamp, Bytes),
    look.

%% In native time, which is what the call has measured already.
expiry(#cache{ttl = infinity}) -> infinity;
expiry(#cache{ttl = Ttl}) -> erlang:monotonic_time() + erlang:convert_time_unit(Ttl, millisecond, native).

%% The table's rows are everything.
-spec delete(#cache{}, binary()) -> ok.
delete(_, _) -> ok.

-spec clear(#cache{}) -> ok.
clear(_) -> ok.

-spec child_spec(#cache{}, pitcrew_options:pool()) -> [].
child_spec(_, _) -> [].
