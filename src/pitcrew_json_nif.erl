%% Private: the native functions of JSON, one to one with the table in c_src/json/pitcrew_json_nif.c. No logic.
-module(pitcrew_json_nif).

-export([encode/4, decode/4]).
-on_load(load/0).

-export_type([codec_error/0]).

-type null() :: nil | undefined | null.
%% pitcrew_error:t() with these keys. `path' is outermost first; `reason' is there when the text is at fault:
%% line from 1, characters of that line and bytes in all that were read.
-type codec_error() :: #{
    kind := encode_error | decode_error,
    message := binary(),
    path := [term()],
    reason => #{line := pos_integer(), column := non_neg_integer(), position := non_neg_integer()}
}.

%% A module that cannot load would stop a release while it boots. So this one always does, and says in a persistent term why
%% its functions do not work.
load() ->
    Library = filename:join(priv_dir(), "pitcrew_json_nif"),
    case erlang:load_nif(Library, 0) of
        ok ->
            _ = persistent_term:erase(?MODULE),
            ok;
        {error, {Reason, Text}} ->
            persistent_term:put(?MODULE, {Reason, Library ++ ".so", Text})
    end.

priv_dir() ->
    case code:priv_dir(pitcrew) of
        {error, bad_name} -> filename:join(filename:dirname(filename:dirname(code:which(?MODULE))), "priv");
        Dir -> Dir
    end.

%% Both move to a dirty CPU scheduler by themselves when the work is large.
-spec encode(term(), null(), Indent :: 0..31, SortKeys :: boolean()) -> {ok, binary()} | {error, codec_error()}.
encode(_Term, _Nil, _Indent, _SortKeys) -> erlang:nif_error(not_loaded).
-spec decode(binary(), null(), DuplicateKeys :: last | error, BigIntegers :: error | float) ->
    {ok, term()} | {error, codec_error()}.
decode(_Binary, _Nil, _DuplicateKeys, _BigIntegers) -> erlang:nif_error(not_loaded).
