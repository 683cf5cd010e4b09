%% What the kernel says of a process.
-module(pitcrew_proc).

-export([state/1, resident/1, times/1]).

%% @doc Whether a process is stopped, by a signal or by whoever traces it. A pid that may be another process's by now is the caller's care.
-spec state(pos_integer()) -> pitcrew_heart:os_state().
state(OsPid) ->
    case file:read_file(["/proc/", integer_to_list(OsPid), "/stat"]) of
        {ok, Text} -> letter(Text);
        {error, _} -> unknown
    end.

%% It stands behind the name, which is in parentheses and may hold any characters.
letter(Text) ->
    case binary:split(Text, <<") ">>, [global]) of
        [_, _ | _] = Parts ->
            case lists:last(Parts) of
                <<Letter, " ", _/binary>> when Letter =:= $T; Letter =:= $t -> stopped;
                _ -> alive
            end;
        _ ->
            unknown
    end.

%% @doc Bytes of memory that a process has, those that it shares with others among them; `nil' if nobody says.
-spec resident(pos_integer()) -> non_neg_integer() | nil.
resident(OsPid) ->
    case file:read_file(["/proc/", integer_to_list(OsPid), "/status"]) of
        {ok, Text} ->
            case re:run(Text, "^VmRSS:\\s*(\\d+) kB", [multiline, {capture, all_but_first, binary}]) of
                {match, [Kib]} -> 1024 * binary_to_integer(Kib);
                nomatch -> nil
            end;
        {error, _} ->
            nil
    end.

%% Of the clock that /proc counts in, on every Linux that there is.
-define(TICKS, 100).

%% @doc How many milliseconds of processor time a process has used, and how long ago it was started; none if nobody says.
-spec times(pos_integer()) -> [{CpuMs :: non_neg_integer(), AgeMs :: non_neg_integer()}].
times(OsPid) ->
    case {file:read_file(["/proc/", integer_to_list(OsPid), "/stat"]), file:read_file("/proc/uptime")} of
        {{ok, Stat}, {ok, Uptime}} -> times(lists:last(binary:split(Stat, <<") ">>, [global])), hd(binary:split(Uptime, <<" ">>)));
        _ -> []
    end.

%% Behind the name: the state is the first, the processor times are the 12th and 13th, and its beginning, since the system's, is the 20th.
times(Stat, Uptime) ->
    Fields = binary:split(Stat, <<" ">>, [global]),
    [User, System, Begin] = [binary_to_integer(lists:nth(N, Fields)) || N <- [12, 13, 20]],
    Ms = fun(Ticks) -> Ticks * 1000 div ?TICKS end,
    [{Ms(User + System), max(0, round(1000 * binary_to_float(Uptime)) - Ms(Begin))}].
