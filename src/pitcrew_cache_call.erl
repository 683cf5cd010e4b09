%% A call through its pool's cache, in the caller's process: a look into a table, and if there is nothing, one of those who make the same call at
%% the same time runs it, the others wait for its result.
%%
%% Who runs a call, a flight, is decided by the table, one row for each. The row goes when the call has ended, or when somebody says
%% that what is known about it is void; then its result is not kept. If the one who runs it dies or gets an error, another runs it anew: errors
%% are nobody's but the caller's who made them. Nothing stays in the mailbox of one who waits.
-module(pitcrew_cache_call).

-export([key/5, key/2, run/4]).
-export_type([facts/0]).

-include("pitcrew_pool.hrl").

%% Of a call: the tool for people, when it began in native time, until when it may take, and whether a worker of the pool runs it.
-type facts() :: #{
    tool_id := binary(), started := integer(), deadline := pitcrew_deadline:deadline(), timeout := timeout(), takes_worker := boolean()
}.

-define(MOST_USES, 3).

%% @doc The key of a call, or `none' for one that is not to be cached, or cannot be.
-spec key(#pool{}, pitcrew_aim:aim(), binary(), pitcrew:args(), {ok, pitcrew_options:call()} | {error, pitcrew_error:t()}) ->
    binary() | none.
key(#pool{cache = Cache, tools = Tools}, any, Tool, Args, {ok, #{cache := auto} = Options}) when is_map_key(Tool, Tools) ->
    case map_get(Tool, Tools) of
        true -> key_of(Cache, Tool, Args, Options);
        false -> none
    end;
key(#pool{cache = Cache}, any, Tool, Args, {ok, #{cache := true} = Options}) ->
    key_of(Cache, Tool, Args, Options);
key(_, _, _, _, _) ->
    none.

%% What else decides about the form of a result, or of the arguments, is part of it. The object of a `ref' is one worker's.
key_of(_, _, _, #{meta := #{ref := true}}) ->
    none;
key_of(Cache, Tool, Args, #{protocol := Protocol, meta := Meta, codec := Codec}) ->
    #{binaries := Binaries, bytes := Bytes, nil := Nil} = Codec,
    Form = bit(Protocol, json, 1) + bit(Binaries, bytes, 2) + bit(Bytes, tagged, 4) + bit(Nil, undefined, 8) + keys(Meta),
    key({Tool, Args, Form}, Cache).

%% @doc The key of any term, or `none' for one that has none.
-spec key(term(), #cache{}) -> binary() | none.
key(Term, #cache{key = HashKey, counts = Counts}) ->
    case pitcrew_nif:term_key(Term, HashKey, 0) of
        none ->
            ok = counters:add(Counts, ?REFUSED, 1),
            none;
        Key ->
            Key
    end.

bit(Value, Value, Bit) -> Bit;
bit(_, _, _) -> 0.

keys(#{keys := strict}) -> 16;
keys(_) -> 0.

%% @doc The result of a call by its key; `Run' runs it. With it comes what `Run' said about the call, or nil.
-spec run(#cache{}, binary(), facts(), fun(() -> {pitcrew_call:result(), Job})) -> {pitcrew_call:result(), Job | nil}.
run(Cache, Key, #{started := Started} = Facts, Run) -> seek(Cache, Key, Started, Facts, Run).

seek(#cache{table = Table} = Cache, Key, Now, Facts, Run) ->
    try ets:lookup(Table, Key) of
        [{_, Value, Uses, Expires, _, _}] when Expires > Now ->
            ok = use(Table, Key, Uses),
            hit(Cache, ?HITS, cache, Value, Facts);
        [{_, {flight, Pid, _} = Flight}] when Pid =/= self() ->
            case may_wait(Cache, Facts) of
                true -> join(Cache, Key, Flight, Facts, Run);
                false -> Run()
            end;
        [{_, {flight, _, _}}] ->
            %% A telemetry handler makes the call that it hears of.
            Run();
        Others ->
            take_off(Cache, Key, Others, Facts, Run)
    catch
        %% The pool has ended, which the call itself will say best.
        error:badarg -> Run()
    end.

seek_again(Cache, Key, Facts, Run) -> seek(Cache, Key, erlang:monotonic_time(), Facts, Run).

%% Beyond that a use changes nothing, so what is used all the time is only read.
use(_, _, ?MOST_USES) ->
    ok;
use(Table, Key, _) ->
    try ets:update_counter(Table, Key, {3, 1, ?MOST_USES, ?MOST_USES}) of
        _ -> ok
    catch
        error:badarg -> ok
    end.

hit(#cache{counts = Counts, pool = Pool, events = {Event, _, _}}, Count, Source, Value, #{tool_id := Tool, started := Started}) ->
    ok = counters:add(Counts, Count, 1),
    case pitcrew_telemetry:is_wanted(Event) of
        false ->
            ok;
        true ->
            Measured = #{duration => erlang:monotonic_time() - Started},
            pitcrew_telemetry:execute(Event, Measured, #{pool => Pool, tool_id => Tool, source => Source})
    end,
    {{ok, Value}, nil}.

missed(#cache{counts = Counts, pool = Pool, events = {_, Event, _}}, #{tool_id := Tool, started := Started}) ->
    ok = counters:add(Counts, ?MISSES, 1),
    case pitcrew_telemetry:is_wanted(Event) of
        false -> ok;
        true -> pitcrew_telemetry:execute(Event, #{duration => erlang:monotonic_time() - Started}, #{pool => Pool, tool_id => Tool})
    end.

%% ---- Who runs the call

take_off(#cache{table = Table} = Cache, Key, Found, Facts, Run) ->
    Flight = {flight, self(), make_ref()},
    case claim(Cache, Table, Key, Flight, Found) of
        true -> lead(Cache, Key, Flight, Facts, Run);
        false -> seek_again(Cache, Key, Facts, Run)
    end.

claim(_, Table, Key, Flight, []) ->
    ets:insert_new(Table, {Key, Flight});
claim(#cache{counts = Counts} = Cache, Table, Key, Flight, [{_, _, _, _, Stamp, _}]) ->
    case ets:select_replace(Table, [{{Key, '_', '_', '_', Stamp, '_'}, [], [{const, {Key, Flight}}]}]) of
        1 ->
            ok = counters:add(Counts, ?EXPIRED, 1),
            ok = pitcrew_cache_keeper:dropped(Cache, Key, Stamp),
            true;
        0 ->
            false
    end.

lead(#cache{backend = Backend} = Cache, Key, Flight, Facts, Run) ->
    try fly(Backend:fetch(Cache, Key), Cache, Facts, Run) of
        {found, Value} ->
            ok = land(Cache, Key, Flight, {value, Value}),
            hit(Cache, ?HITS, backend, Value, Facts);
        {ran, Ticket, {Result, _} = Outcome} ->
            ok = settle(Cache, Key, Flight, Ticket, Result),
            Outcome
    catch
        Class:Reason:Stack ->
            ok = land(Cache, Key, Flight, next),
            erlang:raise(Class, Reason, Stack)
    end.

fly({ok, Value}, _, _, _) ->
    {found, Value};
fly({miss, Ticket}, Cache, Facts, Run) ->
    ok = missed(Cache, Facts),
    {ran, Ticket, Run()}.

settle(Cache, Key, Flight, _, {error, _}) ->
    land(Cache, Key, Flight, next);
settle(#cache{counts = Counts, max_bytes = Most} = Cache, Key, Flight, Ticket, {ok, Value}) ->
    case pitcrew_nif:term_weight(Value) of
        none ->
            %% An object of a worker's, for one: each who wants one gets one of their own.
            ok = counters:add(Counts, ?REFUSED, 1),
            land(Cache, Key, Flight, run);
        Bytes when 8 * Bytes > Most ->
            ok = counters:add(Counts, ?TOO_LARGE, 1),
            land(Cache, Key, Flight, {value, Value});
        Bytes ->
            store(Cache, Key, Flight, {Ticket, Value, Bytes + ?ENTRY_BYTES})
    end.

store(#cache{backend = Backend} = Cache, Key, {flight, _, Token} = Flight, {Ticket, Value, Bytes}) ->
    try Backend:store(Cache, Key, Flight, Ticket, Value, Bytes) of
        look -> tell(Cache, Token, look);
        over -> tell(Cache, Token, {value, Value})
    catch
        error:badarg -> ok
    end.

%% The row goes first: who comes later does not wait for this one any more.
land(#cache{table = Table} = Cache, Key, {flight, _, Token} = Flight, News) ->
    try
        true = ets:delete_object(Table, {Key, Flight}),
        tell(Cache, Token, News)
    catch
        error:badarg -> ok
    end.

tell(#cache{waiters = Waiters}, Token, News) ->
    lists:foreach(fun({_, Alias, _}) -> Alias ! {Alias, News} end, ets:take(Waiters, Token)).

%% ---- Who waits

%% Whoever runs it may wait for the very worker that waits for a function, so that must not wait for them. By itself it gets a worker, or runs inside of
%% the call that waits.
may_wait(_, #{takes_worker := false}) -> true;
may_wait(#cache{sup = Sup}, _) -> not pitcrew_functions:is_waited_for(Sup).

join(Cache, Key, Flight, Facts, Run) ->
    case wait(Cache, Key, Flight, Facts) of
        {value, Value} -> hit(Cache, ?JOINED, flight, Value, Facts);
        look -> seek_again(Cache, Key, Facts, Run);
        next -> seek_again(Cache, Key, Facts, Run);
        run -> Run();
        timeout -> {{error, timeout_error(Facts)}, nil}
    end.

%% Until whoever runs it says what came of it, or dies; or the pool ends, with which the names go that would be told.
wait(#cache{sup = Sup, waiters = Waiters} = Cache, Key, {flight, Pid, Token} = Flight, #{deadline := Deadline}) ->
    Alias = monitor(process, Pid, [{alias, reply_demonitor}]),
    Ended = monitor(process, Sup),
    Name = {Token, Alias, self()},
    First =
        case put_down(Cache, Key, Flight, Name) of
            waits ->
                receive
                    {Alias, Told} -> Told;
                    {'DOWN', Alias, process, _, _} -> orphaned(Cache, Key, Flight);
                    {'DOWN', Ended, process, _, _} -> run
                after pitcrew_deadline:left(Deadline) -> timeout
                end;
            Otherwise ->
                Otherwise
        end,
    true = demonitor(Alias, [flush]),
    true = demonitor(Ended, [flush]),
    ok = strike_out(Waiters, Name),
    %% The news may have come just now.
    receive
        {Alias, Last} -> Last
    after 0 -> First
    end.

%% Having put its name down it looks again: either the row is there, and whoever takes it away will see the name, or it is gone.
put_down(#cache{table = Table, waiters = Waiters}, Key, Flight, Name) ->
    try
        true = ets:insert(Waiters, Name),
        ets:lookup(Table, Key)
    of
        [{_, Flight}] -> waits;
        _ -> look
    catch
        error:badarg -> run
    end.

strike_out(Waiters, Name) ->
    try ets:delete_object(Waiters, Name) of
        true -> ok
    catch
        error:badarg -> ok
    end.

%% So that the next one may run it.
orphaned(#cache{table = Table}, Key, Flight) ->
    try ets:delete_object(Table, {Key, Flight}) of
        true -> look
    catch
        error:badarg -> run
    end.

timeout_error(#{tool_id := Tool, timeout := Timeout}) ->
    pitcrew_error:new(timeout, "the call of ~ts took longer than ~b ms, while it waited for the result of an equal one", [Tool, Timeout]).
