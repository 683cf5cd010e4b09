%% @doc MessagePack for anybody's data: the codec of the pools, with an option for each mapping.
%%
%% ```
%% {ok, <<129,161,97,147,1,2,192>>} = pitcrew_msgpack:encode(#{<<"a">> => [1, 2, nil]}),
%% {ok, #{<<"a">> := [1, 2, nil]}} = pitcrew_msgpack:decode(<<129,161,97,147,1,2,192>>).
%% '''
%%
%% docs/types.md says what becomes what. One set of options serves both directions; what says nothing about a direction
%% changes nothing there. The first value is the default:
%% <ul>
%% <li>`binaries': how a binary is written: `str', which must be UTF-8; `bin'; or `auto', str where it is UTF-8. Both are read
%%   as binaries</li>
%% <li>`bytes': how bin is read: `plain', a binary, or `tagged', as pitcrew:bytes/1 makes it</li>
%% <li>`atoms': `ext' writes extension 1, which is read as an atom if that exists and as a binary otherwise; `existing' does
%%   not read one that does not exist; `string' writes str, and reads extension 1 as a binary. No atom is ever made</li>
%% <li>`tuples': written as extension 3 (`ext'), as arrays (`list'), or refused (`error')</li>
%% <li>`keys': how a str that is the key of a map is read: as a binary (`string'), or as an atom if that exists
%%   (`existing_atom')</li>
%% <li>`nil': the atom that stands for nil: `nil', `undefined' or `null'</li>
%% <li>`floats': `atoms' writes and reads nan and the infinities as the atoms nan, infinity and neg_infinity; with `error' these
%%   are atoms like any other, and a float that is not finite is not read</li>
%% <li>`ext': what is made of extensions: a function of type and data for those that Pitcrew gives no meaning to, or a map
%%   from types, of Pitcrew's too, to functions of the data. Without one they come as
%%   `#{'__struct__' := 'Elixir.Pitcrew.MessagePack.Ext', type := Type, data := Data}', which is also how they are written</li>
%% <li>`max_depth': containers in containers, 1 to 512 (512)</li>
%% <li>`max_size': bytes of one value, written or read (`infinity')</li>
%% <li>`copy_binaries': with `true' a binary never shares memory with the input, nor the output with a binary (`false')</li>
%% </ul>
-module(pitcrew_msgpack).

-export([encode/1, encode/2, encode_to_iodata/1, encode_to_iodata/2]).
-export([decode/1, decode/2, decode_all/1, decode_all/2]).
-export_type([option/0, options/0, handlers/0]).

-type option() ::
    {binaries, str | bin | auto}
    | {bytes, plain | tagged}
    | {atoms, ext | existing | string}
    | {tuples, ext | list | error}
    | {keys, string | existing_atom}
    | {nil, nil | undefined | null}
    | {floats, atoms | error}
    | {ext, handlers()}
    | {max_depth, 1..512}
    | {max_size, pos_integer() | infinity}
    | {copy_binaries, boolean()}.
-type options() :: [option()] | #{atom() => term()}.
-type handlers() ::
    nil
    | fun((Type :: -128..127, Data :: binary()) -> term())
    | #{Type :: -128..127 => fun((Data :: binary()) -> term())}.
-type error() :: {error, pitcrew_error:t()}.

-define(TABLE, [
    {binaries, {one_of, [str, bin, auto]}, {value, str}},
    {bytes, {one_of, [plain, tagged]}, {value, plain}},
    {atoms, {one_of, [ext, existing, string]}, {value, ext}},
    {tuples, {one_of, [ext, list, error]}, {value, ext}},
    {keys, {one_of, [string, existing_atom]}, {value, string}},
    {nil, {one_of, [nil, undefined, null]}, {value, nil}},
    {floats, {one_of, [atoms, error]}, {value, atoms}},
    {ext, handlers, {value, nil}},
    {max_depth, {integer, 1, 512}, {value, 512}},
    {max_size, {integer_or, 1, 16#ffffffffffffffff, infinity}, {value, infinity}},
    {copy_binaries, {one_of, [false, true]}, {value, false}}
]).

%% A bit for each type, the lowest of the first byte being type 0: all but -1, 1 to 11 and 13, which have a meaning.
-define(RAW, <<2#00000001, 2#11010000, -1:(29 * 8), 2#01111111>>).

%% @equiv encode(Term, [])
-spec encode(term()) -> {ok, binary()} | error().
encode(Term) -> encode(Term, []).

%% @doc A term as one binary.
-spec encode(term(), options()) -> {ok, binary()} | error().
encode(Term, Options) ->
    case codec(Options) of
        {ok, Codec, _} -> encode(fun pitcrew_nif:encode/2, Term, Codec);
        {error, _} = Error -> Error
    end.

%% @equiv encode_to_iodata(Term, [])
-spec encode_to_iodata(term()) -> {ok, iodata()} | error().
encode_to_iodata(Term) -> encode_to_iodata(Term, []).

%% @doc A term as a list of binaries, in which large binaries of the term are themselves and no copies.
-spec encode_to_iodata(term(), options()) -> {ok, iodata()} | error().
encode_to_iodata(Term, Options) ->
    case codec(Options) of
        {ok, #{copy_binaries := true} = Codec, _} -> encode(fun pitcrew_nif:encode/2, Term, Codec);
        {ok, Codec, _} -> encode(fun pitcrew_nif:encode_iov/2, Term, Codec);
        {error, _} = Error -> Error
    end.

encode(Encode, Term, Codec) ->
    case Encode(Term, Codec) of
        {ok, _} = Encoded ->
            Encoded;
        {error, #{struct := _} = Refused} ->
            case pitcrew_structs:encoded([{[], Term}], Refused) of
                {ok, [Other]} -> encode(Encode, Other, Codec);
                {error, StillRefused} -> {error, pitcrew_error:from_codec(StillRefused)}
            end;
        {error, Refused} ->
            {error, pitcrew_error:from_codec(Refused)}
    end.

%% @equiv decode(Binary, [])
-spec decode(binary()) -> {ok, term()} | error().
decode(Binary) -> decode(Binary, []).

%% @doc The term of a binary that holds one value and nothing else. Large binaries in it are parts of the input, which
%% stays in memory as long as one of them does.
-spec decode(binary(), options()) -> {ok, term()} | error().
decode(Binary, Options) when is_binary(Binary) ->
    case codec(Options) of
        {ok, Codec, Handlers} ->
            case pitcrew_nif:decode(Binary, Codec) of
                {raw, Term} -> handle(Handlers, Term);
                {ok, _} = Decoded -> Decoded;
                {error, Unreadable} -> {error, pitcrew_error:from_codec(Unreadable)}
            end;
        {error, _} = Error ->
            Error
    end.

%% @equiv decode_all(Binary, [])
-spec decode_all(binary()) -> {ok, [term()], Rest :: binary()} | error().
decode_all(Binary) -> decode_all(Binary, []).

%% @doc The terms of a binary that holds value after value, as they come from a stream; `Rest' is the beginning of one that is
%% not whole yet: put what comes next behind it. In an error the path begins with the number of the value, from 0.
-spec decode_all(binary(), options()) -> {ok, [term()], Rest :: binary()} | error().
decode_all(Binary, Options) when is_binary(Binary) ->
    case codec(Options) of
        {ok, Codec, Handlers} ->
            case pitcrew_nif:decode_all(Binary, Codec) of
                {raw, Terms, Left} -> with_rest(handle(Handlers, Terms), Binary, Left);
                {ok, Terms, Left} -> with_rest({ok, Terms}, Binary, Left);
                {error, Unreadable} -> {error, pitcrew_error:from_codec(Unreadable)}
            end;
        {error, _} = Error ->
            Error
    end.

with_rest({ok, Terms}, Binary, Left) -> {ok, Terms, binary:part(Binary, byte_size(Binary), -Left)};
with_rest({error, _} = Error, _, _) -> Error.

%% What the native functions want, and the handlers.
codec([]) ->
    {ok, #{raw => ?RAW}, nil};
codec(Options) ->
    case pitcrew_options:given(Options, ?TABLE) of
        {ok, #{ext := Handlers} = Given} -> {ok, (maps:remove(ext, Given))#{raw => raw(Handlers)}, Handlers};
        {ok, Given} -> {ok, Given#{raw => ?RAW}, nil};
        {error, _} = Error -> Error
    end.

raw(Handlers) when is_map(Handlers) ->
    lists:foldl(fun set_bit/2, ?RAW, maps:keys(Handlers));
raw(_) ->
    ?RAW.

set_bit(Type, Mask) ->
    At = (Type band 255) div 8,
    <<Before:At/binary, Byte, After/binary>> = Mask,
    <<Before/binary, (Byte bor (1 bsl (Type band 7))), After/binary>>.

handle(nil, Term) ->
    {ok, Term};
handle(Handlers, Term) ->
    try
        {ok, pitcrew_structs:map(fun(Struct, Path) -> handle(Handlers, Struct, Path) end, Term, [])}
    catch
        throw:{?MODULE, Error} -> {error, Error}
    end.

handle(Handlers, #{'__struct__' := 'Elixir.Pitcrew.MessagePack.Ext', type := Type, data := Data}, Path) ->
    case Handlers of
        #{Type := Handler} -> {put, call(fun() -> Handler(Data) end, Type, Path)};
        #{} -> keep;
        _ -> {put, call(fun() -> Handlers(Type, Data) end, Type, Path)}
    end;
handle(_, _, _) ->
    keep.

call(Handler, Type, Path) ->
    try
        Handler()
    catch
        Class:Reason ->
            Format = "the handler of extension ~b failed: ~0tp",
            Error = pitcrew_error:new(decode_error, Format, [Type, {Class, Reason}]),
            throw({?MODULE, Error#{path => Path}})
    end.
