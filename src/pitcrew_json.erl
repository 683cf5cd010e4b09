%% @doc JSON, read and written by the C library jansson.
%%
%% ```
%% {ok, <<"{\"a\":[1,2.5,null]}">>} = pitcrew_json:encode(#{a => [1, 2.5, nil]}),
%% {ok, #{<<"a">> := [1, 2.5, nil]}} = pitcrew_json:decode(<<"{\"a\": [1, 2.5, null]}">>).
%% '''
%%
%% What JSON cannot carry is an error that says where. On a machine without jansson every function returns an error that
%% says what to install.
-module(pitcrew_json).

-export([encode/1, encode/2, decode/1, decode/2, available/0]).
-export_type([encode_option/0, decode_option/0, options/1]).

%% `nil': the atom that stands for JSON's null, `nil' by default. `indent': spaces for each level, 0 by default, which
%% writes no space at all.
-type encode_option() :: {nil, nil | undefined | null} | {indent, 0..31} | {sort_keys, boolean()}.

%% `duplicate_keys': of equal keys in an object the last one wins (the default), or they are an error.
%% `big_integers': what does not fit 64 bits is an error (the default) or becomes a float.
-type decode_option() ::
    {nil, nil | undefined | null} | {duplicate_keys, last | error} | {big_integers, error | float}.

-type options(Option) :: [Option] | #{atom() => term()}.

%% Rows of pitcrew_options:table/2.
-define(ENCODE, [
    {nil, {one_of, [nil, undefined, null]}, {value, nil}},
    {indent, {integer, 0, 31}, {value, 0}},
    {sort_keys, {one_of, [true, false]}, {value, false}}
]).
-define(DECODE, [
    {nil, {one_of, [nil, undefined, null]}, {value, nil}},
    {duplicate_keys, {one_of, [last, error]}, {value, last}},
    {big_integers, {one_of, [error, float]}, {value, error}}
]).

%% @equiv encode(Term, [])
-spec encode(term()) -> {ok, binary()} | {error, pitcrew_error:t()}.
encode(Term) -> encode(Term, nil, 0, false).

%% @doc A term as JSON text.
-spec encode(term(), options(encode_option())) -> {ok, binary()} | {error, pitcrew_error:t()}.
encode(Term, []) ->
    encode(Term);
encode(Term, Options) ->
    case pitcrew_options:table(Options, ?ENCODE) of
        {ok, #{nil := Nil, indent := Indent, sort_keys := SortKeys}} -> encode(Term, Nil, Indent, SortKeys);
        {error, _} = Error -> Error
    end.

encode(Term, Nil, Indent, SortKeys) ->
    try
        pitcrew_json_nif:encode(Term, Nil, Indent, SortKeys)
    catch
        error:not_loaded -> unavailable(encode_error)
    end.

%% @equiv decode(Text, [])
-spec decode(binary()) -> {ok, term()} | {error, pitcrew_error:t()}.
decode(Text) when is_binary(Text) -> decode(Text, nil, last, error).

%% @doc The term of a JSON text: one value, with nothing but white space around it.
%%
%% When the text is at fault, the error has `reason := #{line, column, position}': the line, from 1, and how many of its
%% characters, and how many bytes in all, were read.
-spec decode(binary(), options(decode_option())) -> {ok, term()} | {error, pitcrew_error:t()}.
decode(Text, []) ->
    decode(Text);
decode(Text, Options) when is_binary(Text) ->
    case pitcrew_options:table(Options, ?DECODE) of
        {ok, #{nil := Nil, duplicate_keys := Keys, big_integers := Integers}} -> decode(Text, Nil, Keys, Integers);
        {error, _} = Error -> Error
    end.

decode(Text, Nil, DuplicateKeys, BigIntegers) ->
    try
        pitcrew_json_nif:decode(Text, Nil, DuplicateKeys, BigIntegers)
    catch
        error:not_loaded -> unavailable(decode_error)
    end.

%% @doc Whether JSON works here, and if not, what to install.
-spec available() -> ok | {error, pitcrew_error:t()}.
available() ->
    case encode(nil) of
        {ok, _} -> ok;
        {error, _} = Error -> Error
    end.

unavailable(Kind) ->
    {_, Library, Text} = Why = persistent_term:get(pitcrew_json_nif),
    Message =
        case filelib:is_regular(Library) of
            true ->
                ["JSON is not available, because its library cannot be loaded: ", Text,
                 ". Install jansson (Debian: libjansson4) and start the VM again"];
            false ->
                "JSON is not available, because Pitcrew was compiled without it: install jansson's development package "
                "(Debian: libjansson-dev) and compile Pitcrew again"
        end,
    {error, (pitcrew_error:new(Kind, Message))#{path => [], reason => {not_loaded, Why}}}.
