%% The keeper's dealings with workers: forks, kills, tokens at the door, ends. Functions over the roster and the link, for the
%% keeper's process, which is the only one that calls them.
-module(pitcrew_hands).

-export([fork/4, refuse/1, kill/4, ask_vitals/3, vitals/3, forked/4, ended/3, all_killed/1, process_down/3, admit/2]).

-include_lib("kernel/include/logger.hrl").

-type roster() :: pitcrew_roster:roster().
-type link() :: pitcrew_link:link().

%% @doc Asks a zygote for a worker of a process, which is watched from now on.
-spec fork(pid(), {Zid :: pos_integer(), Wid :: pos_integer()}, link(), roster()) -> roster().
fork(Process, {Zid, Wid}, #{dir := #{socket := Socket, instance := Instance}} = Link, Roster) ->
    Token = pitcrew_dir:new_token(),
    _ = monitor(process, Process),
    Payload = pitcrew_control:fork_payload(#{socket => Socket, token => Token, wid => Wid, instance => Instance}),
    ok = pitcrew_link:command({fork, Zid, Wid, Payload}, Link),
    pitcrew_roster:add(Wid, {Process, Token}, Roster).

-spec refuse(pid()) -> ok.
refuse(Process) ->
    Error = pitcrew_error:new(start_error, "there is no zygote to fork from at the moment"),
    tell(Process, {fork_failed, Error}).

-spec kill(pid(), atom(), closed | link(), roster()) -> ok.
kill(Process, Signal, Link, Roster) ->
    case pitcrew_roster:wid(Process, Roster) of
        {ok, Wid} -> signal(Wid, Signal, Link);
        absent -> ok
    end.

%% @doc Has the port look at the worker of a process, which is told {vitals, _} if it runs.
-spec ask_vitals(pid(), closed | link(), roster()) -> ok.
ask_vitals(_, closed, _) ->
    ok;
ask_vitals(Process, Link, Roster) ->
    case pitcrew_roster:wid(Process, Roster) of
        {ok, Wid} -> ok = pitcrew_link:command({vitals, Wid}, Link);
        absent -> ok
    end.

-spec vitals(pos_integer(), pitcrew_control:vitals(), roster()) -> ok.
vitals(Wid, Vitals, Roster) ->
    case pitcrew_roster:process(Wid, Roster) of
        {ok, Process} -> tell(Process, {vitals, Vitals});
        absent -> ok
    end.

%% A port that is gone has taken its workers with it.
signal(_, _, closed) -> ok;
signal(Wid, Signal, Link) -> ok = pitcrew_link:command({kill, Wid, Signal}, Link).

%% @doc A worker runs. If its process has gone meanwhile, so must it.
-spec forked(pos_integer(), pos_integer(), link(), roster()) -> roster().
forked(Wid, OsPid, Link, Roster) ->
    case pitcrew_roster:forked(Wid, OsPid, Roster) of
        {ok, Process, Noted} ->
            tell(Process, {forked, OsPid}),
            Noted;
        orphan ->
            signal(Wid, sigkill, Link),
            Roster;
        absent ->
            Roster
    end.

%% @doc A worker is gone, or was never there; its process hears how, with the last words that the fun is given.
-spec ended(pos_integer(), fun((LastWords :: binary()) -> term()), roster()) -> roster().
ended(Wid, News, Roster) ->
    LastWords = pitcrew_roster:last_words(Wid, Roster),
    case pitcrew_roster:exited(Wid, Roster) of
        {gone, Rest} ->
            Rest;
        {Process, Rest} ->
            tell(Process, News(LastWords)),
            Rest;
        absent ->
            Roster
    end.

%% @doc Guard and port kill everybody when one of them goes, so nobody will report exits: these are they.
-spec all_killed(roster()) -> roster().
all_killed(Roster) ->
    lists:foreach(
        fun(Process) -> tell(Process, {exit, {signal, sigkill}, <<>>}) end,
        pitcrew_roster:processes(Roster)
    ),
    pitcrew_roster:new().

%% @doc A worker's process has ended, perhaps before its worker.
-spec process_down(pid(), closed | link(), roster()) -> roster().
process_down(Process, Link, Roster) ->
    case pitcrew_roster:orphan(Process, Roster) of
        {ok, Wid, Rest} ->
            signal(Wid, sigkill, Link),
            Rest;
        absent ->
            Roster
    end.

%% @doc Who presents a good token is handed to the worker's process, everybody else is shown out.
-spec admit([pitcrew_door:guest()], roster()) -> roster().
admit(Guests, Roster) -> lists:foldl(fun admit_guest/2, Roster, Guests).

admit_guest({Channel, Token, Role}, Roster) ->
    case pitcrew_roster:redeem(Token, Role, Roster) of
        {ok, Process, Used} ->
            hand_over(Channel, role(Role), Process),
            Used;
        refused ->
            ?LOG_WARNING("a connection to the pool's socket was refused: its token is not good"),
            _ = pitcrew_nif:channel_close(Channel),
            Roster
    end.

hand_over(Channel, Role, Process) ->
    case pitcrew_nif:channel_give(Channel, Process) of
        ok ->
            tell(Process, {channel, Role, Channel});
        {error, _} ->
            _ = pitcrew_nif:channel_close(Channel),
            ok
    end.

role(<<"call">>) -> call;
role(<<"side">>) -> side.

tell(Process, News) ->
    Process ! {pitcrew_keeper, News},
    ok.
