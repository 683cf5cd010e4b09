%% The private directory of a pool's socket (docs/protocol.md, section 2), and tokens that nobody can guess.
-module(pitcrew_dir).

-export([make/1, remove/1, base/1, new_instance/0, new_token/0]).
-export_type([dir/0]).

-type dir() :: #{path := binary(), socket := binary(), instance := binary()}.

%% What fits sun_path, without its terminating zero.
-define(MAX_SOCKET_PATH, 107).

%% @doc Makes the directory, readable by nobody else.
-spec make(binary() | nil) -> {ok, dir()} | {error, pitcrew_error:t()}.
make(RuntimeDir) ->
    {Base, Source} = base(RuntimeDir),
    Instance = new_instance(),
    Path = filename:join(Base, <<"pitcrew.", Instance/binary>>),
    Socket = filename:join(Path, <<"s">>),
    case byte_size(Socket) of
        Size when Size > ?MAX_SOCKET_PATH ->
            Format = "the socket's path ~ts has ~b bytes and the system allows ~b: choose a shorter folder with the option runtime_dir (it now comes from ~ts)",
            {error, pitcrew_error:new(start_error, Format, [Socket, Size, ?MAX_SOCKET_PATH, Source])};
        _ ->
            make(Base, Source, #{path => Path, socket => Socket, instance => Instance})
    end.

make(Base, Source, #{path := Path} = Dir) ->
    case file:make_dir(Path) of
        ok ->
            case file:change_mode(Path, 8#700) of
                ok -> {ok, Dir};
                {error, Reason} -> cannot(Path, Base, Source, Reason)
            end;
        {error, Reason} ->
            cannot(Path, Base, Source, Reason)
    end.

cannot(Path, Base, Source, Reason) ->
    Format =
        "the socket directory ~ts cannot be made: ~ts. Make sure that the folder ~ts exists and that this user may write to it, or choose "
        "another one with the option runtime_dir (it now comes from ~ts)",
    {error, pitcrew_error:new(start_error, Format, [Path, file:format_error(Reason), Base, Source])}.

%% @doc The folder that holds it, and where the choice comes from.
-spec base(binary() | nil) -> {binary(), string()}.
base(RuntimeDir) when is_binary(RuntimeDir) -> {filename:absname(RuntimeDir), "the option runtime_dir"};
base(nil) -> base_from(["PITCREW_RUNTIME_DIR", "XDG_RUNTIME_DIR"]).

base_from([]) ->
    {<<"/tmp">>, "the default"};
base_from([Name | Rest]) ->
    case os:getenv(Name, "") of
        "" -> base_from(Rest);
        Folder -> {filename:absname(unicode:characters_to_binary(Folder)), "the variable " ++ Name}
    end.

%% @doc Removes what the port did not remove because it was killed.
-spec remove(dir()) -> ok.
remove(#{path := Path}) ->
    _ = file:del_dir_r(Path),
    ok.

%% @doc Sixteen hexadecimal digits.
-spec new_instance() -> binary().
new_instance() -> binary:encode_hex(crypto:strong_rand_bytes(8)).

-spec new_token() -> <<_:128>>.
new_token() -> crypto:strong_rand_bytes(16).
