%% The failover test of a load test: workers are killed while calls run, and what becomes of those is counted.
-module(pitcrew_load_faults).

-export([with/4, unlisten/1]).
-export_type([report/0]).

-include("pitcrew_pool.hrl").

%% `at': when workers were killed, in milliseconds from the first call that counts; none is in the warm-up. `retries' of so many calls (`retried').
%% `healthy': whether the pool had all its workers ten seconds later at the latest, and after how many milliseconds (`recovery'), else nil.
-type report() :: #{
    kills := non_neg_integer(),
    at := [non_neg_integer()],
    retries := non_neg_integer(),
    retried := non_neg_integer(),
    healthy := boolean(),
    recovery := non_neg_integer() | nil
}.

-define(RECOVERY_MS, 10_000).
-define(LOOK_MS, 10).

%% @doc Does something while a worker is killed every so many milliseconds, after a warm-up of so many. `Id' is for {@link unlisten/1}, should the calling process
%% not come to its end.
-spec with(off | {Every :: pos_integer(), Warmup :: non_neg_integer()}, atom() | pid(), {Id :: term(), pitcrew_load_ledger:ledger()}, fun(() -> T)) ->
    {T, report() | nil}.
with(off, _, _, Fun) ->
    {Fun(), nil};
with({Every, Warmup}, Pool, {Id, Ledger}, Fun) ->
    ok = listen(Id, Pool),
    Start = erlang:monotonic_time(millisecond) + Warmup,
    Clock = pitcrew_load_every:start(Every, fun(Kills) -> kill_one(Pool, Start, Kills) end, []),
    Result = Fun(),
    Kills = lists:reverse(pitcrew_load_every:stop(Clock)),
    Recovery = recovered(Pool, ?RECOVERY_MS),
    ok = unlisten(Id),
    {Retries, Retried} = pitcrew_load_ledger:retries(Ledger),
    {Result, #{kills => length(Kills), at => Kills, retries => Retries, retried => Retried, healthy => Recovery =/= nil, recovery => Recovery}}.

%% The events of calls come in the process that makes the call, which says whose it is.
listen(Id, Pool) ->
    case pitcrew_pools:find(Pool) of
        {ok, #pool{events = Events}} ->
            pitcrew_telemetry:attach_many(Id, pitcrew_call_events:ends(Events), fun count/4, none);
        absent ->
            ok
    end.

-spec unlisten(term()) -> ok.
unlisten(Id) ->
    _ = pitcrew_telemetry:detach(Id),
    ok.

count(_, #{retries := Retries}, _, _) when Retries > 0 ->
    case get(pitcrew_load_ledger) of
        undefined -> ok;
        Ledger -> pitcrew_load_ledger:retried(Retries, Ledger)
    end;
count(_, _, _, _) ->
    ok.

kill_one(Pool, Start, Kills) ->
    At = erlang:monotonic_time(millisecond) - Start,
    case At >= 0 andalso workers(Pool) of
        {Keeper, [_ | _] = Workers} ->
            ok = pitcrew_keeper:kill(Keeper, lists:nth(rand:uniform(length(Workers)), Workers), sigkill),
            [At | Kills];
        _ ->
            Kills
    end.

%% Processes of the pool go and come; what is not there now is there the next time.
workers(Pool) ->
    try
        {ok, #pool{sup = Sup}} = pitcrew_pools:find(Pool),
        Children = supervisor:which_children(pitcrew_pools:member(Sup, workers)),
        {pitcrew_pools:member(Sup, keeper), [Pid || {_, Pid, _, _} <- Children, is_pid(Pid)]}
    catch
        error:_ -> {none, []};
        exit:_ -> {none, []}
    end.

%% After how many milliseconds a pool has as many workers as it wants; nil if it has not in time.
-spec recovered(atom() | pid(), timeout()) -> non_neg_integer() | nil.
recovered(Pool, Ms) ->
    Start = erlang:monotonic_time(millisecond),
    recovered(Pool, Start, Start + Ms).

recovered(Pool, Start, Deadline) ->
    Now = erlang:monotonic_time(millisecond),
    case is_whole(Pool) of
        true ->
            Now - Start;
        false when Now >= Deadline ->
            nil;
        %% There is no event for a worker that is one of many.
        false ->
            receive
            after ?LOOK_MS -> recovered(Pool, Start, Deadline)
            end
    end.

is_whole(Pool) ->
    try pitcrew:health(Pool) of
        #{status := ok, ready := Ready, wanted := Wanted} -> Ready >= Wanted;
        #{} -> false
    catch
        error:_ -> false;
        exit:_ -> false
    end.
