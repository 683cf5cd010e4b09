%% Lanes with a worker played by this test, which does what no worker should: docs/protocol.md section 3 says what becomes of the calls. In a real VM,
%% over a real socket, with the real reader, without Python. Pipelined workers have three calls then, and a slot that was lent has one.
-module(pitcrew_lane_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_channel_tests, [accept/1, told/1, worker_recv/1, worker_send/2, wait_until/1]).

-define(OPTS, #{}).
-define(MAX_FRAME, 100_000).
-define(CALL, 3).
-define(REPLY, 4).
-define(ERROR, 5).

%% ---- What is heard and does no harm: every call gets its own answer

harmless_test_() ->
    [
        on_a(Kind, Name, fun(Room) -> harmless(Room, Script) end)
     || {Name, Script} <- harmless(), Kind <- [pipelined, lent]
    ].

%% What the worker sends for the calls with these ids.
harmless() ->
    [
        {"answers", fun(Ids) -> [answer(Id) || Id <- Ids] end},
        {"answers that come out of turn", fun(Ids) -> [answer(Id) || Id <- lists:reverse(Ids)] end},
        {"every answer twice", fun(Ids) -> [[answer(Id), answer(Id)] || Id <- Ids] end},
        {"all answers once more", fun(Ids) -> [answer(Id) || Id <- Ids ++ Ids] end},
        {"an id that was never used", fun(Ids) -> [answer(0) | [answer(Id) || Id <- Ids]] end},
        {"the id of an earlier call", fun(Ids) -> [answer(hd(Ids) - 1) | [answer(Id) || Id <- Ids]] end},
        {"an old id in another format", fun(Ids) -> [json(4, 0, <<"1">>) | [answer(Id) || Id <- Ids]] end},
        {"more fields", fun(Ids) -> [frame([?REPLY, Id, 17, answer_of(Id), new, [field]]) || Id <- Ids] end},
        {"single bytes", fun(Ids) -> [[<<Byte>> || <<Byte>> <= answer(Id)] || Id <- Ids] end},
        {"an answer and its neighbours in pieces", fun(Ids) ->
            All = iolist_to_binary([answer(Id) || Id <- Ids]),
            [binary:part(All, At, min(7, byte_size(All) - At)) || At <- lists:seq(0, byte_size(All) - 1, 7)]
        end}
    ].

harmless(#{worker := Worker, reader := Reader} = Room, Script) ->
    {Refs, Ids} = three_calls(Room),
    send_each(Worker, Script(Ids)),
    [own_answer(Ref, Id) || {Ref, Id} <- lists:zip(Refs, Ids)],
    goes_round(Room),
    ?assertEqual(ok, pitcrew_test:until(fun() -> is_idle(Room) end)),
    wait_until(fun() -> process_info(Reader, message_queue_len) =:= {message_queue_len, 0} end).

%% A value that cannot be decoded is the end of its own call only.
wrong_values_test_() ->
    [
        on_a(Kind, Name, fun(#{worker := Worker} = Room) ->
            {[First | Rest], [Id | Ids]} = three_calls(Room),
            send_each(Worker, [Wrong(Id) | [answer(I) || I <- Ids]]),
            ?assertMatch({error, #{kind := decode_error}}, ending(First)),
            [own_answer(Ref, I) || {Ref, I} <- lists:zip(Rest, Ids)],
            goes_round(Room)
        end)
     || Kind <- [pipelined, lent],
        {Name, Wrong} <- [
            {"no value of MessagePack's", fun(Id) -> framed(<<16#94, ?REPLY, Id, 0, 16#c1>>) end},
            {"half a text", fun(Id) -> framed(<<16#94, ?REPLY, Id, 0, 16#d9, 200, "half">>) end}
        ]
    ].

%% A kind that is not known is refused, and the calls go on.
unknown_kinds_test_() ->
    both("unknown kinds", fun(#{worker := Worker} = Room) ->
        {Refs, [Id | _] = Ids} = three_calls(Room),
        Unknown = [[99, Id], [16, 0], [-1, 1 bsl 40, <<"what">>]],
        [
            begin
                worker_send(Worker, Frame),
                ?assertMatch([?ERROR, Repeated, 0, #{<<"kind">> := <<"unknown_kind">>}], worker_recv(Worker))
            end
         || [_, Repeated | _] = Frame <- Unknown
        ],
        ok = gen_tcp:send(Worker, json(99, Id, <<"null">>)),
        {ok, Text} = receive_frame(Worker),
        ?assertMatch({0, _}, binary:match(Text, iolist_to_binary(io_lib:format("[5,~b,0,{\"kind\":\"unknown_kind\"", [Id])))),
        send_each(Worker, [answer(I) || I <- Ids]),
        [own_answer(Ref, I) || {Ref, I} <- lists:zip(Refs, Ids)],
        goes_round(Room)
    end).

%% ---- Functions

gone_functions_test_() ->
    both("functions of calls that have none, or are not there", fun(#{worker := Worker} = Room) ->
        {Refs, [Id | _] = Ids} = three_calls(Room),
        [
            begin
                worker_send(Worker, [?CALL, Own, [Of, 0], [[], nil]]),
                ?assertMatch([?ERROR, Own, 0, #{<<"kind">> := <<"gone">>}], worker_recv(Worker))
            end
         || {Own, Of} <- [{1, Id}, {2, Id + 100}, {3, 0}, {1 bsl 63, Id}]
        ],
        %% In JSON it is a kind like any other that is not known.
        ok = gen_tcp:send(Worker, json(?CALL, 9, <<"null">>)),
        {ok, Text} = receive_frame(Worker),
        ?assertMatch({0, _}, binary:match(Text, <<"[5,9,0,{\"kind\":\"unknown_kind\"">>)),
        send_each(Worker, [answer(I) || I <- Ids]),
        [own_answer(Ref, I) || {Ref, I} <- lists:zip(Refs, Ids)],
        goes_round(Room)
    end).

%% ---- Violations: nothing that follows is believed, and the calls that were out end with the verdict

violations_test_() ->
    [
        on_a(Kind, Name, fun(Room) -> violation(Room, Bad) end)
     || {Name, Bad} <- violations(), Kind <- [pipelined, published, lent]
    ].

%% What the worker sends when the next call is this one.
violations() ->
    [
        {"an id that is newer than any", fun(_) -> answer(100) end},
        {"a huge id", fun(_) -> answer(1 bsl 64 - 1) end},
        {"the other format", fun(Id) -> json(4, Id, <<"1">>) end},
        {"an answer without python_ns", fun(Id) -> frame([?REPLY, Id]) end},
        {"an answer without a value", fun(Id) -> framed(<<16#94, ?REPLY, Id, 0>>) end},
        {"a time that is none", fun(Id) -> frame([?REPLY, Id, <<"soon">>, value]) end},
        {"an error without its map", fun(Id) -> frame([?ERROR, Id, 0]) end},
        {"an empty frame", fun(_) -> framed(<<>>) end},
        {"no array", fun(Id) -> frame(#{?REPLY => Id}) end},
        {"nothing in an array", fun(_) -> frame([]) end},
        {"no id", fun(_) -> frame([?REPLY]) end},
        {"an id that is a text", fun(_) -> frame([?REPLY, <<"1">>, 0, value]) end},
        {"an id below zero", fun(_) -> frame([?REPLY, -1, 0, value]) end},
        {"a kind that is a text", fun(Id) -> frame([<<"reply">>, Id, 0, value]) end},
        {"an array that is longer than its frame", fun(Id) -> framed(<<16#dd, 255, 255, 255, 255, ?REPLY, Id, 0>>) end},
        {"text that is no frame", fun(_) -> framed(<<"[4;1]">>) end},
        {"an answer in JSON without an end", fun(Id) -> framed(iolist_to_binary(io_lib:format("[4,~b,0,1", [Id]))) end},
        {"garbage", fun(_) -> <<"HTTP/1.1 200 OK\r\n\r\n">> end},
        {"zeros", fun(_) -> <<0:800>> end},
        {"a frame above the limit", fun(_) -> <<(?MAX_FRAME + 1):32>> end},
        {"the largest frame of all", fun(_) -> <<16#ffffffff:32>> end},
        {"a call of a tool", fun(_) -> frame([?CALL, 1, <<"tool">>, [], nil, nil]) end},
        {"a function without a handle", fun(_) -> frame([?CALL, 1]) end},
        {"a handle that is none", fun(Id) -> frame([?CALL, 1, [Id], [[], nil]]) end},
        {"a handle without a number", fun(Id) -> frame([?CALL, 1, [Id, -1], [[], nil]]) end},
        {"more than a thousand calls of nothing", fun(Id) -> binary:copy(frame([?CALL, 1, [Id + 100, 0], [[], nil]]), 1001) end},
        {"more than a thousand unknown kinds", fun(Id) -> binary:copy(frame([99, Id]), 1001) end},
        {"more than a thousand late answers", fun(Id) -> binary:copy(answer(Id - 1), 1001) end}
    ].

%% The first call of a pipelined worker is answered before, and the last one behind the violation.
violation(#{worker := Worker, channel := Channel} = Room, Bad) ->
    {Refs, Ids} = three_calls(Room),
    {Answered, [Next | _] = Out} = lists:split(length(Ids) - max(1, length(Ids) - 1), lists:zip(Refs, Ids)),
    {_, Id} = Next,
    {_, Last} = lists:last(Out),
    _ = gen_tcp:send(Worker, [[answer(I) || {_, I} <- Answered], Bad(Id), answer(Last)]),
    [own_answer(Ref, I) || {Ref, I} <- Answered],
    ?assertEqual(lost, told(Channel)),
    lost(Room, [Ref || {Ref, _} <- Out]).

%% The lane takes no more calls, and waits for the verdict.
lost(#{kind := Kind} = Room, [Ref | _] = Refs) when is_reference(Ref) ->
    %% It published that it had started nothing.
    Expected = case Kind of published -> unstarted; _ -> {exit, {signal, sigkill}} end,
    lost(Room, [{R, Expected} || R <- Refs]);
lost(#{dispatch := Dispatch} = Room, Refs) ->
    Queued = make_ref(),
    queued = submit(Room, Queued, []),
    ?assertMatch(#{lanes := 0, queued := 1, out := N} when N =:= length(Refs), pitcrew_nif:dispatch_info(Dispatch)),
    nothing_has_ended(),
    judge(Room, {signal, sigkill}),
    [?assertEqual(Expected, ending(Ref)) || {Ref, Expected} <- Refs],
    ?assertEqual(queued, pitcrew_nif:leave(Dispatch, Queued, false)),
    nothing_has_ended().

%% Everything that can be cut off: whatever part of an answer came, and then the end.
end_of_file_test_() ->
    [
        on_a(Kind, integer_to_list(At) ++ " bytes of an answer", fun(Room) -> cut_off(Room, At) end)
     || Kind <- [pipelined, published, lent], At <- lists:seq(0, byte_size(answer(1)) - 1)
    ].

cut_off(#{worker := Worker, channel := Channel} = Room, At) ->
    {Refs, [Id | _]} = three_calls(Room),
    <<Part:At/binary, _/binary>> = answer(Id),
    ok = gen_tcp:send(Worker, Part),
    ok = gen_tcp:shutdown(Worker, write),
    ?assertEqual(lost, told(Channel)),
    lost(Room, Refs).

%% An answer, and the end behind it, which nobody waits for.
end_of_file_when_idle_test_() ->
    [
        on_a(Kind, "the end", fun(#{worker := Worker, channel := Channel} = Room) ->
            {Refs, Ids} = three_calls(Room),
            send_each(Worker, [answer(Id) || Id <- Ids]),
            [own_answer(Ref, I) || {Ref, I} <- lists:zip(Refs, Ids)],
            ok = gen_tcp:shutdown(Worker, write),
            ?assertEqual(lost, told(Channel)),
            lost(Room, [])
        end)
     || Kind <- [pipelined, published]
    ].

%% A slot is looked at only when somebody wants it. What was not sent then, as nobody is there, goes elsewhere.
a_dead_slot_is_lent_test_() ->
    on_a(lent, "a dead worker", fun(#{worker := Worker, channel := Channel, dispatch := Dispatch} = Room) ->
        goes_round(Room),
        gen_tcp:close(Worker),
        Ref = make_ref(),
        queued = submit(Room, Ref, []),
        ?assertEqual(lost, told(Channel)),
        ?assertMatch(#{lanes := 0, queued := 0, out := 1}, pitcrew_nif:dispatch_info(Dispatch)),
        nothing_has_ended(),
        judge(Room, {status, 1}),
        ?assertEqual(unstarted, ending(Ref))
    end).

%% Nobody answers what has not arrived.
an_answer_ahead_of_its_call_test_() ->
    both("an answer while the call is still being sent", fun(#{worker := Worker, channel := Channel} = Room) ->
        Ref = make_ref(),
        _ = submit(Room, Ref, [binary:copy(<<"x">>, 10_000_000)]),
        ok = gen_tcp:send(Worker, answer(1)),
        ?assertEqual(lost, told(Channel)),
        lost(Room, [Ref])
    end).

an_answer_to_a_call_that_waits_test_() ->
    on_a(pipelined, "an answer to a call that waits", fun(#{worker := Worker, channel := Channel, reader := Reader} = Room) ->
        goes_round(Room),
        wait_until(fun() -> process_info(Reader, status) =:= {status, waiting} end),
        Refs = [make_ref() || _ <- [1, 2, 3]],
        [ok = submit(Room, Ref, []) || Ref <- Refs],
        %% The worker has enough with two; the third one is sent when the reader has read something.
        [[?CALL, Id | _] = worker_recv(Worker) || Id <- [2, 3]],
        ok = gen_tcp:send(Worker, answer(4)),
        ?assertEqual(lost, told(Channel)),
        %% It is never sent.
        Gone = {exit, {signal, sigkill}},
        lost(Room, lists:zip(Refs, [Gone, Gone, unstarted]))
    end).

%% A slot whose worker does not read the refusals that it has earned is not free before they are out; its reader waits for that.
refusals_that_are_not_read_test_() ->
    on_a(lent, "refusals that are not read", fun(#{worker := Worker, channel := Channel, reader := Reader, slots := Slots} = Room) ->
        Ref = make_ref(),
        queued = submit(Room, Ref, []),
        [?CALL, 1 | _] = worker_recv(Worker),
        Refusals = fill(Room, 0),
        ok = gen_tcp:send(Worker, answer(1)),
        own_answer(Ref, 1),
        wait_until(fun() -> process_info(Reader, status) =:= {status, waiting} end),
        ?assertMatch(#{free := 0}, pitcrew_nif:slots_info(Slots)),
        ?assertMatch(#{phase := pipelined}, pitcrew_nif:channel_info(Channel)),
        [?assertMatch([?ERROR, 1 | _], worker_recv(Worker)) || _ <- lists:seq(1, Refusals)],
        wait_until(fun() -> maps:get(free, pitcrew_nif:slots_info(Slots)) =:= 1 end),
        goes_round(Room)
    end).

%% One frame for each turn of the reader, so that each refusal takes the room of a packet; there is none for so many.
fill(#{worker := Worker, channel := Channel, reader := Reader} = Room, Sent) when Sent < 900 ->
    Frame = frame([99, 1]),
    ok = gen_tcp:send(Worker, Frame),
    wait_until(fun() -> maps:get(bytes_in, pitcrew_nif:channel_info(Channel)) =:= (Sent + 1) * byte_size(Frame) end),
    wait_until(fun() -> process_info(Reader, status) =:= {status, waiting} end),
    fill(Room, Sent + 1);
fill(_, Sent) ->
    Sent.

%% ---- Rooms

both(Name, Fun) -> [on_a(Kind, Name, Fun) || Kind <- [pipelined, lent]].

on_a(Kind, Name, Fun) -> {timeout, 60, {lists:concat([Name, " on a ", Kind, " lane"]), fun() -> in_a_room(Kind, Fun) end}}.

%% In a process of its own, which is the worker's process and the caller in one; a leak gate around it.
in_a_room(Kind, Fun) ->
    pitcrew_test:gated(fun(Base) ->
        {Pid, Monitor} = spawn_monitor(fun() ->
            process_flag(trap_exit, true),
            Room = open_room(Kind, Base),
            Outcome = try {result, Fun(Room)} catch Class:Reason:Trace -> {raised, Class, Reason, Trace} end,
            close_room(Room),
            exit(Outcome)
        end),
        case receive {'DOWN', Monitor, process, Pid, Outcome} -> Outcome end of
            {result, _} -> ok;
            {raised, Class, Reason, Trace} -> erlang:raise(Class, Reason, Trace);
            Other -> error(Other)
        end
    end).

open_room(Kind, Base) ->
    Path = filename:join(Base, "s"),
    {ok, Listener} = pitcrew_nif:listen(Path),
    {ok, Worker} = gen_tcp:connect({local, Path}, 0, [binary, {packet, raw}, {active, false}]),
    {ok, Channel, _} = accept(Listener),
    Reader = pitcrew_reader:start_link(),
    Room = #{kind => Kind, path => Path, listener => Listener, worker => Worker, channel => Channel, reader => Reader},
    Open = open_lane(Kind, Room),
    ok = pitcrew_reader:open(Reader, Channel),
    Open.

open_lane(lent, #{channel := Channel, reader := Reader} = Room) ->
    Slots = pitcrew_nif:slots_new(1, lifo, self()),
    Dispatch = pitcrew_nif:dispatch_new(1, 1, Slots, lifo, self(), ?MODULE),
    ok = pitcrew_nif:lane_attach(Dispatch, 0, 1, Channel, Reader, ?MAX_FRAME, 0),
    ok = pitcrew_nif:slots_install(Slots, 0, Channel),
    Room#{dispatch => Dispatch, slots => Slots};
open_lane(published, #{channel := Channel, worker := Worker} = Room) ->
    ok = pitcrew_nif:channel_hello(Channel, [1, 0, #{}], true, none),
    [1, 0, _] = worker_recv(Worker),
    open_lane(pipelined, Room);
open_lane(pipelined, #{channel := Channel, reader := Reader} = Room) ->
    Dispatch = pitcrew_nif:dispatch_new(4, 1, none, lifo, self(), ?MODULE),
    ok = pitcrew_nif:lane_open(Dispatch, 0, 1, Channel, Reader, ?MAX_FRAME, 0),
    Room#{dispatch => Dispatch}.

close_room(#{path := Path, listener := Listener, worker := Worker, channel := Channel, reader := Reader} = Room) ->
    gen_tcp:close(Worker),
    case Room of
        #{slots := Slots} -> pitcrew_nif:slots_remove(Slots, 0);
        #{} -> ok
    end,
    _ = pitcrew_nif:channel_close(Channel),
    pitcrew_nif:close_listener(Listener),
    _ = file:delete(Path),
    Reader ! {'EXIT', self(), over},
    receive {'EXIT', Reader, normal} -> ok end.

%% ---- The worker's process and its callers

%% Calls that the worker has, and their ids. It is sent the third one when the reader has read something.
three_calls(#{kind := lent} = Room) ->
    calls(Room, 1);
three_calls(Room) ->
    calls(Room, 3).

calls(#{worker := Worker} = Room, N) ->
    Refs = [make_ref() || _ <- lists:seq(1, N)],
    [_ = submit(Room, Ref, [Ref]) || Ref <- Refs],
    _ = N > 1 andalso gen_tcp:send(Worker, answer(0)),
    {Refs, [Id || _ <- Refs, [?CALL, Id | _] <- [worker_recv(Worker)]]}.

%% With a lent slot every call is queued at first.
submit(#{dispatch := Dispatch}, Ref, Args) ->
    pitcrew_nif:submit(Dispatch, Ref, <<"tool">>, Args, nil, nil, ?OPTS, 1 bsl 30, cancel, infinity).

ending(Ref) ->
    receive {pitcrew_end, Ref, _, _, _, Answer} -> Answer after 5000 -> error(no_answer) end.

own_answer(Ref, Id) -> ?assertMatch({reply, 17, _, [<<"answer to">>, Id]}, ending(Ref)).

nothing_has_ended() ->
    {messages, Messages} = process_info(self(), messages),
    ?assertEqual([], [Message || Message <- Messages, element(1, Message) =:= pitcrew_end]).

%% As in pitcrew_worker: what it answered comes first.
judge(#{channel := Channel, reader := Reader}, Reason) ->
    ok = pitcrew_reader:drain(Reader, dead),
    ok = pitcrew_nif:verdict(Channel, Reason).

is_idle(#{kind := lent, slots := Slots}) -> ok_if(#{free => 1}, pitcrew_nif:slots_info(Slots));
is_idle(#{dispatch := Dispatch}) -> ok_if(#{free => 1, out => 0, queued => 0}, pitcrew_nif:dispatch_info(Dispatch)).

ok_if(Expected, Actual) ->
    case maps:with(maps:keys(Expected), Actual) of
        Expected -> ok;
        Other -> Other
    end.

%% One more call, as if nothing had been.
goes_round(#{worker := Worker} = Room) ->
    Ref = make_ref(),
    _ = submit(Room, Ref, [last]),
    [?CALL, Id | _] = worker_recv(Worker),
    ok = gen_tcp:send(Worker, answer(Id)),
    own_answer(Ref, Id).

%% ---- The worker

answer_of(Id) -> [<<"answer to">>, Id].

answer(Id) -> frame([?REPLY, Id, 17, answer_of(Id)]).

frame(Term) ->
    {ok, Payload} = pitcrew_nif:encode(Term, ?OPTS),
    framed(Payload).

json(Kind, Id, Value) -> framed(iolist_to_binary(io_lib:format("[~b,~b,0,~s]", [Kind, Id, Value]))).

framed(Payload) -> <<(byte_size(Payload)):32, Payload/binary>>.

send_each(Worker, Parts) -> [ok = gen_tcp:send(Worker, Part) || Part <- lists:flatten(Parts)].

receive_frame(Worker) ->
    {ok, <<Length:32>>} = gen_tcp:recv(Worker, 4, 5000),
    gen_tcp:recv(Worker, Length, 5000).
