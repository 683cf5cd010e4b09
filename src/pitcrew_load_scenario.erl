%% The scenarios of load tests: how they are read, those that there are by name, and what each of their calls is. Data only.
-module(pitcrew_load_scenario).

-export([guide/0, read/2, total/1, call/3, probes/2]).
-export_type([given/0, scenario/0]).

%% As users write them: see pitcrew_load:run/1.
-type given() :: map() | [{atom(), term()}].
-type scenario() :: #{
    name := binary(),
    %% Own ones, so many, or those of the user's pool, each with its arguments, or with `payload' for the scenario's.
    tools := pos_integer() | [{pitcrew:tool(), pitcrew:args() | payload}, ...],
    %% A function of the user's, so what it returns is known when it has.
    calls := none | fun((pos_integer()) -> term()),
    rate := number(),
    duration := number(),
    warmup := number(),
    payload_bytes := non_neg_integer()
}.

-define(SIZES, #{small => 32, medium => 8 * 1024, large => 1024 * 1024}).
%% For each call three words are kept until the figures are made.
-define(MOST_CALLS, 5_000_000).

%% @doc Those of the performance guide.
-spec guide() -> [given(), ...].
guide() ->
    [
        #{name => <<"high_frequency_single">>, tools => 1, calls_per_second => 100, duration => 60},
        #{name => <<"multi_tool_moderate">>, tools => 10, calls_per_second => 20, duration => 60},
        #{name => <<"large_payload">>, tools => 5, calls_per_second => 5, payload_size => large, duration => 60}
    ].

table() ->
    [
        {name, {fits, fun is_name/1, "a name, as text or an atom"}, required},
        {tools, {fits, fun is_tools/1, "a number of tools from 1 to 1000, or a list of names, or of tools with their arguments, {Tool, Args}"}, {value, 1}},
        {calls, {fits, fun(Fun) -> is_function(Fun, 1) end, "a function from the number of a call, from 1, to {Tool, Args}"}, {value, none}},
        {calls_per_second, {fits, fun is_rate/1, "a number above 0 and up to 100000"}, required},
        {duration, {fits, fun is_duration/1, "a number of seconds above 0 and up to 86400"}, {value, 60}},
        {warmup, {fits, fun is_warmup/1, "a number of seconds from 0 to 86400"}, {value, 2}},
        {payload_size, {fits, fun is_size/1, "small, medium, large, or a number of bytes up to 268435456"}, {value, none}}
    ].

is_name(Name) when is_atom(Name) -> not lists:member(Name, [nil, undefined, true, false]);
is_name(Name) -> is_text(Name).

is_text(<<_, _/binary>> = Text) -> is_list(unicode:characters_to_list(Text));
is_text([_ | _] = Text) -> io_lib:char_list(Text);
is_text(_) -> false.

is_tools(Count) when is_integer(Count) -> Count >= 1 andalso Count =< 1000;
is_tools([_ | _] = Tools) -> (not io_lib:char_list(Tools)) andalso lists:all(fun is_tool/1, Tools);
is_tools(_) -> false.

is_tool({Tool, _}) -> is_tool_name(Tool);
is_tool(Tool) -> is_tool_name(Tool).

is_tool_name(Tool) -> is_binary(Tool) orelse (is_atom(Tool) andalso is_name(Tool)).

is_rate(Rate) -> is_number(Rate) andalso Rate > 0 andalso Rate =< 100_000.
is_duration(Seconds) -> is_number(Seconds) andalso Seconds > 0 andalso Seconds =< 86_400.
is_warmup(Seconds) -> is_number(Seconds) andalso Seconds >= 0 andalso Seconds =< 86_400.

is_size(Size) when is_atom(Size) -> is_map_key(Size, ?SIZES) orelse Size =:= nil;
is_size(Size) -> is_integer(Size) andalso Size >= 0 andalso Size =< 16#10000000.

%% @doc A scenario, or the name of one of the guide's, in its one form. `Over' are keys that come before the scenario's own.
%% Fails like what reads options.
-spec read(given() | binary() | string() | atom(), #{atom() => term()}) -> scenario().
read(Name, Over) when is_atom(Name); is_binary(Name) -> read(named(Name), Over);
read([C | _] = Name, Over) when is_integer(C) -> read(named(Name), Over);
read(Given, Over) ->
    Own = pitcrew_option_check:read(Given, table()),
    #{name := Name, calls_per_second := Rate, tools := Tools, payload_size := Size} =
        Read = pitcrew_option_check:complete(maps:merge(Own, Over), table()),
    Scenario = (maps:with([calls, duration, warmup], Read))#{
        name => text(Name), rate => Rate, tools => tools(Tools, Size), payload_bytes => bytes(Size)
    },
    fit(Scenario, total(Scenario)).

named(Name) ->
    Text = text(Name),
    case [Scenario || #{name := Known} = Scenario <- guide(), Known =:= Text] of
        [Scenario] ->
            Scenario;
        [] ->
            Names = lists:join(", ", [Known || #{name := Known} <- guide()]),
            pitcrew_option_check:fail("there is no scenario ~ts; by name there are ~ts, others are maps", [Text, Names])
    end.

text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) -> unicode:characters_to_binary(Name).

tools(Count, _) when is_integer(Count) -> Count;
tools(Tools, Size) -> [tool(Tool, Size) || Tool <- Tools].

tool({_, _} = Tool, _) -> Tool;
tool(Tool, Size) when Size =:= none; Size =:= nil -> {Tool, []};
tool(Tool, _) -> {Tool, payload}.

bytes(Size) when is_integer(Size) -> Size;
bytes(Size) -> maps:get(Size, ?SIZES, maps:get(small, ?SIZES)).

fit(#{name := Name}, {_, 0}) ->
    pitcrew_option_check:fail("scenario ~ts would make no call: its rate and duration are too small", [Name]);
fit(#{name := Name}, {Before, Calls}) when Before + Calls > ?MOST_CALLS ->
    pitcrew_option_check:fail("scenario ~ts would make ~b calls; at most ~b can be measured exactly", [Name, Before + Calls, ?MOST_CALLS]);
fit(Scenario, _) ->
    Scenario.

%% @doc How many calls are made to warm up, and how many are measured.
-spec total(scenario()) -> {non_neg_integer(), non_neg_integer()}.
total(#{rate := Rate, duration := Duration, warmup := Warmup}) -> {round(Rate * Warmup), round(Rate * Duration)}.

%% @doc What the call with a number is. Its tool is chosen at random, and the same one in every run with that seed.
-spec call(scenario(), Text :: binary(), Seed :: term()) -> fun((pos_integer()) -> {pitcrew:tool(), pitcrew:args()} | term()).
call(#{calls := Calls}, _, _) when is_function(Calls) ->
    Calls;
call(#{tools := Count}, Text, Seed) when is_integer(Count) ->
    Names = list_to_tuple([<<"loadtest_", (integer_to_binary(N))/binary>> || N <- lists:seq(1, Count)]),
    fun(N) -> {chosen(N, Names, Seed), [payload(N, Text)]} end;
call(#{tools := Tools}, Text, Seed) ->
    All = list_to_tuple(Tools),
    fun(N) -> filled(chosen(N, All, Seed), N, Text) end.

filled({Tool, payload}, N, Text) -> {Tool, [payload(N, Text)]};
filled(Call, _, _) -> Call.

%% @doc Each call that there may be, once: those that show whether there is anything to measure.
-spec probes(scenario(), Text :: binary()) -> [{pitcrew:tool(), pitcrew:args()} | term(), ...].
probes(#{calls := none, tools := [_ | _] = Tools}, Text) -> [filled(Tool, 1, Text) || Tool <- Tools];
probes(Scenario, Text) -> [(call(Scenario, Text, 0))(1)].

chosen(_, Choices, _) when tuple_size(Choices) =:= 1 -> element(1, Choices);
chosen(N, Choices, Seed) -> element(1 + erlang:phash2({Seed, N}, tuple_size(Choices)), Choices).

%% No two are equal, so that no cache answers.
payload(N, Text) -> #{<<"call">> => N, <<"text">> => Text}.
