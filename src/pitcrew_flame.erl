%% A flame graph as an SVG of its own, without scripts, fonts or links: callers above, those that they call below them, as wide as their share of the
%% samples.
%%
%% Widths are shares of whatever width there is, so that the text keeps its size on a phone as on a wall; what does not fit is cut off at
%% the frame, and has its whole name in its title.
-module(pitcrew_flame).

-export([svg/3]).

-import(pitcrew_text, [escape/1]).

%% Pixels.
-define(ROW, 20).
-define(HEAD, 34).
-define(TEXT_ROW, 17).
%% Of all samples: what is narrower is not drawn, and what has room for some letters on a wide screen only, or on every one.
-define(LEAST, 0.0005).
-define(WIDE, 0.02).
-define(EVERYWHERE, 0.07).

-record(node, {count = 0 :: non_neg_integer(), callees = #{} :: #{binary() => #node{}}}).

%% @doc Stacks, outermost first with `;' in between, as in a collapsed file, and how often each was seen; a title, and lines that explain.
-spec svg(#{binary() => pos_integer()}, unicode:chardata(), [unicode:chardata()]) -> binary().
svg(Stacks, Title, Lines) ->
    #node{count = All, callees = Roots} = maps:fold(fun insert/3, #node{}, Stacks),
    Top = ?HEAD + ?TEXT_ROW * length(Lines) + ?ROW div 2,
    Frames = frames(Roots, 0.0, 0, max(All, 1)),
    Depth = lists:max([0 | [Level + 1 || {Level, _, _, _, _} <- Frames]]),
    Drawn = [frame(Frame, Top, max(All, 1)) || Frame <- Frames],
    unicode:characters_to_binary([head(Title, Lines, Top + ?ROW * max(Depth, 1) + ?ROW div 2), Drawn, none(All, Top), "</svg>\n"]).

insert(Stack, Count, Root) -> insert_frames(binary:split(Stack, <<";">>, [global]), Count, Root).

insert_frames([], Count, #node{count = Sum} = Node) ->
    Node#node{count = Sum + Count};
insert_frames([Name | Rest], Count, #node{count = Sum, callees = Callees} = Node) ->
    Below = insert_frames(Rest, Count, maps:get(Name, Callees, #node{})),
    Node#node{count = Sum + Count, callees = Callees#{Name => Below}}.

%% Level, where it begins, its width, both as shares, its name and its samples: from the left to the right, callers first.
frames(Nodes, Left, Level, All) ->
    {Frames, _} = lists:foldl(
        fun({Name, #node{count = Count, callees = Callees}}, {Before, At}) ->
            Width = Count / All,
            Here =
                case Width >= ?LEAST of
                    true -> [[{Level, At, Width, Name, Count}], frames(Callees, At, Level + 1, All)];
                    false -> []
                end,
            {[Before, Here], At + Width}
        end,
        {[], Left},
        lists:sort(maps:to_list(Nodes))
    ),
    lists:flatten(Frames).

%% ---- What is drawn

head(Title, Lines, Height) ->
    [
        io_lib:format(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100%\" height=\"~b\" role=\"img\" aria-labelledby=\"title desc\">~n", [Height]
        ),
        "<title id=\"title\">", escape(Title), "</title>\n",
        "<desc id=\"desc\">Flame graph. ", escape(lists:join(" ", Lines)), "</desc>\n",
        "<style>\n"
        "  svg { font: 12px ui-monospace, monospace; }\n"
        "  .page { fill: #ffffff; } .head { fill: #1a1a1a; font-family: system-ui, sans-serif; }\n"
        "  .big { font-size: 17px; font-weight: 600; } .frame { stroke: #ffffff; } .name { fill: #1a1a1a; }\n"
        "  @media (prefers-color-scheme: dark) { .page { fill: #16181c; } .head { fill: #e8e8e8; } .frame { stroke: #16181c; } }\n"
        "  @media (max-width: 900px) { .narrow { display: none; } }\n"
        "</style>\n",
        "<rect class=\"page\" width=\"100%\" height=\"100%\"/>\n",
        "<text class=\"head big\" x=\"8\" y=\"24\">", escape(Title), "</text>\n",
        [
            ["<text class=\"head\" x=\"8\" y=\"", integer_to_list(?HEAD + ?TEXT_ROW * (N - 1) + 12), "\">", escape(Line), "</text>\n"]
         || {N, Line} <- lists:enumerate(Lines)
        ]
    ].

none(0, Top) -> ["<text class=\"head\" x=\"8\" y=\"", integer_to_list(Top + 14), "\">Nothing ran when it was looked.</text>\n"];
none(_, _) -> [].

%% An svg of its own, which cuts off what is too long.
frame({Level, Left, Width, Name, Count}, Top, All) ->
    Share = io_lib:format("~ts: ~b samples, ~.1f %", [escape(Name), Count, 100 * Count / All]),
    [
        io_lib:format("<svg x=\"~.3f%\" y=\"~b\" width=\"~.3f%\" height=\"~b\">", [100 * Left, Top + ?ROW * Level, 100 * Width, ?ROW]),
        "<title>", Share, "</title>",
        io_lib:format("<rect class=\"frame\" width=\"100%\" height=\"100%\" fill=\"~s\"/>", [colour(Name)]),
        label(Width, Name),
        "</svg>\n"
    ].

label(Width, _) when Width < ?WIDE -> [];
label(Width, Name) when Width < ?EVERYWHERE -> ["<text class=\"name narrow\" x=\"4\" y=\"14\">", escape(Name), "</text>"];
label(_, Name) -> ["<text class=\"name\" x=\"4\" y=\"14\">", escape(Name), "</text>"].

%% Of one file the frames have one hue; light, so that the text is readable on all of them.
colour(Name) ->
    File = hd(binary:split(lists:last(binary:split(Name, <<" (">>, [global])), <<":">>)),
    io_lib:format("hsl(~b 75% ~b%)", [erlang:phash2(File, 360), 74 + erlang:phash2(Name, 9)]).
