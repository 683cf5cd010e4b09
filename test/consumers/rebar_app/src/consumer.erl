%% What a first user does: call a tool, watch it through telemetry, look at an error. Prints CONSUMER OK.
-module(consumer).
-behaviour(supervisor).

-export([main/0, init/1, handle/4]).

main() ->
    try
        non_existing = code:which('Elixir.Kernel'),
        {ok, _} = application:ensure_all_started(consumer),
        {ok, _} = supervisor:start_link(?MODULE, []),
        check(),
        io:format("CONSUMER OK~n"),
        init:stop(0)
    catch
        Class:Reason:Stack ->
            io:format("~p: ~p~n~p~n", [Class, Reason, Stack]),
            init:stop(1)
    end.

init([]) ->
    Python = filename:join(code:priv_dir(consumer), "python"),
    Pool = pitcrew_pool:child_spec(#{name => consumer_py, tools => [<<"consumer_tools">>], cd => Python, size => 2}),
    {ok, {#{strategy => one_for_one}, [Pool]}}.

handle(Event, Measurements, Metadata, To) -> To ! {Event, Measurements, Metadata}.

check() ->
    ok = pitcrew_telemetry:attach(consumer, [pitcrew, call, stop], fun ?MODULE:handle/4, self()),
    Who = <<"Zoë"/utf8>>,
    {ok, #{<<"sum">> := 3, <<"who">> := Who}} = pitcrew:call(consumer_py, report, [1, 2, Who]),
    receive
        {[pitcrew, call, stop], #{duration := Duration}, #{tool_id := <<"report">>}} when Duration > 0 -> ok
    after 5000 -> error(no_telemetry_event)
    end,
    {error, #{kind := tool_error, type := <<"LookupError">>}} = pitcrew:call(consumer_py, fail),
    ok = pitcrew_telemetry:detach(consumer).
