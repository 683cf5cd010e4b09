%% What lives and dies with one port program: the private directory, the listening socket, the port. Functions for the
%% keeper, whose process owns all of it.
-module(pitcrew_link).

-export([open/1, command/2, close/1]).
-export_type([link/0]).

-type link() :: #{
    dir := pitcrew_dir:dir(),
    door := pitcrew_door:door(),
    port := port(),
    %% Operating-system pids, once the port has said them.
    guard := pos_integer() | nil,
    port_pid := pos_integer() | nil
}.

-spec open(pitcrew_options:pool()) -> {ok, link()} | {error, pitcrew_error:t()}.
open(#{runtime_dir := RuntimeDir}) ->
    case pitcrew_dir:make(RuntimeDir) of
        {ok, Dir} -> open_door(Dir);
        {error, _} = Error -> Error
    end.

open_door(#{socket := Socket} = Dir) ->
    case pitcrew_door:open(Socket) of
        {ok, Door} ->
            open_port_program(Dir, Door);
        {error, Reason} ->
            pitcrew_dir:remove(Dir),
            Format = "cannot listen on the socket ~ts: ~ts; another folder can be chosen with the option runtime_dir",
            {error, pitcrew_error:new(start_error, Format, [Socket, file:format_error(Reason)])}
    end.

open_port_program(#{path := Path, instance := Instance} = Dir, Door) ->
    Program = pitcrew_python:priv("pitcrew_port"),
    Settings = [{packet, 4}, {args, [Path, Instance]}, binary, exit_status, use_stdio, hide],
    try
        Port = erlang:open_port({spawn_executable, Program}, Settings),
        {ok, #{dir => Dir, door => Door, port => Port, guard => nil, port_pid => nil}}
    catch
        error:Reason ->
            pitcrew_door:close(Door),
            pitcrew_dir:remove(Dir),
            Format = "the program ~ts cannot be started: ~ts; `make -C c_src' builds it",
            {error, pitcrew_error:new(start_error, Format, [Program, file:format_error(Reason)])}
    end.

%% @doc Sends a command. One that the codec refuses (a path that is not UTF-8) is an error; a port that has just died is none, because
%% its exit is on its way.
-spec command(pitcrew_control:command(), link()) -> ok | {error, pitcrew_error:t()}.
command(Command, #{port := Port}) ->
    case pitcrew_control:encode(Command) of
        {ok, Bytes} ->
            try erlang:port_command(Port, Bytes) of
                true -> ok
            catch
                error:badarg -> ok
            end;
        {error, Reason} ->
            {error, (pitcrew_error:from_codec(Reason))#{kind := start_error}}
    end.

%% @doc Gives everything back. What the port still has to do it does when it sees the end of its input.
-spec close(link()) -> ok.
close(#{dir := Dir, door := Door, port := Port}) ->
    pitcrew_door:close(Door),
    _ = catch_closed(Port),
    pitcrew_dir:remove(Dir).

catch_closed(Port) ->
    try
        erlang:port_close(Port)
    catch
        error:badarg -> true
    end.
