%% Who waits for a worker, first come first served, each until a deadline of its own. Data only: the pool
%% owns the clock, the monitors and the timer. Every operation is logarithmic, and a waiter that left
%% leaves nothing behind.
%%
%% Limits (a longest queue, classes of callers) and other strategies than first come first served have
%% their place here: `in/4' would refuse, `out/1' would choose.
-module(pitcrew_queue).

-export([new/0, in/4, out/1, remove/2, expire/2, next_deadline/1, size/1, is_empty/1, to_list/1]).
-compile({no_auto_import, [size/1]}).
-export_type([queue/0, key/0]).

-record(queue, {
    next = 0 :: non_neg_integer(),
    %% Place => {Key, Deadline, Item}; the smallest place has waited longest.
    places = gb_trees:empty() :: gb_trees:tree(non_neg_integer(), {key(), deadline(), term()}),
    deadlines = gb_sets:empty() :: gb_sets:set({deadline(), non_neg_integer()}),
    by_key = #{} :: #{key() => non_neg_integer()}
}).

-opaque queue() :: #queue{}.
%% What names a waiter: the monitor on its process.
-type key() :: reference().
%% Monotonic milliseconds. `infinity' sorts after every number, as an atom does.
-type deadline() :: integer() | infinity.

-spec new() -> queue().
new() -> #queue{}.

-spec size(queue()) -> non_neg_integer().
size(#queue{by_key = Keys}) -> map_size(Keys).

-spec is_empty(queue()) -> boolean().
is_empty(Queue) -> size(Queue) =:= 0.

%% @doc Appends a waiter. A key that is there already is an error of the caller.
-spec in(key(), deadline(), term(), queue()) -> queue().
in(Key, Deadline, Item, #queue{next = Place, by_key = Keys} = Queue) when not is_map_key(Key, Keys) ->
    Queue#queue{
        next = Place + 1,
        places = gb_trees:insert(Place, {Key, Deadline, Item}, Queue#queue.places),
        deadlines = gb_sets:add_element({Deadline, Place}, Queue#queue.deadlines),
        by_key = Keys#{Key => Place}
    }.

%% @doc Takes whoever has waited longest.
-spec out(queue()) -> {key(), term(), queue()} | empty.
out(#queue{places = Places} = Queue) ->
    case gb_trees:is_empty(Places) of
        true ->
            empty;
        false ->
            {Place, {Key, _, Item}} = gb_trees:smallest(Places),
            {Key, Item, drop(Place, Queue)}
    end.

%% @doc Takes a waiter out by its key.
-spec remove(key(), queue()) -> {term(), queue()} | absent.
remove(Key, #queue{by_key = Keys, places = Places} = Queue) ->
    case Keys of
        #{Key := Place} ->
            {_, _, Item} = gb_trees:get(Place, Places),
            {Item, drop(Place, Queue)};
        #{} ->
            absent
    end.

%% @doc Takes out everybody whose deadline is not after `Now', the earliest deadline first.
-spec expire(integer(), queue()) -> {[{key(), term()}], queue()}.
expire(Now, Queue) -> expire(Now, Queue, []).

expire(Now, Queue, Expired) ->
    case next_deadline(Queue) of
        Deadline when is_integer(Deadline), Deadline =< Now ->
            {_, Place} = gb_sets:smallest(Queue#queue.deadlines),
            {Key, _, Item} = gb_trees:get(Place, Queue#queue.places),
            expire(Now, drop(Place, Queue), [{Key, Item} | Expired]);
        _ ->
            {lists:reverse(Expired), Queue}
    end.

%% @doc The earliest deadline of all; `infinity' when nobody is in a hurry.
-spec next_deadline(queue()) -> deadline().
next_deadline(#queue{deadlines = Deadlines}) ->
    case gb_sets:is_empty(Deadlines) of
        true -> infinity;
        false -> element(1, gb_sets:smallest(Deadlines))
    end.

%% @doc Everybody, longest wait first.
-spec to_list(queue()) -> [{key(), term()}].
to_list(#queue{places = Places}) -> [{Key, Item} || {Key, _, Item} <- gb_trees:values(Places)].

drop(Place, #queue{places = Places, deadlines = Deadlines, by_key = Keys} = Queue) ->
    {Key, Deadline, _} = gb_trees:get(Place, Places),
    Queue#queue{
        places = gb_trees:delete(Place, Places),
        deadlines = gb_sets:del_element({Deadline, Place}, Deadlines),
        by_key = maps:remove(Key, Keys)
    }.
