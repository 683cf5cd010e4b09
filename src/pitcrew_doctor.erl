%% @doc Looks whether all that Pitcrew needs is there, on this machine and in the pools that run, and says what to do about what is not.
%%
%% ```
%% Checks = pitcrew_doctor:run(),
%% io:put_chars(pitcrew_doctor:format(Checks)),
%% [] = [Check || #{status := fail} = Check <- Checks].
%% '''
%%
%% `mix pitcrew.doctor' does that on the command line; in a node that runs, {@link print/0} does. Nothing is changed: a folder is made and removed, and
%% Python is started with a few lines.
-module(pitcrew_doctor).

-export([run/0, run/1, print/0, format/1, json/1, worst/1, check/4]).
-export_type([check/0, area/0, status/0, options/0]).

-type area() :: build | python | system | pools | checklist.
%% `note': nothing is wrong; it says where something is to be seen, or what was found.
-type status() :: ok | note | warn | fail.
%% `name' is unique, but for those that each pool, or each interpreter, has one of.
-type check() :: #{area := area(), name := atom(), status := status(), text := binary(), fix := binary() | nil}.
%% `python': the interpreters to look at, by default those of the pools that run, or if none does the one that pools have by default.
-type options() :: #{python => [unicode:chardata(), ...]}.

-spec run() -> [check(), ...].
run() -> run(#{}).

-spec run(options()) -> [check(), ...].
run(Options) ->
    Pools = pitcrew_doctor_pools:facts(),
    Pythons = maps:get(python, Options, lists:usort([Python || #{python := Python} <- Pools, Python =/= nil])),
    Found = [pitcrew_doctor_python:facts(Python) || Python <- if Pythons =:= [] -> [pitcrew_doctor_python:default()]; true -> Pythons end],
    Build = pitcrew_doctor_build:facts(),
    pitcrew_doctor_build:checks(Build) ++
        lists:append([pitcrew_doctor_python:checks(Facts) || Facts <- Found]) ++
        pitcrew_doctor_system:checks(pitcrew_doctor_system:facts(hd(Found))) ++
        pitcrew_doctor_pools:checks(Pools).

%% @private
-spec check(area(), atom(), status() | {status(), Fix :: unicode:chardata()}, unicode:chardata()) -> check().
check(Area, Name, {Status, Fix}, Text) ->
    #{area => Area, name => Name, status => Status, text => unicode:characters_to_binary(Text), fix => unicode:characters_to_binary(Fix)};
check(Area, Name, Status, Text) ->
    #{area => Area, name => Name, status => Status, text => unicode:characters_to_binary(Text), fix => nil}.

%% @doc Prints what {@link run/0} finds, and returns the worst of it: `bin/my_app rpc ":pitcrew_doctor.print()"'.
-spec print() -> status().
print() ->
    Checks = run(),
    ok = io:put_chars(format(Checks)),
    worst(Checks).

-spec worst([check()]) -> status().
worst(Checks) ->
    Found = [Status || #{status := Status} <- Checks],
    lists:last([ok | [Status || Status <- [note, warn, fail], lists:member(Status, Found)]]).

%% @doc For people: a line for each check, and below it what to do.
-spec format([check()]) -> unicode:chardata().
format(Checks) ->
    Areas = [build, python, system, pools, checklist],
    [[section(Area, [Check || #{area := In} = Check <- Checks, In =:= Area]) || Area <- Areas], summary(Checks)].

section(_, []) -> [];
section(Area, Checks) -> [title(Area), "\n", [line(Check) || Check <- Checks], "\n"].

title(build) -> "Build";
title(python) -> "Python";
title(system) -> "System";
title(pools) -> "Pools";
title(checklist) -> "Checklist".

line(#{status := Status, text := Text, fix := Fix}) ->
    [io_lib:format("  ~-4s  ", [Status]), Text, "\n", [["        -> ", Fix, "\n"] || Fix =/= nil]].

summary(Checks) ->
    Count = fun(Wanted) -> length([Wanted || #{status := Status} <- Checks, Status =:= Wanted]) end,
    io_lib:format("~b ok, ~b to know, ~b to look at, ~b to repair\n", [Count(ok), Count(note), Count(warn), Count(fail)]).

%% @doc The same as JSON: an object with `status', the worst one, and `checks'.
-spec json([check()]) -> binary().
json(Checks) -> pitcrew_plain_json:encode(#{status => worst(Checks), checks => Checks}).
