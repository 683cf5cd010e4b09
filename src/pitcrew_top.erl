%% @doc Pools and their workers as a table in a terminal, over and over: what `mix pitcrew.top' runs.
-module(pitcrew_top).

-export([run/1, text/2]).
-export_type([options/0]).

-import(pitcrew_dashboard_text, [of_all/2, number/1, percent/1, bytes/1, ms/1, age/1]).

%% <ul>
%% <li>`node' (this one): another node, which must run Pitcrew</li>
%% <li>`cookie' (that of the file `.erlang.cookie'): for that node</li>
%% <li>`pools' (`all'): names of pools, for a part of them</li>
%% <li>`interval' (1000): milliseconds between two tables</li>
%% <li>`times' (infinity): how many tables</li>
%% </ul>
-type options() :: #{node => node(), cookie => atom(), pools => all | [atom()], interval => pos_integer(), times => pos_integer() | infinity}.

%% Back to the first line, and what is below it away.
-define(CLEAR, "\e[H\e[2J").

%% @doc Prints tables; the first one after an interval, over which it counts.
-spec run(options()) -> ok | {error, pitcrew_error:t()}.
run(Given) ->
    Options = maps:merge(#{node => node(), cookie => none, pools => all, interval => 1_000, times => infinity}, Given),
    case connected(Options) of
        ok ->
            try
                show(Options)
            catch
                error:{erpc, Reason} -> {error, pitcrew_error:new(pool_down, "node ~ts does not answer: ~tp", [maps:get(node, Options), Reason])};
                error:{exception, undef, _} -> {error, pitcrew_error:new(pool_down, "node ~ts has no Pitcrew, or another one", [maps:get(node, Options)])}
            end;
        {error, _} = Error ->
            Error
    end.

show(#{times := Times} = Options) -> show(Times, look(Options), Options).

show(0, _, _) ->
    ok;
show(Times, Before, #{interval := Interval, node := Node} = Options) ->
    receive
    after Interval -> ok
    end,
    Look = look(Options),
    View = erpc:call(Node, pitcrew_dashboard_data, view, [Look, Before]),
    Clear = [?CLEAR || Times =/= 1],
    io:put_chars([Clear, text(View, Node)]),
    show(fewer(Times), Look, Options).

fewer(infinity) -> infinity;
fewer(Times) -> Times - 1.

look(#{node := Node, pools := Pools}) -> erpc:call(Node, pitcrew_dashboard_data, look, [Pools]).

%% ---- Another node

connected(#{node := Node}) when Node =:= node() -> ok;
connected(#{node := Node, cookie := Cookie}) ->
    case distributed(Node) of
        ok ->
            _ = [erlang:set_cookie(Node, Cookie) || Cookie =/= none],
            case net_kernel:connect_node(Node) of
                true -> ok;
                _ -> {error, pitcrew_error:new(pool_down, "node ~ts cannot be reached: is it there, with this cookie?", [Node])}
            end;
        {error, Reason} ->
            {error, pitcrew_error:new(pool_down, "this VM cannot connect to nodes: ~tp", [Reason])}
    end.

%% Nobody can connect to it, nor sees it.
distributed(Node) ->
    case is_alive() of
        true ->
            ok;
        false ->
            Name = list_to_atom("pitcrew_top_" ++ os:getpid()),
            case net_kernel:start(Name, #{name_domain => domain(atom_to_list(Node)), dist_listen => false, hidden => true}) of
                {ok, _} -> ok;
                {error, Reason} -> {error, Reason}
            end
    end.

domain(Node) ->
    case string:find(Node, "@") of
        nomatch -> shortnames;
        Host -> domain_of(lists:member($., Host))
    end.

domain_of(true) -> longnames;
domain_of(false) -> shortnames.

%% ---- Tables

%% @doc What was seen, as text.
-spec text(pitcrew_dashboard_data:view(), node()) -> unicode:chardata().
text(#{pools := Pools, time := Time}, Node) ->
    At = calendar:system_time_to_rfc3339(Time div 1000, [{time_designator, $\s}]),
    [io_lib:format("Pitcrew at ~ts, ~ts~n~n", [Node, At]), pools(Pools)].

pools([]) ->
    "There is no pool that counts.\n";
pools(Pools) ->
    Heads = ["POOL", "STATUS", "READY", "RUNNING", "WAITING", "CALLS/S", "ERRORS/S", "P50", "P99", "JSON/S", "CACHE", "CALLS"],
    WorkerHeads = ["POOL", "WORKER", "PID", "STATE", "MEMORY", "CPU", "CALLS", "AGE"],
    [
        pitcrew_text:table(Heads, [left, left], [pool(Pool) || Pool <- Pools]),
        "\n",
        pitcrew_text:table(WorkerHeads, [left, right, right, left], [worker(Label, Worker) || #{label := Label, workers := Workers} <- Pools, Worker <- Workers])
    ].

pool(#{label := Label, status := Status, ready := Ready, wanted := Wanted, queued := Queued, calls := Calls, cache := Cache, now := Now}) ->
    #{running := Running, room := Room, rate := Rate, errors := Errors, p50 := P50, p99 := P99, json := Json} = Now,
    [
        Label, atom_to_list(Status), of_all(Ready, Wanted), of_all(Running, Room), number(Queued), number(Rate), number(Errors), ms(P50), ms(P99), number(Json),
        cache(Cache), number(Calls)
    ].

cache(nil) -> "-";
cache(#{hit_rate := Rate}) -> percent(Rate).

worker(Label, #{id := Id, os_pid := OsPid, state := State, rss := Rss, cpu := Cpu, calls := Calls, age := Age}) ->
    [Label, number(Id), number(OsPid), atom_to_list(State), bytes(Rss), percent(Cpu), number(Calls), age(Age)].
