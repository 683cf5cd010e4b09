%% Whether an interpreter can be a worker: its version, its headers, Pitcrew's part for it, and what the system lets it do.
-module(pitcrew_doctor_python).

-export([default/0, facts/1, checks/1]).
-export_type([facts/0]).

-import(pitcrew_doctor, [check/4]).

%% What the interpreter says, by names; or why it says nothing.
-type facts() :: #{python := binary(), said := #{binary() => binary()} | absent | late | {status, non_neg_integer(), binary()}, pitcrew := binary()}.

%% One line for each name, which no value can break.
-define(QUESTIONS, <<"
import os, sys, sysconfig
def tell(name, find):
    try:
        value = find()
    except BaseException as error:
        value = 'error: %s: %s' % (type(error).__name__, error)
    print(name, str(value).split('\\n')[0], sep='\\t')
def memfd():
    import fcntl
    fd = os.memfd_create('pitcrew', os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    fcntl.fcntl(fd, 1033, 0x0002 | 0x0004 | 0x0010)
    return 'ok'
def pidfd():
    os.close(os.pidfd_open(os.getpid()))
    return 'ok'
def core():
    import pitcrew._core
    return pitcrew._core.__version__
tell('version', lambda: '%d.%d.%d' % sys.version_info[:3])
tell('implementation', lambda: sys.implementation.name)
tell('executable', lambda: sys.executable)
tell('prefix', lambda: 'venv' if sys.prefix != sys.base_prefix else 'system')
tell('headers', lambda: os.path.exists(os.path.join(sysconfig.get_path('include'), 'Python.h')))
tell('gil', lambda: not sysconfig.get_config_var('Py_GIL_DISABLED'))
tell('core', core)
tell('memfd', memfd)
tell('pidfd', pidfd)
">>).

%% @doc The interpreter that a pool has which names none.
-spec default() -> binary().
default() ->
    case os:getenv("PITCREW_PYTHON", "") of
        "" -> <<"python3">>;
        Python -> unicode:characters_to_binary(Python)
    end.

-spec facts(unicode:chardata()) -> facts().
facts(Python) ->
    Path = pitcrew_python:priv("python") ++ case os:getenv("PYTHONPATH", "") of "" -> ""; More -> ":" ++ More end,
    Said =
        case pitcrew_doctor_command:run(Python, ["-c", ?QUESTIONS], [{"PYTHONPATH", Path}]) of
            {0, Output} -> answers(Output);
            {Status, Output} -> {status, Status, Output};
            Other -> Other
        end,
    #{python => unicode:characters_to_binary(Python), said => Said, pitcrew => pitcrew_app:version()}.

answers(Output) ->
    Lines = [binary:split(Line, <<"\t">>) || Line <- binary:split(Output, <<"\n">>, [global])],
    maps:from_list([{Name, Value} || [Name, Value] <- Lines]).

-spec checks(facts()) -> [pitcrew_doctor:check(), ...].
checks(#{python := Python, said := #{<<"version">> := Version} = Said} = Facts) ->
    #{<<"executable">> := Executable, <<"prefix">> := Prefix, <<"implementation">> := Implementation, <<"gil">> := Gil} = Said,
    Text = io_lib:format("~ts~ts~ts (~ts)", [Python, [[" is ", Executable] || Executable =/= Python], [", of a virtual environment" || Prefix =:= <<"venv">>], Version]),
    Usable = [
        {fail, io_lib:format("Pitcrew needs Python 3.11 or later; choose another with PITCREW_PYTHON or the pool's option python (this is ~ts)", [Version])}
     || numbers(Version) < [3, 11]
    ] ++
        [{fail, "Pitcrew's C part is for CPython; choose another interpreter"} || Implementation =/= <<"cpython">>] ++
        [{fail, "Pitcrew's C part needs the GIL; choose a build of Python with it"} || Gil =/= <<"True">>],
    [check(python, interpreter, hd(Usable ++ [ok]), Text), core(Facts), headers(Facts)];
checks(#{python := Python, said := absent}) ->
    Fix = "install it (Debian: python3), or name another with PITCREW_PYTHON or the pool's option python",
    [check(python, interpreter, {fail, Fix}, ["there is no interpreter ", Python])];
checks(#{python := Python, said := late}) ->
    Fix = "run it by hand: a file sitecustomize.py or a .pth file may hold it up",
    [check(python, interpreter, {fail, Fix}, [Python, " does not answer within 15 seconds"])];
checks(#{python := Python, said := {status, Status, Output}}) ->
    Why = case [Line || Line <- binary:split(Output, <<"\n">>, [global]), Line =/= <<>>] of [] -> "it says nothing"; Lines -> lists:last(Lines) end,
    [check(python, interpreter, {fail, Why}, io_lib:format("~ts ends with status ~b", [Python, Status]))];
checks(#{python := Python, said := #{}}) ->
    [check(python, interpreter, {fail, "name a Python interpreter"}, [Python, " does not answer like a Python interpreter"])].

numbers(Version) -> [binary_to_integer(Part) || Part <- lists:sublist(binary:split(Version, <<".">>, [global]), 2)].

core(#{python := Python, pitcrew := Wanted, said := #{<<"core">> := Found}}) ->
    Fix = ["mix pitcrew.python --python ", Python, ", or in a clone: make python PYTHON=", Python],
    case Found of
        Wanted -> check(python, extension, ok, ["Pitcrew's C part is built for it, version ", Found]);
        <<"error: ", Why/binary>> -> check(python, extension, {fail, Fix}, ["Pitcrew's C part is not built for it: ", Why]);
        _ -> check(python, extension, {fail, Fix}, ["Pitcrew's C part for it is of version ", Found, ", and the VM's of ", Wanted])
    end.

headers(#{said := #{<<"headers">> := <<"True">>}}) ->
    check(python, headers, ok, "its headers (Python.h) are there");
headers(#{said := #{<<"core">> := Core}}) ->
    IsBuilt = binary:match(Core, <<"error: ">>) =/= {0, 7},
    Status = if IsBuilt -> note; true -> fail end,
    check(python, headers, {Status, "Debian: apt-get install python3-dev"}, ["its headers (Python.h) are missing", [", which only building needs" || IsBuilt]]).
