%% What a worker is told in `hello' (docs/protocol.md, section 1): the options that Python obeys.
-module(pitcrew_hello).

-export([fields/2]).

-define(PROTOCOL, 1).
-define(MAX_DEPTH, 512).

-spec fields(pitcrew_options:pool(), pitcrew_nif:account() | none) -> #{binary() => term()}.
fields(#{max_frame := Max, spin_us := Spin} = Options, Account) ->
    Fields = #{<<"protocol">> => ?PROTOCOL, <<"max_frame">> => Max, <<"max_depth">> => ?MAX_DEPTH, <<"spin_us">> => Spin},
    gc(Options, freeze(Options, log(Options, events(limits(Options, buffers(Account, Options, started(Options, concurrency(Options, Fields)))))))).

gc(#{gc_pauses := none}, Fields) -> Fields;
gc(#{gc_pauses := LeastUs}, Fields) -> Fields#{<<"gc_pauses">> => LeastUs}.

events(Fields) -> Fields#{<<"events">> => pitcrew_records:events_hello()}.

%% Which descriptors come with it.
started(#{pipeline := 1}, Fields) -> Fields;
started(#{}, Fields) -> Fields#{<<"started">> => true}.

buffers(none, _, Fields) -> Fields;
buffers(_, #{max_shared := Most}, Fields) -> Fields#{<<"buffers">> => #{<<"max">> => Most}}.

concurrency(#{concurrency := 1}, Fields) -> Fields;
concurrency(#{concurrency := Concurrency}, Fields) -> Fields#{<<"concurrency">> => Concurrency}.

limits(#{rlimits := Limits, nice := Nice}, Fields) ->
    Given = maps:from_list([{atom_to_binary(Name), Value} || {Name, Value} <- maps:to_list(Limits)]),
    case {Given, Nice} of
        {_, 0} when Given =:= #{} -> Fields;
        {_, 0} -> Fields#{<<"limits">> => Given};
        {_, _} -> Fields#{<<"limits">> => Given#{<<"nice">> => Nice}}
    end.

freeze(#{gc_freeze := false}, Fields) -> Fields;
freeze(#{gc_freeze := true}, Fields) -> Fields#{<<"gc_freeze">> => true}.

log(#{log_level := none}, Fields) -> Fields;
log(#{log_level := Level}, Fields) -> Fields#{<<"log">> => pitcrew_records:hello(Level)}.
