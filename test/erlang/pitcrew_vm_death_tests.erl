%% A VM is killed with SIGKILL while its workers are busy: nothing of it is left one second later.
-module(pitcrew_vm_death_tests).
-include_lib("eunit/include/eunit.hrl").
-export([victim/2]).

-define(WORKERS, 3).

computing_test_() -> {timeout, 60, fun() -> dies_without_a_trace(compute) end}.
sleeping_test_() -> {timeout, 60, fun() -> dies_without_a_trace(sleep) end}.

%% Its workers fork without end, children that ignore SIGTERM and daemons.
forking_test_() -> {timeout, 60, fun() -> dies_without_a_trace('fork') end}.

%% Each has one more process, which is never the same for long: it forks, leaves, and its child does as well, in a session of its own.
running_away_test_() -> {timeout, 60, fun() -> dies_without_a_trace(run_away) end}.

%% And at that moment one of ours cannot do what it is there for.
stopped_test_() ->
    [{atom_to_list(Part), {timeout, 60, fun() -> dies_without_a_trace(compute, Part) end}} || Part <- [guard, port, zygote]].

dies_without_a_trace(How) -> dies_without_a_trace(How, none).

dies_without_a_trace(How, Stopped) ->
    Base = filename:join("/tmp", "pitcrew-death-" ++ os:getpid() ++ atom_to_list(How) ++ atom_to_list(Stopped)),
    ok = file:make_dir(Base),
    {Port, VmPid} = start_victim(How, Base),
    {Pids, Own, Dir} = report(Port),
    %% Each of the workers has a child that ignores SIGTERM and a daemon in a session of its own.
    ?assertEqual(3 * ?WORKERS, length(Pids)),
    ?assertEqual([], [Pid || Pid <- Pids, not pitcrew_processes:alive(Pid)]),
    <<"pitcrew.", Instance:16/binary>> = list_to_binary(filename:basename(Dir)),
    Marked = pitcrew_processes:marked(Instance),
    ?assertEqual([], Pids -- Marked),
    [pitcrew_port_harness:kill(maps:get(Stopped, Own), stop) || Stopped =/= none],
    pitcrew_port_harness:kill(VmPid, kill),
    ?assertEqual([], pitcrew_processes:wait_gone([VmPid | lists:usort(Pids ++ Marked ++ maps:values(Own))], 1000)),
    %% Those too that were forked meanwhile.
    ?assertEqual([], pitcrew_processes:marked(Instance)),
    ?assertEqual({ok, []}, file:list_dir(Base)),
    ?assertEqual(ok, file:del_dir(Base)),
    catch port_close(Port).

start_victim(How, Base) ->
    Port = pitcrew_test:second_vm(?MODULE, victim, [How, Base], [{line, 65536}, binary, use_stdio]),
    {os_pid, Shell} = erlang:port_info(Port, os_pid),
    {Port, Shell}.

report(Port) ->
    receive
        {Port, {data, {eol, <<"victim ", Line/binary>>}}} -> binary_to_term(base64:decode(Line));
        {Port, {data, _}} -> report(Port)
    after 30000 -> error(the_victim_says_nothing)
    end.

%% ---- in the VM that dies

victim(How, Base) ->
    {ok, _} = application:ensure_all_started(pitcrew),
    {ok, _} = pitcrew_pool:start_link(#{
        name => victim,
        size => ?WORKERS,
        tools => ["stay_behind"],
        cd => fixtures(),
        runtime_dir => Base
    }),
    Files = [filename:join(Base, "pids" ++ integer_to_list(N)) || N <- lists:seq(1, ?WORKERS)],
    [spawn_link(pitcrew, call, [victim, busy, [atom_to_binary(How), list_to_binary(File)], #{timeout => infinity}])
     || File <- Files],
    Pids = lists:append([read_pids(File) || File <- Files]),
    [ok = file:delete(File) || File <- Files],
    Own = maps:with([zygote, guard, port], pitcrew:info(victim)),
    [Dir] = filelib:wildcard(filename:join(Base, "pitcrew.*")),
    io:format("victim ~s~n", [base64:encode(term_to_binary({Pids, Own, Dir}))]),
    receive never -> ok end.

read_pids(File) ->
    case file:read_file(File) of
        {ok, Text} -> [binary_to_integer(Pid) || Pid <- binary:split(Text, <<" ">>, [global])];
        {error, enoent} -> receive after 5 -> read_pids(File) end
    end.

fixtures() ->
    filename:join([filename:dirname(filename:dirname(filename:dirname(source()))), "test", "fixtures"]).

source() -> proplists:get_value(source, ?MODULE:module_info(compile)).
