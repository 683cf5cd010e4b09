unless Code.ensure_loaded?(Telemetry.Metrics) do
  defmodule Telemetry.Metrics do
    # A stand-in for the library's module: it keeps what it is given.
    for kind <- [:counter, :sum, :last_value, :summary] do
      def unquote(kind)(name, opts) do
        {event_name, [measurement]} = Enum.split(name, -1)
        Map.merge(%{event_name: event_name, measurement: measurement, tag_values: nil}, Map.new(opts))
      end
    end
  end
end

defmodule Pitcrew.MetricsTest do
  use ExUnit.Case, async: true
  doctest Pitcrew.Metrics

  test "an endpoint under a supervisor answers, and what is wrong with its options is an error" do
    endpoint = start_supervised!({Pitcrew.Metrics, port: 0, pools: [MyApp.Py]})
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, Pitcrew.Metrics.port(endpoint), [:binary, active: false])
    :ok = :gen_tcp.send(socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "HTTP/1.1 200 OK\r\n" <> rest = read_all(socket)
    assert rest =~ ~s(pitcrew_workers{pool="Elixir.MyApp.Py",state="idle"})
    assert String.ends_with?(rest, "# EOF\n")
    assert {:error, %Pitcrew.Error{kind: :invalid_option}} = Pitcrew.Metrics.start_link(port: -1)
  end

  defp read_all(socket) do
    case :gen_tcp.recv(socket, 0, 10_000) do
      {:ok, data} -> data <> read_all(socket)
      {:error, :closed} -> ""
    end
  end

  test "what is wrong is raised" do
    assert_raise Pitcrew.Error, fn -> Pitcrew.stats(MyApp.Nobody) end
    start_supervised!({Pitcrew.Pool, name: MyApp.Uncounted, size: 1, metrics: false})
    assert_raise Pitcrew.Error, ~r/counts nothing/, fn -> Pitcrew.stats(MyApp.Uncounted) end
  end

  test "definitions name events and keys that there are" do
    events = Map.new(:pitcrew_events.all(), fn event -> {event.name, event} end)
    keys = fn event, what -> for key <- event[what], do: elem(key, 0) end
    definitions = Pitcrew.Metrics.definitions([:my, :own])
    assert length(definitions) > 15

    for %{event_name: [:my, :own | event_name], measurement: measurement, tags: tags} <- definitions do
      event = Map.fetch!(events, event_name)
      # The library has a function in its place where a unit is converted.
      assert is_function(measurement) or measurement in keys.(event, :measurements)
      assert tags -- keys.(event, :metadata) == []
    end

    [readable] = for %{event_name: [_, _, :worker, :stop], tag_values: readable} <- definitions, do: readable
    assert readable.(%{reason: {:signal, :sigkill}}) == %{reason: "{:signal, :sigkill}"}
  end
end
