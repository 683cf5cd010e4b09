%% Many consumers that take, stop, die and meet dying workers, in an order that a seed decides. Whatever happens, what they have seen is the
%% beginning of what the tool yields, and nothing is left of anybody.
-module(pitcrew_stream_chaos_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_pool/2, seeded/2]).

-define(CONSUMERS, 8).
-define(STREAMS, 20).

chaos_test_() ->
    [
        seeded(180, fun() ->
            with_pool(Way#{tools => ["stream_tools"], size => 2, grace => 1000, timeout => 60_000}, fun(Pool) ->
                pitcrew_test:quietly(fun() -> consume(Pool) end)
            end)
        end)
     || Way <- [#{}, #{pipeline => 4}, #{concurrency => 4}]
    ].

consume(Pool) ->
    Seeds = [rand:uniform(1 bsl 32) || _ <- lists:seq(1, ?CONSUMERS)],
    Consumers = [spawn_monitor(fun() -> streams(Pool, Seed) end) || Seed <- Seeds],
    [receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Monitor} <- Consumers],
    ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1])).

streams(Pool, Seed) ->
    _ = rand:seed(exsss, Seed),
    [one(rand:uniform(12), Pool) || _ <- lists:seq(1, ?STREAMS)],
    ?assertEqual([], pitcrew_test:mailbox()).

%% Of the tools, those that end their workers are rare.
one(1, Pool) -> dies(Pool);
one(2, Pool) -> starts_with(0, all(pitcrew:stream(Pool, exit_after, [rand:uniform(5)], options())));
one(3, Pool) -> starts_with(0, all(pitcrew:stream(Pool, fail_after, [rand:uniform(500)], options())));
one(4, Pool) -> starts_with(0, all(pitcrew:stream(Pool, unencodable_after, [rand:uniform(500)], options())));
one(N, Pool) when N < 7 -> starts_with(1, all(pitcrew:stream(Pool, count_to, [rand:uniform(2000)], options())));
one(N, Pool) when N < 9 -> starts_with(1, all(pitcrew:stream(Pool, async_count_to, [rand:uniform(200)], options())));
one(9, Pool) -> starts_with(0, take(rand:uniform(600), pitcrew:stream(Pool, async_forever, [], options())));
one(_, Pool) -> starts_with(0, take(rand:uniform(3000), pitcrew:stream(Pool, forever, [], options()))).

options() -> #{buffer => lists:nth(rand:uniform(4), [1, 3, 50, 1000])}.

%% Its worker may have been taken from it by another one that died, so any error will do.
starts_with(First, Chunks) -> ?assertEqual(lists:seq(First, First + length(Chunks) - 1), Chunks).

all(Stream) -> take(infinity, Stream).

take(0, Stream) ->
    ok = pitcrew:stop(Stream),
    [];
take(N, Stream) ->
    case pitcrew:next(Stream) of
        {ok, Chunk, Rest} -> [Chunk | take(less(N), Rest)];
        done -> [];
        {error, #{kind := Kind}} -> ?assert(lists:member(Kind, [tool_error, result_error, worker_exit, cancelled])), []
    end.

less(infinity) -> infinity;
less(N) -> N - 1.

dies(Pool) ->
    N = rand:uniform(50),
    Options = options(),
    {Pid, Monitor} = spawn_monitor(fun() ->
        _ = pitcrew:next(pitcrew:stream(Pool, forever, [], Options)),
        receive never -> ok after N -> exit(kill) end
    end),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.
