%% @doc A handler that writes log lines of calls that take long and of calls that end with an error.
%%
%% ```
%% ok = pitcrew_telemetry:attach_default_logger(#{slow => 250}).
%% '''
%%
%% <ul>
%% <li>`slow' (1000): calls that take so many milliseconds or more, or `infinity' for none</li>
%% <li>`errors' (true): calls that end with an error</li>
%% <li>`level' (warning): of the lines</li>
%% <li>`prefix' (`[pitcrew]'): which pools, by their `telemetry_prefix'</li>
%% </ul>
%%
%% Each prefix can be attached once; {@link detach/1} ends it.
-module(pitcrew_telemetry_log).

-export([attach/1, detach/1]).
%% Handlers should not be local funs, which new code would leave behind.
-export([handle/4]).
-export_type([options/0]).

-include_lib("kernel/include/logger.hrl").

-type options() ::
    #{slow => timeout(), errors => boolean(), level => logger:level(), prefix => [atom(), ...]} | [{atom(), term()}].

table() ->
    [
        {slow, timeout, {value, 1_000}},
        {errors, {one_of, [true, false]}, {value, true}},
        {level, {one_of, [debug, info, notice, warning, error, critical, alert, emergency]}, {value, warning}},
        {prefix, prefix, {value, [pitcrew]}}
    ].

-spec attach(options()) -> ok | {error, already_exists | pitcrew_error:t()}.
attach(Options) ->
    case pitcrew_options:table(Options, table()) of
        {ok, #{prefix := Prefix, slow := Slow} = Checked} ->
            Native =
                case Slow of
                    infinity -> infinity;
                    _ -> erlang:convert_time_unit(Slow, millisecond, native)
                end,
            Events = [Prefix ++ [call, What] || What <- [stop, exception]],
            pitcrew_telemetry:attach_many({?MODULE, Prefix}, Events, fun ?MODULE:handle/4, Checked#{slow := Native});
        {error, _} = Error ->
            Error
    end.

%% @doc No more lines for that prefix.
-spec detach([atom(), ...]) -> ok | {error, not_found}.
detach(Prefix) -> pitcrew_telemetry:detach({?MODULE, Prefix}).

%% @private
-spec handle(pitcrew_telemetry:event(), map(), map(), map()) -> ok.
handle(Event, Measurements, Metadata, Config) ->
    case lists:last(Event) of
        exception -> failed(Measurements, Metadata, Config);
        stop -> slow(Measurements, Metadata, Config)
    end.

%% An error says more than that it took long.
failed(#{duration := Duration}, #{tool_id := Tool, pool := Pool, error := Error}, #{errors := true, level := Level}) ->
    ?LOG(Level, "call of ~ts in pool ~tp failed after ~ts ms: ~ts", [Tool, Pool, ms(Duration), pitcrew_error:format(Error)]);
failed(Measurements, Metadata, Config) ->
    slow(Measurements, Metadata, Config).

%% `infinity' is greater than every number.
slow(#{duration := Duration} = Measurements, #{tool_id := Tool, pool := Pool}, #{slow := Slow, level := Level}) when Duration >= Slow ->
    Parts = [[atom_to_list(Part), " ", ms(maps:get(Part, Measurements))] || Part <- [queue, encode, transport, python, decode]],
    ?LOG(Level, "slow call of ~ts in pool ~tp: ~ts ms (~ts)", [Tool, Pool, ms(Duration), lists:join(", ", Parts)]);
slow(_, _, _) ->
    ok.

ms(Native) -> io_lib:format("~.1f", [erlang:convert_time_unit(Native, native, nanosecond) / 1.0e6]).
