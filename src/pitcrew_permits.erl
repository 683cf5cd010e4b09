%% Whether a pool's callers may call what is no tool of it: code to evaluate, or a function of a module (options allow_eval and
%% allow_import). The worker checks once more, and all that lies behind the name of the module.
-module(pitcrew_permits).

-export([new/1, check/3, eval_tool/0]).
-export_type([permits/0]).

-record(permits, {
    allow_eval :: boolean(),
    %% Names of modules and packages.
    allow_import :: [binary()]
}).

-opaque permits() :: #permits{}.

-spec new(pitcrew_options:pool()) -> permits().
new(#{allow_eval := AllowEval, allow_import := AllowImport}) -> #permits{allow_eval = AllowEval, allow_import = AllowImport}.

%% @doc The name of the tool that evaluates code.
-spec eval_tool() -> binary().
eval_tool() -> <<"pitcrew:eval">>.

%% @doc What is a tool is allowed, and what has no colon in its name is Python's business to refuse. So is what may be a tool.
-spec check(binary(), unknown | #{binary() => term()}, permits()) -> ok | {error, pitcrew_error:t()}.
check(Tool, Tools, _) when is_map_key(Tool, Tools) ->
    ok;
check(<<"pitcrew:eval">>, _, #permits{allow_eval = false}) ->
    {error, pitcrew_error:new(not_allowed, "the pool does not allow eval: its option allow_eval must be true")};
check(<<"pitcrew:", _/binary>>, _, _) ->
    ok;
check(_, unknown, _) ->
    ok;
check(Tool, _, #permits{allow_import = Allowed}) ->
    case binary:split(Tool, <<":">>) of
        [_] ->
            ok;
        [Module, _] ->
            case lists:any(fun(Name) -> is_in(Module, Name) end, Allowed) of
                true -> ok;
                false -> {error, not_imported(Tool, Module)}
            end
    end.

%% Whether a module has that name, or is in a package of that name.
is_in(Name, Name) -> true;
is_in(Module, Name) ->
    Size = byte_size(Name),
    case Module of
        <<Name:Size/binary, ".", _/binary>> -> true;
        _ -> false
    end.

not_imported(Tool, Module) ->
    Format = "the pool does not allow calls of ~ts: its option allow_import must name ~ts or a package that it is in",
    pitcrew_error:new(not_allowed, Format, [Tool, Module]).
