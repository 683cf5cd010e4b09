%% How Python is started: command line, environment, folder (docs/protocol.md, section 6). Reads the VM's own
%% environment and nothing else.
-module(pitcrew_python).

-export([zygote/2, priv/1]).

%% Read by numeric libraries when they load, so they must be there before the first import.
-define(THREAD_VARIABLES, [
    <<"OMP_NUM_THREADS">>,
    <<"OPENBLAS_NUM_THREADS">>,
    <<"MKL_NUM_THREADS">>,
    <<"NUMEXPR_NUM_THREADS">>,
    <<"VECLIB_MAXIMUM_THREADS">>,
    <<"BLIS_NUM_THREADS">>
]).

%% The memory allocators of Arrow (pyarrow, and so pandas) and of programs in Rust start a thread when they load, only to give memory back to the
%% system, which they also do without. With it no worker could be forked.
-define(ALLOCATOR_VARIABLES, [<<"JE_ARROW_MALLOC_CONF">>, <<"_RJEM_MALLOC_CONF">>]).

%% @doc Argv, changes to the environment, and the folder.
-spec zygote(pitcrew_options:pool(), Instance :: binary()) ->
    {[binary()], #{binary() => binary() | nil}, Cd :: binary() | nil}.
zygote(#{python := Python, start := Start, env := Env, cd := Cd} = Options, Instance) ->
    Argv = [
        interpreter(Python),
        <<"-m">>,
        <<"pitcrew">>,
        <<"--start">>,
        atom_to_binary(Start)
        | modules(Options) ++ permits(Options)
    ],
    Ours = #{
        <<"PYTHONPATH">> => python_path(Env),
        <<"PITCREW_INSTANCE">> => <<Instance/binary, "-00000000">>
    },
    {Argv, maps:merge(maps:merge(preset(Options), Env), Ours), folder(Cd)}.

modules(#{preload := Preload, tools := Tools}) -> words(<<"--preload">>, Preload) ++ words(<<"--tools">>, Tools).

permits(#{allow_eval := AllowEval, allow_import := Modules}) ->
    [<<"--allow-eval">> || AllowEval] ++ words(<<"--allow-import">>, Modules).

words(Option, Values) -> lists:append([[Option, Value] || Value <- Values]).

%% A path is relative to the folder of the VM, not to `cd'. A virtual environment is known by the link to its
%% interpreter, so links stay. A command without a slash is looked up where Python's own environment says.
interpreter(Python) ->
    case binary:match(Python, <<"/">>) of
        nomatch -> Python;
        _ -> filename:absname(Python)
    end.

folder(nil) -> nil;
folder(Cd) -> filename:absname(Cd).

python_path(Env) ->
    Own = unicode:characters_to_binary(priv("python"), unicode, file:native_name_encoding()),
    case value(<<"PYTHONPATH">>, Env) of
        Users when Users =:= nil; Users =:= <<>> -> Own;
        Users -> <<Own/binary, ":", Users/binary>>
    end.

%% What is in the pool's `env' or in the VM's own environment comes first.
preset(#{env := Env} = Options) ->
    maps:from_list([{Name, Value} || {Name, Value} <- thread_limits(Options) ++ allocators(Options), value(Name, Env) =:= nil]).

thread_limits(#{thread_limits := none}) -> [];
thread_limits(#{thread_limits := Limit}) -> [{Name, integer_to_binary(Limit)} || Name <- ?THREAD_VARIABLES].

allocators(#{start := spawn}) -> [];
allocators(#{}) -> [{Name, <<"background_thread:false">>} || Name <- ?ALLOCATOR_VARIABLES].

%% What Python would see without us.
value(Name, Env) ->
    case Env of
        #{Name := Value} ->
            Value;
        #{} ->
            case os:getenv(unicode:characters_to_list(Name)) of
                false -> nil;
                Value -> unicode:characters_to_binary(Value)
            end
    end.

%% @doc A file of priv, where the application or, during development, this module lies.
-spec priv(string()) -> file:filename().
priv(Name) ->
    Dir =
        case code:priv_dir(pitcrew) of
            {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
            Found -> Found
        end,
    filename:join(filename:absname(Dir), Name).
