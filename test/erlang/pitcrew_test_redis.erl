%% For tests: a redis-server of the test's own, on a free port, with a folder of its own and nothing on disk.
-module(pitcrew_test_redis).
-export([with_redis/1, start/2, stop/1, free_port/0, command/2, keys/1, if_redis/1]).

-record(server, {port :: pos_integer(), pipe :: port(), os_pid :: pos_integer()}).

%% @doc Tests that need a server and eredis, where both are installed.
if_redis(Tests) ->
    case {os:find_executable("redis-server"), pitcrew_cache_redis_link:available()} of
        {Path, ok} when is_list(Path) -> Tests;
        _ -> []
    end.

with_redis(Fun) ->
    Server = start(free_port(), []),
    try
        Fun(Server)
    after
        stop(Server)
    end.

%% @doc Returns when it answers.
start(Port, Args) ->
    Pipe = open_port({spawn_executable, os:find_executable("redis-server")}, [
        {args, ["--port", integer_to_list(Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/tmp"] ++ Args},
        binary, {line, 4096}, exit_status
    ]),
    {os_pid, OsPid} = erlang:port_info(Pipe, os_pid),
    ready(Pipe),
    #server{port = Port, pipe = Pipe, os_pid = OsPid}.

ready(Pipe) ->
    receive
        {Pipe, {data, {_, Line}}} ->
            case binary:match(Line, <<"Ready to accept connections">>) of
                nomatch -> ready(Pipe);
                _ -> ok
            end;
        {Pipe, {exit_status, Status}} ->
            error({redis_server, Status})
    after 10_000 -> error(redis_server)
    end.

%% @doc Kills it, unless it is gone already, and returns when it is.
stop(#server{pipe = Pipe, os_pid = OsPid}) ->
    case erlang:port_info(Pipe) of
        undefined ->
            ok;
        _ ->
            pitcrew_test:kill(OsPid),
            ended(Pipe)
    end.

ended(Pipe) ->
    receive
        {Pipe, {exit_status, _}} -> ok;
        {Pipe, {data, _}} -> ended(Pipe)
    after 10_000 -> error(redis_server)
    end.

free_port() ->
    {ok, Socket} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}}]),
    {ok, Port} = inet:port(Socket),
    ok = gen_tcp:close(Socket),
    Port.

%% @doc One command, by a client that is not the one that is tested.
command(#server{port = Port}, Parts) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {packet, line}]),
    ok = gen_tcp:send(Socket, [["*", integer_to_list(length(Parts)), "\r\n"] | [bulk(iolist_to_binary(Part)) || Part <- Parts]]),
    Answer = answer(Socket),
    ok = gen_tcp:close(Socket),
    Answer.

bulk(Part) -> ["$", integer_to_list(byte_size(Part)), "\r\n", Part, "\r\n"].

answer(Socket) ->
    {ok, <<Sort, Line/binary>>} = gen_tcp:recv(Socket, 0, 5000),
    Text = string:trim(Line),
    case Sort of
        $* -> [answer(Socket) || _ <- lists:seq(1, binary_to_integer(Text))];
        $$ when Text =:= <<"-1">> -> nil;
        $$ -> contents(Socket, binary_to_integer(Text));
        $: -> binary_to_integer(Text);
        _ -> Text
    end.

contents(Socket, Size) ->
    ok = inet:setopts(Socket, [{packet, raw}]),
    {ok, Contents} = gen_tcp:recv(Socket, Size + 2, 5000),
    ok = inet:setopts(Socket, [{packet, line}]),
    binary:part(Contents, 0, Size).

%% @doc Names of what there is, but for the generation.
keys(Server) -> lists:sort([Key || Key <- command(Server, ["KEYS", "*"]), binary:match(Key, <<"generation">>) =:= nomatch]).
