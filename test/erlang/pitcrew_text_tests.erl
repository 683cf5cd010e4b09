-module(pitcrew_text_tests).

-include_lib("eunit/include/eunit.hrl").

a_pool_is_called_as_its_users_write_it_test() ->
    ?assertEqual([<<"py">>, <<"MyApp.Py">>, <<"größer"/utf8>>], [pitcrew_text:pool(Name) || Name <- [py, 'Elixir.MyApp.Py', größer]]),
    ?assertEqual(list_to_binary(pid_to_list(self())), pitcrew_text:pool(self())).

columns_are_as_wide_as_what_is_in_them_test() ->
    Text = unicode:characters_to_list(pitcrew_text:table(["name", "n", "text"], [left, right, left], [[<<"ü"/utf8>>, "10", "a"], ["longer", "2", ""]])),
    ?assertEqual("name     n  text\nü       10  a\nlonger   2\n", Text).

decimals_end_with_a_digit_that_says_something_test() ->
    ?assertEqual(["0", "50", "1.5", "0.13", "99.999"], [pitcrew_text:decimal(Value, Most) || {Value, Most} <- [{0, 6}, {50, 2}, {1.5, 2}, {0.126, 2}, {99.999, 5}]]).

nothing_is_taken_for_markup_test() ->
    ?assertEqual(<<"&lt;a b=&quot;c&amp;d&quot;&gt;\t?\n漢"/utf8>>, pitcrew_text:escape(["<a b=\"c&d\">\t", 1, <<"\n漢"/utf8>>])).
