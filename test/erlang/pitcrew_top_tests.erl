%% Tables in a terminal, of this VM and of another one.
-module(pitcrew_top_tests).
-include_lib("eunit/include/eunit.hrl").

pool_view() ->
    Now = #{running => 1, room => 3, rate => 1234.4, errors => 0.5, p50 => 0.0123, p99 => 1500.0, json => 0.0},
    Worker = #{id => 2, os_pid => 77, state => busy, rss => 10 * 1048576, cpu => 0.333, calls => 9, age => 3601.0, running => 1},
    Starting = #{id => 3, os_pid => nil, state => starting, rss => nil, cpu => nil, calls => 0, age => nil, running => 0},
    #{
        label => <<"Größe"/utf8>>, status => ok, ready => 3, wanted => 4, queued => 0, calls => 100, cache => nil, now => Now, workers => [Worker, Starting]
    }.

columns_are_as_wide_as_their_texts_test() ->
    Text = unicode:characters_to_list(pitcrew_top:text(#{time => 0, pools => [pool_view()]}, a@b)),
    [_, "", Heads, Pool, "", WorkerHeads, Busy, Starting, ""] = string:split(Text, "\n", all),
    ?assertEqual("POOL   STATUS  READY  RUNNING  WAITING  CALLS/S  ERRORS/S    P50    P99  JSON/S  CACHE  CALLS", Heads),
    ?assertEqual("Größe  ok        3/4      1/3        0     1234       0.5  12 µs  1.5 s     0.0      -    100", Pool),
    ?assertEqual("POOL   WORKER  PID  STATE       MEMORY   CPU  CALLS     AGE", WorkerHeads),
    ?assertEqual("Größe       2   77  busy      10.0 MiB  33 %      9  60 min", Busy),
    ?assertEqual("Größe       3    -  starting         -     -      0       -", Starting).

%% The one that is looked at has a name and a cookie; the one that looks has neither until then.
another_node_test_() ->
    {timeout, 120, fun() ->
        Paths = lists:append([["-pa", Path] || Path <- [filename:dirname(code:which(pitcrew))]]),
        {ok, Seen, Node} = peer:start_link(#{name => peer:random_name(), connection => standard_io, args => ["-setcookie", "top" | Paths]}),
        {ok, Looks, _} = peer:start_link(#{connection => standard_io, args => Paths}),
        try
            {ok, _} = peer:call(Seen, application, ensure_all_started, [pitcrew]),
            {ok, _} = peer:call(Seen, pitcrew, start_pool, [#{name => far, size => 1}], 60_000),
            Options = #{node => Node, cookie => top, interval => 10, times => 1},
            %% What a peer prints comes out of this process' group leader.
            ok = peer:call(Looks, pitcrew_top, run, [Options], 60_000),
            ?assertEqual([Node], peer:call(Looks, erlang, nodes, [hidden])),
            {error, #{kind := pool_down, message := <<"node nobody@nowhere cannot be reached", _/binary>>}} =
                peer:call(Looks, pitcrew_top, run, [Options#{node := nobody@nowhere}], 60_000)
        after
            _ = peer:call(Seen, pitcrew, stop_pool, [far], 60_000),
            peer:stop(Looks),
            peer:stop(Seen)
        end
    end}.
