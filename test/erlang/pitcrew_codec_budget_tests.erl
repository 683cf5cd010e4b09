%% What does not fit a budget goes on, or starts over, on a dirty scheduler: wherever that happens, the result is the same.
-module(pitcrew_codec_budget_tests).

-include_lib("eunit/include/eunit.hrl").

terms() ->
    Set = #{'__struct__' => 'Elixir.MapSet', map => #{a => [], {1} => []}, version => 2},
    Date = #{'__struct__' => 'Elixir.Date', calendar => 'Elixir.Calendar.ISO', year => 2024, month => 2, day => 29},
    Text = binary:copy(<<"text ">>, 200),
    [
        1, [], [1], {}, #{}, lists:seq(1, 40), [N / 3 || N <- lists:seq(1, 40)], lists:seq(-5, 200),
        [1, 2.5, 3, 4.5, a, 5, <<"x">>, <<"y">>, 6, [7, 8], 9, {10}, 11, #{k => v}, #{k => w}, 12.5, 1 bsl 70, Date, Set, 13],
        [[1, 2, 3], [[4, 5]], [[[6]]]] ++ lists:seq(1, 30), [#{<<"id">> => N, <<"n">> => [N, N]} || N <- lists:seq(1, 20)],
        {[1, 2, 3], lists:seq(1, 20)}, #{list => lists:seq(1, 20), text => Text}, [Text, 1, Text, {Text}], [1, 2, 3 | 4],
        [a, b, [1, 2 | 3], [<<255>> | x], c], [self(), <<1:3>>, fun lists:map/2, 5, 6], lists:duplicate(30, Date), lists:duplicate(20, Set)
    ].

%% The larger, the more there is to be found at one step and not at the next.
budgets() -> lists:seq(1, 150) ++ lists:seq(160, 3000, 37).

encode_test_() ->
    {timeout, 120, fun() ->
        [begin
             {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
             [?assertEqual({Term, Units, {ok, Bytes}}, {Term, Units, pitcrew_nif:encode(Term, #{inline_units => Units})}) || Units <- budgets()]
         end || Term <- terms()]
    end}.

encode_in_parts_test_() ->
    {timeout, 120, fun() ->
        [begin
             {ok, Parts} = pitcrew_nif:encode_iov(Term, #{}),
             [?assertEqual({Term, Units, {ok, Parts}}, {Term, Units, pitcrew_nif:encode_iov(Term, #{inline_units => Units})}) || Units <- budgets()]
         end || Term <- terms()]
    end}.

decode_test_() ->
    {timeout, 120, fun() ->
        [begin
             {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
             [?assertEqual({Units, {ok, Term}}, {Units, pitcrew_nif:decode(Bytes, #{inline_units => Units})}) || Units <- budgets()],
             [?assertEqual({Units, {ok, [Term, Term], 0}}, {Units, pitcrew_nif:decode_all(<<Bytes/binary, Bytes/binary>>, #{inline_units => Units})})
              || Units <- budgets(), Units < 200]
         end || Term <- terms()]
    end}.

errors_test() ->
    Struct = #{'__struct__' => no_such_struct},
    [begin
         {error, _} = Error = pitcrew_nif:encode(Term, Options),
         [?assertEqual({Units, Error}, {Units, pitcrew_nif:encode(Term, Options#{inline_units => Units})}) || Units <- budgets()]
     end || {Term, Options} <- [
                {lists:seq(1, 50) ++ [Struct], #{}}, {lists:seq(1, 50) ++ [[1, <<255>>]], #{}}, {[[1, 2, #{k => [Struct]}], 3], #{}},
                {lists:seq(1, 1000), #{max_size => 500}}, {lists:duplicate(100, {1}), #{max_size => 300}}, {[[[[1]]], 2], #{max_depth => 3}},
                {lists:seq(1, 50) ++ [[[[1]]]], #{max_depth => 3}}
            ]].

decode_errors_test() ->
    Good = lists:duplicate(50, [1, <<"text">>, {a, #{b => c}}]),
    {ok, Bytes} = pitcrew_nif:encode(Good, #{}),
    Bad = binary:part(Bytes, 0, byte_size(Bytes) - 3),
    {error, _} = Error = pitcrew_nif:decode(Bad, #{}),
    [?assertEqual(Error, pitcrew_nif:decode(Bad, #{inline_units => Units})) || Units <- budgets()].

%% A list that is gone on with, around every width of its header, with what is large behind what is small and the other way.
long_lists_test_() ->
    {timeout, 120, fun() ->
        [begin
             {ok, Bytes} = pitcrew_nif:encode(Term, #{inline_units => Units}),
             ?assertEqual({ok, Term}, pitcrew_nif:decode(Bytes, #{}))
         end || Units <- [1, 2, 14, 15, 16, 17, 100, 32000, 65534, 65535, 65536, 65537, 70000],
                Term <- [lists:seq(1, 15), lists:seq(1, 16), lists:seq(1, 65535), lists:seq(1, 65536), lists:seq(1, 100000),
                         [N / 7 || N <- lists:seq(1, 70000)], lists:seq(1, 40000) ++ [binary:copy(<<"x">>, 1000000)],
                         [binary:copy(<<"x">>, 10000) | lists:seq(1, 70000)], lists:duplicate(70000, {}), lists:duplicate(20000, [1, 2])]]
    end}.

%% Work is paid for before it is done. That must not look as if little had been read for much: what fits the time that there is
%% does not move. How much that is, is counted in units, so the machine's speed is of no matter.
floats_that_fit_do_not_move_test() ->
    ?assertNot(moves([N / 7 || N <- lists:seq(1, 10_000)])),
    ?assert(moves([N / 7 || N <- lists:seq(1, 100_000)])).

%% Whether a process leaves its scheduler from within decode/2.
moves(Term) ->
    {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
    {Pid, Monitor} = spawn_monitor(fun() ->
        receive go -> {ok, Term} = pitcrew_nif:decode(Bytes, #{}) end
    end),
    1 = erlang:trace(Pid, true, [running]),
    Pid ! go,
    receive {'DOWN', Monitor, process, Pid, Reason} -> ?assertEqual(normal, Reason) end,
    Delivered = erlang:trace_delivered(Pid),
    receive {trace_delivered, Pid, Delivered} -> ok end,
    lists:member({pitcrew_nif, decode, 2}, left(Pid)).

left(Pid) ->
    receive
        {trace, Pid, out, Where} -> [Where | left(Pid)];
        {trace, Pid, _, _} -> left(Pid)
    after 0 -> []
    end.

reload_while_work_is_in_flight_test_() ->
    {timeout, 60, fun() ->
        Term = [[N, <<"text">>, N / 3] || N <- lists:seq(1, 20000)],
        {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
        Self = self(),
        Workers = [spawn_link(fun() -> work(Self, Term, Bytes, 20) end) || _ <- lists:seq(1, 4)],
        [{module, pitcrew_nif} = reload() || _ <- lists:seq(1, 10)],
        [receive {done, Worker} -> ok after 50000 -> error(timeout) end || Worker <- Workers]
    end}.

%% As soon as nobody runs the code before this one.
reload() ->
    case code:soft_purge(pitcrew_nif) of
        true ->
            code:load_file(pitcrew_nif);
        false ->
            erlang:yield(),
            reload()
    end.

work(Parent, _, _, 0) ->
    Parent ! {done, self()};
work(Parent, Term, Bytes, N) ->
    {ok, Bytes} = pitcrew_nif:encode(Term, #{}),
    {ok, Term} = pitcrew_nif:decode(Bytes, #{}),
    work(Parent, Term, Bytes, N - 1).
