%% What the dashboard and `mix pitcrew.top' show: two looks at the pools, one some time after the other, and what happened in between.
-module(pitcrew_dashboard_data).

-export([look/1, view/2, profile/2]).
-export_type([look/0, view/0]).

-import(pitcrew_metrics_stats, [share/2, ms/1, seconds/1]).

-include("pitcrew_pool.hrl").

-type times() :: #{pos_integer() => {CpuMs :: non_neg_integer(), AgeMs :: non_neg_integer()}}.
-opaque look() :: #{at := integer(), pools := [{pitcrew_metrics_stats:facts(), times()}]}.
%% With what {@link pitcrew_plain_json} takes. Times in milliseconds, but an age and what goes by the second.
-type view() :: #{time := integer(), pools := [map()]}.

-define(MOST_TOOLS, 20).

%% @doc At all pools that count, or at those of some names.
-spec look(all | [atom()]) -> look().
look(Names) ->
    Pools = [
        Pool
     || #pool{name = Name, metrics = #metrics{}} = Pool <- pitcrew_pools:all(), Names =:= all orelse lists:member(Name, Names)
    ],
    #{at => erlang:monotonic_time(), pools => [{Facts, times(Facts)} || Pool <- Pools, Facts <- pitcrew_metrics_stats:facts(Pool)]}.

%% Asked for here, once a second: CPU in percent needs two looks so near to each other, whatever the pool's `vitals_interval' is.
times(#{info := #{workers := Workers}}) ->
    maps:from_list([{OsPid, Times} || #{os_pid := OsPid} <- Workers, is_integer(OsPid), Times <- pitcrew_proc:times(OsPid)]).

-spec view(look(), Before :: look()) -> view().
view(#{at := At, pools := Pools}, #{at := Earlier, pools := Others}) ->
    Seconds = seconds(At - Earlier),
    Before = maps:from_list([{Name, Pool} || {#{pool := Name}, _} = Pool <- Others]),
    #{
        time => erlang:system_time(millisecond),
        pools => [pool(Pool, maps:get(Name, Before, nobody), Seconds) || {#{pool := Name}, _} = Pool <- Pools]
    }.

pool({#{pool := Name, health := Health, info := Info, tools := Tools, workers := {Started, Endings}} = Facts, Times}, Before, Seconds) ->
    #{status := Status, wanted := Wanted, ready := Ready} = Health,
    #{queued := Queued, workers := Workers} = Info,
    {ToolsBefore, TimesBefore} = before(Before),
    #{calls := Calls, errors := Errors} = All = pitcrew_metrics_stats:all_together(Tools),
    #{
        name => Name,
        label => pitcrew_text:pool(Name),
        status => Status,
        wanted => Wanted,
        ready => Ready,
        queued => Queued,
        calls => Calls,
        errors => sum(Errors),
        started => Started,
        restarts => pitcrew_metrics_stats:restarts(Endings),
        latency => percentiles(maps:get(durations, All)),
        cache => cache(maps:get(cache, Facts), All),
        now => point(Facts, All, pitcrew_metrics_stats:all_together(maps:to_list(ToolsBefore)), Seconds),
        workers => [worker(Worker, Times, TimesBefore, Seconds) || Worker <- Workers],
        tools => [tool(Tool, ToolsBefore, Seconds) || Tool <- most_called(Tools)]
    }.

%% Of a pool that has only just come nothing is known of what was before.
before(nobody) -> {#{}, #{}};
before({#{tools := Tools}, Times}) -> {maps:from_list(Tools), Times}.

sum(Counts) -> lists:sum(maps:values(Counts)).

cache(none, _) -> nil;
cache(Stats, #{hits := Hits, misses := Misses}) -> (maps:with([entries, bytes], Stats))#{hits => Hits, misses => Misses, hit_rate => share(Hits, Hits + Misses)}.

%% ---- What has happened in between: a point of each chart

point(#{load := {Running, Room}, info := #{queued := Queued}, cache := Cache}, Now, Before, Seconds) ->
    Since = fun(Key) -> max(0, maps:get(Key, Now) - maps:get(Key, Before)) end,
    {Hits, Misses} = {Since(hits), Since(misses)},
    Durations = between(maps:get(durations, Now), maps:get(durations, Before)),
    (percentiles(Durations))#{
        time => erlang:system_time(millisecond),
        rate => share(Since(calls), Seconds),
        errors => share(max(0, sum(maps:get(errors, Now)) - sum(maps:get(errors, Before))), Seconds),
        json => share(Since(json), Seconds),
        msgpack => share(max(0, Since(calls) - Since(json)), Seconds),
        hit_rate =>
            case Cache =/= none andalso Hits + Misses > 0 of
                true -> Hits / (Hits + Misses);
                false -> nil
            end,
        queued => Queued,
        running => Running,
        room => Room
    }.

%% Of histograms; a pool that was started anew has counted less than before.
between(Now, Before) ->
    Were = maps:from_list(Before),
    [{Bucket, N} || {Bucket, All} <- Now, N <- [All - maps:get(Bucket, Were, 0)], N > 0].

percentiles(Counts) -> maps:from_list([{Name, time(pitcrew_histogram:quantile(Share, Counts))} || {Name, Share} <- [{p50, 0.5}, {p90, 0.9}, {p99, 0.99}]]).

time(none) -> nil;
time(Native) -> ms(Native).

%% ---- Workers and tools

worker(#{id := Id, os_pid := OsPid, state := State, calls := Calls, running := Running, rss := Rss}, Times, Before, Seconds) ->
    {Cpu, Age} =
        case {Times, Before} of
            {#{OsPid := {Used, Ms}}, #{OsPid := {Earlier, _}}} -> {share(max(0, Used - Earlier) / 1000, Seconds), Ms / 1000};
            {#{OsPid := {_, Ms}}, #{}} -> {0.0, Ms / 1000};
            {#{}, #{}} -> {nil, nil}
        end,
    #{
        id => Id,
        os_pid => OsPid,
        state => State,
        calls => Calls,
        running => Running,
        rss => Rss,
        cpu => Cpu,
        age => Age
    }.

most_called(Tools) -> lists:sublist(lists:reverse(lists:sort(fun({_, #{calls := A}}, {_, #{calls := B}}) -> A =< B end, Tools)), ?MOST_TOOLS).

tool({Name, #{calls := Calls, errors := Errors, durations := Durations}}, Before, Seconds) ->
    Were =
        case Before of
            #{Name := #{calls := N}} -> N;
            #{} -> 0
        end,
    (percentiles(Durations))#{name => Name, calls => Calls, rate => share(max(0, Calls - Were), Seconds), errors => sum(Errors)}.

%% ---- Profiles

%% @doc What the workers of a pool do in so many milliseconds from now on: a table of functions, and a flame graph.
-spec profile(pitcrew:pool(), pos_integer()) -> {ok, #{table := binary(), flame_graph := binary() | nil}} | {error, pitcrew_error:t()}.
profile(Pool, Ms) ->
    Wait = fun() ->
        receive
        after Ms -> ok
        end
    end,
    case pitcrew_profiler:run(Pool, #{sample => 5}, Wait) of
        {ok, _, #{flame_graph := Graph} = Profile} -> {ok, #{table => unicode:characters_to_binary(pitcrew_profiler:format(Profile)), flame_graph => Graph}};
        {error, _} = Error -> Error
    end.
