for file <- ~w(stats), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Callback do
  @moduledoc """
  Python to Elixir and back: a tool that calls a function of the VM's again and again and tells the median of what each took. Beside it, in the same
  rounds, the floor: C to C over a socketpair, on two processors.
  """

  alias Bench.Stats

  @python_dir Path.expand("../python", __DIR__)
  @floor Path.expand("../../_build/bench/floor", __DIR__)
  # What a frame with such a value has on the wire, about.
  @bytes 46

  def main(argv) do
    {opts, [], []} = OptionParser.parse(argv, strict: [rounds: :integer, trips: :integer])
    rounds = Keyword.get(opts, :rounds, 7)
    trips = Keyword.get(opts, :trips, 5_000)
    python = System.fetch_env!("PITCREW_BENCH_PYTHON")
    value = %{"query" => "beam", "k" => 5, "score" => 0.5}

    for {name, more} <- [small: [], "small-many": [concurrency: 4]] do
      options = [name: :bench_callback, tools: ["callback_tools"], python: python, cd: @python_dir, size: 1] ++ more
      {:ok, pool} = Pitcrew.Pool.start_link(options)
      _ = trip(value, 500)
      results = for _ <- 1..rounds, do: {trip(value, trips), pair(trips)}
      Pitcrew.Pool.stop(pool)
      {_, median, _} = Stats.quartiles(Enum.map(results, &elem(&1, 0)))
      {low, ratio, high} = Stats.quartiles(Enum.map(results, fn {us, pair} -> us / pair end))

      IO.puts(
        "bench callback #{name} p50_us=#{text(median)} ratio_to_floor=#{text(ratio)} [#{text(low)} #{text(high)}]"
      )
    end
  end

  defp trip(value, trips), do: Pitcrew.call!(:bench_callback, "round_trips", [& &1, value, trips], timeout: :infinity)

  defp pair(trips) do
    {output, 0} = System.cmd(@floor, ["cross", "#{@bytes}", "#{trips}"])
    [p50 | _] = output |> String.split() |> Enum.map(&String.to_integer/1)
    p50 / 1000
  end

  defp text(number), do: :erlang.float_to_binary(number * 1.0, decimals: 2)
end

Bench.Callback.main(System.argv())
