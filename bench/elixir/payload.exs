for file <- ~w(stats table msgpack baseline payload_cases), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Payload do
  @moduledoc """
  Calls with large arguments and results, beside a memcpy of the same size into warm memory, a hand-rolled port, and pickle 5 and JSON over
  plain pipes between two Pythons. All in one run: every round measures every case, each time in another order.
  """

  alias Bench.{Baseline, PayloadCases, Stats, Table}
  import Bench.Stats, only: [middle: 2, spread: 2]

  @python_dir Path.expand("../python", __DIR__)
  @copy Path.expand("../../_build/bench/copy", __DIR__)
  @pool :bench_payload
  # JSON of 100 MB of floats takes too long: so many times fewer are sent, and the time is multiplied.
  @fewer 25
  @least_rounds 3
  @most_seconds 100

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, fresh: :integer, shared: :boolean])
    rounds = Keyword.get(opts, :rounds, 9)
    fresh = Keyword.get(opts, :fresh, 3)
    began = System.monotonic_time(:second)
    # With --no-shared everything goes through the socket.
    :persistent_term.put({__MODULE__, :shared}, Keyword.get(opts, :shared, true))

    start()
    cases = PayloadCases.all()
    # Not in the heap of this process, which is collected again and again.
    for a_case <- cases, do: :persistent_term.put({__MODULE__, a_case.name}, a_case.payload)
    cases = for a_case <- cases, do: Map.delete(a_case, :payload)
    firsts = Map.new(cases, fn a_case -> {a_case.name, for(_ <- 1..fresh, do: first_use(a_case))} end)

    context = %{port: Baseline.start(python(), script("baseline_worker.py")), pipes: pipes()}

    # Before and after, with other contents: what is wrong in memory that is used again shows only if that held something else.
    for a_case <- cases, do: a_case.check.(@pool)
    _warm = round(0, cases, context)
    results = rounds(rounds, cases, context, began)
    for a_case <- cases, do: a_case.check.(@pool)

    Baseline.stop(context.port)
    Port.close(context.pipes)
    :ok = Pitcrew.Pool.stop(@pool)
    report(cases, results, firsts, fresh)
  end

  defp python, do: System.fetch_env!("PITCREW_BENCH_PYTHON")
  defp script(name), do: Path.join(@python_dir, name)
  defp payload(%{name: name}), do: :persistent_term.get({__MODULE__, name})

  defp start do
    shared = :persistent_term.get({__MODULE__, :shared})
    options = [name: @pool, tools: ["payload_tools"], python: python(), cd: @python_dir, size: 1, shared: shared]
    {:ok, _} = Pitcrew.Pool.start_link(options)
    nil = PayloadCases.call(@pool, "echo", [nil])
  end

  # On a machine that is busy there are fewer, so that nobody waits for ever.
  defp rounds(rounds, cases, context, began) do
    Enum.reduce_while(1..rounds, [], fn number, results ->
      if number > @least_rounds and System.monotonic_time(:second) - began > @most_seconds,
        do: {:halt, results},
        else: {:cont, [round(number, cases, context) | results]}
    end)
  end

  # ---- Measuring, in microseconds

  # The first call of this size in a pool that has answered a small one.
  defp first_use(a_case) do
    :ok = Pitcrew.Pool.stop(@pool)
    start()
    if a_case[:first], do: a_case.first.(@pool)
    us = timed(%{a_case | trips: 1})
    Map.new(pitcrew: us, memcpy: memcpy(a_case.bytes))
  end

  defp round(number, cases, context) do
    Map.new(Stats.turned(cases, number), fn a_case -> {a_case.name, measure(a_case, context)} end)
  end

  defp measure(a_case, context) do
    %{pitcrew: timed(a_case), memcpy: memcpy(a_case.bytes)}
    |> Map.merge(baseline(a_case, context))
    |> Map.merge(pipes(a_case, context))
    |> Map.merge(if a_case.name == "bin256m", do: %{python: bytes_of(a_case)}, else: %{})
  end

  # This process is collected before each call, so that the result of the one before is no more.
  defp timed(%{trips: trips} = a_case) do
    payload = payload(a_case)

    median(trips, fn ->
      if a_case.ready, do: a_case.ready.(@pool)
      :erlang.garbage_collect()
      stopwatch(fn -> a_case.call.(@pool, payload) end)
    end)
  end

  defp baseline(%{baseline: nil}, _context), do: %{}

  defp baseline(a_case, %{port: port}) do
    payload = PayloadCases.plain(payload(a_case))

    us =
      median(div(a_case.trips + 3, 4), fn ->
        :erlang.garbage_collect()
        stopwatch(fn -> {:ok, _} = Baseline.call(port, a_case.baseline, [payload]) end)
      end)

    %{baseline: us}
  end

  # Python's own copy of the view that has arrived, measured there.
  defp bytes_of(a_case), do: PayloadCases.call(@pool, "time_bytes_of", [payload(a_case)])

  defp memcpy(bytes) do
    {output, 0} = System.cmd(@copy, ["#{bytes}", "#{if bytes > 8_000_000, do: 5, else: 51}"])
    (output |> String.trim() |> String.to_integer()) / 1000
  end

  defp median(trips, fun), do: Stats.median(for(_ <- 1..trips, do: fun.()))

  defp stopwatch(fun) do
    start = System.monotonic_time(:nanosecond)
    fun.()
    (System.monotonic_time(:nanosecond) - start) / 1000
  end

  # ---- Two Pythons

  defp pipes, do: Port.open({:spawn_executable, python()}, [:binary, line: 100, args: [script("payload_pipes.py")]])

  defp pipes(%{pipe: nil}, _context), do: %{}

  defp pipes(%{pipe: {payload, forms}, trips: trips}, %{pipes: pipes}) do
    Map.new(forms, fn form -> {String.to_atom(form), ask(pipes, form, payload, div(trips + 3, 4))} end)
  end

  defp ask(pipes, "lists", "array " <> n, _trips),
    do: @fewer * ask(pipes, "json", "lists #{div(String.to_integer(n), @fewer)}", 1)

  defp ask(pipes, form, payload, trips) do
    Port.command(pipes, "#{form} #{payload} #{trips}\n")

    receive do
      {^pipes, {:data, {:eol, line}}} -> String.to_float(line)
    end
  end

  # ---- Report

  defp report(cases, results, firsts, fresh) do
    IO.puts("""

    Calls with large payloads, one caller, random contents, checksums compared each way in calls that are not timed.
    #{length(results)} interleaved rounds after one to warm up; median of the rounds [their quartiles], times in µs; x: our time over theirs.
    The caller's heap is collected before each call, not timed, so that the result before is gone. A case is a call that returns its
    argument; numpy100m-in returns a number of each page, numpy100m-out takes nothing, numpy*-give hands over what an earlier call has filled.
    first: the first such call in a fresh pool, median of #{fresh} pools, and its ratio to memcpy.
    memcpy: C, into memory that has been written. baseline: an Elixir port with packet: 4, MessagePack in plain Elixir, Python's msgpack.
    pickle 5, json: Python to Python over pipes; bytes and arrays beside the pickle, bytes as base64 in JSON, arrays as lists, of which
    #{@fewer} times fewer are sent and the time is multiplied.
    """)

    head = ["case", "us", "memcpy", "x memcpy", "x baseline", "x pickle 5", "x json", "first", "x memcpy", "wanted"]
    Table.print([head | Enum.map(cases, &row(&1, results, firsts))])
    IO.puts("")
    for a_case <- cases, do: lines(a_case, results, firsts)
  end

  defp row(%{name: name, wanted: wanted} = a_case, results, firsts) do
    others = for other <- [:memcpy, :baseline, :pickle5, json(a_case)], do: shown(results, name, other)
    first = firsts[name]

    [
      name,
      results |> spread(& &1[name].pitcrew) |> Table.spread(0),
      Table.number(middle(results, & &1[name].memcpy), 0)
    ] ++
      others ++
      [Table.number(middle(first, & &1.pitcrew), 0), Table.number(middle(first, &ratio(&1, :memcpy)), 2), wanted]
  end

  defp shown(results, name, other) do
    if has?(results, name, other), do: Table.number(middle(results, &ratio(&1[name], other)), 2), else: "-"
  end

  defp lines(%{name: name} = a_case, results, firsts) do
    ratios =
      for other <- [:memcpy, :baseline, :pickle5, json(a_case)],
          has?(results, name, other),
          do: {"ratio_to_#{other}", middle(results, &ratio(&1[name], other))}

    bandwidth =
      if a_case.wanted =~ "bandwidth",
        do: [bandwidth_to_memcpy: middle(results, &(1 / ratio(&1[name], :memcpy)))],
        else: []

    Table.line("payload", name, [us: middle(results, & &1[name].pitcrew)] ++ ratios ++ bandwidth)

    Table.line("payload", "#{name}-first",
      us: middle(firsts[name], & &1.pitcrew),
      ratio_to_memcpy: middle(firsts[name], &ratio(&1, :memcpy))
    )

    if has?(results, name, :python) do
      Table.line("payload", "#{name}-python-bytes",
        us: middle(results, & &1[name].python),
        ratio_to_memcpy: middle(results, &(&1[name].python / &1[name].memcpy))
      )
    end
  end

  defp json(%{pipe: {_, forms}}), do: if("lists" in forms, do: :lists, else: :json)
  defp json(_), do: :json

  defp has?(results, name, other), do: is_map_key(hd(results)[name], other)
  defp ratio(of, other), do: of.pitcrew / of[other]
end

Bench.Payload.main(System.argv())
