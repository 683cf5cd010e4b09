%% What is to be done when a process has ended. A monitor of the calling process' own would need a place in each of its receives; a link would end the
%% other process as well, or leave a message in its mailbox.
-module(pitcrew_watch).

-export([when_gone/2]).

%% @doc Does something, in another process, when a process has ended before the calling one.
-spec when_gone(pid(), fun(() -> term())) -> ok.
when_gone(Pid, Act) ->
    Caller = self(),
    _ = spawn(fun() ->
        Ended = monitor(process, Caller),
        Gone = monitor(process, Pid),
        receive
            {'DOWN', Gone, process, _, _} -> Act();
            {'DOWN', Ended, process, _, _} -> ok
        end
    end),
    ok.
