defmodule Pitcrew.CallTest do
  use ExUnit.Case, async: true

  @pool MyApp.Py

  describe "arguments" do
    test "a list is positional, a map is keyword, a pair is both" do
      assert Pitcrew.call(@pool, :arguments, [1, "two"]) == {:ok, [[1, "two"], %{}]}
      assert Pitcrew.call(@pool, :arguments, %{a: 1, b: "two"}) == {:ok, [[], %{"a" => 1, "b" => "two"}]}
      assert Pitcrew.call(@pool, :arguments, %{"a" => 1}) == {:ok, [[], %{"a" => 1}]}
      assert Pitcrew.call(@pool, :arguments, {[1], %{b: 2}}) == {:ok, [[1], %{"b" => 2}]}
      assert Pitcrew.call(@pool, :arguments) == {:ok, [[], %{}]}
    end

    test "a keyword list is a list of tuples like any other" do
      assert Pitcrew.call!(@pool, "arguments", a: 1) == [[{:a, 1}], %{}]
    end

    test "what does not fit the signature is Python's TypeError" do
      assert {:error, %Pitcrew.Error{kind: :bad_arguments} = error} = Pitcrew.call(@pool, "add", [1])
      assert error.message =~ "missing"
    end
  end

  describe "values" do
    test "come back as they went" do
      for value <- [
            nil,
            true,
            0,
            -1,
            2 ** 200,
            -(2 ** 63),
            1.5,
            "Zoë",
            [],
            [1, [2]],
            {1, {}},
            %{"a" => %{1 => nil}},
            :ok
          ] do
        assert Pitcrew.call(@pool, "echo", [value]) == {:ok, value}
      end
    end

    test "bytes go as bytes" do
      assert Pitcrew.call!(@pool, "echo", [Pitcrew.bytes(<<0, 255>>)]) == <<0, 255>>
      assert Pitcrew.call!(@pool, "type_name", [<<0, 255>>], binaries: :bytes) == "bytes"
    end

    test "a binary that is not UTF-8 is an error that names its place and the way out" do
      assert {:error, %{kind: :encode_error} = error} = Pitcrew.call(@pool, "echo", [[1, %{"k" => <<255>>}]])
      assert error.message =~ "bytes"
      assert List.last(error.path) == "k"
    end

    test "a struct is an error, not text" do
      assert {:error, %{kind: :encode_error, message: message}} = Pitcrew.call(@pool, "echo", [1..2])
      assert message =~ "Pitcrew.Encoder"
    end

    test "keys that Python calls equal are kept apart when asked for" do
      map = %{1 => "int", 1.0 => "float", true => "atom", "ok" => 1, ok: 2}
      assert {:error, %{kind: :decode_error, path: [0]} = error} = Pitcrew.call(@pool, "echo", [map])
      assert error.message =~ "equal in Python"
      assert Pitcrew.call!(@pool, "echo", [map], keys: :strict) == map
      assert Pitcrew.call!(@pool, "type_name", [map], keys: :strict) == "Map"
    end

    test "bytes come back as bytes when asked for" do
      for value <- [Pitcrew.bytes("a"), %{"text" => [Pitcrew.bytes(<<255>>), "text"]}] do
        assert Pitcrew.call!(@pool, "echo", [value], bytes: :tagged) == value
      end
    end

    test "nil may be undefined" do
      assert Pitcrew.call!(@pool, "type_name", [:undefined], nil: :undefined) == "NoneType"
      assert Pitcrew.call!(@pool, "echo", [:undefined], nil: :undefined) == :undefined
    end
  end

  describe "errors" do
    test "of a tool carry Python's type, message and traceback" do
      assert {:error, error} = Pitcrew.call(@pool, "divide", [1, 0])
      assert %Pitcrew.Error{kind: :tool_error, type: "ZeroDivisionError", tool: "divide", pool: @pool} = error
      assert is_integer(error.worker)
      assert error.traceback =~ "return a / b"
      assert Exception.message(error) =~ "Traceback (most recent call last)"
    end

    test "are raised by call!/4" do
      error = assert_raise Pitcrew.Error, fn -> Pitcrew.call!(@pool, "divide", [1, 0]) end
      assert error.kind == :tool_error
    end

    test "of an unknown tool name close matches" do
      assert {:error, %{kind: :unknown_tool} = error} = Pitcrew.call(@pool, "ad", [1, 2])
      assert error.message =~ "add"
    end

    test "of a pool that is not there" do
      assert {:error, %{kind: :no_pool} = error} = Pitcrew.call(NoSuchPool, "add", [1, 2])
      assert error.message =~ "NoSuchPool"
    end

    test "of options say what was given and what is allowed" do
      assert {:error, %{kind: :invalid_option} = error} = Pitcrew.call(@pool, "add", [1, 2], timeuot: 5)
      assert error.message =~ "timeuot"
      assert error.message =~ "timeout"
      assert {:error, %{kind: :invalid_option} = error} = Pitcrew.call(@pool, "add", [1, 2], timeout: "soon")
      assert error.message =~ "soon"
    end

    test "have a message for every kind, and whichever fields are set" do
      for kind <- :pitcrew_error.kinds() do
        assert Exception.message(%Pitcrew.Error{kind: kind, message: "what happened"}) =~ "what happened"
      end
    end
  end
end
