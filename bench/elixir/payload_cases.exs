defmodule Bench.PayloadCases do
  @moduledoc """
  The cases of `bench payload`. Each has a `payload` (nil where there is none), how to `call` a pool with it, what to do before each such
  call (`ready`), and a `check` that raises unless the checksums of contents made for it agree on both sides, for each way they go.
  `bytes` is what is copied at least once; `pipe` names the same payload for payload_pipes.py.
  """

  @mib 1_048_576
  @tool_options [timeout: 60_000]

  def all do
    [
      %{name: "rows", payload: rows(), trips: 20, pipe: {"rows 1000", ~w(pickle5 json)}, wanted: "<= 1200 us"}
      |> echoed("echo", "crc_rows", &rows/0, &rows_text/1),
      %{
        name: "floats100k",
        payload: floats(),
        trips: 5,
        pipe: {"floats 100000", ~w(pickle5 json)},
        wanted: "<= 8000 us"
      }
      |> echoed("echo", "crc_floats", &floats/0, &packed/1),
      bytes("bin1m", @mib, "view", 20, "<= 200 us"),
      bytes("bin16m", 16 * @mib, "view", 5, "<= 4 memcpy"),
      bytes("bin16m-bytes", 16 * @mib, "bytes", 5, "<= 6 memcpy"),
      bytes("bin256m", 256 * @mib, "view", 1, "<= 4 memcpy") |> Map.put(:baseline, nil),
      %{name: "text16m", payload: text(), trips: 5, pipe: {"text #{16 * @mib}", ~w(pickle5 json)}, wanted: ""}
      |> echoed("echo", "crc_text", &text/0, & &1),
      numpy_in(12_500_000),
      numpy_out(12_500_000),
      give("numpy10m-give", 1_250_000),
      give("numpy100m-give", 12_500_000)
    ]
  end

  @doc "The payload as an argument of the hand-rolled bridge."
  def plain(%Pitcrew.Bytes{data: data}), do: {:bytes, data}
  def plain(payload), do: payload

  @doc "The result of a call; a failed one ends the benchmark."
  def call(pool, tool, args), do: Pitcrew.call!(pool, tool, args, @tool_options)

  # ---- Payloads that come back

  defp bytes(name, size, kind, trips, wanted) do
    make = fn -> Pitcrew.bytes(:crypto.strong_rand_bytes(size)) end
    others = if size > 16 * @mib, do: ~w(pickle5), else: ~w(pickle5 json)

    %{name: name, payload: make.(), trips: trips, pipe: {"bytes #{size}", others}, wanted: wanted}
    |> echoed("echo_#{kind}", "crc_#{kind}", make, &data/1)
  end

  # `canonical` are the bytes that the tool `crc` takes the checksum of.
  defp echoed(a_case, tool, crc, make, canonical) do
    Map.merge(a_case, %{
      bytes: byte_size(Pitcrew.MessagePack.encode!(a_case.payload)),
      baseline: "echo",
      ready: nil,
      call: fn pool, payload -> call(pool, tool, [payload]) end,
      check: fn pool ->
        payload = make.()
        here = :erlang.crc32(canonical.(payload))
        same!(a_case.name, "VM to Python", here, call(pool, crc, [payload]))
        same!(a_case.name, "Python to VM", here, :erlang.crc32(canonical.(call(pool, tool, [payload]))))
      end
    })
  end

  defp data(%Pitcrew.Bytes{data: data}), do: data
  defp data(data) when is_binary(data), do: data

  defp rows, do: for(i <- 0..999, do: row(i))

  defp row(i) do
    name = hex(6)

    %{
      "id" => i,
      "name" => name,
      "email" => name <> "@example.org",
      "city" => hex(4),
      "active" => rem(i, 2) == 0,
      "score" => :rand.uniform()
    }
  end

  defp hex(n), do: Base.encode16(:crypto.strong_rand_bytes(n), case: :lower)

  defp rows_text(rows) do
    for row <- rows, {key, value} <- Enum.sort(row), do: [key, "=", shown(value), "\n"]
  end

  defp shown(value) when is_float(value), do: Base.encode16(<<value::float>>, case: :lower)
  defp shown(value), do: to_string(value)

  defp floats, do: for(_ <- 1..100_000, do: :rand.uniform())
  defp packed(floats), do: for(x <- floats, into: <<>>, do: <<x::float-little>>)

  defp text, do: hex(8 * @mib)

  # ---- Arrays that go one way

  defp numpy_in(n) do
    array = fn -> %Pitcrew.Tensor{dtype: "<f8", shape: {n}, data: :crypto.strong_rand_bytes(8 * n)} end

    one_way("numpy100m-in", n, %{
      payload: array.(),
      call: fn pool, payload -> call(pool, "touch", [payload]) end,
      check: fn pool ->
        payload = array.()
        same!("numpy100m-in", "VM to Python", :erlang.crc32(payload.data), call(pool, "crc_array", [payload]))
      end
    })
  end

  defp numpy_out(n) do
    one_way("numpy100m-out", n, %{
      first: fn pool -> call(pool, "hold", [n]) end,
      call: fn pool, nil -> call(pool, "held", []) end,
      check: fn pool -> same!("numpy100m-out", "Python to VM", call(pool, "hold", [n]), crc(call(pool, "held", []))) end
    })
  end

  defp give(name, n) do
    one_way(name, n, %{
      trips: 3,
      pipe: nil,
      wanted: "<= 100 us",
      ready: fn pool -> call(pool, "fill", [n]) end,
      call: fn pool, nil -> call(pool, "give", []) end,
      check: fn pool -> same!(name, "Python to VM", call(pool, "fill", [n]), crc(call(pool, "give", []))) end
    })
  end

  defp one_way(name, n, more) do
    pipe = {"array #{n}", ~w(pickle5 lists)}
    common = %{name: name, payload: nil, bytes: 8 * n, trips: 2, ready: nil, baseline: nil, pipe: pipe}
    common |> Map.put(:wanted, ">= 0.7 memcpy bandwidth") |> Map.merge(more)
  end

  defp crc(%Pitcrew.Tensor{data: data}), do: :erlang.crc32(data)

  defp same!(_name, _way, crc, crc), do: :ok
  defp same!(name, way, _one, _other), do: raise("#{name}, #{way}: the checksums differ")
end
