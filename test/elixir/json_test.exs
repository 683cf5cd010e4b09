defmodule Pitcrew.JSONTest do
  use ExUnit.Case, async: true

  alias Pitcrew.{Error, JSON}

  doctest Pitcrew.JSON

  describe "encode" do
    test "gives text, with options in a list or a map" do
      assert JSON.encode(%{a: [1, 2.5, "é", nil, true, :ok]}) == {:ok, ~S({"a":[1,2.5,"é",null,true,"ok"]})}
      assert JSON.encode([:null, nil], nil: :null) == {:ok, ~S([null,"nil"])}
      assert JSON.encode!(%{"b" => 1, "a" => 2}, %{sort_keys: true}) == ~S({"a":2,"b":1})
    end

    test "names the place of what JSON cannot carry" do
      for {value, words} <- [
            {{1, 2}, "tuple"},
            {self(), "pid"},
            {2 ** 63, "64 bits"},
            {:nan, "nan"},
            {<<255>>, "UTF-8"},
            {%{1 => 2}, "key"},
            {%{"k" => 1, k: 2}, "same key"},
            {~D[2024-01-01], "Elixir.Date"},
            {MapSet.new(), "Elixir.MapSet"},
            {Pitcrew.bytes("abc"), "Base64"},
            {[a: 1], "tuple"}
          ] do
        assert {:error, %Error{kind: :encode_error} = error} = JSON.encode(%{"x" => [0, value]})
        assert Enum.take(error.path, 2) == ["x", 1]
        assert error.message =~ words
      end
    end

    test "raises with a bang" do
      error = assert_raise Error, fn -> JSON.encode!([{}]) end
      assert %Error{kind: :encode_error, path: [0]} = error
      assert Exception.message(error) =~ "at: [0]"
    end
  end

  describe "decode" do
    test "gives terms, with options in a list or a map" do
      assert JSON.decode(~S( {"a": [1, 2.5, "\u00e9", null]} )) == {:ok, %{"a" => [1, 2.5, "é", nil]}}
      assert JSON.decode("null", nil: :undefined) == {:ok, :undefined}
      assert JSON.decode!("[99999999999999999999]", %{big_integers: :float}) == [1.0e20]
      assert JSON.decode!(~S({"a":1,"a":2})) == %{"a" => 2}
      assert {:error, %Error{}} = JSON.decode(~S({"a":1,"a":2}), duplicate_keys: :error)
    end

    test "says where the text is wrong" do
      assert {:error, %Error{kind: :decode_error} = error} = JSON.decode("[1,\n2,\n]")
      assert error.reason == %{line: 3, column: 1, position: 8}
      assert error.message =~ "line 3, column 1"
    end

    test "raises with a bang" do
      assert_raise Error, ~r/line 1/, fn -> JSON.decode!("[") end
    end

    test "text comes back" do
      for value <- [nil, [], %{}, 0, -(2 ** 63), 0.1, -0.0, "", "\0\"\\\u2028😀", %{"" => [[], %{}]}] do
        assert value |> JSON.encode!() |> JSON.decode!() === value
      end
    end
  end

  test "wrong options are errors that say what is allowed" do
    assert {:error, %Error{kind: :invalid_option} = error} = JSON.encode(1, indent: 99)
    assert error.message =~ "0 to 31"
    assert_raise Error, ~r/duplicate_keys/, fn -> JSON.decode!("1", duplicates: :last) end
  end
end
