%% Pipelined workers while everything goes wrong at once: workers are killed from outside, by their tools and by the
%% pool; callers leave in every way; calls fail. Each call has a number that its worker logs, so that afterwards its
%% end can be held against what really ran. What happens is dealt from one deck, shuffled by a seed; when it happens
%% is up to the machine.
%%
%%   PITCREW_CHAOS_SEED=17 tools/with-venv rebar3 eunit --module=pitcrew_pipeline_chaos_tests
-module(pitcrew_pipeline_chaos_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).

%% More than three workers hold at a time; and later so few that workers run dry beside others that do not.
-define(CALLERS, 64).
-define(FEW, 16).
%% Until somebody is missing, and not only slow.
-define(PATIENCE, 180_000).

-record(card, {
    n :: pos_integer(),
    kind :: atom(),
    tool :: atom(),
    us = 0 :: non_neg_integer(),
    size = 0 :: non_neg_integer(),
    options = #{} :: map(),
    %% Of a caller who leaves, in milliseconds.
    patience = infinity :: timeout()
}).

chaos_test_() -> pitcrew_test:seeded(300, fun chaos/0).

chaos() ->
    Options = #{
        size => 3,
        pipeline => 16,
        pipeline_age => 1,
        spin_us => one_of([0, 50]),
        grace => 20,
        timeout => infinity,
        checkout_timeout => infinity,
        tools => ["chaos_tools"]
    },
    Cards = deck(),
    {ok, _} = application:ensure_all_started(pitcrew),
    Before = processes(),
    pitcrew_pipeline_harness:with_tools(Options, fun(Pool, #{log := Log}) ->
        try with_killer(Pool, fun(Killer) -> play(Cards, Pool, Killer) end) of
            {Played, Killed, Ends} -> judge(Played, Killed, Ends, read(Log))
        catch
            error:hangs ->
                Words = read(Log),
                Again = [Card || Card <- Cards, is_run_too_often(Card, Words)],
                error({hangs, pitcrew_pipeline_harness:load(Pool), {run_too_often, Again}})
        end
    end),
    ?assertEqual(ok, pitcrew_test:until(fun() -> nobody_new(Before) end)).

nobody_new(Before) ->
    case processes() -- Before of
        [] -> ok;
        New -> [{Pid, process_info(Pid, [initial_call, current_stacktrace])} || Pid <- New]
    end.

%% ---- The deck

deck() ->
    Kinds = [
        {answer, 3600}, {slow, 1500}, {echo, 450}, {fail, 300}, {again, 300}, {queue, 300}, {deadline, 450},
        {hang, 300}, {cancel, 300}, {leave, 300}, {finish, 120}, {die, 120}, {kill, 150}, {stubborn, 60}
    ],
    Dealt = pitcrew_test:shuffle(lists:append([lists:duplicate(Count, Kind) || {Kind, Count} <- Kinds])),
    Numbers = lists:seq(1, length(Dealt)),
    [dressed(card(Kind, #card{n = N, kind = Kind, tool = answer})) || {N, Kind} <- lists:zip(Numbers, Dealt)].

%% Many calls wait for each worker all the time, so a patience of some hundredths of a second ends anywhere in a call.
card(answer, Card) -> Card;
card(slow, Card) -> slow(Card);
card(echo, Card) -> Card#card{tool = echo, size = one_of([10, 20_000, 100_000, 1_000_000])};
card(fail, Card) -> Card#card{tool = fail};
card(again, Card) -> Card#card{tool = again, us = 8000, options = #{retry => 5}};
card(queue, Card) -> slow(Card#card{options = #{checkout_timeout => rand:uniform(20) - 1}});
card(deadline, Card) -> slow(Card#card{options = #{timeout => short()}});
card(hang, Card) -> Card#card{tool = hang, options = #{timeout => short()}};
card(cancel, Card) -> slow(Card#card{tool = one_of([answer, hang]), patience = short()});
card(leave, Card) -> slow(Card#card{tool = one_of([answer, hang]), patience = short()});
card(finish, Card) -> slow(Card#card{options = #{on_caller_exit => finish}, patience = short()});
card(die, Card) -> slow(Card#card{tool = die});
card(kill, Card) -> slow(Card);
card(stubborn, Card) -> Card#card{tool = stubborn, options = #{timeout => 100 + short()}}.

slow(Card) -> Card#card{us = rand:uniform(4000)}.

short() -> rand:uniform(60) - 1.

one_of(List) -> lists:nth(rand:uniform(length(List)), List).

%% In both formats, and in frames of every kind: sent in one go, in parts, and from where they are.
dressed(#card{options = Options, size = Size} = Card) ->
    Large = one_of([200_000, 10_000 | lists:duplicate(18, 0)]),
    Card#card{options = Options#{protocol => one_of([json, msgpack, msgpack, msgpack])}, size = max(Size, Large)}.

%% ---- The game

%% What came of each card: {Card, how many milliseconds it took, the outcome}.
play(Cards, Pool, Killer) ->
    Test = self(),
    Callers = [spawn_monitor(fun() -> caller(Test, Hand, Pool, Killer) end) || Hand <- deal(Cards)],
    Played = lists:append([played(Caller) || Caller <- Callers]),
    %% What comes late has come then.
    ?assertEqual(ok, pitcrew_test:until(fun() -> pitcrew_pipeline_harness:idle(Pool) end)),
    ?assertEqual([], [Left || Caller <- Callers, Left <- [dismissed(Caller)], Left =/= {mailbox, []}]),
    Played.

deal(Cards) ->
    {Flood, Ebb} = lists:split(length(Cards) div 2, Cards),
    [deal(Flood, ?CALLERS, I) ++ deal(Ebb, ?FEW, I) || I <- lists:seq(0, ?CALLERS - 1)].

deal(Cards, Hands, I) -> [Card || #card{n = N} = Card <- Cards, N rem Hands =:= I].

played({Pid, Ref}) ->
    receive
        {played, Pid, Played} -> Played;
        {'DOWN', Ref, process, Pid, Reason} -> error(Reason)
    after ?PATIENCE -> error(hangs)
    end.

dismissed({Pid, Ref}) ->
    Pid ! over,
    receive
        {'DOWN', Ref, process, Pid, Mailbox} -> Mailbox
    end.

caller(Test, Hand, Pool, Killer) ->
    Test ! {played, self(), [timed(Card, fun() -> play_card(Card, Pool, Killer) end) || Card <- Hand]},
    receive over -> exit({mailbox, pitcrew_test:mailbox()}) end.

timed(Card, Fun) ->
    Begin = erlang:monotonic_time(millisecond),
    Outcome = Fun(),
    {Card, erlang:monotonic_time(millisecond) - Begin, Outcome}.

play_card(#card{kind = kill} = Card, Pool, Killer) ->
    Killer ! kill,
    call(Card, Pool);
play_card(#card{kind = cancel, patience = Patience} = Card, Pool, _) ->
    Call = call(async, Card, Pool),
    case pitcrew:await(Call, Patience) of
        {error, #{kind := timeout}} ->
            ok = pitcrew:cancel(Call),
            pitcrew:await(Call);
        Outcome ->
            Outcome
    end;
play_card(#card{kind = Kind, patience = Patience} = Card, Pool, _) when Kind =:= leave; Kind =:= finish ->
    {Pid, Ref} = spawn_monitor(fun() -> exit({answer, call(Card, Pool)}) end),
    receive
        {'DOWN', Ref, process, Pid, {answer, Outcome}} -> Outcome
    after Patience ->
        exit(Pid, kill),
        receive
            {'DOWN', Ref, process, Pid, {answer, Outcome}} -> Outcome;
            {'DOWN', Ref, process, Pid, killed} -> killed
        end
    end;
play_card(Card, Pool, _) ->
    call(Card, Pool).

call(Card, Pool) -> call(call, Card, Pool).

call(Function, #card{n = N, tool = Tool, us = Us, options = #{protocol := Protocol} = Options} = Card, Pool) ->
    pitcrew:Function(Pool, Tool, [number(N, Protocol), question(Card), Us], Options).

number(N, json) -> N;
number(N, msgpack) -> #{'__struct__' => 'Elixir.Decimal', sign => 1, coef => N, exp => 0}.

question(#card{n = N, size = Size}) -> binary:copy(<<(integer_to_binary(N))/binary, "?">>, 1 + Size div 8).

checksum(Card) -> erlang:crc32(question(Card)).

%% ---- The killer: kills one worker each time it is asked to, and knows how all of them ended

tell([_, worker, What], _, #{worker := OsPid} = Metadata, Killer) ->
    Killer ! {What, OsPid, maps:get(reason, Metadata, none)}.

with_killer(Pool, Fun) ->
    Alive = pitcrew_pipeline_harness:os_pids(Pool),
    Seed = rand:uniform(1 bsl 32),
    {Killer, Ref} = spawn_monitor(fun() -> killer(Seed, Alive) end),
    Events = [[pitcrew_test, worker, What] || What <- [start, stop]],
    ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, Killer),
    try
        Played = Fun(Killer),
        Killer ! over,
        receive
            {'DOWN', Ref, process, Killer, Reason} ->
                {over, Killed, Ends} = Reason,
                {Played, Killed, Ends}
        end
    after
        pitcrew_telemetry:detach(?MODULE),
        exit(Killer, kill)
    end.

killer(Seed, Alive) ->
    _ = rand:seed(exsss, Seed),
    killer(Alive, [], #{}).

%% Ends: how those workers ended that have.
killer(Alive, Killed, Ends) ->
    receive
        {start, OsPid, _} -> killer([OsPid | Alive], Killed, Ends);
        {stop, OsPid, How} -> killer(lists:delete(OsPid, Alive), Killed, Ends#{OsPid => How});
        kill -> kill(Alive, Killed, Ends);
        over -> exit({over, Killed, Ends})
    end.

%% One may die of something else at this very moment: then it is another one's turn.
kill([], Killed, Ends) ->
    receive {start, OsPid, _} -> kill([OsPid], Killed, Ends) end;
kill(Alive, Killed, Ends) ->
    OsPid = one_of(Alive),
    _ = os:cmd("kill -KILL " ++ integer_to_list(OsPid) ++ " 2>&1"),
    Others = lists:delete(OsPid, Alive),
    receive
        {stop, OsPid, {signal, sigkill} = How} -> killer(Others, [OsPid | Killed], Ends#{OsPid => How});
        {stop, OsPid, How} -> kill(Others, Killed, Ends#{OsPid => How})
    end.

%% ---- The log

%% #{Word => #{N => Pids of workers, the last one first}}
read(Log) ->
    {ok, Text} = file:read_file(Log),
    Lines = binary:split(Text, <<"\n">>, [global, trim]),
    lists:foldl(fun add/2, #{seen => #{}, start => #{}, interrupted => #{}}, Lines).

add(Line, Words) ->
    [Word, N, OsPid] = binary:split(Line, <<" ">>, [global]),
    Calls = map_get(binary_to_atom(Word), Words),
    Key = binary_to_integer(N),
    Words#{binary_to_atom(Word) := Calls#{Key => [binary_to_integer(OsPid) | maps:get(Key, Calls, [])]}}.

where(Word, #card{n = N}, Words) -> maps:get(N, map_get(Word, Words), []).

%% ---- The verdict

judge(Played, Killed, Ends, Words) ->
    ?assertEqual([], [shown(Each, Words) || Each <- Played, not is_right(Each, Ends, Words)]),
    %% A worker takes no more with it than the call that ran.
    Lost = [OsPid || {_, _, {error, #{kind := worker_exit, worker := OsPid}}} <- Played],
    ?assertEqual([], Lost -- lists:usort(Lost)),
    Counts = counts(Played, Killed, Ends, Words),
    ?assertEqual({#{}, Counts}, {maps:filter(fun(What, Count) -> Count < least(What) end, Counts), Counts}).

shown({Card, Ms, Outcome}, Words) ->
    Logged = [{Word, where(Word, Card, Words)} || Word <- maps:keys(Words)],
    lists:flatten(io_lib:format("~0P", [{Card, Ms, Logged, Outcome}, 100])).

is_run_too_often(#card{options = Options} = Card, Words) ->
    length(where(start, Card, Words)) > 1 + maps:get(retry, Options, 0).

is_right({Card, Ms, Outcome}, Ends, Words) ->
    Starts = where(start, Card, Words),
    not is_run_too_often(Card, Words) andalso
        may_be(Outcome, Card, Starts) andalso
        is_due(Outcome, Card, Ms) andalso
        is_of_its_worker(Outcome, Starts, where(seen, Card, Words), Ends) andalso
        (where(interrupted, Card, Words) =:= [] orelse has_left(Outcome, Card)).

%% What may come of which card, and whether it must have started. Whatever is not told here must not be.
may_be({ok, [N, Sum]}, #card{n = N, tool = Tool} = Card, [_ | _]) when Tool =:= answer; Tool =:= again ->
    Sum =:= checksum(Card);
may_be({ok, [N, Sum, Echo]}, #card{n = N, tool = echo} = Card, [_]) ->
    Sum =:= checksum(Card) andalso Echo =:= question(Card);
may_be({error, #{kind := tool_error, message := Message}}, #card{n = N, tool = fail} = Card, [_]) ->
    Message =:= iolist_to_binary(io_lib:format("~b ~b", [N, checksum(Card)]));
may_be({error, #{kind := worker_exit, reason := {status, 17}}}, #card{tool = Tool}, [_]) ->
    Tool =:= die;
may_be({error, #{kind := worker_exit, reason := {signal, sigkill}}}, _, _) ->
    true;
may_be({error, #{kind := timeout}}, #card{options = Options}, _) ->
    is_map_key(timeout, Options);
may_be({error, #{kind := checkout_timeout}}, #card{options = Options}, Starts) ->
    is_map_key(checkout_timeout, Options) andalso Starts =:= [];
%% Not what Python says of a call that was interrupted.
may_be({error, #{kind := cancelled} = Error}, #card{kind = Kind}, _) ->
    Kind =:= cancel andalso not is_map_key(type, Error);
may_be(killed, #card{kind = Kind}, _) ->
    Kind =:= leave orelse Kind =:= finish;
may_be(_, _, _) ->
    false.

%% Nobody's time is over too early.
is_due({error, #{kind := timeout}}, #card{options = #{timeout := Timeout}}, Ms) -> Ms >= Timeout;
is_due({error, #{kind := checkout_timeout}}, #card{options = #{checkout_timeout := Timeout}}, Ms) -> Ms >= Timeout;
is_due({error, #{kind := cancelled}}, #card{patience = Patience}, Ms) -> Ms >= Patience;
is_due(killed, #card{patience = Patience}, Ms) -> Ms >= Patience;
is_due(_, _, _) -> true.

%% Only a call that has started is lost with its worker, which may have had no time to log more than that it was read.
is_of_its_worker({error, #{kind := worker_exit, reason := How, worker := OsPid}}, Starts, Seen, Ends) ->
    maps:get(OsPid, Ends, none) =:= How andalso
        case Starts of
            [Last | _] -> Last =:= OsPid;
            [] -> lists:member(OsPid, Seen)
        end;
is_of_its_worker({error, #{kind := Kind, worker := OsPid}}, Starts, _, _) when Kind =:= timeout; Kind =:= tool_error ->
    Starts =:= [] orelse Starts =:= [OsPid];
is_of_its_worker(_, _, _, _) ->
    true.

%% So that the tool may have been interrupted.
has_left({error, #{kind := Kind}}, _) -> Kind =:= timeout orelse Kind =:= cancelled;
has_left(Outcome, #card{kind = Kind}) -> Outcome =:= killed andalso Kind =/= finish.

%% ---- How often it came to what

counts(Played, Killed, Ends, Words) ->
    Errors = [{Kind, Card, where(start, Card, Words)} || {Card, _, {error, #{kind := Kind}}} <- Played],
    Left = [{Kind, where(start, Card, Words)} || {#card{kind = Kind} = Card, _, killed} <- Played],
    Times = fun(Word, Card) -> length(where(Word, Card, Words)) end,
    #{
        killed => length(Killed),
        ended_by_its_tool => length([1 || {status, 17} <- maps:values(Ends)]),
        ended_by_the_pool => length([1 || {signal, sigkill} <- maps:values(Ends)]) - length(Killed),
        lost => length([1 || {worker_exit, #card{tool = Tool}, _} <- Errors, Tool =/= die]),
        tried_again => length([1 || {#card{kind = again} = Card, _, _} <- Played, Times(start, Card) > 1]),
        moved => length([1 || {#card{kind = Kind} = Card, _, _} <- Played, Kind =/= again, Times(seen, Card) > 1]),
        interrupted => map_size(map_get(interrupted, Words)),
        late_in_the_queue => length([1 || {checkout_timeout, _, []} <- Errors]),
        late_before_it_ran => length([1 || {timeout, _, []} <- Errors]),
        late_while_it_ran => length([1 || {timeout, _, [_]} <- Errors]),
        cancelled_before_it_ran => length([1 || {cancelled, _, []} <- Errors]),
        cancelled_while_it_ran => length([1 || {cancelled, _, [_]} <- Errors]),
        left_before_it_ran => length([1 || {leave, []} <- Left]),
        left_while_it_ran => length([1 || {leave, [_]} <- Left]),
        runs_on => length([1 || {finish, [_]} <- Left])
    }.

%% The deck is sure, and so are the kills. Of the rest there are hundreds, or dozens where the machine is slow; only
%% those that need a worker to live for long may then be missing.
least(killed) -> 150;
least(ended_by_its_tool) -> 60;
least(What) when What =:= ended_by_the_pool; What =:= tried_again -> 0;
least(_) -> 1.
