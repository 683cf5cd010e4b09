%% What the dashboard shows, as rows of one table, which are searched and sorted: for pages of Phoenix.LiveDashboard.
-module(pitcrew_dashboard_rows).

-export([fetch/4]).
-export_type([kind/0, params/0]).

-type kind() :: pools | workers | tools.
-type params() :: #{search := binary() | nil, sort_by := atom(), sort_dir := asc | desc, limit := pos_integer() | false | nil, _ => _}.

%% @doc The first of those rows of a node that have a text in their names; how many there are; and what to give next time, so that there are rates. The
%% first time that is `none'.
-spec fetch(kind(), params(), node(), none | pitcrew_dashboard_data:look()) -> {[map()], non_neg_integer(), pitcrew_dashboard_data:look()}.
fetch(Kind, #{search := Search, sort_by := Key, sort_dir := Direction} = Params, Node, Before) ->
    Look = erpc:call(Node, pitcrew_dashboard_data, look, [all]),
    Earlier =
        case Before of
            none -> Look;
            _ -> Before
        end,
    #{pools := Pools} = erpc:call(Node, pitcrew_dashboard_data, view, [Look, Earlier]),
    Found = [Row || Pool <- Pools, Row <- rows(Kind, Pool), is_found(Search, Row)],
    {first(maps:get(limit, Params, nil), sorted(Key, Direction, Found)), length(Found), Look}.

rows(pools, #{now := Now, latency := Latency, cache := Cache} = Pool) ->
    Shown = maps:with([status, ready, wanted, queued, calls, errors, restarts], Pool),
    [maps:merge(Shown, (named(Pool, Latency))#{rate => maps:get(rate, Now), running => maps:get(running, Now), hit_rate => hit_rate(Cache)})];
rows(workers, #{workers := Workers} = Pool) ->
    [named(Pool, Worker) || Worker <- Workers];
rows(tools, #{tools := Tools} = Pool) ->
    [named(Pool, Tool) || Tool <- Tools].

named(#{label := Label}, Row) -> Row#{pool => Label}.

hit_rate(nil) -> nil;
hit_rate(#{hit_rate := Rate}) -> Rate.

is_found(nil, _) -> true;
is_found(Search, Row) ->
    Wanted = string:lowercase(Search),
    lists:any(fun(Name) -> string:find(string:lowercase(Name), Wanted) =/= nomatch end, [Name || Key <- [pool, name], #{Key := Name} <- [Row], is_binary(Name)]).

%% What nobody knows, an atom, is larger than every number.
sorted(Key, asc, Rows) -> lists:sort(fun(A, B) -> maps:get(Key, A, nil) =< maps:get(Key, B, nil) end, Rows);
sorted(Key, desc, Rows) -> lists:sort(fun(A, B) -> maps:get(Key, A, nil) >= maps:get(Key, B, nil) end, Rows).

first(Limit, Rows) when is_integer(Limit) -> lists:sublist(Rows, Limit);
first(_, Rows) -> Rows.
