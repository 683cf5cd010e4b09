%% How many workers a pool should have: more while calls wait, fewer while workers have nothing to do. Pure: functions of what is
%% seen at a moment, in monotonic milliseconds.
-module(pitcrew_growth).

-export([least/1, most/1, grow/3, nobody/0, shrink/5, forget/2]).
-export_type([idle/0, use/0]).

%% What a worker was doing: how many calls it has had, and whether one is there.
-type use() :: {Calls :: non_neg_integer(), idle | busy}.
-opaque idle() :: #{pitcrew_crew:index() => {Calls :: non_neg_integer(), Since :: integer()}}.

%% A call that has waited for this long would have been better off with another worker.
-define(WAITED_NS, 2_000_000).

%% @doc The workers that are there although nobody calls.
-spec least(pitcrew_options:pool()) -> non_neg_integer().
least(#{lazy := true}) -> 0;
least(#{size := Size}) -> Size.

-spec most(pitcrew_options:pool()) -> pos_integer().
most(#{size := Size, max_overflow := Overflow}) -> Size + Overflow.

%% @doc Whether there should be more workers: those that are being started already are counted first. `wait': calls wait, but only just.
-spec grow(map(), pitcrew_crew:crew(), pitcrew_options:pool()) -> enough | wait | {grow, pos_integer()}.
grow(#{queued := Queued, waited_ns := Waited} = Load, Crew, #{pipeline := Depth, concurrency := Width} = Options) ->
    Ready = pitcrew_crew:count(ready, Crew),
    Coming = pitcrew_crew:present(Crew) - Ready,
    Room = most(Options) - pitcrew_crew:wanted(Crew),
    Need = min(Room, max((Queued + Depth - 1) div Depth, behind(Load, Width)) - Coming),
    if
        Need =< 0 -> enough;
        Queued > 0, Waited < ?WAITED_NS, Ready > 0 -> wait;
        true -> {grow, Need}
    end.

%% Calls that stand in a worker behind those that it runs, while no worker is without.
behind(#{free := 0, lanes := Lanes, out := Out}, Width) when Out > Lanes * Width -> 1;
behind(_, _) -> 0.

%% @doc Nobody was seen yet.
-spec nobody() -> idle().
nobody() -> #{}.

%% @doc A worker is gone.
-spec forget(pitcrew_crew:index(), idle()) -> idle().
forget(Index, Idle) -> maps:remove(Index, Idle).

%% @doc The workers that have had nothing to do for the pool's `idle_timeout' and are not needed, those first that have been so for longest.
-spec shrink([{pitcrew_crew:index(), use()}], integer(), idle(), pitcrew_crew:crew(), pitcrew_options:pool()) ->
    {[pitcrew_crew:index()], idle()}.
shrink(Workers, Now, Before, Crew, #{idle_timeout := Timeout} = Options) ->
    Seen = maps:from_list([{Index, seen(Index, Use, Now, Before)} || {Index, Use} <- Workers]),
    Idle = lists:sort([{Since, Index} || {Index, {_, Since}} <- maps:to_list(Seen), Now - Since >= Timeout]),
    Surplus = max(0, pitcrew_crew:wanted(Crew) - least(Options)),
    {[Index || {_, Index} <- lists:sublist(Idle, Surplus)], Seen}.

seen(Index, {Calls, idle}, Now, Before) ->
    case Before of
        #{Index := {Calls, _} = Same} -> Same;
        #{} -> {Calls, Now}
    end;
seen(_, {Calls, busy}, Now, _) ->
    {Calls, Now}.
