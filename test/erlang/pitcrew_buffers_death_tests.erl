%% A transfer in shared memory that is cut at any of its steps, by the death of the worker or of the VM: who is left gets an error or the right
%% bytes, and nothing is left of the other.
-module(pitcrew_buffers_death_tests).
-include_lib("eunit/include/eunit.hrl").

-export([victim/1]).

-define(SIZE, 300_000).
-define(TRANSFERS, 3).
%% More than there are.
-define(MOST_STEPS, 400).
%% Of the VM's: each takes a VM.
-define(SAMPLES, 12).

%% ---- The worker

workers_test_() ->
    pitcrew_test:unless_sanitized({timeout, 300, fun() ->
        pitcrew_test:with_library("die_at", "-ldl", fun(Library) ->
            pitcrew_test:quietly(fun() ->
                Steps = cut(Library, 1, []),
                %% Its start, and all that it does with boards, arguments and results.
                ?assert(length(Steps) > 20, Steps),
                ?assertEqual([cut, start], lists:usort(Steps))
            end)
        end)
    end}).

%% One step after the other, until there is none at which it could die.
cut(_, ?MOST_STEPS, _) -> error(it_never_ends);
cut(Library, N, Seen) ->
    Env = [{"LD_PRELOAD", Library}, {"DIE_IN", "forks"}, {"DIE_AT", integer_to_list(N)}],
    case run(#{env => Env, tools => ["buffer_tools"], size => 1, start => fork}) of
        whole -> Seen;
        What -> cut(Library, N + 1, [What | Seen])
    end.

run(Options) ->
    pitcrew_test:gated(fun(Base) ->
        #{name := Name} = All = pitcrew_test:options(Base, Options),
        process_flag(trap_exit, true),
        Ran =
            case pitcrew_pool:start_link(All) of
                {ok, Sup} ->
                    Answers = [transfer(Name, N) || N <- lists:seq(1, ?TRANSFERS)],
                    unlink(Sup),
                    ok = pitcrew_pool:stop(Name),
                    outcome(Answers);
                {error, #{kind := start_error}} ->
                    start
            end,
        process_flag(trap_exit, false),
        flush_exits(),
        Ran
    end).

outcome(Answers) ->
    ?assertEqual([], [Answer || Answer <- Answers, Answer =/= right, Answer =/= worker_exit]),
    case lists:member(worker_exit, Answers) of
        true -> cut;
        false -> whole
    end.

transfer(Pool, N) ->
    Bytes = binary:copy(<<N>>, ?SIZE + N),
    case pitcrew:call(Pool, echo_view, [pitcrew:bytes(Bytes)]) of
        {ok, Bytes} -> right;
        {ok, _} -> wrong;
        {error, #{kind := Kind}} -> Kind
    end.

flush_exits() ->
    receive
        {'EXIT', _, _} -> flush_exits()
    after 0 -> ok
    end.

%% ---- The VM

vms_test_() ->
    pitcrew_test:unless_sanitized({timeout, 300, fun() ->
        pitcrew_test:with_library("die_at", "-ldl", fun(Library) ->
            Last = steps_of_a_whole_run(Library, 64),
            Steps = lists:sublist(pitcrew_test:shuffle(lists:seq(1, Last)), ?SAMPLES),
            Ends = [{Step, vm(Library, Step)} || Step <- Steps],
            ?assertEqual([], [End || {_, {_, Left}} = End <- Ends, Left =/= []]),
            %% How many steps there are depends a little on when garbage is collected, so that the last may not come.
            ?assert(length([dead || {_, {dead, _}} <- Ends]) >= ?SAMPLES div 2, Ends)
        end)
    end}).

%% From where on it would not die, found by halving.
steps_of_a_whole_run(Library, N) ->
    case vm(Library, N) of
        {done, []} -> last_step(Library, 1, N);
        {dead, []} when N < ?MOST_STEPS -> steps_of_a_whole_run(Library, 2 * N)
    end.

last_step(_, Dies, Lives) when Lives - Dies =< 4 -> Dies;
last_step(Library, Dies, Lives) ->
    Middle = (Dies + Lives) div 2,
    case vm(Library, Middle) of
        {done, []} -> last_step(Library, Dies, Middle);
        {dead, []} -> last_step(Library, Middle, Lives)
    end.

%% How it ended, and which processes are left of it for good.
vm(Library, Step) ->
    Base = pitcrew_test:base(),
    ok = file:make_dir(Base),
    Env = [{"LD_PRELOAD", Library}, {"DIE_IN", "beam.smp"}, {"DIE_AT", integer_to_list(Step)}],
    Port = pitcrew_test:second_vm(?MODULE, victim, [Base], [{env, Env}, exit_status, stderr_to_stdout]),
    How = ended(Port, []),
    flush(Port),
    Left = pitcrew_test:until(fun() ->
        case pitcrew_test:processes_of(Base) of
            [] -> ok;
            Pids -> Pids
        end
    end),
    ok = file:del_dir_r(Base),
    {How, if Left =:= ok -> []; true -> Left end}.

ended(Port, Said) ->
    receive
        {Port, {data, More}} -> ended(Port, [Said, More]);
        {Port, {exit_status, 0}} -> done;
        {Port, {exit_status, 137}} -> dead;
        {Port, {exit_status, Status}} -> error({Status, lists:flatten(Said)})
    end.

flush(Port) ->
    receive
        {Port, _} -> flush(Port)
    after 0 -> ok
    end.

victim(Base) ->
    {ok, _} = application:ensure_all_started(pitcrew),
    {ok, _} = pitcrew_pool:start_link(pitcrew_test:options(Base, #{tools => ["buffer_tools"], size => 1})),
    [right = transfer(pitcrew_test, N) || N <- lists:seq(1, ?TRANSFERS)],
    halt(0, [{flush, false}]).
