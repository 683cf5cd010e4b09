%% @doc What Prometheus asks for: `GET /metrics', answered by the HTTP server of OTP's application `inets'. Part of your own supervision tree.
%%
%% ```
%% {ok, _} = pitcrew_metrics_http:start_link(#{port => 9568}).
%% '''
%%
%% <ul>
%% <li>`port' (9568): 0 for any that is free, see {@link port/1}</li>
%% <li>`ip' (`{127, 0, 0, 1}'): where it listens. The numbers have names of pools and tools in them, and everybody who can connect may read them</li>
%% <li>`path' (`/metrics')</li>
%% <li>`pools' (`all'): names of pools, for a part of them</li>
%% </ul>
-module(pitcrew_metrics_http).

-export([start_link/1, child_spec/1, port/1]).
%% For httpd.
-export([do/1]).

-include_lib("inets/include/httpd.hrl").

-type options() ::
    #{port => inet:port_number(), ip => inet:ip_address(), path => unicode:chardata(), pools => all | [atom()]} | [{atom(), term()}].

-define(TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8").
-define(MOST_CLIENTS, 16).

table() ->
    [
        {port, {integer, 0, 65_535}, {value, 9_568}},
        {ip, address, {value, {127, 0, 0, 1}}},
        {path, text, {value, <<"/metrics">>}},
        {pools, pools, {value, all}}
    ].

-spec child_spec(options()) -> supervisor:child_spec().
child_spec(Options) -> #{id => ?MODULE, start => {?MODULE, start_link, [Options]}, type => supervisor}.

%% @doc A supervisor that is linked to the caller.
-spec start_link(options()) -> {ok, pid()} | {error, pitcrew_error:t() | term()}.
start_link(Options) ->
    case {pitcrew_options:table(Options, table()), code:ensure_loaded(httpd)} of
        {{error, _} = Error, _} -> Error;
        {_, {error, _}} -> {error, pitcrew_error:new(start_error, "the endpoint needs the application inets, which is not there")};
        {{ok, Checked}, _} -> listen(Checked)
    end.

listen(#{port := Port, ip := Address, path := Path, pools := Pools}) ->
    Folder = code:root_dir(),
    inets:start(
        httpd,
        [
            {port, Port},
            {bind_address, Address},
            {ipfamily, family(Address)},
            {server_name, "pitcrew"},
            {server_tokens, none},
            %% They must be there; nothing is read from them, for no module serves files.
            {server_root, Folder},
            {document_root, Folder},
            {modules, [?MODULE]},
            {max_clients, ?MOST_CLIENTS},
            {max_body_size, 1_024},
            {keep_alive, false},
            {?MODULE, {unicode:characters_to_list(Path), Pools}}
        ],
        stand_alone
    ).

family(Address) when tuple_size(Address) =:= 8 -> inet6;
family(_) -> inet.

%% @doc Where it listens.
-spec port(pid()) -> inet:port_number().
port(Pid) ->
    %% httpd:info/1 knows only servers that the application inets supervises.
    [{{httpd_instance_sup, _, Port, _}, _, _, _}] = supervisor:which_children(Pid),
    Port.

%% @private
do(#mod{method = Method, request_uri = Uri, config_db = Db}) ->
    {Path, Pools} = httpd_util:lookup(Db, ?MODULE),
    case hd(string:split(Uri, "?")) of
        Path when Method =:= "GET"; Method =:= "HEAD" -> answer(200, ?TYPE, text(Pools));
        Path -> answer(405, "text/plain", "only GET\n");
        _ -> answer(404, "text/plain", ["there is only ", Path, "\n"])
    end.

text(all) -> pitcrew_metrics:openmetrics();
text(Pools) -> pitcrew_metrics:openmetrics(Pools).

answer(Status, Type, Text) ->
    Head = [{code, Status}, {content_type, Type}, {content_length, integer_to_list(iolist_size(Text))}, {cache_control, "no-store"}],
    {proceed, [{response, {response, Head, Text}}]}.
