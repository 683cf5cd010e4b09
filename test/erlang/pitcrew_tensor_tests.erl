%% Arrays of NumPy and Arrow tables through a pool, both ways: every dtype, layout and kind of table, of sizes around those from which
%% on payloads travel by other ways than small ones.
-module(pitcrew_tensor_tests).

-include_lib("eunit/include/eunit.hrl").

-import(pitcrew_test, [with_pool/2]).

%% Kind and bytes of an element; the kinds of one byte have no order.
-define(ORDERED, [
    {"i2", 2}, {"i4", 4}, {"i8", 8}, {"u2", 2}, {"u4", 4}, {"u8", 8}, {"f2", 2}, {"f4", 4}, {"f8", 8},
    {"c8", 8}, {"c16", 16}, {"M8[ns]", 8}, {"M8[25s]", 8}, {"m8[us]", 8}, {"m8", 8}, {"U3", 12}
]).
-define(OTHERS, [{"|b1", 1}, {"|i1", 1}, {"|u1", 1}, {"|S1", 1}, {"|S7", 7}]).
%% Bytes that an array has at least.
-define(SIZES, [0, 1, 32_767, 65_535, 65_536, 65_537, 1_048_577]).

with_tensors(Fun) ->
    {timeout, 300, fun() -> with_pool(#{size => 1, tools => ["tensor_tools"], timeout => 60_000}, Fun) end}.

dtypes() ->
    [{list_to_binary([Order | Kind]), Width} || Order <- "<>", {Kind, Width} <- ?ORDERED] ++
        [{list_to_binary(Dtype), Width} || {Dtype, Width} <- ?OTHERS].

tensor(Dtype, Shape, Data) ->
    #{'__struct__' => 'Elixir.Pitcrew.Tensor', dtype => Dtype, shape => Shape, data => Data}.

random(Dtype, Width, Shape) -> tensor(Dtype, Shape, bytes(Dtype, product(Shape) * Width)).

%% Whatever NumPy does not look into; but text has characters, and a boolean is 0 or 1.
bytes(<<_, $U, _/binary>> = Dtype, Size) -> << <<(character(Dtype, Byte))/binary>> || <<Byte>> <= rand:bytes(Size div 4)>>;
bytes(<<_, $b, _/binary>>, Size) -> << <<(Byte band 1)>> || <<Byte>> <= rand:bytes(Size)>>;
bytes(_, Size) -> rand:bytes(Size).

character(<<$<, _/binary>>, Byte) -> <<(Byte + 1):32/little>>;
character(<<$>, _/binary>>, Byte) -> <<(Byte + 1):32/big>>.

product(Shape) -> lists:foldl(fun(N, M) -> N * M end, 1, tuple_to_list(Shape)).

call(Pool, Tool, Args) ->
    {ok, Value} = pitcrew:call(Pool, Tool, Args),
    Value.

%% ---- Every dtype and size, in one dimension

sizes_test_() ->
    with_tensors(fun(Pool) ->
        [there_and_back(Pool, random(Dtype, Width, {(Size + Width - 1) div Width})) || {Dtype, Width} <- dtypes(), Size <- ?SIZES]
    end).

there_and_back(Pool, #{dtype := Dtype, shape := Shape, data := Data} = Tensor) ->
    What = {Dtype, Shape},
    ?assertEqual({What, [Dtype, tuple_to_list(Shape), erlang:crc32(Data), true, true]}, {What, call(Pool, arrived, [Tensor])}),
    %% Bytes are not printed: it would take longer than the test.
    ?assert(call(Pool, echo, [Tensor]) =:= Tensor, What),
    ?assert(call(Pool, echo, [[Tensor, #{<<"t">> => Tensor}]]) =:= [Tensor, #{<<"t">> => Tensor}], What).

%% What a tool has written into an array is not seen by its caller, nor by the next call.
written_test_() ->
    with_tensors(fun(Pool) ->
        [
            begin
                Tensor = random(<<"<f8">>, 8, {N}),
                Copy = Tensor#{data := binary:copy(maps:get(data, Tensor))},
                [there_and_back(Pool, Tensor) || _ <- lists:seq(1, 5)],
                ?assert(Tensor =:= Copy)
            end
         || N <- [10, 8191, 8192, 200_000]
        ]
    end).

%% Large ones really go this way, each time, and small ones do not.
shared_test_() ->
    with_tensors(fun(Pool) ->
        [
            begin
                ?assertEqual({N, Shared}, {N, call(Pool, is_shared, [random(<<"|u1">>, 1, {N})])}),
                ?assertEqual({N, Shared}, {N, call(Pool, is_view_shared, [pitcrew:bytes(rand:bytes(N))])})
            end
         || _ <- lists:seq(1, 5), {N, Shared} <- [{65_535, false}, {65_536, true}, {1_048_577, true}]
        ]
    end).

%% ---- Shapes

shapes_test_() ->
    with_tensors(fun(Pool) ->
        Shapes = [{}, {0}, {1}, {2, 0, 3}, {1, 2, 1, 2}, {0, 70_000}, {3, 5, 1093}, {1, 1, 1_048_577}, list_to_tuple(lists:duplicate(64, 1))],
        [there_and_back(Pool, random(Dtype, Width, Shape)) || {Dtype, Width} <- [{<<"|u1">>, 1}, {<<">i2">>, 2}, {<<"<f8">>, 8}], Shape <- Shapes]
    end).

no_dimensions_test_() ->
    with_tensors(fun(Pool) -> [there_and_back(Pool, random(Dtype, Width, {})) || {Dtype, Width} <- dtypes()] end).

%% ---- Layouts

layouts_test_() ->
    with_tensors(fun(Pool) ->
        Layouts = call(Pool, layouts, []),
        ?assert(length(Layouts) >= 8),
        [laid(Pool, Dtype, Width, Size, Layout) || {Dtype, Width} <- dtypes(), Size <- [24, 140_000], Layout <- Layouts]
    end).

laid(Pool, Dtype, Width, Size, Layout) ->
    Tensor = random(Dtype, Width, {2, Size div Width div 2}),
    [Back, Shape, Crc] = call(Pool, laid, [Tensor, Layout]),
    #{dtype := Found, shape := FoundShape, data := Data} = Back,
    What = {Dtype, Size, Layout},
    ?assertEqual({What, Dtype, Shape, Crc}, {What, Found, tuple_to_list(FoundShape), erlang:crc32(Data)}).

%% ---- Scalars

scalars_test_() ->
    with_tensors(fun(Pool) ->
        Integers = [{<<Kind, Width>>, 7} || Kind <- "iu", Width <- "1248"],
        Floats = [{<<$f, Width>>, 1.5} || Width <- "248"],
        Expected = maps:from_list([{<<"b1">>, true} | Integers ++ Floats]),
        ?assertEqual(Expected, call(Pool, scalars, []))
    end).

%% ---- Tables

tables_test_() ->
    with_tensors(fun(Pool) ->
        Kinds = call(Pool, kinds, []),
        ?assert(length(Kinds) >= 5),
        [table(Pool, Kind, Rows) || Kind <- Kinds, Rows <- [0, 5, 10_000]]
    end).

%% The stream begins with a message and ends with the mark of its end: what Explorer's load_ipc_stream reads.
table(Pool, Kind, Rows) ->
    #{'__struct__' := 'Elixir.Pitcrew.Arrow', data := Data} = Table = call(Pool, table, [Kind, Rows]),
    What = {Kind, Rows},
    <<First:32, Size:32/little, Rest/binary>> = Data,
    ?assertEqual({What, 16#FFFFFFFF, true}, {What, First, byte_size(Rest) >= Size}),
    ?assertEqual({What, <<16#FFFFFFFF:32, 0:32>>}, {What, binary:part(Data, byte_size(Data), -8)}),
    ?assertEqual({What, true}, {What, call(Pool, is_table, [Table, Kind, Rows])}),
    ?assert(call(Pool, echo, [Table]) =:= Table, What),
    ?assertEqual({What, true}, {What, call(Pool, is_table, [hd(call(Pool, echo, [[Table]])), Kind, Rows])}).
