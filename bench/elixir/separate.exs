defmodule Bench.Separate do
  @moduledoc "Python interpreters of their own with NumPy imported (spawn_worker.py), with the thread limits that a pool sets."

  @script Path.expand("../python/spawn_worker.py", __DIR__)
  @limits ~w(OMP_NUM_THREADS OPENBLAS_NUM_THREADS MKL_NUM_THREADS)

  @doc "Starts one; it answers when it has imported."
  def open(python) do
    env = for name <- @limits, do: {String.to_charlist(name), '1'}
    Port.open({:spawn_executable, python}, [:binary, :exit_status, line: 80, args: [@script], env: env])
  end

  @doc "The sum of the numbers below `count`, and who has computed it."
  def ask(port, count), do: Port.command(port, "#{count}\n")

  def answer(port) do
    receive do
      {^port, {:data, {:eol, line}}} -> line |> String.split() |> Enum.map(&String.to_integer/1)
    end
  end

  @doc "Ends all of them, and waits until they have."
  def close(ports) do
    monitors = for port <- ports, do: {port, port |> Port.info(:os_pid) |> elem(1)}
    for port <- ports, do: Port.close(port)
    for {_, os_pid} <- monitors, do: gone(os_pid)
    :ok
  end

  defp gone(os_pid) do
    if File.exists?("/proc/#{os_pid}") do
      Process.sleep(1)
      gone(os_pid)
    end
  end
end
