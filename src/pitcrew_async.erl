%% Calls that their callers do not wait for at once. Each runs in a process of its own, the runner, which keeps the
%% result until somebody has taken it.
%%
%% Invariants: nothing comes into a mailbox unasked; whether a call was cancelled or has ended is decided once, by one
%% compare-and-swap; no runner outlives its starter, but to finish a call that is to go on.
-module(pitcrew_async).

-export([start/4, await/2, cancel/1]).
-export_type([call/0]).

-opaque call() :: {?MODULE, Runner :: pid(), State :: atomics:atomics_ref(), Facts :: map()}.

-define(RUNNING, 0).
-define(CANCELLED, 1).
-define(ENDED, 2).

-spec start(pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:call_options()) -> call().
start(Pool, Tool, Args, Options) ->
    Starter = self(),
    State = atomics:new(1, []),
    Inherit = pitcrew_functions:inherit(),
    Runner = spawn(fun() ->
        _ = Inherit(),
        run(Starter, State, {Pool, Tool, Args, Options})
    end),
    {?MODULE, Runner, State, pitcrew_call:facts(Pool, Tool)}.

-spec await(call(), timeout()) -> {ok, term()} | {error, pitcrew_error:t()}.
await({?MODULE, Runner, State, _} = Call, Timeout) ->
    case atomics:get(State, 1) of
        ?CANCELLED -> gone(Call);
        %% It answers at once, or is gone.
        ?ENDED -> result(ask(Runner, infinity), Call);
        ?RUNNING -> result(ask(Runner, Timeout), Call)
    end.

-spec cancel(call()) -> ok.
cancel({?MODULE, Runner, State, _}) ->
    case atomics:compare_exchange(State, 1, ?RUNNING, ?CANCELLED) of
        ok -> exit(Runner, kill);
        _ -> true
    end,
    ok.

%% ---- Who awaits

ask(Runner, Timeout) ->
    Ref = monitor(process, Runner, [{alias, reply_demonitor}]),
    Runner ! {?MODULE, await, Ref},
    receive
        {Ref, Outcome} -> taken(Runner, Outcome);
        {'DOWN', Ref, process, _, _} -> gone
    after Timeout ->
        demonitor(Ref, [flush]),
        receive
            {Ref, Outcome} -> taken(Runner, Outcome)
        after 0 -> {late, Timeout}
        end
    end.

%% Only now it is let go: a reply that came too late for whoever asked is not lost.
taken(Runner, Outcome) ->
    Runner ! {?MODULE, taken},
    Outcome.

result({late, Timeout}, {?MODULE, Runner, _, _} = Call) ->
    case is_process_alive(Runner) of
        true -> failed(timeout, "there was no result within ~b ms; the call goes on", [Timeout], Call);
        false -> gone(Call)
    end;
result(gone, Call) -> gone(Call);
result(Outcome, _) -> Outcome.

gone({?MODULE, _, State, _} = Call) ->
    case atomics:get(State, 1) of
        ?CANCELLED -> failed(cancelled, "the call was cancelled", [], Call);
        ?ENDED -> failed(cancelled, "the result is gone: it was taken, or whoever made the call has ended", [], Call);
        ?RUNNING -> failed(cancelled, "the call was cancelled: most likely whoever made it has ended", [], Call)
    end.

failed(Kind, Format, Args, {?MODULE, _, _, Facts}) ->
    {error, pitcrew_error:add(pitcrew_error:new(Kind, Format, Args), Facts)}.

%% ---- The runner

%% A call that is to go on without its caller does so because this process does. It is itself the caller in the eyes of
%% the channel, and when it is killed, the call is cut.
run(Starter, State, {Pool, Tool, Args, Options}) ->
    ok = watch(Starter, pitcrew_call:on_caller_exit(Pool, Options)),
    Outcome = pitcrew_call:run(Pool, Tool, Args, pitcrew_options:set(on_caller_exit, cancel, Options)),
    case atomics:compare_exchange(State, 1, ?RUNNING, ?ENDED) of
        ok -> keep(Outcome, monitor(process, Starter));
        ?CANCELLED -> cancelled
    end.

keep(Outcome, Starter) ->
    receive
        {?MODULE, await, Ref} ->
            Ref ! {Ref, Outcome},
            keep(Outcome, Starter);
        {?MODULE, taken} ->
            ok;
        {'DOWN', Starter, process, _, _} ->
            ok
    end.

watch(_, finish) ->
    ok;
watch(Starter, cancel) ->
    Runner = self(),
    pitcrew_watch:when_gone(Starter, fun() -> exit(Runner, kill) end).
