defmodule Pitcrew.Guide.Support do
  @moduledoc "What the tests of the guide's code blocks share: pools with the tools of this folder, events, and calls that wait for each other."

  import ExUnit.Callbacks, only: [on_exit: 1, start_supervised!: 1]

  @doc "The options of a pool with these tools."
  def options(options), do: Keyword.merge([tools: ["guide_tools"], cd: __DIR__], options)

  @doc "Starts one, which ends with the test; returns its name."
  def start_pool(options) do
    name = :"guide_pool_#{System.unique_integer([:positive])}"
    start_supervised!({Pitcrew.Pool, options([name: name] ++ options)})
    name
  end

  @doc "Sends `{name, measurements, metadata}` to the test for each event of a prefix; the name is what follows that."
  def listen(prefix, names) do
    id = make_ref()

    :ok =
      Pitcrew.Telemetry.attach_many(id, Enum.map(names, &(prefix ++ &1)), &__MODULE__.tell/4, {self(), length(prefix)})

    on_exit(fn -> Pitcrew.Telemetry.detach(id) end)
  end

  @doc false
  def tell(event, measurements, metadata, {test, length}),
    do: send(test, {Enum.drop(event, length), measurements, metadata})

  @doc "A function for the tool `meet`: it tells the test that it is there, and stays until `let_go/1`."
  def arrive do
    test = self()

    fn ->
      send(test, {:arrived, self()})
      receive do: (:go -> :ok)
    end
  end

  @doc "Waits until so many are there at once; returns their processes."
  def all_there(count) do
    for _ <- 1..count//1 do
      receive do
        {:arrived, pid} -> pid
      after
        20_000 -> raise "not all have arrived"
      end
    end
  end

  def let_go(pids), do: Enum.each(pids, &send(&1, :go))
end
