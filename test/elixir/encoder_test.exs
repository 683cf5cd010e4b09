defmodule Pitcrew.EncoderTest.Whole do
  @derive Pitcrew.Encoder
  defstruct [:a, :b]
end

defmodule Pitcrew.EncoderTest.Only do
  @derive {Pitcrew.Encoder, only: [:name, :email]}
  defstruct [:name, :email, :password]
end

defmodule Pitcrew.EncoderTest.Except do
  @derive {Pitcrew.Encoder, except: [:password]}
  defstruct [:name, :password]
end

defmodule Pitcrew.EncoderTest.ByHand do
  defstruct [:inner]

  defimpl Pitcrew.Encoder do
    def encode(%{inner: inner}), do: {:by_hand, inner}
  end
end

defmodule Pitcrew.EncoderTest.Raises do
  defstruct [:a]

  defimpl Pitcrew.Encoder do
    def encode(_), do: raise(ArgumentError, "not today")
  end
end

defmodule Pitcrew.EncoderTest.Forever do
  defstruct [:a]

  defimpl Pitcrew.Encoder do
    def encode(struct), do: [struct]
  end
end

defmodule Pitcrew.EncoderTest.Bare do
  defstruct [:a]
end

defmodule Pitcrew.EncoderTest do
  use ExUnit.Case, async: true

  alias Pitcrew.EncoderTest.{Bare, ByHand, Except, Forever, Only, Raises, Whole}
  alias Pitcrew.MessagePack

  defp becomes(term), do: MessagePack.decode!(MessagePack.encode!(term))

  test "derived: all fields, some, all but some" do
    assert becomes(%Whole{a: 1, b: nil}) == %{a: 1, b: nil}
    assert becomes(%Only{name: "Ada", password: "secret"}) == %{name: "Ada", email: nil}
    assert becomes(%Except{name: "Ada", password: "secret"}) == %{name: "Ada"}
  end

  test "by hand, with more structs inside" do
    assert becomes(%ByHand{inner: [%Whole{a: %ByHand{inner: ~D[2024-02-29]}}]}) ==
             {:by_hand, [%{a: {:by_hand, ~D[2024-02-29]}, b: nil}]}
  end

  test "anywhere in a term" do
    whole = %Whole{a: 1}
    plain = %{a: 1, b: nil}
    assert becomes([1, {whole}, %{whole => whole}]) == [1, {plain}, %{plain => plain}]
    assert becomes(MapSet.new([whole, 2])) == MapSet.new([plain, 2])
    assert becomes(List.duplicate(whole, 20_000)) == List.duplicate(plain, 20_000)
    assert IO.iodata_to_binary(MessagePack.encode_to_iodata!([whole])) == MessagePack.encode!([plain])
  end

  test "without an implementation: an error that names the struct, the place and the way out" do
    assert {:error, error} = MessagePack.encode([%Whole{a: {1, %Bare{}}}])
    assert error.kind == :encode_error
    assert error.path == [0, :a, 1]
    assert error.message =~ "the struct Pitcrew.EncoderTest.Bare has no implementation of Pitcrew.Encoder"
    assert error.message =~ "@derive {Pitcrew.Encoder, only: [...]}"
    # A path through a key would read as one into its value.
    assert {:error, %{path: [:x]}} = MessagePack.encode(%{x: %{{1, %Bare{}} => [1, 2]}})
    assert {:error, %{path: ["u"], message: message}} = MessagePack.encode(%{"u" => URI.parse("http://a.b")})
    assert message =~ "URI"
  end

  test "an implementation that raises, or never ends, is an error with the place" do
    assert {:error, %{kind: :encode_error, path: [1], message: message}} = MessagePack.encode([1, %Raises{}])
    assert message =~ "Pitcrew.EncoderTest.Raises"
    assert message =~ "not today"
    assert {:error, %{kind: :encode_error, message: message}} = MessagePack.encode(%Forever{})
    assert message =~ "512 levels"
  end

  test "what else is wrong keeps its place" do
    assert {:error, %{path: [0, :a], message: message}} = MessagePack.encode([%Whole{a: <<255>>}])
    assert message =~ "UTF-8"
  end

  test "keys that become one are refused" do
    assert {:error, %{kind: :encode_error, path: [0]}} =
             MessagePack.encode([%{%Whole{a: 1} => 1, %{a: 1, b: nil} => 2}])
  end

  test "structs as arguments of a call" do
    # A pool of its own: at the end no slot may be missing, and others have calls of theirs in the pool of the doctests.
    pool = Pitcrew.EncoderTest.Pool
    start_supervised!({Pitcrew.Pool, name: pool, tools: ["my_tools"], cd: __DIR__, size: 2})
    assert Pitcrew.call!(pool, "echo", [%Only{name: "Ada"}]) == %{name: "Ada", email: nil}
    assert {:error, error} = Pitcrew.call(pool, "echo", [[1, %Bare{}]])
    assert {error.kind, error.path} == {:encode_error, [:args, 0, 1]}
    assert {:error, error} = Pitcrew.call(pool, "greet", %{name: %Bare{}})
    assert {error.kind, error.path} == {:encode_error, [:kwargs, :name]}
    assert Pitcrew.info(pool).free == 2
  end

  test "derivations that name what is not there do not compile" do
    for {options, text} <- [
          {[only: [:nope]], "no field :nope"},
          {[except: [:nope]], "no field :nope"},
          {[some: []], "only: or except:"}
        ] do
      code = """
      defmodule Pitcrew.EncoderTest.Wrong do
        @derive {Pitcrew.Encoder, #{inspect(options)}}
        defstruct [:a]
      end
      """

      error = assert_raise ArgumentError, fn -> Code.eval_string(code) end
      assert error.message =~ text
    end
  end
end
