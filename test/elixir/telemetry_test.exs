defmodule Pitcrew.TelemetryTest do
  use ExUnit.Case, async: true
  doctest Pitcrew.Telemetry

  alias Pitcrew.Telemetry

  setup context do
    id = {__MODULE__, context.line}
    prefix = [:pitcrew_test, :"line#{context.line}"]
    on_exit(fn -> Telemetry.detach(id) end)
    {:ok, id: id, prefix: prefix, name: Module.concat(__MODULE__, "P#{context.line}")}
  end

  defp forward(event, measurements, metadata, to), do: send(to, {event, measurements, metadata})

  defp start_pool(context) do
    opts = [name: context.name, tools: ["my_tools"], cd: __DIR__, size: 1, telemetry_prefix: context.prefix]
    start_supervised!({Pitcrew.Pool, opts})
    context.name
  end

  test "a call starts and stops", %{id: id, prefix: prefix} = context do
    :ok = Telemetry.attach_many(id, [prefix ++ [:call, :start], prefix ++ [:call, :stop]], &forward/4, self())
    pool = start_pool(context)
    assert Pitcrew.call!(pool, "add", [1, 2]) == 3

    start = prefix ++ [:call, :start]
    assert_receive {^start, %{system_time: _, monotonic_time: _}, %{pool: ^pool, tool_id: "add", protocol: :msgpack}}
    stop = prefix ++ [:call, :stop]
    assert_receive {^stop, measurements, %{pool: ^pool, tool_id: "add", worker: worker}}
    assert is_integer(worker)
    assert measurements.duration >= measurements.python
    assert measurements.python > 0
    assert measurements.queue >= 0
    assert measurements.bytes_in > 0 and measurements.bytes_out > 0
  end

  test "a call that returns an error is an exception", %{id: id, prefix: prefix} = context do
    event = prefix ++ [:call, :exception]
    :ok = Telemetry.attach(id, event, &forward/4, self())
    pool = start_pool(context)
    {:error, _} = Pitcrew.call(pool, "divide", [1, 0])
    assert_receive {^event, %{duration: _}, %{tool_id: "divide", error: %{kind: :tool_error}}}
  end

  test "a worker starts and stops", %{id: id, prefix: prefix} = context do
    [start, stop] = events = [prefix ++ [:worker, :start], prefix ++ [:worker, :stop]]
    :ok = Telemetry.attach_many(id, events, &forward/4, self())
    pool = start_pool(context)
    assert_receive {^start, %{duration: duration}, %{pool: ^pool, worker: worker}}
    assert duration > 0
    {:error, %{kind: :worker_exit}} = Pitcrew.call(pool, "die")
    assert_receive {^stop, %{lifetime: _, calls: _}, %{worker: ^worker, reason: {:signal, :sigkill}}}, 5_000
    assert_receive {^start, _, %{worker: next}} when next != worker, 5_000
  end

  test "what is wrong with the options of the default logger is an error" do
    assert {:error, %Pitcrew.Error{kind: :invalid_option}} = Telemetry.attach_default_logger(slow: "1s")
  end

  test "an id is taken once, listed, and detached", %{id: id, prefix: prefix} do
    event = prefix ++ [:call, :stop]
    assert :ok = Telemetry.attach(id, event, &forward/4, nil)
    assert {:error, :already_exists} = Telemetry.attach(id, event, &forward/4, nil)
    assert [%{id: ^id, event_name: ^event}] = Telemetry.list_handlers(prefix)
    assert :ok = Telemetry.detach(id)
    assert {:error, :not_found} = Telemetry.detach(id)
    assert [] = Telemetry.list_handlers(prefix)
  end
end
