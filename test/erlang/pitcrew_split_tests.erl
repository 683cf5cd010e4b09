%% Every split of a frame gives the same result: the worker, played by this test, writes one part, and the rest when the VM has
%% taken the first; then each byte for itself. test_wire_splits.c has the same for what the VM writes.
-module(pitcrew_split_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_channel_tests, [accept/1, in_a_room/1, claim/1, call/3, nothing_in_the_mailbox/0]).

-define(OPTS, #{}).

split_test_() ->
    [{timeout, 60, {Name, fun() -> in_a_room(Fun) end}} || {Name, Fun} <- [
        {"a reply", packed(fun(Id) -> [frame([4, Id, 17, value()])] end)},
        {"an error", packed(fun(Id) -> [frame([5, Id, 17, fault()])] end)},
        {"a reply behind a late one", packed(fun(Id) -> [frame([4, Id - 1, 0, 1]), frame([4, Id, 17, value()])] end)},
        {"a reply that cannot be decoded", packed(fun(Id) -> [framed(<<16#94, 4, Id, 0, 16#c1>>)] end)},
        {"a reply in JSON", in_json(fun(Id) -> [text(4, Id, <<"{\"a\":[1.5,null,\"é\"]}"/utf8>>)] end)},
        {"an error in JSON", in_json(fun(Id) -> [text(5, Id, <<"{\"kind\":\"tool_error\"}">>)] end)},
        {"a reply in JSON behind a late one",
            in_json(fun(Id) -> [text(4, Id - 1, <<"1">>), text(4, Id, <<"[true]">>)] end)},
        {"a frame of the handshake", fun handshake/1}
    ]].

value() -> [nil, true, -1, 1 bsl 70, 1.5, <<"texté"/utf8>>, {a, <<"tuple">>}, #{<<"map">> => [1, []], 5 => ok}].

fault() -> #{<<"kind">> => <<"tool_error">>, <<"message">> => <<"no">>, <<"path">> => [1, <<"x">>]}.

frame(Term) ->
    {ok, Payload} = pitcrew_nif:encode(Term, ?OPTS),
    framed(Payload).

text(Kind, Id, Value) ->
    framed(iolist_to_binary(["[", integer_to_binary(Kind), ",", integer_to_binary(Id), ",17,", Value, "]"])).

framed(Payload) -> <<(byte_size(Payload)):32, Payload/binary>>.

packed(Answer) ->
    fun(Room) -> splits(Room, Answer, fun(Channel, Ref) -> call(Channel, Ref, []) end) end.

in_json(Answer) ->
    fun(Room) ->
        splits(Room, Answer, fun(Channel, Ref) ->
            pitcrew_nif:call_json(Channel, Ref, <<"\"tool\"">>, <<"[]">>, <<"null,null">>, 1000, 0, infinity)
        end)
    end.

%% The ids have two digits, and one byte, so that all answers are equally long.
splits(#{slots := Slots, worker := Worker}, Answer, Call) ->
    Channel = claim(Slots),
    Ask = fun(Id, Cut) ->
        Ref = make_ref(),
        {ok, _} = Call(Channel, Ref),
        {ok, <<Length:32>>} = gen_tcp:recv(Worker, 4, 5000),
        {ok, _} = gen_tcp:recv(Worker, Length, 5000),
        Result = in_parts(Worker, Channel, Ref, Cut(iolist_to_binary(Answer(Id)))),
        nothing_in_the_mailbox(),
        Result
    end,
    Whole = lists:last([Ask(Id, fun(Bytes) -> [Bytes] end) || Id <- lists:seq(1, 11)]),
    Size = iolist_size(Answer(11)),
    ?assert(Size > 8 andalso Size + 11 < 99),
    [?assertEqual({At, Whole}, {At, Ask(At + 11, fun(Bytes) -> cut(Bytes, At) end)}) || At <- lists:seq(1, Size - 1)],
    ?assertEqual(Whole, Ask(Size + 11, fun(Bytes) -> [<<Byte>> || <<Byte>> <= Bytes] end)),
    ok = pitcrew_nif:checkin(Channel).

cut(Bytes, At) ->
    <<First:At/binary, Rest/binary>> = Bytes,
    [First, Rest].

%% Each part is there, and read, before the next one is sent.
in_parts(Worker, Channel, Ref, [Part | Rest]) ->
    ok = gen_tcp:send(Worker, Part),
    receive {select, Channel, Ref, ready_input} -> ok after 5000 -> error({nothing_came, Part, Rest}) end,
    case pitcrew_nif:reply(Channel, Ref, ?OPTS) of
        again -> in_parts(Worker, Channel, Ref, Rest);
        Result when Rest =:= [] -> Result
    end.

%% On a channel that is no slot yet, from its first byte on.
handshake(#{path := Path, listener := Listener}) ->
    Frame = [0, 0, <<"0123456789abcdef">>, <<"call">>, 4711],
    Bytes = frame(Frame),
    Cuts = [cut(Bytes, At) || At <- lists:seq(1, byte_size(Bytes) - 1)],
    [
        begin
            {ok, Worker} = gen_tcp:connect({local, Path}, 0, [binary, {packet, raw}, {active, false}]),
            {ok, Channel, _} = accept(Listener),
            Ref = make_ref(),
            again = pitcrew_nif:channel_recv(Channel, Ref),
            ?assertEqual({ok, Frame}, receive_parts(Worker, Channel, Ref, Parts)),
            ok = pitcrew_nif:channel_close(Channel),
            ok = gen_tcp:close(Worker),
            nothing_in_the_mailbox()
        end
     || Parts <- [[<<Byte>> || <<Byte>> <= Bytes] | Cuts]
    ].

receive_parts(Worker, Channel, Ref, [Part | Rest]) ->
    ok = gen_tcp:send(Worker, Part),
    receive {select, Channel, Ref, ready_input} -> ok after 5000 -> error({nothing_came, Part, Rest}) end,
    case pitcrew_nif:channel_recv(Channel, Ref) of
        again -> receive_parts(Worker, Channel, Ref, Rest);
        Result when Rest =:= [] -> Result
    end.
