%% Strangers at the pool's socket, and what Python prints.
-module(pitcrew_keeper_tests).
-include_lib("eunit/include/eunit.hrl").
-export([log/2]).

test(Fun) -> {timeout, 60, Fun}.

with_socket(Fun) ->
    pitcrew_test:gated(fun(Base) ->
        {ok, Sup} = pitcrew_pool:start_link(pitcrew_test:options(Base, #{size => 1})),
        [Path] = filelib:wildcard(filename:join([Base, "pitcrew.*", "s"])),
        pitcrew_test:quietly(fun() -> Fun(Path, Sup) end),
        ?assertEqual({ok, 3}, pitcrew:call(Sup, add, [1, 2])),
        ok = pitcrew_pool:stop(Sup)
    end).

connect(Path) ->
    {ok, Socket} = gen_tcp:connect({local, Path}, 0, [binary, local, {active, false}, {packet, 4}]),
    Socket.

auth(Token, Role) ->
    {ok, Frame} = pitcrew_nif:encode([0, 0, pitcrew:bytes(Token), Role, list_to_integer(os:getpid())], #{}),
    Frame.

shown_out(Socket) ->
    ?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 10_000)),
    gen_tcp:close(Socket).

the_directory_is_private_test_() ->
    test(fun() ->
        with_socket(fun(Path, _) ->
            {ok, Info} = file:read_file_info(filename:dirname(Path)),
            ?assertEqual(8#700, element(8, Info) band 8#777)
        end)
    end).

a_token_that_nobody_has_is_refused_test_() ->
    test(fun() ->
        with_socket(fun(Path, _) ->
            [
                begin
                    Socket = connect(Path),
                    ok = gen_tcp:send(Socket, Frame),
                    shown_out(Socket)
                end
             || Frame <- [auth(<<0:128>>, <<"call">>), auth(<<>>, <<"side">>), <<"garbage">>, <<16#c1>>, <<16#90>>, <<16#93, 1, 2, 3>>]
            ]
        end)
    end).

a_frame_without_end_is_refused_test_() ->
    test(fun() ->
        with_socket(fun(Path, _) ->
            Socket = connect(Path),
            ok = inet:setopts(Socket, [{packet, raw}]),
            ok = gen_tcp:send(Socket, <<16#ffffffff:32>>),
            shown_out(Socket)
        end)
    end).

silence_is_ended_after_five_seconds_test_() ->
    test(fun() ->
        with_socket(fun(Path, _) ->
            Started = erlang:monotonic_time(millisecond),
            Sockets = [connect(Path) || _ <- [1, 2, 3]],
            %% A part of a frame is silence too.
            ok = inet:setopts(hd(Sockets), [{packet, raw}]),
            ok = gen_tcp:send(hd(Sockets), <<0, 0>>),
            [shown_out(Socket) || Socket <- Sockets],
            ?assert(erlang:monotonic_time(millisecond) - Started >= 4_900)
        end)
    end).

a_guest_who_leaves_is_forgotten_test_() ->
    test(fun() ->
        with_socket(fun(Path, _) -> [gen_tcp:close(connect(Path)) || _ <- lists:seq(1, 20)] end)
    end).

%% More lines than the port may have under way at once.
many_lines_arrive_in_order_test_() ->
    test(fun() ->
        pitcrew_test:with_pool(#{size => 1}, fun(Pool) ->
            ok = logger:add_handler(?MODULE, ?MODULE, #{level => info, config => #{to => self()}}),
            #{level := Level} = logger:get_primary_config(),
            ok = logger:set_primary_config(level, info),
            try
                Lines = [integer_to_binary(N) || N <- lists:seq(1, 5000)],
                {ok, nil} = pitcrew:call(Pool, speak, [iolist_to_binary(lists:join("\n", Lines)), <<"done">>]),
                ?assertEqual(Lines, [receive {line, stdout, Line} -> Line after 10_000 -> missing end || _ <- Lines]),
                ?assertEqual(<<"done">>, receive {line, stderr, Line} -> Line after 10_000 -> missing end)
            after
                logger:set_primary_config(level, Level),
                logger:remove_handler(?MODULE)
            end
        end)
    end).

log(#{msg := {_, [Line]}, meta := #{python := Stream}}, #{config := #{to := To}}) -> To ! {line, Stream, Line};
log(_, _) -> ok.

%% The gate that every test of pools stands behind sees what it has to see.
the_gate_sees_processes_files_and_handles_test_() ->
    test(fun() ->
        pitcrew_test:gated(fun(Base) ->
            {ok, Sup} = pitcrew_pool:start_link(pitcrew_test:options(Base, #{size => 1})),
            #{guard := Guard, port := Port, zygote := Zygote, workers := [#{os_pid := Worker}]} = pitcrew:info(Sup),
            ?assertEqual([], [Guard, Port, Zygote, Worker] -- pitcrew_test:processes_of(Base)),
            ?assertMatch(#{listeners := 1, channels := 2, slots := 1, descriptors := 3}, pitcrew_nif:live()),
            ok = pitcrew_pool:stop(Sup)
        end)
    end).
