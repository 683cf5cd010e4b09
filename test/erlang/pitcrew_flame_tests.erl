%% The flame graph as such: what is in it, how wide, and that it is XML whatever names there are.
-module(pitcrew_flame_tests).
-include_lib("eunit/include/eunit.hrl").
-include_lib("xmerl/include/xmerl.hrl").

svg(Stacks) -> pitcrew_flame:svg(Stacks, <<"A pool">>, [<<"first">>, <<"second">>]).

%% Each frame: its name, its samples, left edge and width in percent, and how far down it is.
frames(Svg) ->
    {Root, []} = xmerl_scan:string(binary_to_list(Svg), [{quiet, true}]),
    [
        {title(Frame), number(x, Frame), number(width, Frame), attribute(y, Frame)}
     || #xmlElement{name = svg} = Frame <- Root#xmlElement.content
    ].

title(#xmlElement{content = Content}) ->
    [Title] = [lists:flatten([Text || #xmlText{value = Text} <- C]) || #xmlElement{name = title, content = C} <- Content],
    Title.

attribute(Name, #xmlElement{attributes = Attributes}) ->
    [Value] = [V || #xmlAttribute{name = N, value = V} <- Attributes, N =:= Name],
    Value.

number(Name, Element) -> list_to_float(lists:droplast(attribute(Name, Element))).

frames_are_as_wide_as_their_share_and_stand_below_their_callers_test() ->
    Frames = frames(svg(#{<<"a;b">> => 1, <<"a;c">> => 2, <<"d">> => 1})),
    ?assertMatch(
        [
            {"a: 3 samples, 75.0 %", 0.0, 75.0, Top},
            {"b: 1 samples, 25.0 %", 0.0, 25.0, Below},
            {"c: 2 samples, 50.0 %", 25.0, 50.0, Below},
            {"d: 1 samples, 25.0 %", 75.0, 25.0, Top}
        ] when Below > Top,
        Frames
    ).

it_says_what_it_is_test() ->
    Svg = svg(#{<<"a">> => 1}),
    {Root, []} = xmerl_scan:string(binary_to_list(Svg), [{quiet, true}]),
    ?assertEqual("A pool", title(Root)),
    ?assertEqual("img", attribute(role, Root)),
    ?assertEqual("title desc", attribute('aria-labelledby', Root)),
    ?assertMatch([_], [D || #xmlElement{name = desc} = D <- Root#xmlElement.content]),
    %% It needs nothing from anywhere.
    [?assertEqual(nomatch, binary:match(Svg, Word)) || Word <- [<<"href">>, <<"<script">>, <<"url(">>, <<"@import">>]].

any_name_is_xml_test() ->
    Name = <<"<lambda> & \"quoted\" ", 1, 16#1f, " größer 漢 (a&b.py:1)"/utf8>>,
    [{Title, _, _, _}] = frames(svg(#{Name => 1})),
    ?assertEqual("<lambda> & \"quoted\" ?? größer 漢 (a&b.py:1): 1 samples, 100.0 %", Title).

what_is_too_narrow_to_see_is_not_drawn_test() ->
    ?assertMatch([{"a: 9999 samples, 100.0 %", _, _, _}], frames(svg(#{<<"a">> => 9999, <<"b">> => 1}))).

nothing_is_said_so_test() ->
    Svg = svg(#{}),
    ?assertEqual([], frames(Svg)),
    ?assertMatch({_, _}, binary:match(Svg, <<"Nothing ran">>)).
