%% Writes what Python prints to the logger, in a process of its own: a slow log handler holds up neither the keeper nor a kill. It
%% never has more to do than the credit that the port was given.
-module(pitcrew_output).
-behaviour(gen_server).

-export([start_link/1, line/3, dropped/3, text/1]).
-export([init/1, handle_call/3, handle_cast/2]).

%% What a line costs besides its bytes, as the port counts.
-define(LINE_COST, 32).

%% @doc The calling process is sent {pitcrew_output, Cost} for every line that is through.
-spec start_link(atom()) -> {ok, pid()}.
start_link(Pool) -> {ok, _} = gen_server:start_link(?MODULE, {Pool, self()}, []).

-spec line(pid(), pos_integer() | nil, {1 | 2, binary()}) -> ok.
line(Output, OsPid, {Fd, Line}) -> gen_server:cast(Output, {line, OsPid, Fd, Line}).

-spec dropped(pid(), non_neg_integer(), non_neg_integer()) -> ok.
dropped(Output, Lines, Bytes) -> gen_server:cast(Output, {dropped, Lines, Bytes}).

init({Pool, Keeper}) ->
    logger:set_process_metadata(#{pool => Pool, domain => [pitcrew, python]}),
    {ok, Keeper}.

handle_call(_, _, Keeper) -> {reply, {error, unknown}, Keeper}.

handle_cast({line, OsPid, Fd, Line}, Keeper) ->
    logger:log(level(Fd), "~ts", [text(Line)], #{worker => OsPid, python => stream(Fd)}),
    Keeper ! {pitcrew_output, byte_size(Line) + ?LINE_COST},
    {noreply, Keeper};
handle_cast({dropped, Lines, Bytes}, Keeper) ->
    logger:log(warning, "~b lines (~b bytes) that Python printed were dropped: it prints faster than the log takes them", [Lines, Bytes]),
    {noreply, Keeper}.

level(1) -> info;
level(2) -> warning.

stream(1) -> stdout;
stream(2) -> stderr.

%% @doc What Python printed as text: bytes that are not UTF-8 are shown as Latin-1, one character each.
-spec text(binary()) -> binary().
text(Line) ->
    case unicode:characters_to_binary(Line) of
        Text when is_binary(Text) -> Text;
        _ -> unicode:characters_to_binary(Line, latin1)
    end.
