-module(pitcrew_queue_tests).
-include_lib("eunit/include/eunit.hrl").

%% PropEr's functions are called by their names: its header is a package of its own on Debian.
-import(proper_types, [list/1, oneof/1, frequency/1, range/2]).

in_all(Waiters) ->
    lists:foldl(fun({Key, Deadline, Item}, Q) -> pitcrew_queue:in(Key, Deadline, Item, Q) end, pitcrew_queue:new(), Waiters).

first_come_first_served_test() ->
    [A, B, C] = [make_ref() || _ <- [1, 2, 3]],
    Q0 = in_all([{A, 30, a}, {B, 10, b}, {C, infinity, c}]),
    ?assertEqual([{A, a}, {B, b}, {C, c}], pitcrew_queue:to_list(Q0)),
    {A, a, Q1} = pitcrew_queue:out(Q0),
    {B, b, Q2} = pitcrew_queue:out(Q1),
    {C, c, Q3} = pitcrew_queue:out(Q2),
    ?assertEqual(empty, pitcrew_queue:out(Q3)),
    ?assert(pitcrew_queue:is_empty(Q3)),
    ?assertEqual(infinity, pitcrew_queue:next_deadline(Q3)).

a_waiter_can_leave_from_the_middle_test() ->
    [A, B, C] = [make_ref() || _ <- [1, 2, 3]],
    {b, Q} = pitcrew_queue:remove(B, in_all([{A, 3, a}, {B, 1, b}, {C, 2, c}])),
    ?assertEqual([{A, a}, {C, c}], pitcrew_queue:to_list(Q)),
    ?assertEqual(2, pitcrew_queue:next_deadline(Q)),
    ?assertEqual(absent, pitcrew_queue:remove(B, Q)).

expiry_takes_those_who_are_due_test() ->
    [A, B, C] = [make_ref() || _ <- [1, 2, 3]],
    Q = in_all([{A, 30, a}, {B, 10, b}, {C, infinity, c}]),
    ?assertEqual({[], Q}, pitcrew_queue:expire(9, Q)),
    {[{B, b}], Q1} = pitcrew_queue:expire(10, Q),
    ?assertEqual(30, pitcrew_queue:next_deadline(Q1)),
    {[{A, a}], Q2} = pitcrew_queue:expire(1000000, Q1),
    ?assertEqual([{C, c}], pitcrew_queue:to_list(Q2)),
    ?assertEqual(infinity, pitcrew_queue:next_deadline(Q2)).

a_key_is_in_once_test() ->
    A = make_ref(),
    ?assertError(function_clause, in_all([{A, 1, a}, {A, 2, b}])).

%% Against the plainest of models: a list in order of arrival.
model_test_() ->
    {timeout, 60, fun() ->
        case proper:quickcheck(prop_model(), [{numtests, 300}, quiet]) of
            true -> ok;
            false -> error({counterexample, proper:counterexample()})
        end
    end}.

prop_model() ->
    proper:forall(list(command()), fun(Commands) -> run(Commands, [], pitcrew_queue:new()) end).

command() ->
    frequency([
        {4, {in, oneof([infinity, range(0, 20)])}},
        {2, out},
        {2, {remove, range(0, 10)}},
        {2, {expire, range(0, 20)}}
    ]).

run([], Model, Q) ->
    same(Model, Q);
run([Command | Rest], Model, Q) ->
    {Model1, Q1} = step(Command, Model, Q),
    same(Model1, Q1) andalso run(Rest, Model1, Q1).

step({in, Deadline}, Model, Q) ->
    Key = make_ref(),
    {Model ++ [{Key, Deadline}], pitcrew_queue:in(Key, Deadline, Key, Q)};
step(out, [], Q) ->
    empty = pitcrew_queue:out(Q),
    {[], Q};
step(out, [{Key, _} | Model], Q) ->
    {Key, Key, Q1} = pitcrew_queue:out(Q),
    {Model, Q1};
step({remove, N}, Model, Q) when N < length(Model) ->
    {Key, _} = lists:nth(N + 1, Model),
    {Key, Q1} = pitcrew_queue:remove(Key, Q),
    {lists:keydelete(Key, 1, Model), Q1};
step({remove, _}, Model, Q) ->
    absent = pitcrew_queue:remove(make_ref(), Q),
    {Model, Q};
step({expire, Now}, Model, Q) ->
    {Due, Kept} = lists:partition(fun({_, Deadline}) -> Deadline =< Now end, Model),
    {Expired, Q1} = pitcrew_queue:expire(Now, Q),
    true = lists:sort([Key || {Key, _} <- Due]) =:= lists:sort([Key || {Key, Key} <- Expired]),
    {Kept, Q1}.

same(Model, Q) ->
    pitcrew_queue:to_list(Q) =:= [{Key, Key} || {Key, _} <- Model] andalso
        pitcrew_queue:size(Q) =:= length(Model) andalso
        pitcrew_queue:next_deadline(Q) =:= lists:min([infinity | [Deadline || {_, Deadline} <- Model]]).
