defprotocol Pitcrew.Encoder do
  @moduledoc """
  What a struct becomes on its way to Python, or to MessagePack.

  A struct without an implementation is refused with an error that says where it stands. Most are derived:

      defmodule MyApp.User do
        @derive {Pitcrew.Encoder, only: [:name, :email]}
        defstruct [:name, :email, :password]
      end

      iex> user = %MyApp.User{name: "Ada", email: "ada@example.com", password: "secret"}
      iex> Pitcrew.Encoder.encode(user)
      %{name: "Ada", email: "ada@example.com"}

  Options of the derivation: `:only` or `:except`, each a list of fields; with neither, every field is taken.

  Others are written by hand, and may return any term, with other structs in it:

      defimpl Pitcrew.Encoder, for: URI do
        def encode(uri), do: URI.to_string(uri)
      end

  `MapSet`, `Date`, `Time`, `NaiveDateTime`, `DateTime`, `Decimal` and Pitcrew's own structs have a form of their own and never
  come here.
  """

  @doc "A term that stands for the struct."
  @spec encode(t()) :: term()
  def encode(struct)
end

defimpl Pitcrew.Encoder, for: Any do
  defmacro __deriving__(module, struct, opts) do
    fields = fields(module, Map.keys(struct) -- [:__struct__, :__exception__], opts)

    quote do
      defimpl Pitcrew.Encoder, for: unquote(module) do
        def encode(struct), do: Map.take(struct, unquote(fields))
      end
    end
  end

  # Only here for derived implementations: without one a struct is refused.
  def encode(struct), do: raise(Protocol.UndefinedError, protocol: Pitcrew.Encoder, value: struct)

  defp fields(module, all, opts) do
    case opts do
      [] -> all
      [only: only] -> known(module, all, :only, only)
      [except: except] -> all -- known(module, all, :except, except)
      _ -> raise ArgumentError, "#{inspect(module)} derives Pitcrew.Encoder with only: or except:, not #{inspect(opts)}"
    end
  end

  defp known(module, all, name, fields) do
    case fields -- all do
      [] -> fields
      [field | _] -> raise ArgumentError, "#{inspect(module)} has no field #{inspect(field)}, which #{name}: names"
    end
  end
end
