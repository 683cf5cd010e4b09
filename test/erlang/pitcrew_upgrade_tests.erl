%% The NIF library is replaced under living handles, as in a release upgrade: a listener, a free slot and a call that
%% waits go on in the new library, and the old one goes. In a VM of its own.
-module(pitcrew_upgrade_tests).
-include_lib("eunit/include/eunit.hrl").
-export([upgrade/2, reload_under_load/0]).

upgrade_test_() -> {timeout, 60, fun() -> in_a_vm_with_two_copies(fun(Peer, Dirs) -> ?assertEqual(ok, peer:call(Peer, ?MODULE, upgrade, Dirs, 30000)) end) end}.
reload_test_() -> {timeout, 60, fun() -> in_a_vm_with_two_copies(fun(Peer, _) -> ?assertEqual(ok, peer:call(Peer, ?MODULE, reload_under_load, [], 30000)) end) end}.

in_a_vm_with_two_copies(Fun) ->
    Base = filename:join("/tmp", "pitcrew-upgrade-" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive]))),
    Dirs = [copy(Base, "pitcrew-1"), copy(Base, "pitcrew-2")],
    Tests = filename:dirname(code:which(?MODULE)),
    {ok, Peer, _} = peer:start(#{connection => standard_io, args => ["-pa", hd(Dirs), "-pz", Tests]}),
    try Fun(Peer, Dirs)
    after
        peer:stop(Peer),
        file:del_dir_r(Base)
    end.

%% An application directory with the stub module and the library.
copy(Base, Name) ->
    Ebin = filename:join([Base, Name, "ebin"]),
    Library = filename:join([Base, Name, "priv", "pitcrew_nif.so"]),
    ok = filelib:ensure_dir(filename:join(Ebin, "x")),
    ok = filelib:ensure_dir(Library),
    Beam = code:which(pitcrew_nif),
    {ok, _} = file:copy(Beam, filename:join(Ebin, "pitcrew_nif.beam")),
    {ok, _} = file:copy(filename:join(priv(Beam), "pitcrew_nif.so"), Library),
    Ebin.

priv(Beam) ->
    case code:priv_dir(pitcrew) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(Beam)), "priv");
        Dir -> Dir
    end.

%% ---- in the other VM

upgrade(_First, Second) ->
    {Room, Reply} = waiting_call(),
    true = code:replace_path(pitcrew, Second),
    {module, pitcrew_nif} = code:load_file(pitcrew_nif),
    Second = filename:dirname(code:which(pitcrew_nif)),
    false = code:purge(pitcrew_nif),
    2 = libraries_mapped_at_most(),
    Reply(),
    close(Room).

%% Loading and purging over and over while calls are made.
reload_under_load() ->
    {Room, Reply} = waiting_call(),
    Caller = spawn_link(fun() -> encode_forever() end),
    [begin
         {module, pitcrew_nif} = code:load_file(pitcrew_nif),
         purge_softly()
     end || _ <- lists:seq(1, 30)],
    unlink(Caller),
    exit(Caller, kill),
    Reply(),
    close(Room).

%% Waits for whoever is still inside the old code, a dirty NIF included.
purge_softly() ->
    case code:soft_purge(pitcrew_nif) of
        true -> ok;
        false -> erlang:yield(), purge_softly()
    end.

encode_forever() ->
    Term = lists:seq(1, 50000),
    {ok, Binary} = pitcrew_nif:encode(Term, #{}),
    {ok, Term} = pitcrew_nif:decode(Binary, #{}),
    encode_forever().

%% Never more than the old and the new one.
libraries_mapped_at_most() ->
    {ok, Maps} = file:read_file("/proc/self/maps"),
    Paths = [lists:last(binary:split(Line, <<" ">>, [global]))
             || Line <- binary:split(Maps, <<"\n">>, [global]), binary:match(Line, <<"pitcrew_nif.so">>) =/= nomatch],
    max(2, length(lists:usort(Paths))).

waiting_call() ->
    Dir = filename:join("/tmp", "pitcrew-up-" ++ os:getpid()),
    ok = file:make_dir(Dir),
    Path = filename:join(Dir, "s"),
    {ok, Listener} = pitcrew_nif:listen(Path),
    {ok, Worker} = gen_tcp:connect({local, Path}, 0, [binary, {packet, 4}, {active, false}]),
    {ok, Channel, _} = pitcrew_nif:accept(Listener, make_ref()),
    Slots = pitcrew_nif:slots_new(1, lifo, self()),
    ok = pitcrew_nif:slots_install(Slots, 0, Channel),
    {ok, Channel, 0} = pitcrew_nif:claim(Slots),
    Ref = make_ref(),
    {ok, _} = pitcrew_nif:call(Channel, Ref, <<"tool">>, [1], nil, nil, #{}, 1000, 0, infinity),
    Reply = fun() ->
        {ok, Frame} = gen_tcp:recv(Worker, 0),
        {ok, [3, Id | _]} = pitcrew_nif:decode(Frame, #{}),
        {ok, Answer} = pitcrew_nif:encode([4, Id, 0, <<"done">>], #{}),
        ok = gen_tcp:send(Worker, Answer),
        receive {select, Channel, Ref, ready_input} -> ok end,
        {reply, 0, _, <<"done">>} = pitcrew_nif:reply(Channel, Ref, #{}),
        ok = pitcrew_nif:checkin(Channel),
        ok = pitcrew_nif:verdict(Channel, {over, make_ref()})
    end,
    {{Dir, Path, Listener, Channel, Slots}, Reply}.

close({Dir, Path, Listener, Channel, Slots}) ->
    ok = pitcrew_nif:slots_remove(Slots, 0),
    ok = pitcrew_nif:channel_close(Channel),
    ok = pitcrew_nif:close_listener(Listener),
    ok = file:delete(Path),
    file:del_dir(Dir).
