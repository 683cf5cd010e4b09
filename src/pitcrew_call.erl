%% The path of one call, all of it in the caller's process: what is called where, attempts until there is a result, and what becomes of it.
%% The exchange with the worker is pitcrew_slot's where a slot was claimed, and else pitcrew_pipeline's.
%%
%% Invariants: every claim is followed by an exchange; no deadline is later than the caller's own.
-module(pitcrew_call).

-export_type([result/0]).
-export([run/4, run_at/3, batch/4, item/1, pool/1, settings/2, no_pool/1, tool_id/1, facts/2, on_caller_exit/2]).
-export([open/5, chunk/2, last/2, halted/2, close/3]).
-export_type([opened/0, item/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_session.hrl").
-include("pitcrew_job.hrl").

-type result() :: {ok, term()} | {error, pitcrew_error:t()}.

%% @doc Calls a tool; of a reference, a method, or what else {@link pitcrew_aim} has for objects.
-spec run(pitcrew:target(), pitcrew:tool() | pitcrew_aim:on_object(), pitcrew:args(), pitcrew:call_options()) -> result().
run(Target, Tool, Args, Options) ->
    case aimed(Target, Tool, Args) of
        {ok, Pool, Aim, {Wire, Id, Whole}} -> perform(Pool, Aim, {Wire, Id, Whole, Options});
        {error, _} = Error -> Error
    end.

%% Where a call may run: pitcrew_aim knows of everything but a pool.
aimed(Name, Tool, Args) when is_atom(Name); is_pid(Name) ->
    case pitcrew_pools:find(Name) of
        {ok, Pool} ->
            Id = tool_id(Tool),
            {ok, Pool, any, {Id, Id, Args}};
        absent ->
            {error, no_pool(Name)}
    end;
aimed(Target, Tool, Args) ->
    pitcrew_aim:at(Target, Tool, Args).

%% What is known of a stream from its beginning.
-opaque opened() :: {#pool{}, pitcrew_aim:aim(), Started :: integer(), Told :: map()}.

%% @doc Begins a stream, and waits for its first chunk or its end, or until no more are wanted; {@link close/3} follows.
-spec open(pitcrew:target(), pitcrew:tool(), pitcrew:args(), pitcrew:stream_options(), pitcrew_pipeline:watch()) ->
    {opened(), {result() | {begun, pitcrew_pipeline:stream(), pitcrew_pipeline:news() | halt}, #job{} | nil}}
    | {error, pitcrew_error:t()}.
open(Target, Tool, Args, Options, Watch) ->
    case aimed(Target, Tool, Args) of
        {ok, Pool, Aim, {Wire, Id, Whole}} -> open_at(Pool, Aim, {Wire, Id, Whole, Options}, Watch);
        {error, _} = Error -> Error
    end.

open_at(#pool{name = PoolName, defaults = Defaults} = Pool, Aim, {Tool, Id, Args, Options}, Watch) ->
    Started = erlang:monotonic_time(),
    ok = pitcrew_aim:use(Aim),
    Checked = pitcrew_aim:options(Aim, pitcrew_trace:inherited(pitcrew_options:stream(Options, Defaults))),
    Told = pitcrew_trace:told(#{pool => PoolName, tool_id => Id, protocol => protocol(Checked, Defaults), stream => true}, Checked),
    ok = pitcrew_call_events:started(Pool, Started, Told),
    Opened = {Pool, Aim, Started, Told},
    case permitted(Pool, {Aim, Tool, Id}, Args, Checked, Started) of
        {ok, #job{meta = #{stream := Credit}} = Job} ->
            Stream = Job#job{stream = Credit, watch = Watch, on_caller_exit = cancel},
            {Opened, pitcrew_functions:within(Stream, fun attempt/1)};
        {error, _} = Error -> {Opened, {Error, nil}}
    end.

%% @doc A chunk that came by itself, as its consumer sees it.
-spec chunk(pitcrew_pipeline:answer(), #job{}) -> {result(), #job{}}.
chunk(Answer, Job) -> answered(Answer, Job).

%% @doc How a stream that has begun has ended: that cannot be tried again.
-spec last(pitcrew_pipeline:outcome(), #job{}) -> {result(), #job{}}.
last(Outcome, Job) -> handed_over(Outcome, Job#job{retries = 0}).

%% @doc The job of a stream of which no more is wanted, whatever has come of it. One that had not begun is not tried again.
-spec halted(pitcrew_pipeline:outcome() | queued, #job{}) -> #job{}.
halted(queued, Job) ->
    Job;
halted({done, _, _, _, Answer}, Job) when Answer =:= unstarted; element(1, Answer) =:= gone ->
    Job;
%% Of nobody's timeout, but of the time that the tool had to end.
halted({done, OsPid, _, _, timeout}, Job) ->
    Job#job{worker = OsPid};
halted(Outcome, Job) ->
    {_, After} = last(Outcome, Job),
    After.

%% @doc The end of a stream, for whoever listens.
-spec close(opened(), result() | halted, #job{} | nil) -> result().
close({Pool, Aim, Started, Told}, Result, Job) ->
    ok = pitcrew_functions:end_stream(Job),
    ok = pitcrew_aim:use(Aim),
    case Result of
        halted -> pitcrew_call_events:finished(Pool, Started, Told#{result => halted}, {ok, nil}, Job);
        _ -> pitcrew_call_events:finished(Pool, Started, Told, Result, Job)
    end.

%% A call of a batch, as it is on the wire: its arguments by position, and those by name.
-type item() :: [list() | map(), ...].

-define(BATCH, <<"pitcrew:batch">>).

%% @doc Many calls of one tool as one call. Its value says what has become of each.
-spec batch(pitcrew:target(), binary(), [item()], pitcrew:call_options()) -> {result(), Worker :: pos_integer() | nil}.
batch(Target, Tool, Items, Options) ->
    case aimed(Target, Tool, []) of
        {ok, Pool, Aim, _} -> perform(Pool, Aim, {?BATCH, Tool, [Tool, Items], Options}, #{batch => length(Items)});
        {error, _} = Error -> {Error, nil}
    end.

%% @doc The arguments of a call of a batch.
-spec item(pitcrew:args()) -> {ok, item()} | {error, pitcrew_error:t()}.
item(Args) ->
    case shape(Args) of
        {ok, Given, nil} -> {ok, [Given, #{}]};
        {ok, Given, Named} -> {ok, [Given, Named]};
        {error, _} = Error -> Error
    end.

%% @doc The same as run/4, with a pool that was found already, for a session that begins.
-spec run_at(#pool{}, pitcrew_aim:aim(), {pitcrew:tool(), pitcrew:args(), pitcrew:call_options()}) -> result().
run_at(Pool, Aim, {Tool, Args, Options}) ->
    Id = tool_id(Tool),
    perform(Pool, Aim, {Id, Id, Args, Options}).

perform(Pool, Aim, What) ->
    {Result, _} = perform(Pool, Aim, What, #{}),
    Result.

%% `More' is for telemetry.
perform(#pool{name = PoolName, defaults = Defaults} = Pool, Aim, {Tool, Id, Args, Options}, More) ->
    ok = pitcrew_aim:use(Aim),
    Started = erlang:monotonic_time(),
    Checked = pitcrew_aim:options(Aim, pitcrew_trace:inherited(pitcrew_options:call(Options, Defaults))),
    Told = pitcrew_trace:told(More#{pool => PoolName, tool_id => Id, protocol => protocol(Checked, Defaults)}, Checked),
    ok = pitcrew_call_events:started(Pool, Started, Told),
    {Result, Job} = look(Pool, {Aim, Tool, Id}, Args, Checked, Started),
    ok = pitcrew_aim:use(Aim),
    {pitcrew_call_events:finished(Pool, Started, Told, Result, Job), pitcrew_call_events:worker(Job)}.

look(#pool{cache = none} = Pool, What, Args, Options, Started) ->
    execute(Pool, What, Args, Options, Started);
%% What is kept are results of calls; a batch has outcomes, errors among them.
look(Pool, {_, ?BATCH, _} = What, Args, Options, Started) ->
    execute(Pool, What, Args, Options, Started);
look(#pool{cache = Cache} = Pool, {Aim, Tool, Id} = What, Args, Options, Started) ->
    case pitcrew_cache_call:key(Pool, Aim, Tool, Args, Options) of
        none ->
            execute(Pool, What, Args, Options, Started);
        Key ->
            {ok, #{timeout := Timeout, codec := Codec} = Given} = Options,
            Facts = #{tool_id => Id, started => Started, deadline => deadline(Started, Timeout), timeout => Timeout, takes_worker => true},
            %% What is kept must not keep alive the message that brought it, nor memory that belongs to a worker.
            Apart = {ok, Given#{codec := Codec#{copy_binaries => true}}},
            pitcrew_cache_call:run(Cache, Key, Facts, fun() -> missed(execute(Pool, What, Args, Apart, Started)) end)
    end.

missed({Result, #job{} = Job}) -> {Result, Job#job{missed = true}};
missed(Refused) -> Refused.

execute(Pool, What, Args, Options, Started) ->
    case permitted(Pool, What, Args, Options, Started) of
        {ok, New} -> pitcrew_functions:within(New, fun attempt/1);
        {error, _} = Error -> {Error, nil}
    end.

deadline(Started, Timeout) -> pitcrew_deadline:in(erlang:convert_time_unit(Started, native, millisecond), Timeout).

-spec no_pool(term()) -> pitcrew_error:t().
no_pool(Name) ->
    Error = pitcrew_error:new(no_pool, "there is no pool ~tp, or it is not ready yet", [Name]),
    case is_atom(Name) of
        true -> pitcrew_error:add(Error, #{pool => Name});
        false -> Error
    end.

%% @doc What an error says of a call that has not begun.
-spec facts(pitcrew:target(), pitcrew:tool()) -> #{tool := binary(), pool => atom()}.
facts(Target, Tool) ->
    case pool_of(Target) of
        Pool when is_atom(Pool) -> #{tool => tool_id(Tool), pool => Pool};
        _ -> #{tool => tool_id(Tool)}
    end.

%% Of a pool itself, of an object or a session, or of a session by its name.
pool_of(#{pool := Pool}) -> Pool;
pool_of({Pool, _}) -> Pool;
pool_of(Pool) -> Pool.

%% @doc What is to become of a call with such options when its caller dies.
-spec on_caller_exit(pitcrew:target(), pitcrew:call_options()) -> cancel | finish.
on_caller_exit(Target, Options) ->
    case settings(Target, Options) of
        {ok, _, #{on_caller_exit := OnExit}} -> OnExit;
        {error, _} -> cancel
    end.

%% @doc The pool that calls of a target go to, and what such options mean there.
-spec settings(pitcrew:target(), pitcrew:call_options()) ->
    {ok, #pool{}, pitcrew_options:call()} | {error, pitcrew_error:t()}.
settings(Target, Options) ->
    case pool(Target) of
        {ok, #pool{defaults = Defaults} = Pool} ->
            case pitcrew_options:call(Options, Defaults) of
                {ok, Call} -> {ok, Pool, Call};
                {error, _} = Error -> Error
            end;
        {error, _} = Error ->
            Error
    end.

-spec pool(pitcrew:target()) -> {ok, #pool{}} | {error, pitcrew_error:t()}.
pool(Target) ->
    Name = pool_of(Target),
    case pitcrew_pools:find(Name) of
        {ok, Pool} -> {ok, Pool};
        absent -> {error, no_pool(Name)}
    end.

tool_id(Tool) when is_binary(Tool) -> Tool;
tool_id(Tool) when is_atom(Tool) -> atom_to_binary(Tool);
tool_id(Tool) -> unicode:characters_to_binary(io_lib:format("~tp", [Tool])).

protocol({ok, #{protocol := Protocol}}, _) -> Protocol;
protocol({error, _}, #{protocol := Protocol}) -> Protocol.

permitted(#pool{tools = Tools, permits = Permits} = Pool, {_, Tool, Id} = What, Args, Options, Started) ->
    case pitcrew_permits:check(called(Tool, Id), Tools, Permits) of
        ok -> prepare(Pool, What, Args, Options, Started);
        {error, _} = Error -> Error
    end.

%% A batch is one of calls of the tool.
called(?BATCH, Id) -> Id;
called(Tool, _) -> Tool.

prepare(Pool, What, Args, {ok, #{protocol := Protocol} = Options}, Started) ->
    case shape(Args) of
        {ok, Given, Named} -> ready(Protocol, job(Pool, What, {Given, Named}, Options, Started));
        {error, _} = Error -> Error
    end;
prepare(_, _, _, {error, _} = Error, _) ->
    Error.

ready(json, Job) -> in_json(Job);
ready(msgpack, #job{aim = any, args = Args} = Job) -> {ok, Job#job{aim = pitcrew_aim:of_arguments(Args)}};
ready(msgpack, Job) -> {ok, Job}.

job(Pool, {Aim, Tool, Id}, {Args, Kwargs}, Options, Started) ->
    #{timeout := Timeout, checkout_timeout := Checkout, retry := Retry, codec := Codec, meta := Meta} = Options,
    #{on_caller_exit := OnExit, function_timeout := FunctionTimeout} = Options,
    #job{
        pool = Pool,
        aim = Aim,
        tool = Tool,
        id = Id,
        args = Args,
        kwargs = Kwargs,
        codec = pitcrew_call_events:codec(Pool, Codec),
        meta = Meta,
        deadline = deadline(Started, Timeout),
        timeout = Timeout,
        checkout_timeout = Checkout,
        function_timeout = FunctionTimeout,
        retries = Retry,
        on_caller_exit = OnExit
    }.

%% Before a slot is claimed, and once for all attempts.
in_json(#job{tool = Tool, args = Args, kwargs = Kwargs, meta = Meta, codec = #{nil := Null}} = Job) ->
    Begun = pitcrew_call_events:clock(Job),
    case pitcrew_call_json:texts(Tool, Args, Kwargs, Meta, Null) of
        {ok, Texts} -> {ok, pitcrew_call_events:encoded(Begun, Job#job{args = [], kwargs = nil, texts = Texts})};
        {error, _} = Error -> Error
    end.

%% By position, and by name. Not is_list/1: an improper list is no list to Python.
shape(Args) when length(Args) >= 0 -> {ok, Args, nil};
shape(Args) when is_map(Args), not is_map_key('__struct__', Args) -> {ok, [], Args};
shape({Args, Kwargs}) when length(Args) >= 0, is_map(Kwargs), not is_map_key('__struct__', Kwargs) -> {ok, Args, Kwargs};
shape(Other) -> {error, bad_arguments(Other)}.

bad_arguments(Other) ->
    Format = "arguments are a list (positional), a map (by name) or both as {List, Map}; given was ~0tP",
    pitcrew_error:new(bad_arguments, Format, [Other, 8]).

%% One attempt: a slot, an exchange, and what follows from its outcome. Where no slot is free, or none is ever claimed, the call is handed on
%% with its frame ready.
attempt(#job{aim = any, stream = Credit, pool = #pool{dispatch = Dispatch}} = Job) when Credit > 0 ->
    hand_over(Dispatch, Job);
attempt(#job{aim = any, pool = #pool{is_pipelined = true, dispatch = Dispatch}} = Job) ->
    hand_over(Dispatch, Job);
%% What the worker calls comes to the reader of its lane.
attempt(#job{aim = any, codec = #{functions := _}, pool = #pool{dispatch = Dispatch}} = Job) ->
    hand_over(Dispatch, Job);
attempt(#job{aim = any, pool = #pool{slots = Slots, dispatch = Dispatch}} = Job) ->
    case pitcrew_nif:claim(Slots) of
        {ok, Channel, OsPid} ->
            Held = Job#job{worker = OsPid},
            conclude(pitcrew_slot:exchange(Channel, Held), Held);
        busy ->
            hand_over(Dispatch, Job)
    end;
attempt(#job{aim = {session, _, #place{at = {tenant, Tenant}}}, pool = #pool{dispatch = Dispatch}} = Job) ->
    hand_over({Dispatch, Tenant}, Job);
attempt(#job{aim = {session, _, #place{at = {lost, Error}}}} = Job) ->
    {{error, Error}, Job};
attempt(#job{aim = {session, _, #place{at = moving} = Place}} = Job) ->
    follow(Place, none, Job);
attempt(#job{aim = {tenant, _, Tenant}, pool = #pool{dispatch = Dispatch}} = Job) ->
    hand_over({Dispatch, Tenant}, Job);
attempt(#job{aim = {ref, Handle}, pool = #pool{dispatch = Dispatch}} = Job) ->
    hand_over({Dispatch, Handle}, Job).

%% The session's worker is gone. The pool may be another by now.
follow(#place{} = Place, Seen, #job{deadline = Deadline, pool = #pool{sup = Sup}} = Job) ->
    case pitcrew_session:moved(Place, Seen, Deadline) of
        {ok, Tenant} ->
            case pitcrew_pools:find(Sup) of
                {ok, Pool} -> attempt(Job#job{pool = Pool, aim = {session, Place#place.no, Place#place{at = {tenant, Tenant}}}});
                absent -> {{error, pitcrew_error:new(pool_down, "the pool went down before the call")}, Job}
            end;
        timeout ->
            {{error, timeout_error(Job, "while its session looked for another worker")}, Job};
        {error, _} = Error ->
            {Error, Job}
    end.

hand_over(Way, #job{stream = Credit, pool = #pool{max_frame = Max}, codec = Codec} = Job) ->
    #job{deadline = Deadline, checkout_timeout = Timeout, on_caller_exit = OnExit, watch = Watch} = Job,
    Request = {request(Job), Codec, Max, OnExit},
    case Credit of
        0 -> handed_over(pitcrew_pipeline:exchange(Way, Request, {Deadline, Timeout}), Job);
        _ -> handed_over(pitcrew_pipeline:open(Way, Request, {Deadline, Timeout}, Watch), Job)
    end.

request(#job{texts = nil, tool = Tool, args = Args, kwargs = Kwargs, meta = Meta}) -> {msgpack, Tool, Args, Kwargs, Meta};
request(#job{texts = {Tool, Args, Kwargs}}) -> {json, Tool, Args, Kwargs}.

handed_over({called, Call, Waits}, Job) ->
    pitcrew_functions:hosted(Job, [], fun(Hosted) -> pass_on(Call, Waits, Hosted) end);
handed_over({begun, _, _} = Begun, Job) ->
    {Begun, Job};
handed_over({done, _, _, _, {gone, Reason}}, Job) ->
    gone(Reason, Job);
handed_over(gone, Job) ->
    gone(interrupted, Job);
handed_over(held, Job) ->
    {pitcrew_functions:held(), Job};
handed_over(foreign, Job) ->
    gone(foreign, Job);
handed_over({done, _, _, _, unstarted}, Job) ->
    case pitcrew_deadline:left(Job#job.deadline) of
        0 -> {{error, timeout_error(Job, "before a worker could take it")}, Job};
        _ -> attempt(Job)
    end;
handed_over({done, OsPid, _, QueueNs, {slot, Channel}}, #job{deadline = Deadline, queue = Queue} = Job) ->
    %% It had something large to send, and waited for the memory that it goes into.
    Held = Job#job{queue = Queue + erlang:convert_time_unit(QueueNs, nanosecond, native), worker = OsPid},
    case pitcrew_deadline:left(Deadline) of
        0 ->
            ok = pitcrew_slot:leave(Channel),
            {{error, timeout_error(Held, "before a worker could take it")}, Held};
        _ ->
            conclude(pitcrew_slot:exchange(Channel, Held), Held)
    end;
handed_over({done, OsPid, Sent, QueueNs, Answer}, #job{queue = Queue} = Job) ->
    Queued = Queue + erlang:convert_time_unit(QueueNs, nanosecond, native),
    answered(Answer, pitcrew_call_events:sent(Sent, Job#job{queue = Queued, worker = OsPid}));
handed_over(over, Job) ->
    {{error, pitcrew_error:new(pool_down, "the pool went down before the call")}, Job};
handed_over(full, #job{pool = #pool{max_queue = Most}} = Job) ->
    {{error, pitcrew_error:new(overloaded, "every worker is busy and ~b calls wait already (option max_queue)", [Most])}, Job};
handed_over(queue_timeout, Job) ->
    {{error, timeout_error(Job, "while it waited for a free worker")}, Job};
handed_over(checkout_timeout, Job) ->
    {checkout_error(Job), Job};
handed_over({error, _} = Refused, Job) ->
    conclude(Refused, Job).

%% The only worker that could have run it is no more, or is about to be; it has not begun. A stream may only have been given a slot.
gone(_, #job{aim = any} = Job) -> attempt(Job);
gone(_, #job{aim = {session, _, #place{at = {tenant, Tenant}} = Place}} = Job) -> follow(Place, Tenant, Job);
gone(Reason, #job{aim = Aim, id = Id} = Job) -> {{error, pitcrew_aim:missed(Aim, Reason, Id)}, Job}.

checkout_error(#job{aim = Aim, checkout_timeout = Timeout}) ->
    Format =
        case pitcrew_aim:is_bound(Aim) of
            true -> "the worker that the call must run in was busy for ~b ms";
            false -> "no worker became free within ~b ms"
        end,
    {error, pitcrew_error:new(checkout_timeout, Format, [Timeout])}.

conclude({sent, Sent, {called, _, _} = Called}, Job) ->
    {BytesOut, Timed} = pitcrew_call_events:bytes(Sent, Job),
    pitcrew_functions:hosted(Timed, [], fun(Hosted) -> called(Called, BytesOut, Hosted) end);
conclude({sent, Sent, Answer}, Job) ->
    answered(Answer, pitcrew_call_events:sent(Sent, Job));
conclude(poisoned, Job) ->
    %% The worker was condemned between the claim and the first byte: nothing happened, so another one may do it.
    case pitcrew_deadline:left(Job#job.deadline) of
        0 -> {{error, timeout_error(Job, "before a worker could take it")}, Job};
        _ -> attempt(Job)
    end;
conclude({error, #{ref := Ref}}, #job{aim = any} = Job) ->
    %% To the worker that has the object.
    attempt(Job#job{aim = {ref, Ref}});
conclude({error, #{ref := _, path := Path}}, #job{aim = Aim} = Job) ->
    {{error, (pitcrew_aim:elsewhere(Aim))#{path => Path}}, Job};
conclude({error, #{struct := _} = Refused}, #job{args = Args, kwargs = Kwargs} = Job) ->
    %% A struct that the codec does not know: what the arguments become with Pitcrew.Encoder is tried once.
    Begun = pitcrew_call_events:clock(Job),
    case pitcrew_structs:encoded([{[args], Args}, {[kwargs], Kwargs}], Refused) of
        {ok, [NewArgs, NewKwargs]} -> attempt(pitcrew_call_events:encoded(Begun, Job#job{args = NewArgs, kwargs = NewKwargs}));
        {error, StillRefused} -> {{error, pitcrew_error:from_codec(StillRefused)}, Job}
    end;
conclude({error, #{function := true} = Refused}, Job) ->
    pitcrew_functions:with(Job, Refused, fun attempt/1);
conclude({error, Refused}, Job) ->
    {{error, pitcrew_error:from_codec(Refused)}, Job}.

%% The tool has called the VM, in a call that has claimed a slot.
called(Called, BytesOut, #job{deadline = Deadline} = Job) ->
    case pitcrew_slot:leave_to_lane(Called, BytesOut, Job) of
        {left, Waits} -> handed_over(pitcrew_pipeline:go_on(Waits, Deadline), Job);
        Answer -> conclude({sent, BytesOut, Answer}, Job)
    end.

%% The same in one that was handed on. Once it has a host what it calls comes there by itself; some of it may be on its way to this process.
pass_on(Call, Waits, #job{codec = #{functions := {Host, _}}} = Job) ->
    _ = pitcrew_pipeline:host(Waits, Host),
    pass_on(Host, Call, Waits, Job).

pass_on(Host, Call, Waits, #job{deadline = Deadline} = Job) ->
    Host ! Call,
    case pitcrew_pipeline:go_on(Waits, Deadline) of
        {called, Next, Further} -> pass_on(Host, Next, Further, Job);
        Outcome -> handed_over(Outcome, Job)
    end.

answered({reply, Times, BytesIn, Term}, Job) ->
    {{ok, Term}, pitcrew_call_events:received(Times, BytesIn, Job)};
answered({fault, Times, BytesIn, Fault}, Job) ->
    {{error, pitcrew_error:from_fault(Fault)}, pitcrew_call_events:received(Times, BytesIn, Job)};
answered({frame, Kind, PythonNs, BytesIn, Bytes, Lease}, Job) ->
    answered({frame, Kind, PythonNs, BytesIn, Bytes, Lease, none}, Job);
answered({frame, Kind, PythonNs, BytesIn, Bytes, Lease, Parcel}, #job{codec = Codec} = Job) ->
    %% Lease and parcel are for this answer only.
    Given = maps:filter(fun(_, What) -> What =/= none end, #{lease => Lease, parcel => Parcel}),
    {Result, After} = answered({frame, Kind, PythonNs, BytesIn, Bytes}, Job#job{codec = maps:merge(Codec, Given)}),
    {Result, After#job{codec = Codec}};
answered({frame, Kind, PythonNs, BytesIn, Bytes}, #job{codec = Codec} = Job) ->
    %% As much as a binary of a large answer may keep alive: see pitcrew_pool.
    Share = Codec#{share_least => max(64, byte_size(Bytes) div 16)},
    Begun = pitcrew_call_events:clock(Job),
    case pitcrew_nif:decode(Bytes, Share) of
        {ok, Term} -> answered({Kind, PythonNs, BytesIn, Term}, pitcrew_call_events:decoded(Begun, Job));
        {error, _} = Unreadable -> answered(Unreadable, Job)
    end;
answered({json, Kind, PythonNs, BytesIn, Text}, #job{codec = #{nil := Null}} = Job) ->
    Begun = pitcrew_call_events:clock(Job),
    Answer = pitcrew_call_json:answer(Kind, Text, Null),
    {Answer, pitcrew_call_events:received(PythonNs, BytesIn, pitcrew_call_events:decoded(Begun, Job))};
answered({error, Unreadable}, Job) ->
    {{error, pitcrew_error:from_codec(Unreadable)}, Job};
answered(timeout, #job{id = Id, stream = Credit, timeout = Timeout} = Job) when Credit > 0 ->
    {{error, pitcrew_error:new(timeout, "the stream of ~ts gave no chunk for ~b ms, and was cancelled", [Id, Timeout])}, Job};
answered(timeout, #job{pool = #pool{is_pipelined = true}} = Job) ->
    {{error, timeout_error(Job, "and was cancelled")}, Job};
answered(timeout, Job) ->
    {{error, timeout_error(Job, "and its worker is being replaced")}, Job};
answered({exit, pool_down}, Job) ->
    {{error, pitcrew_error:new(pool_down, "the pool went down during the call")}, Job};
answered({exit, Reason}, Job) ->
    case may_retry(Job) of
        true -> attempt(Job#job{retries = Job#job.retries - 1, retried = Job#job.retried + 1});
        false -> {{error, pitcrew_error:from_exit(Reason, [" during the call of ", Job#job.id])}, Job}
    end.

may_retry(#job{retries = 0}) -> false;
may_retry(#job{tool = Tool, id = Id, pool = #pool{tools = Tools}, deadline = Deadline}) when is_map(Tools) ->
    maps:get(called(Tool, Id), Tools, false) andalso pitcrew_deadline:left(Deadline) > 0;
may_retry(_) ->
    false.

timeout_error(#job{id = Id, timeout = Timeout}, What) ->
    pitcrew_error:new(timeout, "the call of ~ts took longer than ~b ms, ~ts", [Id, Timeout, What]).
