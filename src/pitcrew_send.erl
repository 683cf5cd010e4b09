%% `pitcrew.send' of Python: a message to a process.
%%
%% In a tuple of ours: whatever Python sends, nobody takes it for an exit signal, a call of gen_server, or anything else that processes believe
%% because of its form.
-module(pitcrew_send).

-export([send/1]).

%% @doc To whom, a pid or a name, and what.
-spec send([term()]) -> {ok, nil} | {error, Kind :: atom(), unicode:chardata()}.
send([To, Message]) ->
    case process(To) of
        Pid when is_pid(Pid) ->
            Pid ! {pitcrew, Message},
            {ok, nil};
        none ->
            {error, no_process, ["there is no process ", show(To)]}
    end.

show(Text) when is_binary(Text) -> Text;
show(Other) -> io_lib:format("~0tP", [Other, 16]).

process(Pid) when is_pid(Pid) -> Pid;
%% Elixir's modules are written without their prefix.
process(Text) when is_binary(Text) -> named([Text, <<"Elixir.", Text/binary>>]);
process(Name) when is_atom(Name) -> named([atom_to_binary(Name)]);
process(_) -> none.

named([]) ->
    none;
named([Text | Others]) ->
    try whereis(binary_to_existing_atom(Text)) of
        Pid when is_pid(Pid) -> Pid;
        _ -> named(Others)
    catch
        error:_ -> named(Others)
    end.
