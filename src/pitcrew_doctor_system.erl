%% What the system lets the VM and its workers use. What is read is facts(); what it means is checks/1, a function of that.
-module(pitcrew_doctor_system).

-export([facts/1, checks/1, cgroups/1]).
-export_type([facts/0]).

-import(pitcrew_doctor, [check/4]).

%% Numbers are nil where they could not be read.
-type number_of() :: non_neg_integer() | infinity | nil.
-type facts() :: #{
    kernel := binary(),
    open_files := number_of(),
    processes := number_of(),
    %% Of the control group that has the least left, if there is one with a limit.
    pids := {Used :: non_neg_integer(), Most :: non_neg_integer()} | nil,
    memory := number_of(),
    memory_total := number_of(),
    overcommit := number_of(),
    shm := number_of(),
    thp := binary() | nil,
    shmem_thp := binary() | nil,
    runtime_dir := {ok, binary(), string()} | {error, binary()},
    %% What Python says of the calls that the zygote and the buffers need: `ok', or why not; nil if no Python said anything.
    memfd := binary() | nil,
    pidfd := binary() | nil
}.

-define(MIB, 1048576).

-spec facts(pitcrew_doctor_python:facts()) -> facts().
facts(#{said := Said}) ->
    Limits = file("/proc/self/limits"),
    Groups = cgroups(file("/proc/self/cgroup")),
    Calls = if is_map(Said) -> Said; true -> #{} end,
    #{
        kernel => file("/proc/sys/kernel/osrelease"),
        open_files => limit(Limits, <<"Max open files">>),
        processes => limit(Limits, <<"Max processes">>),
        pids => least_room([{number(file([Dir, "/pids.current"])), number(file([Dir, "/pids.max"]))} || Dir <- Groups]),
        memory => least([number(file([Dir, "/", Name])) || Dir <- Groups, Name <- ["memory.max", "memory.limit_in_bytes"]]),
        memory_total => kilobytes(file("/proc/meminfo"), "^MemTotal: +([0-9]+) kB"),
        overcommit => number(file("/proc/sys/vm/overcommit_memory")),
        shm => shm(pitcrew_doctor_command:run("df", ["-Pk", "/dev/shm"], [])),
        thp => chosen(file("/sys/kernel/mm/transparent_hugepage/enabled")),
        shmem_thp => chosen(file("/sys/kernel/mm/transparent_hugepage/shmem_enabled")),
        runtime_dir => runtime_dir(),
        memfd => maps:get(<<"memfd">>, Calls, nil),
        pidfd => maps:get(<<"pidfd">>, Calls, nil)
    }.

file(Path) ->
    case file:read_file(Path) of
        {ok, Text} -> string:trim(Text);
        {error, _} -> <<>>
    end.

number(<<"max">>) -> infinity;
number(<<"unlimited">>) -> infinity;
number(Text) ->
    case string:to_integer(Text) of
        %% The first version of control groups says "as much as there can be" like that.
        {Number, _} when is_integer(Number), Number >= 1 bsl 60 -> infinity;
        {Number, _} when is_integer(Number) -> Number;
        {error, _} -> nil
    end.

limit(Text, Name) ->
    case [Line || Line <- binary:split(Text, <<"\n">>, [global]), string:prefix(Line, Name) =/= nomatch] of
        [Line] -> number(hd(string:lexemes(string:prefix(Line, Name), " ")));
        [] -> nil
    end.

kilobytes(Text, Pattern) ->
    case re:run(Text, Pattern, [multiline, {capture, all_but_first, binary}]) of
        {match, [Found]} -> binary_to_integer(Found) * 1024;
        nomatch -> nil
    end.

%% The folders of the control groups that this process is in, and of those around them, of both versions. In a container the mount shows its own group as
%% the root, whatever the path says.
-spec cgroups(binary()) -> [string()].
cgroups(Text) ->
    Paths = [parts(binary:split(Line, <<":">>, [global])) || Line <- binary:split(Text, <<"\n">>, [global]), Line =/= <<>>],
    lists:usort([lists:flatten(filename:join([Root | Up])) || {Root, Path} <- Paths, Up <- ups(Path)]).

parts([_, <<>>, Path]) -> {"/sys/fs/cgroup", Path};
parts([_, Controllers | Path]) -> {filename:join("/sys/fs/cgroup", binary_to_list(hd(binary:split(Controllers, <<",">>)))), iolist_to_binary(lists:join(":", Path))}.

ups(Path) ->
    Parts = [binary_to_list(Part) || Part <- binary:split(Path, <<"/">>, [global]), Part =/= <<>>],
    [lists:sublist(Parts, Count) || Count <- lists:seq(0, length(Parts))].

least(Numbers) ->
    case [Number || Number <- Numbers, is_integer(Number)] of
        [] -> infinity;
        Limits -> lists:min(Limits)
    end.

least_room(Pairs) ->
    case lists:sort([{Most - Used, {Used, Most}} || {Used, Most} <- Pairs, is_integer(Used), is_integer(Most)]) of
        [{_, Pair} | _] -> Pair;
        [] -> nil
    end.

shm({0, Output}) ->
    case string:lexemes(lists:last(binary:split(string:trim(Output), <<"\n">>, [global])), " ") of
        [_, Blocks | _] -> case number(Blocks) of nil -> nil; Kilobytes -> Kilobytes * 1024 end;
        _ -> nil
    end;
shm(_) -> nil.

%% The word in brackets.
chosen(Text) ->
    case re:run(Text, "\\[(.+)\\]", [{capture, all_but_first, binary}]) of
        {match, [Word]} -> Word;
        nomatch -> nil
    end.

%% As a pool would make it.
runtime_dir() ->
    {Base, Source} = pitcrew_dir:base(nil),
    case pitcrew_dir:make(nil) of
        {ok, Dir} ->
            ok = pitcrew_dir:remove(Dir),
            {ok, Base, Source};
        {error, #{message := Message}} ->
            {error, Message}
    end.

%% ---- What it means

-spec checks(facts()) -> [pitcrew_doctor:check(), ...].
checks(#{kernel := Kernel} = Facts) ->
    [check(system, kernel, kernel(Kernel), ["Linux ", Kernel])] ++
        [open_files(Facts), processes(Facts), pids(Facts), memory(Facts), overcommit(Facts)] ++
        [shm(Facts, maps:get(shm, Facts)), call(memfd, Facts), call(pidfd, Facts), runtime(Facts), thp(Facts), shmem_thp(Facts)].

%% What c_src/os is written for: waiting on a pidfd came with 5.4.
kernel(Release) ->
    case re:run(Release, "^([0-9]+)\\.([0-9]+)", [{capture, all_but_first, list}]) of
        {match, [Major, Minor]} ->
            case [list_to_integer(Major), list_to_integer(Minor)] >= [5, 4] of
                true -> ok;
                false -> {fail, "Pitcrew needs Linux 5.4 or later"}
            end;
        nomatch ->
            {warn, "Pitcrew needs Linux 5.4 or later"}
    end.

open_files(#{open_files := Files}) ->
    Fix = "raise it: ulimit -n 65536, LimitNOFILE=65536 in a systemd unit, --ulimit nofile=65536 for a container",
    Status = if Files =:= nil -> note; Files < 256 -> {fail, Fix}; Files < 1024 -> {warn, Fix}; true -> ok end,
    check(system, open_files, Status, ["open files: ", shown(Files), "; of the VM's, a pool takes three and each of its workers three"]).

processes(#{processes := Most}) ->
    Fix = "raise it: ulimit -u 16384, LimitNPROC=16384 in a systemd unit",
    Status = if Most =:= nil -> note; Most < 64 -> {fail, Fix}; Most < 1024 -> {warn, Fix}; true -> ok end,
    check(system, processes, Status, ["processes and threads of this user: ", shown(Most)]).

pids(#{pids := nil}) ->
    check(system, pids, ok, "no control group limits the number of processes");
pids(#{pids := {Used, Most}}) ->
    Fix = "raise it: --pids-limit for a container, TasksMax= in a systemd unit, podPidsLimit of the kubelet",
    Room = Most - Used,
    Status = if Room < 32 -> {fail, Fix}; Room < 256 -> {warn, Fix}; true -> ok end,
    check(system, pids, Status, io_lib:format("processes and threads of the control group: ~b of ~b; each worker is one with two or three threads", [Used, Most])).

memory(#{memory := Limit, memory_total := Total}) ->
    Least = case {Limit, Total} of {nil, _} -> Total; {_, nil} -> Limit; _ -> min(Limit, Total) end,
    Text =
        if
            is_integer(Limit), Limit < Total -> ["memory: the control group may have ", shown_bytes(Limit), " of ", shown_bytes(Total)];
            true -> ["memory: ", shown_bytes(Total), ", and no control group limits it further"]
        end,
    Fix = "raise it, or have fewer workers (size) that each have less (max_rss)",
    check(system, memory, if is_integer(Least), Least < 256 * ?MIB -> {warn, Fix}; true -> ok end, Text).

overcommit(#{overcommit := 2}) ->
    Fix = "sysctl vm.overcommit_memory=0, or reckon with the size of the imported modules once for each worker",
    check(system, overcommit, {warn, Fix}, "the system promises no more memory than there is (vm.overcommit_memory=2), so forks of a large process may fail");
overcommit(#{}) ->
    check(system, overcommit, ok, "forks of large processes are allowed (vm.overcommit_memory)").

%% Pitcrew's own segments are memfds, which this mount does not bound.
shm(#{}, nil) ->
    check(system, shm, note, "/dev/shm: there is none; Pitcrew does without, multiprocessing in a tool would not");
shm(#{}, Bytes) ->
    Fix = "for a container: --shm-size=1g; elsewhere: mount -o remount,size=1g /dev/shm",
    Text = ["/dev/shm: ", shown_bytes(Bytes), "; Pitcrew's buffers do not lie there, those of multiprocessing or PyTorch in a tool do"],
    check(system, shm, if Bytes =< 64 * ?MIB -> {warn, Fix}; true -> ok end, Text).

call(Name, Facts) ->
    case maps:get(Name, Facts) of
        <<"ok">> -> check(system, Name, ok, what(Name));
        nil -> check(system, Name, note, [what(Name), ": unknown, since no Python could be asked"]);
        Why -> check(system, Name, {severity(Name), remedy(Name)}, [what(Name), ": ", Why])
    end.

what(memfd) -> "shared memory with seals (memfd_create)";
what(pidfd) -> "watching processes (pidfd_open)".

%% Without the first, large payloads go through the socket.
severity(memfd) -> warn;
severity(pidfd) -> fail.

remedy(memfd) -> ["until then pools copy large payloads through their sockets: ", remedy(pidfd)];
remedy(pidfd) -> "in a container, a seccomp profile that allows it: that of a newer runtime, or --security-opt seccomp=FILE".

runtime(#{runtime_dir := {ok, Base, Source}}) ->
    check(system, runtime_dir, ok, ["the folder for sockets is ", Base, ", from ", Source, ", and can be written to"]);
runtime(#{runtime_dir := {error, Message}}) ->
    check(system, runtime_dir, {fail, "set PITCREW_RUNTIME_DIR to a folder of this user with a short path"}, Message).

thp(#{thp := <<"always">>}) ->
    Fix = "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; or measure that it does no harm",
    check(system, thp, {warn, Fix}, "transparent huge pages are always on: what a worker writes to, it copies by 2 MiB instead of 4 KiB, so workers share less");
thp(#{thp := nil}) ->
    check(system, thp, note, "this kernel says nothing of transparent huge pages");
thp(#{thp := Word}) ->
    check(system, thp, ok, ["transparent huge pages: ", Word]).

shmem_thp(#{shmem_thp := Word}) when Word =:= <<"never">>; Word =:= <<"deny">> ->
    Fix = "echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled, if payloads have many MiB: docs/buffers.md",
    check(system, shmem_thp, {note, Fix}, ["huge pages in shared memory: ", Word]);
shmem_thp(#{shmem_thp := nil}) ->
    check(system, shmem_thp, note, "this kernel says nothing of huge pages in shared memory");
shmem_thp(#{shmem_thp := Word}) ->
    check(system, shmem_thp, ok, ["huge pages in shared memory: ", Word]).

shown(nil) -> "unknown";
shown(infinity) -> "unlimited";
shown(Number) -> pitcrew_load_text:count(Number).

shown_bytes(Bytes) when is_integer(Bytes), Bytes >= 1 bsl 30 -> io_lib:format("~.1f GiB", [Bytes / (1 bsl 30)]);
shown_bytes(Bytes) when is_integer(Bytes) -> io_lib:format("~b MiB", [Bytes div ?MIB]);
shown_bytes(Other) -> shown(Other).
