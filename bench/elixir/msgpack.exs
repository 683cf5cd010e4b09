defmodule Bench.MessagePack do
  @moduledoc """
  MessagePack in plain Elixir, as somebody writes it for a bridge of their own: no NIF, and only
  what its messages need (nil, booleans, signed integers of 64 bits, floats, text, bytes as `{:bytes, data}`, lists, maps).
  """

  def encode(nil), do: <<0xC0>>
  def encode(false), do: <<0xC2>>
  def encode(true), do: <<0xC3>>
  def encode(n) when is_integer(n) and n >= 0 and n < 0x80, do: <<n>>
  def encode(n) when is_integer(n) and n < 0 and n >= -32, do: <<n::signed-8>>
  def encode(n) when is_integer(n) and n >= 0 and n < 0x10000, do: <<0xCD, n::16>>
  def encode(n) when n in -0x8000000000000000..0x7FFFFFFFFFFFFFFF, do: <<0xD3, n::signed-64>>
  def encode(x) when is_float(x), do: <<0xCB, x::float-64>>
  def encode(text) when is_binary(text) and byte_size(text) < 32, do: <<0b101::3, byte_size(text)::5, text::binary>>
  def encode(text) when is_binary(text), do: <<0xDB, byte_size(text)::32, text::binary>>
  def encode({:bytes, data}), do: [<<0xC6, byte_size(data)::32>> | data]
  def encode(list) when is_list(list), do: [array_head(length(list)) | Enum.map(list, &encode/1)]

  def encode(map) when is_map(map) do
    [map_head(map_size(map)) | Enum.map(map, fn {key, value} -> [encode(key) | encode(value)] end)]
  end

  defp array_head(size) when size < 16, do: <<0b1001::4, size::4>>
  defp array_head(size), do: <<0xDD, size::32>>

  defp map_head(size) when size < 16, do: <<0b1000::4, size::4>>
  defp map_head(size), do: <<0xDF, size::32>>

  def decode(binary) do
    {term, <<>>} = value(binary)
    term
  end

  defp value(<<0::1, n::7, rest::binary>>), do: {n, rest}
  defp value(<<0b1000::4, size::4, rest::binary>>), do: pairs(rest, size, [])
  defp value(<<0b1001::4, size::4, rest::binary>>), do: items(rest, size, [])
  defp value(<<0b101::3, size::5, text::binary-size(size), rest::binary>>), do: {text, rest}
  defp value(<<0b111::3, n::5, rest::binary>>), do: {n - 32, rest}
  defp value(<<0xC0, rest::binary>>), do: {nil, rest}
  defp value(<<0xC2, rest::binary>>), do: {false, rest}
  defp value(<<0xC3, rest::binary>>), do: {true, rest}
  defp value(<<0xCB, x::float-64, rest::binary>>), do: {x, rest}
  defp value(<<0xCC, n::8, rest::binary>>), do: {n, rest}
  defp value(<<0xCD, n::16, rest::binary>>), do: {n, rest}
  defp value(<<0xCE, n::32, rest::binary>>), do: {n, rest}
  defp value(<<0xCF, n::64, rest::binary>>), do: {n, rest}
  defp value(<<0xD0, n::signed-8, rest::binary>>), do: {n, rest}
  defp value(<<0xD1, n::signed-16, rest::binary>>), do: {n, rest}
  defp value(<<0xD2, n::signed-32, rest::binary>>), do: {n, rest}
  defp value(<<0xD3, n::signed-64, rest::binary>>), do: {n, rest}
  defp value(<<0xD9, size::8, text::binary-size(size), rest::binary>>), do: {text, rest}
  defp value(<<0xDA, size::16, text::binary-size(size), rest::binary>>), do: {text, rest}
  defp value(<<0xDB, size::32, text::binary-size(size), rest::binary>>), do: {text, rest}
  defp value(<<0xC4, size::8, data::binary-size(size), rest::binary>>), do: {data, rest}
  defp value(<<0xC5, size::16, data::binary-size(size), rest::binary>>), do: {data, rest}
  defp value(<<0xC6, size::32, data::binary-size(size), rest::binary>>), do: {data, rest}
  defp value(<<0xDC, size::16, rest::binary>>), do: items(rest, size, [])
  defp value(<<0xDD, size::32, rest::binary>>), do: items(rest, size, [])
  defp value(<<0xDE, size::16, rest::binary>>), do: pairs(rest, size, [])
  defp value(<<0xDF, size::32, rest::binary>>), do: pairs(rest, size, [])

  defp items(rest, 0, items), do: {Enum.reverse(items), rest}

  defp items(binary, left, items) do
    {item, rest} = value(binary)
    items(rest, left - 1, [item | items])
  end

  defp pairs(rest, 0, pairs), do: {Map.new(pairs), rest}

  defp pairs(binary, left, pairs) do
    {key, binary} = value(binary)
    {value, rest} = value(binary)
    pairs(rest, left - 1, [{key, value} | pairs])
  end
end
