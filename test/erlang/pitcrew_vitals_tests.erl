%% What the system says of workers, by way of the port program, which disturbs nobody; and what Python's garbage collector takes, if somebody wants to know.
-module(pitcrew_vitals_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_test, [with_pool/2, until/1]).

-define(MIB, 1_048_576).

tell(_, Measured, Told, To) -> To ! {Measured, Told}.

pool(Options, Event, Fun) ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        %% Handlers run in the worker's process, so the mailbox of this one would fill; somebody keeps what came last.
        Keeper = spawn_link(fun() -> keep(none) end),
        ok = pitcrew_telemetry:attach(?MODULE, [pitcrew_test | Event], fun ?MODULE:tell/4, Keeper),
        try
            with_pool(maps:merge(#{size => 1, tools => ["vitals_tools"]}, Options), fun(Pool) -> Fun(Pool, Keeper) end)
        after
            ok = pitcrew_telemetry:detach(?MODULE),
            unlink(Keeper),
            exit(Keeper, kill)
        end
    end}.

keep(Last) ->
    receive
        {last, From, Ref} -> From ! {Ref, Last}, keep(Last);
        {Measured, Told} -> keep({Measured, Told})
    end.

last(Keeper) ->
    Ref = make_ref(),
    Keeper ! {last, self(), Ref},
    receive {Ref, Last} -> Last end.

worker(Pool) ->
    #{workers := [Worker]} = pitcrew:info(Pool),
    Worker.

%% Once the system has been asked, and says that.
shown(Pool, Fits) ->
    ?assertEqual(ok, until(fun() ->
        case worker(Pool) of
            #{resident := nil} = Unknown -> Unknown;
            Worker -> case Fits(Worker) of true -> ok; false -> Worker end
        end
    end)).

%% The least of ten looks: a worker that is looked at while it measures its own memory has a file more.
at_rest(Pool) ->
    Looks = [begin receive after 25 -> ok end, worker(Pool) end || _ <- lists:seq(1, 10)],
    maps:from_list([{What, lists:min([map_get(What, Look) || Look <- Looks])} || What <- [resident, threads, files]]).

info_shows_what_a_worker_has_test_() ->
    pool(#{vitals_interval => 20, max_rss => 1 bsl 40}, [worker, vitals], fun(Pool, Keeper) ->
        shown(Pool, fun(_) -> true end),
        #{cpu_ms := CpuMs} = worker(Pool),
        #{resident := Resident, threads := Threads, files := Files} = at_rest(Pool),
        ?assert(Resident > 5 * ?MIB),
        {ok, OsPid} = pitcrew:call(Pool, have, [64 * ?MIB, 3, 7]),
        shown(Pool, fun(#{resident := R, threads := T, files := F}) ->
            R >= Resident + 64 * ?MIB andalso T =:= Threads + 3 andalso F =:= Files + 7
        end),
        {ok, nil} = pitcrew:call(Pool, compute, [20_000_000]),
        shown(Pool, fun(#{cpu_ms := After}) -> After > CpuMs end),
        %% What the heartbeat knows is there as well.
        shown(Pool, fun(#{rss := Rss, silent_ms := 0}) -> is_integer(Rss) end),
        {Measured, Told} = last(Keeper),
        ?assertMatch(#{resident := R, cpu_time := Cpu, threads := _, files := _} when R > 64 * ?MIB andalso Cpu > 0, Measured),
        ?assertEqual([cpu_time, files, resident, threads], lists:sort(maps:keys(Measured))),
        ?assertEqual(#{pool => pitcrew_test, worker => OsPid, id => 0}, Told)
    end).

%% Processor time is in the same unit as all durations.
processor_time_is_in_native_units_test_() ->
    pool(#{vitals_interval => 20}, [worker, vitals], fun(Pool, Keeper) ->
        {ok, nil} = pitcrew:call(Pool, compute, [50_000_000]),
        ok = until(fun() -> case last(Keeper) of none -> none; _ -> ok end end),
        Before = erlang:monotonic_time(),
        #{cpu_ms := CpuMs} = worker(Pool),
        {#{cpu_time := Cpu}, _} = last(Keeper),
        ?assert(Cpu >= erlang:convert_time_unit(CpuMs, millisecond, native)),
        ?assert(Cpu < Before - erlang:system_info(start_time))
    end).

%% Python is not asked.
one_that_holds_the_gil_is_seen_test_() ->
    pool(#{vitals_interval => 20}, [worker, vitals], fun(Pool, _) ->
        shown(Pool, fun(_) -> true end),
        Call = pitcrew:async(Pool, compute, [1 bsl 60], #{timeout => infinity}),
        ok = until(fun() -> case worker(Pool) of #{state := busy} -> ok; Other -> Other end end),
        #{cpu_ms := CpuMs} = worker(Pool),
        shown(Pool, fun(#{cpu_ms := After}) -> After > CpuMs + 50 end),
        ok = pitcrew:cancel(Call)
    end).

nobody_asks_where_nobody_wants_to_know_test_() ->
    pool(#{vitals_interval => infinity, heartbeat => 10}, [worker, vitals], fun(Pool, Keeper) ->
        {ok, _} = pitcrew:call(Pool, have, [1, 0, 0]),
        ok = until(fun() -> case worker(Pool) of #{silent_ms := 0} -> ok; Other -> Other end end),
        ?assertMatch(#{resident := nil, cpu_ms := nil, threads := nil, files := nil}, worker(Pool)),
        ?assertEqual(none, last(Keeper))
    end).

%% A successor has vitals of its own, and nothing is left of the other's.
a_new_worker_begins_anew_test_() ->
    pool(#{vitals_interval => 20}, [worker, vitals], fun(Pool, Keeper) ->
        {ok, OsPid} = pitcrew:call(Pool, have, [64 * ?MIB, 0, 0]),
        shown(Pool, fun(#{resident := R}) -> R > 64 * ?MIB end),
        pitcrew_test:kill(OsPid),
        ok = until(fun() ->
            case worker(Pool) of
                #{os_pid := Other, resident := R} when is_integer(Other), Other =/= OsPid, is_integer(R), R < 64 * ?MIB -> ok;
                Still -> Still
            end
        end),
        #{os_pid := Next} = worker(Pool),
        ok = until(fun() -> case last(Keeper) of {_, #{worker := Next}} -> ok; Other -> Other end end)
    end).

%% ---- Pauses

pauses_are_told_where_somebody_wants_to_know_test_() ->
    [
        {atom_to_list(Start), pool(#{gc_pauses => 0, start => Start}, [python, gc, pause], fun(Pool, Keeper) ->
            {ok, Found} = pitcrew:call(Pool, litter, [100]),
            ?assert(Found >= 100),
            ok = until(fun() ->
                case last(Keeper) of
                    {#{duration := D, collected := C, uncollectable := 0}, #{generation := 2, tool_id := <<"litter">>}} when D > 0, C >= 100 -> ok;
                    Other -> Other
                end
            end),
            ?assertEqual({ok, 1}, pitcrew:call(Pool, callbacks))
        end)}
     || Start <- [fork, spawn]
    ].

short_pauses_are_not_told_test_() ->
    pool(#{gc_pauses => 60_000_000}, [python, gc, pause], fun(Pool, Keeper) ->
        {ok, _} = pitcrew:call(Pool, litter, [100]),
        {ok, _} = pitcrew:call(Pool, litter, [100]),
        ?assertEqual(none, last(Keeper))
    end).

without_that_option_nothing_is_called_test_() ->
    pool(#{}, [python, gc, pause], fun(Pool, Keeper) ->
        {ok, _} = pitcrew:call(Pool, litter, [100]),
        ?assertEqual({ok, 0}, pitcrew:call(Pool, callbacks)),
        ?assertEqual(none, last(Keeper))
    end).
