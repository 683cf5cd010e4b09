-module(pitcrew_load_report_tests).
-include_lib("eunit/include/eunit.hrl").

ms(Ms) -> round(Ms * erlang:convert_time_unit(1, millisecond, native)).

%% What pitcrew_load:run/1 returns, made of calls that took a millisecond, but for one that failed.
result(Calls, More) ->
    Ledger = pitcrew_load_ledger:new(Calls),
    [pitcrew_load_ledger:note(N, {ms(1), 0}, ok, Ledger) || N <- lists:seq(2, Calls)],
    ok = pitcrew_load_ledger:note(1, {ms(250), 0}, {tool_error, <<"ValueError: <b>\nTraceback">>}, Ledger),
    Figures = pitcrew_load_figures:make(Ledger, #{rate => 10, duration => Calls / 10}, 0),
    maps:merge(Figures, maps:merge(#{
        scenario => <<"a & b">>, pool => py, faults => nil, started_at => 1_700_000_000, duration => Calls / 10, warmup => 2,
        calls_per_second => 10, tools => 1, payload_bytes => 32
    }, More)).

killed() -> #{kills => 2, at => [500, 1500], retries => 3, retried => 2, healthy => true, recovery => 12}.

the_bar_fits_a_terminal_and_says_how_far_it_is_test() ->
    Progress = #{
        scenario => binary:copy(<<"long">>, 30), index => 2, scenarios => 3, phase => load, elapsed_ms => 30_000, total_ms => 62_000,
        begun => 3000, ended => 1_234_567, failed => 1_234_567, calls => 6200
    },
    Bar = lists:flatten(io_lib:format("~ts", [pitcrew_load_text:bar(Progress)])),
    ?assert(length(Bar) =< 79),
    ?assertMatch({match, _}, re:run(Bar, "^2/3 long.* \\[#{11}\\.{13}\\] 32 s, 1,234,567 calls")),
    Other = fun(More) -> lists:flatten(io_lib:format("~ts", [pitcrew_load_text:bar(maps:merge(Progress#{scenario := <<"s">>, failed := 0}, More))])) end,
    ?assertEqual("2/3 s [........................] 62 s, warm-up", Other(#{phase => warmup, elapsed_ms => 0})),
    ?assertEqual("2/3 s [########################] ending, 7 calls", Other(#{phase => drain, elapsed_ms => 90_000, ended => 7})).

only_who_asks_sees_a_bar_test() ->
    Fun = fun(_) -> ok end,
    ?assertEqual([none, none, Fun], [pitcrew_load_text:progress(Value) || Value <- [false, nil, Fun]]).

the_table_has_a_row_for_each_scenario_and_notes_for_what_it_does_not_show_test() ->
    Text = lists:flatten(io_lib:format("~ts", [pitcrew_load_text:table([result(2000, #{}), result(30, #{scenario => <<"killed">>, faults => killed()})])])),
    Lines = string:split(Text, "\n", all),
    ?assertMatch(["scenario  calls  failed  calls/s " ++ _, "a & b     2,000       1     10.0 " ++ _, "killed       30       1 " ++ _ | _], Lines),
    ?assert(lists:member("a & b: 1 failed with tool_error, such as: ValueError: <b>", Lines)),
    ?assert(lists:member("killed: workers were killed 2 times; 1 call failed, 2 calls tried again (3 times in all); all workers were there again 12 ms after the end", Lines)).

numbers_have_three_digits_test() ->
    ?assertEqual(["0.123", "1.23", "12.3", "123", "1,235", "0.000"], [pitcrew_load_text:ms(Ms) || Ms <- [0.1234, 1.234, 12.34, 123.4, 1234.5, 0]]),
    ?assertEqual(["0", "999", "1,000", "12,345", "1,234,567"], [pitcrew_load_text:count(N) || N <- [0, 999, 1000, 12345, 1234567]]),
    Durations = [iolist_to_binary(pitcrew_load_chart:duration(Ms)) || Ms <- [0, 0.05, 1, 1.5, 99, 1000, 61_000, 600_000]],
    ?assertEqual([<<"0 s">>, <<"50 µs"/utf8>>, <<"1 ms">>, <<"1.5 ms">>, <<"99 ms">>, <<"1 s">>, <<"61 s">>, <<"10 min">>], Durations).

%% ---- The page

page(Results) -> pitcrew_load_page:page(Results, pitcrew_load:check(Results, #{errors => 0})).

%% Each tag is closed, in order; what is in names and messages is text.
the_page_is_well_formed_test() ->
    Page = page([result(2000, #{faults => killed()}), result(1, #{scenario => <<"<script>alert(1)</script>">>}), result(20, #{tools => nil, payload_bytes => 1 bsl 20})]),
    {match, Tags} = re:run(Page, "<(/?)([a-zA-Z0-9]+)([^>]*?)(/?)>", [global, {capture, all_but_first, list}]),
    ?assert(length(Tags) > 100),
    ?assertEqual([], lists:foldl(fun tag/2, [], Tags)),
    ?assertEqual(nomatch, binary:match(Page, <<"<script">>)),
    ?assertNotEqual(nomatch, binary:match(Page, <<"&lt;script&gt;alert(1)&lt;/script&gt;">>)),
    ?assertNotEqual(nomatch, binary:match(Page, <<"a &amp; b: 1 call failed, and at most 0 may">>)).

tag([_, "meta", _, _], Open) -> Open;
tag([[], _, _, "/"], Open) -> Open;
tag([[], Name, _, []], Open) -> [Name | Open];
tag(["/", Name, _, _], [Name | Open]) -> Open.

%% Opened from a disk, or a mail, it shows all it has, and sends nothing anywhere.
the_page_needs_nothing_else_test() ->
    Page = page([result(100, #{})]),
    [?assertEqual(nomatch, re:run(Page, Pattern)) || Pattern <- ["https?:", "src=", "href=", "url\\(", "@import"]].

%% For those who do not see the drawings: what they show in words, and all their points as tables.
drawings_have_a_text_and_a_table_test() ->
    #{series := Series, percentiles := Percentiles} = Result = result(100, #{}),
    Page = page([Result]),
    {match, Drawings} = re:run(Page, "<svg [^>]*role=\"img\" aria-labelledby=\"(\\S+) (\\S+)\">", [global, {capture, all_but_first, binary}]),
    ?assertEqual(2, length(Drawings)),
    [?assertNotEqual(nomatch, binary:match(Page, <<"id=\"", Id/binary, "\">">>)) || Ids <- Drawings, Id <- Ids],
    {match, Rows} = re:run(Page, "<tr><th scope=\"row\">", [global]),
    ?assertEqual(length(Series) + length(Percentiles), length(Rows)),
    ?assertNotEqual(nomatch, binary:match(Page, <<"Of 100 calls half took at most 1 ms">>)).

%% With few calls in an interval they are the same line, which would hide one of them.
two_lines_that_are_one_are_named_as_one_test() ->
    Lines = fun(Calls) -> [Class || {Class, _, _} <- pitcrew_load_chart:lines(result(Calls, #{}))] end,
    ?assertEqual(["p50", "p99"], Lines(20)),
    ?assertEqual(["p50", "p99", "max"], Lines(2000)),
    ?assertNotEqual(nomatch, binary:match(page([result(20, #{})]), <<"99th percentile and longest">>)).

%% Everything that is drawn is inside of the drawing.
points_lie_in_the_drawing_test_() ->
    Results = [result(Calls, #{faults => killed()}) || Calls <- [1, 2, 19, 2000]],
    [
        fun() ->
            Svg = iolist_to_binary([pitcrew_load_chart:over_time("t", Result), pitcrew_load_chart:by_percentile("p", Result)]),
            {match, Points} = re:run(Svg, "(?:points=\"|[ ])([0-9.]+),([0-9.]+)", [global, {capture, all_but_first, list}]),
            [?assert(In) || [X, Y] <- Points, In <- [inside(X, 480), inside(Y, 290)]],
            ?assertEqual(nomatch, re:run(Svg, "\"-[0-9]"))
        end
     || Result <- Results
    ].

inside(Text, Most) ->
    Value = binary_to_float(iolist_to_binary([Text, [".0" || not lists:member($., Text)]])),
    Value >= 0 andalso Value =< Most.

%% ---- JSON without a library

what_is_written_can_be_read_test_() ->
    Term = #{a => [1, -2.5, 1.0e-7, true, false, nil, <<"q\"\\\n\t\x01 æ€"/utf8>>], <<"b">> => #{}, c => [], d => #{e => word}},
    Text = pitcrew_plain_json:encode(Term),
    pitcrew_test:if_json(fun() ->
        ?assertEqual(
            {ok, #{
                <<"a">> => [1, -2.5, 1.0e-7, true, false, nil, <<"q\"\\\n\t\x01 æ€"/utf8>>],
                <<"b">> => #{}, <<"c">> => [], <<"d">> => #{<<"e">> => <<"word">>}
            }},
            pitcrew_json:decode(Text)
        )
    end).

keys_are_in_order_and_lines_indented_test() ->
    ?assertEqual(<<"{\n  \"a\": [\n    1,\n    -2.5\n  ],\n  \"b\": {}\n}\n">>, pitcrew_plain_json:encode(#{b => #{}, a => [1, -2.5]})).

a_report_as_json_has_all_that_was_measured_test_() ->
    pitcrew_test:if_json(fun() ->
        Results = [result(20, #{faults => killed(), pool => self()})],
        {ok, Json} = pitcrew_json:decode(pitcrew_load:json(Results, pitcrew_load:check(Results, #{errors => 0}))),
        #{<<"results">> := [Read], <<"violations">> := [#{<<"what">> := <<"errors">>, <<"limit">> := 0, <<"seen">> := 1}]} = Json,
        [Result] = Results,
        ?assertEqual(lists:sort([atom_to_binary(Key) || Key <- maps:keys(Result)]), lists:sort(maps:keys(Read))),
        #{<<"p99_latency">> := P99, <<"series">> := [#{<<"p50">> := _} | _]} = Read,
        ?assertEqual(maps:get(p99_latency, Result), P99)
    end).
