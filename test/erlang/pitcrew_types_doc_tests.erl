%% The table of docs/types.md, row by row: the example, its bytes, and back.
-module(pitcrew_types_doc_tests).

-include_lib("eunit/include/eunit.hrl").

-export([rows/0, evaluate/1, code/1]).

-define(LEAST_ROWS, 24).

table_test_() ->
    Rows = rows(),
    [?_assert(length(Rows) >= ?LEAST_ROWS) | [{Title, fun() -> check(Example, Bytes) end} || {Title, Example, _, Bytes} <- Rows]].

check(Example, Bytes) ->
    Term = evaluate(Example),
    {ok, Packed} = pitcrew_nif:encode(Term, #{}),
    case Bytes of
        "differ" -> ?assert(is_opaque(Packed));
        "`" ++ _ -> ?assertEqual(string:lowercase(binary:encode_hex(Packed)), list_to_binary(code(Bytes)))
    end,
    ?assertEqual({ok, Term}, pitcrew_nif:decode(Packed, #{bytes => tagged})).

is_opaque(<<Head, _:1/binary, 13, _/binary>>) -> Head =:= 16#c7.

evaluate(Example) ->
    {ok, Tokens, _} = erl_scan:string(code(Example) ++ "."),
    {ok, Exprs} = erl_parse:parse_exprs(Tokens),
    {value, Term, _} = erl_eval:exprs(Exprs, []),
    Term.

%% @doc What stands between back quotes.
code("`" ++ Text) -> string:trim(Text, trailing, "`").

%% @doc {first column, example, in Python, bytes} of every row that has an example.
rows() ->
    {ok, Text} = file:read_file(filename:join([pitcrew_codec_vectors:directory(), "..", "..", "docs", "types.md"])),
    Lines = [unicode:characters_to_list(Line) || <<"| ", _/binary>> = Line <- binary:split(Text, <<"\n">>, [global])],
    [{Title, Example, Python, Bytes} || Line <- tl(Lines), [Title, _, _, Example, Python, Bytes] <- [cells(Line)], Example =/= ""].

%% A bar inside a cell is written with a backslash in front.
cells(Line) ->
    Parts = re:split(Line, "(?<!\\\\)\\|", [{return, list}, unicode]),
    [lists:flatten(string:replace(string:trim(Cell), "\\|", "|", all)) || Cell <- lists:sublist(Parts, 2, length(Parts) - 2)].
