#!/usr/bin/env escript
%% Pitcrew from Erlang, without Elixir. From the folder of the project, after `rebar3 compile':
%%
%%     ERL_LIBS=_build/default/lib escript examples/erlang/words.escript
%%
%% Python is $PITCREW_PYTHON, or python3.
-mode(compile).

main([]) ->
    {ok, _} = application:ensure_all_started(pitcrew),
    Folder = filename:dirname(escript:script_name()),
    {ok, _} = pitcrew_pool:start_link(#{name => words, tools => ["words_tools"], cd => Folder, size => 2}),

    %% By position, by name, and an error: all of it is data.
    {ok, Counts} = pitcrew:call(words, count, [<<"the cat saw the dog">>]),
    io:format("count:  ~p~n", [Counts]),
    {ok, Wrapped} = pitcrew:call(words, wrap, #{text => <<"a rather long line of words">>, width => 12}),
    io:format("wrap:   ~p~n", [Wrapped]),
    {error, #{kind := tool_error} = Error} = pitcrew:call(words, wrap, [<<"text">>, 0]),
    io:format("error:  ~ts~n", [hd(string:split(pitcrew_error:format(Error), "\n"))]),

    ok = pitcrew_pool:stop(words).
