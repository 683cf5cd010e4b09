%% What docs/lifecycle.md promises, row by row: which test proves it. Tests that belong to no one part of the system are here as well.
%%
%% Whoever adds a row to the page adds it here, with its tests, and the other way round.
-module(pitcrew_lifecycle_tests).
-include_lib("eunit/include/eunit.hrl").
-import(pitcrew_test, [with_meeting/2, whole/1, os_pids/1, meet/1, answer/2]).

rows() ->
    [
        {<<"a tool raises">>, [{pitcrew_pool_tests, every_error_has_its_kind_test_}, {pitcrew_fault_tests, a_tool_that_raises_test_}]},
        {<<"a result cannot be encoded">>, [{pitcrew_fault_tests, a_result_that_cannot_be_encoded_test_}]},
        {<<"a call's deadline passes">>, [
            {pitcrew_interrupt_tests, at_the_deadline_the_tool_is_interrupted_test_},
            {pitcrew_interrupt_tests, a_tool_that_goes_on_is_killed_test_},
            {pitcrew_fault_tests, a_timeout_in_c_ends_the_worker_and_what_it_started_test_},
            {pitcrew_pool_fault_tests, a_timeout_kills_the_worker_and_replaces_it_test_}
        ]},
        {<<"a call's deadline passes in a worker that runs many (`concurrency`)">>, [
            {pitcrew_concurrency_tests, at_the_deadline_test_},
            {pitcrew_concurrency_tests, stuck_test_},
            {pitcrew_concurrency_tests, stuck_for_a_while_test_},
            {pitcrew_concurrency_tests, held_gil_test_}
        ]},
        {<<"a caller dies">>, [
            {?MODULE, five_hundred_callers_are_killed_in_mid_call_test_},
            {pitcrew_interrupt_tests, when_its_caller_dies_the_tool_is_interrupted_test_},
            {pitcrew_interrupt_tests, a_call_goes_on_when_its_caller_dies_test_}
        ]},
        {<<"a worker dies">>, [
            {pitcrew_pool_fault_tests, a_killed_worker_is_reported_at_once_test_},
            {pitcrew_pool_fault_tests, a_worker_that_crashes_says_its_signal_test_},
            {pitcrew_pool_fault_tests, a_worker_that_leaves_says_its_status_test_},
            {pitcrew_lives_tests, a_pool_whose_workers_fail_says_so_and_recovers_test_}
        ]},
        {<<"a worker is stopped (SIGSTOP)">>, [
            {pitcrew_heartbeat_tests, a_stopped_worker_is_killed_and_its_caller_told_test_},
            {pitcrew_heartbeat_tests, an_idle_worker_that_is_stopped_is_replaced_test_},
            {pitcrew_heartbeat_tests, a_gil_that_is_held_in_c_is_shown_test_},
            {pitcrew_heartbeat_tests, a_silent_worker_is_not_killed_quickly_test_}
        ]},
        {<<"the zygote, the port or the guard dies">>, [
            {pitcrew_heal_tests, killed_test_}, {pitcrew_port_death_tests, death_test_}
        ]},
        {<<"one of them is stopped (SIGSTOP)">>, [
            {pitcrew_heal_tests, stopped_port_test_},
            {pitcrew_heal_tests, a_stopped_zygote_hides_no_death_test_},
            {pitcrew_heal_tests, a_stopped_guard_hinders_nobody_test_},
            {pitcrew_port_death_tests, death_test_}
        ]},
        {<<"the worker of a session, or of an object that is referred to, dies">>, [
            {pitcrew_session_tests, its_worker_dies_and_it_says_so_test_},
            {pitcrew_session_tests, or_begins_again_test_},
            {pitcrew_ref_tests, its_worker_is_gone_test_},
            {pitcrew_ref_tests, its_worker_dies_in_between_test_}
        ]},
        {<<"a session's owner dies, or it is not used for its `ttl`">>, [
            {pitcrew_session_tests, a_session_ends_with_its_owner_test_},
            {pitcrew_session_tests, a_session_that_is_not_used_ends_test_}
        ]},
        {<<"a process of the pool in the VM dies">>, [
            {pitcrew_heal_tests, killed_test_}, {pitcrew_session_tests, a_session_s_process_is_killed_test_}
        ]},
        {<<"the VM dies">>, [
            {pitcrew_vm_death_tests, computing_test_},
            {pitcrew_vm_death_tests, sleeping_test_},
            {pitcrew_vm_death_tests, forking_test_},
            {pitcrew_vm_death_tests, running_away_test_}
        ]},
        {<<"a worker is over `max_calls`, `max_age` or `max_rss`">>, [
            {pitcrew_lives_tests, worn_workers_are_replaced_and_no_call_fails_test_},
            {pitcrew_lives_tests, workers_get_old_test_},
            {pitcrew_heartbeat_tests, a_worker_that_has_too_much_after_a_trim_is_replaced_test_},
            {pitcrew_heartbeat_tests, garbage_is_collected_first_test_},
            {pitcrew_session_tests, a_worker_that_is_replaced_stays_for_its_sessions_test_},
            {pitcrew_ref_tests, a_worker_that_is_replaced_stays_for_its_objects_test_}
        ]},
        {<<"a pool is stopped with time for its calls (`stop_pool/2`, `pitcrew_pool:stop/2`)">>, [
            {pitcrew_lives_tests, calls_that_there_are_end_before_a_pool_stops_test_},
            {pitcrew_lives_tests, calls_that_wait_end_before_a_pool_stops_although_its_worker_dies_test_},
            {pitcrew_lives_tests, a_call_that_waits_for_the_first_worker_ends_before_a_pool_stops_test_},
            {pitcrew_lives_tests, what_does_not_end_in_time_is_cut_test_}
        ]},
        {<<"Python prints, or writes garbage to its output">>, [
            {pitcrew_pool_tests, python_is_logged_line_by_line_test_},
            {pitcrew_fault_tests, garbage_on_both_outputs_test_},
            {pitcrew_keeper_tests, many_lines_arrive_in_order_test_},
            {pitcrew_flood_tests, floods_hold_nobody_up_test_}
        ]},
        {<<"a function or a tool of the VM that a tool calls raises, is killed, or takes longer than `function_timeout`">>, [
            {pitcrew_function_tests, what_a_function_raises_test_},
            {pitcrew_function_tests, a_function_that_takes_too_long_test_},
            {pitcrew_function_tests, the_deadline_of_the_call_ends_its_functions_test_},
            {pitcrew_tools_tests, what_a_tool_raises_test_},
            {pitcrew_tools_tests, how_long_a_tool_may_take_test_},
            {pitcrew_tools_lives_tests, the_deadline_of_the_call_ends_its_tools_test_}
        ]},
        {<<"what is enumerated for a tool raises, gives nothing for `function_timeout`, or has not come to its end when the call ends">>, [
            {pitcrew_iterator_tests, what_it_raises_comes_behind_the_elements_test_},
            {pitcrew_iterator_tests, one_that_takes_too_long_test_},
            {pitcrew_iterator_lives_tests, whoever_takes_no_more_test_},
            {pitcrew_iterator_lives_tests, the_deadline_of_the_call_test_},
            {pitcrew_iterator_lives_tests, a_caller_that_dies_test_},
            {pitcrew_iterator_lives_tests, a_worker_that_dies_test_},
            {pitcrew_iterator_lives_tests, a_pool_that_stops_test_}
        ]},
        {<<"the deadline of a call that runs inside of another one passes, or its caller dies">>, [
            {pitcrew_nested_ends_tests, at_its_deadline_test_},
            {pitcrew_nested_ends_tests, whose_caller_dies_test_},
            {pitcrew_nested_ends_tests, that_cannot_be_interrupted_test_}
        ]},
        {<<"the consumer of a stream takes no more">>, [
            {pitcrew_stream_tests, an_early_stop_closes_the_generator_and_the_worker_goes_on_test_},
            {pitcrew_stream_tests, a_generator_that_does_not_let_itself_be_closed_is_interrupted_test_}
        ]},
        {<<"the queue is full, or `checkout_timeout` is over">>, [
            {pitcrew_lives_tests, a_full_queue_answers_at_once_test_},
            {pitcrew_pool_fault_tests, a_checkout_ends_at_its_deadline_test_}
        ]}
    ].

each_row_of_the_page_has_its_tests_test() ->
    {ok, Page} = file:read_file(filename:join([pitcrew_test:fixtures(), "..", "..", "docs", "lifecycle.md"])),
    {match, Cells} = re:run(Page, "^\\| ([^|]*[^|\\s]) \\|", [multiline, global, {capture, all_but_first, binary}]),
    Events = [Event || [Event] <- Cells, Event =/= <<"event">>, Event =/= <<"---">>],
    ?assertEqual(Events, [Event || {Event, _} <- rows()]),
    Named = lists:append([Tests || {_, Tests} <- rows()]),
    ?assertEqual([], [Test || {Module, Function} = Test <- Named, not lists:member({Function, 0}, Module:module_info(exports))]).

%% ---- Exit abuse: callers are killed when their call is in the tool for certain, a whole pool of them at a time.

five_hundred_callers_are_killed_in_mid_call_test_() ->
    {timeout, 300, fun() ->
        Size = 10,
        with_meeting(#{size => Size}, fun(Pool, Listener, Port) ->
            [
                begin
                    Callers = [caller(Pool, Port) || _ <- lists:seq(1, Size)],
                    Met = [meet(Listener) || _ <- Callers],
                    [exit(Pid, kill) || {Pid, _} <- Callers],
                    ?assertEqual([killed], lists:usort([reason(Caller) || Caller <- Callers])),
                    %% Each tool sees that nobody waits: its socket closes without an answer from here.
                    [?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 10_000)) || {Socket, _} <- Met],
                    [gen_tcp:close(Socket) || {Socket, _} <- Met]
                end
             || _ <- lists:seq(1, 500 div Size)
            ],
            ?assertEqual(ok, whole(Pool)),
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2]))
        end)
    end}.

%% The same with workers that hold many calls: those in the tool and those that wait behind them.
callers_of_pipelined_workers_are_killed_test_() ->
    {timeout, 120, fun() ->
        with_meeting(#{size => 2, pipeline => 4}, fun(Pool, Listener, Port) ->
            Before = os_pids(Pool),
            [
                begin
                    Callers = [caller(Pool, Port) || _ <- lists:seq(1, 8)],
                    Met = [meet_one(Listener) || _ <- [1, 2]],
                    [exit(Pid, kill) || {Pid, _} <- Callers],
                    ?assertEqual([killed], lists:usort([reason(Caller) || Caller <- Callers])),
                    [?assertEqual({error, closed}, gen_tcp:recv(Socket, 0, 10_000)) || {Socket, _} <- Met],
                    [gen_tcp:close(Socket) || {Socket, _} <- Met],
                    ?assertEqual(ok, whole(Pool))
                end
             || _ <- lists:seq(1, 10)
            ],
            ?assertEqual({ok, 3}, pitcrew:call(Pool, add, [1, 2])),
            %% They were interrupted, and went on.
            ?assertEqual(Before, os_pids(Pool))
        end)
    end}.

%% A tool whose turn had come when its caller was killed may have been interrupted before it said a word.
meet_one(Listener) ->
    {ok, Socket} = gen_tcp:accept(Listener, 10_000),
    case gen_tcp:recv(Socket, 0, 10_000) of
        {ok, Line} -> {Socket, binary_to_integer(string:trim(Line))};
        {error, closed} -> gen_tcp:close(Socket), meet_one(Listener)
    end.

%% Tools whose callers have died go on, and no worker is lost by that.
callers_that_leave_their_calls_are_killed_test_() ->
    {timeout, 120, fun() ->
        with_meeting(#{size => 4, on_caller_exit => finish}, fun(Pool, Listener, Port) ->
            Before = os_pids(Pool),
            [
                begin
                    Callers = [caller(Pool, Port) || _ <- lists:seq(1, 4)],
                    Met = [meet(Listener) || _ <- Callers],
                    [exit(Pid, kill) || {Pid, _} <- Callers],
                    ?assertEqual([killed], lists:usort([reason(Caller) || Caller <- Callers])),
                    [answer(Socket, "x") || {Socket, _} <- Met]
                end
             || _ <- lists:seq(1, 25)
            ],
            ?assertEqual(ok, whole(Pool)),
            ?assertEqual(Before, os_pids(Pool))
        end)
    end}.

caller(Pool, Port) ->
    spawn_monitor(fun() -> exit({answer, pitcrew:call(Pool, meet, [Port], #{timeout => infinity, checkout_timeout => 30_000})}) end).

reason({_, Ref}) ->
    receive
        {'DOWN', Ref, process, _, Reason} -> Reason
    after 30_000 -> error(lives_on)
    end.
