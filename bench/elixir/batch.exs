for file <- ~w(stats table load), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Batch do
  @moduledoc """
  Calls a second of 16 callers that make batches of 64, beside the same callers with `call`: one pool, one tool, a small map there and back. In
  one run; every round measures every case, in turn.
  """

  alias Bench.{Load, Stats, Table}
  import Bench.Stats, only: [middle: 2, spread: 2]

  @python_dir Path.expand("../python", __DIR__)
  @argument %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}
  @callers 16
  @size 64
  # Name, options of the pool, options of the batch.
  @cases [
    {"default", [size: 2], []},
    {"one-frame", [size: 2], [batch_size: @size]},
    {"pipelined", [size: 2, pipeline: 16], [batch_size: @size]}
  ]

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, ms: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    ms = Keyword.get(opts, :ms, 1_000)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    cases =
      for {name, pool_options, options} <- @cases do
        pool = :"bench_batch_#{name}"
        common = [name: pool, tools: ["rtt_tools"], python: python, cd: @python_dir, checkout_timeout: :infinity]
        {:ok, _} = Pitcrew.Pool.start_link(common ++ pool_options)
        {name, pool, options}
      end

    results = for round <- 1..rounds, do: round(round, cases, ms)

    IO.puts("""

    Calls a second: a map of 46 bytes, there and back; #{@callers} callers, two workers. batch: each makes batches of #{@size} calls; call: each makes one
    call after the other, same pool. all-at-once is a tool with batch=True. #{rounds} interleaved rounds of #{ms} ms; median of the rounds [their quartiles].
    vm, worker: processor time in µs a call.
    """)

    head = ["case", "batch", "call", "x", "vm", "worker", "vm (call)", "worker (call)"]
    Table.print([head | Enum.map(rows(cases), &row(results, &1))])
    IO.puts("")
    for name <- rows(cases), do: line(results, name)
  end

  defp rows(cases), do: Enum.map(cases, &elem(&1, 0)) ++ ["all-at-once"]

  defp round(number, cases, ms) do
    {_, pool, options} = hd(cases)

    Map.new([
      {"all-at-once", measure(pool, "echo_all", options, ms)}
      | for({name, pool, options} <- Stats.turned(cases, number), do: {name, measure(pool, "echo", options, ms)})
    ])
  end

  defp measure(pool, tool, options, ms) do
    calls = List.duplicate({tool, [@argument]}, @size)
    expected = List.duplicate({:ok, @argument}, @size)
    pids = Load.os_pids(pool)

    batch =
      Load.run(@callers, ms, pids, fn -> nil end, fn _ ->
        ^expected = Pitcrew.batch(pool, calls, options)
      end)

    call =
      Load.run(@callers, ms, pids, fn -> nil end, fn _ ->
        {:ok, @argument} = Pitcrew.call(pool, "echo", [@argument])
      end)

    %{
      batch: batch.calls_per_s * @size,
      call: call.calls_per_s,
      vm: batch.vm_us / @size,
      worker: batch.worker_us / @size,
      vm_call: call.vm_us,
      worker_call: call.worker_us
    }
  end

  defp row(results, name) do
    [
      name,
      results |> spread(& &1[name].batch) |> Table.spread(0),
      results |> spread(& &1[name].call) |> Table.spread(0),
      results |> spread(&(&1[name].batch / &1[name].call)) |> Table.spread(1)
      | for(key <- [:vm, :worker, :vm_call, :worker_call], do: results |> middle(& &1[name][key]) |> Table.number(1))
    ]
  end

  defp line(results, name) do
    Table.line("batch", name,
      calls_per_s: middle(results, & &1[name].batch),
      ratio_to_call: middle(results, &(&1[name].batch / &1[name].call)),
      vm_us: middle(results, & &1[name].vm),
      worker_us: middle(results, & &1[name].worker)
    )
  end
end

Bench.Batch.main(System.argv())
