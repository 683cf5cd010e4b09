%% The dashboard's server, as a stranger meets it: who may do what, what is refused, and what is let go of. The page itself is tested in a browser
%% (test/browser).
-module(pitcrew_dashboard_tests).
-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2, until/1]).

-define(TOKEN, <<"0123456789abcdef">>).

test(Fun) -> {timeout, 60, Fun}.

with_page(Options, Fun) ->
    {ok, Pid} = pitcrew_dashboard:start_link(maps:merge(#{port => 0, token => ?TOKEN}, Options)),
    try
        Fun(pitcrew_dashboard:port(Pid))
    after
        unlink(Pid),
        Monitor = monitor(process, Pid),
        exit(Pid, shutdown),
        receive {'DOWN', Monitor, process, Pid, _} -> ok end
    end.

open(Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}]),
    Socket.

%% All that comes until the end.
rest(Socket) ->
    case gen_tcp:recv(Socket, 0, 30_000) of
        {ok, Data} -> <<Data/binary, (rest(Socket))/binary>>;
        {error, closed} -> <<>>
    end.

send(Port, Text) ->
    Socket = open(Port),
    %% Whoever is refused at once may be gone already.
    _ = gen_tcp:send(Socket, Text),
    Answer = rest(Socket),
    ok = gen_tcp:close(Socket),
    Answer.

%% Status, head and body.
request(Port, Line, Headers) ->
    Answer = send(Port, [Line, " HTTP/1.1\r\n", [[Name, ": ", Value, "\r\n"] || {Name, Value} <- Headers], "\r\n"]),
    <<"HTTP/1.1 ", Status:3/binary, " ", _/binary>> = Answer,
    [Head, Body] = binary:split(Answer, <<"\r\n\r\n">>),
    {binary_to_integer(Status), Head, Body}.

status(Port, Line, Headers) -> element(1, request(Port, Line, Headers)).

host(Port) -> {"Host", ["127.0.0.1:", integer_to_list(Port)]}.
origin(Port) -> {"Origin", ["http://127.0.0.1:", integer_to_list(Port)]}.
token() -> {"X-Pitcrew-Token", ?TOKEN}.

soon(Fun) -> ?assertEqual(ok, until(fun() -> Fun() andalso ok end)).

has(Text, Head) -> binary:match(Head, Text) =/= nomatch.

%% ---- What is shown

the_page_and_its_files_test_() ->
    test(fun() ->
        with_page(#{}, fun(Port) ->
            [
                begin
                    {200, Head, Body} = request(Port, ["GET ", Path], [host(Port)]),
                    ?assert(has(Type, Head)),
                    ?assert(has(<<"Content-Security-Policy: default-src 'none'; script-src 'self'">>, Head)),
                    ?assert(has(<<"X-Content-Type-Options: nosniff">>, Head)),
                    ?assertNot(has(<<"Access-Control">>, Head)),
                    ?assert(byte_size(Body) > 20),
                    {200, _, <<>>} = request(Port, ["HEAD ", Path], [host(Port)])
                end
             || {Path, Type} <- [{"/", <<"text/html">>}, {"/dashboard.js", <<"text/javascript">>}, {"/dashboard.css", <<"text/css">>}, {"/stats", <<"json">>}]
            ]
        end)
    end).

%% A policy that forbids inline scripts and styles is kept by the page itself.
nothing_is_inline_test() ->
    #{<<"/">> := {_, Page}} = Files = pitcrew_dashboard_page:files(),
    ?assertEqual(nomatch, re:run(Page, "\\son[a-z]+=|\\sstyle=|<style|<script(?! type=\"module\" src=)")),
    [?assertEqual(nomatch, re:run(Text, "https?://(?!www\\.w3\\.org/2000/svg)"), Path) || {Path, {_, Text}} <- maps:to_list(Files)].

numbers_of_pools_test_() ->
    test(fun() ->
        with_pool(#{tools => ["py_tools"], size => 2}, fun(Pool) ->
            [{ok, _} = pitcrew:call(Pool, add, [N, 1]) || N <- lists:seq(1, 5)],
            {ok, #{calls := 5}} = {ok, pitcrew:stats(Pool)},
            Look = pitcrew_dashboard_data:look([Pool]),
            #{pools := [#{name := Pool, calls := 5, ready := 2, workers := [Worker, _], tools := [#{name := <<"add">>, calls := 5}], now := Now}]} =
                pitcrew_dashboard_data:view(Look, Look),
            #{os_pid := OsPid, cpu := Cpu, age := Age, rss := Rss, state := idle} = Worker,
            ?assert(is_integer(OsPid) andalso Rss > 1_000_000 andalso Age >= 0 andalso Cpu == 0),
            %% Nothing has happened between a look and itself.
            #{rate := 0.0, p99 := nil, msgpack := 0.0, running := 0, room := 2} = Now,
            with_page(#{pools => [Pool]}, fun(Port) ->
                {200, _, Body} = request(Port, "GET /stats", [host(Port)]),
                ?assert(has(<<"\"calls\": 5">>, Body)),
                Socket = open(Port),
                ok = gen_tcp:send(Socket, ["GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"]),
                %% What there was, and from then on what there is.
                ?assert(seen(Socket, <<>>, [<<"event: history\ndata: {">>, <<"event: look\ndata: {">>, <<"event: look\ndata: {">>])),
                ok = gen_tcp:close(Socket)
            end)
        end)
    end).

seen(_, _, []) -> true;
seen(Socket, Data, [Text | Rest] = Wanted) ->
    case binary:split(Data, Text) of
        [_, After] -> seen(Socket, After, Rest);
        [_] ->
            {ok, More} = gen_tcp:recv(Socket, 0, 30_000),
            seen(Socket, <<Data/binary, More/binary>>, Wanted)
    end.

json_in_one_line_test() ->
    Text = pitcrew_plain_json:line(#{a => [1, 1.5, nil, true, <<"é\"\\\n\x{1}"/utf8>>, <<255>>, ok, #{}]}),
    ?assertEqual(<<"{\"a\": [1,1.5,null,true,\"é\\\"\\\\\\n\\u0001\",\"ÿ\",\"ok\",{}]}"/utf8>>, Text).

%% ---- Who may do what

change_needs_token_origin_and_host_test_() ->
    test(fun() ->
        with_pool(#{tools => ["py_tools"], size => 1}, fun(Pool) ->
            with_page(#{}, fun(Port) ->
                #{workers := [#{id := Id, os_pid := Before}]} = pitcrew:info(Pool),
                Line = ["POST /recycle?pool=", atom_to_list(Pool), "&worker=", integer_to_list(Id)],
                Status = fun(Headers) -> status(Port, Line, Headers) end,
                401 = Status([host(Port), origin(Port)]),
                401 = Status([host(Port), origin(Port), {"X-Pitcrew-Token", "0123456789abcdeF"}]),
                401 = Status([host(Port), origin(Port), {"X-Pitcrew-Token", ""}]),
                403 = Status([host(Port), token()]),
                403 = Status([host(Port), token(), {"Origin", "http://evil.example"}]),
                403 = Status([host(Port), token(), {"Origin", "null"}]),
                %% Another port of this machine is another page.
                403 = Status([host(Port), token(), {"Origin", "http://127.0.0.1:1"}]),
                403 = Status([host(Port), token(), {"Origin", ["http://127.0.0.1:", integer_to_list(Port), ".evil.example"]}]),
                %% A name that was made to point here, with an Origin that fits.
                403 = Status([{"Host", "evil.example"}, token(), {"Origin", "http://evil.example"}]),
                400 = Status([origin(Port), token()]),
                400 = Status([host(Port), host(Port), origin(Port), token()]),
                400 = Status([host(Port), origin(Port), {"Origin", "http://evil.example"}, token()]),
                %% Reading is no way to change.
                404 = status(Port, ["GET", lists:nthtail(4, lists:flatten(Line))], [host(Port), token()]),
                [#{os_pid := Before}] = maps:get(workers, pitcrew:info(Pool)),
                202 = Status([host(Port), origin(Port), token()]),
                soon(fun() ->
                    case pitcrew:info(Pool) of
                        #{workers := [#{os_pid := After, state := idle}]} -> After =/= Before;
                        #{} -> false
                    end
                end)
            end)
        end)
    end).

what_can_be_changed_test_() ->
    test(fun() ->
        with_pool(#{tools => ["py_tools"], size => 1}, fun(Pool) ->
            with_page(#{}, fun(Port) ->
                Status = fun(Target) -> status(Port, ["POST ", Target], [host(Port), origin(Port), token()]) end,
                Name = atom_to_list(Pool),
                404 = Status("/recycle?pool=nobody&worker=0"),
                404 = Status(["/recycle?pool=", Name, "&worker=x"]),
                404 = Status(["/recycle?pool=", Name]),
                404 = Status("/recycle"),
                404 = Status("/stats"),
                %% There is no such worker.
                409 = Status(["/recycle?pool=", Name, "&worker=17"]),
                404 = Status("/profile?pool=nobody&ms=1")
            end),
            %% Others are none of its business.
            with_page(#{pools => [other]}, fun(Port) ->
                404 = status(Port, ["POST /recycle?worker=0&pool=", atom_to_list(Pool)], [host(Port), origin(Port), token()])
            end)
        end)
    end).

profile_test_() ->
    test(fun() ->
        with_pool(#{tools => ["py_tools"], size => 1}, fun(Pool) ->
            with_page(#{pools => [Pool]}, fun(Port) ->
                Line = ["POST /profile?pool=", atom_to_list(Pool), "&ms="],
                Headers = [host(Port), origin(Port)],
                401 = status(Port, [Line, "100"], Headers),
                [400 = status(Port, [Line, Ms], [token() | Headers]) || Ms <- ["", "0", "x", "60001", "-1"]],
                {200, _, Body} = request(Port, [Line, "100"], [token() | Headers]),
                ?assert(has(<<"\"table\": \"">>, Body) andalso has(<<"\"flame_graph\": \"<svg">>, Body))
            end)
        end)
    end).

%% 0.0.0.0 is not a loopback address, and is reached by one.
elsewhere_everything_needs_the_token_test_() ->
    test(fun() ->
        with_page(#{ip => {0, 0, 0, 0}}, fun(Port) ->
            [401 = status(Port, ["GET ", Path], [host(Port)]) || Path <- ["/", "/stats", "/events", "/dashboard.js", "/nothing"]],
            401 = status(Port, "GET /?token=wrong", [host(Port)]),
            403 = status(Port, ["GET /?token=", ?TOKEN], [{"Host", "evil.example"}]),
            {303, Head, _} = request(Port, ["GET /?token=", ?TOKEN], [host(Port)]),
            ?assert(has(<<"Location: /#token=", ?TOKEN/binary>>, Head)),
            {match, [Cookie, Rest]} = re:run(Head, "Set-Cookie: ([^;]+);(.*)", [{capture, all_but_first, binary}]),
            ?assert(has(<<"HttpOnly">>, Rest) andalso has(<<"SameSite=Strict">>, Rest)),
            ?assertNot(has(?TOKEN, Cookie)),
            [200 = status(Port, ["GET ", Path], [host(Port), {"Cookie", ["a=b; ", Cookie]}]) || Path <- ["/", "/stats", "/dashboard.js"]],
            401 = status(Port, "GET /stats", [host(Port), {"Cookie", [Cookie, "0"]}]),
            200 = status(Port, "GET /stats", [host(Port), {"Authorization", ["Bearer ", ?TOKEN]}]),
            %% What may be read with the cookie may not be changed with it.
            401 = status(Port, "POST /recycle?pool=py&worker=0", [host(Port), origin(Port), {"Cookie", Cookie}])
        end)
    end).

names_of_hosts_test_() ->
    test(fun() ->
        with_page(#{hosts => [<<"Tools.example">>]}, fun(Port) ->
            Status = fun(Host) -> status(Port, "GET /", [{"Host", Host}]) end,
            [200 = Status(Host) || Host <- ["tools.example", "TOOLS.example:80", "localhost:1", "127.0.0.1", "[::1]:4040", "10.0.0.1"]],
            [403 = Status(Host) || Host <- ["example", "a@localhost", "localhost/", "localhost?", "x.localhost", "127.0.0.1.evil.example", "", "[::1", <<"é"/utf8>>, <<255>>]],
            403 = status(Port, "GET /events", [host(Port), {"Origin", "http://evil.example"}])
        end)
    end).

%% ---- What no browser sends

strange_requests_test_() ->
    test(fun() ->
        with_page(#{}, fun(Port) ->
            Paths = ["/../../../etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/dashboard.css/..", "/dashboard.css%00", "/index.html", "/."],
            [404 = status(Port, ["GET ", Path], [host(Port)]) || Path <- Paths],
            [405 = status(Port, [Method, " /"], [host(Port)]) || Method <- ["PUT", "DELETE", "OPTIONS", "TRACE", "BREW"]],
            [400 = status(Port, ["GET ", Target], [host(Port)]) || Target <- ["*", "http://127.0.0.1/", "/?a=%zz"]],
            [413 = status(Port, "POST /recycle", [host(Port), origin(Port), token(), Body]) || Body <- [{"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}]],
            414 = status(Port, ["GET /", lists:duplicate(3_000, $a)], [host(Port)]),
            431 = status(Port, "GET /", [host(Port), {"A", lists:duplicate(20_000, $a)}]),
            431 = status(Port, "GET /", [host(Port) | [{["A", integer_to_list(N)], "b"} || N <- lists:seq(1, 70)]]),
            <<"HTTP/1.1 431 ", _/binary>> = send(Port, lists:duplicate(20_000, $a)),
            <<"HTTP/1.1 400 ", _/binary>> = send(Port, "\r\n\r\n"),
            <<"HTTP/1.1 400 ", _/binary>> = send(Port, <<0, 1, 2, 255, "\r\n\r\n">>),
            <<"HTTP/1.1 505 ", _/binary>> = send(Port, "GET / HTTP/3.7\r\n\r\n"),
            200 = status(Port, "GET /", [host(Port)])
        end)
    end).

%% Every head that is cut somewhere is waited for, and none is taken for another.
cut_requests_test() ->
    Head = <<"GET /stats?pool=a HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n">>,
    {ok, #{method := <<"GET">>, path := <<"/stats">>, query := #{<<"pool">> := <<"a">>}, headers := #{<<"host">> := <<"localhost">>}}} =
        pitcrew_dashboard_request:parse(Head),
    [?assertMatch({bad, 400}, pitcrew_dashboard_request:parse(binary:part(Head, 0, N))) || N <- lists:seq(0, byte_size(Head) - 3)].

%% One that says nothing is told so in the end, and holds up nobody.
slow_clients_test_() ->
    test(fun() ->
        with_page(#{}, fun(Port) ->
            Slow = open(Port),
            ok = gen_tcp:send(Slow, "GET / HTTP/1.1\r\nHost:"),
            200 = status(Port, "GET /", [host(Port)]),
            <<"HTTP/1.1 408 ", _/binary>> = rest(Slow)
        end)
    end).

%% Those that are too many are told to come back, and room comes back.
many_connections_test_() ->
    test(fun() ->
        with_page(#{}, fun(Port) ->
            Sockets = [open(Port) || _ <- lists:seq(1, 48)],
            <<"HTTP/1.1 503 ", _/binary>> = send(Port, ""),
            lists:foreach(fun gen_tcp:close/1, Sockets),
            soon(fun() -> has(<<"HTTP/1.1 200 ">>, try_page(Port)) end)
        end)
    end).

try_page(Port) ->
    Socket = open(Port),
    _ = gen_tcp:send(Socket, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    Answer = case gen_tcp:recv(Socket, 0, 30_000) of {ok, Data} -> Data; {error, _} -> <<>> end,
    ok = gen_tcp:close(Socket),
    Answer.

%% A few may look at a time, and whoever leaves makes room.
many_clients_of_events_test_() ->
    test(fun() ->
        with_page(#{}, fun(Port) ->
            Clients = [events(Port) || _ <- lists:seq(1, 16)],
            503 = status(Port, "GET /events", [host(Port)]),
            lists:foreach(fun gen_tcp:close/1, Clients),
            soon(fun() -> has(<<"HTTP/1.1 200 ">>, first(Port)) end)
        end)
    end).

first(Port) ->
    Socket = open(Port),
    ok = gen_tcp:send(Socket, ["GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"]),
    {ok, Data} = gen_tcp:recv(Socket, 0, 30_000),
    ok = gen_tcp:close(Socket),
    Data.

events(Port) ->
    Socket = open(Port),
    ok = gen_tcp:send(Socket, ["GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"]),
    true = seen(Socket, <<>>, [<<"event: history">>]),
    Socket.

%% One that takes nothing is let go of: what is sent to it fits into no buffer.
slow_clients_of_events_test_() ->
    test(fun() ->
        {ok, Pid} = pitcrew_dashboard:start_link(#{port => 0}),
        Socket = events(pitcrew_dashboard:port(Pid)),
        [Listener] = [Child || {listener, Child, _, _} <- supervisor:which_children(Pid)],
        {links, Links} = process_info(Listener, links),
        %% Besides the supervisor and the acceptor.
        Connections = [Link || Link <- Links, is_pid(Link), Link =/= Pid, {current_function, {pitcrew_dashboard_connection, _, _}} <- [process_info(Link, current_function)]],
        [Connection] = Connections,
        Monitor = monitor(process, Connection),
        Connection ! {pitcrew_dashboard, binary:copy(<<"x">>, 64_000_000)},
        receive
            {'DOWN', Monitor, process, Connection, Reason} -> ?assertEqual(normal, Reason)
        end,
        ok = gen_tcp:close(Socket),
        unlink(Pid),
        exit(Pid, shutdown)
    end).

%% Whoever looks is let go with the listener, and the port is free again.
the_end_test_() ->
    test(fun() ->
        Socket = with_page(#{}, fun(Port) -> {Port, events(Port)} end),
        {Port, Client} = Socket,
        _ = rest(Client),
        with_page(#{port => Port}, fun(Same) -> ?assertEqual(Port, Same) end)
    end).

%% ---- Options

options_test_() ->
    test(fun() ->
        Before = process_flag(trap_exit, true),
        [
            {error, #{kind := invalid_option}} = pitcrew_dashboard:start_link([Wrong])
         || Wrong <- [{port, -1}, {ip, "here"}, {token, <<"short">>}, {hosts, here}, {pools, []}, {prot, 1}]
        ],
        with_page(#{}, fun(Port) -> pitcrew_test:quietly(fun() -> {error, eaddrinuse} = pitcrew_dashboard:start_link(#{port => Port}) end) end),
        receive {'EXIT', _, {shutdown, {failed_to_start_child, listener, eaddrinuse}}} -> ok end,
        {ok, Pid} = pitcrew_dashboard:start_link(#{port => 0}),
        #{query := Query} = uri_string:parse(pitcrew_dashboard:url(Pid)),
        [{<<"token">>, Token}] = uri_string:dissect_query(Query),
        ?assert(byte_size(Token) >= 32),
        exit(Pid, shutdown),
        receive {'EXIT', Pid, shutdown} -> ok end,
        true = process_flag(trap_exit, Before)
    end).

%% A token that was given is nobody's to read in the log, nor in a report.
the_token_is_not_shown_test_() ->
    test(fun() ->
        {ok, Pid} = pitcrew_dashboard:start_link(#{port => 0, token => ?TOKEN}),
        try
            Children = supervisor:which_children(Pid),
            Shown = [supervisor:get_childspec(Pid, listener) | [sys:get_state(Child) || {listener, Child, _, _} <- Children]],
            States = iolist_to_binary(io_lib:format("~p", [hd(Shown)])),
            ?assertNot(has(?TOKEN, States))
        after
            unlink(Pid),
            exit(Pid, shutdown)
        end
    end).

%% ---- Rows for pages of others

rows_test_() ->
    test(fun() ->
        with_pool(#{tools => ["py_tools"], size => 2}, fun(Pool) ->
            [{ok, _} = pitcrew:call(Pool, add, [N, 1]) || N <- lists:seq(1, 3)],
            {error, _} = pitcrew:call(Pool, add, [1, <<"x">>]),
            {ok, _} = pitcrew:call(Pool, describe),
            Name = atom_to_binary(Pool),
            Params = #{search => Name, sort_by => calls, sort_dir => desc, limit => 50},
            Fetch = fun(Kind, Given) -> pitcrew_dashboard_rows:fetch(Kind, Given, node(), none) end,
            {[#{pool := Name, calls := 5, errors := 1, ready := 2, rate := 0.0}], 1, Before} = Fetch(pools, Params),
            {[#{name := <<"add">>, calls := 4}, #{name := <<"describe">>, calls := 1}], 2, _} = Fetch(tools, Params),
            {[#{name := <<"describe">>}], 2, _} = Fetch(tools, Params#{sort_dir := asc, limit := 1}),
            {[#{name := <<"describe">>}], 1, _} = Fetch(tools, Params#{search := <<"DESCR">>}),
            {[_, _], 2, _} = Fetch(workers, Params),
            {[], 0, _} = Fetch(workers, Params#{search := <<"nobody">>}),
            %% The second time there are rates.
            {ok, _} = pitcrew:call(Pool, describe),
            {[#{rate := Rate}], 1, _} = pitcrew_dashboard_rows:fetch(pools, Params, node(), Before),
            ?assert(Rate > 0)
        end)
    end).
