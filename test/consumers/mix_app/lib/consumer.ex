defmodule Consumer do
  @moduledoc "What a first user does: call a tool, watch it through telemetry, look at an error. Prints CONSUMER OK."

  def main do
    check()
    IO.puts("CONSUMER OK")
    System.stop(0)
  rescue
    error ->
      IO.puts(Exception.format(:error, error, __STACKTRACE__))
      System.stop(1)
  end

  defp check do
    me = self()
    handler = fn event, measurements, metadata, to -> send(to, {event, measurements, metadata}) end
    :ok = Pitcrew.Telemetry.attach("consumer", [:pitcrew, :call, :stop], handler, me)

    {:ok, %{"sum" => 3, "who" => "Zoë"}} = Pitcrew.call(Consumer.Py, "report", [1, 2, "Zoë"])

    receive do
      {[:pitcrew, :call, :stop], %{duration: duration}, %{tool_id: "report"}} when duration > 0 -> :ok
    after
      5_000 -> raise "no telemetry event came"
    end

    {:error, %Pitcrew.Error{kind: :tool_error, type: "LookupError"} = error} = Pitcrew.call(Consumer.Py, "fail")
    true = Exception.message(error) =~ "consumer_tools.py"
    [_ | _] = Pitcrew.Telemetry.list_handlers([:pitcrew])
    :ok = Pitcrew.Telemetry.detach("consumer")
  end
end
