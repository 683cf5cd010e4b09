%% A pool's cache: what is kept and for whom, what is forgotten, and calls that are equal at the same time.
-module(pitcrew_cache_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").
-export([tell/4]).

-import(pitcrew_test, [listen/0, port/1, meet/1, answer/2, until/1, mailbox/0]).

with_cache(Fun) -> with_cache(#{}, Fun).

with_cache(Options, Fun) ->
    {timeout, 60, fun() ->
        pitcrew_test:with_pool(maps:merge(#{tools => ["cache_tools"], cache => true}, Options), fun(Pool) ->
            Fun(Pool),
            ?assertEqual([], mailbox())
        end)
    end}.

ok(Result) ->
    {ok, Value} = Result,
    Value.

stats(Pool, Names) -> maps:with(Names, pitcrew_cache:stats(Pool)).

%% ---- What is kept

equal_calls_test_() ->
    with_cache(fun(Pool) ->
        First = ok(pitcrew:call(Pool, fresh, [1, #{a => 1, b => 2}])),
        ?assertEqual({ok, First}, pitcrew:call(Pool, <<"fresh">>, [1, #{b => 2, a => 1}])),
        [?assertNotEqual({ok, First}, pitcrew:call(Pool, fresh, Args)) || Args <- [[1.0, #{a => 1, b => 2}], [1], #{a => 1}, [1, #{<<"a">> => 1, b => 2}]]],
        ?assertMatch(#{hits := 1, misses := 5, stored := 5, entries := 5}, pitcrew_cache:stats(Pool))
    end).

only_idempotent_tools_test_() ->
    with_cache(fun(Pool) ->
        Call = fun(Tool, Options) -> ok(pitcrew:call(Pool, Tool, [1], Options)) end,
        ?assertNotEqual(Call(fresh_by_default, []), Call(fresh_by_default, [])),
        ?assertEqual(Call(fresh_by_default, #{cache => true}), Call(fresh_by_default, #{cache => true})),
        ?assertNotEqual(Call(fresh_by_default, #{cache => true}), Call(fresh_by_default, [])),
        ?assertNotEqual(Call(fresh, [{cache, false}]), Call(fresh, [{cache, false}])),
        ?assertNotEqual(Call(fresh, [{cache, false}]), Call(fresh, [])),
        ?assertEqual(Call(fresh, [{cache, true}]), Call(fresh, []))
    end).

%% What decides about the form of arguments and results is part of the key; what does not is not.
options_test_() ->
    with_cache(fun(Pool) ->
        Call = fun(Options) -> ok(pitcrew:call(Pool, fresh, [<<"x">>, nil], Options)) end,
        Plain = Call([]),
        Others = [Call(Options) || Options <- [
            [{binaries, bytes}], [{bytes, tagged}], [{nil, undefined}], [{keys, strict}], [{binaries, bytes}, {keys, strict}]]],
        ?assertEqual(6, length(lists:usort([Plain | Others]))),
        [?assertEqual(Plain, Call(Options)) || Options <- [
            [{timeout, 5000}], [{checkout_timeout, 5000}], [{retry, 3}], [{on_caller_exit, finish}], [{copy_binaries, true}], [{cache, true}]]]
    end).

json_test_() ->
    pitcrew_test:if_json(with_cache(fun(Pool) ->
        Call = fun(Options) -> ok(pitcrew:call(Pool, fresh, [<<"x">>], Options)) end,
        ?assertNotEqual(Call([]), Call([{protocol, json}])),
        ?assertEqual(Call([{protocol, json}]), Call([{protocol, json}]))
    end)).

pipelined_test_() ->
    with_cache(#{pipeline => 8}, fun(Pool) ->
        ?assertEqual(pitcrew:call(Pool, fresh, [1]), pitcrew:call(Pool, fresh, [1])),
        ?assertEqual(pitcrew:await(pitcrew:async(Pool, fresh, [1])), pitcrew:call(Pool, fresh, [1]))
    end).

without_a_cache_test_() ->
    with_cache(#{cache => false}, fun(Pool) ->
        ?assertNotEqual(pitcrew:call(Pool, fresh, [1]), pitcrew:call(Pool, fresh, [1])),
        ?assertMatch({ok, _}, pitcrew:call(Pool, fresh, [1], [{cache, false}])),
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Pool, fresh, [1], [{cache, true}])),
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew_cache:clear(Pool)),
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew_cache:delete(Pool, fresh, [1])),
        ?assertError(#{kind := invalid_option}, pitcrew_cache:stats(Pool)),
        ?assertError(#{kind := no_pool}, pitcrew_cache:stats(no_such_pool))
    end).

errors_are_not_kept_test_() ->
    with_cache(fun(Pool) ->
        {error, #{kind := tool_error, message := First}} = pitcrew:call(Pool, fails, [1]),
        {error, #{kind := tool_error, message := Second}} = pitcrew:call(Pool, fails, [1]),
        ?assertNotEqual(First, Second),
        ?assertMatch({error, #{kind := tool_error}}, pitcrew:call(Pool, meet_fresh, [1])),
        ?assertEqual(#{misses => 3, stored => 0, entries => 0}, stats(Pool, [misses, stored, entries]))
    end).

%% Arguments without a key, and results that mean something only here and now.
what_cannot_be_kept_test_() ->
    with_cache(fun(Pool) ->
        [?assertNotEqual(pitcrew:call(Pool, fresh, [Arg]), pitcrew:call(Pool, fresh, [Arg])) || Arg <- [self(), make_ref(), [1 | 2]]],
        #{handle := A} = ok(pitcrew:call(Pool, fresh_object, [])),
        #{handle := B} = ok(pitcrew:call(Pool, fresh_object, [])),
        ?assertNotEqual(A, B),
        Ref = ok(pitcrew:call(Pool, fresh_object, [])),
        ?assertNotEqual(pitcrew:call(Pool, fresh, [Ref]), pitcrew:call(Pool, fresh, [Ref])),
        ?assertMatch({ok, #{handle := _}}, pitcrew:call(Pool, fresh, [1], [{ref, true}])),
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Pool, fresh, [1], [{ref, true}, {cache, true}])),
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Ref, count, [1], [{cache, true}])),
        ?assertEqual(#{stored => 0, refused => 11}, stats(Pool, [stored, refused]))
    end).

sessions_test_() ->
    with_cache(fun(Pool) ->
        {ok, {A, B, Error}} = pitcrew:session(Pool, fun(S) ->
            {pitcrew:call(S, fresh, [1]), pitcrew:call(S, fresh, [1]), pitcrew:call(S, fresh, [1], [{cache, true}])}
        end),
        ?assertNotEqual(A, B),
        ?assertMatch({error, #{kind := invalid_option}}, Error)
    end).

%% ---- Limits

entries_test_() ->
    with_cache(#{cache => #{max_entries => 10}}, fun(Pool) ->
        [{ok, _} = pitcrew:call(Pool, fresh, [N]) || N <- lists:seq(1, 50)],
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{entries := 10, evicted := 40} -> ok; Stats -> Stats end end)
    end).

%% Of many at once, not one by one; and always within the limit.
many_entries_test_() ->
    with_cache(#{cache => #{max_entries => 200}, pipeline => 16}, fun(Pool) ->
        Callers = [spawn_monitor(fun() -> [{ok, _} = pitcrew:call(Pool, fresh, [C, N]) || N <- lists:seq(1, 100)] end) || C <- lists:seq(1, 20)],
        [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Ref} <- Callers],
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{entries := N} when N =< 200, N > 150 -> ok; Stats -> Stats end end),
        #{stored := 2000, evicted := Evicted, entries := Entries} = pitcrew_cache:stats(Pool),
        ?assertEqual(2000, Evicted + Entries)
    end).

bytes_test_() ->
    with_cache(#{cache => #{max_bytes => 100_000}}, fun(Pool) ->
        [begin
             {ok, _} = pitcrew:call(Pool, fresh_bytes, [10_000], [{binaries, bytes}, {timeout, 5000 + N}, {retry, N}]),
             {ok, _} = pitcrew:call(Pool, fresh_list, [200 + N])
         end || N <- lists:seq(1, 60)],
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{bytes := Bytes} when Bytes =< 100_000 -> ok; Stats -> Stats end end),
        #{bytes := Bytes, evicted := Evicted} = pitcrew_cache:stats(Pool),
        ?assert(Bytes > 50_000),
        ?assert(Evicted > 20)
    end).

%% As large as they are they come back whole, and are not kept.
large_results_test_() ->
    with_cache(#{cache => #{max_bytes => 1 bsl 20}}, fun(Pool) ->
        Call = fun(N) -> ok(pitcrew:call(Pool, fresh_bytes, [N])) end,
        ?assertNotEqual(Call(200_000), Call(200_000)),
        ?assertEqual(200_000, byte_size(Call(200_000))),
        ?assertEqual(#{stored => 0, too_large => 3, entries => 0}, stats(Pool, [stored, too_large, entries]))
    end).

%% A result from shared memory is copied: nothing of a worker's is held.
shared_memory_test_() ->
    with_cache(fun(Pool) ->
        Data = ok(pitcrew:call(Pool, fresh_bytes, [1_000_000])),
        ?assertEqual(Data, ok(pitcrew:call(Pool, fresh_bytes, [1_000_000]))),
        ?assertMatch(#{buffers := #{bytes := 0, payloads := 0}}, pitcrew:info(Pool)),
        ?assertEqual(1_000_000, binary:referenced_byte_size(Data))
    end).

ttl_test_() ->
    with_cache(#{cache => #{ttl => 1}}, fun(Pool) ->
        First = ok(pitcrew:call(Pool, fresh, [1])),
        ok = until(fun() -> case pitcrew:call(Pool, fresh, [1]) of {ok, First} -> same; {ok, _} -> ok end end),
        %% What nobody asks for again goes, too.
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{entries := 0, bytes := 0, expired := N} when N > 1 -> ok; Stats -> Stats end end)
    end).

what_is_used_stays_test_() ->
    with_cache(#{cache => #{max_entries => 20}}, fun(Pool) ->
        Call = fun(N) -> ok(pitcrew:call(Pool, fresh, [N])) end,
        Hot = [Call(N) || N <- lists:seq(1, 5)],
        [?assertEqual(Hot, [Call(N) || N <- lists:seq(1, 5)]) || _ <- lists:seq(1, 3)],
        [Call(N) || N <- lists:seq(100, 300)],
        ?assertEqual(Hot, [Call(N) || N <- lists:seq(1, 5)])
    end).

%% ---- Forgetting

delete_test_() ->
    with_cache(fun(Pool) ->
        Call = fun(Args, Options) -> ok(pitcrew:call(Pool, fresh, Args, Options)) end,
        [A, B, C] = Before = [Call([1], []), Call([2], []), Call([1], [{bytes, tagged}])],
        ok = pitcrew_cache:delete(Pool, fresh, [1]),
        ?assertNotEqual(A, Call([1], [])),
        ?assertEqual([B, C], [Call([2], []), Call([1], [{bytes, tagged}])]),
        ok = pitcrew_cache:delete(Pool, <<"fresh">>, [1], #{bytes => tagged}),
        ?assertNotEqual(C, Call([1], [{bytes, tagged}])),
        ok = pitcrew_cache:delete(Pool, fresh, [self()]),
        ?assertMatch({error, #{kind := invalid_option}}, pitcrew_cache:delete(Pool, fresh, [1], [{tiemout, 1}])),
        ok = pitcrew_cache:clear(Pool),
        ?assertEqual(#{entries => 0, bytes => 0}, stats(Pool, [entries, bytes])),
        ?assertEqual([], [X || X <- Before, Y <- [Call([1], []), Call([2], [])], X =:= Y])
    end).

%% What is stored meanwhile stays, or goes, but is never there unknown to the keeper, which could not take it out when the cache is full.
clear_while_others_store_test_() ->
    with_cache(fun(Pool) ->
        {ok, #pool{cache = #cache{sup = Sup, table = Table, size = Size} = Cache}} = pitcrew_pools:find(Pool),
        Store = fun(Key) ->
            Flight = {flight, self(), make_ref()},
            true = ets:insert_new(Table, {Key, Flight}),
            _ = pitcrew_cache_ets:store(Cache, Key, Flight, none, nil, 300)
        end,
        %% Slow enough for the keeper to read all that is new, many times.
        {_, Writer} = spawn_monitor(fun() -> [{Store(<<N:32>>), lists:seq(1, 1_000)} || N <- lists:seq(1, 10_000)] end),
        Clears = fun Clears() ->
            ok = pitcrew_cache:clear(Pool),
            receive {'DOWN', Writer, process, _, Reason} -> ?assertEqual(normal, Reason)
            after 0 -> Clears()
            end
        end,
        Clears(),
        Keeper = pitcrew_pools:member(Sup, cache),
        Keeper ! {pitcrew_cache_keeper, news},
        {state, Cache, Policy} = sys:get_state(Keeper),
        Rows = ets:info(Table, size),
        ?assertEqual({Rows, 300 * Rows}, {pitcrew_cache_policy:count(Policy), pitcrew_cache_policy:bytes(Policy)}),
        ?assertEqual({Rows, 300 * Rows}, {atomics:get(Size, ?ENTRIES), atomics:get(Size, ?BYTES)})
    end).

%% Whoever forgets a result while a call runs that would bring it must not find it afterwards.
forgotten_while_it_runs_test_() ->
    [with_cache(fun(Pool) ->
         Listener = listen(),
         Args = [port(Listener)],
         Call = pitcrew:async(Pool, meet_fresh, Args),
         {Socket, _} = meet(Listener),
         ok = Forget(Pool, Args),
         answer(Socket, "a"),
         <<"a", _/binary>> = Old = ok(pitcrew:await(Call)),
         ?assertMatch(#{stored := 0, entries := 0}, pitcrew_cache:stats(Pool)),
         Again = pitcrew:async(Pool, meet_fresh, Args),
         {Second, _} = meet(Listener),
         answer(Second, "b"),
         ?assertNotEqual(Old, ok(pitcrew:await(Again))),
         gen_tcp:close(Listener)
     end) || Forget <- [fun(Pool, Args) -> pitcrew_cache:delete(Pool, meet_fresh, Args) end, fun(Pool, _) -> pitcrew_cache:clear(Pool) end]].

reload_test_() ->
    with_cache(fun(Pool) ->
        First = ok(pitcrew:call(Pool, fresh, [1])),
        ok = pitcrew:reload(Pool),
        ?assertNotEqual(First, ok(pitcrew:call(Pool, fresh, [1])))
    end).

%% ---- Equal calls at the same time

together(Pool, N, Args) -> [pitcrew:async(Pool, meet_fresh, Args) || _ <- lists:seq(1, N)].

%% Whether so many wait for the one that runs.
waiting(Pool, N) ->
    {ok, #pool{cache = #cache{waiters = Waiters}}} = pitcrew_pools:find(Pool),
    until(fun() -> case ets:info(Waiters, size) of N -> ok; Other -> Other end end).

one_runs_test_() ->
    with_cache(#{size => 4}, fun(Pool) ->
        Listener = listen(),
        Calls = together(Pool, 10, [port(Listener)]),
        {Socket, _} = meet(Listener),
        ok = waiting(Pool, 9),
        answer(Socket, "a"),
        ?assertMatch([{ok, <<"a", _/binary>>}], lists:usort([pitcrew:await(Call) || Call <- Calls])),
        #{hits := Hits, joined := Joined} = Stats = pitcrew_cache:stats(Pool),
        ?assertMatch(#{misses := 1, stored := 1}, Stats),
        ?assertEqual(9, Hits + Joined),
        ok = waiting(Pool, 0),
        gen_tcp:close(Listener)
    end).

%% It gets an error, its worker dies, or it dies itself: then the next one runs.
the_next_one_runs_test_() ->
    [{What, with_cache(#{size => 4}, fun(Pool) ->
         Listener = listen(),
         Args = [port(Listener)],
         First = pitcrew:async(Pool, meet_fresh, Args),
         {Socket, _} = meet(Listener),
         Others = together(Pool, 3, Args),
         ok = waiting(Pool, 3),
         End(First, Socket),
         {Second, _} = meet(Listener),
         ok = waiting(Pool, 2),
         answer(Second, "b"),
         ?assertMatch([{ok, <<"b", _/binary>>}], lists:usort([pitcrew:await(Call) || Call <- Others])),
         ?assertMatch({error, #{kind := Kind}}, pitcrew:await(First)),
         ?assertMatch(#{misses := 2, stored := 1}, pitcrew_cache:stats(Pool)),
         gen_tcp:close(Listener)
     end)} || {What, Kind, End} <- [
         {"error", tool_error, fun(_, Socket) -> answer(Socket, "e") end},
         {"death of the worker", worker_exit, fun(_, Socket) -> answer(Socket, "x") end},
         {"death of the caller", cancelled, fun(Call, Socket) -> pitcrew:cancel(Call), gen_tcp:close(Socket) end}
     ]].

%% Nobody waits longer than they want to, and nothing comes to them later.
own_deadline_test_() ->
    with_cache(#{size => 2}, fun(Pool) ->
        Listener = listen(),
        Args = [port(Listener)],
        First = pitcrew:async(Pool, meet_fresh, Args),
        {Socket, _} = meet(Listener),
        {error, #{kind := timeout, message := Message, tool := <<"meet_fresh">>}} = pitcrew:call(Pool, meet_fresh, Args, [{timeout, 30}]),
        ?assertMatch({_, _}, binary:match(Message, <<"equal">>)),
        ok = waiting(Pool, 0),
        answer(Socket, "a"),
        ?assertMatch({ok, _}, pitcrew:await(First)),
        gen_tcp:close(Listener)
    end).

%% They get it although it is not kept.
too_large_for_the_cache_test_() ->
    with_cache(#{size => 4, cache => #{max_bytes => 1 bsl 12}}, fun(Pool) ->
        Calls = [pitcrew:async(Pool, fresh_bytes, [100_000]) || _ <- lists:seq(1, 8)],
        Results = [ok(pitcrew:await(Call)) || Call <- Calls],
        ?assertEqual([100_000], lists:usort([byte_size(R) || R <- Results])),
        ok = waiting(Pool, 0)
    end).

%% An object of its own for everybody.
objects_are_not_shared_test_() ->
    with_cache(#{size => 2}, fun(Pool) ->
        Calls = [pitcrew:async(Pool, fresh_object, []) || _ <- lists:seq(1, 8)],
        Handles = [Handle || {ok, #{handle := Handle}} <- [pitcrew:await(Call) || Call <- Calls]],
        ?assertEqual(8, length(lists:usort(Handles))),
        ok = waiting(Pool, 0)
    end).

%% ---- Faults inside

%% Not this keeper but that of the pool: what is started anew with it finds the cache again.
the_pools_keeper_ends_test_() ->
    with_cache(fun(Pool) ->
        First = ok(pitcrew:call(Pool, fresh, [1])),
        {keeper, Keeper, _, _} = lists:keyfind(keeper, 1, supervisor:which_children(Pool)),
        pitcrew_test:quietly(fun() -> sys:terminate(Keeper, crashed) end),
        Again = fun() ->
            case pitcrew:call(Pool, fresh, [1]) of
                {ok, First} -> ok;
                Other -> Other
            end
        end,
        ?assertEqual(ok, until(Again))
    end).

%% The process that keeps the limits dies: nothing is lost, and the limits hold.
keeper_dies_test_() ->
    with_cache(#{cache => #{max_entries => 10}}, fun(Pool) ->
        Before = [ok(pitcrew:call(Pool, fresh, [N])) || N <- lists:seq(1, 8)],
        {ok, #pool{sup = Sup}} = pitcrew_pools:find(Pool),
        Pids = pitcrew_test:os_pids(Pool),
        Keeper = pitcrew_pools:member(Sup, cache),
        pitcrew_test:quietly(fun() ->
            exit(Keeper, kill),
            ok = until(fun() -> case pitcrew_pools:member(Sup, cache) of Keeper -> Keeper; _ -> ok end end)
        end),
        ?assertEqual(Before, [ok(pitcrew:call(Pool, fresh, [N])) || N <- lists:seq(1, 8)]),
        [{ok, _} = pitcrew:call(Pool, fresh, [N]) || N <- lists:seq(11, 40)],
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{entries := 10} -> ok; Stats -> Stats end end),
        ?assertEqual(Pids, pitcrew_test:os_pids(Pool))
    end).

%% A pool that ends leaves nobody waiting.
pool_ends_test_() ->
    {timeout, 60, fun() ->
        pitcrew_test:gated(fun(Base) ->
            Options = pitcrew_test:options(Base, #{tools => ["cache_tools"], cache => true, size => 2}),
            {ok, _} = pitcrew_pool:start(Options),
            Pool = maps:get(name, Options),
            Listener = listen(),
            Calls = together(Pool, 4, [port(Listener)]),
            {Socket, _} = meet(Listener),
            ok = waiting(Pool, 3),
            ok = pitcrew_pool:stop(Pool),
            [?assertMatch({error, #{kind := Kind}} when Kind =:= pool_down; Kind =:= no_pool; Kind =:= worker_exit, pitcrew:await(Call)) || Call <- Calls],
            gen_tcp:close(Socket),
            gen_tcp:close(Listener)
        end)
    end}.

%% Callers who die at any moment leave nothing behind, and nobody ever gets a wrong result.
callers_die_test_() ->
    with_cache(#{size => 2, cache => #{max_entries => 30, ttl => 20}}, fun(Pool) ->
        Caller = fun() ->
            N = rand:uniform(40),
            {ok, [_ | Numbers]} = pitcrew:call(Pool, fresh_list, [N]),
            N = length(Numbers)
        end,
        Loop = fun Loop(0) -> ok; Loop(Left) -> Caller(), Loop(Left - 1) end,
        Callers = [spawn_monitor(fun() -> Loop(300) end) || _ <- lists:seq(1, 12)],
        [begin receive after rand:uniform(5) -> ok end, exit(Pid, kill) end || {Pid, _} <- lists:sublist(Callers, 6)],
        Reasons = [receive {'DOWN', Ref, process, _, Reason} -> Reason end || {_, Ref} <- Callers],
        ?assertEqual([killed, normal], lists:usort(Reasons) -- [noproc]),
        ok = pitcrew_test:whole(Pool),
        ok = until(fun() -> case pitcrew_cache:stats(Pool) of #{entries := 0, bytes := 0} -> ok; Stats -> Stats end end),
        ok = waiting(Pool, 0)
    end).

%% ---- Events

tell(Event, Measured, Told, Pid) -> Pid ! {lists:last(Event), Measured, Told}.

told(What) ->
    receive
        {What, Measured, Told} -> {Measured, Told}
    after 5000 -> none
    end.

events_test_() ->
    with_cache(#{cache => #{max_entries => 1}}, fun(Pool) ->
        Events = [[pitcrew_test, cache, What] || What <- [hit, miss, evict]],
        ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
        try
            {ok, _} = pitcrew:call(Pool, fresh, [1]),
            ?assertMatch({#{duration := _}, #{pool := Pool, tool_id := <<"fresh">>}}, told(miss)),
            {ok, _} = pitcrew:call(Pool, fresh, [1]),
            ?assertMatch({#{duration := _}, #{pool := Pool, tool_id := <<"fresh">>, source := cache}}, told(hit)),
            {ok, _} = pitcrew:call(Pool, fresh, [2]),
            ?assertMatch({#{entries := 1, bytes := Bytes}, #{pool := Pool, reason := full}} when Bytes > 0, told(evict)),
            told(miss)
        after
            ok = pitcrew_telemetry:detach(?MODULE)
        end
    end).

%% A handler that makes the very call that it hears of does not wait for itself.
a_call_from_a_handler_test_() ->
    with_cache(fun(Pool) ->
        Self = self(),
        Handler = fun(_, _, _, _) -> Self ! {inside, pitcrew:call(Pool, fresh, [1])} end,
        ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, cache, miss], Handler, none),
        try
            Outside = ok(pitcrew:call(Pool, fresh, [1])),
            Inside = receive {inside, Result} -> Result end,
            ?assertMatch({ok, _}, Inside),
            ?assertNotEqual({ok, Outside}, Inside)
        after
            ok = pitcrew_telemetry:detach(?MODULE)
        end
    end).
