%% For tests: pools with a leak gate around them, and meetings with tools in the middle of their calls.
-module(pitcrew_test).
-include_lib("eunit/include/eunit.hrl").
-export([with_pool/1, with_pool/2, with_pool_to_stop/2, gated/1, options/1, options/2, processes_of/1, fixtures/0, base/0, quietly/1]).
-export([stays_short/1, longest_stay/1, is_sanitized/0, unless_sanitized/1]).
-export([with_meeting/2, whole/1, queued/2, os_pids/1, hosts/0, chunks/1]).
-export([is/2, is_gone/1, kill_a_worker/1]).
-export([both/2, shared_or_not/3, ways/0, on_each_pool/2, if_json/1, seeded/2, shuffle/1]).
-export([held/1, nothing_held/1, garbage/0, with_library/3, second_vm/4]).
-export([listen/0, port/1, meet/1, answer/2, until/1, mailbox/0, kill/1]).

%% @doc Runs a fun with the name of a pool of the fixture py_tools; afterwards nothing may be left of the pool.
with_pool(Fun) -> with_pool(#{}, Fun).

with_pool(Options, Fun) ->
    gated(fun(Base) ->
        #{name := Name} = All = options(Base, Options),
        {ok, Sup} = pitcrew_pool:start_link(All),
        try
            Fun(Name)
        after
            unlink(Sup),
            ok = pitcrew_pool:stop(Name)
        end
    end).

%% @doc Runs a fun with the name of a pool that the fun stops, or that ends by itself.
with_pool_to_stop(Options, Fun) ->
    gated(fun(Base) ->
        #{name := Name} = All = options(Base, Options),
        {ok, Sup} = pitcrew_pool:start_link(All),
        unlink(Sup),
        Fun(Name)
    end).

%% @doc Options of a pool whose files are in a folder and whose processes carry its name.
options(Base) -> options(Base, #{}).

options(Base, Options) ->
    Env = maps:from_list([{Name, Value} || {Name, Value} <- pairs(maps:get(env, Options, []))]),
    Defaults = #{
        name => ?MODULE, size => 2, tools => ["py_tools"], cd => fixtures(), runtime_dir => Base, telemetry_prefix => [pitcrew_test]
    },
    maps:merge(Defaults, Options#{env => Env#{"PITCREW_TEST_BASE" => Base}}).

pairs(Env) when is_map(Env) -> maps:to_list(Env);
pairs(Env) -> Env.

%% @doc Runs a fun with a folder of its own, and compares what is there before and after: native handles, descriptors of this VM,
%% processes that were started with that folder in their environment or command line, files, messages.
gated(Fun) ->
    {ok, _} = application:ensure_all_started(pitcrew),
    Base = base(),
    ok = file:make_dir(Base),
    Gate = #{live => live(), descriptors => descriptors(), mailbox => mailbox(), files => [], processes => []},
    try Fun(Base) of
        Result ->
            Left = until(fun() ->
                case state(Base) of
                    Gate -> ok;
                    Now -> Now
                end
            end),
            ?assertEqual(ok, Left),
            Result
    after
        file:del_dir_r(Base)
    end.

state(Base) ->
    {ok, Files} = file:list_dir(Base),
    #{live => live(), descriptors => descriptors(), mailbox => mailbox(), files => Files, processes => processes_of(Base)}.

processes_of(Base) ->
    {ok, Names} = file:list_dir("/proc"),
    [
        Pid
     || Name <- Names,
        {Pid, ""} <- [string:to_integer(Name)],
        lists:any(fun(File) -> mentions(filename:join(["/proc", Name, File]), Base) end, ["environ", "cmdline"]),
        pitcrew_processes:alive(Pid)
    ].

mentions(File, Base) ->
    case file:read_file(File) of
        {ok, Text} -> binary:match(Text, list_to_binary(Base)) =/= nomatch;
        {error, _} -> false
    end.

%% Handles go when the last process that has seen them has collected its garbage.
live() ->
    [garbage_collect(Pid) || Pid <- processes()],
    pitcrew_nif:live().

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

mailbox() ->
    {messages, Messages} = process_info(self(), messages),
    Messages.

base() ->
    Unique = integer_to_list(erlang:unique_integer([positive])),
    filename:join("/tmp", "pitcrew-test-" ++ os:getpid() ++ "-" ++ Unique).

fixtures() ->
    Source = proplists:get_value(source, ?MODULE:module_info(compile)),
    filename:join([filename:dirname(filename:dirname(Source)), "fixtures"]).

%% @doc Waits until a fun says ok, for ten seconds at most; returns what it said last.
until(Fun) -> until(Fun, erlang:monotonic_time(millisecond) + 10_000).

until(Fun, Deadline) ->
    case Fun() of
        ok -> ok;
        Other ->
            case erlang:monotonic_time(millisecond) < Deadline of
                true ->
                    receive after 10 -> ok end,
                    until(Fun, Deadline);
                false ->
                    Other
            end
    end.

%% @doc For until/1: whether a value is as expected.
is(Expected, Expected) -> ok;
is(_, Other) -> Other.

%% @doc Waits for the end of a process.
is_gone(Pid) ->
    Ref = monitor(process, Pid),
    receive {'DOWN', Ref, process, Pid, _} -> ok after 5_000 -> error({still_there, Pid}) end.

%% @doc Runs a fun whose log messages are expected.
quietly(Fun) ->
    #{level := Level} = logger:get_primary_config(),
    ok = logger:set_primary_config(level, none),
    try
        Fun()
    after
        ok = logger:set_primary_config(level, Level)
    end.

kill(OsPid) -> "" = os:cmd("kill -KILL " ++ integer_to_list(OsPid)).

%% @doc Any of a pool, which may have died of something else meanwhile.
kill_a_worker(Pool) ->
    case [OsPid || OsPid <- os_pids(Pool), is_integer(OsPid)] of
        [] -> ok;
        OsPids -> os:cmd("kill -KILL " ++ integer_to_list(lists:nth(rand:uniform(length(OsPids)), OsPids)))
    end.

%% ---- Meetings: the tools meet and meet_again connect, say their pid, and wait for an answer.

listen() ->
    {ok, Listener} = gen_tcp:listen(0, [binary, {active, false}, {ip, {127, 0, 0, 1}}, {packet, line}, {reuseaddr, true}]),
    Listener.

port(Listener) ->
    {ok, Port} = inet:port(Listener),
    Port.

%% @doc A pool, and a listener that its tools can meet the test at.
with_meeting(Options, Fun) ->
    with_pool(Options, fun(Pool) ->
        Listener = listen(),
        try
            Fun(Pool, Listener, port(Listener)),
            ?assertEqual([], mailbox())
        after
            gen_tcp:close(Listener)
        end
    end).

%% @doc Bytes of a pool's shared memory that terms hold.
held(Pool) -> #{buffers := #{bytes := Bytes}} = pitcrew:info(Pool), Bytes.

%% @doc Waits until there are none, collecting everybody's garbage.
nothing_held(Pool) ->
    ?assertEqual(ok, until(fun() ->
        garbage(),
        case held(Pool) of
            0 -> ok;
            Bytes -> Bytes
        end
    end)).

garbage() -> [garbage_collect(Pid) || Pid <- processes()].

%% @doc Runs a fun with a shared library that was built from a file of test/fixtures; flags that name libraries go behind it.
with_library(Name, Flags, Fun) ->
    Base = base(),
    ok = file:make_dir(Base),
    Library = filename:join(Base, Name ++ ".so"),
    Source = filename:join(fixtures(), Name ++ ".c"),
    try
        Command = io_lib:format("cc -std=c11 -Wall -Wextra -Werror -shared -fPIC -o ~ts ~ts ~ts 2>&1", [Library, Source, Flags]),
        ?assertEqual("", os:cmd(lists:flatten(Command))),
        Fun(Library)
    after
        file:del_dir_r(Base)
    end.

%% @doc A port to another VM of the same installation, with our code, that runs a function.
second_vm(Module, Function, Args, Options) ->
    Erl = filename:join([code:root_dir(), "bin", "erl"]),
    Paths = [Arg || Path <- code:get_path(), not lists:prefix(code:lib_dir(), Path), Arg <- ["-pa", filename:absname(Path)]],
    Terms = lists:join(", ", [io_lib:format("~p", [Arg]) || Arg <- Args]),
    Run = lists:flatten(io_lib:format("~p:~p(~s).", [Module, Function, Terms])),
    open_port({spawn_executable, Erl}, [{args, ["-noshell" | Paths] ++ ["-eval", Run]} | Options]).

%% @doc Waits until every worker of a pool is idle.
whole(Pool) ->
    until(fun() ->
        case pitcrew:info(Pool) of
            #{size := Size, free := Size, queued := 0, workers := Workers} ->
                case [W || #{state := idle} = W <- Workers] of
                    Workers -> ok;
                    _ -> Workers
                end;
            Info ->
                Info
        end
    end).

%% @doc Waits until so many calls wait in a pool's queue.
queued(Pool, N) ->
    until(fun() ->
        case pitcrew:info(Pool) of
            #{queued := N} -> ok;
            Info -> Info
        end
    end).

os_pids(Pool) -> lists:sort([OsPid || #{os_pid := OsPid} <- maps:get(workers, pitcrew:info(Pool))]).

%% @doc How many processes are there for functions that Python can call.
hosts() -> length(supervisor:which_children(pitcrew_functions)).

%% @doc All that a stream brings, which ends well.
chunks(Stream) ->
    case pitcrew:next(Stream) of
        {ok, Chunk, Rest} -> [Chunk | chunks(Rest)];
        done -> [];
        {error, Error} -> error(Error)
    end.

%% @doc Waits for a tool; {Its socket, its pid}.
meet(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener, 10_000),
    {ok, Line} = gen_tcp:recv(Socket, 0, 10_000),
    {Socket, binary_to_integer(string:trim(Line))}.

answer(Socket, Text) ->
    ok = gen_tcp:send(Socket, Text),
    ok = gen_tcp:close(Socket).

%% @doc Whether no native function stays above a millisecond on a normal scheduler while the fun runs. One try of twenty is enough:
%% processor time includes what the kernel does to give the thread memory, and what the machine is doing; work that is really too much is
%% too much each time. Instrumented code takes several times as long, so under a sanitizer it only runs.
stays_short(Fun) ->
    Limit = case is_sanitized() of
        false -> 1_000_000;
        true -> infinity
    end,
    stays_short(Fun, Limit, 20, infinity).

%% @doc Whether the VM and Python run under a sanitizer, which takes terabytes of address space and keeps what was freed.
is_sanitized() -> os:getenv("ASAN_OPTIONS") =/= false.

%% @doc Tests about the memory that a process has.
unless_sanitized(Tests) ->
    case is_sanitized() of
        true -> [];
        false -> Tests
    end.

stays_short(_, Limit, 0, Shortest) ->
    ?assertEqual({longest_stay_below, Limit}, {longest_stay, Shortest});
stays_short(Fun, Limit, Tries, Shortest) ->
    case longest_stay(Fun) of
        Stay when Stay =< Limit -> ok;
        Stay -> stays_short(Fun, Limit, Tries - 1, min(Stay, Shortest))
    end.

longest_stay(Fun) ->
    _ = pitcrew_nif:longest_stay(true),
    Fun(),
    pitcrew_nif:longest_stay(false).

%% ---- Tests in several ways

%% @doc One call at a time and claimed slots, several in one worker, and many at once.
ways() -> [#{pipeline => 1}, #{pipeline => 4}, #{pipeline => 1, concurrency => 4}].

%% @doc A test for each of these.
on_each_pool(Options, Fun) ->
    [{timeout, 60, fun() -> with_pool(maps:merge(Options, Way), fun(Pool) -> Fun(Pool, Way) end) end} || Way <- ways()].

%% @doc A test for large payloads beside the frames, in shared memory, and one for all of them in the frames, through the socket.
shared_or_not(Seconds, Options, Fun) ->
    [
        {"shared " ++ atom_to_list(Shared), {timeout, Seconds, fun() -> Fun(Options#{shared => Shared}) end}}
     || Shared <- [true, false]
    ].

%% @doc Once with slots, and once with workers that hold more than one call.
both(Options, Fun) ->
    [
        {"pipeline " ++ integer_to_list(Depth), {timeout, 60, fun() -> Fun(Options#{pipeline => Depth}) end}}
     || Depth <- [1, 4]
    ].

%% @doc A test that needs jansson, where that is installed.
if_json(Test) ->
    case pitcrew_json:available() of
        ok -> Test;
        {error, _} -> []
    end.

%% @doc A test of chance, named after the seed of its random numbers, which PITCREW_CHAOS_SEED sets; within so many seconds.
seeded(Seconds, Fun) ->
    Seed = seed(),
    {"PITCREW_CHAOS_SEED=" ++ integer_to_list(Seed), {timeout, Seconds, fun() ->
        _ = rand:seed(exsss, Seed),
        Fun()
    end}}.

seed() ->
    case os:getenv("PITCREW_CHAOS_SEED", "") of
        "" -> rand:uniform(1_000_000_000);
        Text -> list_to_integer(Text)
    end.

shuffle(List) -> [Element || {_, Element} <- lists:sort([{rand:uniform(), Element} || Element <- List])].
