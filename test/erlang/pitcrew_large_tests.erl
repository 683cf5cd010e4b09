%% Large binaries in calls: through the socket, sent from where they are, received as parts of the message that brings them; and
%% through shared memory.
-module(pitcrew_large_tests).

-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2]).

-define(MB, 1024 * 1024).

test(Fun) -> {timeout, 60, Fun}.

shared_or_not(Options, Fun) -> pitcrew_test:shared_or_not(60, Options, fun(These) -> with_pool(These, Fun) end).

bytes(N) -> binary:copy(<<"0123456789abcdefghijklmnopqrstuv">>, N div 32).

%% Around the size from which on a binary is not copied, alone and among others, in every kind of container.
there_and_back_test_() ->
    shared_or_not(#{size => 1, bytes => tagged}, fun(Pool) ->
        Sizes = [32 * 1024 - 32, 32 * 1024, 32 * 1024 + 32, 200 * 1024, 3 * ?MB],
        [begin
             B = bytes(N),
             [?assertEqual({N, {ok, Term}}, {N, pitcrew:call(Pool, echo, [Term])})
              || Term <- [B, [1, B, 2], [B, B, B], #{<<"a">> => B, <<"b">> => {B, [B]}}, #{B => 1}, pitcrew:bytes(B), [[[B]], pitcrew:bytes(<<255, B/binary>>)]]]
         end || N <- Sizes],
        ?assertEqual({ok, {3, 4}}, pitcrew:call(Pool, echo, [{3, 4}])),
        ?assertEqual({ok, bytes(?MB)}, pitcrew:call(Pool, echo, #{value => bytes(?MB)}))
    end).

%% A part of something else, whose beginning is not at a byte's: the VM copies it somewhere while it is looked at.
odd_parts_test_() ->
    shared_or_not(#{size => 1, binaries => bytes}, fun(Pool) ->
        <<_:3, Shifted:(40 * 1024)/binary, _/bitstring>> = <<0:3, (bytes(64 * 1024))/binary>>,
        <<_:100, _:4, Part:(40 * 1024)/binary, _/bitstring>> = bytes(64 * 1024),
        Grown = lists:foldl(fun(_, B) -> <<B/binary, (bytes(32))/binary>> end, <<>>, lists:seq(1, 2000)),
        [?assertEqual({ok, B}, pitcrew:call(Pool, echo, [B])) || B <- [Shifted, Part, Grown]],
        More = <<Grown/binary, "more">>,
        ?assertEqual({ok, [Grown, More]}, pitcrew:call(Pool, echo, [[Grown, More]]))
    end).

%% 64 MiB each way at once, the arguments being on their way while the process that sends them is collected.
much_test_() ->
    shared_or_not(#{size => 1}, fun(Pool) ->
        Sum = erlang:md5(bytes(64 * ?MB)),
        {ok, Back} = pitcrew:call(Pool, echo, [bytes(64 * ?MB)]),
        ?assertEqual(Sum, erlang:md5(Back))
    end).

%% The worker writes as much as the VM does, before it reads anything, as it would with a call of its own. The VM, which does not
%% know such calls, refuses it behind the call that it is sending.
worker_writes_first_test_() ->
    test(fun() ->
        pitcrew_channel_tests:in_a_room(fun(#{slots := Slots, worker := Worker}) ->
            Channel = pitcrew_channel_tests:claim(Slots),
            Ref = make_ref(),
            Large = bytes(64 * ?MB),
            Caller = self(),
            Peer = spawn_link(fun() -> write_first(Caller, Worker, Large) end),
            {pending, _} = pitcrew_channel_tests:call(Channel, Ref, [Large]),
            Peer ! go,
            ?assertMatch({reply, 0, _, <<"both">>}, pitcrew_channel_tests:await(Channel, Ref)),
            receive {Peer, Called, Refused} -> ok end,
            ?assertMatch([3, 1, <<"tool">>, [Large], nil, nil, nil], Called),
            ?assertMatch([5, 7, 0, #{<<"kind">> := <<"unknown_kind">>}], Refused),
            ok = pitcrew_nif:checkin(Channel),
            pitcrew_channel_tests:nothing_in_the_mailbox()
        end)
    end).

%% The next call is on its way to a worker that is writing the answer to the one before.
pipelined_test_() ->
    shared_or_not(#{size => 1, pipeline => 4}, fun(Pool) ->
        Large = bytes(64 * ?MB),
        Call = fun(N) -> exit(pitcrew:call(Pool, echo, [[N, Large]], #{timeout => 50_000})) end,
        Callers = [{N, spawn_monitor(fun() -> Call(N) end)} || N <- [1, 2, 3]],
        [receive {'DOWN', Ref, process, Pid, Answer} -> ?assertEqual({ok, [N, Large]}, Answer) end
         || {N, {Pid, Ref}} <- Callers]
    end).

write_first(Caller, Worker, Large) ->
    receive go -> ok end,
    %% In pieces: each waits until nearly all of those before it are out.
    in_pieces(Worker, frame([3, 7, <<"callback">>, [Large], nil, nil])),
    [3, Id | _] = Called = read_frame(Worker),
    Refused = read_frame(Worker),
    ok = gen_tcp:send(Worker, frame([4, Id, 0, <<"both">>])),
    Caller ! {self(), Called, Refused}.

frame(Term) ->
    {ok, Payload} = pitcrew_nif:encode(Term, #{}),
    <<(byte_size(Payload)):32, Payload/binary>>.

in_pieces(Worker, <<Piece:(64 * 1024)/binary, Rest/binary>>) ->
    ok = gen_tcp:send(Worker, Piece),
    in_pieces(Worker, Rest);
in_pieces(Worker, Last) ->
    ok = gen_tcp:send(Worker, Last).

read_frame(Worker) ->
    {ok, <<Length:32>>} = gen_tcp:recv(Worker, 4),
    {ok, Frame} = pitcrew_nif:decode(iolist_to_binary(read(Worker, Length)), #{}),
    Frame.

read(_, 0) -> [];
read(Worker, N) ->
    {ok, Piece} = gen_tcp:recv(Worker, min(N, ?MB)),
    [Piece | read(Worker, N - byte_size(Piece))].

%% Large binaries share the message's memory, smaller ones do not keep it alive, and copy_binaries copies all.
memory_test_() ->
    test(fun() ->
        with_pool(#{size => 1}, fun(Pool) ->
            Term = [bytes(?MB), bytes(1024), bytes(?MB)],
            {ok, [Large, Small, _]} = pitcrew:call(Pool, echo, [Term]),
            %% Of memory that is not its own the VM tells another size.
            ?assertNotEqual(?MB, binary:referenced_byte_size(Large)),
            ?assertEqual(1024, binary:referenced_byte_size(Small)),
            {ok, [Copied | _]} = pitcrew:call(Pool, echo, [Term], #{copy_binaries => true}),
            ?assertEqual(?MB, binary:referenced_byte_size(Copied)),
            ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Pool, echo, [1], #{protocol => json, copy_binaries => true}))
        end)
    end).

%% A refused call sends nothing of its parts, and the next one is whole.
refused_test_() ->
    test(fun() ->
        with_pool(#{size => 1, max_frame => 4 * ?MB}, fun(Pool) ->
            B = bytes(?MB),
            ?assertMatch({error, #{kind := encode_error, path := [args, 1]}}, pitcrew:call(Pool, echo, [B, <<255>>])),
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, echo, [[B, B, B, B]])),
            ?assertEqual({ok, [B, B]}, pitcrew:call(Pool, echo, [[B, B]]))
        end)
    end).

%% Killed anywhere in a call, mostly on a dirty scheduler, from where the VM lets nobody send messages in the name of the dead:
%% each time the worker's process and whoever waits for the slot are told all the same.
killed_in_the_middle_test_() ->
    shared_or_not(#{size => 1}, fun(Pool) ->
        Large = bytes(32 * ?MB),
        Patient = #{timeout => 20_000, checkout_timeout => 20_000},
        [begin
             {Pid, Ref} = spawn_monitor(fun() -> pitcrew:call(Pool, echo, [Large], Patient) end),
             {_, Waiting} = spawn_monitor(fun() -> exit(pitcrew:call(Pool, echo, [N], Patient)) end),
             _ = lists:seq(1, rand:uniform(200_000)),
             exit(Pid, kill),
             receive {'DOWN', Ref, process, _, _} -> ok end,
             receive {'DOWN', Waiting, process, _, Answer} -> ?assertEqual({N, {ok, N}}, {N, Answer}) end
         end || N <- lists:seq(1, 60)]
    end).
