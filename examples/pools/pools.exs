# Three pools under one supervisor, each for another kind of work, as an agent application has them.
#
#     mix run examples/pools/pools.exs
#
# Python is $PITCREW_PYTHON, or .venv/bin/python. Exit status 0 means that every check held.
defmodule Pools do
  @moduledoc "A pool for many short tool calls, one for whatever comes now and then, and one for calls that wait."

  @tools "pool_tools"
  @folder __DIR__

  @doc "The child specifications; `:pool_size` and `:connection_pool_size` are other names of `:size` and `:concurrency`."
  def children(python) do
    [
      # Many short calls all day: every worker is there from the start.
      react_pool: [pool_size: 4, lazy: false, checkout_timeout: 5_000],
      # Now and then a call, sometimes many: no worker without work, and twice as many for a while when calls wait.
      general_pool: [pool_size: 2, lazy: true, max_overflow: 2, idle_timeout: 300],
      # Calls that wait for other machines: ten at once in each of two workers.
      streaming_pool: [pool_size: 2, connection_pool_size: 10]
    ]
    |> Enum.map(fn {name, options} ->
      Supervisor.child_spec({Pitcrew.Pool, [name: name, tools: [@tools], python: python, cd: @folder] ++ options},
        id: name
      )
    end)
  end

  def main do
    {:ok, supervisor} = Supervisor.start_link(children(python()), strategy: :one_for_one)

    held =
      for {what, check} <- checks() do
        {microseconds, {seen, holds}} = :timer.tc(check)
        mark = if holds, do: "ok  ", else: "NOT "
        IO.puts("#{mark} #{String.pad_trailing(what, 58)} #{seen}, #{div(microseconds, 1000)} ms")
        holds
      end

    Supervisor.stop(supervisor)
    if Enum.all?(held), do: :ok, else: exit({:shutdown, 1})
  end

  defp python, do: System.get_env("PITCREW_PYTHON") || Path.expand(".venv/bin/python")

  @doc "What is to be seen: `{what, fun}`, where the fun returns what was seen in words, and whether that is right."
  def checks do
    [
      {"react_pool has its 4 workers before the first call",
       fn ->
         workers = workers(:react_pool)
         {"#{workers} workers", workers == 4}
       end},
      {"react_pool: 2,000 calls of 16 processes",
       fn ->
         sums = 1..2_000 |> Task.async_stream(&Pitcrew.call!(:react_pool, "add", [&1, 1]), max_concurrency: 16)
         right = Enum.with_index(sums, 2) |> Enum.count(fn {{:ok, sum}, n} -> sum == n end)
         {"#{right} right answers", right == 2_000}
       end},
      {"general_pool has none",
       fn ->
         workers = workers(:general_pool)
         {"#{workers} workers", workers == 0}
       end},
      {"general_pool: 4 calls that take 200 ms, at once",
       fn ->
         calls = for _ <- 1..4, do: Pitcrew.async(:general_pool, "work", [0.2])
         pids = for call <- calls, {:ok, pid} = Pitcrew.await(call), do: pid
         {"#{length(Enum.uniq(pids))} workers", length(Enum.uniq(pids)) == 4}
       end},
      {"general_pool lets them go when nobody calls",
       fn ->
         workers = until_none(:general_pool, 200)
         {"#{workers} workers", workers == 0}
       end},
      {"streaming_pool: 20 calls that wait for 200 ms, at once",
       fn ->
         calls = for n <- 1..20, do: Pitcrew.async(:streaming_pool, "fetch", [n, 0.2])
         answers = for call <- calls, {:ok, answer} = Pitcrew.await(call), do: answer
         pids = answers |> Enum.map(fn [_, pid] -> pid end) |> Enum.uniq()
         right = Enum.map(answers, &hd/1) == Enum.to_list(1..20)
         {"#{length(answers)} answers of #{length(pids)} workers", right and length(pids) == 2}
       end}
    ]
  end

  defp workers(pool), do: length(Pitcrew.info(pool).workers)

  # Looks again every 50 ms, so many times at most.
  defp until_none(pool, times) do
    case workers(pool) do
      left when left == 0 or times == 0 ->
        left

      _ ->
        Process.sleep(50)
        until_none(pool, times - 1)
    end
  end
end

unless Mix.env() == :test, do: Pools.main()
