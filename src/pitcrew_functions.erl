%% What a tool calls in the VM as long as its call runs: functions that came in the arguments, and tools that were registered (pitcrew_tools). Each such
%% call has a host, from its beginning or from the first time on: a process under a supervisor of the application, which lives for as long as its caller waits, is told by the reader of the worker's channel what is to be called, and runs each
%% in a process of its own. That process encodes the result and answers the worker by itself.
%%
%% Invariants: no function runs any longer than its call; each one that was called is answered once or, if its process is killed while it does that,
%% twice, of which the worker drops the second; the caller's own process does none of it.
-module(pitcrew_functions).
-behaviour(supervisor).

-export([with/3, hosted/3, host_stream/3, end_stream/1, within/2, is_waited_for/1, held/0, inherit/0, refuse/1, start_supervisor/0, start_host/1]).
-export([init/1]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

-define(MOST_LEVELS, 64).
%% In the dictionary of a process that runs a function: its host, and the calls around it, innermost first.
-define(AROUND, pitcrew_around).

-record(host, {
    functions :: tuple(),
    pool :: pitcrew_pools:entry(),
    session :: pos_integer() | none,
    codec :: pitcrew_nif:codec_opts(),
    %% How long each may take.
    timeout :: timeout(),
    %% Of the call, in monotonic milliseconds.
    deadline :: pitcrew_deadline:deadline(),
    around :: [around()],
    callers :: [pid()],
    trace :: pitcrew_trace:context() | nil,
    %% Those that run: whom to answer, and how long they may take.
    running = #{} :: #{pid() => {pitcrew_function:to(), timeout(), Timer :: reference() | none}},
    %% Those that have made a call of their own that waits.
    nested = #{} :: #{pid() => atomics:atomics_ref()},
    fed = #{} :: pitcrew_iterator:fed()
}).

%% A call that waits for a function: its pool, its worker, and the number of the function where that worker can run something meanwhile, or 0.
-type around() :: {Pool :: pid(), pitcrew_nif:channel(), non_neg_integer()}.
-type attempt() :: fun((#job{}) -> {{ok, term()} | {error, pitcrew_error:t()} | tuple(), #job{}}).

%% ---- In the caller

%% @doc Another attempt, with the functions that the codec has come across in the arguments.
-spec with(#job{}, pitcrew_nif:codec_error(), attempt()) -> {term(), #job{}}.
with(#job{args = Args, kwargs = Kwargs, codec = Codec, stream = Credit} = Job, Refused, Attempt) ->
    Known = case Codec of #{functions := {_, Numbers}} -> Numbers; #{} -> #{} end,
    Found = lists:usort(collect([Args, Kwargs], [])),
    %% Not how many there are: a struct that has become an iterator since the last attempt may have had more of them in it.
    case lists:all(fun(Function) -> is_map_key(Function, Known) end, Found) of
        true -> {{error, pitcrew_error:from_codec(Refused)}, Job};
        false when Credit > 0 -> Attempt(host_anew(Found, Job));
        false -> hosted(Job, Found, Attempt)
    end.

%% @doc An attempt, or what is left of one, of a call whose tool may call such functions, and those that are registered.
-spec hosted(#job{}, [fun() | pitcrew_iterator:iterator()], attempt()) -> {term(), #job{}}.
hosted(#job{codec = Codec} = Job, Functions, Attempt) ->
    #job{codec = #{functions := {Host, _}}} = Hosted = host(Functions, Job),
    try
        {Result, After} = Attempt(Hosted),
        {Result, After#job{codec = Codec}}
    after
        stop(Host)
    end.

%% @doc The job of a stream whose worker has called something; what it calls later comes to the host by itself.
-spec host_stream(tuple(), pitcrew_pipeline:stream(), #job{}) -> #job{}.
host_stream(Call, _, #job{codec = #{functions := {Host, _}}} = Job) ->
    Host ! Call,
    Job;
host_stream(Call, Way, Job) ->
    #job{codec = #{functions := {Host, _}}} = Hosted = host([], Job),
    _ = pitcrew_pipeline:host(Way, Host),
    Host ! Call,
    Hosted.

%% Of a stream that nothing has gone out of yet.
host_anew(Functions, Job) ->
    ok = end_stream(Job),
    host(Functions, Job).

%% @doc It has ended.
-spec end_stream(#job{} | nil) -> ok.
end_stream(#job{codec = #{functions := {Host, _}}}) -> stop(Host);
end_stream(_) -> ok.

host(Functions, #job{codec = Codec, function_timeout = Timeout, pool = Pool} = Job) ->
    {_, Around} = around(),
    Host = #host{
        functions = list_to_tuple(Functions),
        pool = Pool,
        session = session(Job),
        codec = maps:without([functions, nested], Codec),
        timeout = Timeout,
        deadline = deadline(Job),
        around = Around,
        callers = [self() | callers()],
        trace = pitcrew_trace:of_meta(Job#job.meta)
    },
    {ok, Pid} = supervisor:start_child(?MODULE, [{Host, self(), group_leader()}]),
    Numbers = maps:from_list(lists:zip(Functions, lists:seq(0, length(Functions) - 1))),
    Job#job{codec = Codec#{functions => {Pid, Numbers}}}.

%% A stream's own is only that of its first chunk.
deadline(#job{stream = 0, deadline = Deadline}) -> Deadline;
deadline(_) -> infinity.

callers() ->
    case get('$callers') of
        Callers when is_list(Callers) -> Callers;
        _ -> []
    end.

%% What runs is killed, and does nothing for the call any more when this returns.
stop(Host) ->
    Ref = monitor(process, Host),
    Host ! {stop, self()},
    receive
        {'DOWN', Ref, process, _, _} -> ok
    end.

collect(Function, Found) when is_function(Function) -> [Function | Found];
collect(#{'__struct__' := 'Elixir.Pitcrew.Iterator'} = Iterator, Found) -> [Iterator | Found];
collect([First | Rest], Found) -> collect(Rest, collect(First, Found));
collect(Tuple, Found) when is_tuple(Tuple) -> collect(tuple_to_list(Tuple), Found);
%% In a key a function is a term like any other.
collect(Map, Found) when is_map(Map) -> collect(maps:values(Map), Found);
collect(_, Found) -> Found.

%% @doc An attempt, of a call that a function may have made: then it must not wait for a worker that waits for itself.
-spec within(#job{}, attempt()) -> {term(), #job{}}.
within(#job{pool = #pool{sup = Sup}} = Job, Attempt) ->
    case around() of
        {none, _} ->
            Attempt(Job);
        {_, Around} when length(Around) >= ?MOST_LEVELS ->
            Format = "calls and functions are nested more than ~b levels deep",
            {{error, pitcrew_error:new(overloaded, Format, [?MOST_LEVELS])}, Job};
        {Host, Around} ->
            case [{Channel, Function} || {Pool, Channel, Function} <- Around, Pool =:= Sup] of
                [] -> Attempt(Job);
                Outer -> nested(Host, Outer, Job, Attempt)
            end
    end.

%% @doc Whether the calling process runs a function that a call in this pool waits for, if only through others.
-spec is_waited_for(pid()) -> boolean().
is_waited_for(Sup) ->
    {_, Around} = around(),
    lists:keymember(Sup, 1, Around).

session(#job{aim = {session, No, _}}) -> No;
session(#job{aim = {tenant, No, _}}) -> No;
session(_) -> none.

%% The host counts, for it outlives this process. A call that may run in the worker that waits for the function which makes it never waits for itself.
nested(Host, [{_, Function} | _] = Outer, #job{pool = #pool{nested = Nested, room = Room}, codec = Codec} = Job, Attempt) ->
    Ref = monitor(process, Host),
    Most = case Function of 0 -> Room; _ -> infinity end,
    Host ! {nested, self(), Ref, Nested, Most},
    receive
        {Ref, ok} ->
            demonitor(Ref, [flush]),
            try
                Attempt(Job#job{codec = Codec#{nested => Outer}})
            after
                Host ! {unnested, self()}
            end;
        {Ref, full} ->
            demonitor(Ref, [flush]),
            {waits_for_itself("each worker of the pool is held by a call that waits"), Job};
        {'DOWN', Ref, process, _, _} ->
            exit(shutdown)
    end.

%% @doc What becomes of a call whose only worker can run nothing before it has ended.
-spec held() -> {error, pitcrew_error:t()}.
held() -> waits_for_itself("the worker that it must run in is held by the call").

waits_for_itself(Who) ->
    Format = "~ts for a function which has called the pool again: this call would wait for itself",
    {error, pitcrew_error:new(overloaded, Format, [Who])}.

%% @doc What a process that makes a call for the calling one does first.
-spec inherit() -> fun(() -> term()).
inherit() ->
    Trace = pitcrew_trace:inherit(),
    case get(?AROUND) of
        undefined -> Trace;
        Around -> fun() -> put(?AROUND, Around), Trace() end
    end.

around() ->
    case get(?AROUND) of
        undefined -> {none, []};
        {Host, Around} -> {Host, Around}
    end.

%% ---- The hosts

-spec start_supervisor() -> {ok, pid()} | {error, term()}.
start_supervisor() -> supervisor:start_link({local, ?MODULE}, ?MODULE, []).

-spec init([]) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init([]) ->
    Host = #{id => host, start => {?MODULE, start_host, []}, restart => temporary, shutdown => 1_000},
    {ok, {#{strategy => simple_one_for_one}, [Host]}}.

-spec start_host({#host{}, pid(), pid()}) -> {ok, pid()}.
start_host({Host, Caller, Leader}) ->
    Parent = self(),
    {ok, proc_lib:spawn_link(fun() ->
        process_flag(trap_exit, true),
        group_leader(Leader, self()),
        loop(Host, Parent, monitor(process, Caller))
    end)}.

loop(#host{running = Running} = Host, Parent, Caller) ->
    receive
        {pitcrew_function, Channel, Id, What, Waits, Bytes} ->
            loop(call({Channel, Id}, What, Waits, Bytes, Host), Parent, Caller);
        {nested, Pid, Ref, Nested, Room} ->
            loop(nest(Pid, Ref, Nested, Room, Host), Parent, Caller);
        {unnested, Pid} ->
            loop(unnest(Pid, Host), Parent, Caller);
        {late, Pid} when is_map_key(Pid, Running) ->
            exit(Pid, kill),
            loop(ended(Pid, timeout, Host), Parent, Caller);
        {'DOWN', Caller, process, _, _} ->
            finish(Host);
        {'DOWN', _, process, Pid, Reason} ->
            loop(ended(Pid, Reason, Host), Parent, Caller);
        {stop, _} ->
            finish(Host);
        {'EXIT', Parent, Reason} ->
            finish(Host),
            exit(Reason);
        _ ->
            loop(Host, Parent, Caller)
    end.

%% A tool that has caught its interrupt would wait on. What is enumerated is closed before the caller goes on, as far as that has time for it.
finish(#host{running = Running, nested = Nested, fed = Fed, pool = #pool{grace = Grace}, deadline = Deadline}) ->
    _ = [exit(Pid, kill) || Pid <- maps:keys(Running)],
    _ = [say_gone(To) || {To, _, _} <- maps:values(Running)],
    ok = pitcrew_iterator:finish(Fed, min(Grace, pitcrew_deadline:left(Deadline))),
    _ = [atomics:sub(Count, 1, 1) || Count <- lists:usort(maps:values(Nested))],
    ok.

%% @doc Says of what a worker has called that it will not run.
-spec refuse(tuple()) -> ok.
refuse({pitcrew_function, Channel, Id, _, _, _}) -> say_gone({Channel, Id}).

say_gone(To) -> pitcrew_function:refuse(To, gone, "nobody waits any more for the call that the function belongs to").

call({Channel, _} = To, What, Waits, Bytes, #host{running = Running, fed = Fed} = Host) ->
    case find(What, Host) of
        {ok, #{'__struct__' := _} = Iterator, _} ->
            Host#host{fed = pitcrew_iterator:ask({What, Iterator}, Bytes, To, terms(Channel, Host), Fed)};
        {ok, Callee, Timeout} ->
            Pid = start(Callee, Bytes, To, Waits, Host),
            Host#host{running = Running#{Pid => {To, Timeout, timer(Timeout, Pid)}}};
        {error, Kind, Text} ->
            ok = pitcrew_function:refuse(To, Kind, Text),
            Host
    end.

find(Index, #host{functions = Functions, timeout = Timeout}) when is_integer(Index), Index < tuple_size(Functions) ->
    {ok, element(Index + 1, Functions), Timeout};
find(Index, _) when is_integer(Index) ->
    {error, gone, "the call came with no such function"};
find(Name, #host{pool = Pool, session = Session, timeout = Timeout}) ->
    case pitcrew_tools:find(Name, Pool, Session, Timeout) of
        {ok, _, _} = Found -> Found;
        {error, Text} -> {error, unknown_tool, Text}
    end.

%% An iterator's elements are made ahead, so nothing waits for them in particular.
terms(Channel, #host{codec = Codec, timeout = Timeout, pool = #pool{grace = Grace, max_frame = Max}} = Host) ->
    #{codec => Codec, timeout => Timeout, grace => Grace, max_frame => Max, inherit => inherit({Channel, 0}, Host)}.

start(Callee, Bytes, {Channel, Id} = To, Waits, #host{codec = Codec} = Host) ->
    Inherit = inherit({Channel, case Waits of true -> Id; false -> 0 end}, Host),
    {Pid, _} = spawn_opt(
        fun() ->
            _ = Inherit(),
            pitcrew_function:run(Callee, Bytes, Codec, To)
        end,
        [link, monitor]
    ),
    Pid.

%% For a process that runs the user's code.
inherit({Channel, Function}, #host{pool = Pool, around = Outer, callers = Callers, trace = Trace}) ->
    Self = self(),
    Around = [{Pool#pool.sup, Channel, Function} | Outer],
    fun() ->
        put(?AROUND, {Self, Around}),
        put('$callers', Callers),
        pitcrew_trace:put(Trace)
    end.

timer(infinity, _) -> none;
timer(Timeout, Pid) -> erlang:send_after(Timeout, self(), {late, Pid}).

ended(Pid, Reason, #host{running = Running} = Host) ->
    case maps:take(Pid, Running) of
        {{To, Timeout, Timer}, Rest} ->
            _ = Timer =:= none orelse erlang:cancel_timer(Timer),
            say_ended(Reason, To, Timeout),
            (unnest(Pid, Host))#host{running = Rest};
        error ->
            %% One that took too long may have said something before it was killed.
            unnest(Pid, Host)
    end.

%% It has answered; or else its process was ended by somebody.
say_ended(normal, _, _) ->
    ok;
say_ended(timeout, To, Timeout) ->
    pitcrew_function:refuse(To, timeout, io_lib:format("the function took longer than ~b ms", [Timeout]));
say_ended(Reason, To, _) ->
    pitcrew_function:refuse(To, exit, io_lib:format("the process of the function was ended: ~0tP", [Reason, 16])).

%% Together they hold the room of the call that the functions belong to, so the first of them counts, whichever is the last. While there is room that
%% is not held so, somebody goes on. A process that was not started here makes the call for one that was.
nest(Pid, Ref, Nested, Room, #host{nested = All, running = Running} = Host) ->
    case counts(Nested, All) orelse takes_room(Nested, Room) of
        true ->
            _ = is_map_key(Pid, Running) orelse monitor(process, Pid),
            Pid ! {Ref, ok},
            Host#host{nested = All#{Pid => Nested}};
        false ->
            Pid ! {Ref, full},
            Host
    end.

counts(Nested, All) -> lists:member(Nested, maps:values(All)).

takes_room(Nested, Room) ->
    case atomics:add_get(Nested, 1, 1) of
        Count when Count < Room -> % also where that is `infinity'
            true;
        _ ->
            ok = atomics:sub(Nested, 1, 1),
            false
    end.

unnest(Pid, #host{nested = All} = Host) ->
    case maps:take(Pid, All) of
        {Nested, Rest} ->
            _ = counts(Nested, Rest) orelse atomics:sub(Nested, 1, 1),
            Host#host{nested = Rest};
        error ->
            Host
    end.
