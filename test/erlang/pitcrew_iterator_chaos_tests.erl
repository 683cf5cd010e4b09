%% Many calls with iterators at once, each of which ends in another way: whatever has been begun is stopped.
-module(pitcrew_iterator_chaos_tests).
-include_lib("eunit/include/eunit.hrl").

-define(CALLERS, 6).
-define(ROUNDS, 25).

all_that_begins_is_stopped_test_() ->
    [
        pitcrew_test:seeded(120, fun() ->
            pitcrew_test:with_pool(Way#{tools => ["iterator_tools"], size => 2, timeout => 60_000, checkout_timeout => 60_000}, fun(Pool) ->
                Counts = counters:new(2, []),
                Callers = [spawn_monitor(fun() -> rounds(?ROUNDS, Pool, Counts, Seed) end) || Seed <- seeds(?CALLERS)],
                [receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Ref} <- Callers],
                ?assertEqual(ok, pitcrew_test:until(fun() -> pitcrew_test:is(counters:get(Counts, 1), counters:get(Counts, 2)) end)),
                ?assert(counters:get(Counts, 1) > 0),
                ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
            end)
        end)
     || Way <- pitcrew_test:ways()
    ].

seeds(N) -> [rand:uniform(1 bsl 40) || _ <- lists:seq(1, N)].

rounds(N, Pool, Counts, Seed) ->
    _ = rand:seed(exsss, Seed),
    _ = [round(rand:uniform(8), Pool, Counts) || _ <- lists:seq(1, N)],
    ok.

%% It never waits for anything, so it can always be stopped.
source(Counts, Last) ->
    Next = fun
        (0) -> counters:add(Counts, 1, 1), {ok, 0, 1};
        (N) when N > Last -> done;
        (N) -> {ok, N, N + 1}
    end,
    Stop = fun(0) -> ok; (_) -> counters:add(Counts, 2, 1) end,
    pitcrew:iterator(Next, 0, [{stop, Stop}, {buffer, rand:uniform(20)}]).

source(Counts) -> source(Counts, infinity).

round(1, Pool, Counts) ->
    taken(100, pitcrew:call(Pool, take, [source(Counts, 100)]));
round(2, Pool, Counts) ->
    taken(100, pitcrew:call(Pool, async_take, [source(Counts, 100)]));
round(3, Pool, Counts) ->
    N = rand:uniform(100),
    taken(N - 1, pitcrew:call(Pool, take, [source(Counts), N]));
round(4, Pool, Counts) ->
    N = rand:uniform(100),
    taken(N - 1, pitcrew:call(Pool, async_take, [source(Counts), N]));
%% With its worker the calls of others may end, that run in it, too.
round(5, Pool, Counts) ->
    case rand:uniform(5) of
        1 -> ?assertMatch({error, #{kind := worker_exit}}, pitcrew:call(Pool, exits, [source(Counts), rand:uniform(50)]));
        _ -> round(6, Pool, Counts)
    end;
round(6, Pool, Counts) ->
    Source = source(Counts),
    {Caller, Ref} = spawn_monitor(fun() -> pitcrew:call(Pool, total, [Source], #{timeout => infinity}) end),
    timer:sleep(rand:uniform(30)),
    exit(Caller, kill),
    receive {'DOWN', Ref, process, Caller, _} -> ok end;
round(7, Pool, Counts) ->
    pitcrew:call(Pool, async_total, [source(Counts)], #{timeout => rand:uniform(50)});
round(8, Pool, Counts) ->
    Stream = pitcrew:stream(Pool, doubled, [source(Counts)], #{buffer => rand:uniform(10)}),
    take(rand:uniform(50), Stream).

taken(_, {error, #{kind := worker_exit}}) -> ok;
taken(Last, Result) -> ?assertEqual({ok, lists:seq(0, Last)}, Result).

take(0, Stream) -> pitcrew:stop(Stream);
take(N, Stream) ->
    case pitcrew:next(Stream) of
        {ok, _, Rest} -> take(N - 1, Rest);
        Over -> Over
    end.
