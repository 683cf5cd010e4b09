Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.ProtocolSelectorTest do
  # Protocol selection.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support
  import Pitcrew.Protocol, only: [select_optimal_protocol: 1, explain: 1]

  @config %{streaming: false, data: %{"query" => "beam"}, call_frequency: 1}

  test "streams, large binaries and frequent calls take MessagePack" do
    assert select_optimal_protocol(%{@config | streaming: true}) == :msgpack
    assert select_optimal_protocol(%{@config | data: Pitcrew.bytes(:crypto.strong_rand_bytes(1025))}) == :msgpack
    assert select_optimal_protocol(%{@config | call_frequency: 101}) == :msgpack
  end

  # The guide's default is JSON; by what was measured it is not the best of any.
  test "everything else does as well, unless the frames are to be read" do
    assert select_optimal_protocol(@config) == :msgpack
    readable = Map.put(@config, :readable, true)
    assert select_optimal_protocol(readable) == :json

    for {more, reason} <- [
          {%{streaming: true}, :streaming},
          {%{data: Pitcrew.bytes(<<1>>)}, :not_json},
          {%{data: String.duplicate("x", 1025)}, :large},
          {%{call_frequency: 101}, :frequent}
        ] do
      assert %{protocol: :msgpack, reason: ^reason} = explain(Map.merge(readable, more))
    end
  end

  test "what is chosen is how a call travels" do
    pool = start_pool(size: 1, telemetry_prefix: [:guide_protocol])
    listen([:guide_protocol], [[:call, :stop]])

    for readable <- [false, true] do
      protocol = select_optimal_protocol(Map.put(@config, :readable, readable))
      assert Pitcrew.call(pool, "echo", [@config.data], protocol: protocol) == {:ok, @config.data}
      assert_receive {[:call, :stop], _, %{protocol: ^protocol}}
    end
  end
end
