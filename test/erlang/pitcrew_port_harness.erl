%% For tests: drives the real pitcrew_port with a test zygote (test/fixtures/port_zygote.py), message by message.
%%
%% A test process owns one port or several; messages that are not asked for yet wait in its dictionary. PITCREW_TEST_PORT is the
%% command to run instead of the built one, for sanitizers and valgrind.
-module(pitcrew_port_harness).

-export([alone/1, start/0, start/1, base/0, remove_base/1, stop/1, close/1, send/2, send_raw/2]).
-export([zygote/3, zygote_args/1, fork/4, await/2, await/3, none/2, kept/1, exit_status/1, gone/2, rss/1, descriptors/1, wait/1, wait/2, kill/2]).

-define(PATIENCE, 10000).

%% @doc Runs a test in a process of its own: what ports say after it is nobody else's.
alone(Test) ->
    {_, Ref} = spawn_monitor(fun() -> Test(), exit(passed) end),
    receive
        {'DOWN', Ref, process, _, passed} -> ok;
        {'DOWN', Ref, process, _, Reason} -> error(Reason)
    end.

%% @doc A folder for one test; it has to be empty at the end.
base() ->
    Base = filename:join("/tmp", lists:concat(["pitcrew-port-", os:getpid(), "-", erlang:unique_integer([positive])])),
    ok = file:make_dir(Base),
    Base.

remove_base(Base) -> ok = file:del_dir(Base).

start() -> start(#{}).

%% @doc Options: base, instance, wrap (a shell text in which $0 and $@ are the program and its arguments), hello => false.
start(Options) ->
    Base = maps:get(base, Options, "/tmp"),
    Instance = maps:get(instance, Options, binary_to_list(binary:encode_hex(crypto:strong_rand_bytes(8)))),
    Dir = maps:get(dir, Options, filename:join(Base, "pitcrew." ++ Instance)),
    {Program, Args} = command(Options, [Dir, Instance]),
    Port = open_port({spawn_executable, Program}, [{packet, 4}, binary, exit_status, use_stdio, {args, Args}]),
    H = #{port => Port, dir => Dir, instance => list_to_binary(Instance)},
    case maps:get(hello, Options, true) of
        true ->
            [<<"hello">>, 1, Guard, Process] = await(H, [<<"hello">>]),
            H#{guard => Guard, pid => Process};
        false ->
            H
    end.

command(#{wrap := Text}, Args) -> {os:find_executable("sh"), ["-c", Text | program() ++ Args]};
command(_, Args) ->
    [Program | First] = program(),
    {os:find_executable(Program), First ++ Args}.

program() ->
    case os:getenv("PITCREW_TEST_PORT", "") of
        "" -> [filename:join(priv(), "pitcrew_port")];
        Command -> string:lexemes(Command, " ")
    end.

priv() ->
    case code:priv_dir(pitcrew) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Priv -> Priv
    end.

%% @doc An orderly end; everything it said is known then.
stop(H) ->
    send(H, [<<"stop">>, 0]),
    0 = exit_status(H),
    false = filelib:is_dir(maps:get(dir, H)),
    ok.

%% @doc The life line.
close(#{port := Port}) -> true = port_close(Port).

send(H, Message) ->
    {ok, Bytes} = pitcrew_nif:encode(Message, #{}),
    send_raw(H, Bytes).

send_raw(#{port := Port}, Bytes) -> true = port_command(Port, Bytes).

zygote(H, Zid, Way) ->
    send(H, [<<"zygote">>, Zid, zygote_args(Way), #{}, nil]),
    [_, _, Pid] = await(H, [<<"zygote">>, Zid]),
    Pid.

zygote_args(Way) -> [list_to_binary(Text) || Text <- [python(), script(), atom_to_list(Way)]].

python() ->
    Python = os:getenv("PITCREW_PYTHON", "python3"),
    case os:find_executable(Python) of
        false -> filename:absname(Python);
        Path -> Path
    end.

script() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    filename:join([filename:dirname(filename:dirname(Source)), "fixtures", "port_zygote.py"]).

%% @doc Returns the worker's pid.
fork(H, Zid, Wid, Behaviour) ->
    send(H, [<<"fork">>, Zid, Wid, pitcrew:bytes(Behaviour)]),
    [_, _, Pid] = await(H, [<<"forked">>, Wid]),
    Pid.

%% @doc The first message that begins so; what comes before it is kept.
await(H, Prefix) -> await(H, Prefix, ?PATIENCE).

await(H, Prefix, Ms) ->
    case find(H, Prefix, erlang:monotonic_time(millisecond) + Ms) of
        {ok, Message} -> Message;
        timeout -> error({no, Prefix, kept(H)})
    end.

%% @doc No such message came, up to the exit status or until the port has answered what was asked before.
none(H, Prefix) ->
    [] = [Message || Message <- kept(H), lists:prefix(Prefix, Message)],
    ok.

find(#{port := Port} = H, Prefix, Deadline) ->
    case lists:search(fun(Message) -> lists:prefix(Prefix, Message) end, kept(H)) of
        {value, Message} ->
            keep(H, lists:delete(Message, kept(H))),
            {ok, Message};
        false ->
            receive
                {Port, {data, Bytes}} ->
                    {ok, Message} = pitcrew_nif:decode(Bytes, #{}),
                    keep(H, kept(H) ++ [Message]),
                    find(H, Prefix, Deadline);
                {Port, {exit_status, Status}} ->
                    keep(H, kept(H) ++ [[exit_status, Status]]),
                    find(H, Prefix, Deadline)
            after max(0, Deadline - erlang:monotonic_time(millisecond)) -> timeout
            end
    end.

%% @doc What came and was not asked for yet.
kept(#{port := Port}) ->
    case get({kept, Port}) of
        undefined -> [];
        Messages -> Messages
    end.

keep(#{port := Port}, Messages) -> put({kept, Port}, Messages).

exit_status(H) ->
    [exit_status, Status] = await(H, [exit_status]),
    Status.

%% @doc None of them can run any more after so many milliseconds.
gone(Pids, Ms) -> [] = pitcrew_processes:wait_gone(Pids, Ms).

kill(Pid, Signal) -> "" = os:cmd(lists:concat(["kill -", Signal, " ", Pid])).

%% @doc Resident memory in KiB.
rss(Pid) ->
    {ok, Status} = file:read_file(lists:concat(["/proc/", Pid, "/status"])),
    {match, [Kb]} = re:run(Status, "VmRSS:\\s+(\\d+)", [{capture, all_but_first, list}]),
    list_to_integer(Kb).

descriptors(Pid) ->
    {ok, Names} = file:list_dir(lists:concat(["/proc/", Pid, "/fd"])),
    length(Names).

%% @doc Waits until it is true.
wait(Condition) -> wait(Condition, ?PATIENCE).

wait(Condition, Ms) -> wait_until(Condition, erlang:monotonic_time(millisecond) + Ms).

wait_until(Condition, Deadline) ->
    case Condition() of
        true -> ok;
        false ->
            erlang:monotonic_time(millisecond) < Deadline orelse error({never, Condition}),
            receive after 5 -> wait_until(Condition, Deadline) end
    end.
