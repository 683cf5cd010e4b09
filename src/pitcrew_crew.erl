%% Which worker is in which slot of a pool, how many there should be, and what is due for it. Data only: the server starts
%% processes and timers.
%%
%% A slot is `vacant' (not in use), `empty' (a worker is to be started), `resting' (it will be, after a back-off), `starting',
%% `ready', or `leaving' (its worker serves the calls that it has, and goes). There are twice as many slots as workers, so that
%% one can be replaced before it leaves: its successor stands in another slot, and when that is ready the old one leaves.
-module(pitcrew_crew).

-export([new/2, capacity/1, want/2, wanted/1, empty/1, started/2, ready/4, settled/2, stopped/3, rested/2, replace/2, leave/2, dismiss/1]).
-export([renew/1, outdated/1, is_current/2, lingering/1, replacing/1, count/2, present/1, idle/1, failures/1, list/1]).
-export_type([crew/0, index/0, state/0]).

-record(slot, {
    state = empty :: state(),
    os_pid = nil :: pos_integer() | nil,
    ready_at :: integer() | undefined,
    failures = 0 :: non_neg_integer(),
    %% The slot whose worker leaves when this one is ready; and the other way round.
    replaces = none :: none | index(),
    successor = none :: none | index(),
    %% Whether it is to have one as soon as there is a slot for it.
    due = false :: boolean(),
    generation = 0 :: non_neg_integer()
}).

-record(crew, {
    slots = #{} :: #{index() => #slot{}},
    vacant :: [index()],
    wanted :: non_neg_integer(),
    most :: pos_integer(),
    %% Of those that are started now; older ones are to be replaced.
    generation = 0 :: non_neg_integer()
}).

-type index() :: non_neg_integer().
-type state() :: empty | resting | starting | ready | leaving.
-opaque crew() :: #crew{}.

%% @doc A pool that wants `Wanted' workers, and may come to want `Most'.
-spec new(non_neg_integer(), pos_integer()) -> crew().
new(Wanted, Most) ->
    want(Wanted, #crew{vacant = lists:seq(0, capacity(Most) - 1), wanted = 0, most = Most}).

%% @doc How many slots such a pool has.
-spec capacity(pos_integer()) -> pos_integer().
capacity(Most) -> 2 * Most.

-spec wanted(crew()) -> non_neg_integer().
wanted(#crew{wanted = Wanted}) -> Wanted.

%% @doc More workers are wanted, or fewer; those that are too many stay until they leave.
-spec want(non_neg_integer(), crew()) -> crew().
want(Wanted, #crew{most = Most} = Crew) -> fill(Crew#crew{wanted = min(Wanted, Most)}).

fill(#crew{wanted = Wanted, slots = Slots, vacant = [Index | Rest]} = Crew) ->
    case members(Slots) < Wanted of
        true -> fill(Crew#crew{slots = Slots#{Index => #slot{}}, vacant = Rest});
        false -> Crew
    end;
fill(Crew) ->
    Crew.

%% Those that are, or will be, there for good: a successor counts only once it is ready, and whoever leaves does not.
members(Slots) ->
    length([S || #slot{state = State, replaces = none} = S <- maps:values(Slots), State =/= leaving]).

%% @doc The slots that want a worker now.
-spec empty(crew()) -> [index()].
empty(#crew{slots = Slots}) -> lists:sort([Index || {Index, #slot{state = empty}} <- maps:to_list(Slots)]).

-spec started(index(), crew()) -> crew().
started(Index, #crew{slots = Slots, generation = Generation} = Crew) ->
    #{Index := #slot{state = empty} = Slot} = Slots,
    Crew#crew{slots = Slots#{Index := Slot#slot{state = starting, generation = Generation}}}.

%% @doc `Now' in milliseconds, here and below. Whoever it replaces is to leave.
-spec ready(index(), pos_integer(), integer(), crew()) -> {none | index(), crew()}.
ready(Index, OsPid, Now, #crew{slots = Slots} = Crew) ->
    #{Index := #slot{state = starting, replaces = Old} = Slot} = Slots,
    Ready = Crew#crew{slots = Slots#{Index := Slot#slot{state = ready, os_pid = OsPid, ready_at = Now, replaces = none}}},
    case Old of
        none -> {none, Ready};
        _ -> {Old, leave(Old, Ready)}
    end.

%% @doc The worker has lived for long enough not to have failed at its start.
-spec settled(index(), crew()) -> crew().
settled(Index, #crew{slots = Slots} = Crew) ->
    #{Index := Slot} = Slots,
    Crew#crew{slots = Slots#{Index := Slot#slot{failures = 0}}}.

%% @doc A worker goes on until another one has been started in its place: now, or once there is a slot for it, for those that leave may take
%% their time. `none': that is under way, or it is not ready.
-spec replace(index(), crew()) -> none | crew().
replace(Index, #crew{slots = Slots} = Crew) ->
    case Slots of
        #{Index := #slot{state = ready, successor = none} = Slot} ->
            succeed(Crew#crew{slots = Slots#{Index := Slot#slot{due = true}}});
        #{} ->
            none
    end.

succeed(#crew{slots = Slots, vacant = [New | Rest]} = Crew) ->
    case lists:sort([Index || {Index, #slot{state = ready, due = true}} <- maps:to_list(Slots)]) of
        [Index | _] ->
            #{Index := Slot} = Slots,
            Replaced = Slots#{Index := Slot#slot{due = false, successor = New}, New => #slot{replaces = Index}},
            succeed(Crew#crew{slots = Replaced, vacant = Rest});
        [] ->
            Crew
    end;
succeed(Crew) ->
    Crew.

%% @doc A worker that is ready serves no more calls than it has.
-spec leave(index(), crew()) -> crew().
leave(Index, #crew{slots = Slots} = Crew) ->
    #{Index := #slot{state = ready} = Slot} = Slots,
    Crew#crew{slots = Slots#{Index := Slot#slot{state = leaving, successor = none}}}.

%% @doc Nobody is wanted any more: whoever is ready leaves, and nobody else is started. Those that start are as many too many.
-spec dismiss(crew()) -> crew().
dismiss(#crew{slots = Slots} = Crew) ->
    Left = maps:filtermap(fun(_, Slot) -> dismissed(Slot) end, Slots),
    lists:foldl(fun vacate/2, Crew#crew{slots = Left, wanted = 0}, maps:keys(Slots) -- maps:keys(Left)).

dismissed(#slot{state = State}) when State =:= empty; State =:= resting -> false;
dismissed(#slot{state = starting} = Slot) -> {true, Slot#slot{replaces = none}};
dismissed(#slot{} = Slot) -> {true, Slot#slot{state = leaving, successor = none}}.

%% @doc The worker is gone. If another is wanted in its place the slot is empty again, or rests first when workers keep dying right
%% after their start; one that was called did not die of its start.
-spec stopped(index(), {Calls :: non_neg_integer(), Now :: integer()}, crew()) ->
    {restart | vacant | {rest, pos_integer()}, crew()}.
stopped(Index, Life, #crew{slots = Slots} = Crew) ->
    #{Index := #slot{state = State, successor = Successor} = Slot} = Slots,
    Without = promote(Successor, Crew#crew{slots = maps:remove(Index, Slots)}),
    case State =:= leaving orelse surplus(Slot, Without) of
        true -> {vacant, succeed(fill(vacate(Index, Without)))};
        false -> again(Index, Life, Slot, Without)
    end.

%% The one that was to be replaced is gone, and its successor need not wait for it.
promote(none, Crew) ->
    Crew;
promote(Index, #crew{slots = Slots} = Crew) ->
    case Slots of
        #{Index := Slot} -> Crew#crew{slots = Slots#{Index := Slot#slot{replaces = none}}};
        #{} -> Crew
    end.

surplus(#slot{replaces = none}, #crew{slots = Slots, wanted = Wanted}) -> members(Slots) >= Wanted;
surplus(_, _) -> false.

vacate(Index, #crew{vacant = Vacant} = Crew) -> Crew#crew{vacant = lists:merge([Index], Vacant)}.

again(Index, {Calls, Now}, #slot{failures = Before, replaces = Replaces} = Slot, #crew{slots = Slots} = Crew) ->
    Failures =
        case Slot of
            #slot{ready_at = undefined} -> pitcrew_backoff:failures(Before, 0);
            #slot{} when Calls > 0 -> 0;
            #slot{ready_at = Since} -> pitcrew_backoff:failures(Before, Now - Since)
        end,
    Fresh = #slot{failures = Failures, replaces = Replaces},
    case pitcrew_backoff:delay(Failures) of
        0 -> {restart, Crew#crew{slots = Slots#{Index => Fresh}}};
        Delay -> {{rest, Delay}, Crew#crew{slots = Slots#{Index => Fresh#slot{state = resting}}}}
    end.

%% @doc Its back-off is over. It may have become somebody else's meanwhile.
-spec rested(index(), crew()) -> crew().
rested(Index, #crew{slots = Slots} = Crew) ->
    case Slots of
        #{Index := #slot{state = resting} = Slot} -> Crew#crew{slots = Slots#{Index := Slot#slot{state = empty}}};
        #{} -> Crew
    end.

%% @doc From now on workers are of a new generation.
-spec renew(crew()) -> crew().
renew(#crew{generation = Generation} = Crew) -> Crew#crew{generation = Generation + 1}.

%% @doc Those of an older generation that serve, or will; `succeeded' are those whose successors are on their way.
-spec outdated(crew()) -> [{index(), starting | ready | succeeded}].
outdated(#crew{slots = Slots, generation = Now}) ->
    lists:sort([
        {Index, outdated_state(Slot)}
     || {Index, #slot{state = State, generation = G} = Slot} <- maps:to_list(Slots),
        G < Now,
        State =:= starting orelse State =:= ready
    ]).

outdated_state(#slot{successor = none, state = State}) -> State;
outdated_state(#slot{}) -> succeeded.

%% @doc Whether a worker is of the present generation.
-spec is_current(index(), crew()) -> boolean().
is_current(Index, #crew{slots = Slots, generation = Now}) ->
    #{Index := #slot{generation = Generation}} = Slots,
    Generation =:= Now.

%% @doc Whether there is any worker of an older generation, even if it is leaving.
-spec lingering(crew()) -> boolean().
lingering(#crew{slots = Slots, generation = Now}) ->
    lists:any(
        fun(#slot{state = State, generation = G}) -> G < Now andalso State =/= empty andalso State =/= resting end,
        maps:values(Slots)
    ).

%% @doc How many successors are on their way.
-spec replacing(crew()) -> non_neg_integer().
replacing(#crew{slots = Slots}) -> length([R || #slot{replaces = R} <- maps:values(Slots), R =/= none]).

-spec count(state(), crew()) -> non_neg_integer().
count(State, #crew{slots = Slots}) -> length([Same || #slot{state = Same} <- maps:values(Slots), Same =:= State]).

%% @doc How many there are or will be, without those that leave.
-spec present(crew()) -> non_neg_integer().
present(#crew{slots = Slots}) -> members(Slots).

%% @doc Those of which one can leave without being replaced.
-spec idle(crew()) -> [index()].
idle(#crew{slots = Slots}) ->
    lists:sort([Index || {Index, #slot{state = ready, successor = none}} <- maps:to_list(Slots)]).

%% @doc The longest row of failed starts.
-spec failures(crew()) -> non_neg_integer().
failures(#crew{slots = Slots}) -> lists:max([0 | [Failures || #slot{failures = Failures} <- maps:values(Slots)]]).

%% @doc For people, in the order of the slots.
-spec list(crew()) -> [#{id := index(), state := state(), os_pid := pos_integer() | nil}].
list(#crew{slots = Slots}) ->
    [
        #{id => Index, state => State, os_pid => OsPid}
     || {Index, #slot{state = State, os_pid = OsPid}} <- lists:sort(maps:to_list(Slots))
    ].
