%% The telemetry of calls and streams, in the caller's process.
-module(pitcrew_call_events).

-export([started/3, finished/5, worker/1]).
-export_type([told/0]).

-include("pitcrew_pool.hrl").
-include("pitcrew_job.hrl").

%% What every event of the call carries.
-type told() :: #{pool := atom(), tool_id := binary(), protocol := msgpack | json, atom() => term()}.

%% @doc A call begins.
-spec started(#pool{}, integer(), told()) -> ok.
started(#pool{events = {Start, _, _}}, Started, Told) ->
    case pitcrew_telemetry:is_quiet() of
        true ->
            ok;
        false ->
            Times = #{system_time => erlang:system_time(), monotonic_time => Started},
            pitcrew_telemetry:execute(Start, Times, Told)
    end.

%% @doc It has ended. An error says what it was the error of.
-spec finished(#pool{}, integer(), told(), pitcrew_call:result(), #job{} | nil) -> pitcrew_call:result().
finished(#pool{events = {_, Stop, _}}, Started, Told, {ok, _} = Result, Job) ->
    case pitcrew_telemetry:is_quiet() of
        true ->
            ok;
        false ->
            Measured = measured(erlang:monotonic_time() - Started, Job),
            pitcrew_telemetry:execute(Stop, Measured, maps:merge(#{worker => worker(Job), result => ok}, Told))
    end,
    Result;
finished(#pool{events = {_, _, Exception}}, Started, #{pool := Name, tool_id := Tool} = Told, {error, Plain}, Job) ->
    Measured = measured(erlang:monotonic_time() - Started, Job),
    Worker = worker(Job),
    #{kind := Kind} = Error = pitcrew_error:add(Plain, #{tool => Tool, pool => Name, worker => Worker}),
    pitcrew_telemetry:execute(Exception, Measured, Told#{worker => Worker, result => Kind, error => Error}),
    {error, Error}.

measured(Duration, nil) ->
    #{duration => Duration, queue => 0, python => 0, bytes_in => 0, bytes_out => 0, retries => 0};
measured(Duration, #job{stream = Credit, chunks = Chunks} = Job) when Credit > 0 ->
    (measured(Duration, Job#job{stream = 0}))#{chunks => Chunks};
measured(Duration, #job{queue = Queue, python = Python, bytes_in = In, bytes_out = Out, retried = Retries}) ->
    #{duration => Duration, queue => Queue, python => Python, bytes_in => In, bytes_out => Out, retries => Retries}.

%% @doc The worker that a call was in last.
-spec worker(#job{} | nil) -> pos_integer() | nil.
worker(nil) -> nil;
worker(#job{worker = Worker}) -> Worker.
