%% @doc Results of calls, kept for equal calls: what there is, and what is to be forgotten.
%%
%% ```
%% {ok, _} = pitcrew_pool:start_link(#{name => py, tools => [my_tools], cache => #{max_entries => 10_000, ttl => 60_000}}),
%% {ok, Found} = pitcrew:call(py, search, [<<"beam">>]),   %% runs, if the tool is declared idempotent
%% {ok, Found} = pitcrew:call(py, search, [<<"beam">>]),   %% does not run
%% #{hits := 1, misses := 1} = pitcrew_cache:stats(py),
%% ok = pitcrew_cache:delete(py, search, [<<"beam">>]).
%% '''
%%
%% The page is docs/cache.md.
-module(pitcrew_cache).

-export([stats/1, clear/1, delete/3, delete/4]).

-include("pitcrew_pool.hrl").

%% @doc Counts since the pool started, and what there is now.
%%
%% <ul>
%% <li>`hits', calls that found a result; `joined', calls that waited for an equal one that ran already, and took its result; `misses', calls that
%%   ran</li>
%% <li>`stored'; `evicted', because there was no room; `expired'</li>
%% <li>`too_large', results that were not kept because they would take more than an eighth of `max_bytes', or there were too many at once</li>
%% <li>`refused', arguments or results that cannot be kept: pids, functions, references</li>
%% <li>`bad', entries of another node that were not what they should be; `unreachable', calls that did without because Redis did not answer</li>
%% <li>`entries', `bytes' of `max_entries', `max_bytes'; with Redis what is in this node only: nothing</li>
%% </ul>
%%
%% Raises the {@link pitcrew_error:t()} when there is no such pool, or it has no cache.
-spec stats(pitcrew:pool()) -> map().
stats(Pool) ->
    case cache(Pool) of
        {ok, _, #cache{counts = Counts, table = Table} = Cache} ->
            Counted = maps:from_list([{Name, counters:get(Counts, Place)} || {Name, Place} <- places()]),
            Counted#{
                entries => entries(Table),
                bytes => atomics:get(Cache#cache.size, ?BYTES),
                max_entries => Cache#cache.max_entries,
                max_bytes => Cache#cache.max_bytes
            };
        {error, Error} ->
            erlang:error(Error, [Pool])
    end.

places() ->
    [
        {hits, ?HITS}, {joined, ?JOINED}, {misses, ?MISSES}, {stored, ?STORED}, {too_large, ?TOO_LARGE}, {refused, ?REFUSED},
        {evicted, ?EVICTED}, {expired, ?EXPIRED}, {bad, ?BAD}, {unreachable, ?UNREACHABLE}
    ].

%% Calls that run have a row, too.
entries(Table) ->
    try
        ets:select_count(Table, [{{'_', '_', '_', '_', '_', '_'}, [], [true]}])
    catch
        error:badarg -> 0
    end.

%% @doc Forgets everything, with Redis for all nodes. Results of calls that run meanwhile are not kept.
-spec clear(pitcrew:pool()) -> ok | {error, pitcrew_error:t()}.
clear(Pool) ->
    case cache(Pool) of
        {ok, _, Cache} -> pitcrew_cache_keeper:clear(Cache);
        {error, _} = Error -> Error
    end.

%% @equiv delete(Pool, Tool, Args, [])
-spec delete(pitcrew:pool(), pitcrew:tool(), pitcrew:args()) -> ok | {error, pitcrew_error:t()}.
delete(Pool, Tool, Args) -> delete(Pool, Tool, Args, []).

%% @doc Forgets the result of one call, with such options as it was made with. If that call runs meanwhile its result is not kept.
-spec delete(pitcrew:pool(), pitcrew:tool(), pitcrew:args(), pitcrew:call_options()) -> ok | {error, pitcrew_error:t()}.
delete(Name, Tool, Args, Options) ->
    case cache(Name) of
        {ok, #pool{defaults = Defaults} = Pool, Cache} ->
            case pitcrew_options:call(pitcrew_options:set(cache, true, Options), Defaults) of
                {ok, _} = Checked -> forget(Cache, pitcrew_cache_call:key(Pool, any, pitcrew_call:tool_id(Tool), Args, Checked));
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

%% What has no key was never kept.
forget(_, none) ->
    ok;
forget(#cache{table = Table, backend = Backend} = Cache, Key) ->
    try ets:take(Table, Key) of
        [{_, _, _, _, Stamp, _}] -> ok = pitcrew_cache_keeper:dropped(Cache, Key, Stamp);
        _ -> ok
    catch
        error:badarg -> ok
    end,
    Backend:delete(Cache, Key).

cache(Name) ->
    case pitcrew_pools:find(Name) of
        {ok, #pool{cache = #cache{} = Cache} = Pool} ->
            {ok, Pool, Cache};
        {ok, #pool{cache = none}} ->
            {error, pitcrew_error:new(invalid_option, "pool ~tp has no cache: its option cache says so", [Name])};
        absent ->
            {error, pitcrew_call:no_pool(Name)}
    end.
