%% One run of the profiler: a process that has a recording in each worker of a pool. A recording is an object there that this process alone refers
%% to, so it ends with this process, whatever that dies of; and this process ends with its caller.
%%
%% Each worker is asked by a process of its own, so that one that is busy keeps nobody from the others.
-module(pitcrew_recorder).

-export([start/2, open/1, mark/1, finish/1, stop/1]).
-export([work/1]).
-export_type([recorder/0]).

-include("pitcrew_pool.hrl").

-opaque recorder() :: pid().
-type os_pid() :: pos_integer().

-record(state, {
    pool :: #pool{},
    options :: map(),
    caller :: reference(),
    %% The workers that there were, and the recordings that there are.
    workers = [] :: [os_pid()],
    recordings = #{} :: #{os_pid() => map()},
    missing = [] :: [pitcrew_profiler:missing()]
}).

-define(TOOL, <<"pitcrew:profile">>).
%% Beyond the wait for a worker, what its answer may take: to count a large heap takes seconds.
-define(ANSWER_MS, 60_000).

-spec start(#pool{}, map()) -> {ok, recorder()}.
start(Pool, Options) ->
    Caller = self(),
    {ok, spawn(fun() -> loop(#state{pool = Pool, options = Options, caller = monitor(process, Caller)}) end)}.

%% @doc Begins a recording in every worker that there is; an error if there is none then.
-spec open(recorder()) -> ok | {error, pitcrew_error:t()}.
open(Recorder) -> ask(Recorder, open).

-spec mark(recorder()) -> ok.
mark(Recorder) -> ask(Recorder, mark).

%% @doc Ends them: what each has seen, and whose part is missing.
-spec finish(recorder()) -> {[{os_pid(), map()}], [pitcrew_profiler:missing()]}.
finish(Recorder) -> ask(Recorder, finish).

%% @doc Ends what is left of them, and the process.
-spec stop(recorder()) -> ok.
stop(Recorder) ->
    _ = is_process_alive(Recorder) andalso ask(Recorder, stop),
    ok.

ask(Recorder, What) ->
    Ref = monitor(process, Recorder),
    Recorder ! {ask, self(), Ref, What},
    receive
        {Ref, Answer} ->
            demonitor(Ref, [flush]),
            Answer;
        {'DOWN', Ref, process, _, Reason} ->
            exit({profiler, Reason})
    end.

%% ---- The process

loop(#state{caller = Caller} = State) ->
    receive
        {ask, From, Ref, stop} ->
            {_, _} = on(finish, State),
            From ! {Ref, ok};
        {ask, From, Ref, What} ->
            {Answer, New} = on(What, State),
            From ! {Ref, Answer},
            loop(New);
        {'DOWN', Caller, process, _, _} ->
            exit(shutdown)
    end.

on(open, State) ->
    case begin_in_all(State) of
        %% It may have none because nobody has called yet, or be about to replace those that it has: a call waits for one.
        {_, [], _} = None ->
            case pitcrew_call:run_at(State#state.pool, any, {<<"pitcrew:nothing">>, [], call_options(State)}) of
                {ok, _} -> opened(begin_in_all(State), State);
                {error, _} -> opened(None, State)
            end;
        Some ->
            opened(Some, State)
    end;
on(mark, #state{recordings = Recordings} = State) ->
    _ = each([{OsPid, fun() -> method(Recording, <<"mark">>, State) end} || {OsPid, Recording} <- maps:to_list(Recordings)], State),
    {ok, State};
on(finish, #state{recordings = Recordings, missing = Missing} = State) ->
    Jobs = [{OsPid, fun() -> method(Recording, <<"stop">>, State) end} || {OsPid, Recording} <- lists:sort(maps:to_list(Recordings))],
    {Parts, Lost} = sorted(each(Jobs, State)),
    {{Parts, lists:sort(Missing ++ Lost ++ late(State))}, State#state{recordings = #{}}}.

begin_in_all(#state{pool = Pool} = State) ->
    Workers = workers(Pool),
    {Recordings, Missing} = sorted(each([{OsPid, fun() -> begin_in(Channel, State) end} || {OsPid, Channel} <- Workers], State)),
    {[OsPid || {OsPid, _} <- Workers], Recordings, Missing}.

workers(Pool) -> pitcrew_pool_server:ask(Pool, workers).

opened({Workers, Recordings, Missing}, State) ->
    {outcome(Recordings, Missing), State#state{workers = Workers, recordings = maps:from_list(Recordings), missing = Missing}}.

outcome([], []) -> {error, pitcrew_error:new(checkout_timeout, "the pool has no worker that could be profiled")};
outcome([], [#{message := Message} | _]) -> {error, pitcrew_error:new(checkout_timeout, ["no worker can be profiled: ", Message])};
outcome(_, _) -> ok.

%% Those that came later have no part in it.
late(#state{pool = Pool, workers = Known}) ->
    try workers(Pool) of
        Now -> [missing(OsPid, late, "it was started during the run") || {OsPid, _} <- Now, not lists:member(OsPid, Known)]
    catch
        error:_ -> []
    end.

%% ---- In the workers

%% The answers of all, each of which has a process; of the caller's death they die.
each(Jobs, State) ->
    Running = maps:from_list([{spawn_opt(?MODULE, work, [Job], [monitor]), OsPid} || {OsPid, Job} <- Jobs]),
    gather(Running, [], State).

%% @private In a process of its own.
-spec work(fun(() -> term())) -> no_return().
work(Job) -> exit({answer, Job()}).

gather(Running, Answers, _) when Running =:= #{} ->
    Answers;
gather(Running, Answers, #state{caller = Caller} = State) ->
    receive
        {'DOWN', Caller, process, _, _} ->
            _ = [exit(Pid, kill) || {Pid, _} <- maps:keys(Running)],
            exit(shutdown);
        {'DOWN', Monitor, process, Pid, {answer, Answer}} when is_map_key({Pid, Monitor}, Running) ->
            {OsPid, Others} = maps:take({Pid, Monitor}, Running),
            gather(Others, [{OsPid, Answer} | Answers], State)
    end.

sorted(Answers) ->
    Good = [{OsPid, Value} || {OsPid, {ok, Value}} <- lists:sort(Answers)],
    {Good, [why(OsPid, Error) || {OsPid, {error, Error}} <- lists:sort(Answers)]}.

%% As a session's call that keeps to this worker, but only for this call.
begin_in(Channel, #state{pool = #pool{dispatch = Dispatch} = Pool} = State) ->
    No = erlang:unique_integer([positive]),
    Tenant = pitcrew_nif:tenant_new(Dispatch, No, false),
    case pitcrew_nif:tenant_share(Tenant, Channel) of
        true ->
            Call = {?TOOL, [wanted(State)], (call_options(State))#{ref => true}},
            try
                pitcrew_call:run_at(Pool, {tenant, No, Tenant}, Call)
            after
                pitcrew_nif:tenant_end(Tenant, ended)
            end;
        false ->
            {error, reserved}
    end.

wanted(#state{pool = #pool{one_at_a_time = Alone}, options = #{functions := Functions, sample := Sample, memory := Memory}}) ->
    #{functions => Functions, sample => given(Sample), memory => given(Memory), many => not Alone}.

given(none) -> nil;
given(Number) -> Number.

method(Recording, Name, State) -> pitcrew_call:run(Recording, Name, [], call_options(State)).

%% Whatever the pool's are.
call_options(#state{options = #{timeout := Timeout}} = State) ->
    #{
        timeout => Timeout + answer_ms(State),
        checkout_timeout => Timeout,
        retry => 0,
        on_caller_exit => cancel,
        protocol => msgpack,
        binaries => str,
        bytes => plain,
        nil => nil,
        keys => dict
    }.

%% Where a call waits in the worker itself, nobody can tell the wait from the answer. One that counts a heap must not be cut, for that could
%% cost the worker: it holds the GIL.
answer_ms(#state{pool = #pool{is_pipelined = true}, options = #{memory := none}}) -> 0;
answer_ms(_) -> ?ANSWER_MS.

why(OsPid, reserved) ->
    missing(OsPid, reserved, "it is a session's alone, or about to leave");
why(OsPid, #{kind := Kind, message := Message}) ->
    missing(OsPid, reason(Kind), Message).

reason(Kind) when Kind =:= checkout_timeout; Kind =:= timeout -> busy;
reason(Kind) when Kind =:= worker_exit; Kind =:= bad_ref; Kind =:= pool_down; Kind =:= no_pool -> gone;
reason(not_allowed) -> refused;
reason(_) -> failed.

missing(OsPid, Reason, Message) -> #{worker => OsPid, reason => Reason, message => iolist_to_binary(Message)}.
