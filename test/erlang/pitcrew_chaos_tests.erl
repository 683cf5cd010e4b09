%% A pool while everything goes wrong at once, for 100,000 calls: workers are killed, stopped, leave, crash, leak and hang. What happens is
%% dealt from one deck, shuffled by a seed; when it happens is up to the machine.
%%
%%   PITCREW_CHAOS_SEED=17 tools/with-venv rebar3 eunit --module=pitcrew_chaos_tests
-module(pitcrew_chaos_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).

-define(CALLS, 100_000).
-define(CALLERS, 32).
%% Of each kind of fault.
-define(FAULTS, 350).
-define(KINDS, [kill, stop, exit, segfault, leak, timeout]).
-define(LEAK, 32 bsl 20).
%% Until somebody is missing, and not only slow.
-define(PATIENCE, 600_000).

chaos_test_() -> pitcrew_test:seeded(900, fun chaos/0).

chaos() ->
    Options = #{
        size => 4,
        tools => ["havoc_tools"],
        grace => 50,
        timeout => infinity,
        checkout_timeout => infinity,
        heartbeat => 20,
        max_rss => ?LEAK
    },
    Deck = deck(),
    {ok, _} = application:ensure_all_started(pitcrew),
    {Processes, Tables} = {processes(), length(ets:all())},
    {Played, Done} = pitcrew_test:with_pool(Options, fun(Pool) ->
        pitcrew_test:quietly(fun() -> with_injector(Pool, fun(Injector) ->
            Played = play(Deck, Pool, Injector),
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            ?assertMatch(#{status := ok}, pitcrew:health(Pool)),
            Played
        end) end)
    end),
    ?assertEqual(ok, pitcrew_test:until(fun() ->
        case processes() -- Processes of
            [] -> ok;
            New -> New
        end
    end)),
    ?assertEqual(Tables, length(ets:all())),
    judge(Played, Done).

%% ---- The deck: which calls are no plain ones, by their number

deck() ->
    %% A leak and a sleep take a while, in which their worker may be killed.
    Kinds = [{kill, ?FAULTS}, {stop, ?FAULTS}, {exit, ?FAULTS}, {segfault, ?FAULTS}, {leak, 3 * ?FAULTS}, {sleep, 2 * ?FAULTS}],
    Cards = lists:append([lists:duplicate(Count, Card) || {Card, Count} <- Kinds]),
    Numbers = lists:sublist(pitcrew_test:shuffle(lists:seq(1, ?CALLS)), length(Cards)),
    maps:from_list(lists:zip(Numbers, Cards)).

%% ---- The game

play(Deck, Pool, Injector) ->
    Next = atomics:new(1, []),
    Callers = [spawn_monitor(fun() -> exit({played, caller(Deck, Pool, Injector, Next, []), pitcrew_test:mailbox()}) end) || _ <- lists:seq(1, ?CALLERS)],
    lists:append([
        receive
            {'DOWN', Ref, process, _, {played, Played, []}} -> Played;
            {'DOWN', Ref, process, _, Other} -> error(Other)
        after ?PATIENCE -> error({hangs, pitcrew:info(Pool)})
        end
     || {_, Ref} <- Callers
    ]).

%% What was not as it should be, and how many calls of each card ended in what.
caller(Deck, Pool, Injector, Next, Played) ->
    case atomics:add_get(Next, 1, 1) of
        N when N > ?CALLS -> Played;
        N ->
            Card = maps:get(N, Deck, plain),
            caller(Deck, Pool, Injector, Next, [{Card, N, play_card(Card, N, Pool, Injector)} | Played])
    end.

%% It goes on when the fault has happened, so that none is left over when the calls are.
play_card(Card, N, Pool, Injector) when Card =:= kill; Card =:= stop ->
    Injector ! {inject, Card, self()},
    Outcome = play_card(plain, N, Pool, Injector),
    receive {injected, Injector} -> Outcome end;
play_card(plain, N, Pool, _) -> checked(N, pitcrew:call(Pool, check, [N, question(N)]));
play_card(exit, N, Pool, _) -> short(pitcrew:call(Pool, leave, [1 + N rem 100]));
play_card(segfault, _, Pool, _) -> short(pitcrew:call(Pool, segfault));
play_card(leak, _, Pool, _) -> short(pitcrew:call(Pool, leak, [?LEAK]));
play_card(sleep, N, Pool, _) when N rem 2 =:= 0 -> short(pitcrew:call(Pool, sleep, [60], #{timeout => 30}));
play_card(sleep, _, Pool, _) -> short(pitcrew:call(Pool, sleep_in_c, [60], #{timeout => 30})).

question(N) -> binary:copy(<<(integer_to_binary(N))/binary, "?">>, 1 + N rem 50).

checked(N, {ok, [N, Sum]} = Answer) ->
    case erlang:crc32(question(N)) of
        Sum -> right;
        _ -> {wrong, Answer}
    end;
checked(_, Other) ->
    short(Other).

short({ok, Value}) -> {ok, Value};
short({error, #{kind := worker_exit, reason := Reason}}) -> {worker_exit, Reason};
short({error, #{kind := Kind}}) -> Kind.

%% ---- The injector: signals one worker each time it is asked to, and knows how all of them ended

tell([_, worker, What], _, #{worker := OsPid} = Metadata, Injector) ->
    Injector ! {What, OsPid, maps:get(reason, Metadata, none)}.

with_injector(Pool, Fun) ->
    Alive = pitcrew_test:os_pids(Pool),
    {Injector, Ref} = spawn_monitor(fun() -> injector(maps:from_list([{OsPid, well} || OsPid <- Alive]), [], #{}) end),
    Events = [[pitcrew_test, worker, What] || What <- [start, stop, recycle]],
    ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, Injector),
    try
        Played = Fun(Injector),
        Injector ! over,
        receive {'DOWN', Ref, process, Injector, {over, Done}} -> {Played, Done} end
    after
        pitcrew_telemetry:detach(?MODULE),
        exit(Injector, kill)
    end.

%% Workers: what has been done to each that is alive. A fault counts when its worker has ended by it; if it ended of something else at that
%% moment, it is another one's turn. Those that wait for a worker are in Waiting.
injector(Workers, Waiting, Done) ->
    receive
        {start, OsPid, _} ->
            inject(Workers#{OsPid => well}, Waiting, Done);
        {recycle, _, Why} ->
            injector(Workers, Waiting, count({recycle, word(Why)}, Done));
        {inject, Kind, Caller} ->
            inject(Workers, Waiting ++ [{Kind, Caller}], Done);
        {stop, OsPid, How} ->
            case maps:take(OsPid, Workers) of
                {{Kind, Caller}, Rest} ->
                    case How =:= ends(Kind) of
                        true ->
                            Caller ! {injected, self()},
                            inject(Rest, Waiting, count(Kind, Done));
                        false ->
                            inject(Rest, [{Kind, Caller} | Waiting], count({ended, word(How)}, Done))
                    end;
                {well, Rest} ->
                    inject(Rest, Waiting, count({ended, word(How)}, Done))
            end;
        over ->
            exit({over, Done})
    end.

ends(kill) -> {signal, sigkill};
ends(stop) -> stopped.

inject(Workers, [{Kind, _} = Fault | Waiting] = All, Done) ->
    case [OsPid || {OsPid, well} <- maps:to_list(Workers)] of
        [] ->
            injector(Workers, All, Done);
        Well ->
            OsPid = lists:nth(rand:uniform(length(Well)), Well),
            Signal = case Kind of kill -> "KILL "; stop -> "STOP " end,
            _ = os:cmd("kill -" ++ Signal ++ integer_to_list(OsPid) ++ " 2>&1"),
            inject(Workers#{OsPid := Fault}, Waiting, Done)
    end;
inject(Workers, [], Done) ->
    injector(Workers, [], Done).

count(What, Done) -> maps:update_with(What, fun(N) -> N + 1 end, 1, Done).

word({Word, _}) when Word =:= max_rss; Word =:= status -> Word;
word({signal, Name}) -> Name;
word(Word) -> Word.

%% ---- The verdict

judge(Played, Done) ->
    ?assertEqual(?CALLS, length(Played)),
    ?assertEqual([], [Wrong || {Card, _, Outcome} = Wrong <- Played, not may_be(Card, Outcome)]),
    Right = length([right || {_, _, right} <- Played]),
    ?assert(Right >= ?CALLS * 95 div 100),
    Outcomes = lists:foldl(fun({Card, _, Outcome}, Counts) -> count({Card, outcome(Outcome)}, Counts) end, #{}, Played),
    Counts = maps:merge(Outcomes, Done),
    _ = [io:format(user, "~p~n", [Counts]) || os:getenv("CHAOS_COUNTS") =/= false],
    Happened = #{
        kill => maps:get(kill, Done, 0),
        stop => maps:get(stop, Done, 0),
        exit => maps:get({exit, status}, Counts, 0),
        segfault => maps:get({segfault, sigsegv}, Counts, 0),
        leak => maps:get({leak, ok}, Counts, 0),
        timeout => maps:get({sleep, timeout}, Counts, 0)
    },
    ?assertEqual({[], Happened}, {[Kind || Kind <- ?KINDS, map_get(Kind, Happened) < 300], Happened}),
    ?assert(lists:sum(maps:values(Happened)) >= 2000),
    ?assert(maps:get({recycle, max_rss}, Done, 0) >= 10).

outcome({ok, _}) -> ok;
outcome({worker_exit, How}) -> word(How);
outcome(Outcome) -> Outcome.

%% A worker may end by what another fault did to it: a signal, or the memory that it has leaked.
may_be(Card, {worker_exit, How}) ->
    case How of
        {signal, sigkill} -> true;
        stopped -> true;
        {signal, sigsegv} -> Card =:= segfault;
        {status, _} -> Card =:= exit;
        _ -> false
    end;
may_be(leak, {ok, ?LEAK}) -> true;
may_be(sleep, timeout) -> true;
may_be(Card, right) -> Card =:= plain orelse Card =:= kill orelse Card =:= stop;
may_be(_, _) -> false.
