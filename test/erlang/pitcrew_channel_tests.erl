%% The NIF's channel with a worker played by this test: the state machine of docs/protocol.md section 3 in a real VM,
%% over a real socket, without Python.
-module(pitcrew_channel_tests).
-include_lib("eunit/include/eunit.hrl").
-export([in_a_room/1, claim/1, call/3, await/2, told/1, worker_recv/1, worker_send/2, nothing_in_the_mailbox/0]).
-export([accept/1, open_room/1, close_room/1, wait_until/1]).

-define(OPTS, #{}).
-define(CALL, 3).
-define(REPLY, 4).
-define(ERROR, 5).

channel_test_() ->
    %% Each in a process of its own: a handle's rights belong to the process that made it, and its mailbox is looked at.
    [{atom_to_list(Name), fun() -> in_a_room(Fun) end}
      || {Name, Fun} <- [
          {a_call_goes_round, fun a_call_goes_round/1},
          {an_error_frame_is_a_fault, fun an_error_frame_is_a_fault/1},
          {an_unencodable_argument_keeps_the_slot, fun an_unencodable_argument_keeps_the_slot/1},
          {a_large_argument_is_let_go, fun a_large_argument_is_let_go/1},
          {a_frame_in_single_bytes, fun a_frame_in_single_bytes/1},
          {large_frames_both_ways, fun large_frames_both_ways/1},
          {a_late_answer_is_dropped, fun a_late_answer_is_dropped/1},
          {a_future_answer_is_a_violation, fun a_future_answer_is_a_violation/1},
          {an_unknown_kind_is_refused_and_the_call_goes_on, fun an_unknown_kind_is_refused_and_the_call_goes_on/1},
          {a_worker_that_only_sends_strays_is_given_up, fun a_worker_that_only_sends_strays_is_given_up/1},
          {undecodable_value_leaves_the_channel_usable, fun undecodable_value_leaves_the_channel_usable/1},
          {segments_that_are_not_there, fun segments_that_are_not_there/1},
          {segments_that_are_named_wrongly, fun segments_that_are_named_wrongly/1},
          {end_of_file_waits_for_the_verdict, fun end_of_file_waits_for_the_verdict/1},
          {the_verdict_comes_without_end_of_file, fun the_verdict_comes_without_end_of_file/1},
          {abandon_cuts_the_call, fun abandon_cuts_the_call/1},
          {abandon_after_a_verdict_says_so, fun abandon_after_a_verdict_says_so/1},
          {caller_death_with_a_call_cuts, fun caller_death_with_a_call_cuts/1},
          {a_call_is_adopted, fun a_call_is_adopted/1},
          {half_an_answer_is_adopted, fun half_an_answer_is_adopted/1},
          {a_frame_in_the_outbox_is_adopted, fun a_frame_in_the_outbox_is_adopted/1},
          {an_adopted_call_is_given_up, fun an_adopted_call_is_given_up/1},
          {an_adopted_call_gets_a_verdict, fun an_adopted_call_gets_a_verdict/1},
          {only_what_was_told_is_adopted, fun only_what_was_told_is_adopted/1},
          {a_wish_ends_with_the_claim, fun a_wish_ends_with_the_claim/1},
          {caller_death_without_a_call_frees, fun caller_death_without_a_call_frees/1},
          {only_the_owner_may_call, fun only_the_owner_may_call/1},
          {only_the_controller_may_close, fun only_the_controller_may_close/1},
          {a_peer_that_is_gone_before_the_call, fun a_peer_that_is_gone_before_the_call/1},
          {controller_death_is_a_verdict, fun controller_death_is_a_verdict/1},
          {an_answer_within_the_poll_needs_no_message, fun an_answer_within_the_poll_needs_no_message/1},
          {after_a_poll_in_vain_a_message_comes, fun after_a_poll_in_vain_a_message_comes/1},
          {half_an_answer_within_the_poll, fun half_an_answer_within_the_poll/1},
          {an_end_of_file_within_the_poll, fun an_end_of_file_within_the_poll/1},
          {a_verdict_after_the_poll, fun a_verdict_after_the_poll/1},
          {abandon_after_the_poll, fun abandon_after_the_poll/1}
      ]].

in_a_room(Fun) ->
    case in_another_process(fun() ->
        Room = setup(),
        exit(try {result, Fun(Room)}
             catch Class:Reason:Trace -> {raised, Class, Reason, Trace}
             after close_room(Room)
             end)
    end) of
        {result, _} -> ok;
        {raised, Class, Reason, Trace} -> erlang:raise(Class, Reason, Trace)
    end.

%% One slot and its worker.
setup() ->
    Room = #{ends := [{Worker, Channel}]} = open_room(1),
    Room#{worker => Worker, channel => Channel}.

%% So many slots, and for each the worker's end and ours.
open_room(Size) ->
    Dir = filename:join("/tmp", "pitcrew-test-" ++ integer_to_list(erlang:unique_integer([positive])) ++ os:getpid()),
    ok = file:make_dir(Dir),
    Path = filename:join(Dir, "s"),
    {ok, Listener} = pitcrew_nif:listen(Path),
    Slots = pitcrew_nif:slots_new(Size, lifo, self()),
    Ends = [open_end(Listener, Path, Slots, Index) || Index <- lists:seq(0, Size - 1)],
    #{dir => Dir, path => Path, listener => Listener, slots => Slots, ends => Ends}.

open_end(Listener, Path, Slots, Index) ->
    Worker = connect(Path),
    {ok, Channel, #{pid := _, uid := _}} = accept(Listener),
    ok = pitcrew_nif:slots_install(Slots, Index, Channel),
    {Worker, Channel}.

close_room(#{dir := Dir, path := Path, listener := Listener, slots := Slots, ends := Ends}) ->
    [gen_tcp:close(Worker) || {Worker, _} <- Ends],
    [pitcrew_nif:slots_remove(Slots, Index) || Index <- lists:seq(0, length(Ends) - 1)],
    [pitcrew_nif:channel_close(Channel) || {_, Channel} <- Ends],
    pitcrew_nif:close_listener(Listener),
    file:delete(Path),
    file:del_dir(Dir).

%% Every native handle of a test is gone when the process that held it is.
leak_test() ->
    Before = pitcrew_nif:live(),
    {_, Ref} = spawn_monitor(fun() ->
        S = setup(),
        a_call_goes_round(S),
        close_room(S)
    end),
    receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end,
    wait_until(fun() -> pitcrew_nif:live() =:= Before end).

%% A process that dies with everything open leaves nothing either.
leak_of_the_killed_test() ->
    Before = pitcrew_nif:live(),
    Self = self(),
    {Pid, Ref} = spawn_monitor(fun() ->
        S = #{slots := Slots} = setup(),
        {ok, Channel, 0} = pitcrew_nif:claim(Slots),
        {ok, _} = pitcrew_nif:call(Channel, make_ref(), <<"t">>, [], nil, nil, ?OPTS, 1000, 0, infinity),
        Self ! {ready, maps:get(dir, S)},
        receive never -> ok end
    end),
    Dir = receive {ready, D} -> D end,
    exit(Pid, kill),
    receive {'DOWN', Ref, process, _, _} -> ok end,
    wait_until(fun() -> pitcrew_nif:live() =:= Before end),
    file:delete(filename:join(Dir, "s")),
    file:del_dir(Dir).

connect(Path) ->
    {ok, Socket} = gen_tcp:connect({local, Path}, 0, [binary, {packet, raw}, {active, false}]),
    Socket.

accept(Listener) ->
    Ref = make_ref(),
    case pitcrew_nif:accept(Listener, Ref) of
        again -> receive {select, Listener, Ref, ready_input} -> accept(Listener) end;
        Accepted -> Accepted
    end.

%% ---- the worker's side

worker_recv(Socket) ->
    {ok, <<Length:32>>} = gen_tcp:recv(Socket, 4, 5000),
    {ok, Payload} = gen_tcp:recv(Socket, Length, 5000),
    {ok, Frame} = pitcrew_nif:decode(Payload, ?OPTS),
    Frame.

frame(Frame) ->
    {ok, Payload} = pitcrew_nif:encode(Frame, ?OPTS),
    <<(byte_size(Payload)):32, Payload/binary>>.

worker_send(Socket, Frame) -> ok = gen_tcp:send(Socket, frame(Frame)).

%% ---- the caller's side

claim(Slots) ->
    {ok, Channel, 0} = pitcrew_nif:claim(Slots),
    Channel.

call(Channel, Ref, Args) -> pitcrew_nif:call(Channel, Ref, <<"tool">>, Args, nil, nil, ?OPTS, 1 bsl 30, 0, infinity).

call_polling(Channel, Ref, SpinNs) -> pitcrew_nif:call(Channel, Ref, <<"tool">>, [], nil, nil, ?OPTS, 1 bsl 30, SpinNs, infinity).

%% The first call on a channel has the id 1, so its answer can be there before it.
answer_ahead(Worker) -> worker_send(Worker, [?REPLY, 1, 0, <<"ahead">>]).

await(Channel, Ref) ->
    receive
        {select, Channel, Ref, _} -> read(Channel, Ref);
        {pitcrew_verdict, Ref, Reason, Owed} ->
            selects(Ref, Owed),
            {verdict, Reason}
    after 5000 -> timeout
    end.

read(Channel, Ref) ->
    case pitcrew_nif:reply(Channel, Ref, ?OPTS) of
        again -> await(Channel, Ref);
        lost -> await(Channel, Ref);
        Result -> Result
    end.

%% So many select messages are there, or about to come; no more.
selects(_, 0) -> ok;
selects(Ref, N) ->
    receive {select, _, Ref, _} -> selects(Ref, N - 1)
    after 5000 -> error({select_messages_missing, N})
    end.

settle({owed, N, Outcome}, Ref) ->
    selects(Ref, N),
    Outcome;
settle(Outcome, _) ->
    Outcome.

told(Channel) -> receive {pitcrew_channel, Channel, Why} -> Why after 5000 -> nothing end.

nothing_in_the_mailbox() -> ?assertEqual([], element(2, process_info(self(), messages))).

%% ---- tests

a_call_goes_round(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    Ref = make_ref(),
    {ok, Bytes} = call(Channel, Ref, [1, <<"two">>, {3, atom}]),
    [?CALL, Id, <<"tool">>, [1, <<"two">>, {3, atom}], nil, nil, nil] = worker_recv(Worker),
    ?assert(Bytes > 10),
    worker_send(Worker, [?REPLY, Id, 1234, #{<<"a">> => [1.5]}]),
    ?assertMatch({reply, 1234, _, #{<<"a">> := [1.5]}}, await(Channel, Ref)),
    ?assertEqual(ok, pitcrew_nif:checkin(Channel)),
    ?assertMatch(#{free := 1, installed := 1, size := 1}, pitcrew_nif:slots_info(Slots)),
    nothing_in_the_mailbox().

an_error_frame_is_a_fault(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [?CALL, Id | _] = worker_recv(Worker),
    worker_send(Worker, [?ERROR, Id, 7, #{<<"kind">> => <<"tool_error">>}, <<"more, from a later version">>]),
    ?assertMatch({fault, 7, _, #{<<"kind">> := <<"tool_error">>}}, await(Channel, Ref)),
    ?assertEqual(ok, pitcrew_nif:checkin(Channel)).

an_unencodable_argument_keeps_the_slot(#{slots := Slots}) ->
    Channel = claim(Slots),
    {error, #{kind := encode_error, path := Path}} = call(Channel, make_ref(), [1, #{<<"x">> => [<<255>>]}]),
    ?assertEqual([args, 1, <<"x">>, 0], Path),
    {error, #{kind := too_big}} =
        pitcrew_nif:call(Channel, make_ref(), <<"t">>, [binary:copy(<<"x">>, 1000)], nil, nil, ?OPTS, 100, 0, infinity),
    ?assertEqual(ok, pitcrew_nif:checkin(Channel)),
    Channel = claim(Slots),
    ok = pitcrew_nif:checkin(Channel).

%% A large argument is sent from where it is; once it is sent, or refused, nothing but its owner keeps it.
a_large_argument_is_let_go(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Large = binary:copy(<<"x">>, 40_000),
    ?assertEqual(1, references(Large)),
    {error, #{kind := too_big}} =
        pitcrew_nif:call(Channel, make_ref(), <<"t">>, [Large, Large], nil, nil, ?OPTS, 60_000, 0, infinity),
    ?assertEqual(1, references(Large)),
    {ok, _} = call(Channel, make_ref(), [Large]),
    ?assertEqual(1, references(Large)),
    [?CALL, _, <<"tool">>, [Large] | _] = worker_recv(Worker).

%% How many hold the memory of a binary of this process.
references(Binary) ->
    garbage_collect(),
    {binary, All} = process_info(self(), binary),
    [References] = lists:usort([N || {_, Size, N} <- All, Size =:= byte_size(Binary)]),
    References.

a_frame_in_single_bytes(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [?CALL, Id | _] = worker_recv(Worker),
    Caller = self(),
    spawn_link(fun() ->
        [ok = gen_tcp:send(Worker, <<B>>) || <<B>> <= frame([?REPLY, Id, 0, <<"done">>])],
        Caller ! sent
    end),
    ?assertMatch({reply, 0, _, <<"done">>}, await(Channel, Ref)),
    receive sent -> ok end,
    ok = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

large_frames_both_ways(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    Large = binary:copy(<<"0123456789abcdef">>, 1 bsl 20),
    Caller = self(),
    Echo = spawn_link(fun() ->
        receive go -> ok end,
        [?CALL, Id, _, [Argument] | _] = worker_recv(Worker),
        worker_send(Worker, [?REPLY, Id, 0, Argument]),
        Caller ! echoed
    end),
    ok = gen_tcp:controlling_process(Worker, Echo),
    {pending, Bytes} = call(Channel, Ref, [Large]),
    ?assert(Bytes > byte_size(Large)),
    Echo ! go,
    {reply, 0, _, Large} = await(Channel, Ref),
    ok = settle(pitcrew_nif:checkin(Channel), Ref),
    receive echoed -> ok end,
    nothing_in_the_mailbox().

a_late_answer_is_dropped(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [?CALL, Id | _] = worker_recv(Worker),
    worker_send(Worker, [?REPLY, Id, 0, first]),
    {reply, 0, _, first} = await(Channel, Ref),
    Ref2 = make_ref(),
    {ok, _} = call(Channel, Ref2, []),
    [?CALL, Id2 | _] = worker_recv(Worker),
    ok = gen_tcp:send(Worker, [frame([?REPLY, Id, 0, again]), frame([?REPLY, Id2, 0, second])]),
    ?assertMatch({reply, 0, _, second}, await(Channel, Ref2)),
    ok = pitcrew_nif:checkin(Channel).

a_future_answer_is_a_violation(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [?CALL, Id | _] = worker_recv(Worker),
    worker_send(Worker, [?REPLY, Id + 1, 0, guess]),
    receive {select, Channel, Ref, _} -> ok end,
    lost = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    ?assertEqual(lost, told(Channel)).

an_unknown_kind_is_refused_and_the_call_goes_on(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [?CALL, Id | _] = worker_recv(Worker),
    ok = gen_tcp:send(Worker, [frame([99, Id, <<"what">>]), frame([?REPLY, Id, 0, fine])]),
    %% The refusal is queued when the reply is already there: an answer before our bytes are out would be a violation.
    ?assertMatch({reply, 0, _, fine}, await(Channel, Ref)),
    ?assertMatch([?ERROR, Id, 0, #{<<"kind">> := <<"unknown_kind">>}], worker_recv(Worker)),
    ok = pitcrew_nif:checkin(Channel).

%% However many turns it takes; an answer begins the count anew.
a_worker_that_only_sends_strays_is_given_up(#{slots := Slots, worker := Worker, channel := Channel}) ->
    Channel = claim(Slots),
    Strays = fun(N) -> ok = gen_tcp:send(Worker, binary:copy(frame([?REPLY, 0, 0, late]), N)) end,
    [
        begin
            Ref = make_ref(),
            {ok, _} = call(Channel, Ref, []),
            [?CALL, Id | _] = worker_recv(Worker),
            [begin Strays(250), again = one_turn(Channel, Ref) end || _ <- lists:seq(1, 4)],
            worker_send(Worker, [?REPLY, Id, 0, fine]),
            ?assertMatch({reply, 0, _, fine}, await(Channel, Ref))
        end
     || _ <- [1, 2]
    ],
    Last = make_ref(),
    {ok, _} = call(Channel, Last, []),
    [begin Strays(250), again = one_turn(Channel, Last) end || _ <- lists:seq(1, 4)],
    Strays(1),
    ?assertEqual(lost, one_turn(Channel, Last)),
    ?assertEqual(lost, told(Channel)).

one_turn(Channel, Ref) ->
    receive {select, Channel, Ref, ready_input} -> pitcrew_nif:reply(Channel, Ref, ?OPTS) after 5000 -> timeout end.

undecodable_value_leaves_the_channel_usable(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    [?CALL, Id | _] = worker_recv(Worker),
    Bad = <<16#94, ?REPLY, Id, 0, 16#c1>>,
    ok = gen_tcp:send(Worker, <<(byte_size(Bad)):32, Bad/binary>>),
    ?assertMatch({error, #{kind := decode_error}}, await(Channel, Ref)),
    ok = pitcrew_nif:checkin(Channel),
    ok = pitcrew_nif:checkin(claim(Slots)).

%% An answer that speaks of shared memory which nobody has sent, of a channel that has such memory or has not.
segments_that_are_not_there(#{path := Path, listener := Listener, slots := Slots, worker := Worker, channel := Channel}) ->
    refused_segments(claim(Slots), Worker),
    ok = pitcrew_nif:slots_remove(Slots, 0),
    Other = connect(Path),
    {ok, Shared, _} = accept(Listener),
    ok = pitcrew_nif:channel_hello(Shared, [1, 0, #{}], false, pitcrew_nif:account_new(1 bsl 30)),
    [1, 0, _] = worker_recv(Other),
    ok = pitcrew_nif:slots_install(Slots, 0, Shared),
    refused_segments(claim(Slots), Other),
    gen_tcp:close(Other),
    ok = pitcrew_nif:slots_remove(Slots, 0),
    ok = pitcrew_nif:channel_close(Shared),
    ?assertNotEqual(Channel, Shared).

refused_segments(Channel, Worker) ->
    [begin
         Ref = make_ref(),
         {ok, _} = call(Channel, Ref, []),
         [?CALL, Id | _] = worker_recv(Worker),
         Answer = answer_with(Id, Value, footer([Name])),
         ok = gen_tcp:send(Worker, <<(byte_size(Answer)):32, Answer/binary>>),
         ?assertMatch({error, #{kind := decode_error, message := <<"a segment of shared memory that is not ", _/binary>>}}, await(Channel, Ref))
     end || Name <- [name(0, 1), name(63, 1), name(64, 1), name(16#ffffffff, 16#ffffffff)],
            Value <- [segment(Kind, Name) || Kind <- [0, 1, 2, 3, 255]] ++ [segment(0, name(5, 5)), <<16#c7, 3, 15, 0, 1, 2>>]],
    ok = pitcrew_nif:checkin(Channel).

name(Index, Generation) -> <<Index:32, Generation:32, 65536:64>>.
segment(Kind, Name) -> <<16#c7, 17, 15, Kind, Name/binary>>.
footer(Names) -> <<16#c6, (16 * length(Names)):32, (iolist_to_binary(Names))/binary, 16#ce, (length(Names)):32>>.
answer_with(Id, Value, Footer) -> <<16#97, ?REPLY, Id, 0, Value/binary, 16#ce, 0:32, Footer/binary>>.

segments_that_are_named_wrongly(#{path := Path, listener := Listener}) ->
    [begin
         Worker = connect(Path),
         {ok, Channel, _} = accept(Listener),
         Slots = pitcrew_nif:slots_new(1, lifo, self()),
         ok = pitcrew_nif:slots_install(Slots, 0, Channel),
         Claimed = claim(Slots),
         Ref = make_ref(),
         {ok, _} = call(Claimed, Ref, []),
         [?CALL, Id | _] = worker_recv(Worker),
         Answer = answer_with(Id, <<16#c0>>, Footer),
         ok = gen_tcp:send(Worker, <<(byte_size(Answer)):32, Answer/binary>>),
         receive {select, Claimed, Ref, _} -> ok end,
         ?assertEqual({Footer, lost}, {Footer, pitcrew_nif:reply(Claimed, Ref, ?OPTS)}),
         ?assertEqual(lost, told(Claimed)),
         gen_tcp:close(Worker),
         ok = pitcrew_nif:slots_remove(Slots, 0),
         ok = pitcrew_nif:channel_close(Claimed)
     end || Footer <- [<<>>, <<16#c0, 16#c0>>, footer([]), <<16#c6, 16:32, 16#ce, 1:32>>, <<16#c6, 0:32, 16#ce, 16#ffffffff:32>>,
                       footer([name(0, 1) || _ <- lists:seq(1, 65)]), <<16#c5, 16:16, (name(0, 1))/binary, 16#ce, 1:32>>]].

end_of_file_waits_for_the_verdict(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    gen_tcp:close(Worker),
    receive {select, Channel, Ref, ready_input} -> ok end,
    ?assertEqual(lost, pitcrew_nif:reply(Channel, Ref, ?OPTS)),
    ?assertEqual(lost, told(Channel)),
    ok = pitcrew_nif:verdict(Channel, {exit, {signal, sigkill}}),
    ?assertEqual({verdict, {exit, {signal, sigkill}}}, await(Channel, Ref)),
    _ = pitcrew_nif:checkin(Channel),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    nothing_in_the_mailbox().

the_verdict_comes_without_end_of_file(#{slots := Slots, channel := Channel}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    ok = pitcrew_nif:verdict(Channel, gone),
    ok = pitcrew_nif:verdict(Channel, twice),
    ok = pitcrew_nif:channel_close(Channel),
    ?assertEqual({verdict, gone}, await(Channel, Ref)),
    nothing_in_the_mailbox().

abandon_cuts_the_call(#{slots := Slots}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    ?assertEqual(poisoned, pitcrew_nif:abandon(Channel, Ref)),
    ?assertEqual(cut, told(Channel)),
    ok = pitcrew_nif:verdict(Channel, late),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    nothing_in_the_mailbox().

abandon_after_a_verdict_says_so(#{slots := Slots}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    ok = pitcrew_nif:verdict(Channel, first),
    ?assertEqual(verdict, pitcrew_nif:abandon(Channel, Ref)),
    receive {pitcrew_verdict, Ref, first, 0} -> ok after 5000 -> error(no_verdict) end,
    nothing_in_the_mailbox().

in_another_process(Fun) ->
    {Pid, Monitor} = spawn_monitor(Fun),
    receive {'DOWN', Monitor, process, Pid, Reason} -> Reason end.

caller_death_with_a_call_cuts(#{slots := Slots, channel := Channel}) ->
    died = in_another_process(fun() ->
        C = claim(Slots),
        {ok, _} = call(C, make_ref(), []),
        exit(died)
    end),
    ?assertEqual(cut, told(Channel)),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)).

%% A caller that wants its call to be finished, and dies of it.
dies_in_a_call(Slots, Args) ->
    died = in_another_process(fun() ->
        C = claim(Slots),
        ok = pitcrew_nif:finish(C),
        {_, _} = call(C, make_ref(), Args),
        exit(died)
    end).

adopt(Channel) ->
    ?assertEqual(adopt, told(Channel)),
    Ref = make_ref(),
    ok = pitcrew_nif:adopt(Channel, Ref),
    Ref.

a_call_is_adopted(#{slots := Slots, worker := Worker, channel := Channel}) ->
    dies_in_a_call(Slots, []),
    Ref = adopt(Channel),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    again = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    [?CALL, Id | _] = worker_recv(Worker),
    ?assertMatch(#{call_id := Id, phase := waiting, flags := []}, pitcrew_nif:channel_info(Channel)),
    worker_send(Worker, [?REPLY, Id, 0, <<"for nobody">>]),
    ?assertEqual(dropped, await(Channel, Ref)),
    ok = pitcrew_nif:checkin(Channel),
    a_call_goes_round(#{slots => Slots, worker => Worker}).

half_an_answer_is_adopted(#{slots := Slots, worker := Worker, channel := Channel}) ->
    <<Half:7/binary, Rest/binary>> = frame([?REPLY, 1, 0, <<"in two parts">>]),
    Self = self(),
    {Caller, Monitor} = spawn_monitor(fun() ->
        C = claim(Slots),
        ok = pitcrew_nif:finish(C),
        Ref = make_ref(),
        {ok, _} = call(C, Ref, []),
        ok = receive {select, C, Ref, _} -> ok end,
        again = pitcrew_nif:reply(C, Ref, ?OPTS),
        Self ! half_read,
        receive never -> ok end
    end),
    ok = gen_tcp:send(Worker, Half),
    receive half_read -> exit(Caller, kill) end,
    receive {'DOWN', Monitor, process, _, killed} -> ok end,
    Adopted = adopt(Channel),
    again = pitcrew_nif:reply(Channel, Adopted, ?OPTS),
    ?assertMatch(#{phase := reading}, pitcrew_nif:channel_info(Channel)),
    ok = gen_tcp:send(Worker, Rest),
    ?assertEqual(dropped, await(Channel, Adopted)),
    ok = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

a_frame_in_the_outbox_is_adopted(#{slots := Slots, worker := Worker, channel := Channel}) ->
    Large = binary:copy(<<"0123456789abcdef">>, 1 bsl 18),
    dies_in_a_call(Slots, [Large]),
    Ref = adopt(Channel),
    Echo = spawn_link(fun() ->
        receive go -> ok end,
        [?CALL, Id, _, [Large] | _] = worker_recv(Worker),
        worker_send(Worker, [?REPLY, Id, 0, Large])
    end),
    ok = gen_tcp:controlling_process(Worker, Echo),
    again = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    Echo ! go,
    ?assertEqual(dropped, await(Channel, Ref)),
    ok = settle(pitcrew_nif:checkin(Channel), Ref),
    nothing_in_the_mailbox().

an_adopted_call_is_given_up(#{slots := Slots, channel := Channel}) ->
    dies_in_a_call(Slots, []),
    Ref = adopt(Channel),
    again = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    poisoned = pitcrew_nif:abandon(Channel, Ref),
    ?assertEqual(cut, told(Channel)),
    ?assertEqual(busy, pitcrew_nif:claim(Slots)),
    nothing_in_the_mailbox().

an_adopted_call_gets_a_verdict(#{slots := Slots, channel := Channel}) ->
    dies_in_a_call(Slots, []),
    Ref = adopt(Channel),
    again = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    ok = pitcrew_nif:verdict(Channel, gone),
    ?assertEqual({verdict, gone}, await(Channel, Ref)),
    nothing_in_the_mailbox().

only_what_was_told_is_adopted(#{slots := Slots, channel := Channel}) ->
    poisoned = pitcrew_nif:adopt(Channel, make_ref()),
    dies_in_a_call(Slots, []),
    {error, not_owner} = in_another_process(fun() -> exit(pitcrew_nif:adopt(Channel, make_ref())) end),
    badarg = in_another_process(fun() -> exit(try pitcrew_nif:finish(Channel) catch error:E -> E end) end),
    ?assertEqual(adopt, told(Channel)),
    %% It was condemned meanwhile.
    ok = pitcrew_nif:verdict(Channel, gone),
    poisoned = pitcrew_nif:adopt(Channel, make_ref()),
    nothing_in_the_mailbox().

a_wish_ends_with_the_claim(#{slots := Slots, worker := Worker, channel := Channel}) ->
    Channel = claim(Slots),
    ok = pitcrew_nif:finish(Channel),
    ok = pitcrew_nif:checkin(Channel),
    a_call_goes_round(#{slots => Slots, worker => Worker}),
    died = in_another_process(fun() ->
        C = claim(Slots),
        {ok, _} = call(C, make_ref(), []),
        exit(died)
    end),
    ?assertEqual(cut, told(Channel)).

caller_death_without_a_call_frees(#{slots := Slots}) ->
    died = in_another_process(fun() -> claim(Slots), exit(died) end),
    wait_until(fun() -> maps:get(free, pitcrew_nif:slots_info(Slots)) =:= 1 end),
    nothing_in_the_mailbox().

only_the_owner_may_call(#{slots := Slots}) ->
    Channel = claim(Slots),
    badarg = in_another_process(fun() -> exit(try call(Channel, make_ref(), []) catch error:E -> E end) end),
    badarg = in_another_process(fun() -> exit(try pitcrew_nif:checkin(Channel) catch error:E -> E end) end),
    ok = pitcrew_nif:checkin(Channel).

only_the_controller_may_close(#{channel := Channel}) ->
    Self = self(),
    normal = in_another_process(fun() ->
        Self ! {results, pitcrew_nif:channel_close(Channel), pitcrew_nif:verdict(Channel, x), pitcrew_nif:channel_recv(Channel, make_ref())}
    end),
    Error = {error, not_owner},
    receive {results, A, B, C} -> ?assertEqual([Error, Error, Error], [A, B, C]) end.

a_peer_that_is_gone_before_the_call(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    gen_tcp:close(Worker),
    ?assertEqual(poisoned, call(Channel, make_ref(), [])),
    ?assertEqual(lost, told(Channel)),
    ?assertEqual(poisoned, pitcrew_nif:checkin(Channel)),
    nothing_in_the_mailbox().

controller_death_is_a_verdict(#{listener := Listener, path := Path}) ->
    Worker = connect(Path),
    {ok, Channel, _} = accept(Listener),
    Self = self(),
    Slots = pitcrew_nif:slots_new(1, lifo, self()),
    {Controller, Monitor} = spawn_monitor(fun() ->
        receive yours -> ok end,
        ok = pitcrew_nif:slots_install(Slots, 0, Channel),
        Self ! installed,
        receive stop -> ok end
    end),
    ok = pitcrew_nif:channel_give(Channel, Controller),
    {error, not_owner} = pitcrew_nif:channel_close(Channel),
    Controller ! yours,
    receive installed -> ok end,
    {ok, Channel, 0} = pitcrew_nif:claim(Slots),
    Ref = make_ref(),
    {ok, _} = call(Channel, Ref, []),
    Controller ! stop,
    receive {'DOWN', Monitor, process, _, _} -> ok end,
    ?assertEqual({verdict, noproc}, await(Channel, Ref)),
    %% The controller's death closed the descriptor too.
    [?CALL | _] = worker_recv(Worker),
    ?assertEqual({error, closed}, gen_tcp:recv(Worker, 1, 5000)),
    pitcrew_nif:slots_remove(Slots, 0),
    nothing_in_the_mailbox().

wait_until(Condition) -> wait_until(Condition, erlang:monotonic_time(millisecond) + 5000).
wait_until(Condition, Deadline) ->
    erlang:garbage_collect(),
    case Condition() of
        true -> ok;
        false ->
            ?assert(erlang:monotonic_time(millisecond) < Deadline),
            erlang:yield(),
            wait_until(Condition, Deadline)
    end.

%% ---- with a poll

an_answer_within_the_poll_needs_no_message(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    answer_ahead(Worker),
    {ready, _} = call_polling(Channel, Ref, 100_000),
    ?assertMatch({reply, 0, _, <<"ahead">>}, read(Channel, Ref)),
    ok = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

after_a_poll_in_vain_a_message_comes(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    [begin
         Ref = make_ref(),
         {ok, _} = call_polling(Channel, Ref, 1000),
         [?CALL, Id | _] = worker_recv(Worker),
         worker_send(Worker, [?REPLY, Id, 0, N]),
         ?assertMatch({reply, 0, _, N}, await(Channel, Ref))
     end || N <- lists:seq(1, 20)],
    ok = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

half_an_answer_within_the_poll(#{slots := Slots, worker := Worker}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    <<Half:7/binary, Rest/binary>> = frame([?REPLY, 1, 0, <<"in two parts">>]),
    ok = gen_tcp:send(Worker, Half),
    %% The half is there; that it is no whole answer shows while the poll goes on.
    case call_polling(Channel, Ref, 100_000) of
        {ok, _} -> ok;
        {ready, _} -> again = pitcrew_nif:reply(Channel, Ref, ?OPTS)
    end,
    ok = gen_tcp:send(Worker, Rest),
    ?assertMatch({reply, 0, _, <<"in two parts">>}, await(Channel, Ref)),
    ok = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

an_end_of_file_within_the_poll(#{slots := Slots, worker := Worker, channel := Channel}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    ok = gen_tcp:shutdown(Worker, write),
    {ready, _} = call_polling(Channel, Ref, 100_000),
    lost = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    ?assertEqual(lost, told(Channel)),
    ok = pitcrew_nif:verdict(Channel, gone),
    ?assertEqual({verdict, gone}, await(Channel, Ref)),
    _ = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

a_verdict_after_the_poll(#{slots := Slots, worker := Worker, channel := Channel}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    answer_ahead(Worker),
    {ready, _} = call_polling(Channel, Ref, 100_000),
    ok = pitcrew_nif:verdict(Channel, condemned),
    poisoned = pitcrew_nif:reply(Channel, Ref, ?OPTS),
    receive {pitcrew_verdict, Ref, Reason, Owed} -> ?assertEqual({condemned, 0}, {Reason, Owed}) after 5000 -> error(no_verdict) end,
    _ = pitcrew_nif:checkin(Channel),
    nothing_in_the_mailbox().

abandon_after_the_poll(#{slots := Slots, worker := Worker, channel := Channel}) ->
    Channel = claim(Slots),
    Ref = make_ref(),
    answer_ahead(Worker),
    {ready, _} = call_polling(Channel, Ref, 100_000),
    ?assertEqual(poisoned, pitcrew_nif:abandon(Channel, Ref)),
    ?assertEqual(cut, told(Channel)),
    nothing_in_the_mailbox().
