%% What a caller needs to know of a session: a row of its pool's table of sessions.
-record(place, {
    no :: pos_integer(),
    name :: term(),
    pid :: pid(),
    %% Its worker; or that it has lost one, and why there will be no other; or that it is getting another.
    at :: {tenant, pitcrew_nif:tenant()} | {lost, pitcrew_error:t()} | moving,
    %% When it was used last, in monotonic milliseconds.
    used :: atomics:atomics_ref()
}).
