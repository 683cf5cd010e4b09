%% Results in Redis: shared by pools that have the same secret; and whatever Redis does or holds, the calls come to the right result.
-module(pitcrew_cache_redis_tests).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").

-import(pitcrew_test, [until/1, quietly/1]).
-import(pitcrew_test_redis, [command/2, keys/1]).

-define(SECRET, <<"a secret of 25 characters">>).

redis_test_() ->
    pitcrew_test_redis:if_redis([{Name, {timeout, 60, fun() -> run(Test) end}} || {Name, Test} <- tests()]).

tests() ->
    [
        {"results are shared", fun shared/1}, {"another secret, other results", fun secrets/1}, {"one runs", fun one_runs/1},
        {"delete and clear, for all", fun forgotten/1}, {"deleted elsewhere while it runs", fun deleted_elsewhere/1},
        {"cleared elsewhere while it runs", fun cleared_elsewhere/1}, {"ttl", fun ttl/1}, {"every type", fun types/1},
        {"poisoned", fun poisoned/1}, {"moved from another call", fun moved/1}, {"another sort of value", fun another_sort/1},
        {"a generation that is none", fun no_generation/1}, {"too large", fun too_large/1}, {"what is read is bounded", fun bounded/1},
        {"an atom of another node", fun foreign_atom/1}, {"it goes and comes back", fun goes_and_comes_back/1}, {"it hangs", fun hangs/1},
        {"it wants a password", fun password/1}, {"the client dies", fun client_dies/1}
    ].

run(Test) -> quietly(fun() -> pitcrew_test_redis:with_redis(Test) end).

redis(Server, More) -> {redis, maps:merge(#{secret => ?SECRET, namespace => <<"test">>, port => element(2, Server), timeout => 2000, retry_after => 20}, More)}.

%% Two pools, as if on two nodes.
two(Server, Fun) -> two(Server, #{}, #{}, #{}, Fun).

two(Server, Cache, First, Second, Fun) ->
    pools(Server, Cache, First, Second, fun(A, B) ->
        %% Until eredis has connected.
        [ok = until(fun() -> pitcrew_cache:clear(Pool) end) || Pool <- [A, B]],
        Fun(A, B)
    end).

pools(Server, Cache, First, Second, Fun) ->
    pitcrew_test:gated(fun(Base) ->
        Start = fun(Name, More) ->
            Options = pitcrew_test:options(Base, #{name => Name, size => 1, tools => ["cache_tools"]}),
            {ok, _} = pitcrew_pool:start(Options#{cache => maps:merge(#{backend => redis(Server, More)}, Cache)})
        end,
        _ = [Start(redis_a, First), Start(redis_b, Second)],
        try
            Fun(redis_a, redis_b),
            ?assertEqual([], pitcrew_test:mailbox())
        after
            [ok = pitcrew_pool:stop(Name) || Name <- [redis_a, redis_b]]
        end
    end).

fresh(Pool, Args) -> fresh(Pool, Args, []).

fresh(Pool, Args, Options) ->
    {ok, Value} = pitcrew:call(Pool, fresh, Args, Options),
    Value.

stats(Pool, Names) -> maps:with(Names, pitcrew_cache:stats(Pool)).

shared(Server) ->
    two(Server, fun(A, B) ->
        Args = [#{x => 1, <<"y">> => [1.5, nil]}],
        Value = fresh(A, Args),
        ?assertEqual([Value, Value, Value], [fresh(A, Args), fresh(B, Args), fresh(B, Args)]),
        ?assertNotEqual(Value, fresh(B, Args, [{cache, false}])),
        ?assertNotEqual(Value, fresh(B, Args, [{bytes, tagged}])),
        ?assertEqual(#{hits => 1, misses => 1, stored => 1, entries => 0}, stats(A, [hits, misses, stored, entries])),
        ?assertEqual(2, length(keys(Server)))
    end).

%% Neither its results nor the names that they have.
secrets(Server) ->
    two(Server, #{}, #{}, #{secret => <<"another one of 25 letters">>}, fun(A, B) ->
        ?assertNotEqual(fresh(A, [1]), fresh(B, [1])),
        ?assertEqual(2, length(keys(Server))),
        ?assertEqual(fresh(B, [1]), fresh(B, [1]))
    end).

one_runs(Server) ->
    two(Server, fun(A, _) ->
        Calls = [pitcrew:async(A, fresh, [1]) || _ <- lists:seq(1, 10)],
        ?assertMatch([{ok, _}], lists:usort([pitcrew:await(Call) || Call <- Calls])),
        ?assertMatch(#{misses := 1}, pitcrew_cache:stats(A))
    end).

forgotten(Server) ->
    two(Server, fun(A, B) ->
        [One, Two] = [fresh(A, [N]) || N <- [1, 2]],
        ok = pitcrew_cache:delete(B, fresh, [1]),
        Other = fresh(A, [1]),
        ?assertNotEqual(One, Other),
        ?assertEqual([Other, Two], [fresh(B, [1]), fresh(B, [2])]),
        ok = pitcrew_cache:clear(A),
        ?assertEqual([], [X || X <- [fresh(B, [1]), fresh(B, [2])], lists:member(X, [One, Other, Two])]),
        ?assertEqual(fresh(A, [1]), fresh(B, [1])),
        ?assertEqual(#{bad => 0, unreachable => 0}, stats(B, [bad, unreachable]))
    end).

%% What began before does not bring back what was deleted since.
while_it_runs(Server, Forget) ->
    two(Server, fun(A, B) ->
        Listener = pitcrew_test:listen(),
        Args = [pitcrew_test:port(Listener)],
        Call = pitcrew:async(A, meet_fresh, Args),
        {First, _} = pitcrew_test:meet(Listener),
        ok = Forget(B, Args),
        pitcrew_test:answer(First, "a"),
        {ok, <<"a", _/binary>>} = pitcrew:await(Call),
        Again = pitcrew:async(B, meet_fresh, Args),
        {Second, _} = pitcrew_test:meet(Listener),
        pitcrew_test:answer(Second, "b"),
        {ok, <<"b", _/binary>>} = Result = pitcrew:await(Again),
        ?assertEqual(Result, pitcrew:call(A, meet_fresh, Args)),
        gen_tcp:close(Listener)
    end).

deleted_elsewhere(Server) -> while_it_runs(Server, fun(Pool, Args) -> pitcrew_cache:delete(Pool, meet_fresh, Args) end).
cleared_elsewhere(Server) -> while_it_runs(Server, fun(Pool, _) -> pitcrew_cache:clear(Pool) end).

ttl(Server) ->
    two(Server, #{ttl => 50}, #{}, #{}, fun(A, B) ->
        Value = fresh(A, [1]),
        ok = until(fun() -> case fresh(B, [1]) of Value -> same; _ -> ok end end)
    end).

types(Server) ->
    two(Server, fun(A, B) ->
        [{ok, Value}, {ok, Value}] = [pitcrew:call(Pool, fresh_list, [500]) || Pool <- [A, B]],
        [{ok, Bytes}, {ok, Bytes}] = [pitcrew:call(Pool, fresh_bytes, [300_000]) || Pool <- [A, B]],
        [{ok, Tagged}, {ok, Tagged}] = [pitcrew:call(Pool, fresh_bytes, [3], [{bytes, tagged}]) || Pool <- [A, B]],
        ?assertMatch(#{hits := 3, bad := 0}, pitcrew_cache:stats(B))
    end).

%% ---- What is there is not what it should be

poison(Server, Change) ->
    [Key] = keys(Server),
    _ = Change(Key, command(Server, ["GET", Key])).

%% In every way the call runs anew, it is counted, and the next result is kept in its place.
poisoned(Server) ->
    two(Server, fun(A, B) ->
        Set = fun(Value) -> fun(Key, _) -> command(Server, ["SET", Key, Value]) end end,
        Flip = fun(At) -> fun(Key, Old) ->
            Place = case At < 0 of true -> byte_size(Old) + At; false -> At end,
            <<Front:Place/binary, Byte, Back/binary>> = Old,
            command(Server, ["SET", Key, <<Front/binary, (Byte bxor 1), Back/binary>>])
        end end,
        Changes = [
            Set(<<"x">>), Set(term_to_binary(fun() -> halt() end)), Set(<<131, 104, 255>>), Set(crypto:strong_rand_bytes(1000)),
            Flip(0), Flip(2), Flip(3), Flip(18), Flip(19), Flip(34), Flip(35), Flip(40), Flip(-1),
            fun(Key, Old) -> command(Server, ["SET", Key, binary:part(Old, 0, byte_size(Old) - 1)]) end,
            fun(Key, Old) -> command(Server, ["SET", Key, <<Old/binary, 0>>]) end,
            fun(Key, _) -> command(Server, ["SETRANGE", Key, "0", <<"PCR">>]), command(Server, ["SET", Key, <<"PCR">>]) end
        ],
        _ = fresh(A, [1]),
        [begin
             Before = fresh(A, [1]),
             poison(Server, Change),
             #{bad := Bad} = pitcrew_cache:stats(B),
             After = fresh(B, [1]),
             ?assertNotEqual(Before, After),
             ?assertMatch(#{bad := More} when More =:= Bad + 1, pitcrew_cache:stats(B)),
             ?assertEqual(After, fresh(A, [1]))
         end || Change <- Changes]
    end).

%% A result that is sound, but of another call.
moved(Server) ->
    two(Server, fun(A, B) ->
        One = fresh(A, [1]),
        [Key] = keys(Server),
        Two = fresh(A, [2]),
        [Other] = keys(Server) -- [Key],
        command(Server, ["SET", Other, command(Server, ["GET", Key])]),
        New = fresh(B, [2]),
        ?assertNot(lists:member(New, [One, Two])),
        ?assertEqual({One, New}, {fresh(B, [1]), fresh(A, [2])}),
        ?assertMatch(#{bad := 1}, pitcrew_cache:stats(B))
    end).

another_sort(Server) ->
    two(Server, fun(A, B) ->
        One = fresh(A, [1]),
        [Key] = keys(Server),
        1 = command(Server, ["DEL", Key]),
        1 = command(Server, ["LPUSH", Key, "x"]),
        Two = fresh(B, [1]),
        ?assertNotEqual(One, Two),
        ?assertEqual(Two, fresh(A, [1])),
        ?assertMatch(#{bad := 1}, pitcrew_cache:stats(B))
    end).

no_generation(Server) ->
    two(Server, fun(A, _) ->
        Generation = <<"pitcrew:1:test:generation">>,
        [begin
             Before = fresh(A, [1]),
             Before = fresh(A, [1]),
             _ = command(Server, ["DEL", Generation]),
             _ = command(Server, [Command, Generation, Value]),
             _ = fresh(A, [1]),
             Now = fresh(A, [1]),
             ?assertNotEqual(Before, Now),
             ?assertEqual(Now, fresh(A, [1]))
         end || {Command, Value} <- [{"SET", "x"}, {"SET", lists:duplicate(1000, $y)}, {"LPUSH", "x"}, {"EXISTS", "nothing"}]]
    end).

too_large(Server) ->
    two(Server, #{max_bytes => 1 bsl 16}, #{}, #{}, fun(A, _) ->
        ?assertNotEqual(pitcrew:call(A, fresh_bytes, [100_000]), pitcrew:call(A, fresh_bytes, [100_000])),
        ?assertEqual([], keys(Server)),
        ?assertEqual(#{too_large => 2, stored => 0}, stats(A, [too_large, stored]))
    end).

%% However much somebody puts there, no more is brought here than could be a result.
bounded(Server) ->
    two(Server, #{max_bytes => 1 bsl 16}, #{}, #{}, fun(A, _) ->
        _ = fresh(A, [1]),
        [Key] = keys(Server),
        _ = command(Server, ["SETRANGE", Key, integer_to_list(50_000_000), "x"]),
        Sent = sent(Server),
        _ = fresh(A, [1]),
        ?assert(sent(Server) - Sent < 100_000),
        ?assertMatch(#{bad := 1}, pitcrew_cache:stats(A))
    end).

sent(Server) ->
    {match, [Bytes]} = re:run(command(Server, ["INFO", "stats"]), "total_net_output_bytes:([0-9]+)", [{capture, all_but_first, list}]),
    list_to_integer(Bytes).

%% Atoms are never made of what is read. The sealed text names one that there is nowhere.
foreign_atom(Server) ->
    two(Server, fun(A, B) ->
        _ = fresh(A, [1]),
        [Key] = keys(Server),
        {ok, #pool{cache = #cache{handle = Redis}}} = pitcrew_pools:find(A),
        <<_:19/binary, Generation:16/binary, _/binary>> = command(Server, ["GET", Key]),
        Name = binary:encode_hex(crypto:strong_rand_bytes(8)),
        Term = <<131, 119, (byte_size(Name)), Name/binary>>,
        <<"pitcrew:1:test:", Hex/binary>> = Key,
        Mac = crypto:macN(hmac, sha256, element(3, Redis), [binary:decode_hex(Hex), Generation, Term], 16),
        <<"OK">> = command(Server, ["SET", Key, <<"PCR", Mac/binary, Generation/binary, Term/binary>>]),
        ?assertNotEqual(fresh(B, [1]), fresh(B, [1])),
        ?assertError(badarg, binary_to_existing_atom(Name)),
        ?assertMatch(#{bad := 2}, pitcrew_cache:stats(B))
    end).

%% ---- It is not there

%% A pool starts without it, and uses it as soon as it is there.
goes_and_comes_back(_) ->
    Port = pitcrew_test_redis:free_port(),
    pools({none, Port}, #{}, #{}, #{}, fun(A, B) ->
        without_redis(A, B),
        Server = pitcrew_test_redis:start(Port, []),
        ok = until(fun() -> agree(A, B, 1) end),
        pitcrew_test_redis:stop(Server),
        without_redis(A, B),
        Again = pitcrew_test_redis:start(Port, []),
        ok = until(fun() -> agree(A, B, 2) end),
        pitcrew_test_redis:stop(Again)
    end).

without_redis(A, B) ->
    #{unreachable := Before} = pitcrew_cache:stats(A),
    ?assertEqual(4, length(lists:usort([fresh(Pool, [1]) || Pool <- [A, B, A, B]]))),
    ?assertMatch({error, #{kind := cache_error}}, pitcrew_cache:delete(A, fresh, [1])),
    ?assertMatch({error, #{kind := cache_error}}, pitcrew_cache:clear(A)),
    #{unreachable := After} = pitcrew_cache:stats(A),
    ?assert(After > Before).

agree(A, B, N) ->
    case {fresh(A, [N]), fresh(B, [N])} of
        {Same, Same} -> ok;
        Differ -> Differ
    end.

%% Stopped, as by a debugger: who asks waits for `timeout' once, then nobody does.
hangs(Server) ->
    two(Server, #{}, #{timeout => 100, retry_after => 60_000}, #{}, fun(A, _) ->
        Value = fresh(A, [1]),
        Value = fresh(A, [1]),
        OsPid = element(4, Server),
        "" = os:cmd("kill -STOP " ++ integer_to_list(OsPid)),
        try
            Others = [fresh(A, [1]) || _ <- lists:seq(1, 20)],
            ?assertEqual(21, length(lists:usort([Value | Others]))),
            ?assertMatch(#{unreachable := 20}, pitcrew_cache:stats(A))
        after
            "" = os:cmd("kill -CONT " ++ integer_to_list(OsPid))
        end
    end).

password(Server) ->
    <<"OK">> = command(Server, ["CONFIG", "SET", "requirepass", "open"]),
    pitcrew_test:gated(fun(Base) ->
        Start = fun(Name, Password) ->
            {ok, _} = pitcrew_pool:start((pitcrew_test:options(Base, #{name => Name, size => 1, tools => ["cache_tools"]}))#{
                cache => #{backend => redis(Server, #{password => Password})}})
        end,
        Start(redis_a, <<"open">>),
        Start(redis_b, <<"shut">>),
        ok = until(fun() -> pitcrew_cache:clear(redis_a) end),
        ?assertEqual(fresh(redis_a, [1]), fresh(redis_a, [1])),
        ?assertNotEqual(fresh(redis_b, [1]), fresh(redis_b, [1])),
        [ok = pitcrew_pool:stop(Name) || Name <- [redis_a, redis_b]]
    end).

client_dies(Server) ->
    two(Server, fun(A, B) ->
        {ok, #pool{sup = Sup}} = pitcrew_pools:find(A),
        Client = pitcrew_pools:member(Sup, redis),
        exit(Client, kill),
        ok = until(fun() -> agree(A, B, 1) end)
    end).

%% ---- Options

options_test() ->
    Start = fun(Cache) -> pitcrew_pool:start_link(#{name => redis_a, cache => Cache}) end,
    Message = fun(Cache) -> {error, #{kind := invalid_option, message := M}} = Start(Cache), M end,
    Says = fun(Cache, Text) -> ?assertMatch({_, _}, binary:match(Message(Cache), Text)) end,
    Says(#{backend => {redis, #{}}}, <<"secret is required">>),
    Says(#{backend => {redis, #{secret => <<"too short">>}}}, <<"secret must be a binary of at least 16 bytes">>),
    ?assertEqual(nomatch, binary:match(Message(#{backend => {redis, #{secret => <<"too short">>}}}), <<"too short">>)),
    Says(#{backend => {redis, #{secret => ?SECRET, prot => 1}}}, <<"did you mean port?">>),
    Says(#{backend => memcached}, <<"ets, or {redis, Options}">>),
    Says(#{max_entires => 1}, <<"did you mean max_entries?">>),
    Says(#{ttl => 0}, <<"in option cache: option ttl must be">>),
    Says(5, <<"option cache must be true, false, or">>).

%% The secret is in no report.
secrets_are_not_shown_test() ->
    {ok, Options} = pitcrew_options:pool(#{name => a, cache => #{backend => {redis, #{secret => ?SECRET, password => <<"open sesame">>}}}}),
    Shown = unicode:characters_to_binary(io_lib:format("~tp", [Options])),
    ?assertEqual([nomatch, nomatch], [binary:match(Shown, Text) || Text <- [?SECRET, <<"sesame">>]]).
