defmodule Pitcrew.MessagePackTest do
  use ExUnit.Case, async: true

  alias Pitcrew.MessagePack
  alias Pitcrew.MessagePack.Ext

  doctest Pitcrew.MessagePack
  doctest Pitcrew.MessagePack.Ext
  doctest Pitcrew.Tensor
  doctest Pitcrew.Arrow

  defp returns(term) do
    packed = MessagePack.encode!(term)
    assert MessagePack.decode!(packed) === term
    assert {:ok, [^term], ""} = MessagePack.decode_all(packed)
    assert IO.iodata_to_binary(MessagePack.encode_to_iodata!(term)) == packed
  end

  test "sets are those that Elixir makes" do
    for elements <- [[], [1], [1, 1.0, :a, "a", {1}, %{}], 1..100] do
      set = MapSet.new(elements)
      returns(set)
      decoded = MessagePack.decode!(MessagePack.encode!(set))
      assert MapSet.equal?(decoded, set)
      assert decoded |> MapSet.put(:more) |> MapSet.delete(:more) == set
    end
  end

  test "dates and times" do
    for term <- [
          ~D[2024-02-29],
          ~D[-0044-03-15],
          ~D[0000-01-01],
          ~T[00:00:00],
          ~T[23:59:59.999],
          ~T[01:02:03.000],
          ~N[2024-02-29 12:30:15.120],
          ~N[-9999-01-01 00:00:00],
          ~U[1970-01-01 00:00:00Z],
          ~U[2024-02-29 12:30:15.123456Z],
          ~U[2024-02-29 12:30:15.000000Z],
          ~U[9999-12-31 23:59:59.9Z],
          ~U[1805-01-01 00:00:00.5Z],
          DateTime.utc_now()
        ] do
      returns(term)
      returns([%{term => {term}}])
    end
  end

  test "a date-time in a zone keeps it" do
    zoned = %{
      ~U[2024-07-02 03:04:05.06Z]
      | time_zone: "Europe/Berlin",
        zone_abbr: "CEST",
        utc_offset: 3600,
        std_offset: 3600
    }

    returns(zoned)
    assert DateTime.to_iso8601(MessagePack.decode!(MessagePack.encode!(zoned))) == "2024-07-02T03:04:05.06+02:00"
  end

  test "timestamps are moments as others count them" do
    assert <<0xD6, 0xFF, seconds::32>> = MessagePack.encode!(~U[2024-02-29 12:30:15Z])
    assert seconds == DateTime.to_unix(~U[2024-02-29 12:30:15Z])
    assert <<0xD7, 0xFF, 123_456_000::30, ^seconds::34>> = MessagePack.encode!(~U[2024-02-29 12:30:15.123456Z])

    for unix <- [0, 4_294_967_296, 17_179_869_184, -1, -62_167_219_200] do
      assert MessagePack.decode!(<<0xC7, 12, 0xFF, 0::32, unix::64>>) == DateTime.from_unix!(unix)
    end
  end

  test "terms that only this VM has" do
    for term <- [self(), make_ref(), &Enum.map/2, <<1::3>>, [1 | 2]], do: returns([term, %{term => term}])
  end

  test "Decimal without its library" do
    returns(%{__struct__: Decimal, sign: -1, coef: 12_345, exp: -2})
  end

  test "keyword lists are lists of tuples" do
    returns(a: 1, b: [c: 2])
    assert MessagePack.encode!([a: 1], atoms: :string, tuples: :list) == <<0x91, 0x92, 0xA1, ?a, 1>>
  end

  test "errors are exceptions with the place" do
    assert {:error, %Pitcrew.Error{kind: :encode_error, path: [0, :k]}} = MessagePack.encode([%{k: <<255>>}])
    assert {:error, %Pitcrew.Error{kind: :decode_error, path: [0]}} = MessagePack.decode(<<0x91, 0xC1>>)
    assert {:error, %Pitcrew.Error{kind: :too_big}} = MessagePack.encode("12345", max_size: 5)
    assert {:error, %Pitcrew.Error{kind: :invalid_option}} = MessagePack.decode(<<1>>, key: :string)
    assert_raise Pitcrew.Error, ~r/not valid UTF-8/, fn -> MessagePack.encode!(<<255>>) end
    assert_raise Pitcrew.Error, ~r/not valid UTF-8/, fn -> MessagePack.encode_to_iodata!(<<255>>) end
    assert_raise Pitcrew.Error, ~r/ends inside/, fn -> MessagePack.decode!(<<0x91>>) end
  end

  test "extensions of others" do
    ext = %Ext{type: 42, data: "abc"}
    returns([ext, %{"k" => ext}])
    assert MessagePack.decode!(MessagePack.encode!(ext), ext: %{42 => &String.upcase/1}) == "ABC"
  end
end
