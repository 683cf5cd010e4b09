%% The process that enumerates for pitcrew_iterator, and nothing else: the user's code runs in it. Each element goes to whoever has started it, encoded,
%% as `{element, Bytes}', and at the end `{over, done | Fault}'.
-module(pitcrew_runner).

-export([start/3]).

-define(TOO_BIG, "an element is larger than max_frame").
%% Around a single element in its frame.
-define(FRAME, 64).

%% @doc Linked and monitored. It makes nothing before {pitcrew_credit, Feeder, N}, waits for another one when that is used up, and ends at an element when
%% the flag is set, or with {pitcrew_halt, Feeder} where it waits.
-spec start(fun(), atomics:atomics_ref(), pitcrew_iterator:terms()) -> pid().
start(Reduce, Flag, #{inherit := Inherit} = Terms) ->
    Feeder = self(),
    {Runner, _} = spawn_opt(
        fun() ->
            _ = Inherit(),
            Reducer = fun(Element, Credit) -> emit(Element, Credit, Feeder, Flag, Terms) end,
            Feeder ! {over, enumerate(fun(Command) -> Reduce(Command, Reducer) end, Feeder)}
        end,
        [link, monitor]
    ),
    Runner.

enumerate(Go, Feeder) ->
    try
        go_on(Go, Feeder)
    catch
        Class:Reason:Stack -> pitcrew_function:raised(Class, Reason, Stack)
    end.

go_on(Go, Feeder) ->
    receive
        {pitcrew_credit, Feeder, Credit} -> went(Go({cont, Credit}), Feeder);
        {pitcrew_halt, Feeder} -> went(Go({halt, 0}), Feeder)
    end.

went({suspended, _, Go}, Feeder) -> go_on(Go, Feeder);
went({halted, {fault, Fault}}, _) -> Fault;
went({Ended, _}, _) when Ended =:= done; Ended =:= halted -> done;
went(Other, _) -> pitcrew_function:fault(error, io_lib:format("what was to be enumerated has returned ~0tP", [Other, 16])).

emit(Element, Credit, Feeder, Flag, #{codec := Codec, max_frame := Max}) ->
    case atomics:get(Flag, 1) of
        1 ->
            {halt, Credit};
        0 ->
            case pitcrew_function:encoded(Element, Codec, "an element") of
                {ok, Bytes} when byte_size(Bytes) > Max - ?FRAME ->
                    fail(pitcrew_function:fault(too_big, ?TOO_BIG), Feeder);
                {ok, Bytes} ->
                    Feeder ! {element, Bytes},
                    made(Credit - pitcrew_iterator:cost(Bytes));
                {error, Fault} ->
                    fail(Fault, Feeder)
            end
    end.

made(Credit) when Credit =< 0 -> {suspend, Credit};
made(Credit) -> {cont, Credit}.

%% At once: to close what is enumerated may take its time.
fail(Fault, Feeder) ->
    Feeder ! {over, Fault},
    {halt, {fault, Fault}}.
