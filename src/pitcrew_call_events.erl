%% The telemetry of calls and streams, in the caller's process: how long each part of a call takes, if anybody listens, and its events.
-module(pitcrew_call_events).

-export([names/1, ends/1, started/3, finished/5, worker/1]).
-export([codec/2, clock/1, encoded/2, decoded/2, sent/2, bytes/2, received/3]).
-export_type([names/0, told/0, clock/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

%% call start, stop and exception, and serialization stop.
-opaque names() :: {event(), event(), event(), event()}.
-type event() :: [atom(), ...].
%% What every event of the call carries.
-type told() :: #{pool := atom(), tool_id := binary(), protocol := msgpack | json, atom() => term()}.
-type clock() :: integer() | untimed.

-spec names([atom()]) -> names().
names(Prefix) -> {Prefix ++ [call, start], Prefix ++ [call, stop], Prefix ++ [call, exception], Prefix ++ [serialization, stop]}.

%% @doc Those that tell of the end of a call: with a result, and with an error.
-spec ends(names()) -> [event(), ...].
ends({_, Stop, Exception, _}) -> [Stop, Exception].

%% ---- How long what takes. Native code takes no clock for a call unless it is told to.

-spec codec(#pool{}, pitcrew_nif:codec_opts()) -> pitcrew_nif:codec_opts().
codec(#pool{events = {_, Stop, _, Serialization}}, Codec) ->
    case pitcrew_telemetry:is_wanted(Stop) orelse pitcrew_telemetry:is_wanted(Serialization) of
        true -> Codec#{timed => true};
        false -> Codec
    end.

-spec clock(#job{}) -> clock().
clock(#job{codec = #{timed := true}}) -> erlang:monotonic_time();
clock(#job{}) -> untimed.

%% @doc Since then the job's arguments have been encoded, or a part of that was done.
-spec encoded(clock(), #job{}) -> #job{}.
encoded(untimed, Job) -> Job;
encoded(Begun, #job{encode = Encode} = Job) -> Job#job{encode = Encode + erlang:monotonic_time() - Begun}.

-spec decoded(clock(), #job{}) -> #job{}.
decoded(untimed, Job) -> Job;
decoded(Begun, #job{decode = Decode} = Job) -> Job#job{decode = Decode + erlang:monotonic_time() - Begun}.

-spec sent(pitcrew_nif:sent(), #job{}) -> #job{}.
sent(Sent, Job) ->
    {Bytes, #job{bytes_out = Before} = Timed} = bytes(Sent, Job),
    Timed#job{bytes_out = Before + Bytes}.

%% @doc The same, with bytes that somebody else counts.
-spec bytes(pitcrew_nif:sent(), #job{}) -> {non_neg_integer(), #job{}}.
bytes({Bytes, EncodeNs}, #job{encode = Encode} = Job) -> {Bytes, Job#job{encode = Encode + native(EncodeNs)}};
bytes(Bytes, Job) -> {Bytes, Job}.

-spec received(pitcrew_nif:times(), non_neg_integer(), #job{}) -> #job{}.
received({PythonNs, DecodeNs}, Bytes, #job{decode = Decode} = Job) -> received(PythonNs, Bytes, Job#job{decode = Decode + native(DecodeNs)});
received(PythonNs, Bytes, #job{python = Python, bytes_in = Before} = Job) -> Job#job{python = Python + native(PythonNs), bytes_in = Before + Bytes}.

native(Nanoseconds) -> erlang:convert_time_unit(Nanoseconds, nanosecond, native).

%% ---- Events

%% @doc A call begins.
-spec started(#pool{}, integer(), told()) -> ok.
started(#pool{events = {Start, _, _, _}}, Started, Told) ->
    case pitcrew_telemetry:is_wanted(Start) of
        false ->
            ok;
        true ->
            Times = #{system_time => erlang:system_time(), monotonic_time => Started},
            pitcrew_telemetry:execute(Start, Times, Told)
    end.

%% @doc It has ended. An error says what it was the error of.
-spec finished(#pool{}, integer(), told(), pitcrew_call:result(), #job{} | nil) -> pitcrew_call:result().
finished(#pool{events = {_, Stop, _, _}} = Pool, Started, Told, {ok, _} = Result, Job) ->
    ok = ended(Stop, Pool, Started, Told, Job, {outcome(Told), #{}}),
    Result;
finished(#pool{events = {_, _, Exception, _}} = Pool, Started, #{pool := Name, tool_id := Tool} = Told, {error, Plain}, Job) ->
    #{kind := Kind} = Error = pitcrew_error:add(Plain, #{tool => Tool, pool => Name, worker => worker(Job)}),
    ok = ended(Exception, Pool, Started, Told, Job, {Kind, #{error => Error}}),
    {error, Error}.

outcome(#{result := halted}) -> halted;
outcome(#{}) -> ok.

ended(Event, #pool{metrics = Metrics} = Pool, Started, Told, Job, {Outcome, More}) ->
    case {Metrics, pitcrew_telemetry:is_wanted(Event)} of
        {none, false} ->
            tell_of_codec(Pool, Told, Job);
        {_, IsWanted} ->
            Duration = erlang:monotonic_time() - Started,
            ok = pitcrew_metrics:call(Metrics, Told, Outcome, Duration, Job),
            ok = tell_of_codec(Pool, Told, Job),
            case IsWanted of
                true -> pitcrew_telemetry:execute(Event, measured(Duration, Job), maps:merge(metadata(Told, Outcome, Job), More));
                false -> ok
            end
    end.

%% A result that no worker was asked for is the cache's.
metadata(Told, Outcome, Job) -> Told#{result => Outcome, worker => worker(Job), cached => Job =:= nil andalso Outcome =:= ok}.

%% Of a stream, whose chunks are decoded by and by, it is not known.
tell_of_codec(#pool{events = {_, _, _, Event}}, Told, #job{stream = 0, encode = Encode, decode = Decode} = Job) when Encode + Decode > 0 ->
    #job{bytes_in = In, bytes_out = Out} = Job,
    Measured = #{duration => Encode + Decode, encode => Encode, decode => Decode, bytes_in => In, bytes_out => Out},
    pitcrew_telemetry:execute(Event, Measured, maps:with([pool, tool_id, protocol, batch], Told));
tell_of_codec(_, _, _) ->
    ok.

measured(Duration, nil) ->
    #{
        duration => Duration, queue => 0, encode => 0, transport => Duration, python => 0, decode => 0, bytes_in => 0, bytes_out => 0, retries => 0
    };
measured(Duration, #job{stream = Credit, chunks = Chunks} = Job) when Credit > 0 ->
    (measured(Duration, Job#job{stream = 0}))#{chunks => Chunks};
measured(Duration, #job{queue = Queue, encode = Encode, python = Python, decode = Decode} = Job) ->
    #job{bytes_in = In, bytes_out = Out, retried = Retried} = Job,
    %% The parts make up the whole. They are measured by two clocks, one of which the VM corrects, and those of a stream may overlap.
    Rest = Duration - Queue - Encode - Python - Decode,
    #{
        duration => Duration,
        queue => Queue,
        encode => Encode,
        transport => max(0, Rest),
        python => Python + min(0, Rest),
        decode => Decode,
        bytes_in => In,
        bytes_out => Out,
        retries => Retried
    }.

%% @doc The worker that a call was in last.
-spec worker(#job{} | nil) -> pos_integer() | nil.
worker(nil) -> nil;
worker(#job{worker = Worker}) -> Worker.
