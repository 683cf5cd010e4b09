# 1,797 handwritten digits, 32 Elixir processes, 4 Python workers, one of which is killed halfway.
#
#     mix run examples/digits/digits.exs
#
# Python is $PITCREW_PYTHON, or .venv/bin/python; it needs scikit-learn. Exit status 0 means that every check held.
for file <- ~w(images crowd events report), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Digits do
  alias Digits.{Crowd, Events, Images, Report}

  @pool Digits.Py
  @folder __DIR__
  @workers 4
  # The two ways an image crosses.
  @runs [{"as lists", &Function.identity/1}, {"as bytes", &__MODULE__.bytes/1}]

  def bytes(pixels), do: Pitcrew.bytes(:erlang.list_to_binary(pixels))

  def main do
    python = System.get_env("PITCREW_PYTHON") || Path.expand(".venv/bin/python")
    images = Images.read(python)

    IO.puts(
      "Pitcrew: #{Report.count(length(images))} handwritten digits, #{Crowd.processes()} Elixir processes, #{@workers} Python workers"
    )

    table = Events.attach()
    started = start_pool(python)
    held_out = MapSet.new(Pitcrew.call!(@pool, "held_out"))
    Events.take(table)
    runs = for {name, argument} <- @runs, do: run(name, argument, images, table)
    reference = reference(python)

    introduce(images, held_out, started, reference, runs)
    compare(images, held_out, reference, runs)
    kill(runs)
    telemetry(runs)
    if Report.checks(checks(images, held_out, reference, runs)), do: :ok, else: exit({:shutdown, 1})
  end

  defp start_pool(python) do
    pool =
      {Pitcrew.Pool, name: @pool, tools: ["digits_tools"], python: python, cd: @folder, size: @workers, start: :fork}

    start = System.monotonic_time(:nanosecond)
    {:ok, _supervisor} = Supervisor.start_link([pool], strategy: :one_for_one)
    System.monotonic_time(:nanosecond) - start
  end

  # Every image through the pool, and what came of it.
  defp run(name, argument, images, table) do
    crowd = Crowd.classify(@pool, images, argument)
    replacement = Events.replacement(crowd.victim)
    events = Events.take(table)
    digits = for {index, {:ok, %{"digit" => digit}}, _} <- crowd.answers, into: %{}, do: {index, digit}
    retried = for {_, image, %{retries: retries}} <- events, retries > 0, do: image
    Map.merge(crowd, %{name: name, replacement: replacement, events: events, digits: digits, retried: retried})
  end

  # The same model in an ordinary Python process.
  defp reference(python) do
    env = [{"OMP_NUM_THREADS", "1"}]
    {output, 0} = System.cmd(python, ["reference.py"], cd: @folder, env: env)
    {digits, ["seconds " <> seconds]} = output |> String.split("\n", trim: true) |> Enum.split(-1)

    %{
      digits: digits |> Enum.map(&String.to_integer/1) |> Enum.with_index() |> Map.new(fn {digit, i} -> {i, digit} end),
      per_second: round(length(digits) / String.to_float(seconds))
    }
  end

  # ---- What is compared

  defp answered_once(run), do: Enum.count(frequencies(run), fn {_, times} -> times == 1 end)
  defp frequencies(run), do: Enum.frequencies_by(run.answers, &elem(&1, 0))
  defp equal(run, reference), do: Enum.count(reference.digits, fn {index, digit} -> run.digits[index] == digit end)

  defp accuracy(run, images, held_out) do
    unseen = Enum.filter(images, &(&1.index in held_out))
    Enum.count(unseen, &(run.digits[&1.index] == &1.label)) / length(unseen)
  end

  defp checks(images, held_out, reference, runs) do
    total = length(images)

    [
      {"the file has 1,797 images, a plain Python run as many answers",
       total == 1797 and map_size(reference.digits) == total}
    ] ++
      Enum.flat_map(runs, fn run ->
        [
          {"each image was answered exactly once", answered_once(run) == total and length(run.answers) == total},
          {"no call failed", map_size(run.digits) == total},
          {"every answer is that of plain Python", equal(run, reference) == total},
          {"accuracy on images the model has not seen is at least 95 %", accuracy(run, images, held_out) >= 0.95},
          {"no message was left in a caller's mailbox", run.left_over == 0},
          {"the killed worker was seen to die of SIGKILL", run.replacement.reason == {:signal, :sigkill}},
          {"its slot was filled by another process", run.replacement.new != run.victim},
          {"telemetry saw every call end once", count(run, [:pitcrew, :call, :stop]) == total}
        ]
        |> Enum.map(fn {text, held?} -> {"#{run.name}: #{text}", held?} end)
      end)
  end

  # ---- What is printed

  defp introduce(images, held_out, started, reference, runs) do
    Report.pictures(Enum.take(images, 8), hd(runs).digits)
    IO.puts("")
    seen = length(images) - MapSet.size(held_out)
    Report.fact("images", "8 x 8 pixels, read by Elixir from scikit-learn's digits.csv.gz")

    Report.fact(
      "model",
      "HistGradientBoostingClassifier, trained once on #{Report.count(seen)} images, before the fork"
    )

    Report.fact("pool", "ready after #{Report.seconds(started)}, training included")

    Report.fact(
      "reference",
      "the same model in plain Python, one process: #{Report.count(reference.per_second)} images per second"
    )
  end

  defp compare(images, held_out, reference, runs) do
    IO.puts("")
    row = fn name, fun -> Report.row(name, Enum.map(runs, fun)) end
    row.("images sent", & &1.name)
    row.("answered exactly once", &Report.count(answered_once(&1)))
    row.("same answer as plain Python", &Report.count(equal(&1, reference)))
    row.("accuracy on the #{MapSet.size(held_out)} not trained on", &Report.percent(accuracy(&1, images, held_out)))
    row.("calls per second", &Report.count(round(length(&1.answers) * 1.0e9 / &1.nanoseconds)))
    row.("a call, p50 / p99", &Report.p50_p99(Enum.map(&1.answers, fn {_, _, duration} -> duration end)))
  end

  defp kill(runs) do
    Report.heading("The kill, halfway")
    row = fn name, fun -> Report.row(name, Enum.map(runs, fun)) end
    row.("worker killed by its pid", &"#{&1.victim}")
    row.("what Pitcrew saw", &inspect(&1.replacement.reason))
    row.("call retried on another worker", &Report.retried(&1.retried))
    row.("slot was empty for", &Report.ms(&1.replacement.empty))
    row.("worker that has the slot now", &"#{&1.replacement.new}")
  end

  defp telemetry(runs) do
    Report.heading("What a telemetry handler saw")
    row = fn name, fun -> Report.row(name, Enum.map(runs, fun)) end

    for event <- [[:call, :start], [:call, :stop], [:call, :exception], [:worker, :stop], [:worker, :start]] do
      row.(inspect([:pitcrew | event]), &Report.count(count(&1, [:pitcrew | event])))
    end

    row.("call: waiting for a worker, p50 / p99", &Report.p50_p99(durations(&1, fn m -> m.queue end)))
    row.("call: in the Python tool", &Report.p50_p99(durations(&1, fn m -> m.python end)))
    row.("call: all the rest", &Report.p50_p99(durations(&1, fn m -> m.duration - m.queue - m.python end)))
    row.("call: bytes there / back, mean", &"#{mean(&1, :bytes_out)} / #{mean(&1, :bytes_in)}")
  end

  defp count(run, event), do: Enum.count(run.events, &(elem(&1, 0) == event))

  defp stops(run), do: for({[:pitcrew, :call, :stop], _, measurements} <- run.events, do: measurements)
  defp durations(run, fun), do: Enum.map(stops(run), &System.convert_time_unit(fun.(&1), :native, :nanosecond))
  defp mean(run, key), do: round(Enum.sum(Enum.map(stops(run), & &1[key])) / max(1, length(stops(run))))
end

Digits.main()
