%% The keeper's book of workers: numbers, tokens, processes, and the end of what each wrote to its standard error. Data only.
%%
%% A token opens one call channel and one side channel, once each, and nothing after its worker has exited.
-module(pitcrew_roster).

-export([new/0, add/3, redeem/3, forked/3, exited/2, orphan/2, wid/2, process/2, os_pid/2, processes/1]).
-export([note/3, last_words/2, forget/2]).
-export_type([roster/0]).

-record(worker, {
    process :: pid() | gone,
    os_pid = nil :: pos_integer() | nil,
    token :: binary(),
    %% Roles that the token has not opened yet.
    roles = [<<"call">>, <<"side">>] :: [binary()]
}).

-record(roster, {
    workers = #{} :: #{wid() => #worker{}},
    by_process = #{} :: #{pid() => wid()},
    by_token = #{} :: #{binary() => wid()},
    words = #{} :: #{wid() => binary()}
}).

-type wid() :: non_neg_integer().
-opaque roster() :: #roster{}.

%% Bytes kept of a process's standard error. Worker 0 is the zygote.
-define(WORDS, 4096).

-spec new() -> roster().
new() -> #roster{}.

-spec add(wid(), {pid(), Token :: binary()}, roster()) -> roster().
add(Wid, {Process, Token}, #roster{workers = Workers, by_process = Processes, by_token = Tokens} = Roster) ->
    Roster#roster{
        workers = Workers#{Wid => #worker{process = Process, token = Token}},
        by_process = Processes#{Process => Wid},
        by_token = Tokens#{Token => Wid}
    }.

%% @doc Whose channel it is that somebody opens with a token.
-spec redeem(binary(), binary(), roster()) -> {ok, pid(), roster()} | refused.
redeem(Token, Role, #roster{by_token = Tokens, workers = Workers} = Roster) ->
    case Tokens of
        #{Token := Wid} ->
            #{Wid := #worker{process = Process, roles = Roles} = Worker} = Workers,
            case is_pid(Process) andalso lists:member(Role, Roles) of
                true ->
                    Used = Worker#worker{roles = lists:delete(Role, Roles)},
                    {ok, Process, Roster#roster{workers = Workers#{Wid := Used}}};
                false ->
                    refused
            end;
        #{} ->
            refused
    end.

-spec forked(wid(), pos_integer(), roster()) -> {ok, pid(), roster()} | orphan | absent.
forked(Wid, OsPid, #roster{workers = Workers} = Roster) ->
    case Workers of
        #{Wid := #worker{process = gone}} -> orphan;
        #{Wid := #worker{process = Process} = Worker} ->
            {ok, Process, Roster#roster{workers = Workers#{Wid := Worker#worker{os_pid = OsPid}}}};
        #{} -> absent
    end.

%% @doc Takes a worker out; its process may have gone before.
-spec exited(wid(), roster()) -> {pid() | gone, roster()} | absent.
exited(Wid, #roster{workers = Workers} = Roster) ->
    case maps:take(Wid, Workers) of
        {#worker{process = Process, token = Token}, Rest} ->
            {Process, Roster#roster{
                workers = Rest,
                by_process = maps:remove(Process, Roster#roster.by_process),
                by_token = maps:remove(Token, Roster#roster.by_token),
                words = maps:remove(Wid, Roster#roster.words)
            }};
        error ->
            absent
    end.

%% @doc The process has ended before its worker. Returns the worker's number.
-spec orphan(pid(), roster()) -> {ok, wid(), roster()} | absent.
orphan(Process, #roster{workers = Workers, by_process = Processes} = Roster) ->
    case maps:take(Process, Processes) of
        {Wid, Rest} ->
            #{Wid := Worker} = Workers,
            {ok, Wid, Roster#roster{workers = Workers#{Wid := Worker#worker{process = gone}}, by_process = Rest}};
        error ->
            absent
    end.

-spec wid(pid(), roster()) -> {ok, wid()} | absent.
wid(Process, #roster{by_process = Processes}) ->
    case Processes of
        #{Process := Wid} -> {ok, Wid};
        #{} -> absent
    end.

-spec process(wid(), roster()) -> {ok, pid()} | absent.
process(Wid, #roster{workers = Workers}) ->
    case Workers of
        #{Wid := #worker{process = Process}} when is_pid(Process) -> {ok, Process};
        #{} -> absent
    end.

-spec os_pid(wid(), roster()) -> pos_integer() | nil.
os_pid(Wid, #roster{workers = Workers}) ->
    case Workers of
        #{Wid := #worker{os_pid = OsPid}} -> OsPid;
        #{} -> nil
    end.

-spec processes(roster()) -> [pid()].
processes(#roster{by_process = Processes}) -> maps:keys(Processes).

%% @doc Keeps the end of what a process wrote to its standard error, the zygote or one that has not exited.
-spec note(wid(), binary(), roster()) -> roster().
note(Wid, _, #roster{workers = Workers} = Roster) when Wid =/= 0, not is_map_key(Wid, Workers) ->
    Roster;
note(Wid, Line, #roster{words = Words} = Roster) ->
    Before = maps:get(Wid, Words, <<>>),
    Roster#roster{words = Words#{Wid => tail(<<Before/binary, Line/binary, "\n">>)}}.

tail(Text) when byte_size(Text) =< ?WORDS -> Text;
tail(Text) -> binary:copy(binary:part(Text, byte_size(Text), -?WORDS)).

-spec last_words(wid(), roster()) -> binary().
last_words(Wid, #roster{words = Words}) -> maps:get(Wid, Words, <<>>).

-spec forget(wid(), roster()) -> roster().
forget(Wid, #roster{words = Words} = Roster) -> Roster#roster{words = maps:remove(Wid, Words)}.
