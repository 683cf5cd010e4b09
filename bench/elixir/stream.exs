for file <- ~w(stats table load), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Stream do
  @moduledoc """
  Chunks a second that one consumer takes from one generator, and how much memory VM and worker have gained by the end: small integers, and
  arrays of 1 MiB. Then the other way: elements of an enumerable that one tool takes. Memory is compared with what there was after the first tenth.
  """

  alias Bench.{Load, Stats, Table}

  @python_dir Path.expand("../python", __DIR__)

  def main(argv) do
    {opts, [], []} =
      OptionParser.parse(argv,
        strict: [rounds: :integer, chunks: :integer, blocks: :integer, elements: :integer, buffer: :integer]
      )

    python = System.fetch_env!("PITCREW_BENCH_PYTHON")

    {:ok, pool} =
      Pitcrew.Pool.start_link(name: :bench_stream, tools: ["stream_tools"], python: python, cd: @python_dir, size: 1)

    rounds = Keyword.get(opts, :rounds, 5)
    chunks = Keyword.get(opts, :chunks, 10_000_000)
    blocks = Keyword.get(opts, :blocks, 4_000)
    stream_opts = Keyword.take(opts, [:buffer])

    _ = run("numbers", [100_000], 100_000, stream_opts)
    small = for _ <- 1..rounds, do: elem(run("numbers", [div(chunks, rounds)], div(chunks, rounds), stream_opts), 0)
    {_, growth} = run("numbers", [chunks], chunks, stream_opts)
    _ = run("blocks", [100, 1_048_576], 100, stream_opts)
    {block_rate, block_growth} = run("blocks", [blocks, 1_048_576], blocks, stream_opts)

    elements = Keyword.get(opts, :elements, 5_000_000)
    _ = into(100_000, stream_opts)
    into = for _ <- 1..rounds, do: elem(into(div(elements, rounds), stream_opts), 0)
    {_, into_growth} = into(elements, stream_opts)

    Pitcrew.Pool.stop(pool)

    IO.puts("""

    Chunks that one consumer takes from one generator, a second, and how much memory VM and worker have gained when all were taken, in MiB,
    since the first tenth. small: integers; #{rounds} rounds of #{div(chunks, rounds)}, median [quartiles], and #{chunks} for the memory. 1MiB: #{blocks} arrays of 1 MiB.
    into: integers of an enumerable that a tool iterates over, #{rounds} rounds of #{div(elements, rounds)}, and #{elements} for the memory.
    """)

    Table.print([
      ["case", "chunks/s", "gained"],
      ["small", small |> Stats.quartiles() |> Table.spread(0), Table.number(mb(growth), 1)],
      ["1MiB", Table.number(block_rate, 0), Table.number(mb(block_growth), 1)],
      ["into", into |> Stats.quartiles() |> Table.spread(0), Table.number(mb(into_growth), 1)]
    ])

    IO.puts("")
    Table.line("stream", "small", chunks_per_s: Stats.median(small), rss_growth_mb: mb(growth))
    Table.line("stream", "1MiB", chunks_per_s: block_rate, rss_growth_mb: mb(block_growth))
    Table.line("stream", "into", elements_per_s: Stats.median(into), rss_growth_mb: mb(into_growth))
  end

  # Chunks a second, and bytes that VM and worker have gained since the first tenth.
  defp run(tool, args, chunks, opts) do
    [pid] = Load.os_pids(:bench_stream)
    mark = div(chunks, 10)
    begin = System.monotonic_time()

    {n, before} =
      :bench_stream
      |> Pitcrew.stream(tool, args, opts)
      |> Enum.reduce({0, nil}, fn _chunk, {n, before} -> {n + 1, if(n == mark, do: rss(pid), else: before)} end)

    seconds = System.convert_time_unit(System.monotonic_time() - begin, :native, :microsecond) / 1.0e6
    ^chunks = n
    {chunks / seconds, rss(pid) - before}
  end

  # Elements a second, and the same of the memory.
  defp into(elements, opts) do
    [pid] = Load.os_pids(:bench_stream)
    mark = div(elements, 10)
    me = self()

    look = fn n ->
      if n == mark, do: send(me, {:before, rss(pid)})
      n
    end

    iterator = 1..elements |> Stream.map(look) |> Pitcrew.iterator(opts)
    begin = System.monotonic_time()
    {:ok, ^elements} = Pitcrew.call(:bench_stream, "taken", [iterator], timeout: :infinity)
    seconds = System.convert_time_unit(System.monotonic_time() - begin, :native, :microsecond) / 1.0e6

    receive do
      {:before, before} -> {elements / seconds, rss(pid) - before}
    end
  end

  # Without garbage that only waits for its turn.
  defp rss(worker) do
    :erlang.garbage_collect()
    resident("self") + resident(worker)
  end

  defp resident(pid) do
    [_, pages | _] = "/proc/#{pid}/statm" |> File.read!() |> String.split()
    String.to_integer(pages) * 4096
  end

  defp mb(bytes), do: bytes / 1_048_576
end

Bench.Stream.main(System.argv())
