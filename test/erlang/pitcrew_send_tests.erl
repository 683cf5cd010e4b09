%% Messages that Python sends to processes of the VM.
-module(pitcrew_send_tests).
-include_lib("eunit/include/eunit.hrl").

on_each_pool(Fun) -> pitcrew_test:on_each_pool(#{size => 1, tools => ["vm_tools"]}, Fun).

received() -> receive {pitcrew, Message} -> [Message | received()] after 0 -> [] end.

%% They are there, in their order, when the call returns.
messages_arrive_test_() ->
    on_each_pool(fun(Pool, _) ->
        Messages = [nil, 1, <<"Zoë"/utf8>>, [1, {a, 2.5}], #{<<"k">> => self()}, binary:copy(<<"x">>, 300_000)],
        [
            begin
                ?assertEqual({ok, length(Messages)}, pitcrew:call(Pool, Tool, [self() | Messages])),
                ?assertEqual(Messages, received())
            end
         || Tool <- [send, async_send]
        ],
        ?assertEqual([], pitcrew_test:mailbox())
    end).

to_a_name_test_() ->
    on_each_pool(fun(Pool, _) ->
        true = register(?MODULE, self()),
        true = register('Elixir.Pitcrew.SendTest', spawn_link(fun Loop() -> receive {pitcrew, {to, Pid}} -> Pid ! here, Loop() end end)),
        try
            [?assertEqual({ok, 1}, pitcrew:call(Pool, Tool, [Name, one])) || Tool <- [send, async_send], Name <- [?MODULE, atom_to_binary(?MODULE)]],
            ?assertEqual([one, one, one, one], received()),
            [
                begin
                    ?assertEqual({ok, 1}, pitcrew:call(Pool, send, [Name, {to, self()}])),
                    receive here -> ok end
                end
             || Name <- [<<"Pitcrew.SendTest">>, <<"Elixir.Pitcrew.SendTest">>, 'Elixir.Pitcrew.SendTest']
            ]
        after
            unregister(?MODULE),
            unlink(whereis('Elixir.Pitcrew.SendTest')),
            exit(whereis('Elixir.Pitcrew.SendTest'), kill),
            ?assertEqual(ok, pitcrew_test:until(fun() -> case whereis('Elixir.Pitcrew.SendTest') of undefined -> ok; Pid -> Pid end end))
        end
    end).

%% To a process that has ended a message is sent as ever in the VM: nobody hears of it.
to_nobody_test_() ->
    on_each_pool(fun(Pool, _) ->
        {Pid, Ref} = spawn_monitor(fun() -> ok end),
        receive {'DOWN', Ref, process, Pid, _} -> ok end,
        ?assertEqual({ok, nil}, pitcrew:call(Pool, try_to_send, [Pid, 1])),
        [
            ?assertMatch({ok, [<<"error">>, <<"no_process">>, _]}, pitcrew:call(Pool, try_to_send, [Name, 1]))
         || Name <- [<<"no_such_process_at_all">>, <<"nobody">>, <<>>, binary:copy(<<"x">>, 300)]
        ],
        {ok, [_, _, Message]} = pitcrew:call(Pool, try_to_send, [<<"nobody">>, 1]),
        ?assertEqual(<<"there is no process nobody">>, Message),
        ?assertMatch({ok, [<<"error">>, <<"no_process">>, _]}, pitcrew:call(Pool, try_to_send, [Ref, 1])),
        ?assertMatch({ok, [<<"error">>, <<"bad_arguments">> | _]}, pitcrew:call(Pool, caught, [<<"pitcrew:send">>, self()])),
        [?assertMatch({ok, [<<"type_error">>, _]}, pitcrew:call(Pool, try_to_send, [What, 1])) || What <- [1, [self()], {self()}, nil, #{}]],
        ?assertMatch({error, #{kind := tool_error, type := <<"pitcrew.EncodeError">>}}, pitcrew:call(Pool, send_an_object, [self()])),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% Python cannot speak as the VM itself does: not as gen_server, the runtime system or Pitcrew.
nothing_is_taken_for_the_vms_own_test_() ->
    on_each_pool(fun(Pool, _) ->
        {ok, Sup} = pitcrew_pools:find(Pool),
        ?assertEqual(pool, element(1, Sup)),
        Ref = make_ref(),
        Forged = [{'EXIT', self(), kill}, {'$gen_call', {self(), Ref}, which_children}, {system, {self(), Ref}, get_state}, {'DOWN', Ref, process, self(), x}, {stop, self()}],
        Targets = [Pool, init, pitcrew_sup, pitcrew_functions, kernel_sup],
        Before = [whereis(Target) || Target <- Targets],
        pitcrew_test:quietly(fun() ->
            [?assertEqual({ok, 1}, pitcrew:call(Pool, send, [Target, Message])) || Target <- Targets, Message <- [{stop, stop} | Forged]]
        end),
        ?assertEqual({ok, length(Forged)}, pitcrew:call(Pool, send, [self() | Forged])),
        ?assertEqual(Forged, received()),
        ?assertEqual([], pitcrew_test:mailbox()),
        ?assertEqual(Before, [whereis(Target) || Target <- Targets]),
        ?assertEqual({ok, 1}, pitcrew:call(Pool, echo, [1]))
    end).

%% Of another VM: a pid that Python has made up is none.
a_pid_cannot_be_made_up_test_() ->
    on_each_pool(fun(Pool, _) ->
        ?assertMatch({ok, [<<"error">>, <<"decode_error">>, _]}, pitcrew:call(Pool, send_to_a_forgery, [self()])),
        ?assertEqual([], pitcrew_test:mailbox())
    end).

in_a_stream_test_() ->
    on_each_pool(fun(Pool, _) ->
        {ok, 1, Rest} = pitcrew:next(pitcrew:stream(Pool, send_and_yield, [self(), 1])),
        ?assertEqual([1], received()),
        ?assertEqual(done, pitcrew:next(Rest))
    end).
