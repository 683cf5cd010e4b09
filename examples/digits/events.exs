defmodule Digits.Events do
  @moduledoc """
  A telemetry handler that writes down every event of a pool.

  Call events go to a table, with the image that the calling process was busy with; worker events are
  also sent to the process that attached the handler.
  """

  @calls for name <- [:start, :stop, :exception], do: [:pitcrew, :call, name]
  @workers for name <- [:start, :stop], do: [:pitcrew, :worker, name]

  def attach do
    table = :ets.new(__MODULE__, [:public, :duplicate_bag, write_concurrency: true])
    config = %{table: table, listener: self()}
    :ok = Pitcrew.Telemetry.attach_many("digits", @calls ++ @workers, &__MODULE__.handle/4, config)
    table
  end

  def handle([:pitcrew, :call, name] = event, measurements, metadata, %{table: table}) do
    row = {event, metadata.tool_id, Process.get(:image), measurements}
    :ets.insert(table, row)
    name
  end

  def handle([:pitcrew, :worker, name] = event, measurements, metadata, %{table: table, listener: listener}) do
    :ets.insert(table, {event, nil, nil, measurements})
    send(listener, {:worker, name, System.monotonic_time(:nanosecond), metadata})
  end

  @doc "The events of `classify` so far: `[{event, image, measurements}]`; they are taken out of the table."
  def take(table) do
    rows = :ets.tab2list(table)
    :ets.delete_all_objects(table)
    for {event, tool, image, measurements} <- rows, tool in [nil, "classify"], do: {event, image, measurements}
  end

  @doc """
  Waits until the slot of a killed worker has been filled again.

  Returns how the worker ended, the slot, the nanoseconds that the slot was empty, and the new worker.
  """
  def replacement(os_pid) do
    {stopped, %{id: slot, reason: reason}} = await(:stop, &(&1.worker == os_pid))
    {started, %{worker: new}} = await(:start, &(&1.id == slot and &1.worker != os_pid))
    %{reason: reason, slot: slot, empty: started - stopped, new: new}
  end

  defp await(name, wanted?) do
    receive do
      {:worker, ^name, time, metadata} -> if wanted?.(metadata), do: {time, metadata}, else: await(name, wanted?)
    after
      10_000 -> raise "no worker :#{name} event came within ten seconds"
    end
  end
end
