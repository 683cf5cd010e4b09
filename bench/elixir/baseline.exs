defmodule Bench.Baseline do
  @moduledoc """
  A bridge as a user would write it: one Elixir port with `packet: 4`, MessagePack in plain Elixir
  here and in the msgpack package there. The caller owns the port, so no server process is in the
  way; a bridge for many callers would have one, and be slower.
  """

  alias Bench.MessagePack

  def start(python, script) do
    Port.open({:spawn_executable, python}, [:binary, packet: 4, args: [script]])
  end

  def call(port, tool, args) do
    id = System.unique_integer([:positive])
    Port.command(port, MessagePack.encode([id, tool, args]))

    receive do
      {^port, {:data, reply}} ->
        [^id, value] = MessagePack.decode(reply)
        {:ok, value}
    end
  end

  def stop(port), do: Port.close(port)

  defmodule Server do
    @moduledoc "A port belongs to one process; so for many callers there is a server in front of each."
    use GenServer

    def start_link(python, script), do: GenServer.start_link(__MODULE__, {python, script})

    def call(server, tool, args), do: GenServer.call(server, {tool, args}, :infinity)

    def os_pid(server), do: GenServer.call(server, :os_pid)

    @impl true
    def init({python, script}), do: {:ok, Bench.Baseline.start(python, script)}

    @impl true
    def handle_call({tool, args}, _from, port), do: {:reply, Bench.Baseline.call(port, tool, args), port}
    def handle_call(:os_pid, _from, port), do: {:reply, port |> Port.info(:os_pid) |> elem(1), port}
  end
end
