%% @doc What goes wrong, as data: one map for every error that Pitcrew returns.
%%
%% ```
%% {error, #{kind := tool_error, type := <<"ValueError">>, message := M}} = pitcrew:call(py, fail, []),
%% io:put_chars(pitcrew_error:format(Error))
%% '''
-module(pitcrew_error).

-export([new/2, new/3, add/2, kinds/0, format/1]).
-export([from_codec/1, from_fault/1, from_exit/2, from_start_report/1]).
-export([exit_text/1, said/1]).
-export_type([t/0, kind/0, exit/0]).

-type kind() ::
    tool_error
    | bad_arguments
    | unknown_tool
    | not_allowed
    | encode_error
    | decode_error
    | result_error
    | too_big
    | timeout
    | cancelled
    | checkout_timeout
    | overloaded
    | worker_exit
    | pool_down
    | no_pool
    | no_session
    | bad_ref
    | cache_error
    | start_error
    | invalid_option
    | protocol_error.

%% How a worker ended. `stopped' and `silent' ones were killed for that.
-type exit() :: {signal, atom() | integer()} | {status, integer()} | stopped | silent | unknown.

%% `type' and `traceback' are Python's; `path' says where in the arguments or in the result, outermost first;
%% `worker' is an operating-system process id; `index' which call of a batch it was, from 0.
-type t() :: #{
    kind := kind(),
    message := binary(),
    type => binary() | nil,
    traceback => binary() | nil,
    path => [term()] | nil,
    tool => binary(),
    pool => atom(),
    worker => pos_integer() | nil,
    index => non_neg_integer(),
    reason => exit() | term()
}.

%% @doc All kinds, in the order of the documentation. The list is closed.
-spec kinds() -> [kind(), ...].
kinds() ->
    [
        tool_error,
        bad_arguments,
        unknown_tool,
        not_allowed,
        encode_error,
        decode_error,
        result_error,
        too_big,
        timeout,
        cancelled,
        checkout_timeout,
        overloaded,
        worker_exit,
        pool_down,
        no_pool,
        no_session,
        bad_ref,
        cache_error,
        start_error,
        invalid_option,
        protocol_error
    ].

%% @doc An error with a message for people.
-spec new(kind(), unicode:chardata()) -> t().
new(Kind, Message) -> #{kind => Kind, message => unicode:characters_to_binary(Message)}.

%% @doc The same with a format, as `io_lib:format/2' takes it.
-spec new(kind(), io:format(), [term()]) -> t().
new(Kind, Format, Args) -> new(Kind, io_lib:format(Format, Args)).

%% @doc Adds what the place knows that reports the error (tool, pool, worker); what the error already says stays.
-spec add(t(), map()) -> t().
add(Error, More) -> maps:merge(More, Error).

%% @doc From what pitcrew_nif says about terms that cannot be encoded or decoded.
-spec from_codec(pitcrew_nif:codec_error()) -> t().
from_codec(#{kind := Kind, message := Message, path := Path}) ->
    (new(Kind, Message))#{path => Path}.

%% @doc From the error frame of a worker.
-spec from_fault(term()) -> t().
from_fault(Fault) when not is_map(Fault) ->
    new(protocol_error, "the worker's error frame holds no map");
from_fault(Fault) ->
    Kind = fault_kind(maps:get(<<"kind">>, Fault, nil)),
    Error = new(Kind, text(maps:get(<<"message">>, Fault, nil), <<"the worker gave no message">>)),
    Error#{
        type => text(maps:get(<<"type">>, Fault, nil), nil),
        traceback => text(maps:get(<<"traceback">>, Fault, nil), nil),
        path => path(maps:get(<<"path">>, Fault, nil))
    }.

%% @doc From the way a worker ended; `Doing' completes the sentence.
-spec from_exit(exit() | term(), iodata()) -> t().
from_exit(Reason, Doing) ->
    (new(worker_exit, ["the worker ", exit_text(Reason), Doing]))#{reason => Reason}.

%% @doc From the map that a zygote or worker sends when it cannot start.
-spec from_start_report(map()) -> t().
from_start_report(Report) ->
    Message = text(maps:get(<<"message">>, Report, nil), <<"no message">>),
    Type = text(maps:get(<<"type">>, Report, nil), nil),
    Stage = text(maps:get(<<"stage">>, Report, nil), nil),
    Error = new(start_error, start_text(Stage, Type, Message)),
    Error#{type => Type, traceback => text(maps:get(<<"traceback">>, Report, nil), nil)}.

%% @doc One string for people: kind, message, where, and Python's traceback if there is one.
-spec format(t()) -> binary().
format(#{kind := Kind, message := Message} = Error) ->
    Lines = [
        [atom_to_binary(Kind), ": ", with_type(Error, Message)],
        [["tool: ", Tool] || #{tool := Tool} <- [Error]],
        [["pool: ", atom_to_binary(Pool)] || #{pool := Pool} <- [Error]],
        [["call of the batch: ", integer_to_binary(Index)] || #{index := Index} <- [Error]],
        [["worker: ", integer_to_binary(Pid)] || #{worker := Pid} <- [Error], is_integer(Pid)],
        [["at: ", io_lib:format("~tp", [Path])] || #{path := [_ | _] = Path} <- [Error]],
        [string:trim(Text, trailing, "\n") || #{traceback := Text} <- [Error], is_binary(Text)]
    ],
    unicode:characters_to_binary(lists:join($\n, [Line || Line <- Lines, Line =/= []])).

%% Python's messages say their type already when a traceback was formatted; plain ones do not.
with_type(#{type := Type, kind := tool_error}, Message) when is_binary(Type) -> [Type, ": ", Message];
with_type(_, Message) -> Message.

start_text(<<"exec">>, _, Message) -> ["Python could not be started: ", Message];
start_text(<<"import">>, Type, Message) -> ["a module of the pool does not import: ", typed(Type, Message)];
start_text(<<"threads">>, _, Message) -> Message;
start_text(_, Type, Message) -> ["Python could not get ready: ", typed(Type, Message)].

typed(nil, Message) -> Message;
typed(Type, Message) -> [Type, ": ", Message].

%% @doc How something ended, as the end of a sentence: "was killed by SIGKILL".
-spec exit_text(exit() | term()) -> iodata().
exit_text({signal, Signal}) when is_atom(Signal) ->
    ["was killed by ", string:uppercase(atom_to_list(Signal))];
exit_text({signal, Number}) when is_integer(Number) ->
    ["was killed by signal ", integer_to_list(Number)];
exit_text(Interrupted) when Interrupted =:= interrupted; Interrupted =:= closed ->
    "was interrupted because of a call that took too long or was given up";
exit_text(recycled) ->
    "was replaced by another";
exit_text(stopped) ->
    "was stopped, by SIGSTOP or a debugger, and did not go on: it was killed";
exit_text(silent) ->
    "answered no heartbeat for a long time, although nobody had stopped it: it was killed";
exit_text({status, Status}) when is_integer(Status) ->
    ["exited with status ", integer_to_list(Status)];
exit_text(sibling_stuck) ->
    ["was killed because another call in it held the GIL and did not end,"];
exit_text(Other) ->
    ["went away (", io_lib:format("~tp", [Other]), ")"].

%% @doc Ends a sentence with what a process printed last, if it printed anything.
-spec said(binary()) -> iodata().
said(LastWords) ->
    case string:trim(pitcrew_output:text(LastWords)) of
        <<>> -> "";
        Text -> ["; it said: ", Text]
    end.

%% The values of `kind' that docs/protocol.md allows in an error frame; anything else broke the protocol.
fault_kind(<<"tool_error">>) -> tool_error;
fault_kind(<<"cancelled">>) -> cancelled;
fault_kind(<<"bad_arguments">>) -> bad_arguments;
fault_kind(<<"unknown_tool">>) -> unknown_tool;
fault_kind(<<"not_allowed">>) -> not_allowed;
fault_kind(<<"decode_error">>) -> decode_error;
fault_kind(<<"result_error">>) -> result_error;
fault_kind(<<"too_big">>) -> too_big;
fault_kind(_) -> protocol_error.

text(Text, _) when is_binary(Text) -> Text;
text(_, Default) -> Default.

path(Path) when is_list(Path) -> Path;
path(_) -> nil.
