%% Messages of the port link (docs/protocol.md, section 5) as tuples, and what travels inside them unread by the port.
%% Pure; encoding and decoding are the codec's.
-module(pitcrew_control).

-export([encode/1, decode/1, fork_payload/1, report/1, signal_number/1]).
-export_type([command/0, event/0, usage/0, vitals/0]).

-type zid() :: pos_integer().
-type wid() :: non_neg_integer().
-type env() :: #{binary() => binary() | nil}.
-type command() ::
    {zygote, zid(), Argv :: [binary()], env(), Cd :: binary() | nil}
    | {fork, zid(), wid(), Payload :: binary()}
    | {kill, wid(), atom() | integer()}
    | {kill_zygote, zid(), atom() | integer()}
    | {vitals, wid()}
    | {credit, Bytes :: pos_integer()}
    | {stop, GraceMs :: non_neg_integer()}.
%% What one has that runs.
-type vitals() :: #{resident := integer(), cpu_us := integer(), threads := integer(), files := integer() | nil}.
%% What a process had used when it ended.
-type usage() :: #{utime_us := integer(), stime_us := integer(), maxrss_kb := integer()}.
-type event() ::
    {hello, Protocol :: integer(), GuardPid :: integer(), PortPid :: integer()}
    | {fatal, Text :: binary()}
    | {zygote, zid(), Pid :: integer()}
    | {ready, zid(), Payload :: binary()}
    | {failed, zid(), Payload :: binary()}
    | {gone, zid(), Pid :: integer(), pitcrew_error:exit()}
    | {forked, wid(), Pid :: integer()}
    | {fork_failed, wid(), Message :: binary()}
    | {exit, wid(), Pid :: integer(), pitcrew_error:exit(), usage()}
    | {vitals, wid(), vitals()}
    | {log, wid(), 1 | 2, Line :: binary()}
    | {dropped, Lines :: integer(), Bytes :: integer()}.

%% @doc The bytes of a command. Text that is not UTF-8 (a path, say) is an error.
-spec encode(command()) -> {ok, binary()} | {error, pitcrew_nif:codec_error()}.
encode({zygote, Zid, Argv, Env, Cd}) -> pack([<<"zygote">>, Zid, Argv, Env, Cd]);
encode({fork, Zid, Wid, Payload}) -> pack([<<"fork">>, Zid, Wid, pitcrew:bytes(Payload)]);
encode({kill, Wid, Signal}) -> pack([<<"kill">>, Wid, signal_number(Signal)]);
encode({kill_zygote, Zid, Signal}) -> pack([<<"kill_zygote">>, Zid, signal_number(Signal)]);
encode({vitals, Wid}) -> pack([<<"vitals">>, Wid]);
encode({credit, Bytes}) -> pack([<<"credit">>, Bytes]);
encode({stop, GraceMs}) -> pack([<<"stop">>, GraceMs]).

pack(Message) -> pitcrew_nif:encode(Message, #{}).

%% @doc An event of the port; `unknown' is one that a newer port may send.
-spec decode(binary()) -> event() | unknown | {error, pitcrew_nif:codec_error()}.
decode(Bytes) ->
    case pitcrew_nif:decode(Bytes, #{}) of
        {ok, [Name | Fields]} when is_binary(Name) -> event(Name, Fields);
        {ok, _} -> unknown;
        {error, Error} -> {error, Error}
    end.

%% Fields added at the end later are ignored.
event(<<"hello">>, [Protocol, Guard, Port | _]) -> {hello, Protocol, Guard, Port};
event(<<"fatal">>, [Text | _]) -> {fatal, Text};
event(<<"zygote">>, [Zid, Pid | _]) -> {zygote, Zid, Pid};
event(<<"ready">>, [Zid, Payload | _]) -> {ready, Zid, Payload};
event(<<"failed">>, [Zid, Payload | _]) -> {failed, Zid, Payload};
event(<<"gone">>, [Zid, Pid, How, Code | _]) -> {gone, Zid, Pid, how(How, Code)};
event(<<"forked">>, [Wid, Pid | _]) -> {forked, Wid, Pid};
event(<<"fork_failed">>, [Wid, Message | _]) -> {fork_failed, Wid, Message};
event(<<"exit">>, [Wid, Pid, How, Code, Utime, Stime, Rss | _]) ->
    {exit, Wid, Pid, how(How, Code), #{utime_us => Utime, stime_us => Stime, maxrss_kb => Rss}};
event(<<"vitals">>, [Wid, Resident, CpuUs, Threads, Files | _]) ->
    {vitals, Wid, #{resident => Resident, cpu_us => CpuUs, threads => Threads, files => Files}};
event(<<"log">>, [Wid, Fd, Line | _]) -> {log, Wid, Fd, Line};
event(<<"dropped">>, [Lines, Bytes | _]) -> {dropped, Lines, Bytes};
event(_, _) -> unknown.

how(<<"signal">>, Number) -> {signal, signal_name(Number)};
how(<<"exit">>, Status) -> {status, Status};
%% Its zygote had waited for it and died before it could say how it ended.
how(<<"unknown">>, _) -> unknown.

%% @doc The payload of `fork', which the zygote reads (section 6).
-spec fork_payload(#{socket := binary(), token := binary(), wid := wid(), instance := binary()}) -> binary().
fork_payload(#{socket := Socket, token := Token, wid := Wid, instance := Instance}) ->
    {ok, Payload} = pitcrew_nif:encode(
        #{
            <<"socket">> => Socket,
            <<"token">> => pitcrew:bytes(Token),
            <<"wid">> => Wid,
            <<"instance">> => Instance
        },
        #{}
    ),
    Payload.

%% @doc The map in the payload of `ready' and `failed'; an empty one when there is nothing readable.
-spec report(binary()) -> map().
report(Payload) ->
    case pitcrew_nif:decode(Payload, #{}) of
        {ok, Report} when is_map(Report) -> Report;
        _ -> #{}
    end.

%% @doc Linux's number of a signal.
-spec signal_number(atom() | integer()) -> integer().
signal_number(Number) when is_integer(Number) -> Number;
signal_number(Name) ->
    {Name, Number} = lists:keyfind(Name, 1, signals()),
    Number.

signal_name(Number) ->
    case lists:keyfind(Number, 2, signals()) of
        {Name, Number} -> Name;
        false -> Number
    end.

signals() ->
    [
        {sighup, 1},
        {sigint, 2},
        {sigquit, 3},
        {sigill, 4},
        {sigtrap, 5},
        {sigabrt, 6},
        {sigbus, 7},
        {sigfpe, 8},
        {sigkill, 9},
        {sigusr1, 10},
        {sigsegv, 11},
        {sigusr2, 12},
        {sigpipe, 13},
        {sigalrm, 14},
        {sigterm, 15},
        {sigstkflt, 16},
        {sigchld, 17},
        {sigcont, 18},
        {sigstop, 19},
        {sigtstp, 20},
        {sigttin, 21},
        {sigttou, 22},
        {sigurg, 23},
        {sigxcpu, 24},
        {sigxfsz, 25},
        {sigvtalrm, 26},
        {sigprof, 27},
        {sigwinch, 28},
        {sigio, 29},
        {sigpwr, 30},
        {sigsys, 31}
    ].
