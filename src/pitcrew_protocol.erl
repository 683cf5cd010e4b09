%% @doc Which protocol a call should travel by. The one place that says so: the option `protocol => auto' asks here as well.
%%
%% ```
%% msgpack = pitcrew_protocol:select_optimal_protocol(#{streaming => false, data => #{id => 7}, call_frequency => 5}),
%% json = pitcrew_protocol:select_optimal_protocol(#{data => #{id => 7}, call_frequency => 5, readable => true}),
%% #{reason := large} = pitcrew_protocol:explain(#{data => lists:seq(1, 1000), readable => true}).
%% '''
%%
%% MessagePack is the faster one at everything that was measured, so JSON is chosen only for who wants to read the frames, and where that costs
%% little. docs/json.md has the rule, docs/performance.md the figures.
-module(pitcrew_protocol).

-export([select_optimal_protocol/1, explain/1, fastest/0]).
-export_type([protocol/0, config/0, explanation/0, reason/0]).

%% `make bench BENCH=protocol': JSON takes up to 5 us longer for a call and, by what is in it, 20 to 85 ns for each byte of its text, there and
%% back. At both limits that is 100 * (5 us + 1024 * 85 ns) a second, less than a hundredth of one processor.
-define(MOST_BYTES, 1024).
-define(MOST_CALLS_PER_S, 100).

-type protocol() :: msgpack | json.

%% `streaming': the results are to be a stream. `data': the arguments of a typical call. `call_frequency': calls a second. `readable': whether
%% people are to read the frames.
-type config() :: #{streaming => boolean(), data => term(), call_frequency => number(), readable => boolean()} | [{atom(), term()}].

-type reason() :: fastest | streaming | no_library | not_json | large | frequent | readable.
-type explanation() :: #{protocol := protocol(), reason := reason(), message := binary()}.

%% Rows of pitcrew_options:table/2.
-define(CONFIG, [
    {streaming, {one_of, [false, true]}, {value, false}},
    {data, term, {value, nil}},
    {call_frequency, {number, 0}, {value, 0}},
    {readable, {one_of, [false, true]}, {value, false}}
]).

%% @doc The protocol for calls of this sort, for the option `protocol'. Raises a {@link pitcrew_error:t()} of the kind `invalid_option' when something
%% is not what it should be.
-spec select_optimal_protocol(config()) -> protocol().
select_optimal_protocol(Config) -> protocol(reason(checked(Config))).

%% @doc The same, and why: a reason for programs, and a message for people.
-spec explain(config()) -> explanation().
explain(Config) ->
    Why = reason(checked(Config)),
    #{protocol => protocol(Why), reason => name(Why), message => unicode:characters_to_binary(message(Why))}.

%% @doc The protocol where nothing speaks for another one.
-spec fastest() -> protocol().
fastest() -> msgpack.

checked(Config) ->
    case pitcrew_options:table(Config, ?CONFIG) of
        {ok, Checked} -> Checked;
        {error, Error} -> erlang:error(Error, [Config])
    end.

reason(#{streaming := true}) -> streaming;
reason(#{readable := false}) -> fastest;
reason(#{data := Data, call_frequency := Frequency}) -> reason(pitcrew_json:available(), Data, Frequency).

reason({error, Error}, _, _) ->
    {no_library, Error};
reason(ok, Data, Frequency) ->
    case pitcrew_json:encode(Data) of
        {error, Error} -> {not_json, Error};
        {ok, Text} when byte_size(Text) > ?MOST_BYTES -> {large, byte_size(Text)};
        {ok, _} when Frequency > ?MOST_CALLS_PER_S -> {frequent, Frequency};
        {ok, _} -> readable
    end.

protocol(readable) -> json;
protocol(_) -> fastest().

name({Name, _}) -> Name;
name(Name) -> Name.

message(fastest) ->
    "MessagePack is the faster one, and nobody wants to read the frames";
message(streaming) ->
    "a stream's chunks travel as MessagePack only";
message({no_library, #{message := Why}}) ->
    ["JSON is not there: ", Why];
message({not_json, #{message := Why, path := Path}}) ->
    io_lib:format("JSON cannot carry the data: ~ts~ts", [Why, place(Path)]);
message({large, Bytes}) ->
    io_lib:format("the data takes ~b bytes as JSON, and what takes more than ~b is neither quick to send nor easy to read", [Bytes, ?MOST_BYTES]);
message({frequent, Frequency}) ->
    io_lib:format("with more than ~b calls a second, and here it is ~tp, JSON takes too much of a processor", [?MOST_CALLS_PER_S, Frequency]);
message(readable) ->
    io_lib:format(
        "the frames are to be read, and up to ~b bytes and ~b calls a second that costs less than a hundredth of a processor",
        [?MOST_BYTES, ?MOST_CALLS_PER_S]
    ).

place([]) -> "";
place(Path) -> io_lib:format(" (at ~0tP)", [Path, 20]).
