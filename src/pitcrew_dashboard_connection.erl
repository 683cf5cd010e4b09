%% One connection to the dashboard: one request, its answer, and the end; or events, until somebody leaves.
-module(pitcrew_dashboard_connection).

-export([start_link/1]).
-export_type([context/0]).

-include("pitcrew_pool.hrl").

-type context() :: #{
    guard := pitcrew_dashboard_guard:guard(),
    sampler := pid(),
    pools := all | [atom()],
    files := pitcrew_dashboard_page:files()
}.
-type answer() :: {Status :: pos_integer(), Type :: string(), Headers :: [{string(), iodata()}], Body :: iodata()}.

%% For the whole head of a request.
-define(READ_MS, 5_000).
%% What a client still sends is read, lest it lose the answer: so much of it, and for so long.
-define(DRAIN_MS, 200).
-define(DRAIN_READS, 32).
-define(MOST_PROFILE_MS, 60_000).
-define(JSON_TYPE, "application/json").
-define(TEXT_TYPE, "text/plain; charset=utf-8").
-define(HTML_TYPE, "text/html; charset=utf-8").

-spec start_link(context()) -> pid().
start_link(Context) -> proc_lib:spawn_link(fun() -> wait(Context) end).

wait(Context) ->
    receive
        {socket, Socket} -> serve(Socket, Context)
    after ?READ_MS -> ok
    end.

serve(Socket, Context) ->
    case pitcrew_dashboard_request:read(Socket, ?READ_MS) of
        {ok, #{method := Method} = Request} -> finish(Socket, Method, route(Request, Context), Context);
        {bad, Status} -> finish(Socket, <<"GET">>, plain(Status, reason(Status)), Context);
        closed -> gen_tcp:close(Socket)
    end.

finish(Socket, <<"HEAD">>, events, _) ->
    end_with(Socket, head(200, "text/event-stream", []));
finish(Socket, _, events, #{sampler := Sampler}) ->
    events(Socket, pitcrew_dashboard_sampler:subscribe(Sampler));
finish(Socket, Method, {Status, Type, Headers, Body}, _) ->
    Text =
        case Method of
            <<"HEAD">> -> [];
            _ -> Body
        end,
    end_with(Socket, [head(Status, Type, [{"Content-Length", integer_to_list(iolist_size(Body))} | Headers]), Text]).

end_with(Socket, Text) ->
    _ = gen_tcp:send(Socket, Text),
    _ = gen_tcp:shutdown(Socket, write),
    drain(Socket, pitcrew_deadline:in(?DRAIN_MS), ?DRAIN_READS).

drain(Socket, Deadline, Reads) ->
    case Reads > 0 andalso gen_tcp:recv(Socket, 0, pitcrew_deadline:left(Deadline)) of
        {ok, _} -> drain(Socket, Deadline, Reads - 1);
        _ -> gen_tcp:close(Socket)
    end.

%% ---- Answers

-spec route(pitcrew_dashboard_request:request(), context()) -> answer() | events.
route(#{method := Method} = Request, #{guard := Guard} = Context) when Method =:= <<"GET">>; Method =:= <<"HEAD">> ->
    case Request of
        #{path := <<"/">>, query := #{<<"token">> := Token}} -> sign_in(Token, Request, Guard);
        #{path := Path} -> allowed(pitcrew_dashboard_guard:look(Request, Guard), fun() -> show(Path, Context) end, Path)
    end;
route(#{method := <<"POST">>, path := Path, query := Query} = Request, #{guard := Guard} = Context) ->
    allowed(pitcrew_dashboard_guard:change(Request, Guard), fun() -> change(Path, Query, Context) end, Path);
route(_, _) ->
    {405, ?TEXT_TYPE, [{"Allow", "GET, HEAD, POST"}], "only GET, HEAD and POST\n"}.

allowed(ok, Then, _) -> Then();
allowed({refused, 401, _}, _, <<"/">>) -> {401, ?HTML_TYPE, [], pitcrew_dashboard_page:sign_in()};
allowed({refused, Status, Why}, _, _) -> plain(Status, Why).

%% The token goes where no server is told of it, and out of the address.
sign_in(Token, #{headers := Headers} = Request, Guard) ->
    case pitcrew_dashboard_guard:is_token(Token, Guard) of
        true ->
            %% Host and Origin count as always.
            Shown = Request#{headers => Headers#{<<"x-pitcrew-token">> => Token}},
            Location = ["/#token=", uri_string:quote(Token)],
            Redirect = {303, ?TEXT_TYPE, [{"Location", Location}, {"Set-Cookie", pitcrew_dashboard_guard:cookie(Guard)}], "see /\n"},
            allowed(pitcrew_dashboard_guard:look(Shown, Guard), fun() -> Redirect end, <<>>);
        false ->
            {401, ?HTML_TYPE, [], pitcrew_dashboard_page:sign_in()}
    end.

show(<<"/events">>, _) ->
    events;
show(<<"/stats">>, #{sampler := Sampler}) ->
    {200, ?JSON_TYPE, [], pitcrew_dashboard_sampler:latest(Sampler)};
show(Path, #{files := Files}) ->
    case Files of
        #{Path := {Type, Text}} -> {200, Type, [], Text};
        #{} -> plain(404, "there is nothing of this name")
    end.

change(<<"/recycle">>, #{<<"pool">> := Name, <<"worker">> := Worker}, #{pools := Pools}) ->
    case {find(Name, Pools), string:to_integer(Worker)} of
        {{ok, #pool{sup = Pool}}, {Index, <<>>}} when is_integer(Index) -> recycled(pitcrew_pool:recycle(Pool, Index));
        _ -> plain(404, "there is no such worker")
    end;
change(<<"/profile">>, #{<<"pool">> := Name, <<"ms">> := Text}, #{pools := Pools}) ->
    case {find(Name, Pools), string:to_integer(Text)} of
        {{ok, #pool{sup = Pool}}, {Ms, <<>>}} when is_integer(Ms), Ms >= 1, Ms =< ?MOST_PROFILE_MS -> profiled(pitcrew_dashboard_data:profile(Pool, Ms));
        {{ok, _}, _} -> plain(400, "it takes a number of milliseconds, up to a minute");
        {absent, _} -> plain(404, "there is no such pool")
    end;
change(_, _, _) ->
    plain(404, "there is nothing of this name").

recycled(ok) -> {202, ?JSON_TYPE, [], "{}"};
recycled({error, #{kind := pool_down} = Error}) -> plain(503, pitcrew_error:format(Error));
recycled({error, Error}) -> plain(409, pitcrew_error:format(Error)).

profiled({ok, Profile}) -> {200, ?JSON_TYPE, [], pitcrew_plain_json:line(Profile)};
profiled({error, Error}) -> plain(409, pitcrew_error:format(Error)).

%% No atom is made of what somebody sends.
find(Text, Pools) ->
    case [Pool || #pool{name = Name} = Pool <- pitcrew_pools:all(), atom_to_binary(Name) =:= Text, Pools =:= all orelse lists:member(Name, Pools)] of
        [Pool | _] -> {ok, Pool};
        [] -> absent
    end.

plain(Status, Why) -> {Status, ?TEXT_TYPE, [], [Why, "\n"]}.

%% ---- Events

events(Socket, full) ->
    finish(Socket, <<"GET">>, {503, ?TEXT_TYPE, [{"Retry-After", "5"}], "too many look already\n"}, none);
events(Socket, {ok, History}) ->
    case gen_tcp:send(Socket, [head(200, "text/event-stream", []), event("history", History)]) of
        ok -> go_on(Socket);
        {error, _} -> gen_tcp:close(Socket)
    end.

%% Sent to whoever has left, it fails; whoever takes nothing is dropped when the time for sending is over.
go_on(Socket) ->
    receive
        {pitcrew_dashboard, Text} ->
            case gen_tcp:send(Socket, event("look", Text)) of
                ok -> go_on(Socket);
                {error, _} -> gen_tcp:close(Socket)
            end
    end.

event(Name, Text) -> ["event: ", Name, "\ndata: ", Text, "\n\n"].

%% ---- Heads

head(Status, Type, Headers) ->
    Lines = [{"Content-Type", Type} | Headers] ++ always(),
    ["HTTP/1.1 ", integer_to_list(Status), " ", reason(Status), "\r\n", [[Name, ": ", Value, "\r\n"] || {Name, Value} <- Lines], "\r\n"].

always() ->
    [
        {"Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cache-Control", "no-store"},
        {"Connection", "close"}
    ].

reason(200) -> "OK";
reason(202) -> "Accepted";
reason(303) -> "See Other";
reason(400) -> "Bad Request";
reason(401) -> "Unauthorized";
reason(403) -> "Forbidden";
reason(404) -> "Not Found";
reason(405) -> "Method Not Allowed";
reason(408) -> "Request Timeout";
reason(409) -> "Conflict";
reason(413) -> "Content Too Large";
reason(414) -> "URI Too Long";
reason(431) -> "Request Header Fields Too Large";
reason(503) -> "Service Unavailable";
reason(505) -> "HTTP Version Not Supported".
