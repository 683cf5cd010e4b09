%% What a call in JSON has of its own: its arguments become texts before a slot is claimed, and the text of its answer becomes a
%% term when the slot has been given back. Both in the caller's process.
-module(pitcrew_call_json).

-export([texts/5, answer/3]).
-export_type([texts/0, null/0]).

%% The last is kwargs, a comma and meta.
-type texts() :: {Tool :: binary(), Args :: binary(), Named :: binary()}.
-type null() :: nil | undefined.

%% @doc The fields of a call. In an error `path' begins with the field's name.
-spec texts(binary(), list(), map() | nil, map() | nil, null()) -> {ok, texts()} | {error, pitcrew_error:t()}.
texts(Tool, Args, Kwargs, Meta, Null) ->
    try
        {ok, {text(tool, Tool, Null), text(args, Args, Null), named(Kwargs, Meta, Null)}}
    catch
        throw:{?MODULE, Refused} -> {error, Refused};
        error:not_loaded -> pitcrew_json:available()
    end.

named(nil, nil, _) -> <<"null,null">>;
named(Kwargs, Meta, Null) -> <<(keywords(Kwargs, Null))/binary, $,, (keywords(Meta, Null))/binary>>.

%% Our own nil, whatever stands for it in the user's terms.
keywords(nil, _) -> <<"null">>;
keywords(Kwargs, Null) -> text(kwargs, Kwargs, Null).

%% Each field by itself: the frame's array is none of the containers that the limit of depth counts.
text(Field, Term, Null) ->
    case pitcrew_json_nif:encode(Term, Null, 0, false) of
        {ok, Text} -> Text;
        {error, #{path := Path} = Refused} -> throw({?MODULE, Refused#{path := [Field | Path]}})
    end.

%% @doc What a reply or an error frame says.
-spec answer(reply | fault, binary(), null()) -> {ok, term()} | {error, pitcrew_error:t()}.
answer(Kind, Text, Null) ->
    case pitcrew_json_nif:decode(Text, Null, last, error) of
        {ok, Value} when Kind =:= reply -> {ok, Value};
        {ok, Fault} -> {error, pitcrew_error:from_fault(Fault)};
        {error, _} = Unreadable -> Unreadable
    end.
