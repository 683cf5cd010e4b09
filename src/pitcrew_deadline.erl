%% Deadlines: moments in monotonic milliseconds, or `infinity', which is greater than all of them.
-module(pitcrew_deadline).

-export([in/1, in/2, left/1]).
-export_type([deadline/0]).

-type deadline() :: integer() | infinity.

%% @doc So many milliseconds from now.
-spec in(timeout()) -> deadline().
in(Timeout) -> in(erlang:monotonic_time(millisecond), Timeout).

%% @doc So many milliseconds after a moment.
-spec in(integer(), timeout()) -> deadline().
in(_, infinity) -> infinity;
in(Start, Timeout) -> Start + Timeout.

%% @doc Milliseconds until then, none if it has passed.
-spec left(deadline()) -> timeout().
left(infinity) -> infinity;
left(Deadline) -> max(0, Deadline - erlang:monotonic_time(millisecond)).
