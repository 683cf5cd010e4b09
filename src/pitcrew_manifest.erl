%% The tools that a worker announces in `ready' (docs/protocol.md, Manifest), with atoms for the keys that the protocol fixes.
-module(pitcrew_manifest).

-export([from_wire/1, by_name/1]).
-export_type([tool/0]).

-type tool() :: #{
    name := binary(),
    doc := binary() | nil,
    module := binary() | nil,
    params := [map()],
    idempotent := boolean(),
    batch := boolean(),
    kind := binary()
}.

%% @doc Fields that a newer Python side may add are left out.
-spec from_wire(term()) -> [tool()].
from_wire(Tools) when is_list(Tools) -> [tool(Tool) || Tool <- Tools, is_map(Tool)];
from_wire(_) -> [].

tool(Tool) ->
    #{
        name => maps:get(<<"name">>, Tool),
        doc => maps:get(<<"doc">>, Tool, nil),
        module => maps:get(<<"module">>, Tool, nil),
        params => [param(Param) || Param <- maps:get(<<"params">>, Tool, [])],
        idempotent => maps:get(<<"idempotent">>, Tool, false) =:= true,
        batch => maps:get(<<"batch">>, Tool, false) =:= true,
        kind => maps:get(<<"kind">>, Tool, <<"function">>)
    }.

param(Param) when is_map(Param) ->
    #{
        name => maps:get(<<"name">>, Param, nil),
        kind => maps:get(<<"kind">>, Param, nil),
        required => maps:get(<<"required">>, Param, false),
        annotation => maps:get(<<"annotation">>, Param, nil)
    };
param([Name, Kind, Required, Annotation | _]) ->
    #{name => Name, kind => Kind, required => Required, annotation => Annotation}.

%% @doc Which tools there are, and whether they may be run again after a worker died.
-spec by_name([tool()]) -> #{binary() => IsIdempotent :: boolean()}.
by_name(Tools) -> maps:from_list([{Name, Idempotent} || #{name := Name, idempotent := Idempotent} <- Tools]).
