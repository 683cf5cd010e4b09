%% Reads one HTTP request, of which nothing is believed: so many bytes in so much time, without a body, and every header at most once that decides
%% something.
-module(pitcrew_dashboard_request).

-export([read/2, parse/1, lower/1]).
-export_type([request/0, bad/0]).

-type request() :: #{
    method := binary(),
    path := binary(),
    query := #{binary() => binary()},
    %% By their names in lower case.
    headers := #{binary() => binary()}
}.
%% The status that says what is wrong.
-type bad() :: 400 | 408 | 413 | 414 | 431 | 505.

-define(MOST_BYTES, 16_384).
-define(LONGEST_TARGET, 2_048).
-define(MOST_HEADERS, 64).
-define(ONCE, [<<"host">>, <<"origin">>, <<"content-length">>, <<"transfer-encoding">>, <<"authorization">>, <<"cookie">>, <<"x-pitcrew-token">>]).

%% @doc The request, all of whose head must have come when the time in milliseconds is over.
-spec read(gen_tcp:socket(), non_neg_integer()) -> {ok, request()} | {bad, bad()} | closed.
read(Socket, Timeout) -> read(Socket, pitcrew_deadline:in(Timeout), <<>>).

read(Socket, Deadline, Data) ->
    case binary:match(Data, <<"\r\n\r\n">>) of
        {At, 4} when At + 4 =< ?MOST_BYTES -> parse(Data);
        nomatch when byte_size(Data) < ?MOST_BYTES -> read_more(Socket, Deadline, Data);
        _ -> {bad, 431}
    end.

read_more(Socket, Deadline, Data) ->
    case gen_tcp:recv(Socket, 0, pitcrew_deadline:left(Deadline)) of
        {ok, More} -> read(Socket, Deadline, <<Data/binary, More/binary>>);
        {error, timeout} -> {bad, 408};
        {error, _} -> closed
    end.

%% @doc A whole head, with its empty line.
-spec parse(binary()) -> {ok, request()} | {bad, bad()}.
parse(Data) ->
    case erlang:decode_packet(http_bin, Data, []) of
        {ok, {http_request, Method, {abs_path, Target}, {1, Minor}}, Rest} when Minor =:= 0; Minor =:= 1 ->
            target(text(Method), Target, headers(Rest, #{}, 0));
        {ok, {http_request, _, {abs_path, _}, _}, _} ->
            {bad, 505};
        _ ->
            {bad, 400}
    end.

target(_, _, {bad, _} = Bad) -> Bad;
target(_, Target, _) when byte_size(Target) > ?LONGEST_TARGET -> {bad, 414};
target(Method, Target, {ok, Headers}) ->
    [Path | Query] = binary:split(Target, <<"?">>),
    try maps:from_list(uri_string:dissect_query(iolist_to_binary(Query))) of
        Pairs -> {ok, #{method => Method, path => Path, query => maps:filter(fun(_, Value) -> is_binary(Value) end, Pairs), headers => Headers}}
    catch
        error:_ -> {bad, 400}
    end.

headers(_, _, Count) when Count > ?MOST_HEADERS -> {bad, 431};
headers(Data, Headers, Count) ->
    case erlang:decode_packet(httph_bin, Data, []) of
        {ok, {http_header, _, Name, _, Value}, Rest} -> header(lower(text(Name)), Value, Rest, Headers, Count);
        {ok, http_eoh, _} -> no_body(Headers);
        _ -> {bad, 400}
    end.

header(Name, Value, Rest, Headers, Count) ->
    case is_map_key(Name, Headers) andalso lists:member(Name, ?ONCE) of
        true -> {bad, 400};
        false -> headers(Rest, Headers#{Name => Value}, Count + 1)
    end.

%% Nothing here takes a body.
no_body(#{<<"transfer-encoding">> := _}) -> {bad, 413};
no_body(#{<<"content-length">> := Length}) when Length =/= <<"0">> -> {bad, 413};
no_body(Headers) -> {ok, Headers}.

%% @doc Letters of ASCII in lower case, and all others as they are: there need be no text in it.
-spec lower(binary()) -> binary().
lower(Text) -> <<<<(lower_letter(C))>> || <<C>> <= Text>>.

lower_letter(C) when C >= $A, C =< $Z -> C + 32;
lower_letter(C) -> C.

text(Name) when is_atom(Name) -> atom_to_binary(Name);
text(Name) -> Name.
