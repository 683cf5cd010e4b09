for file <- ~w(stats table), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Lateness do
  @moduledoc """
  How late a timer of one millisecond fires beside other work: nothing, pure Erlang loops, our codec, and the VM's own
  term format over the same large terms, with as many workers as there are schedulers. The ticks are absolute times, so that a late one does
  not delay the next. A NIF that stayed too long on a scheduler would show here first.
  """

  alias Bench.{Stats, Table}

  @conditions [:nothing, :loops, :codec, :etf]

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, ticks: :integer, megabytes: :integer])
    rounds = Keyword.get(opts, :rounds, 5)
    ticks = Keyword.get(opts, :ticks, 10_000)
    megabytes = Keyword.get(opts, :megabytes, 100)
    # There, a process has them without a copy in its heap.
    :persistent_term.put(__MODULE__, terms(megabytes))
    watch()
    :pitcrew_nif.longest_stay(true)

    IO.puts("""

    Lateness of a 1 ms ticker in ms: #{ticks} ticks beside each, #{rounds} rounds; median of the rounds [quartiles].
    The terms are about #{megabytes} MB of MessagePack.
    """)

    results =
      for round <- 1..rounds do
        Map.new(Stats.turned(@conditions, round), fn condition -> {condition, beside(condition, ticks)} end)
      end

    rows =
      for condition <- @conditions do
        [
          to_string(condition),
          Table.spread(of(results, condition, :p50), 3),
          Table.spread(of(results, condition, :p99), 3),
          Table.spread(of(results, condition, :max), 3),
          Table.number(Stats.median(for(r <- results, do: r[condition].rounds)), 0)
        ]
      end

    Table.print([["beside", "p50", "p99", "max", "rounds of work"] | rows])
    over_loop = Stats.median(for r <- results, do: r.codec.p99 - r.loops.p99)
    {_, p99, _} = of(results, :codec, :p99)
    {_, etf, _} = of(results, :etf, :p99)
    long = long_schedules()
    longest = :pitcrew_nif.longest_stay(false) / 1.0e6
    IO.puts("\n  longest stay of the codec on a normal scheduler, by its own clock: #{Table.number(longest, 3)} ms")
    IO.puts("  long_schedule messages (above 1 ms, the machine's other work included) that name the codec: #{long}")
    metrics = [p99_ms: p99, over_loop_ms: over_loop, etf_p99_ms: etf, max_nif_ms: longest, long_schedules: long]
    Table.line("lateness", "codec", metrics)
  end

  # Many kinds of values, in pieces as applications have them and one that is large.
  defp terms(megabytes) do
    row = fn i -> %{"id" => i, "name" => "row #{i}", "score" => i / 7.0, "tags" => ["a", "b", "c"], "ok" => true} end
    piece = for i <- 1..1_000, do: row.(i)
    {:ok, packed} = :pitcrew_nif.encode(piece, %{})
    copies = max(1, div(megabytes * 1_000_000, 2 * byte_size(packed)))
    whole = List.duplicate(piece, copies)
    {:ok, whole_packed} = :pitcrew_nif.encode(whole, %{})
    %{piece: piece, whole: whole, whole_packed: whole_packed, whole_etf: :erlang.term_to_binary(whole), copies: copies}
  end

  defp beside(condition, ticks) do
    counter = :counters.new(1, [])
    workers = for _ <- 1..System.schedulers_online(), do: spawn_link(fn -> forever(condition, counter) end)
    ticker = Task.async(fn -> tick(ticks) end)
    late = Task.await(ticker, :infinity)

    for pid <- workers do
      Process.unlink(pid)
      ref = Process.monitor(pid)
      Process.exit(pid, :kill)

      receive do
        {:DOWN, ^ref, _, _, _} -> :ok
      end
    end

    %{
      p50: Stats.quantile(late, 0.5) / 1.0e6,
      p99: Stats.quantile(late, 0.99) / 1.0e6,
      max: Enum.max(late) / 1.0e6,
      rounds: :counters.get(counter, 1)
    }
  end

  defp forever(:nothing, _), do: Process.sleep(:infinity)

  defp forever(condition, counter) do
    work(condition, :persistent_term.get(__MODULE__))
    :counters.add(counter, 1, 1)
    forever(condition, counter)
  end

  defp work(:loops, _), do: loop(1_000_000, 0)

  defp work(:codec, terms) do
    for _ <- 1..50, do: {:ok, _} = :pitcrew_nif.encode(terms.piece, %{})
    {:ok, _} = :pitcrew_nif.encode(terms.whole, %{})
    {:ok, _} = :pitcrew_nif.decode(terms.whole_packed, %{})
  end

  defp work(:etf, terms) do
    # Results are looked at, or the compiler would leave the calls out.
    for _ <- 1..50, do: true = is_binary(:erlang.term_to_binary(terms.piece))
    true = is_binary(:erlang.term_to_binary(terms.whole))
    true = is_list(:erlang.binary_to_term(terms.whole_etf))
  end

  defp loop(0, sum), do: sum
  defp loop(n, sum), do: loop(n - 1, rem(sum * 31 + n, 1_000_003))

  defp tick(ticks) do
    start = System.monotonic_time(:millisecond) + 2
    for n <- 1..ticks, do: lateness(start + n)
  end

  defp lateness(at) do
    :erlang.start_timer(at, self(), :tick, abs: true)

    receive do
      {:timeout, _, :tick} -> max(0, System.monotonic_time(:nanosecond) - at * 1_000_000)
    end
  end

  defp of(results, condition, metric), do: Stats.quartiles(for r <- results, do: r[condition][metric])

  # The VM itself says which processes stayed on a scheduler for longer than a millisecond, and where they went in and out.
  defp watch do
    parent = self()

    pid =
      spawn_link(fn ->
        :erlang.system_monitor(self(), [{:long_schedule, 1}])
        send(parent, :watching)
        count(0)
      end)

    Process.register(pid, :bench_lateness_watch)

    receive do
      :watching -> :ok
    end
  end

  defp count(n) do
    receive do
      {:monitor, _, :long_schedule, info} -> count(n + if(ours?(info), do: 1, else: 0))
      {:count, from} -> send(from, {:count, n})
    end
  end

  defp ours?(info) do
    Enum.any?([info[:in], info[:out]], fn
      {module, _, _} -> module == :pitcrew_nif
      _ -> false
    end)
  end

  defp long_schedules do
    send(:bench_lateness_watch, {:count, self()})

    receive do
      {:count, n} -> n
    end
  end
end

Bench.Lateness.main(System.argv())
