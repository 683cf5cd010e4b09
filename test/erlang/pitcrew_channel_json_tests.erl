%% Frames in JSON on the NIF's channel, with a worker played by this test; the room is that of pitcrew_channel_tests.
-module(pitcrew_channel_json_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_channel_tests, [in_a_room/1, claim/1, call/3, await/2, told/1, worker_recv/1, worker_send/2, nothing_in_the_mailbox/0]).

-define(REPLY, 4).

channel_test_() ->
    [{Name, fun() -> in_a_room(Fun) end}
      || {Name, Fun} <- [
          {"a call goes round", fun a_call_goes_round/1},
          {"an error frame is a fault", fun an_error_frame_is_a_fault/1},
          {"a call in single bytes", fun an_answer_in_single_bytes/1},
          {"large texts both ways", fun large_texts_both_ways/1},
          {"a text over the limit keeps the slot", fun a_text_over_the_limit_keeps_the_slot/1},
          {"a late answer is dropped in either format", fun a_late_answer_is_dropped/1},
          {"an unknown kind is refused in its format", fun an_unknown_kind_is_refused/1}
      ]] ++
    [{"an answer that poisons: " ++ binary_to_list(Text), fun() -> in_a_room(fun(Room) -> poisons(Room, Text) end) end}
      || Text <- [<<"[">>, <<"[4">>, <<"[4,1]">>, <<"[4,1,5]">>, <<"[4,1,5,]">>, <<"[4,1,5,true">>, <<"[4,1,5,true]x">>,
                  <<"[4, 1,5,true]">>, <<"[04,1,5,true]">>, <<"[4,1,-5,true]">>, <<"[4,1,1e3,true]">>, <<"[4,2,5,true]">>,
                  <<"[4,18446744073709551616,5,true]">>]] ++
    [{"an answer in the other format poisons", fun() -> in_a_room(Fun) end}
      || Fun <- [fun packed_to_json/1, fun json_to_packed/1]].

call_json(Channel, Ref, Args) -> pitcrew_nif:call_json(Channel, Ref, <<"\"tool\"">>, Args, <<"null,null">>, 1 bsl 30, 0, infinity).

receive_text(Socket) ->
    {ok, <<Length:32>>} = gen_tcp:recv(Socket, 4, 5000),
    {ok, Payload} = gen_tcp:recv(Socket, Length, 5000),
    Payload.

send_text(Socket, Text) -> ok = gen_tcp:send(Socket, framed(Text)).

framed(Text) -> [<<(iolist_size(Text)):32>>, Text].

a_call_goes_round(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    Text = <<"[3,1,\"tool\",[1,\"two\"],{\"a\":null},null]">>,
    Bytes = 4 + byte_size(Text),
    {ok, Bytes} = pitcrew_nif:call_json(Channel, Ref, <<"\"tool\"">>, <<"[1,\"two\"]">>, <<"{\"a\":null},null">>, 1000, 0, infinity),
    ?assertEqual(Text, receive_text(Worker)),
    send_text(Worker, <<"[4,1,1234,{\"a\":[1.5]}]">>),
    ?assertEqual({json, reply, 1234, 26, <<"{\"a\":[1.5]}">>}, await(Channel, Ref)),
    ?assertEqual(ok, pitcrew_nif:checkin(Channel)),
    ?assertMatch(#{free := 1}, pitcrew_nif:slots_info(Slots)),
    nothing_in_the_mailbox().

an_error_frame_is_a_fault(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call_json(Channel, Ref, <<"[]">>),
    <<"[3,1,", _/binary>> = receive_text(Worker),
    send_text(Worker, <<"[5,1,0,{}]">>),
    ?assertMatch({json, fault, 0, _, <<"{}">>}, await(Channel, Ref)),
    ?assertEqual(ok, pitcrew_nif:checkin(Channel)).

an_answer_in_single_bytes(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call_json(Channel, Ref, <<"[]">>),
    _ = receive_text(Worker),
    Caller = self(),
    spawn_link(fun() ->
        [ok = gen_tcp:send(Worker, <<B>>) || <<B>> <= iolist_to_binary(framed(<<"[4,1,0,\"done\"]">>))],
        Caller ! sent
    end),
    ?assertMatch({json, reply, 0, _, <<"\"done\"">>}, await(Channel, Ref)),
    receive sent -> ok end,
    ok = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

%% Both are past what is copied on a normal scheduler, and cross.
large_texts_both_ways(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    Large = iolist_to_binary([$[, $", binary:copy(<<"0123456789abcdef">>, 1 bsl 18), $", $]]),
    Caller = self(),
    Echo = spawn_link(fun() ->
        receive go -> ok end,
        Text = receive_text(Worker),
        ?assertEqual(iolist_to_binary(["[3,1,\"tool\",", Large, ",null,null]"]), Text),
        send_text(Worker, ["[4,1,0,", Large, "]"]),
        Caller ! echoed
    end),
    ok = gen_tcp:controlling_process(Worker, Echo),
    {pending, Bytes} = call_json(Channel, Ref, Large),
    ?assert(Bytes > byte_size(Large)),
    Echo ! go,
    ?assertMatch({json, reply, 0, _, Large}, await(Channel, Ref)),
    receive echoed -> ok end,
    _ = pitcrew_nif:checkin(Channel).

a_text_over_the_limit_keeps_the_slot(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Text = iolist_to_binary([$[, $", binary:copy(<<"x">>, 100), $", $]]),
    Size = byte_size(<<"[3,1,\"tool\",">>) + byte_size(Text) + byte_size(<<",null,null]">>),
    Call = fun(Max) -> pitcrew_nif:call_json(Channel, make_ref(), <<"\"tool\"">>, Text, <<"null,null">>, Max, 0, infinity) end,
    [?assertMatch({Max, {error, #{kind := too_big, path := []}}}, {Max, Call(Max)}) || Max <- lists:seq(1, Size - 1)],
    ?assertEqual({ok, Size + 4}, Call(Size)),
    ?assertEqual(Size, byte_size(receive_text(Worker))).

a_late_answer_is_dropped(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call_json(Channel, Ref, <<"[]">>),
    _ = receive_text(Worker),
    send_text(Worker, <<"[4,1,0,1]">>),
    {json, reply, 0, _, <<"1">>} = await(Channel, Ref),
    Ref2 = make_ref(),
    {ok, _} = call(Channel, Ref2, []),
    [_, 2 | _] = worker_recv(Worker),
    send_text(Worker, <<"[4,1,0,1]">>),
    worker_send(Worker, [?REPLY, 2, 0, <<"second">>]),
    ?assertMatch({reply, 0, _, <<"second">>}, await(Channel, Ref2)),
    ok = pitcrew_nif:checkin(Channel).

an_unknown_kind_is_refused(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call_json(Channel, Ref, <<"[]">>),
    _ = receive_text(Worker),
    ok = gen_tcp:send(Worker, [framed(<<"[99,7,{}]">>), framed(<<"[4,1,0,1]">>)]),
    ?assertMatch({json, reply, 0, _, <<"1">>}, await(Channel, Ref)),
    {ok, [5, 7, 0, Said]} = pitcrew_json:decode(receive_text(Worker)),
    ?assertMatch(#{<<"kind">> := <<"unknown_kind">>, <<"message">> := <<_, _/binary>>}, Said),
    ok = pitcrew_nif:checkin(Channel).

%% ---- What cannot be an answer

lost(Channel, Ref) ->
    receive {select, Channel, Ref, _} -> ok end,
    ?assertEqual(lost, pitcrew_nif:reply(Channel, Ref, #{})),
    ?assertEqual(lost, told(Channel)).

poisons(#{slots := Slots, worker := Worker}, Text) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call_json(Channel, Ref, <<"[]">>),
    _ = receive_text(Worker),
    send_text(Worker, Text),
    lost(Channel, Ref).

packed_to_json(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call_json(Channel, Ref, <<"[]">>),
    _ = receive_text(Worker),
    worker_send(Worker, [?REPLY, 1, 0, true]),
    lost(Channel, Ref).

json_to_packed(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [_, 1 | _] = worker_recv(Worker),
    send_text(Worker, <<"[4,1,0,true]">>),
    lost(Channel, Ref).
