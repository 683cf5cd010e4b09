%% What a worker is told in `hello' (docs/protocol.md, section 1): the options that Python obeys.
-module(pitcrew_hello).

-export([fields/1]).

-define(PROTOCOL, 1).
-define(MAX_DEPTH, 512).

-spec fields(pitcrew_options:pool()) -> #{binary() => term()}.
fields(#{max_frame := Max, spin_us := Spin} = Options) ->
    Fields = #{<<"protocol">> => ?PROTOCOL, <<"max_frame">> => Max, <<"max_depth">> => ?MAX_DEPTH, <<"spin_us">> => Spin},
    log(Options, limits(Options, concurrency(Options, Fields))).

concurrency(#{concurrency := 1}, Fields) -> Fields;
concurrency(#{concurrency := Concurrency}, Fields) -> Fields#{<<"concurrency">> => Concurrency}.

limits(#{rlimits := Limits, nice := Nice}, Fields) ->
    Given = maps:from_list([{atom_to_binary(Name), Value} || {Name, Value} <- maps:to_list(Limits)]),
    case {Given, Nice} of
        {_, 0} when Given =:= #{} -> Fields;
        {_, 0} -> Fields#{<<"limits">> => Given};
        {_, _} -> Fields#{<<"limits">> => Given#{<<"nice">> => Nice}}
    end.

log(#{log_level := none}, Fields) -> Fields;
log(#{log_level := Level}, Fields) -> Fields#{<<"log">> => pitcrew_records:hello(Level)}.
