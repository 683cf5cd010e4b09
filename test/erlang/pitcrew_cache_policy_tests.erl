%% Which entries go, without a cache: uses are in a table of the test's own.
-module(pitcrew_cache_policy_tests).
-include_lib("eunit/include/eunit.hrl").

-define(P, pitcrew_cache_policy).

new(Entries, Bytes) ->
    _ = [erase(Key) || {?MODULE, _} = Key <- get_keys()],
    ?P:new(Entries, Bytes).

use(Key, N) -> put({?MODULE, Key}, min(3, N + used(Key))).

used(Key) -> case get({?MODULE, Key}) of undefined -> 0; Uses -> Uses end.

uses(Key, _, How) ->
    Uses = used(Key),
    put({?MODULE, Key}, case How of clear -> 0; spend -> max(0, Uses - 1) end),
    Uses.

add(Keys, Policy) -> lists:foldl(fun(Key, {Gone, P}) -> add(Key, 1, {Gone, P}) end, {[], Policy}, Keys).

add(Key, Bytes, {Gone, Policy}) ->
    {More, Next} = ?P:evict(fun uses/3, ?P:insert(Key, erlang:unique_integer(), Bytes, Policy)),
    {Gone ++ [K || {K, _} <- More], Next}.

nothing_goes_while_there_is_room_test() ->
    {Gone, Policy} = add(lists:seq(1, 10), new(10, 100)),
    ?assertEqual({[], 10, 10}, {Gone, ?P:count(Policy), ?P:bytes(Policy)}).

what_was_never_used_goes_first_come_first_test() ->
    {Gone, Policy} = add(lists:seq(1, 13), new(10, 100)),
    ?assertEqual({[1, 2, 3], 10}, {Gone, ?P:count(Policy)}).

what_was_used_twice_stays_test() ->
    {[], Policy} = add(lists:seq(1, 10), new(10, 100)),
    use(1, 2),
    use(2, 1),
    {Gone, _} = add([11, 12], Policy),
    ?assertEqual([2, 3], Gone).

%% A scan over as many keys as you like takes nothing away that is used.
a_scan_does_no_harm_test() ->
    {[], Policy} = add(lists:seq(1, 50), new(100, 1000)),
    [use(Key, 2) || Key <- lists:seq(1, 50)],
    {Gone, _} = add(lists:seq(1001, 3000), Policy),
    ?assertEqual([], [Key || Key <- Gone, Key =< 50]).

who_comes_back_soon_stays_longer_test() ->
    {[1], Policy} = add(lists:seq(1, 11), new(10, 100)),
    {Gone, Back} = add([1], Policy),
    {More, _} = add(lists:seq(20, 28), Back),
    ?assertEqual([2], Gone),
    ?assertNot(lists:member(1, More)).

%% In the main queue each use is worth one more round.
what_is_not_used_any_more_goes_in_the_end_test() ->
    {[], Policy} = add([1, 2, 3, 4], new(4, 100)),
    [use(Key, 3) || Key <- [1, 2, 3, 4]],
    %% All move to the main queue, and one of them must go all the same.
    {Gone, Full} = add([5], Policy),
    ?assertEqual({1, 4}, {length(Gone), ?P:count(Full)}),
    {All, _} = add(lists:seq(6, 60), Full),
    ?assertEqual([], [Key || Key <- lists:seq(6, 50), not lists:member(Key, All)]).

bytes_count_test() ->
    {[], Policy} = add(large, 60, add(small, 30, {[], new(10, 100)})),
    ?assertEqual(90, ?P:bytes(Policy)),
    {Gone, Fewer} = add(next, 20, {[], Policy}),
    ?assertEqual({[small], 80}, {Gone, ?P:bytes(Fewer)}).

another_entry_for_a_key_takes_the_place_of_the_first_test() ->
    Policy = ?P:insert(a, 2, 50, ?P:insert(a, 1, 30, new(10, 100))),
    ?assertEqual({1, 50}, {?P:count(Policy), ?P:bytes(Policy)}),
    ?assertEqual({false, true}, {?P:knows(a, 1, Policy), ?P:knows(a, 2, Policy)}),
    ?assertEqual(Policy, ?P:forget(a, 1, Policy)),
    Gone = ?P:forget(a, 2, Policy),
    ?assertEqual({0, 0}, {?P:count(Gone), ?P:bytes(Gone)}).

an_entry_that_is_gone_already_is_no_victim_test() ->
    {[], Policy} = add([1, 2], new(2, 100)),
    {Victims, Fewer} = ?P:evict(
        fun(1, _, _) -> gone; (Key, Stamp, How) -> uses(Key, Stamp, How) end, ?P:insert(3, 0, 1, Policy)
    ),
    ?assertEqual({[], 2}, {Victims, ?P:count(Fewer)}).

%% Entries that go otherwise leave nothing behind that grows.
it_does_not_grow_test() ->
    Policy = lists:foldl(fun(N, P) -> ?P:forget(N rem 7, N, ?P:insert(N rem 7, N, 1, P)) end, new(1000, 100000), lists:seq(1, 20000)),
    ?assertEqual(0, ?P:count(Policy)),
    ?assert(erts_debug:flat_size(Policy) < 2000).

%% Whatever happens, it is within its limits afterwards and agrees with a plain list of what is there.
model_test_() ->
    {timeout, 60, fun() ->
        Steps = proper_types:list(proper_types:oneof([
            {add, proper_types:range(1, 30), proper_types:range(1, 40)}, {use, proper_types:range(1, 30)}, {forget, proper_types:range(1, 30)}
        ])),
        Property = proper:forall(proper_types:resize(200, Steps), fun(All) ->
            {Policy, There} = lists:foldl(fun step/2, {new(8, 100), #{}}, All),
            ?P:count(Policy) =:= map_size(There) andalso ?P:bytes(Policy) =:= lists:sum([B || {_, B} <- maps:values(There)])
                andalso ?P:count(Policy) =< 8 andalso ?P:bytes(Policy) =< 100
        end),
        ?assert(proper:quickcheck(Property, [{numtests, 500}, quiet]))
    end}.

step({add, Key, Bytes}, {Policy, There}) ->
    Stamp = erlang:unique_integer(),
    _ = erase({?MODULE, Key}),
    {Gone, Next} = ?P:evict(fun uses/3, ?P:insert(Key, Stamp, Bytes, Policy)),
    {Next, maps:without([K || {K, _} <- Gone], There#{Key => {Stamp, Bytes}})};
step({use, Key}, State) ->
    use(Key, 1),
    State;
step({forget, Key}, {Policy, There}) ->
    case There of
        #{Key := {Stamp, _}} -> {?P:forget(Key, Stamp, Policy), maps:remove(Key, There)};
        #{} -> {Policy, There}
    end.
