%% Where results are kept. Callers look into the cache's table first, and only who finds nothing there, and is the one that runs the call, asks
%% the backend.
%%
%% Invariants of every backend: what store/6 keeps is never found again after delete/2 or clear/1, if the flight was over by then or had begun
%% before; a backend that cannot answer is a miss, not an error.
-module(pitcrew_cache_backend).

-include("pitcrew_cache.hrl").

-export([module/1]).
-export_type([flight/0, ticket/0]).

%% A call that runs: its row in the table.
-type flight() :: {flight, pid(), reference()}.
%% What a backend wants back with the result.
-type ticket() :: term().

%% What is wanted of the pool's options; in the process that owns the pool's tables.
-callback init(pitcrew_options:pool()) -> {HashKey :: <<_:128>>, Handle :: term()}.

%% Asked for a result that is not in the table.
-callback fetch(#cache{}, Key :: binary()) -> {ok, term()} | {miss, ticket()}.

%% Keeps a result, unless the flight's row has been taken away, and takes that away. `look': who waits finds it in the table.
-callback store(#cache{}, Key :: binary(), flight(), ticket(), Value :: term(), Bytes :: pos_integer()) -> look | over.

%% What others might still find afterwards is an error.
-callback delete(#cache{}, Key :: binary()) -> ok | {error, pitcrew_error:t()}.
-callback clear(#cache{}) -> ok | {error, pitcrew_error:t()}.

%% A process of the pool's that the backend needs.
-callback child_spec(#cache{}, pitcrew_options:pool()) -> [supervisor:child_spec()].

-spec module(ets | {redis, map()}) -> module().
module(ets) -> pitcrew_cache_ets;
module({redis, _}) -> pitcrew_cache_redis.
