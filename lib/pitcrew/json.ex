defmodule Pitcrew.JSON do
  @moduledoc """
  JSON, read and written by the C library jansson.

      iex> Pitcrew.JSON.encode(%{id: 7, tags: ["a", :b], score: 2.5, next: nil})
      {:ok, ~S({"id":7,"next":null,"score":2.5,"tags":["a","b"]})}
      iex> Pitcrew.JSON.decode(~S({"id": 7, "tags": ["a", "b"], "next": null}))
      {:ok, %{"id" => 7, "tags" => ["a", "b"], "next" => nil}}

  What JSON cannot carry is an error that says where:

      iex> {:error, error} = Pitcrew.JSON.encode(%{"users" => [%{"home" => {59.9, 10.7}}]})
      iex> {error.kind, error.path}
      {:encode_error, ["users", 0, "home"]}

  | Elixir | JSON | comes back as |
  |---|---|---|
  | `nil`, `true`, `false` | `null`, `true`, `false` | the same |
  | any other atom | string | binary |
  | integer of 64 bits | number | integer |
  | float | number with a point or an exponent | the same float |
  | binary (must be UTF-8) | string | binary |
  | list | array | list |
  | map with keys that are binaries or atoms | object | map, keys are binaries |

  Everything else is an error that names its place: larger integers, tuples, structs (`Pitcrew.Bytes` too), pids, other keys,
  keys that are the same in JSON (`"a"` and `:a`), and `:nan`, `:infinity`, `:neg_infinity`, which stand for floats elsewhere in
  Pitcrew and which JSON does not have. `docs/json.md` has the details.

  Without jansson (Debian: `libjansson4`), every function returns an error that says so; the rest of Pitcrew works.
  """

  alias Pitcrew.Error

  @typedoc """
    * `nil` - the atom that stands for `null`: `nil` (default), `:undefined` or `:null`
    * `:indent` - spaces for each level, up to 31; with 0 (default) the text has no white space
    * `:sort_keys` - whether objects are written with their keys in order (default `false`)
  """
  @type encode_option :: {nil, nil | :undefined | :null} | {:indent, 0..31} | {:sort_keys, boolean()}

  @typedoc """
    * `nil` - the atom that stands for `null`: `nil` (default), `:undefined` or `:null`
    * `:duplicate_keys` - of equal keys in an object the `:last` wins (default), or they are an `:error`
    * `:big_integers` - integers beyond 64 bits are an `:error` (default) or become a `:float`
  """
  @type decode_option ::
          {nil, nil | :undefined | :null} | {:duplicate_keys, :last | :error} | {:big_integers, :error | :float}

  @doc """
  A term as JSON text.

      iex> Pitcrew.JSON.encode([1, 2.0, "three"])
      {:ok, ~S([1,2.0,"three"])}
      iex> {:ok, text} = Pitcrew.JSON.encode(%{a: 1}, indent: 2)
      iex> text
      ~s({\\n  "a": 1\\n})
  """
  @spec encode(term(), [encode_option()] | map()) :: {:ok, String.t()} | {:error, Error.t()}
  def encode(term, opts \\ []) do
    with {:error, error} <- :pitcrew_json.encode(term, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Like `encode/2`, but returns the bare text and raises `Pitcrew.Error`.

      iex> Pitcrew.JSON.encode!(:ok)
      ~S("ok")
  """
  @spec encode!(term(), [encode_option()] | map()) :: String.t()
  def encode!(term, opts \\ []), do: bare(encode(term, opts))

  @doc """
  The term of a JSON text: one value, with nothing but white space around it.

      iex> Pitcrew.JSON.decode("[1, 2.0, null]")
      {:ok, [1, 2.0, nil]}
      iex> {:error, error} = Pitcrew.JSON.decode("[1,\\n 2,]")
      iex> error.reason
      %{line: 2, column: 4, position: 8}

  Integers beyond 64 bits are refused, because jansson does not hold them, unless floats will do:

      iex> Pitcrew.JSON.decode("18446744073709551616", big_integers: :float)
      {:ok, 18446744073709551616.0}
  """
  @spec decode(String.t(), [decode_option()] | map()) :: {:ok, term()} | {:error, Error.t()}
  def decode(text, opts \\ []) do
    with {:error, error} <- :pitcrew_json.decode(text, opts), do: {:error, Error.from(error)}
  end

  @doc """
  Like `decode/2`, but returns the bare term and raises `Pitcrew.Error`.

      iex> Pitcrew.JSON.decode!("[]")
      []
  """
  @spec decode!(String.t(), [decode_option()] | map()) :: term()
  def decode!(text, opts \\ []), do: bare(decode(text, opts))

  defp bare({:ok, result}), do: result
  defp bare({:error, error}), do: raise(error)
end
