for file <- ~w(stats table payloads), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Protocol do
  @moduledoc """
  The same calls of one pool with `protocol: :msgpack` and with `protocol: :json`: one caller, the argument there and back. In one run; every round
  measures every case, each time in another order, and both protocols of a case one after the other. `Pitcrew.Protocol` has its
  thresholds from here.
  """

  alias Bench.{Payloads, Stats, Table}
  import Bench.Stats, only: [middle: 2, spread: 2]

  @python_dir Path.expand("../python", __DIR__)
  @pool :bench_protocol
  @least_trips 5

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, ms: :integer])
    rounds = Keyword.get(opts, :rounds, 9)
    ms = Keyword.get(opts, :ms, 100)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    {:ok, _} = Pitcrew.Pool.start_link(name: @pool, tools: ["protocol_tools"], python: python, cd: @python_dir, size: 1)

    cases = cases()
    _warm = round(0, cases, div(ms, 4))
    results = for number <- 1..rounds, do: round(number, cases, ms)
    :ok = Pitcrew.Pool.stop(@pool)
    report(cases, results, rounds, ms)
  end

  # Name, what JSON makes of it in bytes, and a call with either protocol.
  defp cases do
    payloads = Map.new(Payloads.all())

    same =
      [small_map: payloads["small_map"], integer: 42] ++
        for({name, n} <- [text_100: 100, text_1k: 1_000, text_10k: 10_000, text_100k: 100_000], do: {name, text(n)}) ++
        [
          escapes_10k: String.duplicate("\"\\\n\t\"", 2_000),
          ints_100: Enum.take(payloads["ints_1000"], 100),
          ints_1000: payloads["ints_1000"],
          floats_100: Enum.take(payloads["floats_100000"], 100),
          floats_10000: Enum.take(payloads["floats_100000"], 10_000),
          maps_10x6: Enum.take(payloads["maps_1000x6"], 10),
          maps_1000x6: payloads["maps_1000x6"],
          nested_200: payloads["nested_200"]
        ]

    [%{name: "nothing", bytes: 0, msgpack: nothing(:msgpack), json: nothing(:json)}] ++
      for({name, value} <- same, do: echo(to_string(name), value)) ++
      for(n <- [100, 1_000, 10_000, 100_000], do: binary(n))
  end

  defp nothing(protocol), do: fn -> {:ok, nil} = Pitcrew.call(@pool, "nothing", [], protocol: protocol) end

  defp echo(name, value) do
    {:ok, text} = Pitcrew.JSON.encode(value)
    call = fn protocol -> fn -> {:ok, ^value} = Pitcrew.call(@pool, "echo", [value], protocol: protocol) end end
    %{name: name, bytes: byte_size(text), msgpack: call.(:msgpack), json: call.(:json)}
  end

  # JSON carries no bytes: both ends make text of them, and bytes again.
  defp binary(n) do
    data = :crypto.strong_rand_bytes(n)
    marked = Pitcrew.bytes(data)

    json = fn ->
      {:ok, text} = Pitcrew.call(@pool, "echo_base64", [Base.encode64(data)], protocol: :json)
      ^data = Base.decode64!(text)
    end

    msgpack = fn -> {:ok, ^data} = Pitcrew.call(@pool, "echo_bytes", [marked], protocol: :msgpack) end
    %{name: "binary_#{n}", bytes: div(n + 2, 3) * 4, msgpack: msgpack, json: json}
  end

  defp text(n), do: "the quick brown fox jumps over it " |> String.duplicate(div(n, 34) + 1) |> binary_part(0, n)

  defp round(number, cases, ms) do
    Map.new(Stats.turned(cases, number), fn a_case ->
      both = if rem(number, 2) == 0, do: [:msgpack, :json], else: [:json, :msgpack]
      {a_case.name, Map.new(both, &{&1, timed(a_case[&1], ms)})}
    end)
  end

  # The median of as many trips as fit, in microseconds.
  defp timed(call, ms) do
    for _ <- 1..@least_trips, do: call.()
    :erlang.garbage_collect()
    until = System.monotonic_time(:nanosecond) + ms * 1_000_000
    call |> repeat(until, 0, []) |> Stats.median() |> Kernel./(1000)
  end

  defp repeat(call, until, done, durations) do
    start = System.monotonic_time(:nanosecond)

    if done < @least_trips or start < until do
      call.()
      repeat(call, until, done + 1, [System.monotonic_time(:nanosecond) - start | durations])
    else
      durations
    end
  end

  defp report(cases, results, rounds, ms) do
    IO.puts("""

    The same call with either protocol: one caller, the argument there and back, one worker.
    #{rounds} interleaved rounds of #{ms} ms for each case and protocol; median of the rounds [their quartiles], times in µs. bytes: of the argument as JSON;
    extra: what JSON takes longer; ns/byte: the same for each of those bytes. binary_*: bytes, which JSON carries as base64.
    """)

    Table.print([
      ["case", "bytes", "msgpack", "json", "json / msgpack", "extra", "ns/byte"] | Enum.map(cases, &row(results, &1))
    ])

    IO.puts("")
    for a_case <- cases, do: line(results, a_case)
  end

  defp row(results, %{name: name, bytes: bytes}) do
    [
      name,
      Integer.to_string(bytes),
      results |> spread(& &1[name].msgpack) |> Table.spread(1),
      results |> spread(& &1[name].json) |> Table.spread(1),
      results |> spread(&ratio(&1[name])) |> Table.spread(2),
      results |> middle(&extra(&1[name])) |> Table.number(1),
      results |> middle(&(extra(&1[name]) * 1000 / max(bytes, 1))) |> Table.number(1)
    ]
  end

  defp line(results, %{name: name, bytes: bytes}) do
    Table.line("protocol", name,
      bytes: bytes,
      msgpack_us: middle(results, & &1[name].msgpack),
      json_us: middle(results, & &1[name].json),
      ratio_json_to_msgpack: middle(results, &ratio(&1[name])),
      extra_us: middle(results, &extra(&1[name]))
    )
  end

  defp ratio(result), do: result.json / result.msgpack
  defp extra(result), do: result.json - result.msgpack
end

Bench.Protocol.main(System.argv())
