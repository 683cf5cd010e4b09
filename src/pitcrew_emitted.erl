%% Events that Python emits, as telemetry: [Prefix ..., python | Words], where Prefix is the pool's telemetry_prefix, so that no worker can emit an event
%% that the VM's own handlers trust.
%%
%% Nothing that arrives becomes an atom that is not there yet, but for what a worker has declared when it was ready, and that is bounded for the VM. An
%% event with a word that is no atom is [Prefix ..., python, event] with its name as a text.
-module(pitcrew_emitted).

-export([init/0, declare/1, own_words/0, execute/3, dropped/3]).

%% How many atoms the declarations of all workers may make, as long as the VM lives: a worker that declares others each time it starts must not
%% fill the table of atoms.
-define(MOST_ATOMS, 20_000).
-define(MADE, pitcrew_emitted_atoms).

%% @doc Once, when the application starts.
-spec init() -> ok.
init() ->
    case persistent_term:get(?MADE, none) of
        none -> persistent_term:put(?MADE, atomics:new(1, []));
        _ -> ok
    end.

%% @doc Words of events that Pitcrew itself emits in Python, which are atoms because they stand here: python/pitcrew/pauses.py.
-spec own_words() -> [atom()].
own_words() -> [gc, pause, collected, uncollectable, generation].

%% @doc What a worker says of events in `ready': [#{name, measurements, metadata}].
-spec declare(term()) -> ok.
declare(Events) when is_list(Events) ->
    _ = [declare_word(Word) || #{<<"name">> := Name} = Event <- Events, Word <- words(Name) ++ words(measurements, Event) ++ words(metadata, Event)],
    ok;
declare(_) ->
    ok.

words(Key, Event) -> words(maps:get(atom_to_binary(Key), Event, [])).

words(Words) when is_list(Words) -> [Word || Word <- Words, is_binary(Word)];
words(_) -> [].

declare_word(Word) ->
    case existing(Word) of
        Atom when is_atom(Atom) -> ok;
        _ -> make(Word, persistent_term:get(?MADE))
    end.

make(Word, Made) ->
    case atomics:get(Made, 1) < ?MOST_ATOMS andalso string:length(Word) =< 255 of
        true ->
            ok = atomics:add(Made, 1, 1),
            _ = binary_to_atom(Word),
            ok;
        false ->
            ok
    end.

%% @doc Emits what a worker has sent, without the kind of its frame (docs/protocol.md).
-spec execute([atom(), ...], map(), list()) -> ok | unreadable.
execute(Prefix, Metadata, [Call, Words, Tool, AtNs, DurationNs, Data | More]) when
    is_list(Words), is_integer(AtNs), is_integer(DurationNs) orelse DurationNs =:= nil, is_binary(Data)
->
    {Event, Named} = event(Prefix, Words),
    case pitcrew_telemetry:is_wanted(Event) andalso pitcrew_nif:decode(Data, #{}) of
        false ->
            ok;
        {ok, [Measurements, Told]} when is_map(Measurements), is_map(Told) ->
            Numbers = maps:filter(fun(_, Value) -> is_number(Value) end, Measurements),
            Measured = maps:merge(with_atoms(Numbers), times(AtNs, DurationNs)),
            Own = maps:merge(maps:merge(maps:merge(Metadata, call(Call, Tool)), trace(More)), Named),
            pitcrew_telemetry:execute(Event, Measured, maps:merge(with_atoms(Told), Own));
        _ ->
            unreadable
    end;
execute(_, _, _) ->
    unreadable.

event(Prefix, Words) ->
    Atoms = [existing(Word) || Word <- Words],
    case Atoms =/= [] andalso lists:all(fun is_atom/1, Atoms) of
        true -> {Prefix ++ [python | Atoms], #{}};
        false -> {Prefix ++ [python, event], #{name => iolist_to_binary(lists:join($., words(Words)))}}
    end.

existing(Word) when is_binary(Word) ->
    try
        binary_to_existing_atom(Word)
    catch
        error:_ -> Word
    end;
existing(Word) ->
    Word.

with_atoms(Map) -> maps:from_list([{existing(Key), Value} || {Key, Value} <- maps:to_list(Map)]).

call(_, nil) -> #{};
call(Call, Tool) -> #{call_id => Call, tool_id => Tool}.

trace([Parent | _]) when is_binary(Parent) -> #{traceparent => Parent};
trace(_) -> #{}.

%% The worker's clock is the system's monotonic one, which the VM's own differs from.
times(AtNs, DurationNs) ->
    Age = max(0, os:perf_counter(nanosecond) - AtNs),
    At = erlang:monotonic_time() - native(Age),
    Times = #{monotonic_time => At, system_time => At + erlang:time_offset()},
    case DurationNs of
        nil -> Times;
        _ -> Times#{duration => native(DurationNs)}
    end.

native(Nanoseconds) -> erlang:convert_time_unit(Nanoseconds, nanosecond, native).

%% @doc So many were dropped, in the worker because they came faster than handlers took them, or here because they could not be read.
-spec dropped([atom(), ...], map(), pos_integer()) -> ok.
dropped(Prefix, Metadata, N) -> pitcrew_telemetry:execute(Prefix ++ [python, dropped], #{count => N}, Metadata).
