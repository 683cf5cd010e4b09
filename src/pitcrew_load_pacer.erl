%% The open loop of a load test: calls start when they are due, whatever has become of those before them, each in a process of its own. Its
%% latency counts from when it was due, so that a stall delays all calls that are due in it, and shows.
%%
%% Starts are due at whole milliseconds, which is what the VM's timers do without spinning: with more than a thousand calls a second
%% some start together. How late they really started is noted with each of them.
%%
%% Invariants: whoever makes a call is linked to the pacer and ends with it; the pacer ends with the process that has started it.
-module(pitcrew_load_pacer).

-export([run/2, due/2]).

-type plan() :: #{
    pool := atom() | pid(),
    call := fun((pos_integer()) -> {pitcrew:tool(), pitcrew:args()} | term()),
    options := [{atom(), term()}],
    rate := number(),
    warmup := non_neg_integer(),
    calls := pos_integer(),
    %% How many calls may run at once, and how long those that have begun may take after the last one has.
    most := pos_integer(),
    patience := non_neg_integer()
}.
-export_type([plan/0]).

-record(pace, {
    plan :: plan(),
    ledger :: pitcrew_load_ledger:ledger(),
    owner :: reference(),
    %% In milliseconds of monotonic time.
    start :: integer(),
    next = 1 :: pos_integer(),
    last :: pos_integer(),
    running = 0 :: non_neg_integer()
}).

%% @doc Makes the calls of a plan. Returns when all have ended, or had their time: how long that took from the first one that counts, in
%% native time.
-spec run(plan(), pitcrew_load_ledger:ledger()) -> non_neg_integer().
run(Plan, Ledger) ->
    Caller = self(),
    Answer = make_ref(),
    Pace = fun() ->
        _ = process_flag(trap_exit, true),
        Caller ! {Answer, paced(monitor(process, Caller), Plan, Ledger)}
    end,
    %% What starts calls must not wait behind them.
    {_, Monitor} = spawn_opt(Pace, [monitor, {priority, high}]),
    receive
        {Answer, Took} ->
            true = demonitor(Monitor, [flush]),
            Took;
        {'DOWN', Monitor, process, _, Reason} ->
            exit(Reason)
    end.

paced(Owner, #{warmup := Warmup, calls := Calls} = Plan, Ledger) ->
    Start = erlang:monotonic_time(millisecond) + 2,
    Pace = #pace{plan = Plan, ledger = Ledger, owner = Owner, start = Start, last = Warmup + Calls},
    ok = loop(arm(Pace)),
    erlang:monotonic_time() - native(Start + due(Warmup + 1, Plan)).

%% @doc When the call with a number is due, in milliseconds from the start.
-spec due(pos_integer(), #{rate := number(), _ => _}) -> non_neg_integer().
due(N, #{rate := Rate}) -> trunc((N - 1) * 1000 / Rate).

native(Ms) -> erlang:convert_time_unit(Ms, millisecond, native).

arm(#pace{start = Start, next = Next, last = Last, plan = Plan} = Pace) when Next =< Last ->
    _ = erlang:start_timer(Start + due(Next, Plan), self(), due, [{abs, true}]),
    Pace;
arm(#pace{plan = #{patience := Patience}} = Pace) ->
    _ = erlang:start_timer(Patience, self(), over),
    Pace.

loop(#pace{next = Next, last = Last, running = 0}) when Next > Last ->
    ok;
loop(#pace{owner = Owner, running = Running} = Pace) ->
    receive
        {timeout, _, due} -> loop(arm(start_due(erlang:monotonic_time(millisecond), Pace)));
        {'EXIT', _, _} -> loop(Pace#pace{running = Running - 1});
        %% What has not ended is left as it is in the ledger, and ends with this process.
        {timeout, _, over} -> exit_callers();
        {'DOWN', Owner, process, _, _} -> exit(shutdown)
    end.

%% They are linked, and this is what links are for.
exit_callers() ->
    {links, Links} = process_info(self(), links),
    Callers = [Pid || Pid <- Links, is_pid(Pid)],
    lists:foreach(fun(Pid) -> exit(Pid, kill) end, Callers),
    lists:foreach(
        fun(Pid) ->
            receive
                {'EXIT', Pid, _} -> ok
            end
        end,
        Callers
    ).

start_due(Now, #pace{start = Start, next = Next, last = Last, plan = Plan} = Pace) ->
    case Next =< Last andalso Start + due(Next, Plan) of
        Due when is_integer(Due), Due =< Now -> start_due(Now, begin_call(native(Due), Pace#pace{next = Next + 1}, Next));
        _ -> Pace
    end.

begin_call(_, #pace{running = Running, plan = #{most := Running} = Plan, ledger = Ledger} = Pace, N) ->
    ok = pitcrew_load_ledger:begun(Ledger),
    ok = pitcrew_load_ledger:refused(number(N, Plan), Ledger),
    Pace;
begin_call(Due, #pace{running = Running, plan = Plan, ledger = Ledger} = Pace, N) ->
    ok = pitcrew_load_ledger:begun(Ledger),
    _ = spawn_link(fun() -> make_call(Due, N, Plan, Ledger) end),
    Pace#pace{running = Running + 1}.

number(N, #{warmup := Warmup}) when N > Warmup -> N - Warmup;
number(_, _) -> warmup.

make_call(Due, N, #{pool := Pool, call := Call, options := Options} = Plan, Ledger) ->
    _ = put(pitcrew_load_ledger, Ledger),
    Begun = erlang:monotonic_time(),
    Result = result(Pool, Call, N, Options),
    Ended = erlang:monotonic_time(),
    pitcrew_load_ledger:note(number(N, Plan), {Ended - Due, Begun - Due}, Result, Ledger).

result(Pool, Call, N, Options) ->
    try
        {Tool, Args} = Call(N),
        pitcrew:call(Pool, Tool, Args, Options)
    of
        {ok, _} -> ok;
        {error, #{kind := Kind, message := Message}} -> {Kind, Message}
    catch
        Class:Reason -> {raised, unicode:characters_to_binary(io_lib:format("~ts: ~0tp", [Class, Reason]))}
    end.
