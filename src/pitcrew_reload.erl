%% How a pool comes to have new modules: who waits for it, and which workers are replaced next. Data only: the server does what
%% comes out, `renew' (another zygote is to import the modules), `retire' (the former ones are not needed any more),
%% {replace, Index}, and {reply, Who, Outcome}.
%%
%%   idle        nothing is under way
%%   importing   a zygote imports the modules anew
%%   rolling     it has; workers of the former generation are replaced, a quarter of them at a time
-module(pitcrew_reload).

-export([new/0, request/2, renewed/1, not_renewed/2, is_rolling/1, step/2, start_failed/2]).
-export_type([reload/0, action/0]).

-record(reload, {
    phase = idle :: idle | importing | rolling,
    %% Whether a former zygote may still have workers.
    former = false :: boolean(),
    waiting = [] :: [from()],
    %% Those who asked when the import had begun: it may have missed what they mean.
    later = [] :: [from()]
}).

-type from() :: gen_server:from().
-type outcome() :: ok | {error, pitcrew_error:t()}.
-type action() :: renew | retire | {replace, pitcrew_crew:index()} | {reply, from(), outcome()}.
-opaque reload() :: #reload{}.

-spec new() -> reload().
new() -> #reload{}.

-spec request(from(), reload()) -> {[action()], reload()}.
request(From, #reload{later = Later} = Reload) -> next(Reload#reload{later = [From | Later]}).

next(#reload{waiting = [], later = [_ | _] = Later} = Reload) ->
    {[renew], Reload#reload{phase = importing, waiting = Later, later = []}};
next(Reload) ->
    {[], Reload}.

%% @doc The modules were imported, and the next workers come from there.
-spec renewed(reload()) -> reload().
renewed(Reload) -> Reload#reload{phase = rolling, former = true}.

%% @doc They could not be. A reload before this one may not have come to its end, which goes on.
-spec not_renewed(pitcrew_error:t(), reload()) -> {[action()], reload()}.
not_renewed(Error, Reload) -> told({error, Error}, Reload#reload{phase = rolling}).

-spec is_rolling(reload()) -> boolean().
is_rolling(#reload{phase = Phase}) -> Phase =:= rolling.

%% @doc A worker of the new generation could not start: it is tried again, but whoever waits is told.
-spec start_failed(pitcrew_error:t(), reload()) -> {[action()], reload()}.
start_failed(Error, #reload{phase = rolling} = Reload) -> told({error, Error}, Reload);
start_failed(_, Reload) -> {[], Reload}.

told(Outcome, #reload{waiting = Waiting} = Reload) ->
    {Actions, Next} = next(Reload#reload{waiting = []}),
    {[{reply, From, Outcome} || From <- Waiting] ++ Actions, Next}.

%% @doc What is next, whenever a worker is ready or gone.
-spec step(pitcrew_crew:crew(), reload()) -> {[action()], reload()}.
step(Crew, #reload{phase = rolling} = Reload) ->
    case pitcrew_crew:outdated(Crew) of
        [] ->
            {Actions, Next} = told(ok, Reload#reload{phase = idle}),
            {Last, Over} = let_go(Crew, Next),
            {Actions ++ Last, Over};
        Outdated ->
            AtOnce = (pitcrew_crew:present(Crew) + 3) div 4 - pitcrew_crew:replacing(Crew),
            Next = lists:sublist([Index || {Index, ready} <- Outdated], max(0, AtOnce)),
            {[{replace, Index} || Index <- Next], Reload}
    end;
step(Crew, Reload) ->
    let_go(Crew, Reload).

%% A zygote stays as long as workers that it has forked.
let_go(Crew, #reload{former = true} = Reload) ->
    case pitcrew_crew:lingering(Crew) of
        true -> {[], Reload};
        false -> {[retire], Reload#reload{former = false}}
    end;
let_go(_, Reload) ->
    {[], Reload}.
