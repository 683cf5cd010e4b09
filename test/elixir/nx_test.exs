defmodule Pitcrew.NxTest do
  use ExUnit.Case, async: false

  # Nx is not there when the tests run, but with `make test-optional`. What stands in for it has the functions that Pitcrew calls, and does what
  # Nx documents of them.
  if Code.ensure_loaded?(Nx) do
    {:ok, _} = Application.ensure_all_started(:nx)
  else
    defmodule Elixir.Nx.Tensor do
      defstruct [:data, :type, :shape, :names, vectorized_axes: []]
    end

    defmodule Elixir.Nx do
      def from_binary(binary, type, _opts \\ [])
      def from_binary("", _type, _opts), do: raise(ArgumentError, "cannot build an empty tensor")

      def from_binary(binary, {_, bits} = type, _opts) when is_binary(binary) do
        if rem(bit_size(binary), bits) != 0, do: raise(ArgumentError, "binary does not match the given size")
        struct!(Nx.Tensor, data: binary, type: type, shape: {div(bit_size(binary), bits)}, names: [nil])
      end

      def reshape(tensor, shape) do
        if Tuple.product(tensor.shape) != Tuple.product(shape), do: raise(ArgumentError, "cannot reshape")
        %{tensor | shape: shape, names: List.duplicate(nil, tuple_size(shape))}
      end

      def to_binary(tensor), do: tensor.data
      def type(tensor), do: tensor.type
      def shape(tensor), do: tensor.shape
    end
  end

  alias Pitcrew.{MessagePack, Tensor}

  @types [
    {"i1", {:s, 8}},
    {"i2", {:s, 16}},
    {"i4", {:s, 32}},
    {"i8", {:s, 64}},
    {"u1", {:u, 8}},
    {"u2", {:u, 16}},
    {"u4", {:u, 32}},
    {"u8", {:u, 64}},
    {"f2", {:f, 16}},
    {"f4", {:f, 32}},
    {"f8", {:f, 64}},
    {"c8", {:c, 64}},
    {"c16", {:c, 128}}
  ]

  defp order(kind), do: if(kind in ["i1", "u1"], do: "|", else: native())
  defp native, do: if(System.endianness() == :little, do: "<", else: ">")
  defp other, do: if(System.endianness() == :little, do: ">", else: "<")

  test "every type both have goes there and back, with its shape, as the same binary" do
    for {kind, {_, bits} = type} <- @types, shape <- [{}, {1}, {2, 3}, {1, 2, 3}] do
      data = :crypto.strong_rand_bytes(Tuple.product(shape) * div(bits, 8))
      tensor = %Tensor{dtype: order(kind) <> kind, shape: shape, data: data}
      nx = Tensor.to_nx(tensor)
      assert {Nx.type(nx), Nx.shape(nx)} == {type, shape}
      assert :erts_debug.same(Nx.to_binary(nx), data)
      assert Tensor.from_nx(nx) == tensor
      assert :erts_debug.same(Tensor.from_nx(nx).data, data)
    end
  end

  test "numbers in the other byte order are swapped" do
    assert swapped("i2", <<1, 2, 3, 4>>) == <<2, 1, 4, 3>>
    assert swapped("f4", <<1, 2, 3, 4>>) == <<4, 3, 2, 1>>
    assert swapped("u8", <<1, 2, 3, 4, 5, 6, 7, 8>>) == <<8, 7, 6, 5, 4, 3, 2, 1>>
    assert swapped("c8", <<1, 2, 3, 4, 5, 6, 7, 8>>) == <<4, 3, 2, 1, 8, 7, 6, 5>>
  end

  defp swapped(kind, data) do
    {:ok, {_, bits}} = Map.fetch(Map.new(@types), kind)
    Nx.to_binary(Tensor.to_nx(%Tensor{dtype: other() <> kind, shape: {div(bit_size(data), bits)}, data: data}))
  end

  test "booleans are what comparisons are in Nx" do
    nx = Tensor.to_nx(%Tensor{dtype: "|b1", shape: {2}, data: <<1, 0>>})
    assert {Nx.type(nx), Nx.to_binary(nx)} == {{:u, 8}, <<1, 0>>}
  end

  test "what the other side does not have is an error that names it" do
    for dtype <- ["<M8[ns]", "<m8[s]", "|S3", "<U2", "<f16", "<c32"] do
      assert_raise ArgumentError, ~r/no type for an array of dtype #{Regex.escape(dtype)}/, fn ->
        Tensor.to_nx(%Tensor{dtype: dtype, shape: {}, data: <<0::256>>})
      end
    end

    assert_raise ArgumentError, ~r/without elements, as one of shape {2, 0}/, fn ->
      Tensor.to_nx(%Tensor{dtype: "<f8", shape: {2, 0}, data: ""})
    end

    brain = Nx.from_binary(<<0, 0>>, {:bf, 16})
    assert_raise ArgumentError, ~r/Nx.Tensor of type {:bf, 16}/, fn -> Tensor.from_nx(brain) end

    vectorized = %{Nx.from_binary(<<0, 0>>, {:u, 8}) | vectorized_axes: [x: 2]}
    assert_raise ArgumentError, ~r/Nx.devectorize/, fn -> Tensor.from_nx(vectorized) end
    assert {:error, %{path: ["t", 0], message: message}} = MessagePack.encode(%{"t" => [brain]})
    assert message =~ "{:bf, 16}"
  end

  test "as an argument of a call, and back" do
    pool = Pitcrew.NxTest.Pool
    start_supervised!({Pitcrew.Pool, name: pool, tools: ["my_tools"], cd: __DIR__, size: 1})

    for count <- [6, 100_002] do
      nx = Nx.reshape(Nx.from_binary(:crypto.strong_rand_bytes(8 * count), {:s, 64}), {div(count, 3), 3})
      assert [%Tensor{dtype: dtype} = tensor, 1] = Pitcrew.call!(pool, "echo", [[nx, 1]])
      assert dtype == native() <> "i8"
      assert Tensor.to_nx(tensor) == nx
    end
  end
end
