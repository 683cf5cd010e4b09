defmodule Bench.Timed do
  @moduledoc "How long something takes that is done many times."

  @doc "Microseconds of each, from the time of all, when a tenth of them has been done before. The function is told how many are left."
  def each(times, fun) do
    repeat(div(times, 10), fun)
    :erlang.garbage_collect()
    start = System.monotonic_time(:nanosecond)
    repeat(times, fun)
    (System.monotonic_time(:nanosecond) - start) / times / 1000
  end

  defp repeat(0, _fun), do: :ok

  defp repeat(left, fun) do
    fun.(left)
    repeat(left - 1, fun)
  end
end
