%% The races of a channel in a real VM: two things happen to it at once, over and over, with a worker played by this test. One of
%% them waits a little; how long is learned from which of the two came first, so that the rounds stay where either may. Under a
%% sanitizer (tools/asan) each race is run ten thousand times.
-module(pitcrew_race_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_channel_tests, [accept/1]).

-define(OPTS, #{}).
-define(REPLY, 4).
-define(LONGEST, 10_000_000).

race_test_() ->
    [{Name, {timeout, 600, fun() -> race(Round) end}}
      || {Name, Round} <- [
          {"close against reply", fun close_against_reply/2},
          {"verdict against reply", fun verdict_against_reply/2},
          {"verdict against abandon", fun verdict_against_abandon/2},
          {"verdict against call", fun verdict_against_call/2},
          {"select against cancel", fun select_against_cancel/2},
          {"owner's death against reply and check-in", fun death_against_reply/2},
          {"owner's death against call", fun death_against_call/2},
          {"owner's death against abandon", fun death_against_abandon/2},
          {"owner's death against release", fun death_against_release/2},
          {"owner's death against its controller's", fun death_against_death/2}
      ]].

rounds() ->
    case os:getenv("ASAN_OPTIONS") of
        false -> 2000;
        _ -> 10_000
    end.

%% All rounds in a process of their own, which controls the channels; afterwards nothing is left of them.
race(Round) ->
    Before = {pitcrew_nif:live(), descriptors()},
    {_, Monitor} = spawn_monitor(fun() -> run(Round) end),
    receive {'DOWN', Monitor, process, _, Reason} -> ?assertEqual(normal, Reason) end,
    ?assertEqual(ok, pitcrew_test:until(fun() ->
        case {pitcrew_nif:live(), descriptors()} of
            Before -> ok;
            Now -> {left, Now, Before}
        end
    end)).

run(Round) ->
    Lane = setup(),
    Rounds = rounds(),
    {_, Seconds} = lists:foldl(
        fun(N, {Delay, Seconds}) ->
            case Round(Lane#{large => N rem 8}, rand:uniform(2 * Delay)) of
                first -> {min(Delay + Delay div 16 + 10, ?LONGEST), Seconds};
                second -> {max(Delay - Delay div 16 - 10, 10), Seconds + 1}
            end
        end,
        {1000, 0},
        lists:seq(1, Rounds)
    ),
    %% It would show nothing if the same one had come first each time.
    ?assert(Seconds > 0 andalso Seconds < Rounds),
    nothing_in_the_mailbox(),
    cleanup(Lane).

descriptors() ->
    {ok, Names} = file:list_dir("/proc/self/fd"),
    length(Names).

nothing_in_the_mailbox() -> ?assertEqual([], pitcrew_test:mailbox()).

%% ---- The lane: what all rounds have in common

setup() ->
    Dir = pitcrew_test:base(),
    ok = file:make_dir(Dir),
    Path = filename:join(Dir, "s"),
    {ok, Listener} = pitcrew_nif:listen(Path),
    Controller = self(),
    #{
        dir => Dir,
        path => Path,
        listener => Listener,
        slots => pitcrew_nif:slots_new(1, lifo, self()),
        peer => spawn_link(fun() -> peer(Controller) end),
        caller => spawn_link(fun() -> caller(Controller) end)
    }.

cleanup(#{dir := Dir, path := Path, listener := Listener, peer := Peer, caller := Caller}) ->
    [begin unlink(Pid), kill(Pid) end || Pid <- [Peer, Caller]],
    pitcrew_nif:close_listener(Listener),
    ok = file:delete(Path),
    ok = file:del_dir(Dir).

kill(Pid) ->
    Monitor = monitor(process, Pid),
    exit(Pid, kill),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

open(#{path := Path, listener := Listener}) ->
    {ok, Worker} = gen_tcp:connect({local, Path}, 0, [binary, {packet, raw}, {active, false}]),
    {ok, Channel, _} = accept(Listener),
    {Worker, Channel}.

close(Lane, {Worker, Channel}) ->
    shut(Lane, Channel),
    end_of_file(Worker).

shut(#{slots := Slots}, Channel) ->
    ok = pitcrew_nif:slots_remove(Slots, 0),
    ok = pitcrew_nif:channel_close(Channel).

%% The channel's descriptor is closed: the worker's end sees it, or has seen it when it read the call.
end_of_file(Worker) ->
    {error, Seen} = gen_tcp:recv(Worker, 0, 5000),
    ?assert(Seen =:= closed orelse Seen =:= enotconn),
    gen_tcp:close(Worker).

%% A channel whose call the worker has read: from here on things may happen.
call(#{peer := Peer} = Lane, Caller, Then) ->
    Ends = begin_call(Lane, Caller, arguments(Lane), Then),
    receive {Caller, called} -> ok end,
    receive {Peer, has_read} -> ok end,
    Ends.

begin_call(#{slots := Slots, peer := Peer} = Lane, Caller, Args, Then) ->
    {Worker, Channel} = Ends = open(Lane),
    ok = pitcrew_nif:slots_install(Slots, 0, Channel),
    Peer ! {read, Worker},
    Caller ! {call, Slots, Args, Then},
    Ends.

%% The worker's side of a call that got no answer.
unanswered(#{peer := Peer}) ->
    Peer ! no_answer,
    receive {Peer, has_read} -> ok end.

large_arguments() -> [lists:seq(1, 20_000)].

%% Some calls, and some answers, are so large that they go on on a dirty scheduler.
arguments(#{large := 1}) -> large_arguments();
arguments(_) -> [].

answer(#{large := 2}) -> binary:copy(<<"0123456789abcdef">>, 20_000);
answer(_) -> <<"answer">>.

let_answer(#{peer := Peer} = Lane) ->
    {ok, Payload} = pitcrew_nif:encode([?REPLY, 1, 0, answer(Lane)], ?OPTS),
    Peer ! {answer, <<(byte_size(Payload)):32, Payload/binary>>}.

answered(#{peer := Peer}) -> receive {Peer, has_answered} -> ok end.

peer(Controller) ->
    receive {read, Worker} -> ok end,
    %% In some rounds nothing is sent, or not all of it.
    case gen_tcp:recv(Worker, 4, 5000) of
        {ok, <<Length:32>>} -> _ = gen_tcp:recv(Worker, Length, 5000);
        {error, closed} -> ok
    end,
    Controller ! {self(), has_read},
    receive
        {answer, Frame} ->
            _ = gen_tcp:send(Worker, Frame),
            Controller ! {self(), has_answered};
        no_answer ->
            ok
    end,
    peer(Controller).

busy(0) -> ok;
busy(N) -> busy(N - 1).

told(Channel) -> receive {pitcrew_channel, Channel, Why} -> Why after 5000 -> nothing end.

%% ---- The caller's side, as in pitcrew_slot

caller(Controller) ->
    receive {call, Slots, Args, Then} -> ok end,
    Outcome =
        case pitcrew_nif:claim(Slots) of
            {ok, Channel, 0} -> exchange(Controller, Channel, Args, Then);
            busy -> unsent
        end,
    %% Of this call or of an earlier one, which came late.
    nothing_in_the_mailbox(),
    Controller ! {self(), Outcome},
    caller(Controller).

exchange(Controller, Channel, Args, Then) ->
    Ref = make_ref(),
    case pitcrew_nif:call(Channel, Ref, <<"tool">>, Args, nil, nil, ?OPTS, 1 bsl 30, 0, infinity) of
        {Progress, _} when Progress =:= ok; Progress =:= pending ->
            Controller ! {self(), called},
            conclude(Channel, Ref, Then);
        poisoned ->
            case settle(pitcrew_nif:checkin(Channel), Ref) of
                verdict -> {verdict, _} = await_verdict(Channel, Ref, 0);
                poisoned -> ok
            end,
            unsent
    end.

conclude(Channel, Ref, wait) ->
    await(Channel, Ref);
conclude(Channel, Ref, abandon) ->
    receive {abandon, Delay} -> busy(Delay) end,
    abandon(Channel, Ref, 0).

await(Channel, Ref) ->
    receive
        {select, Channel, Ref, _} ->
            case pitcrew_nif:reply(Channel, Ref, ?OPTS) of
                again -> await(Channel, Ref);
                lost -> await_verdict(Channel, Ref, 0);
                poisoned -> await_verdict(Channel, Ref, 1);
                {reply, 0, _, <<_, _/binary>>} -> checked_in(Channel, Ref)
            end;
        {pitcrew_verdict, Ref, Reason, Owed} ->
            judged(Channel, Ref, Reason, Owed)
    after 5000 -> error(nothing_came)
    end.

await_verdict(Channel, Ref, Taken) ->
    receive {pitcrew_verdict, Ref, Reason, Owed} -> judged(Channel, Ref, Reason, Owed - Taken)
    after 5000 -> error(no_verdict)
    end.

judged(Channel, Ref, Reason, Owed) ->
    selects(Ref, Owed),
    _ = pitcrew_nif:checkin(Channel),
    {verdict, Reason}.

checked_in(Channel, Ref) ->
    {reply, settle(pitcrew_nif:checkin(Channel), Ref)}.

abandon(Channel, Ref, Taken) ->
    case settle(pitcrew_nif:abandon(Channel, Ref), Ref) of
        verdict ->
            receive {pitcrew_verdict, Ref, Reason, Owed} -> selects(Ref, Owed - Taken), {verdict, Reason}
            after 5000 -> error(no_verdict)
            end;
        {Owed, poisoned} ->
            {timeout, Owed};
        poisoned ->
            {timeout, 0}
    end.

settle({owed, N, Outcome}, Ref) ->
    selects(Ref, N),
    {N, Outcome};
settle(Outcome, _) ->
    Outcome.

selects(_, N) when N < 0 -> error(a_message_too_many);
selects(_, 0) -> ok;
selects(Ref, N) ->
    receive {select, _, Ref, _} -> selects(Ref, N - 1)
    after 5000 -> error({select_messages_missing, N})
    end.

%% ---- Rounds: each says whether the one that waited came first or second.

close_against_reply(#{caller := Caller} = Lane, Delay) ->
    {_, Channel} = Ends = call(Lane, Caller, wait),
    let_answer(Lane),
    busy(Delay),
    ok = pitcrew_nif:channel_close(Channel),
    reply_or_verdict(Lane, Ends, closed).

verdict_against_reply(#{caller := Caller} = Lane, Delay) ->
    {_, Channel} = Ends = call(Lane, Caller, wait),
    let_answer(Lane),
    busy(Delay),
    ok = pitcrew_nif:verdict(Channel, {exit, Delay}),
    reply_or_verdict(Lane, Ends, {exit, Delay}).

reply_or_verdict(#{caller := Caller} = Lane, Ends, Reason) ->
    Outcome = receive {Caller, Told} -> Told end,
    answered(Lane),
    close(Lane, Ends),
    case Outcome of
        {verdict, Reason} -> first;
        {reply, ok} -> second;
        {reply, poisoned} -> second
    end.

verdict_against_abandon(#{caller := Caller, peer := Peer} = Lane, Delay) ->
    {_, Channel} = Ends = call(Lane, Caller, abandon),
    Caller ! {abandon, rand:uniform(1000)},
    busy(Delay),
    ok = pitcrew_nif:verdict(Channel, Delay),
    Outcome = receive {Caller, Told} -> Told end,
    Peer ! no_answer,
    case Outcome of
        {verdict, Delay} -> ok;
        {timeout, 0} -> ?assertEqual(cut, told(Channel))
    end,
    close(Lane, Ends),
    case Outcome of
        {verdict, _} -> first;
        _ -> second
    end.

%% While the call is encoded, which goes on on a dirty scheduler.
verdict_against_call(#{caller := Caller} = Lane, Delay) ->
    {Worker, Channel} = begin_call(Lane, Caller, large_arguments(), wait),
    busy(Delay),
    ok = pitcrew_nif:verdict(Channel, Delay),
    Outcome = receive {Caller, Told} when Told =/= called -> Told end,
    shut(Lane, Channel),
    unanswered(Lane),
    end_of_file(Worker),
    case Outcome of
        unsent ->
            first;
        {verdict, Delay} ->
            receive {Caller, called} -> second end
    end.

%% Whether the message of the select was on its way when the caller gave up.
select_against_cancel(#{caller := Caller} = Lane, Delay) ->
    {_, Channel} = Ends = call(Lane, Caller, abandon),
    Caller ! {abandon, Delay},
    let_answer(Lane),
    {timeout, Owed} = receive {Caller, Told} -> Told end,
    answered(Lane),
    ?assertEqual(cut, told(Channel)),
    close(Lane, Ends),
    case Owed of
        0 -> first;
        1 -> second
    end.

death_against_reply(Lane, Delay) ->
    Caller = mortal(),
    {_, Channel} = Ends = call(Lane, Caller, wait),
    let_answer(Lane),
    busy(Delay),
    kill(Caller),
    answered(Lane),
    Which = free_or_cut(Lane, Channel),
    close(Lane, Ends),
    receive {Caller, {reply, ok}} -> ?assertEqual(second, Which)
    after 0 -> ok
    end,
    Which.

%% Either the slot is free again and serves, or the controller is told that a call was cut.
free_or_cut(#{slots := Slots} = Lane, Channel) ->
    receive
        {pitcrew_channel, Channel, cut} ->
            ?assertEqual(busy, pitcrew_nif:claim(Slots)),
            first
    after 0 ->
        case pitcrew_nif:slots_info(Slots) of
            #{free := 1} ->
                {ok, Channel, 0} = pitcrew_nif:claim(Slots),
                ok = pitcrew_nif:checkin(Channel),
                second;
            _ ->
                erlang:yield(),
                free_or_cut(Lane, Channel)
        end
    end.

death_against_call(Lane, Delay) ->
    Caller = mortal(),
    {Worker, Channel} = begin_call(Lane, Caller, large_arguments(), wait),
    busy(Delay),
    kill(Caller),
    _ = free_or_cut(Lane, Channel),
    shut(Lane, Channel),
    unanswered(Lane),
    end_of_file(Worker),
    receive {Caller, called} -> second after 0 -> first end.

death_against_abandon(#{peer := Peer} = Lane, Delay) ->
    Caller = mortal(),
    {_, Channel} = Ends = call(Lane, Caller, abandon),
    Caller ! {abandon, rand:uniform(1000)},
    busy(Delay),
    kill(Caller),
    Peer ! no_answer,
    %% Cut once, whoever does it.
    ?assertEqual(cut, told(Channel)),
    close(Lane, Ends),
    receive {Caller, {timeout, 0}} -> second
    after 0 -> first
    end.

%% Nobody closes the channel: it goes with the last one who knows it, and so does its descriptor.
death_against_release(Lane, Delay) ->
    {Worker, Owner} = owned(Lane),
    Monitor = monitor(process, Owner),
    exit(Owner, kill),
    busy(Delay),
    erlang:garbage_collect(),
    Which = receive {'DOWN', Monitor, process, Owner, _} -> second after 0 -> first end,
    receive {'DOWN', Monitor, process, Owner, _} -> ok after 0 -> demonitor(Monitor, [flush]) end,
    end_of_file(Worker),
    Which.

owned(#{slots := Slots} = Lane) ->
    {Worker, Channel} = open(Lane),
    ok = pitcrew_nif:slots_install(Slots, 0, Channel),
    Controller = self(),
    Owner = spawn(fun() ->
        Claim = pitcrew_nif:claim(Slots),
        Controller ! {self(), element(1, Claim)},
        receive never -> Claim end
    end),
    receive {Owner, ok} -> ok end,
    ok = pitcrew_nif:slots_remove(Slots, 0),
    {Worker, Owner}.

%% With a call outstanding; whoever is killed first.
death_against_death(#{slots := Slots, peer := Peer} = Lane, Delay) ->
    {Worker, Channel} = open(Lane),
    Self = self(),
    Controller = spawn(fun() ->
        receive yours -> ok end,
        ok = pitcrew_nif:slots_install(Slots, 0, Channel),
        Self ! {self(), installed},
        receive never -> Channel end
    end),
    ok = pitcrew_nif:channel_give(Channel, Controller),
    Controller ! yours,
    receive {Controller, installed} -> ok end,
    Owner = mortal(),
    Peer ! {read, Worker},
    Owner ! {call, Slots, arguments(Lane), wait},
    receive {Owner, called} -> ok end,
    receive {Peer, has_read} -> ok end,
    Killer = spawn_link(fun() ->
        receive go -> kill(Controller) end,
        Self ! {self(), killed}
    end),
    Killer ! go,
    busy(Delay),
    Which = case is_process_alive(Controller) of true -> first; false -> second end,
    kill(Owner),
    receive {Killer, killed} -> ok end,
    Peer ! no_answer,
    end_of_file(Worker),
    ok = pitcrew_nif:slots_remove(Slots, 0),
    receive {Owner, {verdict, noproc}} -> ok after 0 -> ok end,
    Which.

%% A caller for one round, which will be killed.
mortal() ->
    Controller = self(),
    spawn(fun() -> caller(Controller) end).
