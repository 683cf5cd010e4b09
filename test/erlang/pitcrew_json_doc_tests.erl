%% What docs/json.md and docs/protocol.md say of calls in JSON: each row of the table, and the bytes of the frames.
-module(pitcrew_json_doc_tests).

-include_lib("eunit/include/eunit.hrl").

rows_test_() ->
    {timeout, 60, fun() ->
        Rows = [Row || [<<_/binary>> | _] = Row <- [cells(Line) || Line <- lines("json.md")], length(Row) =:= 5],
        Examples = [Row || [_, <<"`", _/binary>> | _] = Row <- Rows],
        ?assert(length(Examples) >= 9),
        pitcrew_test:with_pool(#{protocol => json, size => 1}, fun(Pool) ->
            [check(Pool, list_to_tuple([Title | [code(Cell) || Cell <- Cells]])) || [Title | Cells] <- Examples]
        end)
    end}.

check(Pool, {Title, Example, Text, Python, Back}) ->
    Term = evaluate(Example),
    ?assertEqual({Title, {ok, Text}}, {Title, pitcrew_json:encode(Term)}),
    {ok, [Repr, _]} = pitcrew:call(Pool, describe, [Term]),
    ?assertEqual({Title, <<"(", Python/binary, ",)">>}, {Title, Repr}),
    ?assertEqual({Title, {ok, evaluate(Back)}}, {Title, pitcrew:call(Pool, echo, [Term])}).

%% A line of bytes, and the text of its payload below it; the bytes may end in dots.
frames_test() ->
    Pairs = frames(lines("protocol.md")),
    ?assertEqual(4, length(Pairs)),
    [?assertMatch({Bytes, {0, _}}, {Bytes, binary:match(<<(byte_size(Text)):32, Text/binary>>, Bytes)}) || {Bytes, Text} <- Pairs].

frames([<<Arrow:15/binary, _/binary>> = Line, Text | Rest]) when
    Arrow =:= <<"VM → worker  "/utf8>>; Arrow =:= <<"worker → VM  "/utf8>>
->
    <<_:15/binary, Hex/binary>> = Line,
    Digits = binary:replace(Hex, [<<" ">>, <<"…"/utf8>>], <<>>, [global]),
    [{binary:decode_hex(Digits), string:trim(Text)} | frames(Rest)];
frames([_ | Rest]) ->
    frames(Rest);
frames([]) ->
    [].

lines(File) ->
    {ok, Text} = file:read_file(filename:join([pitcrew_codec_vectors:directory(), "..", "..", "docs", File])),
    binary:split(Text, <<"\n">>, [global]).

cells(<<"| ", Line/binary>>) -> [string:trim(Cell) || Cell <- binary:split(string:trim(Line, trailing, " |"), <<" | ">>, [global])];
cells(_) -> [].

%% What stands between back quotes.
code(Cell) -> string:trim(Cell, both, "`").

evaluate(Example) ->
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(<<Example/binary, ".">>)),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    {value, Term, _} = erl_eval:exprs(Exprs, []),
    Term.
