%% How long to wait before starting again what died right after its start: nothing the first time, then doubling, with jitter, up to
%% a second. Pure, but for the jitter.
-module(pitcrew_backoff).

-export([failures/2, delay/1, delay/2, max/0, healthy/0]).

-define(FIRST_MS, 20).
-define(MAX_MS, 1000).
%% What lived this long did not die of its start.
-define(HEALTHY_MS, 1000).

-spec max() -> pos_integer().
max() -> ?MAX_MS.

%% @doc What has lived for so many milliseconds did not die of its start.
-spec healthy() -> pos_integer().
healthy() -> ?HEALTHY_MS.

%% @doc Failures in a row, given those before and how long (milliseconds) the last one lived.
-spec failures(non_neg_integer(), non_neg_integer()) -> non_neg_integer().
failures(_, Lifetime) when Lifetime >= ?HEALTHY_MS -> 0;
failures(Before, _) -> Before + 1.

-spec delay(non_neg_integer()) -> non_neg_integer().
delay(Failures) -> delay(Failures, rand:uniform()).

%% @doc Milliseconds; `Jitter' from 0.0 to 1.0 takes off up to a half, so that what died together is not started together.
-spec delay(non_neg_integer(), float()) -> non_neg_integer().
delay(Failures, _) when Failures =< 1 -> 0;
delay(Failures, Jitter) ->
    %% Past ten doublings the maximum is reached anyhow.
    Full = min(?MAX_MS, ?FIRST_MS bsl min(10, Failures - 2)),
    round(Full * (1.0 - Jitter / 2)).
