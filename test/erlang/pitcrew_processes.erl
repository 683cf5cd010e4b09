%% For tests: which operating-system processes are there, by /proc.
-module(pitcrew_processes).
-export([alive/1, wait_gone/2, marked/1, marks/0]).

%% @doc Whether the process can still run: a zombie cannot.
-spec alive(pos_integer()) -> boolean().
alive(Pid) ->
    case file:read_file(filename:join(["/proc", integer_to_list(Pid), "stat"])) of
        {ok, Stat} ->
            %% The name may hold anything, so the state is what follows the last parenthesis.
            <<" ", State, _/binary>> = lists:last(binary:split(Stat, <<")">>, [global])),
            State =/= $Z andalso State =/= $X;
        {error, _} ->
            false
    end.

%% @doc Waits until none of them is alive; those that are after Ms milliseconds.
-spec wait_gone([pos_integer()], non_neg_integer()) -> [pos_integer()].
wait_gone(Pids, Ms) -> wait_until(Pids, erlang:monotonic_time(millisecond) + Ms).

wait_until(Pids, Deadline) ->
    case {[Pid || Pid <- Pids, alive(Pid)], erlang:monotonic_time(millisecond) >= Deadline} of
        {[], _} -> [];
        {Left, true} -> Left;
        {Left, false} ->
            receive after 5 -> ok end,
            wait_until(Left, Deadline)
    end.

%% @doc The processes whose environment carries the mark of an instance.
-spec marked(binary()) -> [pos_integer()].
marked(Instance) -> [Pid || {Pid, <<Found:16/binary, _/binary>>} <- marks(), Found =:= Instance].

%% @doc Every process with a mark, and the mark: instance, dash, worker.
-spec marks() -> [{pos_integer(), binary()}].
marks() ->
    {ok, Names} = file:list_dir("/proc"),
    [{list_to_integer(Name), Mark}
     || Name <- Names, Name =/= [], lists:all(fun(C) -> C >= $0 andalso C =< $9 end, Name),
        alive(list_to_integer(Name)),
        {ok, Environment} <- [file:read_file(filename:join(["/proc", Name, "environ"]))],
        <<"PITCREW_INSTANCE=", Mark/binary>> <- binary:split(Environment, <<0>>, [global])].
