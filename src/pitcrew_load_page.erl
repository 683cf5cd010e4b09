%% The report of a load test: one HTML page that needs no network, with its drawings in it and the same figures as tables.
-module(pitcrew_load_page).

-export([page/2]).

-import(pitcrew_text, [decimal/2, escape/1]).

%% @doc The page, as UTF-8. What was beyond a limit is said at its top.
-spec page([pitcrew_load:result()], [pitcrew_load:violation()]) -> binary().
page(Results, Violations) ->
    Numbered = lists:zip(lists:seq(1, length(Results)), Results),
    iolist_to_binary([
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Load test</title>\n",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n",
        "<style>\n", style(), "</style>\n</head>\n<body>\n<main>\n<h1>Load test</h1>\n",
        about(Results),
        verdict(Violations),
        [section(integer_to_list(Index), Result) || {Index, Result} <- Numbered],
        "<p class=\"small\">Latency counts from the moment at which a call was due, whatever the calls before it were doing, so a stall is part of all calls ",
        "that were due in it. Percentiles are exact: of all calls, failed ones with the time until their error.</p>\n</main>\n</body>\n</html>\n"
    ]).

about([#{started_at := At, pool := Pool} | _]) ->
    Time = calendar:system_time_to_rfc3339(At, [{offset, "Z"}, {time_designator, $\s}]),
    ["<p class=\"small\">Pool ", escape(pitcrew_text:pool(Pool)), ", started ", lists:droplast(Time), " UTC</p>\n"].

verdict([]) ->
    [];
verdict(Violations) ->
    Lines = string:split(string:trim(unicode:characters_to_list(pitcrew_load_text:violations(Violations))), "\n", all),
    ["<div class=\"beyond\">\n<h2>Beyond its limits</h2>\n<ul>\n", [["<li>", escape(Line), "</li>\n"] || Line <- Lines], "</ul>\n</div>\n"].

section(Id, #{scenario := Name} = Result) ->
    [
        "<section aria-labelledby=\"s", Id, "\">\n<h2 id=\"s", Id, "\">", escape(Name), "</h2>\n",
        "<p>", escape(what(Result)), "</p>\n",
        tiles(Result),
        notes(Result),
        "<div class=\"charts\">\n<figure>\n<figcaption>Latency over time", legend(Result), "</figcaption>\n",
        pitcrew_load_chart:over_time(["t", Id], Result),
        "</figure>\n<figure>\n<figcaption>Latency by percentile</figcaption>\n",
        pitcrew_load_chart:by_percentile(["p", Id], Result),
        "</figure>\n</div>\n",
        tables(Id, Result),
        "</section>\n"
    ].

what(#{calls_per_second := Rate, duration := Duration, warmup := Warmup, tools := Tools, payload_bytes := Bytes}) ->
    [
        io_lib:format("~ts calls a second for ~ts, after ~ts to warm up", [plain(Rate), pitcrew_load_chart:duration(Duration * 1000), pitcrew_load_chart:duration(Warmup * 1000)]),
        case Tools of
            nil -> "";
            1 -> "; one tool";
            _ -> io_lib:format("; ~b tools", [Tools])
        end,
        if
            Bytes >= 1 bsl 20 -> io_lib:format("; payloads of ~ts MiB", [plain(Bytes / (1 bsl 20))]);
            Bytes >= 1024 -> io_lib:format("; payloads of ~b KiB", [Bytes div 1024]);
            true -> io_lib:format("; payloads of ~b bytes", [Bytes])
        end
    ].

plain(Number) when is_integer(Number) -> pitcrew_load_text:count(Number);
plain(Number) when Number == trunc(Number) -> pitcrew_load_text:count(trunc(Number));
plain(Number) -> io_lib:format("~p", [Number]).

tiles(#{calls := Calls, errors := Errors, throughput := Throughput} = Result) ->
    Times = [
        {Label, pitcrew_load_chart:duration(maps:get(Key, Result))}
     || {Label, Key} <- [{"average", avg_latency}, {"p50", p50_latency}, {"p99", p99_latency}, {"p99.9", p999_latency}, {"longest", max_latency}]
    ],
    Rate = if Throughput >= 100 -> pitcrew_load_text:count(round(Throughput)); true -> io_lib:format("~.1f", [Throughput]) end,
    All = [{"calls", pitcrew_load_text:count(Calls)}, {"failed", pitcrew_load_text:count(Errors)}, {"calls/s", Rate} | Times],
    ["<dl class=\"tiles\">\n", [["<div", bad(Label, Errors), "><dt>", Label, "</dt><dd>", Value, "</dd></div>\n"] || {Label, Value} <- All], "</dl>\n"].

bad("failed", Errors) when Errors > 0 -> " class=\"bad\"";
bad(_, _) -> "".

notes(Result) ->
    case pitcrew_load_text:notes(Result) of
        [] -> [];
        Notes -> ["<ul class=\"notes\">\n", [["<li>", escape(Note), "</li>\n"] || Note <- Notes], "</ul>\n"]
    end.

legend(#{errors := Errors, faults := Faults} = Result) ->
    Entries =
        [{Class, Text} || {Class, _, Text} <- pitcrew_load_chart:lines(Result)] ++
            [{"failed", "calls failed"} || Errors > 0] ++
            [{"kill", "worker killed"} || Faults =/= nil],
    ["<span class=\"legend\">", [[" <span><svg viewBox=\"0 0 24 12\" aria-hidden=\"true\">", swatch(Class), "</svg>", Text, "</span>"] || {Class, Text} <- Entries], "</span>"].

swatch("failed") -> "<polygon class=\"failed\" points=\"6,11 18,11 12,1\"/>";
swatch("kill") -> "<line class=\"kill\" x1=\"12\" x2=\"12\" y1=\"0\" y2=\"12\"/>";
swatch(Class) -> ["<line class=\"", Class, "\" x1=\"0\" x2=\"24\" y1=\"6\" y2=\"6\"/>"].

tables(Id, #{series := Series, percentiles := Percentiles}) ->
    Moments = [
        [decimal(At, 3), pitcrew_load_text:count(Calls), pitcrew_load_text:count(Errors) | [pitcrew_load_text:ms(Ms) || Ms <- [P50, P99, Max]]]
     || #{at := At, calls := Calls, errors := Errors, p50 := P50, p99 := P99, max := Max} <- Series
    ],
    Shares = [[decimal(Percent, 5), pitcrew_load_text:ms(Ms)] || #{percent := Percent, latency := Ms} <- Percentiles],
    [
        "<details>\n<summary>The same as tables</summary>\n<div class=\"tables\">\n",
        table(["a", Id], "Over time", ["due from, s", "calls", "failed", "p50, ms", "p99, ms", "longest, ms"], Moments),
        table(["b", Id], "By percentile", ["percent of calls", "at most, ms"], Shares),
        "</div>\n</details>\n"
    ].

table(Id, Caption, Head, Rows) ->
    [
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"", Id, "\"><table><caption id=\"", Id, "\">", Caption, "</caption>\n<thead><tr>",
        [["<th scope=\"col\">", Cell, "</th>"] || Cell <- Head],
        "</tr></thead>\n<tbody>\n",
        [["<tr><th scope=\"row\">", First, "</th>", [["<td>", Cell, "</td>"] || Cell <- Rest], "</tr>\n"] || [First | Rest] <- Rows],
        "</tbody></table></div>\n"
    ].

style() ->
    <<"
:root { --page: #fff; --ink: #1c2127; --soft: #59636e; --line: #d5dae0; --tile: #f4f6f8; --p50: #0b62b8; --p99: #b45309; --max: #6b7280; --bad: #b42318; --bad-page: #fdecea; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181d; --ink: #e6e9ed; --soft: #a3adb8; --line: #363e47; --tile: #1e242b; --p50: #6cb2f7; --p99: #f0a94a; --max: #9aa4af; --bad: #ff8a80; --bad-page: #3a1d1c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 8px 0; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 4px; overflow-wrap: anywhere; }
p { margin: 4px 0 12px; }
section { border-top: 1px solid var(--line); margin-top: 24px; padding-top: 20px; }
.small { color: var(--soft); font-size: .875rem; }
.beyond { background: var(--bad-page); border-left: 4px solid var(--bad); padding: 12px 16px; margin: 16px 0; }
.beyond ul { margin: 4px 0 0; padding-left: 20px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); gap: 8px; margin: 0 0 16px; }
.tiles div { background: var(--tile); border-radius: 6px; padding: 8px 12px; }
.tiles dt { color: var(--soft); font-size: .8125rem; }
.tiles dd { margin: 0; font-size: 1.125rem; font-weight: 600; font-variant-numeric: tabular-nums; white-space: nowrap; }
.tiles .bad dd { color: var(--bad); }
.notes { margin: 0 0 16px; padding-left: 20px; overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 24px; }
figure { margin: 0; max-width: 640px; display: flex; flex-direction: column; }
figcaption { font-weight: 600; margin-bottom: 4px; flex: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-weight: 400; font-size: .875rem; color: var(--soft); }
.legend svg { width: 24px; height: 12px; margin-right: 6px; display: inline-block; }
svg { display: block; width: 100%; height: auto; }
svg text { font-size: 15px; fill: var(--soft); font-variant-numeric: tabular-nums; }
text.y { text-anchor: end; }
text.x { text-anchor: middle; }
.grid, .tick { stroke: var(--line); stroke-width: 1; }
polyline, line.p50, line.p99, line.max { fill: none; stroke-width: 2; stroke-linejoin: round; }
.p50, .all { stroke: var(--p50); }
.p99 { stroke: var(--p99); }
.max { stroke: var(--max); }
polyline.p99, line.p99 { stroke-dasharray: 7 3; }
polyline.max, line.max { stroke-dasharray: 2 3; }
polygon.failed { fill: var(--bad); }
.kill { stroke: var(--bad); stroke-width: 1; stroke-dasharray: 3 4; opacity: .8; }
circle.p50, circle.all { fill: var(--p50); } circle.p99 { fill: var(--p99); } circle.max { fill: var(--max); }
details { margin-top: 12px; }
summary { cursor: pointer; padding: 8px 0; color: var(--p50); }
.tables { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 320px), 1fr)); gap: 16px; align-items: start; }
.scroll { overflow: auto; max-height: 420px; border: 1px solid var(--line); border-radius: 6px; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--p50); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 8px 12px; }
th, td { text-align: right; padding: 4px 12px; font-weight: 400; white-space: nowrap; }
thead th { position: sticky; top: 0; background: var(--tile); color: var(--soft); }
tbody tr { border-top: 1px solid var(--line); }
@media (max-width: 480px) { svg text { font-size: 17px; } }
"/utf8>>.
