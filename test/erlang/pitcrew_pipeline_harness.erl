%% For tests of pipelined workers: pools of the fixture pipeline_tools, whose tools log that they have started, and callers of their own.
-module(pitcrew_pipeline_harness).
-include_lib("eunit/include/eunit.hrl").
-include("../../src/pitcrew_pool.hrl").

-export([with_tools/2, call/4, await/1, holds/2, load/1, idle/1, started/1, ended/1, os_pids/1, processes/1, reader/1]).
-export_type([tools/0, caller/0]).

-type tools() :: #{listener := gen_tcp:socket(), port := inet:port_number(), log := file:filename()}.
-type caller() :: {pid(), reference()}.

%% @doc Runs a fun with a pool and what its tools need. Afterwards nothing may be in the dispatcher, in the mailbox, or left of the pool.
with_tools(Options, Fun) ->
    Log = pitcrew_test:base() ++ ".log",
    Env = [{"PITCREW_TEST_LOG", Log}],
    Defaults = #{size => 1, pipeline => 4, pipeline_age => 60_000, tools => ["pipeline_tools", "py_tools"], env => Env},
    try
        pitcrew_test:with_pool(maps:merge(Defaults, Options), fun(Pool) ->
            Listener = pitcrew_test:listen(),
            try
                Fun(Pool, #{listener => Listener, port => pitcrew_test:port(Listener), log => Log}),
                ?assertEqual(ok, pitcrew_test:until(fun() -> idle(Pool) end)),
                ?assertEqual([], pitcrew_test:mailbox())
            after
                gen_tcp:close(Listener)
            end
        end)
    after
        file:delete(Log)
    end.

%% @doc A caller of its own, in whose mailbox nothing may be left.
call(Pool, Tool, Args, Options) ->
    spawn_monitor(fun() ->
        Answer = pitcrew:call(Pool, Tool, Args, Options),
        exit({answer, Answer, pitcrew_test:mailbox()})
    end).

await({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, {answer, Answer, []}} -> Answer;
        {'DOWN', Ref, process, _, Reason} -> {caller, Reason}
    after 30_000 -> error(no_answer)
    end.

%% @doc Waits until so many calls are in the workers and in the queue.
holds(Pool, Expected) ->
    ?assertEqual(ok, pitcrew_test:until(fun() ->
        case maps:with([out, queued], load(Pool)) of
            Expected -> ok;
            Other -> Other
        end
    end)).

load(Pool) ->
    {ok, #pool{dispatch = Dispatch}} = pitcrew_pools:find(Pool),
    pitcrew_nif:dispatch_info(Dispatch).

%% @doc ok when every worker is there and has nothing to do.
idle(Pool) ->
    case {pitcrew:info(Pool), load(Pool)} of
        %% Lanes that are only lent have gone by now.
        {#{size := Size, free := Size, queued := 0, workers := Workers} = Info, #{lanes := Lanes, out := 0}} when Lanes =:= Size; Lanes =:= 0 ->
            case [W || #{state := idle} = W <- Workers] of
                Workers -> ok;
                _ -> Info
            end;
        Other ->
            Other
    end.

%% @doc The numbers of the calls that have started, in this order.
started(Tools) -> logged(<<"start">>, Tools).

%% @doc Those whose `finally' has run.
ended(Tools) -> logged(<<"end">>, Tools).

logged(Word, #{log := Log}) ->
    {ok, Text} = file:read_file(Log),
    [binary_to_integer(N) || Line <- binary:split(Text, <<"\n">>, [global, trim]), [W, N] <- [binary:split(Line, <<" ">>)], W =:= Word].

os_pids(Pool) -> [OsPid || #{os_pid := OsPid} <- maps:get(workers, pitcrew:info(Pool))].

%% @doc The workers' processes in the VM.
processes(Pool) ->
    {ok, #pool{sup = Sup}} = pitcrew_pools:find(Pool),
    Workers = pitcrew_pools:member(Sup, workers),
    [Pid || {_, Pid, _, _} <- supervisor:which_children(Workers), is_pid(Pid)].

%% @doc The reader that belongs to a worker's process.
reader(Worker) ->
    {links, Links} = process_info(Worker, links),
    [Reader] = [Pid || Pid <- Links, is_pid(Pid), {dictionary, []} =:= process_info(Pid, dictionary)],
    Reader.
