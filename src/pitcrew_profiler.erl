%% @doc What Python does in the workers of a pool while a function runs: which functions take the time (cProfile), which stacks are seen
%% (a sampler), which lines allocate memory (tracemalloc). Nothing of it is there while nobody asks. See docs/profiling.md.
%%
%% ```
%% {ok, Result, Profile} = pitcrew_profiler:run(py, #{sample => 5}, fun() -> pitcrew:call(py, work, []) end),
%% io:put_chars(pitcrew_profiler:format(Profile)),
%% {ok, Files} = pitcrew_profiler:write(Profile, "profile").
%% '''
-module(pitcrew_profiler).

-export([run/3, mark/1, format/1, write/2]).
-export_type([options/0, handle/0, profile/0, missing/0]).

-include("pitcrew_pool.hrl").

%% <ul>
%% <li>`functions' (true): whether calls and times of functions are counted, by cProfile</li>
%% <li>`sample' (`none'): milliseconds between two looks at the stacks, from 1 to 1000</li>
%% <li>`memory' (`none'): how many frames of each allocation tracemalloc keeps, from 1 to 100; one is enough for the lines</li>
%% <li>`timeout' (5000): milliseconds that a worker which is busy is waited for, at the beginning and at the end</li>
%% <li>`top' (25): how many functions, and lines, the tables have</li>
%% <li>`sort' (`own'): whether those functions come first that take the most time themselves, or with all that they call (`total')</li>
%% </ul>
-type options() :: #{atom() => term()} | [{atom(), term()}].
-opaque handle() :: pitcrew_recorder:recorder().
%% A worker that has a part in the run and none, or not all of it, in the profile.
-type missing() :: #{worker := pos_integer(), reason := busy | gone | reserved | refused | failed | late, message := binary()}.
-type place() :: #{file := binary(), line := integer(), bytes := integer(), blocks := integer()}.
%% Times in microseconds. What was not asked for is nil.
-type profile() :: #{
    pool := atom(),
    duration_ms := non_neg_integer(),
    workers := [pos_integer()],
    missing := [missing()],
    sort := own | total,
    functions := nil | [pitcrew_profile_stats:row()],
    pstats := nil | binary(),
    samples := nil | non_neg_integer(),
    stacks := nil | binary(),
    flame_graph := nil | binary(),
    memory := nil | #{current := integer(), peak := integer(), allocations := [place()], growth := [place()]}
}.

table() ->
    [
        {functions, {one_of, [true, false]}, {value, true}},
        {sample, {integer_or, 1, 1_000, none}, {value, none}},
        {memory, {integer_or, 1, 100, none}, {value, none}},
        {timeout, {integer, 1, 600_000}, {value, 5_000}},
        {top, {integer, 1, 10_000}, {value, 25}},
        {sort, {one_of, [own, total]}, {value, own}}
    ].

%% @doc Runs a fun, and profiles the workers that the pool has meanwhile. The fun has no argument, or one, for {@link mark/1}.
%%
%% What the fun raises is raised, and nothing is left switched on; nor is it when the caller dies. An error means that the fun was not
%% called: an option is wrong, there is no such pool, or no worker could be profiled.
-spec run(pitcrew:pool(), options(), fun(() -> T) | fun((handle()) -> T)) -> {ok, T, profile()} | {error, pitcrew_error:t()}.
run(PoolName, Options, Fun) when is_function(Fun, 0); is_function(Fun, 1) ->
    case pitcrew_options:table(Options, table()) of
        {ok, #{functions := false, sample := none, memory := none}} ->
            pitcrew_option_check:invalid("there is nothing to profile: one of the options functions, sample and memory is needed");
        {ok, Checked} ->
            record(PoolName, Checked, Fun);
        {error, _} = Error ->
            Error
    end.

record(PoolName, Options, Fun) ->
    case pitcrew_pools:find(PoolName) of
        {ok, Pool} ->
            {ok, Recorder} = pitcrew_recorder:start(Pool, Options),
            try pitcrew_recorder:open(Recorder) of
                ok -> recorded(Pool, Options, Recorder, Fun);
                {error, _} = Error -> Error
            after
                pitcrew_recorder:stop(Recorder)
            end;
        absent ->
            {error, pitcrew_call:no_pool(PoolName)}
    end.

recorded(Pool, Options, Recorder, Fun) ->
    Start = erlang:monotonic_time(millisecond),
    Result = call(Fun, Recorder),
    Duration = erlang:monotonic_time(millisecond) - Start,
    {Parts, Missing} = pitcrew_recorder:finish(Recorder),
    {ok, Result, profile(Pool, Options, Duration, Parts, Missing)}.

call(Fun, _) when is_function(Fun, 0) -> Fun();
call(Fun, Recorder) -> Fun(Recorder).

%% @doc From here on memory grows: the profile's `growth' is what has come since the last mark, or since the beginning. Waits for the workers
%% as {@link run/3} does; those that are busy for longer keep the mark that they had.
-spec mark(handle()) -> ok.
mark(Recorder) -> pitcrew_recorder:mark(Recorder).

%% ---- What was seen

profile(#pool{name = Name}, #{top := Top, sort := Sort} = Options, Duration, Parts, Missing) ->
    Told = [Told || {_, Told} <- Parts],
    Facts = #{pool => Name, duration_ms => Duration, workers => [OsPid || {OsPid, _} <- Parts], missing => Missing},
    maps:merge(maps:merge(functions(Options, Told), stacks(Options, Told, Facts)), Facts#{sort => Sort, memory => memory(Options, Told, Top)}).

functions(#{functions := false}, _) ->
    #{functions => nil, pstats => nil};
functions(#{functions := true, sort := Sort, top := Top}, Told) ->
    Stats = pitcrew_profile_stats:merge([Rows || #{<<"functions">> := Profiles} <- Told, Rows <- Profiles]),
    #{functions => pitcrew_profile_stats:top(Sort, Top, Stats), pstats => pitcrew_profile_stats:marshal(Stats)}.

stacks(#{sample := none}, _, _) ->
    #{samples => nil, stacks => nil, flame_graph => nil};
stacks(#{sample := Interval}, Told, #{pool := Name, workers := Workers}) ->
    Add = fun([Stack, Count], Sum) -> Sum#{Stack => Count + maps:get(Stack, Sum, 0)} end,
    All = lists:foldl(Add, #{}, [Row || #{<<"stacks">> := #{<<"folded">> := Folded}} <- Told, Row <- Folded]),
    Samples = lists:sum(maps:values(All)),
    Lines = [
        io_lib:format("~b samples, one every ~b ms", [Samples, Interval]),
        io_lib:format("of ~b workers. Width is the share of samples;", [length(Workers)]),
        "who is called stands below the caller."
    ],
    Title = ["Python in the pool ", pitcrew_text:pool(Name)],
    #{
        samples => Samples,
        stacks => iolist_to_binary([[Stack, $\s, integer_to_binary(Count), $\n] || {Stack, Count} <- lists:sort(maps:to_list(All))]),
        flame_graph => pitcrew_flame:svg(All, Title, Lines)
    }.

memory(#{memory := none}, _, _) ->
    nil;
memory(_, Told, Top) ->
    All = [Memory || #{<<"memory">> := Memory} <- Told],
    #{
        current => lists:sum([Bytes || #{<<"current">> := Bytes} <- All]),
        peak => lists:sum([Bytes || #{<<"peak">> := Bytes} <- All]),
        allocations => places(Top, [Row || #{<<"allocations">> := Rows} <- All, Row <- Rows]),
        growth => places(Top, [Row || #{<<"growth">> := Rows} <- All, Row <- Rows])
    }.

%% Of all workers together, those first that make the most of a difference.
places(Top, Rows) ->
    Add = fun([File, Line, Bytes, Blocks], Sum) ->
        {B, N} = maps:get({File, Line}, Sum, {0, 0}),
        Sum#{{File, Line} => {B + Bytes, N + Blocks}}
    end,
    Sums = [{-abs(Bytes), Place, Bytes, Blocks} || {Place, {Bytes, Blocks}} <- maps:to_list(lists:foldl(Add, #{}, Rows)), Bytes =/= 0],
    [
        #{file => File, line => Line, bytes => Bytes, blocks => Blocks}
     || {_, {File, Line}, Bytes, Blocks} <- lists:sublist(lists:sort(Sums), Top)
    ].

%% @doc The profile as a text for people.
-spec format(profile()) -> unicode:chardata().
format(Profile) -> pitcrew_profile_text:format(Profile).

%% @doc Writes what there is into a folder, which it makes: `functions.pstats' for Python's pstats and for what reads its files,
%% `stacks.collapsed', `flamegraph.svg', and `profile.txt', which is {@link format/1}. Returns their paths.
-spec write(profile(), file:name_all()) -> {ok, [file:filename_all(), ...]} | {error, {file:filename_all(), file:posix()}}.
write(#{pstats := Pstats, stacks := Stacks, flame_graph := Svg} = Profile, Folder) ->
    Text = unicode:characters_to_binary(format(Profile)),
    Files = [{"profile.txt", Text}, {"functions.pstats", Pstats}, {"stacks.collapsed", Stacks}, {"flamegraph.svg", Svg}],
    case filelib:ensure_path(Folder) of
        ok -> write_all([{filename:join(Folder, Name), Bytes} || {Name, Bytes} <- Files, Bytes =/= nil], []);
        {error, Reason} -> {error, {Folder, Reason}}
    end.

write_all([{Path, Bytes} | Rest], Written) ->
    case file:write_file(Path, Bytes) of
        ok -> write_all(Rest, [Path | Written]);
        {error, Reason} -> {error, {Path, Reason}}
    end;
write_all([], Written) ->
    {ok, lists:reverse(Written)}.
