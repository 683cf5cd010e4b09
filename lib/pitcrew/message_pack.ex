defmodule Pitcrew.MessagePack do
  @moduledoc """
  MessagePack for anybody's data: the codec of the pools, with an option for each mapping.

      iex> {:ok, packed} = Pitcrew.MessagePack.encode(%{"a" => [1, 2.5, nil]})
      iex> Pitcrew.MessagePack.decode(packed)
      {:ok, %{"a" => [1, 2.5, nil]}}

  Every term comes back equal, unless an option says otherwise. `docs/types.md` has a table of what becomes what.

  ## Options

  One set of options serves both directions; what says nothing about a direction changes nothing there. The first value is
  the default.

    * `:binaries` - how a binary is written: `:str`, which must be UTF-8; `:bin`; or `:auto`, str where it is UTF-8. Both
      are read as binaries
    * `:bytes` - how bin is read: `:plain`, a binary, or `:tagged`, a `Pitcrew.Bytes`
    * `:atoms` - `:ext` writes extension 1, which is read as an atom if that exists and as a binary otherwise; `:existing`
      does not read one that does not exist; `:string` writes str, and reads extension 1 as a binary. No atom is ever made
    * `:tuples` - written as extension 3 (`:ext`), as arrays (`:list`), or refused (`:error`)
    * `:keys` - how a str that is the key of a map is read: as a binary (`:string`), or as an atom if that exists
      (`:existing_atom`)
    * `nil` - the atom that stands for nil: `nil`, `:undefined` or `:null`
    * `:floats` - `:atoms` writes and reads nan and the infinities as `:nan`, `:infinity` and `:neg_infinity`; with `:error` these
      are atoms like any other, and a float that is not finite is not read
    * `:ext` - what is made of extensions: a function of type and data for those that Pitcrew gives no meaning to, or a map
      from types, of Pitcrew's too, to functions of the data. Without one they come as `Pitcrew.MessagePack.Ext`, which is also how
      they are written
    * `:max_depth` - containers in containers, 1 to 512 (512)
    * `:max_size` - bytes of one value, written or read (`:infinity`)
    * `:copy_binaries` - with `true` a binary never shares memory with the input, nor the output with a binary (`false`)

  For data that other programs are to read, `atoms: :string, tuples: :list` writes nothing that is not plain MessagePack, apart
  from integers beyond 64 bits and terms that only Erlang has:

      iex> Pitcrew.MessagePack.encode!(%{name: {1, 2}}, atoms: :string, tuples: :list)
      <<0x81, 0xA4, "name", 0x92, 1, 2>>

  In Python, `pitcrew.packb` and `pitcrew.unpackb` are the other end of that by default, like the `msgpack` package; what is written
  here with the defaults they read with `types="pitcrew"`, and write with it what is to arrive as more than plain MessagePack.

  Structs other than those in the table go through `Pitcrew.Encoder`.
  """

  alias Pitcrew.Error

  @typedoc "See the options above."
  @type option ::
          {:binaries, :str | :bin | :auto}
          | {:bytes, :plain | :tagged}
          | {:atoms, :ext | :existing | :string}
          | {:tuples, :ext | :list | :error}
          | {:keys, :string | :existing_atom}
          | {nil, nil | :undefined | :null}
          | {:floats, :atoms | :error}
          | {:ext, nil | (integer(), binary() -> term()) | %{integer() => (binary() -> term())}}
          | {:max_depth, 1..512}
          | {:max_size, pos_integer() | :infinity}
          | {:copy_binaries, boolean()}

  @type options :: [option()] | map()

  @doc """
  A term as one binary.

      iex> Pitcrew.MessagePack.encode([1, :a, "b"])
      {:ok, <<0x93, 1, 0xD4, 1, "a", 0xA1, "b">>}
      iex> {:error, error} = Pitcrew.MessagePack.encode(%{"list" => [1, <<255>>]})
      iex> {error.kind, error.path}
      {:encode_error, ["list", 1]}
  """
  @spec encode(term(), options()) :: {:ok, binary()} | {:error, Error.t()}
  def encode(term, opts \\ []), do: wrap(:pitcrew_msgpack.encode(term, opts))

  @doc """
  Like `encode/2`, but returns the binary itself and raises `Pitcrew.Error`.

      iex> Pitcrew.MessagePack.encode!(nil)
      <<0xC0>>
  """
  @spec encode!(term(), options()) :: binary()
  def encode!(term, opts \\ []), do: unwrap(encode(term, opts))

  @doc """
  A term as iodata, in which large binaries of the term are themselves and no copies.

      iex> {:ok, iodata} = Pitcrew.MessagePack.encode_to_iodata(["a", String.duplicate("b", 5000)])
      iex> length(iodata)
      2
      iex> IO.iodata_to_binary(iodata) == Pitcrew.MessagePack.encode!(["a", String.duplicate("b", 5000)])
      true
  """
  @spec encode_to_iodata(term(), options()) :: {:ok, iodata()} | {:error, Error.t()}
  def encode_to_iodata(term, opts \\ []), do: wrap(:pitcrew_msgpack.encode_to_iodata(term, opts))

  @doc "Like `encode_to_iodata/2`, but returns the iodata itself and raises `Pitcrew.Error`."
  @spec encode_to_iodata!(term(), options()) :: iodata()
  def encode_to_iodata!(term, opts \\ []), do: unwrap(encode_to_iodata(term, opts))

  @doc """
  The term of a binary that holds one value and nothing else.

      iex> Pitcrew.MessagePack.decode(<<0x81, 0xA2, "ok", 0xC3>>)
      {:ok, %{"ok" => true}}
      iex> Pitcrew.MessagePack.decode(<<0x81, 0xA2, "ok", 0xC3>>, keys: :existing_atom)
      {:ok, %{ok: true}}
      iex> Pitcrew.MessagePack.decode(<<0xD4, 99, 7>>)
      {:ok, %Pitcrew.MessagePack.Ext{type: 99, data: <<7>>}}
      iex> Pitcrew.MessagePack.decode(<<0xD4, 99, 7>>, ext: fn 99, <<n>> -> {:seven, n} end)
      {:ok, {:seven, 7}}

  Large binaries are parts of the input, which stays in memory as long as one of them does; see `:copy_binaries`.
  """
  @spec decode(binary(), options()) :: {:ok, term()} | {:error, Error.t()}
  def decode(binary, opts \\ []), do: wrap(:pitcrew_msgpack.decode(binary, opts))

  @doc """
  Like `decode/2`, but returns the term itself and raises `Pitcrew.Error`.

      iex> Pitcrew.MessagePack.decode!(<<0x93, 1, 2, 3>>)
      [1, 2, 3]
  """
  @spec decode!(binary(), options()) :: term()
  def decode!(binary, opts \\ []), do: unwrap(decode(binary, opts))

  @doc """
  The terms of a binary that holds value after value, and what is left: the beginning of one that is not whole yet.

      iex> {:ok, [1, [2]], rest} = Pitcrew.MessagePack.decode_all(<<1, 0x91, 2, 0xA5, "hal">>)
      iex> Pitcrew.MessagePack.decode_all(rest <> "lo")
      {:ok, ["hallo"], ""}

  In an error, the path begins with the number of the value, from 0.
  """
  @spec decode_all(binary(), options()) :: {:ok, [term()], rest :: binary()} | {:error, Error.t()}
  def decode_all(binary, opts \\ []), do: wrap(:pitcrew_msgpack.decode_all(binary, opts))

  defp wrap({:error, error}), do: {:error, Error.from(error)}
  defp wrap(result), do: result

  defp unwrap({:ok, result}), do: result
  defp unwrap({:error, error}), do: raise(error)
end

defmodule Pitcrew.MessagePack.Ext do
  @moduledoc """
  A MessagePack extension that Pitcrew gives no meaning to: `type` is from -128 to 127, `data` a binary.

      iex> Pitcrew.MessagePack.encode(%Pitcrew.MessagePack.Ext{type: 99, data: "abcd"})
      {:ok, <<0xD6, 99, "abcd">>}
  """

  @type t :: %__MODULE__{type: -128..127, data: binary()}

  @enforce_keys [:type, :data]
  defstruct [:type, :data]
end
