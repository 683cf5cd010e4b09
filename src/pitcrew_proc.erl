%% What the kernel says of a process.
-module(pitcrew_proc).

-export([state/1]).

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
