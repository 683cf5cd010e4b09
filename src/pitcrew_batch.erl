%% Batches: many calls in few frames. Calls of one tool are cut into chunks, each of which is one call of `pitcrew:batch' (docs/protocol.md,
%% section 1), made by a process of its own where there are several.
%%
%% Invariants: there is a result for each call, in the order of the calls; nothing comes into the caller's mailbox; no process outlives the
%% caller, but to finish a chunk that is to go on.
-module(pitcrew_batch).

-export([run/3, execute/2, each/5, width/1]).
-export([work/4]).
-export_type([call/0, result/0]).

-include("pitcrew_pool.hrl").

-type call() :: {pitcrew:tool(), pitcrew:args()} | #{tool_id := pitcrew:tool(), args => list(), kwargs => map()}.
-type result() :: {ok, term()} | {error, pitcrew_error:t()}.
-type item() :: {Index :: non_neg_integer(), pitcrew_call:item()}.
-type chunk() :: {Tool :: binary(), [item(), ...]}.

%% More of them in one frame gain nothing, and a worker that has nothing to do gets none.
-define(MOST_BY_DEFAULT, 64).
%% How many chunks may be in a worker that holds many calls.
-define(PIPELINED, 4).

-record(plan, {
    target :: pitcrew:target(),
    pool :: #pool{},
    %% Of each chunk's call, but for the time that is left.
    options :: map() | [{atom(), term()}],
    deadline :: pitcrew_deadline:deadline(),
    on_caller_exit :: cancel | finish,
    workers :: pos_integer(),
    %% Given, or nil.
    size = nil :: pos_integer() | nil,
    most = nil :: pos_integer() | nil
}).

%% @doc The results of all calls, in their order.
-spec run(pitcrew:target(), [call()], pitcrew:batch_options()) -> [result()].
run(Target, Calls, Options) when length(Calls) >= 0 ->
    case plan(Target, Options) of
        {ok, Plan} ->
            {Chunks, Refused} = chunks(Calls, Plan),
            in_order(perform(Chunks, Plan), Refused);
        {error, Error} ->
            refused(Error, Calls)
    end.

%% @doc The same, with the pool or session among the options.
-spec execute([call()], map() | [{atom(), term()}]) -> [result()].
execute(Calls, Options) when length(Calls) >= 0 ->
    {Own, Rest} = pitcrew_options:split([pool], Options),
    case pitcrew_options:table(Own, [{pool, term, required}]) of
        {ok, #{pool := Target}} -> run(Target, Calls, Rest);
        {error, Error} -> refused(Error, Calls)
    end.

refused(Error, Calls) -> [{error, Error#{index => Index}} || {Index, _} <- lists:enumerate(0, Calls)].

%% @doc The same for one tool, of calls that have one argument each, the first of which has the index First: a step of Pitcrew.map/4, whose
%% options have been checked.
-spec each(pitcrew:target(), pitcrew:tool(), [term()], First :: non_neg_integer(), pitcrew:batch_options()) -> [result()].
each(Target, Tool, Arguments, First, Options) ->
    Results =
        case {Arguments, is_at_once(Target, Tool)} of
            {[Only], false} -> [pitcrew_call:run(Target, Tool, [Only], pitcrew_options:unless_given(checkout_timeout, infinity, Options))];
            _ -> run(Target, [{Tool, [Argument]} || Argument <- Arguments], pitcrew_options:set(batch_size, length(Arguments), Options))
        end,
    [numbered(Result, First) || Result <- Results].

is_at_once(Target, Tool) ->
    case pitcrew_call:pool(Target) of
        {ok, Pool} -> is_at_once_in(Pool, pitcrew_call:tool_id(Tool));
        {error, _} -> false
    end.

numbered({error, Error}, First) -> {error, Error#{index => First + maps:get(index, Error, 0)}};
numbered(Ok, _) -> Ok.

%% @doc How many chunks a pool works on at once, none of them waiting for another unless in a worker.
-spec width(pitcrew:target()) -> pos_integer().
width(Target) ->
    case plan(Target, []) of
        {ok, #plan{pool = #pool{is_pipelined = true}} = Plan} -> most(Plan);
        {ok, #plan{workers = Workers}} -> Workers;
        {error, _} -> 1
    end.

%% ---- What is to be done

plan(Target, Options) ->
    case pitcrew_options:batch(Options) of
        {ok, Own, Rest} -> plan(Target, Own, Rest);
        {error, _} = Error -> Error
    end.

plan(Target, Own, Rest) ->
    case settings(Target, Rest) of
        {ok, Pool, #{timeout := Timeout, on_caller_exit := OnExit}} ->
            {ok, #plan{
                target = Target,
                pool = Pool,
                options = pitcrew_options:unless_given(checkout_timeout, infinity, Rest),
                deadline = pitcrew_deadline:in(Timeout),
                on_caller_exit = OnExit,
                workers = workers(Target, Pool),
                size = maps:get(batch_size, Own, nil),
                most = maps:get(max_concurrency, Own, nil)
            }};
        {error, _} = Error ->
            Error
    end.

settings(#{'__struct__' := 'Elixir.Pitcrew.Ref'}, _) ->
    {error, pitcrew_error:new(bad_arguments, "a batch is for a pool or a session, not for the methods of an object")};
settings(Target, Options) ->
    case pitcrew_call:settings(Target, Options) of
        {ok, _, #{cache := true}} ->
            {error, pitcrew_error:new(invalid_option, "option cache must be false for a batch: its results are not kept")};
        Other ->
            Other
    end.

%% Those that there are now; a session has one.
workers(Target, #pool{is_pipelined = true, dispatch = Dispatch}) when is_atom(Target); is_pid(Target) ->
    #{lanes := Lanes} = pitcrew_nif:dispatch_info(Dispatch),
    max(1, Lanes);
workers(Target, #pool{slots = Slots}) when is_atom(Target); is_pid(Target) ->
    #{installed := Installed} = pitcrew_nif:slots_info(Slots),
    max(1, Installed);
workers(_, _) ->
    1.

most(#plan{most = nil, workers = Workers, pool = #pool{is_pipelined = true}}) -> ?PIPELINED * Workers;
%% One waits, so that a worker never does.
most(#plan{most = nil, workers = Workers}) -> 1 + Workers;
most(#plan{most = Most}) -> Most.

is_at_once_in(#pool{at_once = Tools}, Tool) -> lists:member(Tool, Tools).

%% ---- Chunks

-spec chunks([call()], #plan{}) -> {[chunk()], [{non_neg_integer(), result()}]}.
chunks(Calls, Plan) ->
    {Groups, Refused} = grouped(Calls, 0, #{}, []),
    {lists:append([cut(Tool, lists:reverse(Items), Plan) || {Tool, Items} <- maps:to_list(Groups)]), Refused}.

grouped([Call | Rest], Index, Groups, Refused) ->
    case item(Call) of
        {ok, Id, Item} ->
            Before = maps:get(Id, Groups, []),
            grouped(Rest, Index + 1, Groups#{Id => [{Index, Item} | Before]}, Refused);
        {error, Error} ->
            grouped(Rest, Index + 1, Groups, [{Index, {error, Error#{index => Index}}} | Refused])
    end;
grouped([], _, Groups, Refused) ->
    {Groups, Refused}.

item({Tool, Args}) ->
    Id = pitcrew_call:tool_id(Tool),
    case pitcrew_call:item(Args) of
        {ok, Item} -> {ok, Id, Item};
        {error, Error} -> {error, Error#{tool => Id}}
    end;
item(#{tool_id := Tool} = Call) when not is_map_key('__struct__', Call) ->
    case maps:without([tool_id, args, kwargs], Call) of
        None when None =:= #{} -> item({Tool, {maps:get(args, Call, []), maps:get(kwargs, Call, #{})}});
        _ -> no_call(Call)
    end;
item(Other) ->
    no_call(Other).

no_call(Other) ->
    {error, pitcrew_error:new(bad_arguments, "a call of a batch is {Tool, Args}, or a map with tool_id, args and kwargs; given was ~0tP", [Other, 12])}.

cut(Tool, Items, Plan) ->
    Count = length(Items),
    cut_by(size_of(Tool, Count, Plan), Count, Tool, Items).

%% A tool that takes all at once does, unless there is a size; others are for all workers.
size_of(_, _, #plan{size = Size}) when is_integer(Size) -> Size;
size_of(Tool, Count, #plan{pool = Pool, workers = Workers}) ->
    case is_at_once_in(Pool, Tool) of
        true -> Count;
        false -> min(?MOST_BY_DEFAULT, ceiling(Count, Workers))
    end.

ceiling(Count, Parts) -> (Count + Parts - 1) div Parts.

cut_by(Size, Count, Tool, Items) when Count > Size ->
    {Chunk, Rest} = lists:split(Size, Items),
    [{Tool, Chunk} | cut_by(Size, Count - Size, Tool, Rest)];
cut_by(_, _, Tool, Items) ->
    [{Tool, Items}].

%% ---- Chunks that run

-spec perform([chunk()], #plan{}) -> [{non_neg_integer(), result()}].
perform([], _) ->
    [];
perform([Chunk], Plan) ->
    made(Chunk, Plan);
perform(Chunks, Plan) ->
    Watcher = watcher(Plan),
    Results = supply(Chunks, [], most(Plan), {make_ref(), Watcher, pitcrew_functions:inherit(), Plan}),
    _ = [Watcher ! {?MODULE, done} || is_pid(Watcher)],
    lists:append(Results).

%% As many runners as may be, each for one chunk; the next one begins when any has ended. The last chunk needs none.
supply([Chunk], Runners, Room, {_, _, _, Plan} = With) when Room > 0 ->
    [made(Chunk, Plan) | supply([], Runners, Room, With)];
supply([Chunk | Rest], Runners, Room, With) when Room > 0 ->
    supply(Rest, [{runner(Chunk, With), Chunk} | Runners], Room - 1, With);
supply([], [], _, _) ->
    [];
supply(Chunks, Runners, Room, {Tag, _, _, _} = With) ->
    receive
        {Tag, Monitor, process, _, Reason} ->
            {value, {Monitor, Chunk}, Left} = lists:keytake(Monitor, 1, Runners),
            [results(Reason, Chunk) | supply(Chunks, Left, Room + 1, With)]
    end.

runner(Chunk, {Tag, Watcher, Inherit, Plan}) ->
    {_, Monitor} = spawn_opt(?MODULE, work, [Chunk, Watcher, Inherit, Plan], [{monitor, [{tag, Tag}]}]),
    Monitor.

%% @private The results are the reason that a runner ends with, so there is one message for each, and none is left.
-spec work(chunk(), pid() | none, fun(() -> term()), #plan{}) -> no_return().
work(Chunk, Watcher, Inherit, Plan) ->
    _ = [link(Watcher) || is_pid(Watcher)],
    _ = Inherit(),
    exit({?MODULE, made(Chunk, Plan)}).

results({?MODULE, Results}, _) -> Results;
results(_, Chunk) -> all(Chunk, pitcrew_error:new(cancelled, "the process that made the calls was ended")).

%% With the caller its runners end, whose calls are then those of callers that have died. A link to the caller itself would say too much.
watcher(#plan{on_caller_exit = finish}) ->
    none;
watcher(#plan{}) ->
    Caller = self(),
    spawn(fun() ->
        process_flag(trap_exit, true),
        watch(monitor(process, Caller))
    end).

watch(Caller) ->
    receive
        {?MODULE, done} -> ok;
        {'DOWN', Caller, process, _, _} -> exit(shutdown);
        {'EXIT', _, _} -> watch(Caller)
    end.

%% ---- One chunk

-spec made(chunk(), #plan{}) -> [{non_neg_integer(), result()}].
made({Tool, Items} = Chunk, #plan{target = Target, deadline = Deadline, options = Options} = Plan) ->
    case pitcrew_deadline:left(Deadline) of
        0 ->
            Late = pitcrew_error:new(timeout, "the time for the batch was over before the call"),
            all(Chunk, pitcrew_error:add(Late, facts(Tool, Plan)));
        Left ->
            Timed = pitcrew_options:set(timeout, Left, Options),
            concluded(pitcrew_call:batch(Target, Tool, [Item || {_, Item} <- Items], Timed), Chunk, Plan)
    end.

concluded({{ok, Outcomes}, Worker}, {Tool, Items} = Chunk, Plan) ->
    Facts = (facts(Tool, Plan))#{worker => Worker},
    try
        each_with(Items, Outcomes, Facts)
    catch
        throw:wrong ->
            all(Chunk, pitcrew_error:add(pitcrew_error:new(protocol_error, "the answer does not fit the batch"), Facts))
    end;
concluded({{error, Error}, _}, {_, [_]} = Chunk, _) ->
    all(Chunk, of_one(Error));
concluded({{error, Error}, _}, {Tool, Items} = Chunk, Plan) ->
    case is_unsent(Error) of
        true -> lists:append([made({Tool, Half}, Plan) || Half <- halves(Items)]);
        false -> all(Chunk, Error)
    end.

facts(Tool, #plan{pool = #pool{name = Name}}) -> #{tool => Tool, pool => Name}.

each_with([{Index, _} | Items], [[<<"ok">>, Value] | Outcomes], Facts) ->
    [{Index, {ok, Value}} | each_with(Items, Outcomes, Facts)];
each_with([{Index, _} | Items], [[<<"error">>, Fault] | Outcomes], Facts) ->
    Error = pitcrew_error:add(pitcrew_error:from_fault(Fault), Facts),
    [{Index, {error, Error#{index => Index}}} | each_with(Items, Outcomes, Facts)];
each_with([], [], _) ->
    [];
each_with(_, _, _) ->
    throw(wrong).

all({_, Items}, Error) -> [{Index, {error, Error#{index => Index}}} || {Index, _} <- Items].

%% The VM has refused the frame: nothing has run. What was wrong may concern one call only, and so it is looked for.
is_unsent(#{kind := encode_error}) -> true;
is_unsent(#{kind := bad_ref}) -> true;
is_unsent(#{kind := too_big} = Error) -> not is_map_key(type, Error);
is_unsent(_) -> false.

halves(Items) ->
    {First, Second} = lists:split(length(Items) div 2, Items),
    [First, Second].

%% Where in the frame something is wrong, as where in the call.
of_one(#{path := [args, 1, 0, 0 | Path]} = Error) -> Error#{path := [args | Path]};
of_one(#{path := [args, 1, 0, 1 | Path]} = Error) -> Error#{path := [kwargs | Path]};
of_one(Error) -> Error.

%% ---- Results

in_order(Made, Refused) ->
    {_, Results} = lists:unzip(lists:keysort(1, Refused ++ Made)),
    Results.
