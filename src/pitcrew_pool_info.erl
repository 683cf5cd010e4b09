%% What a pool's server tells of its pool: `info', `health', and the events of its going and coming. Functions of its facts.
-module(pitcrew_pool_info).

-export([info/1, health/1, status/1, use/1, announce/3, announce_holders/2]).
-export_type([facts/0, status/0]).

-include_lib("kernel/include/logger.hrl").

-type facts() :: #{
    options := pitcrew_options:pool(),
    python := down | map(),
    python_failures := non_neg_integer(),
    failure := none | pitcrew_error:t(),
    crew := pitcrew_crew:crew(),
    channels := #{pitcrew_crew:index() => pitcrew_nif:channel()},
    vitals := #{pitcrew_crew:index() => map()},
    slots := pitcrew_nif:slots(),
    dispatch := pitcrew_nif:dispatch(),
    account := pitcrew_nif:account() | none
}.
%% `degraded': workers fail at their start, one time after another, and others serve; `down': none does.
-type status() :: ok | degraded | down.

%% Starts in a row that fail before it is more than an accident.
-define(MANY, 3).

-spec info(facts()) -> map().
info(#{options := #{name := Name, size := Size, concurrency := Concurrency}, python := Python, crew := Crew} = Facts) ->
    Known =
        case Python of
            down -> #{start => nil, zygote => nil, guard => nil, port => nil};
            #{} -> Python
        end,
    (maps:merge(Known, load(Facts)))#{
        name => Name,
        size => Size,
        concurrency => Concurrency,
        buffers => buffers(Facts),
        workers => [worker(Worker, Facts) || Worker <- pitcrew_crew:list(Crew)]
    }.

-spec health(facts()) -> map().
health(#{crew := Crew, failure := Failure, options := #{name := Name}} = Facts) ->
    (load(Facts))#{
        name => Name,
        status => status(Facts),
        wanted => pitcrew_crew:wanted(Crew),
        ready => pitcrew_crew:count(ready, Crew),
        failure =>
            case Failure of
                none -> nil;
                #{} -> Failure
            end
    }.

-spec status(facts()) -> status().
status(#{crew := Crew, python_failures := Python}) ->
    case max(Python, pitcrew_crew:failures(Crew)) >= ?MANY of
        false -> ok;
        true ->
            case pitcrew_crew:count(ready, Crew) of
                0 -> down;
                _ -> degraded
            end
    end.

%% @doc Says so in the log and as an event.
-spec announce(status(), status(), facts()) -> ok.
announce(Before, Status, #{options := #{name := Name, telemetry_prefix := Prefix}, failure := Failure, crew := Crew}) ->
    Ready = pitcrew_crew:count(ready, Crew),
    Wanted = pitcrew_crew:wanted(Crew),
    log(Status, Name, Ready, Wanted),
    Metadata = #{pool => Name, status => Status, before => Before, failure => Failure},
    pitcrew_telemetry:execute(Prefix ++ [pool, health], #{ready => Ready, wanted => Wanted}, Metadata).

%% @doc Who has kept results in shared memory for longer than the option `on_hold' says, as an event if there are such.
-spec announce_holders(pitcrew_nif:account(), pitcrew_options:pool()) -> ok.
announce_holders(Account, #{name := Name, telemetry_prefix := Prefix, on_hold := Least}) ->
    case pitcrew_nif:account_info(Account, Least) of
        {_, _, []} ->
            ok;
        {Bytes, Payloads, Holders} ->
            Metadata = #{pool => Name, holders => [holder(Holder) || Holder <- Holders]},
            pitcrew_telemetry:execute(Prefix ++ [pool, on_hold], #{bytes => Bytes, payloads => Payloads}, Metadata)
    end.

%% What terms hold of shared memory, and the hundred oldest payloads of it.
buffers(#{account := none}) ->
    nil;
buffers(#{account := Account, options := #{max_shared := Most}}) ->
    {Bytes, Payloads, Holders} = pitcrew_nif:account_info(Account, 0),
    #{bytes => Bytes, most => Most, payloads => Payloads, holders => [holder(Holder) || Holder <- Holders]}.

holder({Pid, Bytes, Ms}) -> #{pid => Pid, bytes => Bytes, ms => Ms}.

log(ok, Name, Ready, Wanted) ->
    ?LOG_NOTICE("pool ~tp has recovered: ~b of ~b workers are ready", [Name, Ready, Wanted]);
log(Status, Name, Ready, Wanted) ->
    ?LOG_ERROR("pool ~tp is ~ts: ~b of ~b workers are ready, and others fail whenever they are started", [Name, Status, Ready, Wanted]).

load(#{dispatch := Dispatch, slots := Slots, options := #{pipeline := Depth}}) ->
    #{free := Free} = Load = maps:with([free, queued], pitcrew_nif:dispatch_info(Dispatch)),
    case Depth of
        1 -> Load#{free := Free + maps:get(free, pitcrew_nif:slots_info(Slots))};
        _ -> Load
    end.

worker(#{id := Index, state := State} = Worker, #{channels := Channels, vitals := Vitals}) ->
    Known = maps:merge(maps:merge(nothing_known(), Worker), maps:get(Index, Vitals, #{})),
    case Channels of
        #{Index := Channel} ->
            #{calls := Calls} = Info = pitcrew_nif:channel_info(Channel),
            Known#{state := state(State, Info), calls => Calls, running => running(Info)};
        #{} ->
            Known#{calls => 0, running => 0}
    end.

nothing_known() ->
    #{rss => nil, silent_ms => 0, running_ms => 0, in_c_ms => 0, resident => nil, cpu_ms => nil, threads => nil, files => nil}.

running(#{phase := pipelined, running := Running}) -> Running;
running(#{phase := Phase}) when Phase =:= writing; Phase =:= waiting; Phase =:= reading -> 1;
running(#{}) -> 0.

%% @doc What a worker is doing, for pitcrew_growth.
-spec use(map()) -> pitcrew_growth:use().
use(#{calls := Calls} = Info) ->
    case state(ready, Info) of
        idle -> {Calls, idle};
        _ -> {Calls, busy}
    end.

%% A poisoned channel serves no more calls; `gone' alone may become an adoption.
state(leaving, _) ->
    ending;
state(ready, #{phase := Phase, flags := Flags, load := Load}) ->
    case Flags -- [inside, gone, finish] of
        [_ | _] -> ending;
        [] when Phase =:= free; Phase =:= pipelined, Load =:= 0 -> idle;
        [] -> busy
    end.
