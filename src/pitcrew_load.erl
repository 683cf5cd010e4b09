%% @doc Load tests: calls at a fixed rate for a while, and exactly how long they took.
%%
%% ```
%% {ok, [#{p99_latency := Ms, errors := 0}]} = pitcrew_load:run(#{
%%     pool => py,
%%     scenarios => [#{name => search, tools => [{search, #{query => <<"beam">>}}], calls_per_second => 200, duration => 30}]
%% }).
%% '''
%%
%% Calls start when they are due, whatever has become of those before them, and their latency counts from then. docs/loadtest.md has more.
-module(pitcrew_load).

-export([run/0, run/1, check/2, json/2, scenarios/0]).
-export_type([options/0, result/0, threshold/0, violation/0, progress/0]).

-include("pitcrew_pool.hrl").

%% <ul>
%% <li>`scenarios': maps, or names of those that {@link scenarios/0} has, which are also the default. Keys of a map: `name'; `calls_per_second';
%%   `duration' (60) and `warmup' (2), in seconds; `payload_size': `small' (default), `medium', `large' or a number of bytes; `tools' (1): how many
%%   tools of the load test's own, which return their argument, or tools of your pool, by name or with arguments, one of which is chosen at
%%   random for each call; or `calls': a fun from the number of a call, from 1, to `{Tool, Args}'</li>
%% <li>`duration', `warmup', `tools', `calls': the same for all scenarios</li>
%% <li>`pool': a pool that runs. Without it each scenario has one of its own, with `pool_options'</li>
%% <li>`call_options': of each call, such as `timeout' and `retry'</li>
%% <li>`faults' (false): `true', or `#{every => Ms}' (1000): a worker is killed so often while calls run</li>
%% <li>`max_running' (20000): calls that may run at once; what is due beyond that is not made, and counts as an error of the kind `not_made'</li>
%% <li>`seed' (0): which tools are chosen</li>
%% <li>`progress' (false): `true' shows on standard error how far it is, if that is a terminal; or a fun that is called ten times a second with a
%%   {@link progress()}</li>
%% </ul>
-type options() :: map() | [{atom(), term()}].
%% What {@link pitcrew_load_figures} makes of the calls, and the scenario's own keys: `scenario' (its name), `pool', `tools' (how many, or nil), `calls_per_second',
%% `duration' and `warmup' (seconds), `payload_bytes', `started_at' (Unix time in seconds), and with `faults' a {@link pitcrew_load_faults:report()}, else nil.
%% Latencies are milliseconds, `throughput' is calls a second that ended well.
-type result() :: #{scenario := binary(), faults := pitcrew_load_faults:report() | nil, atom() => term()}.
-type threshold() ::
    avg_ms | p50_ms | p90_ms | p99_ms | p999_ms | max_ms | errors | throughput.
-type violation() :: #{scenario := binary(), what := threshold() | healthy, limit := number() | true, seen := number() | false}.
-type progress() :: #{
    scenario := binary(),
    %% Which one it is, of so many.
    index := pos_integer(),
    scenarios := pos_integer(),
    phase := warmup | load | drain,
    %% Shares of the whole time and, of all calls, counts.
    elapsed_ms := non_neg_integer(),
    total_ms := pos_integer(),
    begun := non_neg_integer(),
    ended := non_neg_integer(),
    failed := non_neg_integer(),
    calls := pos_integer()
}.

-define(OWN_POOL, pitcrew_loadtest).
-define(PROGRESS_MS, 100).
-define(PATIENCE_MS, 60_000).

%% @doc The three scenarios of the performance guide: `high_frequency_single', `multi_tool_moderate' and `large_payload'.
-spec scenarios() -> [pitcrew_load_scenario:given(), ...].
scenarios() -> pitcrew_load_scenario:guide().

%% @equiv run([])
-spec run() -> {ok, [result()]} | {error, pitcrew_error:t()}.
run() -> run([]).

%% @doc Runs scenarios, one after the other. First each tool is called once; if one of these calls fails its error is returned, and
%% there is no load.
-spec run(options()) -> {ok, [result()]} | {error, pitcrew_error:t()}.
run(Options) ->
    case pitcrew_option_check:valid(fun() -> read(pitcrew_option_check:complete(Options, table())) end) of
        {ok, Checked} -> apart(fun(Id) -> all(Checked, Id) end);
        {error, _} = Error -> Error
    end.

table() ->
    None = {value, none},
    [
        {scenarios, {fits, fun is_scenarios/1, "a list of scenarios, with at least one"}, fun scenarios/0},
        {duration, {fits, fun is_override/1, "a number of seconds"}, None},
        {warmup, {fits, fun is_override/1, "a number of seconds"}, None},
        {tools, {fits, fun is_override/1, "what a scenario may have as tools"}, None},
        {calls, {fits, fun is_override/1, "a function"}, None},
        {pool, {fits, fun is_pool/1, "the name or the pid of a pool that runs"}, None},
        {pool_options, {fits, fun is_options/1, "options of a pool, a map or a list of pairs"}, {value, #{}}},
        {call_options, {fits, fun is_options/1, "options of a call, a map or a list of pairs"}, {value, []}},
        {faults, {switch, [{every, {integer, 1, 3_600_000}, {value, 1_000}}]}, None},
        {max_running, {integer, 1, 200_000}, {value, 20_000}},
        {seed, {integer, 0, 1 bsl 60}, {value, 0}},
        {progress, {fits, fun is_progress/1, "true, false, or a function with one argument"}, {value, false}}
    ].

is_scenarios(Scenarios) -> is_list(Scenarios) andalso Scenarios =/= [] andalso not is_integer(hd(Scenarios)).
%% The scenario that it becomes a part of says what it may be.
is_override(_) -> true.
is_pool(Pool) -> is_atom(Pool) orelse is_pid(Pool).
is_progress(Progress) -> is_boolean(Progress) orelse Progress =:= nil orelse is_function(Progress, 1).
is_options(Options) when is_map(Options) -> true;
is_options([{Name, _} | Rest]) when is_atom(Name) -> is_options(Rest);
is_options([Name | Rest]) when is_atom(Name) -> is_options(Rest);
is_options(Options) -> Options =:= [].

read(#{scenarios := Given, pool := Pool, progress := Progress} = Options) ->
    Over = maps:filter(fun(_, Value) -> Value =/= none andalso Value =/= nil end, maps:with([duration, warmup, tools, calls], Options)),
    Scenarios = [pitcrew_load_scenario:read(Scenario, Over) || Scenario <- Given],
    lists:foreach(fun(Scenario) -> has_tools(Pool, Scenario) end, Scenarios),
    Options#{scenarios := Scenarios, progress := pitcrew_load_text:progress(Progress)}.

has_tools(Pool, #{calls := none, tools := Count, name := Name}) when is_integer(Count), Pool =/= none, Pool =/= nil ->
    pitcrew_option_check:fail("scenario ~ts calls tools of the load test's own, which a pool of yours does not have: give it tools or calls", [Name]);
has_tools(_, _) ->
    ok.

%% In a process of its own, with which everything ends that it has started: pools, callers, clocks. It ends with the calling process.
apart(Fun) ->
    Caller = self(),
    Answer = make_ref(),
    Id = {?MODULE, Answer},
    {Pid, Monitor} = spawn_monitor(fun() ->
        Runner = self(),
        ok = pitcrew_watch:when_gone(Caller, fun() ->
            exit(Runner, shutdown),
            pitcrew_load_faults:unlisten(Id)
        end),
        Caller ! {Answer, Fun(Id)}
    end),
    receive
        {Answer, Result} ->
            true = demonitor(Monitor, [flush]),
            Result;
        {'DOWN', Monitor, process, Pid, Reason} ->
            ok = pitcrew_load_faults:unlisten(Id),
            exit(Reason)
    end.

all(#{scenarios := Scenarios} = Options, Id) ->
    {ok, _} = application:ensure_all_started(pitcrew),
    Numbered = lists:zip(lists:seq(1, length(Scenarios)), Scenarios),
    each(Numbered, Options#{id => Id, count => length(Scenarios)}, []).

each([], _, Results) ->
    {ok, lists:reverse(Results)};
each([{Index, Scenario} | Rest], Options, Results) ->
    case with_pool(Scenario, Options, fun(Pool) -> one(Index, Scenario, Pool, Options) end) of
        {ok, Result} -> each(Rest, Options, [Result | Results]);
        {error, _} = Error -> Error
    end.

with_pool(Scenario, #{pool := None, pool_options := Given}, Fun) when None =:= none; None =:= nil ->
    Options = own_pool(Scenario, if is_map(Given) -> Given; true -> maps:from_list(proplists:unfold(Given)) end),
    case pitcrew_pool:start_link(Options) of
        {ok, Sup} ->
            Result = Fun(maps:get(name, Options)),
            true = unlink(Sup),
            _ = pitcrew_pool:stop(Sup),
            Result;
        {error, {already_started, _}} ->
            {error, pitcrew_error:new(start_error, "a load test with a pool of its own runs already, or that pool's name, ~tp, is taken", [maps:get(name, Options)])};
        {error, _} = Error ->
            Error
    end;
with_pool(_, #{pool := Pool}, Fun) ->
    case pitcrew_pools:find(Pool) of
        {ok, _} -> Fun(Pool);
        absent -> {error, pitcrew_call:no_pool(Pool)}
    end.

own_pool(#{tools := Tools}, Given) ->
    Count = if is_integer(Tools) -> Tools; true -> 1 end,
    Env = #{<<"PITCREW_LOADTEST_TOOLS">> => integer_to_binary(Count)},
    Options = maps:merge(#{name => ?OWN_POOL}, Given),
    Options#{tools => tools(maps:get(tools, Given, [])), env => env(maps:get(env, Given, #{}), Env)}.

%% What is wrong with the user's own is for the pool to say.
tools(Modules) when is_list(Modules) -> [<<"pitcrew.loadtest">> | Modules];
tools(Other) -> Other.

env(Given, Env) when is_map(Given) -> maps:merge(Given, Env);
env(Given, Env) when is_list(Given) -> maps:to_list(Env) ++ Given;
env(Other, _) -> Other.

one(Index, Scenario, Pool, Options) ->
    #{call_options := CallOptions, seed := Seed} = Options,
    Text = binary:copy(<<"x">>, maps:get(payload_bytes, Scenario)),
    Call = pitcrew_load_scenario:call(Scenario, Text, Seed),
    case probe(pitcrew_load_scenario:probes(Scenario, Text), Pool, CallOptions) of
        ok -> {ok, measure(Index, Scenario, {Pool, Call}, Options)};
        {error, _} = Error -> Error
    end.

probe([], _, _) ->
    ok;
probe([{Tool, Args} | Rest], Pool, Options) ->
    case pitcrew:call(Pool, Tool, Args, Options) of
        {ok, _} -> probe(Rest, Pool, Options);
        {error, _} = Error -> Error
    end;
probe([Other | _], _, _) ->
    {error, pitcrew_error:new(invalid_option, "calls must return a tool and its arguments, {Tool, Args}; it returned ~0tp", [Other])}.

measure(Index, Scenario, {Pool, Call}, #{call_options := CallOptions, faults := Faults, max_running := Most, id := Id} = Options) ->
    {Warmup, Calls} = pitcrew_load_scenario:total(Scenario),
    Ledger = pitcrew_load_ledger:new(Calls),
    Plan = #{
        pool => Pool,
        call => Call,
        options => CallOptions,
        rate => maps:get(rate, Scenario),
        warmup => Warmup,
        calls => Calls,
        most => Most,
        patience => patience(Pool, CallOptions)
    },
    StartedAt = erlang:system_time(second),
    Every = case Faults of none -> off; #{every := Ms} -> {Ms, round(maps:get(warmup, Scenario) * 1000)} end,
    {Took, Report} = pitcrew_load_faults:with(Every, Pool, {Id, Ledger}, fun() ->
        watched(progress(Index, Scenario, Ledger, Options), Options, fun() -> pitcrew_load_pacer:run(Plan, Ledger) end)
    end),
    (maps:merge(pitcrew_load_figures:make(Ledger, Scenario, Took), described(Scenario)))#{
        pool => Pool, faults => Report, started_at => StartedAt
    }.

described(#{name := Name, rate := Rate, tools := Tools, calls := Calls} = Scenario) ->
    (maps:with([duration, warmup, payload_bytes], Scenario))#{
        scenario => Name,
        calls_per_second => Rate,
        tools =>
            if
                Calls =/= none -> nil;
                is_integer(Tools) -> Tools;
                true -> length(Tools)
            end
    }.

%% Longer than any call takes by itself.
patience(Pool, Options) ->
    Default =
        case pitcrew_pools:find(Pool) of
            {ok, #pool{defaults = #{timeout := Timeout}}} -> Timeout;
            absent -> infinity
        end,
    Given = if is_map(Options) -> maps:get(timeout, Options, Default); true -> proplists:get_value(timeout, Options, Default) end,
    if
        is_integer(Given) -> max(?PATIENCE_MS, Given + 5_000);
        true -> ?PATIENCE_MS
    end.

watched(_, #{progress := none}, Fun) ->
    Fun();
watched(Look, #{progress := Tell}, Fun) ->
    Clock = pitcrew_load_every:start(?PROGRESS_MS, fun(State) -> _ = Tell(Look()), State end, none),
    Result = Fun(),
    _ = pitcrew_load_every:stop(Clock),
    _ = Tell(Look()),
    Result.

progress(Index, #{name := Name, warmup := Warmup, duration := Duration} = Scenario, Ledger, #{count := Count}) ->
    Start = erlang:monotonic_time(millisecond),
    {Before, Calls} = pitcrew_load_scenario:total(Scenario),
    fun() ->
        Elapsed = erlang:monotonic_time(millisecond) - Start,
        {Begun, Ended, Failed} = pitcrew_load_ledger:count(Ledger),
        #{
            scenario => Name,
            index => Index,
            scenarios => Count,
            phase => phase(Begun, Before, Before + Calls),
            elapsed_ms => Elapsed,
            total_ms => max(1, round((Warmup + Duration) * 1000)),
            begun => Begun,
            ended => Ended,
            failed => Failed,
            calls => Before + Calls
        }
    end.

phase(Begun, Before, _) when Begun < Before -> warmup;
phase(Begun, _, All) when Begun < All -> load;
phase(_, _, _) -> drain.

%% @doc What in results is beyond a limit: latencies (`p99_ms' and their like) and `errors' above it, `throughput' below it; and, whatever the limits, pools that had not
%% recovered from the faults.
-spec check([result()], #{threshold() => number()}) -> [violation()].
check(Results, Limits) ->
    lists:append([
        [#{scenario => Name, what => healthy, limit => true, seen => false} || #{faults := #{healthy := false}} <- [Result]] ++
            lists:append([beyond(What, Limit, Result) || {What, Limit} <- lists:sort(maps:to_list(Limits))])
     || #{scenario := Name} = Result <- Results
    ]).

beyond(What, Limit, #{scenario := Name} = Result) ->
    Seen = maps:get(seen(What), Result),
    case What of
        throughput when Seen >= Limit -> [];
        _ when What =/= throughput, Seen =< Limit -> [];
        _ -> [#{scenario => Name, what => What, limit => Limit, seen => Seen}]
    end.

seen(avg_ms) -> avg_latency;
seen(p50_ms) -> p50_latency;
seen(p90_ms) -> p90_latency;
seen(p99_ms) -> p99_latency;
seen(p999_ms) -> p999_latency;
seen(max_ms) -> max_latency;
seen(errors) -> errors;
seen(throughput) -> throughput.

%% @doc Results, and what was beyond a limit, as JSON: an object with `results', `violations', and the versions of Pitcrew and OTP.
-spec json([result()], [violation()]) -> binary().
json(Results, Violations) ->
    pitcrew_plain_json:encode(#{
        pitcrew => pitcrew_app:version(),
        otp => list_to_binary(erlang:system_info(otp_release)),
        results => Results,
        violations => Violations
    }).
