%% Who may do what with the dashboard. Decided before a request is looked at for anything else:
%%
%% - The header Host must be an IP address, localhost, or a name that the options have: a page whose name was made to point here (DNS rebinding) has
%%   another one.
%% - If there is an Origin, it must be that of this page: other pages have no business here.
%% - What is read needs no token at a loopback address. Elsewhere it needs the token, or the cookie that is given for it, which is good for nothing else.
%% - What changes state needs the token itself, in a header that no form or link can send, and an Origin.
-module(pitcrew_dashboard_guard).

-export([new/1, look/2, change/2, is_token/2, cookie/1]).
-export_type([guard/0, verdict/0]).

-record(guard, {
    is_open :: boolean(),
    hosts :: [binary()],
    %% Digests, as funs, which no report shows.
    token :: fun(() -> binary()),
    pass :: fun(() -> binary()),
    cookie :: binary()
}).
-opaque guard() :: #guard{}.
-type verdict() :: ok | {refused, 400 | 401 | 403, Why :: binary()}.

-spec new(#{ip := inet:ip_address(), port := inet:port_number(), token := binary(), hosts := [binary()]}) -> guard().
new(#{ip := Address, port := Port, token := Token, hosts := Hosts}) ->
    Pass = binary:encode_hex(crypto:mac(hmac, sha256, Token, <<"reading">>)),
    #guard{
        is_open = is_loopback(Address),
        hosts = [<<"localhost">> | [pitcrew_dashboard_request:lower(Host) || Host <- Hosts]],
        token = fun() -> Token end,
        pass = fun() -> Pass end,
        %% Cookies are a host's, whatever the port.
        cookie = <<"pitcrew_", (integer_to_binary(Port))/binary>>
    }.

is_loopback({127, _, _, _}) -> true;
is_loopback({0, 0, 0, 0, 0, 0, 0, 1}) -> true;
is_loopback(_) -> false.

%% @doc Whether a request may read.
-spec look(pitcrew_dashboard_request:request(), guard()) -> verdict().
look(Request, #guard{is_open = IsOpen} = Guard) ->
    case {place(Request, Guard), IsOpen orelse has_token(Request, Guard) orelse has_cookie(Request, Guard)} of
        {{refused, _, _} = Refused, _} -> Refused;
        {_, false} -> {refused, 401, <<"the token is needed">>};
        {_, true} -> ok
    end.

%% @doc Whether a request may change something.
-spec change(pitcrew_dashboard_request:request(), guard()) -> verdict().
change(Request, Guard) ->
    case place(Request, Guard) of
        {refused, _, _} = Refused ->
            Refused;
        no_origin ->
            {refused, 403, <<"the header Origin is needed">>};
        same_origin ->
            case has_token(Request, Guard) of
                true -> ok;
                false -> {refused, 401, <<"the token is needed">>}
            end
    end.

%% ---- Where a request comes from

place(#{headers := #{<<"host">> := Host} = Headers}, #guard{hosts = Hosts}) ->
    Given = pitcrew_dashboard_request:lower(Host),
    case is_known(Given, Hosts) of
        false -> {refused, 403, <<"the header Host names another host: see the option hosts">>};
        true -> origin(Headers, Given)
    end;
place(_, _) ->
    {refused, 400, <<"the header Host is needed">>}.

origin(#{<<"origin">> := Origin}, Host) ->
    %% Whoever puts TLS in front of it has the same host.
    case pitcrew_dashboard_request:lower(Origin) of
        <<"http://", Host/binary>> -> same_origin;
        <<"https://", Host/binary>> -> same_origin;
        _ -> {refused, 403, <<"the header Origin names another page">>}
    end;
origin(_, _) ->
    no_origin.

%% A name, or an address, with any port: that is somebody's on the way here.
is_known(Host, Hosts) ->
    case re:run(Host, "^(?:\\[([0-9a-f:.]+)\\]|([a-z0-9._-]+))(?::[0-9]{1,5})?$", [dollar_endonly, {capture, all_but_first, list}]) of
        {match, [[], Name]} -> lists:member(list_to_binary(Name), Hosts) orelse is_address(Name);
        {match, [Address]} -> is_address(Address);
        nomatch -> false
    end.

is_address(Name) ->
    case inet:parse_strict_address(Name) of
        {ok, _} -> true;
        {error, _} -> false
    end.

%% ---- Secrets

has_token(#{headers := #{<<"x-pitcrew-token">> := Given}}, Guard) -> is_token(Given, Guard);
has_token(#{headers := #{<<"authorization">> := <<"Bearer ", Given/binary>>}}, Guard) -> is_token(Given, Guard);
has_token(_, _) -> false.

has_cookie(#{headers := #{<<"cookie">> := Cookies}}, #guard{cookie = Name, pass = Pass}) ->
    Pairs = [binary:split(string:trim(Pair), <<"=">>) || Pair <- binary:split(Cookies, <<";">>, [global])],
    lists:any(fun(Given) -> same(Given, Pass()) end, [Value || [Key, Value] <- Pairs, Key =:= Name]);
has_cookie(_, _) ->
    false.

-spec is_token(binary(), guard()) -> boolean().
is_token(Given, #guard{token = Token}) -> same(Given, Token()).

%% In a time that tells nothing of either, not even their lengths.
same(A, B) -> crypto:hash_equals(crypto:hash(sha256, A), crypto:hash(sha256, B)).

%% @doc What a browser gets that has shown the token.
-spec cookie(guard()) -> iodata().
cookie(#guard{cookie = Name, pass = Pass}) -> [Name, "=", Pass(), "; Path=/; HttpOnly; SameSite=Strict"].
