%% The trace of a call is there wherever the call goes: in the tool, however that runs, in functions that it calls, in the calls those make, in events;
%% and nowhere else.
-module(pitcrew_trace_tests).
-include_lib("eunit/include/eunit.hrl").
-export([tell/4]).
-import(pitcrew_test, [with_pool/2, chunks/1]).

-define(TRACE, <<"0af7651916cd43dd8448eb211c80319c">>).
-define(SPAN, <<"b7ad6b7169203331">>).
-define(PARENT, <<"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01">>).
-define(STATE, <<"vendor=some,other=\"\\thing">>).
-define(OTHER, <<"00-11111111111111111111111111111111-2222222222222222-00">>).

tell(Event, _, Told, To) -> To ! {Event, Told}.

pools(Fun) -> pitcrew_test:on_each_pool(#{size => 1, tools => ["trace_tools"]}, fun(Pool, _) -> Fun(Pool) end).

given() -> #{traceparent => ?PARENT, tracestate => ?STATE}.

in_python() -> #{<<"traceparent">> => ?PARENT, <<"tracestate">> => ?STATE}.

%% ---- In Python

a_tool_sees_its_trace_and_the_next_one_none_test_() ->
    pools(fun(Pool) ->
        Told = in_python(),
        Given = given(),
        None = #{},
        ?assertEqual({ok, Told}, pitcrew:call(Pool, context, [], Given)),
        ?assertEqual({ok, None}, pitcrew:call(Pool, context, [])),
        ?assertEqual({ok, #{<<"traceparent">> => ?PARENT}}, pitcrew:call(Pool, context, [], #{traceparent => ?PARENT})),
        ?assertEqual({ok, Told}, pitcrew:call(Pool, context, [], Given#{protocol => json})),
        ?assertEqual({ok, None}, pitcrew:call(Pool, context, [], #{protocol => json})),
        ?assertEqual({ok, [Told, Told, Told, Told]}, pitcrew:call(Pool, context_later, [], Given)),
        ?assertEqual({ok, [None, None, None, None]}, pitcrew:call(Pool, context_later, [])),
        {error, _} = pitcrew:call(Pool, fail, [], Given),
        ?assertEqual({ok, None}, pitcrew:call(Pool, context, [])),
        [
            begin
                ?assertEqual([Told, Told], chunks(pitcrew:stream(Pool, Tool, [2], Given))),
                ?assertEqual([None], chunks(pitcrew:stream(Pool, Tool, [1])))
            end
         || Tool <- [context_each, context_each_async]
        ],
        ?assertEqual([{ok, Told}, {ok, Told}], pitcrew:batch(Pool, [{context, []}, {context, []}], Given)),
        ?assertEqual({ok, Told}, pitcrew:await(pitcrew:async(Pool, context, [], Given)))
    end).

%% Many at once do not mix.
calls_that_run_at_once_have_each_their_own_test_() ->
    pools(fun(Pool) ->
        Parents = [iolist_to_binary(io_lib:format("00-~32.16.0b-~16.16.0b-01", [N, N])) || N <- lists:seq(1, 20)],
        Calls = [{Parent, pitcrew:async(Pool, Tool, [], #{traceparent => Parent})} || Tool <- [context_later, context], Parent <- Parents],
        [
            case pitcrew:await(Call) of
                {ok, #{} = One} -> ?assertEqual(#{<<"traceparent">> => Parent}, One);
                {ok, All} -> ?assertEqual([#{<<"traceparent">> => Parent}], lists:usort(All))
            end
         || {Parent, Call} <- Calls
        ]
    end).

sessions_have_both_test_() ->
    pools(fun(Pool) ->
        pitcrew:session(Pool, fun(Session) ->
            ?assertEqual({ok, in_python()}, pitcrew:call(Session, context, [], given()))
        end)
    end).

%% The trace says nothing about the result.
a_cached_result_serves_another_trace_test_() ->
    {timeout, 60, fun() ->
        with_pool(#{size => 1, tools => ["trace_tools"], cache => true}, fun(Pool) ->
            {ok, Same} = pitcrew:call(Pool, context, [], given()),
            ?assertEqual({ok, Same}, pitcrew:call(Pool, context, [], #{traceparent => ?OTHER}))
        end)
    end}.

%% ---- In the VM

functions_and_the_calls_that_they_make_belong_to_it_test_() ->
    [
        {lists:concat(["concurrency ", N]), {timeout, 60, fun() ->
            with_pool(#{size => 2, tools => ["trace_tools"], concurrency => N}, fun(Pool) ->
                Self = self(),
                Function = fun() ->
                    Own = pitcrew:trace_context(),
                    Calls = [
                        pitcrew:call(Pool, context, []),
                        pitcrew:call(Pool, context, [], #{protocol => json}),
                        pitcrew:call(Pool, context, [], #{traceparent => ?OTHER}),
                        pitcrew:call(Pool, context, [], #{traceparent => nil}),
                        pitcrew:await(pitcrew:async(Pool, context, [])),
                        hd(pitcrew:batch(Pool, [{context, []}])),
                        {ok, hd(chunks(pitcrew:stream(Pool, context_each, [1])))}
                    ],
                    %% And so on: a function of a call that a function has made.
                    Deeper = pitcrew:call(Pool, call, [fun() -> Self ! {deeper, pitcrew:trace_context()}, nil end]),
                    Self ! {told, Own, Calls, Deeper},
                    nil
                end,
                {ok, nil} = pitcrew:call(Pool, call, [Function], given()),
                Given = given(),
                receive {deeper, Deep} -> ?assertEqual(Given, Deep) after 10_000 -> error(nothing) end,
                receive
                    {told, Own, Calls, Deeper} ->
                        Told = {ok, in_python()},
                        Other = {ok, #{<<"traceparent">> => ?OTHER}},
                        ?assertEqual(Given, Own),
                        ?assertEqual([Told, Told, Other, Told, Told, Told, Told], Calls),
                        ?assertEqual({ok, nil}, Deeper)
                after 10_000 -> error(nothing)
                end,
                ?assertEqual(nil, pitcrew:trace_context()),
                {ok, nil} = pitcrew:call(Pool, call, [fun() -> pitcrew:trace_context() end])
            end)
        end}}
     || N <- [1, 4]
    ].

%% Those that Python calls by their name, also from a call that has claimed its worker.
tools_of_the_vm_belong_to_it_test_() ->
    pools(fun(Pool) ->
        ok = pitcrew:register_tool(Pool, traced, fun() -> maps:get(traceparent, pitcrew:trace_context()) end),
        ?assertEqual({ok, ?PARENT}, pitcrew:call(Pool, call_by_name, [traced], given())),
        ?assertEqual([?PARENT], chunks(pitcrew:stream(Pool, call_by_name_each, [traced], given())))
    end).

telemetry_is_told_test_() ->
    {timeout, 60, fun() ->
        {ok, _} = application:ensure_all_started(pitcrew),
        Events = [[pitcrew_test, call, What] || What <- [start, stop, exception]] ++ [[pitcrew_test, python, pitcrew, done]],
        ok = pitcrew_telemetry:attach_many(?MODULE, Events, fun ?MODULE:tell/4, self()),
        try
            with_pool(#{size => 1, tools => ["trace_tools"]}, fun(Pool) ->
                {ok, nil} = pitcrew:call(Pool, emit, [], given()),
                [
                    receive {[pitcrew_test | Event], Told} -> ?assertMatch({Event, #{traceparent := ?PARENT}}, {Event, Told}) after 10_000 -> error(Event) end
                 || Event <- [[call, start], [call, stop], [python, pitcrew, done]]
                ],
                {error, _} = pitcrew:call(Pool, fail, [], given()),
                receive {[_, call, exception], Told} -> ?assertMatch(#{traceparent := ?PARENT, tracestate := ?STATE}, Told) after 10_000 -> error(nothing) end,
                {ok, nil} = pitcrew:call(Pool, emit, []),
                receive {[_, python, pitcrew, done], Untold} -> ?assertNot(is_map_key(traceparent, Untold)) after 10_000 -> error(nothing) end,
                [receive {[_, call, What], _} -> ok end || What <- [start, start, stop]]
            end)
        after
            ok = pitcrew_telemetry:detach(?MODULE)
        end
    end}.

%% ---- OpenTelemetry, where it is installed

opentelemetry_picks_it_up_test_() ->
    pools(fun(Pool) ->
        Good = #{traceparent => ?PARENT, tracestate => <<"vendor=some">>},
        Remote = [?TRACE, ?SPAN, true, <<"vendor=some">>],
        Invalid = [binary:copy(<<"0">>, 32), binary:copy(<<"0">>, 16), false, <<>>],
        [
            begin
                ?assertEqual({ok, Remote}, pitcrew:call(Pool, Tool, [], Good)),
                ?assertEqual({ok, Invalid}, pitcrew:call(Pool, Tool, []))
            end
         || Tool <- [otel_span, otel_span_later]
        ],
        ?assertEqual({ok, [?TRACE, ?SPAN]}, pitcrew:call(Pool, otel_child, [], Good)),
        ?assertMatch({ok, [_, nil]}, pitcrew:call(Pool, otel_child, []))
    end).

%% ---- What is given

what_is_no_trace_is_refused_test() ->
    ?assertEqual({ok, ?PARENT}, pitcrew_trace:parent(?PARENT)),
    <<"00", Rest/binary>> = ?PARENT,
    ?assertEqual({ok, <<"cc", Rest/binary, "-what.the-future-brings">>}, pitcrew_trace:parent(<<"cc", Rest/binary, "-what.the-future-brings">>)),
    [
        ?assertEqual({Bad, error}, {Bad, pitcrew_trace:parent(Bad)})
     || Bad <- [
            <<>>,
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            <<"ff", Rest/binary>>,
            <<"0g", Rest/binary>>,
            <<"00", Rest/binary, "-more">>,
            <<"cc", Rest/binary, "more">>,
            <<"cc", Rest/binary, "-", 10>>,
            <<"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01">>,
            <<"00-00000000000000000000000000000000-b7ad6b7169203331-01">>,
            <<"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01">>,
            <<"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01">>,
            <<"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0">>,
            17
        ]
    ],
    [?assertEqual({ok, Good}, pitcrew_trace:state(Given)) || {Given, Good} <- [{?STATE, ?STATE}, {<<>>, nil}, {nil, nil}, {undefined, nil}]],
    [?assertEqual(error, pitcrew_trace:state(Bad)) || Bad <- ["text", <<"a=", 10>>, <<"a=", 195, 188>>, binary:copy(<<"x">>, 513), 17]].

options_say_what_is_wrong_test_() ->
    {timeout, 60, fun() ->
        with_pool(#{size => 1, tools => ["trace_tools"]}, fun(Pool) ->
            [
                ?assertMatch({error, #{kind := invalid_option}}, pitcrew:call(Pool, context, [], Bad))
             || Bad <- [#{traceparent => <<"00">>}, #{tracestate => <<"a=b">>}, #{traceparent => ?PARENT, tracestate => 1}]
            ],
            ?assertEqual({ok, #{}}, pitcrew:call(Pool, context, [], [{traceparent, nil}, {tracestate, nil}]))
        end)
    end}.
