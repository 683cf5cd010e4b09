%% Whether Pitcrew is built, what it was built with, and whether it could be built again.
-module(pitcrew_doctor_build).

-export([facts/0, checks/1]).
-export_type([facts/0]).

-import(pitcrew_doctor, [check/4]).

-type facts() :: #{
    otp := string(),
    %% Nil without Elixir.
    elixir := binary() | nil,
    version := binary(),
    %% Whether the NIF library is loaded, and the port program can be run.
    nif := boolean(),
    port := boolean(),
    json := ok | binary(),
    %% Lines that say which one it is, or nil.
    compiler := binary() | nil,
    make := binary() | nil,
    erl_nif := boolean(),
    msgpack := binary() | nil,
    jansson := binary() | nil
}.

-spec facts() -> facts().
facts() ->
    #{
        otp => erlang:system_info(otp_release),
        elixir => elixir(),
        version => pitcrew_app:version(),
        nif => nif(),
        port => is_program(pitcrew_python:priv("pitcrew_port")),
        json => json(),
        compiler => first_line(pitcrew_doctor_command:run("cc", ["--version"], [])),
        make => first_line(pitcrew_doctor_command:run("make", ["--version"], [])),
        erl_nif => filelib:is_regular(filename:join([code:root_dir(), "usr", "include", "erl_nif.h"])),
        msgpack => first([package("msgpack-c"), package("msgpack")]),
        jansson => package("jansson")
    }.

elixir() ->
    case code:ensure_loaded('Elixir.System') of
        {module, System} -> System:version();
        {error, _} -> nil
    end.

nif() ->
    try pitcrew_nif:live() of
        _ -> true
    catch
        error:_ -> false
    end.

is_program(Path) ->
    case file:read_file_info(Path) of
        {ok, Info} -> element(8, Info) band 8#111 =/= 0;
        {error, _} -> false
    end.

json() ->
    case pitcrew_json:available() of
        ok -> ok;
        {error, #{message := Message}} -> Message
    end.

package(Name) -> first_line(pitcrew_doctor_command:run("pkg-config", ["--modversion", Name], [])).

first([nil | Rest]) -> first(Rest);
first([Found | _]) -> Found;
first([]) -> nil.

first_line({0, Output}) -> hd(binary:split(Output, <<"\n">>));
first_line(_) -> nil.

-spec checks(facts()) -> [pitcrew_doctor:check(), ...].
checks(#{otp := Otp, elixir := Elixir, version := Version, nif := Nif, port := Port, json := Json} = Facts) ->
    %% What is missing to build it is in nobody's way where it is built.
    IsBuilt = Nif andalso Port,
    [
        check(build, otp, at_least(list_to_integer(Otp), 25, "install Erlang/OTP 25 or later"), ["Erlang/OTP ", Otp]),
        elixir(Elixir),
        built(nif, Nif, ["Pitcrew ", Version, ", and its library for the VM is loaded"], "its library for the VM, priv/pitcrew_nif.so, is not loaded"),
        built(port, Port, "the port program can be run", "the port program, priv/pitcrew_port, is missing or cannot be run"),
        case Json of
            ok -> check(build, json, ok, "JSON (jansson)");
            Why -> check(build, json, {warn, Why}, "there is no JSON: Pitcrew.JSON and `protocol: :json` do not work; all else does")
        end
    ] ++ [tool(Name, maps:get(Name, Facts), IsBuilt) || Name <- [compiler, make, erl_nif, msgpack, jansson]].

at_least(Found, Least, _) when Found >= Least -> ok;
at_least(_, _, Fix) -> {fail, Fix}.

elixir(nil) ->
    check(build, elixir, note, "no Elixir is loaded; nothing needs it");
elixir(Version) ->
    Numbers = [binary_to_integer(Part) || Part <- lists:sublist(binary:split(Version, [<<".">>, <<"-">>], [global]), 2)],
    check(build, elixir, at_least(Numbers, [1, 14], "install Elixir 1.14 or later"), ["Elixir ", Version]).

built(Name, true, Text, _) -> check(build, Name, ok, Text);
built(Name, false, _, Text) -> check(build, Name, {fail, "compile again: mix deps.compile pitcrew --force, or make all in a clone; what make says is the reason"}, Text).

tool(Name, Found, _) when Found =/= nil, Found =/= false -> check(build, Name, ok, present(Name, Found));
%% Without it, all but JSON is built.
tool(jansson, _, _) -> check(build, jansson, {note, "Debian: apt-get install libjansson-dev, then compile again"}, missing(jansson));
tool(Name, _, IsBuilt) -> check(build, Name, {if IsBuilt -> note; true -> fail end, install(Name)}, [missing(Name), [", which only compiling needs" || IsBuilt]]).

present(compiler, Line) -> ["C compiler: ", Line];
present(make, Line) -> Line;
present(erl_nif, true) -> "Erlang's headers (erl_nif.h)";
present(msgpack, Version) -> ["msgpack-c's headers, ", Version];
present(jansson, Version) -> ["jansson's headers, ", Version].

missing(compiler) -> "there is no C compiler (cc)";
missing(make) -> "there is no make";
missing(erl_nif) -> "Erlang's headers (erl_nif.h) are missing";
missing(msgpack) -> "pkg-config does not find msgpack-c";
missing(jansson) -> "pkg-config does not find jansson, which JSON is built with".

install(compiler) -> "Debian: apt-get install gcc libc6-dev";
install(make) -> "Debian: apt-get install make";
install(erl_nif) -> "Debian: apt-get install erlang-dev";
install(msgpack) -> "Debian: apt-get install pkg-config libmsgpack-dev".
