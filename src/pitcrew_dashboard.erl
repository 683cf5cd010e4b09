%% @doc A page that shows the pools of this VM live, and replaces workers when it is told to. Part of your own supervision tree.
%%
%% ```
%% {ok, Pid} = pitcrew_dashboard:start_link(#{port => 4040}),
%% io:format("~ts~n", [pitcrew_dashboard:url(Pid)]).
%% '''
%%
%% <ul>
%% <li>`port' (4040): 0 for any that is free, see {@link port/1}</li>
%% <li>`ip' (`{127, 0, 0, 1}'): where it listens. Whoever can connect to a loopback address may look; elsewhere nothing is shown without the token</li>
%% <li>`token' (a random one, in the log): a binary of at least 16 bytes. Whoever has it may change things</li>
%% <li>`hosts' (`[]'): names of hosts by which browsers reach the page, besides localhost and IP addresses</li>
%% <li>`pools' (`all'): names of pools, for a part of them</li>
%% </ul>
%%
%% docs/dashboard.md is the page about it.
-module(pitcrew_dashboard).
-behaviour(supervisor).

-export([start_link/1, child_spec/1, port/1, url/1]).
-export([init/1]).
-export_type([options/0]).

-type options() ::
    #{
        port => inet:port_number(),
        ip => inet:ip_address(),
        token => binary(),
        hosts => [unicode:chardata() | atom()],
        pools => all | [atom()]
    }
    | [{atom(), term()}].

table() ->
    [
        {port, {integer, 0, 65_535}, {value, 4_040}},
        {ip, address, {value, {127, 0, 0, 1}}},
        {token, {secret, 16}, {value, random}},
        {hosts, hosts, {value, []}},
        {pools, pools, {value, all}}
    ].

-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) -> #{id => ?MODULE, start => {?MODULE, start_link, [Options]}, type => supervisor}.

%% @doc A supervisor that is linked to the caller.
-spec start_link(options()) -> {ok, pid()} | {error, pitcrew_error:t() | term()}.
start_link(Options) ->
    case pitcrew_options:table(Options, table()) of
        {ok, Checked} -> started(supervisor:start_link(?MODULE, Checked));
        {error, _} = Error -> Error
    end.

started({error, {shutdown, {failed_to_start_child, listener, Reason}}}) -> {error, Reason};
started(Result) -> Result.

%% @doc Where it listens.
-spec port(pid()) -> inet:port_number().
port(Pid) -> pitcrew_dashboard_listener:port(listener(Pid)).

%% @doc The address of the page, with the token in it: whoever opens it may change things.
-spec url(pid()) -> unicode:chardata().
url(Pid) -> pitcrew_dashboard_listener:url(listener(Pid)).

listener(Pid) ->
    [Listener] = [Child || {listener, Child, _, _} <- supervisor:which_children(Pid)],
    Listener.

%% @private
-spec init(map()) -> {ok, {supervisor:sup_flags(), [supervisor:child_spec()]}}.
init(#{pools := Pools, token := Given} = Options) ->
    Sup = self(),
    Sampler = #{id => sampler, start => {pitcrew_dashboard_sampler, start_link, [Pools]}},
    Listener = #{id => listener, start => {pitcrew_dashboard_listener, start_link, [Sup, Options#{token := token(Given)}]}},
    {ok, {#{strategy => rest_for_one}, [Sampler, Listener]}}.

%% Here, so that it stays the same when the listener is restarted; as a fun, which no report shows.
token(random) ->
    Token = base64:encode(crypto:strong_rand_bytes(24)),
    UrlSafe = binary:replace(binary:replace(Token, <<"+">>, <<"-">>, [global]), <<"/">>, <<"_">>, [global]),
    {random, fun() -> UrlSafe end};
token(Secret) ->
    {given, Secret}.
