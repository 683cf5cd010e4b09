%% Something that is done every so many milliseconds beside a load test, in a process of its own that ends with whoever has started it.
-module(pitcrew_load_every).

-export([start/3, stop/1]).
-export_type([clock/0]).

-opaque clock() :: {pid(), reference()}.

%% @doc Calls `Fun' with what it has returned the time before, first after `Ms'.
-spec start(pos_integer(), fun((State) -> State), State) -> clock().
start(Ms, Fun, State) ->
    Owner = self(),
    spawn_monitor(fun() ->
        Monitor = monitor(process, Owner),
        loop(Owner, Monitor, Ms, Fun, State)
    end).

%% @doc What it has returned last, when it has ended. One that failed is the failure of whoever waits for it.
-spec stop(clock()) -> State :: term().
stop({Pid, Monitor}) ->
    Pid ! {?MODULE, stop, self()},
    receive
        {?MODULE, stopped, Pid, State} ->
            true = demonitor(Monitor, [flush]),
            State;
        {'DOWN', Monitor, process, Pid, Reason} ->
            exit(Reason)
    end.

loop(Owner, Monitor, Ms, Fun, State) ->
    receive
        {?MODULE, stop, Owner} -> Owner ! {?MODULE, stopped, self(), State};
        {'DOWN', Monitor, process, _, _} -> ok
    after Ms -> loop(Owner, Monitor, Ms, Fun, Fun(State))
    end.
