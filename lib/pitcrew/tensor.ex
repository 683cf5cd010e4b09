defmodule Pitcrew.Tensor do
  @moduledoc """
  An array of numbers as it lies in memory: what NumPy and every other object with the buffer protocol is in Python.

      iex> tensor = %Pitcrew.Tensor{dtype: "<f8", shape: {2, 2}, data: <<1.0::float-little, 2.0::float-little, 3.0::float-little, 4.0::float-little>>}
      iex> {:ok, packed} = Pitcrew.MessagePack.encode(tensor)
      iex> Pitcrew.MessagePack.decode(packed) == {:ok, tensor}
      true

  `dtype` is NumPy's name of the element type (`"<f8"`, `"|u1"`, …), `shape` a tuple of sizes, and `data` the elements in C
  order, in the byte order that `dtype` says.

  ## Nx

  Where Nx is loaded, `to_nx/1` and `from_nx/1` convert without touching the binary, and an `Nx.Tensor` in the arguments of a call is
  converted by itself:

      {:ok, result} = Pitcrew.call(MyApp.Py, "smooth", [Nx.tensor([1.0, 2.0])])
      Pitcrew.Tensor.to_nx(result)

  | NumPy | Nx |
  |---|---|
  | `i1`, `i2`, `i4`, `i8` | `{:s, 8}` … `{:s, 64}` |
  | `u1`, `u2`, `u4`, `u8` | `{:u, 8}` … `{:u, 64}` |
  | `f2`, `f4`, `f8` | `{:f, 16}`, `{:f, 32}`, `{:f, 64}` |
  | `c8`, `c16` | `{:c, 64}`, `{:c, 128}` |
  | `b1` | to `{:u, 8}`, as comparisons are in Nx; not back |

  Nx has all its numbers in the byte order of the machine; others (`">f8"` on most) are swapped, which is a copy. What the other side
  has no type for (`{:bf, 16}`, `"<M8[ns]"`) is an `ArgumentError`, and so is an array without elements, which Nx does not have.
  Names of dimensions stay here.
  """

  @type t :: %__MODULE__{dtype: String.t(), shape: tuple(), data: binary()}

  @enforce_keys [:dtype, :shape, :data]
  defstruct [:dtype, :shape, :data]

  # Nx is no dependency: whether it is there is asked when it is needed.
  @compile {:no_warn_undefined, Nx}

  @native if System.endianness() == :little, do: "<", else: ">"
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

  @doc """
  The `Nx.Tensor` with the same elements and shape, through `Nx.from_binary/2` and `Nx.reshape/2`.

  Raises `ArgumentError` if Nx is not loaded, or has no such tensor.
  """
  @spec to_nx(t()) :: struct()
  def to_nx(%__MODULE__{dtype: dtype, shape: shape, data: data}) do
    <<order::binary-1, kind::binary>> = dtype
    type = nx_type(kind) || raise ArgumentError, "Nx has no type for an array of dtype #{dtype}"

    unless Code.ensure_loaded?(Nx),
      do: raise(ArgumentError, "Nx is not loaded; add {:nx, \"~> 0.6\"} to the dependencies")

    if data == "", do: raise(ArgumentError, "Nx has no tensors without elements, as one of shape #{inspect(shape)}")

    data |> native(order, type) |> Nx.from_binary(type) |> Nx.reshape(shape)
  end

  @doc """
  The tensor with the elements and the shape of an `Nx.Tensor`, through `Nx.to_binary/1`.

  Raises `ArgumentError` if NumPy has no such type, or if the tensor is vectorized: its shape does not tell all then.
  """
  @spec from_nx(struct()) :: t()
  def from_nx(tensor) do
    if Map.get(tensor, :vectorized_axes, []) != [],
      do: raise(ArgumentError, "a vectorized Nx.Tensor has no form in NumPy; Nx.devectorize/1 makes it one that has")

    %__MODULE__{dtype: dtype(Nx.type(tensor)), shape: Nx.shape(tensor), data: Nx.to_binary(tensor)}
  end

  for {kind, type} <- @types, do: defp(nx_type(unquote(kind)), do: unquote(type))
  defp nx_type("b1"), do: {:u, 8}
  defp nx_type(_), do: nil

  for {kind, type} <- @types do
    order = if String.ends_with?(kind, ["i1", "u1"]), do: "|", else: @native
    defp dtype(unquote(type)), do: unquote(order <> kind)
  end

  defp dtype(type) do
    raise ArgumentError,
          "NumPy has no type for an Nx.Tensor of type #{inspect(type)}; Nx.as_type/2 makes it one that it has"
  end

  # A complex number is two, each with its own order.
  defp native(data, order, _type) when order in [@native, "|"], do: data
  defp native(data, order, {:c, bits}), do: native(data, order, {:f, div(bits, 2)})
  defp native(data, _order, {_, bits}), do: for(<<n::little-size(bits) <- data>>, into: <<>>, do: <<n::big-size(bits)>>)
end

# Compiled whether Nx is there or not: it is found by the struct's name.
defimpl Pitcrew.Encoder, for: Nx.Tensor do
  def encode(tensor), do: Pitcrew.Tensor.from_nx(tensor)
end
