%% A profile as tables for people.
-module(pitcrew_profile_text).

-export([format/1]).

-spec format(pitcrew_profiler:profile()) -> unicode:chardata().
format(#{pool := Pool, duration_ms := Ms, workers := Workers, missing := Missing} = Profile) ->
    [
        io_lib:format("~ts: ~b ms, workers ~ts~n", [pitcrew_text:pool(Pool), Ms, lists:join(", ", [integer_to_list(OsPid) || OsPid <- Workers])]),
        [io_lib:format("worker ~b has no part in this (~ts): ~ts~n", [OsPid, Why, Text]) || #{worker := OsPid, reason := Why, message := Text} <- Missing],
        functions(Profile),
        samples(Profile),
        memory(Profile)
    ].

functions(#{functions := nil}) ->
    [];
functions(#{functions := Functions, sort := Sort}) ->
    [
        io_lib:format("~nFunctions that take the most time~s, by cProfile~n~n", [case Sort of own -> " themselves"; total -> " with what they call" end]),
        io_lib:format("~10s ~12s ~12s  ~s~n", ["calls", "own ms", "with callees", "function"]),
        [function(Function) || Function <- Functions]
    ].

function(#{function := Name, calls := Calls, primitive_calls := Primitive, own_us := Own, total_us := Total} = Function) ->
    Counted =
        case Primitive of
            Calls -> integer_to_list(Calls);
            _ -> io_lib:format("~b/~b", [Calls, Primitive])
        end,
    io_lib:format("~10s ~12s ~12s  ~ts~ts~n", [Counted, ms(Own), ms(Total), Name, where(Function)]).

ms(Us) -> io_lib:format("~.2f", [Us / 1000]).

%% Python has no file for what is written in C.
where(#{file := <<"~">>}) -> [];
where(#{file := File, line := Line}) -> io_lib:format("  ~ts:~b", [File, Line]).

samples(#{samples := nil}) -> [];
samples(#{samples := Samples}) -> io_lib:format("~n~b samples of stacks: see the flame graph~n", [Samples]).

memory(#{memory := nil}) ->
    [];
memory(#{memory := #{current := Current, peak := Peak, allocations := Allocations, growth := Growth}}) ->
    [
        io_lib:format("~nMemory allocated during the run, by tracemalloc: ~ts now, ~ts at most~n", [kib(Current), kib(Peak)]),
        places("Lines that have allocated the most of what is there", Allocations),
        places("Lines that have grown the most since the last mark, or the beginning", Growth)
    ].

places(Title, Places) ->
    [
        io_lib:format("~n~s~n~n~14s ~10s  ~s~n", [Title, "size", "blocks", "line"]),
        [io_lib:format("~14s ~10b  ~ts:~b~n", [kib(Bytes), Blocks, File, Line]) || #{bytes := Bytes, blocks := Blocks, file := File, line := Line} <- Places]
    ].

kib(Bytes) -> io_lib:format("~.1f KiB", [Bytes / 1024]).
