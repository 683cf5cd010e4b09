for file <- ~w(stats table separate), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Memory do
  @moduledoc """
  What a pool of N workers with NumPy imported weighs after 1,000 calls each, beside a pool of one and beside N separate
  interpreters that have done the same. PSS counts a page that n processes share as the n-th part of it in each.
  """

  alias Bench.{Separate, Table}

  @python_dir Path.expand("../python", __DIR__)
  @count 1_000
  @sum div(@count * (@count - 1), 2)
  @mib 1024
  @allowed_mib 2

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [calls: :integer, workers: :integer])
    calls = Keyword.get(opts, :calls, 1_000)
    workers = Keyword.get(opts, :workers, 16)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")
    one = pool(python, 1, calls)
    many = pool(python, workers, calls)
    separate = separate(python, workers, calls)
    report(workers, calls, one, many, separate)
  end

  # ---- A pool

  defp pool(python, workers, calls) do
    {:ok, pool} =
      Pitcrew.Pool.start_link(
        name: :bench_memory,
        tools: ["startup_tools"],
        python: python,
        cd: @python_dir,
        size: workers,
        start: :fork
      )

    for _ <- 1..calls, do: meet(workers)
    %{zygote: zygote, workers: list} = Pitcrew.info(:bench_memory)
    ^calls = list |> Enum.map(& &1.calls) |> Enum.min()
    weights = %{zygote: weight(zygote), workers: Enum.map(list, &weight(&1.os_pid))}
    :ok = Pitcrew.Pool.stop(pool)
    weights
  end

  # One call in each worker: they meet in it.
  defp meet(workers) do
    tasks = for _ <- 1..workers, do: Task.async(fn -> Pitcrew.call(:bench_memory, "answer", [@count, workers]) end)
    for {:ok, [@sum, _]} <- Task.await_many(tasks), do: :ok
  end

  # ---- Separate interpreters

  defp separate(python, workers, calls) do
    ports = for _ <- 1..workers, do: Separate.open(python)

    for _ <- 1..calls do
      for port <- ports, do: Separate.ask(port, @count)
      for port <- ports, do: [@sum, _] = Separate.answer(port)
    end

    weights = for port <- ports, do: port |> Port.info(:os_pid) |> elem(1) |> weight()
    :ok = Separate.close(ports)
    weights
  end

  # ---- Weighing, in MiB

  defp weight(os_pid) do
    text = File.read!("/proc/#{os_pid}/smaps_rollup")

    kib =
      for [_, name, value] <- Regex.scan(~r/^(\w+): +(\d+) kB$/m, text), into: %{}, do: {name, String.to_integer(value)}

    %{pss: kib["Pss"] / @mib, private: (kib["Private_Clean"] + kib["Private_Dirty"]) / @mib}
  end

  defp pss(weights), do: weights |> Enum.map(& &1.pss) |> Enum.sum()
  defp private(weights), do: (weights |> Enum.map(& &1.private) |> Enum.sum()) / length(weights)

  # ---- Report

  defp report(workers, calls, one, many, separate) do
    allowed = pss([one.zygote | one.workers]) + (workers - 1) * @allowed_mib
    whole = pss([many.zygote | many.workers])
    alone = pss(separate)

    IO.puts("""

    Memory of Python processes with NumPy imported after #{calls} calls each, in MiB.
    PSS: a page that n processes share counts as the n-th part of it in each. Guard and port are not in it.
    """)

    Table.print([
      ["", "PSS", "private, each"],
      ["zygote and 1 worker", number(pss([one.zygote | one.workers])), number(private(one.workers))],
      ["zygote and #{workers} workers", number(whole), number(private(many.workers))],
      ["allowed: that of 1, and #{@allowed_mib} for each other", number(allowed), ""],
      ["#{workers} separate interpreters", number(alone), number(private(separate))]
    ])

    IO.puts("")

    Table.line("memory", Integer.to_string(workers),
      pss_mb: whole,
      private_mb_per_worker: private(many.workers),
      ratio_to_spawn: whole / alone,
      ratio_to_allowed: whole / allowed
    )
  end

  defp number(value), do: Table.number(value, 1)
end

Bench.Memory.main(System.argv())
