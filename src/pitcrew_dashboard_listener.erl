%% Listens for the dashboard, and has a process for each connection, linked, so that all end with it. It keeps count of them: beyond a few dozen, whoever
%% connects is told to come back.
%%
%% It speaks HTTP by itself, and not through OTP's httpd, which serves the metrics: that is made for answers, while whoever watches is sent events as long as
%% they like; and here a token guards what changes things, so what comes is bounded in time and size before anything else is done with it.
-module(pitcrew_dashboard_listener).
-behaviour(gen_server).

-export([start_link/2, port/1, url/1]).
-export([init/1, handle_continue/2, handle_call/3, handle_cast/2, handle_info/2]).

-include_lib("kernel/include/logger.hrl").

-define(MOST_CONNECTIONS, 48).
%% A client that takes nothing for so long is dropped.
-define(SEND_MS, 5_000).
%% Before it tries again to accept a connection, when the VM is out of files.
-define(BREATH_MS, 100).

-record(state, {
    socket :: gen_tcp:socket(),
    acceptor :: pid(),
    connections = #{} :: #{pid() => []},
    guard :: pitcrew_dashboard_guard:guard(),
    url :: unicode:chardata(),
    context = none :: none | pitcrew_dashboard_connection:context()
}).

-spec start_link(pid(), map()) -> {ok, pid()} | {error, term()}.
start_link(Sup, Options) -> gen_server:start_link(?MODULE, {Sup, Options}, []).

-spec port(pid()) -> inet:port_number().
port(Listener) -> gen_server:call(Listener, port).

-spec url(pid()) -> unicode:chardata().
url(Listener) -> gen_server:call(Listener, url).

init({Sup, #{port := Port, ip := Address, token := {Origin, Secret}, hosts := Hosts, pools := Pools}}) ->
    process_flag(trap_exit, true),
    case gen_tcp:listen(Port, listen_options(Address)) of
        {ok, Socket} ->
            {ok, Bound} = inet:port(Socket),
            Token = Secret(),
            Guard = pitcrew_dashboard_guard:new(#{ip => Address, port => Bound, token => Token, hosts => Hosts}),
            Base = base(Address, Bound),
            ?LOG_NOTICE("Pitcrew's dashboard is at ~ts", [shown(Origin, Base, Token)]),
            Self = self(),
            Acceptor = proc_lib:spawn_link(fun() -> accept(Socket, Self) end),
            State = #state{socket = Socket, acceptor = Acceptor, guard = Guard, url = with_token(Base, Token)},
            {ok, State, {continue, {Sup, Pools}}};
        {error, Reason} ->
            {stop, Reason}
    end.

%% The supervisor answers only when this process has started.
handle_continue({Sup, Pools}, #state{guard = Guard} = State) ->
    [Sampler] = [Pid || {sampler, Pid, _, _} <- supervisor:which_children(Sup)],
    Context = #{guard => Guard, sampler => Sampler, pools => Pools, files => pitcrew_dashboard_page:files()},
    {noreply, State#state{context = Context}}.

listen_options(Address) ->
    Family =
        case tuple_size(Address) of
            8 -> inet6;
            4 -> inet
        end,
    [
        Family,
        binary,
        {ip, Address},
        {active, false},
        {packet, raw},
        {reuseaddr, true},
        {nodelay, true},
        {backlog, ?MOST_CONNECTIONS},
        {send_timeout, ?SEND_MS},
        {send_timeout_close, true}
    ].

base(Address, Port) when tuple_size(Address) =:= 8 -> io_lib:format("http://[~s]:~b/", [inet:ntoa(Address), Port]);
base(Address, Port) -> io_lib:format("http://~s:~b/", [inet:ntoa(Address), Port]).

%% A token that was given is known, and need not be in the log.
shown(random, Base, Token) -> with_token(Base, Token);
shown(_, Base, _) -> Base.

with_token(Base, Token) -> unicode:characters_to_binary([Base, "?token=", uri_string:quote(Token)]).

%% ---- Connections

accept(Socket, Listener) ->
    case gen_tcp:accept(Socket) of
        {ok, Client} ->
            hand_over(Client, gen_server:call(Listener, connection, infinity)),
            accept(Socket, Listener);
        {error, closed} ->
            ok;
        {error, _} ->
            receive
            after ?BREATH_MS -> ok
            end,
            accept(Socket, Listener)
    end.

hand_over(Client, {ok, Pid}) ->
    _ = gen_tcp:controlling_process(Client, Pid),
    Pid ! {socket, Client},
    ok;
hand_over(Client, full) ->
    _ = gen_tcp:send(Client, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
    gen_tcp:close(Client).

handle_call(port, _, #state{socket = Socket} = State) ->
    {ok, Port} = inet:port(Socket),
    {reply, Port, State};
handle_call(url, _, #state{url = Url} = State) ->
    {reply, Url, State};
handle_call(connection, _, #state{connections = Connections} = State) when map_size(Connections) >= ?MOST_CONNECTIONS ->
    {reply, full, State};
handle_call(connection, _, #state{connections = Connections, context = Context} = State) ->
    Pid = pitcrew_dashboard_connection:start_link(Context),
    {reply, {ok, Pid}, State#state{connections = Connections#{Pid => []}}}.

handle_cast(_, State) -> {noreply, State}.

handle_info({'EXIT', Acceptor, Reason}, #state{acceptor = Acceptor} = State) ->
    {stop, Reason, State};
handle_info({'EXIT', Pid, _}, #state{connections = Connections} = State) ->
    {noreply, State#state{connections = maps:remove(Pid, Connections)}};
handle_info(_, State) ->
    {noreply, State}.
