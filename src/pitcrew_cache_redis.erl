%% Results in Redis, for all nodes that have the same secret: what is written there, and what is believed of what is read.
%%
%% Nothing from Redis is taken for a result but what a node with the secret has written for this very key; all else is void, and counted. So
%% neither who can write to Redis, nor a mixed-up connection, can bring a term into the VM or change a result. The names of keys come from the secret as well:
%% nobody without it can make two calls that have the same name, or tell which call has which.
%%
%% A generation, 16 random bytes in a place of its own, is part of all that is written: with another one everything is void, which is how a cache is cleared.
%% What is deleted leaves a mark of its own, and a result is only written where there still is what its call had found when it began: a call that
%% began before a result was deleted, on whichever node, does not bring it back.
-module(pitcrew_cache_redis).
-behaviour(pitcrew_cache_backend).

-export([init/1, fetch/2, store/6, delete/2, clear/1, child_spec/2]).

-include("pitcrew_cache.hrl").

-record(redis, {
    link :: pitcrew_cache_redis_link:link(),
    mac_key :: binary(),
    prefix :: binary(),
    %% Where the generation is.
    generation :: binary(),
    %% Bytes of the largest entry that is written, or read.
    most :: pos_integer(),
    ttl :: pos_integer() | infinity
}).

-define(MAC, 16).
-define(MARK, "PCD").
-define(SEALED, "PCR").
%% Longer than any call should take.
-define(MARK_MS, 86_400_000).

%% Writes if nothing has changed.
-define(WRITE, <<
    "if redis.call('GET', KEYS[2]) ~= ARGV[1] or (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then return 0 end "
    "if ARGV[4] == '' then redis.call('SET', KEYS[1], ARGV[3]) else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end "
    "return 1"
>>).

-spec init(pitcrew_options:pool()) -> {<<_:128>>, #redis{}}.
init(#{name := Name, cache := #{backend := {redis, Redis}, max_bytes := Most, ttl := Ttl}}) ->
    #{secret := Secret, namespace := Given} = Redis,
    Namespace = case Given of nil -> atom_to_binary(Name); _ -> Given end,
    <<HashKey:16/binary, _/binary>> = derived(Secret(), "key", Namespace),
    {HashKey, #redis{
        link = pitcrew_cache_redis_link:new(Redis),
        mac_key = derived(Secret(), "mac", Namespace),
        prefix = <<"pitcrew:1:", Namespace/binary, ":">>,
        generation = <<"pitcrew:1:", Namespace/binary, ":generation">>,
        most = max(1024, Most div 8),
        ttl = Ttl
    }}.

derived(Secret, What, Namespace) -> crypto:mac(hmac, sha256, Secret, ["pitcrew cache 1 ", What, 0, Namespace]).

-spec child_spec(#cache{}, pitcrew_options:pool()) -> [supervisor:child_spec()].
child_spec(#cache{sup = Sup}, #{cache := #{backend := {redis, Redis}}}) -> [pitcrew_cache_redis_link:child_spec(Sup, Redis)].

%% ---- Reading

%% The ticket: of which generation it is, and what is in its place; `none' without Redis, which is a miss of which nothing is kept.
-spec fetch(#cache{}, binary()) -> {ok, term()} | {miss, none | {binary(), binary()}}.
fetch(#cache{handle = #redis{generation = Generation, most = Most} = Redis} = Cache, Key) ->
    %% No more than could be one of ours, however much is there.
    Commands = [["GETRANGE", Generation, "0", "16"], ["GETRANGE", place(Key, Redis), "0", integer_to_binary(Most)]],
    case ask(Cache, Commands) of
        [{ok, <<Now:16/binary>>}, {ok, Found}] -> opened(Cache, Key, Now, Found);
        [{ok, <<Now:16/binary>>}, {error, _}] -> void(Cache, Key, Now);
        [{ok, <<>>}, _] -> {miss, ticket(begin_generation(Cache), <<>>)};
        [_, _] -> no_generation(Cache);
        unreachable -> {miss, none}
    end.

%% What is in its place is none, so nothing that is there has one.
no_generation(#cache{counts = Counts} = Cache) ->
    ok = counters:add(Counts, ?BAD, 1),
    _ = clear(Cache),
    {miss, none}.

opened(_, _, Now, <<>>) ->
    {miss, {Now, <<>>}};
opened(_, _, Now, <<?MARK, _:16/binary>> = Mark) ->
    {miss, {Now, Mark}};
opened(#cache{handle = Redis} = Cache, Key, Now, Found) ->
    case unseal(Redis, Key, Found) of
        {ok, Now, Term} -> read(Cache, Term);
        %% Of another generation, and that is no fault.
        {ok, _, _} -> {miss, ticket(Now, mark(Cache, Key))};
        error -> void(Cache, Key, Now)
    end.

read(#cache{counts = Counts}, Term) ->
    try
        {ok, binary_to_term(Term, [safe])}
    catch
        %% It names something that there is on another node only.
        error:badarg ->
            ok = counters:add(Counts, ?BAD, 1),
            {miss, none}
    end.

void(#cache{counts = Counts} = Cache, Key, Now) ->
    ok = counters:add(Counts, ?BAD, 1),
    {miss, ticket(Now, mark(Cache, Key))}.

ticket(none, _) -> none;
ticket(_, none) -> none;
ticket(Generation, Found) -> {Generation, Found}.

seal(#redis{mac_key = MacKey}, Key, Generation, Term) -> <<?SEALED, (mac(MacKey, Key, Generation, Term))/binary, Generation/binary, Term/binary>>.

unseal(#redis{mac_key = MacKey}, Key, <<?SEALED, Mac:?MAC/binary, Generation:16/binary, Term/binary>>) ->
    %% In a time that does not tell where they differ.
    case crypto:hash_equals(mac(MacKey, Key, Generation, Term), Mac) of
        true -> {ok, Generation, Term};
        false -> error
    end;
unseal(_, _, _) ->
    error.

mac(MacKey, Key, Generation, Term) -> crypto:macN(hmac, sha256, MacKey, [Key, Generation, Term], ?MAC).

%% ---- Writing

-spec store(#cache{}, binary(), pitcrew_cache_backend:flight(), none | {binary(), binary()}, term(), pos_integer()) -> over.
store(#cache{table = Table} = Cache, Key, Flight, Ticket, Value, _) ->
    ok =
        case Ticket =/= none andalso ets:lookup(Table, Key) of
            [{_, Flight}] -> write(Cache, Key, Ticket, Value);
            %% Somebody has asked meanwhile that it be not kept.
            _ -> ok
        end,
    true = ets:delete_object(Table, {Key, Flight}),
    over.

write(#cache{handle = #redis{most = Most} = Redis, counts = Counts} = Cache, Key, {Generation, Found}, Value) ->
    Sealed = seal(Redis, Key, Generation, term_to_binary(Value)),
    case byte_size(Sealed) > Most of
        true ->
            counters:add(Counts, ?TOO_LARGE, 1);
        false ->
            Places = [place(Key, Redis), Redis#redis.generation],
            case ask(Cache, [["EVAL", ?WRITE, "2"] ++ Places ++ [Generation, Found, Sealed, milliseconds(Redis)]]) of
                [{ok, <<"1">>}] -> counters:add(Counts, ?STORED, 1);
                _ -> ok
            end
    end.

milliseconds(#redis{ttl = infinity}) -> <<>>;
milliseconds(#redis{ttl = Ttl}) -> integer_to_binary(Ttl).

place(Key, #redis{prefix = Prefix}) -> <<Prefix/binary, (binary:encode_hex(Key))/binary>>.

%% Puts a mark where an entry is void. `none': it could not.
mark(#cache{handle = Redis} = Cache, Key) ->
    Mark = new_mark(),
    case ask(Cache, [set_mark(Redis, Key, Mark)]) of
        [{ok, _}] -> Mark;
        _ -> none
    end.

new_mark() -> <<?MARK, (crypto:strong_rand_bytes(16))/binary>>.

set_mark(Redis, Key, Mark) -> ["SET", place(Key, Redis), Mark, "PX", integer_to_binary(?MARK_MS)].

%% Of several nodes one is the first.
begin_generation(#cache{handle = #redis{generation = Place}} = Cache) ->
    case ask(Cache, [["SET", Place, crypto:strong_rand_bytes(16), "NX"], ["GET", Place]]) of
        [{ok, _}, {ok, <<Generation:16/binary>>}] -> Generation;
        _ -> none
    end.

ask(#cache{sup = Sup, handle = #redis{link = Link}, counts = Counts}, Commands) ->
    case pitcrew_cache_redis_link:ask(Sup, Link, Commands) of
        unreachable ->
            ok = counters:add(Counts, ?UNREACHABLE, 1),
            unreachable;
        Answers ->
            Answers
    end.

%% ---- Forgetting: whoever asks must know whether it was done.

-spec delete(#cache{}, binary()) -> ok | {error, pitcrew_error:t()}.
delete(#cache{handle = Redis} = Cache, Key) -> insist(Cache, set_mark(Redis, Key, new_mark())).

-spec clear(#cache{}) -> ok | {error, pitcrew_error:t()}.
clear(#cache{handle = #redis{generation = Place}} = Cache) -> insist(Cache, ["SET", Place, crypto:strong_rand_bytes(16)]).

insist(#cache{sup = Sup, handle = #redis{link = Link}}, Command) ->
    case pitcrew_cache_redis_link:insist(Sup, Link, [Command]) of
        [{ok, _}] -> ok;
        Other -> {error, pitcrew_error:new(cache_error, "Redis did not do what it should, so others may still find what was there: ~0tP", [Other, 8])}
    end.
