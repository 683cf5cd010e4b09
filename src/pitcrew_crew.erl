%% Which worker is in which slot of a pool, and what is due there. Data only: the server starts processes and timers.
%%
%% A slot is `empty' (a worker is to be started), `resting' (it will be, after a back-off), `starting' or `ready'.
-module(pitcrew_crew).

-export([new/1, empty/1, started/2, ready/4, stopped/3, rested/2, count/2, list/1]).
-export_type([crew/0, index/0, state/0]).

-record(slot, {
    state = empty :: state(),
    os_pid = nil :: pos_integer() | nil,
    ready_at :: integer() | undefined,
    failures = 0 :: non_neg_integer()
}).

-type index() :: non_neg_integer().
-type state() :: empty | resting | starting | ready.
-opaque crew() :: #{index() => #slot{}}.

-spec new(pos_integer()) -> crew().
new(Size) -> maps:from_list([{Index, #slot{}} || Index <- lists:seq(0, Size - 1)]).

%% @doc The slots that want a worker now.
-spec empty(crew()) -> [index()].
empty(Crew) -> lists:sort([Index || {Index, #slot{state = empty}} <- maps:to_list(Crew)]).

-spec started(index(), crew()) -> crew().
started(Index, Crew) ->
    #{Index := #slot{state = empty} = Slot} = Crew,
    Crew#{Index := Slot#slot{state = starting}}.

%% @doc `Now' in milliseconds, here and below.
-spec ready(index(), pos_integer(), integer(), crew()) -> crew().
ready(Index, OsPid, Now, Crew) ->
    #{Index := #slot{state = starting} = Slot} = Crew,
    Crew#{Index := Slot#slot{state = ready, os_pid = OsPid, ready_at = Now}}.

%% @doc The worker is gone. The slot is empty again, or rests first when workers keep dying right after their start; one that
%% was called did not die of its start.
-spec stopped(index(), {Calls :: non_neg_integer(), Now :: integer()}, crew()) -> {restart | {rest, pos_integer()}, crew()}.
stopped(Index, {Calls, Now}, Crew) ->
    #{Index := #slot{failures = Before} = Slot} = Crew,
    Failures =
        case Slot of
            #slot{ready_at = undefined} -> pitcrew_backoff:failures(Before, 0);
            #slot{} when Calls > 0 -> 0;
            #slot{ready_at = Since} -> pitcrew_backoff:failures(Before, Now - Since)
        end,
    Fresh = #slot{failures = Failures},
    case pitcrew_backoff:delay(Failures) of
        0 -> {restart, Crew#{Index := Fresh}};
        Delay -> {{rest, Delay}, Crew#{Index := Fresh#slot{state = resting}}}
    end.

-spec rested(index(), crew()) -> crew().
rested(Index, Crew) ->
    #{Index := #slot{state = resting} = Slot} = Crew,
    Crew#{Index := Slot#slot{state = empty}}.

-spec count(state(), crew()) -> non_neg_integer().
count(State, Crew) -> length([Same || #slot{state = Same} <- maps:values(Crew), Same =:= State]).

%% @doc For people, in the order of the slots.
-spec list(crew()) -> [#{id := index(), state := state(), os_pid := pos_integer() | nil}].
list(Crew) ->
    [
        #{id => Index, state => State, os_pid => OsPid}
     || {Index, #slot{state = State, os_pid = OsPid}} <- lists:sort(maps:to_list(Crew))
    ].
