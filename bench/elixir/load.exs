defmodule Bench.Load do
  @moduledoc "Many callers at once: how many calls they get done, and what processor time that takes here and in the workers."

  @doc """
  Lets `callers` processes call for `ms` milliseconds, each in a loop of `call.(state)` with a state of its own from `start.()`. The map has
  calls_per_s, and in microseconds a call vm_us and worker_us: user and system time of this VM, which polls while it is idle, and of the
  processes in `os_pids`.
  """
  def run(callers, ms, os_pids, start, call) do
    parent = self()
    counts = :counters.new(callers, [:write_concurrency])

    pids =
      for n <- 1..callers do
        spawn_link(fn ->
          state = start.()
          call.(state)
          send(parent, {:ready, self()})
          receive do: (:go -> forever(call, state, counts, n))
        end)
      end

    for pid <- pids, do: receive(do: ({:ready, ^pid} -> :ok))
    for pid <- pids, do: send(pid, :go)
    # They find their pace first.
    pause(div(ms, 5))
    before = {total(counts, callers), vm_us(), workers_us(os_pids)}
    {us, :ok} = :timer.tc(fn -> pause(ms) end)
    later = {total(counts, callers), vm_us(), workers_us(os_pids)}
    for pid <- pids, do: send(pid, :stop)
    for pid <- pids, do: stop(pid)

    calls = max(elem(later, 0) - elem(before, 0), 1)

    %{
      calls_per_s: calls * 1_000_000 / us,
      vm_us: (elem(later, 1) - elem(before, 1)) / calls,
      worker_us: (elem(later, 2) - elem(before, 2)) / calls,
      calls: calls
    }
  end

  @doc "The operating-system pids of a pool's workers."
  def os_pids(pool), do: for(worker <- Pitcrew.info(pool).workers, do: worker.os_pid)

  defp pause(ms), do: receive(do: (:never -> :ok), after: (ms -> :ok))

  # A caller stops between two calls: one that is killed in a call takes its worker along.
  defp forever(call, state, counts, n) do
    receive do
      :stop -> :ok
    after
      0 ->
        call.(state)
        :counters.add(counts, n, 1)
        forever(call, state, counts, n)
    end
  end

  defp stop(pid) do
    ref = Process.monitor(pid)
    receive(do: ({:DOWN, ^ref, _, _, _} -> :ok))
  end

  defp total(counts, callers), do: Enum.sum(for n <- 1..callers, do: :counters.get(counts, n))

  defp vm_us do
    {ms, _} = :erlang.statistics(:runtime)
    ms * 1000
  end

  # Fields 14 and 15 of proc(5)'s stat, in ticks of 10 ms; the name before them may hold spaces.
  defp workers_us(os_pids) do
    for pid <- os_pids, reduce: 0 do
      sum ->
        [_, fields] = "/proc/#{pid}/stat" |> File.read!() |> String.split(") ", parts: 2)
        [user, system] = fields |> String.split() |> Enum.slice(11, 2) |> Enum.map(&String.to_integer/1)
        sum + (user + system) * 10_000
    end
  end
end
