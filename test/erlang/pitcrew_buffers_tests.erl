%% Large payloads in shared memory, with real workers: that they come back as they went, who holds what, and that nothing is left.
-module(pitcrew_buffers_tests).
-include_lib("eunit/include/eunit.hrl").

-export([without_memfd/0]).
%% For other tests of them.
-export([test/1, with/2, each/1, random/1, tensor/1]).

-import(pitcrew_test, [with_pool/2, until/1, quietly/1, garbage/0, held/1, nothing_held/1]).

-define(LEAST, 65_536).
-define(MIB, 1_048_576).

test(Fun) -> {timeout, 120, Fun}.

with(Options, Fun) -> with_pool(maps:merge(#{tools => ["buffer_tools"], size => 1}, Options), Fun).

%% A test for pools whose callers claim a worker, and for those that are pipelined or run many calls at once.
each(Fun) -> [{Name, test(fun() -> Fun(Options) end)} || {Name, Options} <- [{"slots", #{}}, {"pipelined", #{pipeline => 4}}, {"concurrent", #{concurrency => 4}}]].

random(N) -> rand:bytes(N).

text(N) -> binary:part(binary:copy(<<"pit crew ", 16#c3, 16#a9, " ">>, N div 12 + 1), 0, N div 12 * 12).

tensor(Data) ->
    #{'__struct__' => 'Elixir.Pitcrew.Tensor', dtype => <<"|u1">>, shape => {byte_size(Data)}, data => Data}.

arrow(Data) -> #{'__struct__' => 'Elixir.Pitcrew.Arrow', data => Data}.

%% ---- Values

there_and_back_test_() ->
    each(fun(Options) ->
        with(Options#{bytes => tagged}, fun(Pool) ->
            [begin
                 B = pitcrew:bytes(random(N)),
                 T = text(N),
                 Terms = [B, T, [1, B, T], #{<<"a">> => B, <<"b">> => {T, [B, [B]]}}, tensor(random(N)), [tensor(random(N)), B], arrow(random(N))],
                 [?assertEqual({N, {ok, Term}}, {N, pitcrew:call(Pool, echo, [Term])}) || Term <- Terms],
                 ?assertEqual({ok, B}, pitcrew:call(Pool, echo, #{value => B}))
             end || N <- [?LEAST - 1, ?LEAST, ?LEAST + 1, 3 * ?MIB + 7]]
        end)
    end).

%% It is shared memory that they lie in: a segment for what comes, one for what goes, and none for what is smaller.
in_shared_memory_test_() ->
    test(fun() ->
        with(#{}, fun(Pool) ->
            Mappings = fun() -> {ok, #{<<"mappings">> := N}} = pitcrew:call(Pool, memory), N end,
            Boards = Mappings(),
            {ok, _} = pitcrew:call(Pool, checksum, [pitcrew:bytes(random(?LEAST - 1))]),
            {ok, _} = pitcrew:call(Pool, zeros, [?LEAST - 1]),
            ?assertEqual(Boards, Mappings()),
            {ok, _} = pitcrew:call(Pool, checksum, [pitcrew:bytes(random(?LEAST))]),
            ?assertEqual(Boards + 1, Mappings()),
            {ok, _} = pitcrew:call(Pool, zeros, [?LEAST]),
            ?assertEqual(Boards + 2, Mappings())
        end)
    end).

%% Inside keys and sets there are none; everything else around them is as ever.
in_keys_test_() ->
    test(fun() ->
        with(#{}, fun(Pool) ->
            Term = #{text(2 * ?LEAST) => text(3 * ?LEAST), {text(2 * ?LEAST), 1} => 2},
            ?assertEqual({ok, Term}, pitcrew:call(Pool, echo, [Term])),
            Set = #{'__struct__' => 'Elixir.MapSet', map => #{text(2 * ?LEAST) => []}, version => 2},
            ?assertEqual({ok, Set}, pitcrew:call(Pool, echo, [Set]))
        end)
    end).

arguments_as_annotated_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            B = random(?MIB),
            ?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)])),
            ?assertEqual({ok, B}, pitcrew:call(Pool, echo_bytes, [pitcrew:bytes(B)])),
            ?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, #{value => pitcrew:bytes(B)})),
            ?assertEqual({ok, erlang:crc32(B)}, pitcrew:call(Pool, checksum, [pitcrew:bytes(B)])),
            ?assertEqual({ok, [<<"bytes">>, ?MIB, nil]}, pitcrew:call(Pool, kind_of, [pitcrew:bytes(B)])),
            ?assertEqual({ok, [<<"str">>, ?MIB, nil]}, pitcrew:call(Pool, kind_of, [binary:copy(<<"a">>, ?MIB)])),
            ?assertEqual({ok, [<<"ndarray">>, ?MIB, true]}, pitcrew:call(Pool, kind_of, [tensor(B)]))
        end)
    end).

%% Each time the same segments, with other contents.
again_and_again_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            {ok, _} = pitcrew:call(Pool, echo_view, [pitcrew:bytes(random(?MIB))]),
            [begin
                 B = random(?MIB - rand:uniform(1000)),
                 ?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)])),
                 case N rem 10 of
                     0 -> garbage_collect();
                     _ -> ok
                 end
             end || N <- lists:seq(1, 200)],
            nothing_held(Pool),
            {ok, #{<<"mappings">> := Mappings}} = pitcrew:call(Pool, memory),
            %% As many as can be in use at once, and boards; not one for each call.
            ?assert(Mappings < 140, Mappings)
        end)
    end).

what_is_kept_stays_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            Kept = [random(?LEAST + N) || N <- lists:seq(1, 100)],
            [{ok, _} = pitcrew:call(Pool, keep, [tensor(B)]) || B <- Kept],
            Results = [begin {ok, R} = pitcrew:call(Pool, filled, [?LEAST + N, N]), R end || N <- lists:seq(1, 100)],
            ?assertEqual({ok, [erlang:crc32(B) || B <- Kept]}, pitcrew:call(Pool, kept_checksums)),
            ?assertEqual([binary:copy(<<N>>, ?LEAST + N) || N <- lists:seq(1, 100)], Results),
            {ok, 100} = pitcrew:call(Pool, drop),
            B = random(?MIB),
            ?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)]))
        end)
    end).

%% Who writes into an argument writes into memory of the worker's own, and nobody sees it in the next call.
arguments_are_ones_own_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            Data = random(?MIB),
            [begin
                 ?assertEqual({ok, 7 * ?MIB}, pitcrew:call(Pool, write_into, [tensor(Data), 7])),
                 ?assertEqual({ok, erlang:crc32(Data)}, pitcrew:call(Pool, checksum, [pitcrew:bytes(Data)]))
             end || _ <- lists:seq(1, 10)]
        end)
    end).

a_fork_reads_on_test_() ->
    test(fun() ->
        with(#{}, fun(Pool) ->
            Data = binary:copy(<<3>>, ?MIB),
            [?assertEqual({ok, 3 * ?MIB}, pitcrew:call(Pool, fork_and_read, [tensor(Data)])) || _ <- lists:seq(1, 5)],
            ?assertEqual({ok, tensor(Data)}, pitcrew:call(Pool, echo, [tensor(Data)]))
        end)
    end).

several_in_one_answer_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            N = 70_000,
            {ok, #{<<"a">> := A, <<"b">> := [B, Small], <<"c">> := C, <<"d">> := {D}}} = pitcrew:call(Pool, pair, [N]),
            ?assertMatch(#{dtype := <<"<i8">>, shape := {N}, data := <<0:64/little, 1:64/little, _/binary>>}, A),
            ?assertEqual({binary:copy(<<0>>, N), <<"small">>, binary:copy(<<"x">>, N)}, {B, Small, C}),
            ?assertMatch(#{shape := {2, N}}, D),
            %% What cannot be encoded behind one leaves none behind.
            [?assertMatch({error, #{kind := result_error, path := [1]}}, pitcrew:call(Pool, spoiled, [?MIB])) || _ <- lists:seq(1, 100)],
            ?assertEqual({ok, binary:copy(<<0>>, ?MIB)}, pitcrew:call(Pool, zeros, [?MIB]))
        end)
    end).

%% ---- What travels otherwise

off_test_() ->
    test(fun() ->
        with(#{shared => false}, fun(Pool) ->
            B = random(3 * ?MIB),
            ?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)])),
            ?assertMatch({ok, #{<<"mappings">> := 0}}, pitcrew:call(Pool, memory)),
            ?assertMatch(#{buffers := nil}, pitcrew:info(Pool))
        end)
    end).

%% A VM for which the system has no memfd.
without_memfd_test_() ->
    %% A sanitizer has to be the first library itself.
    pitcrew_test:unless_sanitized(test(fun() ->
        pitcrew_test:with_library("no_memfd", "", fun(Library) ->
            Env = [{"LD_PRELOAD", Library}, {"ERL_CRASH_DUMP_SECONDS", "0"}],
            Vm = pitcrew_test:second_vm(?MODULE, without_memfd, [], [{env, Env}, exit_status, stderr_to_stdout]),
            ?assertEqual({0, "as ever"}, said(Vm, []))
        end)
    end)).

said(Vm, Said) ->
    receive
        {Vm, {data, More}} -> said(Vm, [Said, More]);
        {Vm, {exit_status, Status}} -> {Status, lists:flatten(Said)}
    end.

without_memfd() ->
    with(#{}, fun(Pool) ->
        #{buffers := nil} = pitcrew:info(Pool),
        B = random(?MIB),
        {ok, B} = pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)]),
        {ok, #{data := <<1.0:64/float-little, _/binary>>}} = pitcrew:call(Pool, give, [100_000, 1.0])
    end),
    io:put_chars("as ever"),
    halt().

json_test_() ->
    test(fun() ->
        with(#{protocol => json}, fun(Pool) ->
            ?assertEqual({ok, text(?MIB)}, pitcrew:call(Pool, echo, [text(?MIB)]))
        end)
    end).

too_large_for_a_frame_test_() ->
    test(fun() ->
        with(#{max_frame => ?MIB}, fun(Pool) ->
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, checksum, [pitcrew:bytes(random(?MIB + 1))])),
            ?assertMatch({error, #{kind := too_big}}, pitcrew:call(Pool, zeros, [?MIB + 1])),
            ?assertMatch({ok, <<_:900_000/binary>>}, pitcrew:call(Pool, zeros, [900_000]))
        end)
    end).

%% Whether what no longer fits is an argument, the deadline, or the names of the segments at the end.
just_too_large_for_a_frame_test_() ->
    test(fun() ->
        with(#{max_frame => 100_000}, fun(Pool) ->
            B = pitcrew:bytes(random(?LEAST)),
            Call = fun(N) -> pitcrew:call(Pool, checksum, [B, text(60_000), binary:copy(<<"x">>, N)]) end,
            Kinds = [Kind || N <- lists:seq(39_800, 40_000), {error, #{kind := Kind}} <- [Call(N)]],
            {Fit, TooBig} = lists:splitwith(fun(Kind) -> Kind =:= bad_arguments end, Kinds),
            ?assertEqual(201, length(Kinds)),
            ?assert(length(Fit) > 0 andalso length(TooBig) > 30),
            ?assertEqual([too_big], lists:usort(TooBig))
        end)
    end).

%% ---- Who holds what

idle_holders_test_() ->
    test(fun() ->
        with(#{max_shared => 64 * ?MIB}, fun(Pool) ->
            Holders = [holder(Pool, ?MIB) || _ <- lists:seq(1, 1_000)],
            #{buffers := #{bytes := Bytes, most := Most, holders := Known}} = pitcrew:info(Pool),
            ?assert(Bytes > 0 andalso Bytes =< Most, {Bytes, Most}),
            ?assertEqual([], [Pid || #{pid := Pid} <- Known, not lists:member(Pid, Holders)]),
            %% Nobody waits, and nobody fails: there are segments to go on with, or results are copied.
            [?assertMatch({ok, <<_:?MIB/binary>>}, pitcrew:call(Pool, zeros, [?MIB])) || _ <- lists:seq(1, 50)],
            [?assertEqual(?MIB, ask(Holder)) || Holder <- Holders],
            [exit(Holder, kill) || Holder <- Holders],
            nothing_held(Pool)
        end)
    end).

%% A process that got a result and waits for messages from then on, without ever collecting its garbage.
holder(Pool, N) ->
    Asker = self(),
    Pid = spawn_link(fun() ->
        {ok, Result} = pitcrew:call(Pool, zeros, [N]),
        Asker ! {holds, self()},
        wait_to_be_asked(Result)
    end),
    unlink(Pid),
    receive {holds, Pid} -> Pid end.

wait_to_be_asked(Result) ->
    receive
        {size, From} -> From ! {size, self(), byte_size(Result)}
    end,
    wait_to_be_asked(Result).

ask(Holder) ->
    Holder ! {size, self()},
    receive {size, Holder, N} -> N end.

long_holders_are_told_of_test_() ->
    test(fun() ->
        with(#{on_hold => 200}, fun(Pool) ->
            Self = self(),
            ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test, pool, on_hold], fun(_, Measurements, Metadata, _) -> Self ! {on_hold, Measurements, Metadata} end, nil),
            Holder = holder(Pool, ?MIB),
            receive
                {on_hold, Measurements, Metadata} ->
                    ?assertEqual(#{bytes => ?MIB, payloads => 1}, Measurements),
                    ?assertMatch(#{pool := Pool, holders := [#{pid := Holder, bytes := ?MIB, ms := Ms}]} when Ms >= 200, Metadata)
            after 10_000 -> error(never_told)
            end,
            ok = pitcrew_telemetry:detach(?MODULE),
            exit(Holder, kill),
            nothing_held(Pool),
            flush()
        end)
    end).

flush() ->
    receive
        {on_hold, _, _} -> flush()
    after 0 -> ok
    end.

copies_are_not_held_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            {ok, Result} = pitcrew:call(Pool, zeros, [?MIB], #{copy_binaries => true}),
            ?assertEqual(0, held(Pool)),
            ?assertEqual(?MIB, byte_size(Result))
        end)
    end).

%% The pool is gone, and its workers; a result lives on.
results_outlive_the_pool_test_() ->
    test(fun() ->
        pitcrew_test:with_pool_to_stop(#{tools => ["buffer_tools"], size => 1}, fun(Pool) ->
            {ok, Result} = pitcrew:call(Pool, filled, [?MIB, 5]),
            ok = pitcrew_pool:stop(Pool),
            garbage(),
            ?assertEqual(binary:copy(<<5>>, ?MIB), Result)
        end)
    end).

%% ---- Deaths

callers_that_die_test_() ->
    each(fun(Options) ->
        with(Options#{on_caller_exit => finish, size => 2}, fun(Pool) ->
            [begin
                 Pid = spawn(fun() -> pitcrew:call(Pool, wait, [pitcrew:bytes(random(?MIB)), 0.002]) end),
                 timer:sleep(rand:uniform(6) - 1),
                 exit(Pid, kill)
             end || _ <- lists:seq(1, 200)],
            ?assertEqual(ok, pitcrew_test:whole(Pool)),
            nothing_held(Pool),
            B = random(?MIB),
            [?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)])) || _ <- lists:seq(1, 100)]
        end)
    end).

workers_that_die_test_() ->
    each(fun(Options) ->
        with(Options#{size => 2, grace => 50}, fun(Pool) ->
            quietly(fun() ->
                Killer = spawn_link(fun() -> kill_now_and_then(Pool, 40) end),
                Callers = [spawn_monitor(fun() -> [in_any_case(Pool) || _ <- lists:seq(1, 60)] end) || _ <- lists:seq(1, 4)],
                [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Ref} <- Callers],
                unlink(Killer),
                exit(Killer, kill),
                ?assertEqual(ok, pitcrew_test:whole(Pool))
            end),
            nothing_held(Pool)
        end)
    end).

in_any_case(Pool) ->
    B = random(?LEAST + rand:uniform(?MIB)),
    case pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)]) of
        {ok, Back} -> ?assertEqual(B, Back);
        {error, #{kind := Kind}} -> ?assertEqual(worker_exit, Kind)
    end.

kill_now_and_then(_, 0) -> ok;
kill_now_and_then(Pool, N) ->
    timer:sleep(10),
    _ = pitcrew_test:kill_a_worker(Pool),
    kill_now_and_then(Pool, N - 1).

%% ---- Memory that is handed over

given_test_() ->
    each(fun(Options) ->
        with(Options, fun(Pool) ->
            N = 100_000,
            [begin
                 {ok, #{shape := {N}, dtype := <<"<f8">>, data := Data}} = pitcrew:call(Pool, give, [N, Number]),
                 ?assertEqual(binary:copy(<<Number:64/float-little>>, N), Data)
             end || Number <- [1.0, 2.5, -3.0, 4.0, 5.0]]
        end)
    end).

%% The VM's binary stays as it is, or the worker is dead.
given_is_not_ones_own_any_more_test_() ->
    test(fun() ->
        with(#{}, fun(Pool) ->
            quietly(fun() ->
                N = 100_000,
                {ok, #{data := Data}} = pitcrew:call(Pool, give_and_write, [N]),
                ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigsegv}}}, pitcrew:call(Pool, write_given)),
                ?assertEqual(binary:copy(<<1.0:64/float-little>>, N), Data),
                ?assertEqual(ok, pitcrew_test:whole(Pool))
            end)
        end)
    end).

%% A term is read from it over and over, while the worker does what it can to change it.
terms_are_read_safely_test_() ->
    test(fun() ->
        with(#{}, fun(Pool) ->
            quietly(fun() ->
                Term = [{N, <<N:64>>, #{N => [N]}} || N <- lists:seq(1, 20_000)],
                [begin
                     {ok, #{data := Data}} = pitcrew:call(Pool, give_bytes, [pitcrew:bytes(term_to_binary(Term))]),
                     {Reader, Ref} = spawn_monitor(fun() -> read_until_told(Data, Term) end),
                     ?assertMatch({error, #{kind := worker_exit, reason := {signal, sigsegv}}}, pitcrew:call(Pool, Tool)),
                     Reader ! stop,
                     receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end,
                     ?assertEqual(ok, pitcrew_test:whole(Pool))
                 end || Tool <- [write_given, write_given_in_a_thread]]
            end)
        end)
    end).

read_until_told(Data, Term) ->
    ?assert(Term =:= binary_to_term(Data)),
    receive
        stop -> ok
    after 0 -> read_until_told(Data, Term)
    end.

%% ---- What is left

memfds(Pid) -> {mappings(Pid), descriptors(Pid)}.

mappings(Pid) ->
    {ok, Maps} = file:read_file(io_lib:format("/proc/~b/maps", [Pid])),
    length(binary:matches(Maps, <<"/memfd:">>)).

descriptors(Pid) ->
    Folder = io_lib:format("/proc/~b/fd", [Pid]),
    {ok, Names} = file:list_dir(Folder),
    length([Name || Name <- Names, {ok, "/memfd:" ++ _} <- [file:read_link(filename:join(Folder, Name))]]).

ten_thousand_test_() ->
    test(fun() ->
        Vm = list_to_integer(os:getpid()),
        garbage(),
        Before = memfds(Vm),
        with(#{size => 2}, fun(Pool) ->
            Callers = [spawn_monitor(fun() -> [transfer(Pool) || _ <- lists:seq(1, 2_500)] end) || _ <- lists:seq(1, 4)],
            [receive {'DOWN', Ref, process, _, Reason} -> ?assertEqual(normal, Reason) end || {_, Ref} <- Callers],
            #{zygote := Zygote, port := Port, guard := Guard} = pitcrew:info(Pool),
            [?assertEqual({Pid, {0, 0}}, {Pid, memfds(Pid)}) || Pid <- [Zygote, Port, Guard]],
            [?assertMatch({N, 0} when N =< 2 * 64 + 2, memfds(Pid)) || Pid <- pitcrew_test:os_pids(Pool)],
            nothing_held(Pool)
        end),
        ?assertEqual(ok, until(fun() ->
            garbage(),
            case memfds(Vm) of
                Before -> ok;
                Now -> {Before, Now}
            end
        end))
    end).

transfer(Pool) ->
    N = ?LEAST + rand:uniform(?LEAST),
    B = binary:copy(<<(rand:uniform(256) - 1)>>, N),
    ?assertEqual({ok, B}, pitcrew:call(Pool, echo_view, [pitcrew:bytes(B)])).
