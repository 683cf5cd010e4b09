%% Which results go when a cache is full: S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023).
%%
%% New entries go through a small queue, a tenth of the cache. Those that are used twice there move to the main queue; the others go, but their keys
%% are remembered for a while, and whoever comes back goes to the main queue at once. There an entry that was used since it came to the front
%% begins anew at the back. A use changes nothing but a number of two bits, so it needs no process and no order: that is why this policy was chosen.
%%
%% This is data. The numbers are elsewhere, for callers to count up: a fun reads one, and sets it to 0 (clear) or takes one off (spend).
-module(pitcrew_cache_policy).

-export([new/2, insert/4, forget/3, evict/2, knows/3, bytes/1, count/1]).
-export_type([policy/0, use/0]).

-type key() :: term().
%% Tells entries apart that have had the same key.
-type stamp() :: integer().
-type use() :: fun((key(), stamp(), clear | spend) -> non_neg_integer() | gone).

-record(fifo, {
    queue = queue:new() :: queue:queue({key(), stamp()}),
    %% Of the queue, with those that are gone; and of those that are not.
    length = 0 :: non_neg_integer(),
    count = 0 :: non_neg_integer(),
    bytes = 0 :: non_neg_integer()
}).

-record(policy, {
    max_entries :: pos_integer(),
    max_bytes :: pos_integer(),
    small = #fifo{} :: #fifo{},
    main = #fifo{} :: #fifo{},
    where = #{} :: #{key() => {small | main, stamp(), Bytes :: non_neg_integer()}},
    %% Keys of those that went out of the small queue.
    ghosts = #{} :: #{key() => stamp()},
    ghost_queue = queue:new() :: queue:queue({key(), stamp()}),
    ghost_length = 0 :: non_neg_integer()
}).

-opaque policy() :: #policy{}.

-spec new(MaxEntries :: pos_integer(), MaxBytes :: pos_integer()) -> policy().
new(MaxEntries, MaxBytes) -> #policy{max_entries = MaxEntries, max_bytes = MaxBytes}.

-spec count(policy()) -> non_neg_integer().
count(#policy{where = Where}) -> map_size(Where).

-spec bytes(policy()) -> non_neg_integer().
bytes(#policy{small = #fifo{bytes = Small}, main = #fifo{bytes = Main}}) -> Small + Main.

-spec knows(key(), stamp(), policy()) -> boolean().
knows(Key, Stamp, #policy{where = Where}) ->
    case Where of
        #{Key := {_, Stamp, _}} -> true;
        #{} -> false
    end.

%% @doc A new entry, or another one for the same key. The cache may be too full now: see {@link evict/2}.
-spec insert(key(), stamp(), non_neg_integer(), policy()) -> policy().
insert(Key, Stamp, Bytes, Policy) ->
    #policy{ghosts = Ghosts} = Fresh = remove(Key, Policy),
    case maps:take(Key, Ghosts) of
        {_, Others} -> put(main, {Key, Stamp, Bytes}, Fresh#policy{ghosts = Others});
        error -> put(small, {Key, Stamp, Bytes}, Fresh)
    end.

%% @doc An entry that is gone for another reason.
-spec forget(key(), stamp(), policy()) -> policy().
forget(Key, Stamp, Policy) ->
    case knows(Key, Stamp, Policy) of
        true -> remove(Key, Policy);
        false -> Policy
    end.

%% @doc What must go now: if the cache is too full, so much that there is room for a few more, so that this is not asked for each of them.
-spec evict(use(), policy()) -> {[{key(), stamp()}], policy()}.
evict(Use, #policy{max_entries = Entries, max_bytes = Most} = Policy) ->
    case is_beyond(Entries, Most, Policy) of
        true -> evict(Use, {Entries - Entries div 32, Most - Most div 32}, Policy, []);
        false -> {[], Policy}
    end.

evict(Use, {Entries, Most} = Target, Policy, Gone) ->
    case is_beyond(Entries, Most, Policy) of
        false ->
            {lists:reverse(Gone), Policy};
        true ->
            case step(front(Policy), Use, Policy) of
                {gone, Entry, Fewer} -> evict(Use, Target, Fewer, [Entry | Gone]);
                {kept, Next} -> evict(Use, Target, Next, Gone)
            end
    end.

is_beyond(Entries, Most, Policy) -> count(Policy) > Entries orelse bytes(Policy) > Most.

%% Which queue's turn it is.
front(#policy{main = #fifo{count = 0}}) -> small;
front(#policy{small = #fifo{count = Count, bytes = Bytes}, max_entries = Entries, max_bytes = Most}) ->
    case Count > 0 andalso (10 * Count > Entries orelse 10 * Bytes > Most) of
        true -> small;
        false -> main
    end.

step(Which, Use, Policy) ->
    #fifo{queue = Queue, length = Length} = Fifo = fifo(Which, Policy),
    {{value, {Key, Stamp}}, Rest} = queue:out(Queue),
    Shorter = with_fifo(Which, Fifo#fifo{queue = Rest, length = Length - 1}, Policy),
    case Shorter#policy.where of
        #{Key := {Which, Stamp, Bytes}} -> judge(Which, {Key, Stamp, Bytes}, Use, remove(Key, Shorter));
        #{} -> {kept, Shorter}
    end.

judge(small, {Key, Stamp, _} = Entry, Use, Policy) ->
    case Use(Key, Stamp, clear) of
        gone -> {kept, Policy};
        Uses when Uses > 1 -> {kept, put(main, Entry, Policy)};
        _ -> {gone, {Key, Stamp}, remember(Key, Stamp, Policy)}
    end;
judge(main, {Key, Stamp, _} = Entry, Use, Policy) ->
    case Use(Key, Stamp, spend) of
        gone -> {kept, Policy};
        Uses when Uses > 0 -> {kept, put(main, Entry, Policy)};
        _ -> {gone, {Key, Stamp}, Policy}
    end.

%% ---- The queues

fifo(small, #policy{small = Fifo}) -> Fifo;
fifo(main, #policy{main = Fifo}) -> Fifo.

with_fifo(small, Fifo, Policy) -> Policy#policy{small = Fifo};
with_fifo(main, Fifo, Policy) -> Policy#policy{main = Fifo}.

put(Which, {Key, Stamp, Bytes}, #policy{where = Where} = Policy) ->
    with_fifo(Which, push(Key, Stamp, Bytes, fifo(Which, Policy)), Policy#policy{where = Where#{Key => {Which, Stamp, Bytes}}}).

push(Key, Stamp, Bytes, #fifo{queue = Queue, length = Length, count = Count, bytes = All}) ->
    #fifo{queue = queue:in({Key, Stamp}, Queue), length = Length + 1, count = Count + 1, bytes = All + Bytes}.

%% It stays in its queue, where it means nothing any more.
remove(Key, #policy{where = Where} = Policy) ->
    case maps:take(Key, Where) of
        {{Which, _, Bytes}, Others} ->
            with_fifo(Which, sweep(Which, less(Bytes, fifo(Which, Policy)), Others), Policy#policy{where = Others});
        error ->
            Policy
    end.

less(Bytes, #fifo{count = Count, bytes = All} = Fifo) -> Fifo#fifo{count = Count - 1, bytes = All - Bytes}.

%% So that what means nothing never makes up more than about half of a queue.
sweep(Which, #fifo{queue = Queue, length = Length, count = Count} = Fifo, Where) when Length > 2 * Count + 64 ->
    Swept = queue:filter(fun({Key, Stamp}) -> is_in(Which, Stamp, maps:get(Key, Where, none)) end, Queue),
    Fifo#fifo{queue = Swept, length = queue:len(Swept)};
sweep(_, Fifo, _) ->
    Fifo.

is_in(Which, Stamp, {Which, Stamp, _}) -> true;
is_in(_, _, _) -> false.

%% ---- Keys of those that are gone, about as many as the main queue has room for

remember(Key, Stamp, #policy{ghosts = Ghosts, ghost_queue = Queue, ghost_length = Length, max_entries = Entries} = Policy) ->
    Longer = Policy#policy{
        ghosts = Ghosts#{Key => Stamp}, ghost_queue = queue:in({Key, Stamp}, Queue), ghost_length = Length + 1
    },
    case Length + 1 > max(1, Entries * 9 div 10) of
        true -> forget_ghost(Longer);
        false -> Longer
    end.

forget_ghost(#policy{ghosts = Ghosts, ghost_queue = Queue, ghost_length = Length} = Policy) ->
    {{value, {Key, Stamp}}, Rest} = queue:out(Queue),
    Shorter = Policy#policy{ghost_queue = Rest, ghost_length = Length - 1},
    case Ghosts of
        #{Key := Stamp} -> Shorter#policy{ghosts = maps:remove(Key, Ghosts)};
        #{} -> Shorter
    end.
