%% What the kernel says of a process.
-module(pitcrew_proc).

-export([state/1, resident/1]).

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
