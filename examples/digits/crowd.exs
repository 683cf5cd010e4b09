defmodule Digits.Crowd do
  @moduledoc "Many Elixir processes that classify every image once, and the death of a worker halfway."

  @processes 32

  @doc "How many processes call at the same time."
  def processes, do: @processes

  @doc """
  Has every image classified; `argument` makes the argument of a call from an image's pixels.

  Returns what each call returned, `{index, result, nanoseconds}` in any order, how many messages were
  left in the callers' mailboxes, how long all took, and which worker was killed: halfway one that is
  busy is sent SIGKILL.
  """
  def classify(pool, images, argument) do
    work = %{
      pool: pool,
      images: List.to_tuple(images),
      argument: argument,
      next: :atomics.new(1, []),
      done: :atomics.new(1, []),
      starter: self()
    }

    start = System.monotonic_time(:nanosecond)
    tasks = for _ <- 1..@processes, do: Task.async(fn -> caller(work, []) end)
    victim = kill_halfway(pool)
    results = Task.await_many(tasks, :infinity)

    %{
      answers: Enum.flat_map(results, & &1.answers),
      left_over: Enum.sum(Enum.map(results, & &1.left_over)),
      nanoseconds: System.monotonic_time(:nanosecond) - start,
      victim: victim
    }
  end

  # Takes images until none is left.
  defp caller(work, answers) do
    position = :atomics.add_get(work.next, 1, 1)

    if position <= tuple_size(work.images) do
      caller(work, [answer(work, elem(work.images, position - 1)) | answers])
    else
      {:message_queue_len, left_over} = Process.info(self(), :message_queue_len)
      %{answers: answers, left_over: left_over}
    end
  end

  defp answer(work, image) do
    # Telemetry handlers run in the process that calls, so ours can see which image it is about.
    Process.put(:image, image.index)
    start = System.monotonic_time(:nanosecond)
    result = Pitcrew.call(work.pool, "classify", [work.argument.(image.pixels)], retry: 1)
    duration = System.monotonic_time(:nanosecond) - start

    if :atomics.add_get(work.done, 1, 1) == div(tuple_size(work.images), 2), do: send(work.starter, :halfway)
    {image.index, result, duration}
  end

  defp kill_halfway(pool) do
    receive do
      :halfway -> :ok
    end

    worker = Enum.find(Pitcrew.info(pool).workers, &(&1.state == :busy))
    {"", 0} = System.cmd("sh", ["-c", "kill -KILL #{worker.os_pid}"])
    worker.os_pid
  end
end
