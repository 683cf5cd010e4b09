%% Runs a program to its end and takes its output, within a time. For checks; not for what a pool does.
-module(pitcrew_doctor_command).

-export([run/3]).

-define(TIMEOUT_MS, 15_000).

%% @doc The exit status and what the program has written, to both of its outputs; `absent' if there is no such program, `late' if it took too long.
-spec run(file:filename_all(), [iodata()], [{string(), string() | false}]) -> {non_neg_integer(), binary()} | absent | late.
run(Program, Args, Env) ->
    case find(unicode:characters_to_list(Program)) of
        false -> absent;
        Path -> started(Path, [unicode:characters_to_binary(Arg) || Arg <- Args], Env)
    end.

find(Program) ->
    case lists:member($/, Program) of
        true -> os:find_executable(filename:absname(Program));
        false -> os:find_executable(Program)
    end.

started(Path, Args, Env) ->
    try open_port({spawn_executable, Path}, [{args, Args}, {env, Env}, exit_status, stderr_to_stdout, binary, hide]) of
        Port -> collect(Port, [], pitcrew_deadline:in(?TIMEOUT_MS))
    catch
        error:_ -> absent
    end.

collect(Port, Output, Deadline) ->
    receive
        {Port, {data, Data}} -> collect(Port, [Output, Data], Deadline);
        {Port, {exit_status, Status}} -> {Status, iolist_to_binary(Output)}
    after pitcrew_deadline:left(Deadline) ->
        _ = kill(erlang:port_info(Port, os_pid)),
        _ = catch port_close(Port),
        flush(Port),
        late
    end.

%% The port is open and its program has not been waited for, so the pid is its own.
kill({os_pid, Pid}) -> os:cmd("kill -KILL " ++ integer_to_list(Pid));
kill(undefined) -> ok.

flush(Port) ->
    receive
        {Port, _} -> flush(Port)
    after 0 -> ok
    end.
