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
end
