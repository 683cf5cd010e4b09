defmodule Mix.Tasks.Pitcrew.Loadtest do
  @shortdoc "Runs a load test of a pool of Python workers"

  @moduledoc """
  Runs a load test: calls at a fixed rate for a while, and exactly how long they took.

      mix pitcrew.loadtest
      mix pitcrew.loadtest --scenario high_frequency_single --duration 10 --p99-ms 100 --errors 0
      mix pitcrew.loadtest --rate 500 --duration 30 --faults --retry 2 --html report.html
      mix pitcrew.loadtest --pool MyApp.Py --call '{"search", %{query: "beam"}}' --rate 50 --json result.json

  Without `--pool` each scenario has a pool and tools of its own; with it the application is started, and calls go to its pool. `Pitcrew.LoadTest`
  has the same as a function.

  What is called:

    * `--scenario NAME` - one of high_frequency_single, multi_tool_moderate, large_payload; may be given several times (default: all three)
    * `--rate N` - a scenario of your own instead, with so many calls a second; `--tools N`, `--payload small|medium|large|BYTES`
    * `--duration S`, `--warmup S` - seconds, for all scenarios
    * `--pool NAME` - a pool of your application, and `--call TERM`, a tool and its arguments as an Elixir term; may be given several times, then one
      of them is chosen at random for each call
    * `--size`, `--pipeline`, `--concurrency`, `--protocol`, `--python` - options of the load test's own pools
    * `--timeout MS`, `--retry N` - of each call
    * `--faults` - kills a worker every second, or `--faults-every MS`

  What may be:

    * `--avg-ms`, `--p50-ms`, `--p90-ms`, `--p99-ms`, `--p999-ms`, `--max-ms` - latencies in milliseconds
    * `--errors N` - calls that may fail in each scenario (default 0; with faults any number)
    * `--throughput N` - calls a second that must end well

  The exit status is 1 when something was beyond its limit, or the pool did not recover from the faults.

  Reports: `--json FILE` (`-` for standard output, instead of the table), `--html FILE`. On a terminal a line shows how far it is; `--no-progress` leaves it out.
  """

  use Mix.Task

  alias Pitcrew.LoadTest

  @floats for name <- ~w(avg_ms p50_ms p90_ms p99_ms p999_ms max_ms throughput)a, do: {name, :float}
  @pool [size: :integer, pipeline: :integer, concurrency: :integer, protocol: :string, python: :string]
  @switches [
              scenario: :keep,
              rate: :float,
              tools: :integer,
              payload: :string,
              duration: :float,
              warmup: :float,
              pool: :string,
              call: :keep,
              timeout: :integer,
              retry: :integer,
              faults: :boolean,
              faults_every: :integer,
              errors: :integer,
              json: :string,
              html: :string,
              progress: :boolean
            ] ++ @floats ++ @pool

  @impl true
  def run(args) do
    opts = Mix.Pitcrew.options(args, "pitcrew.loadtest", @switches)
    start(opts[:pool])
    results = measure(options(opts))
    violations = LoadTest.check(results, limits(opts))
    report(results, violations, opts)
    if violations != [], do: exit({:shutdown, 1})
  end

  defp start(nil) do
    Mix.Task.run("app.config")
    {:ok, _} = Application.ensure_all_started(:pitcrew)
  end

  defp start(_), do: Mix.Task.run("app.start")

  defp measure(options) do
    LoadTest.run_benchmark(options)
  rescue
    error in Pitcrew.Error -> Mix.raise(Exception.message(error))
  end

  defp options(opts) do
    [
      scenarios: scenarios(opts),
      duration: opts[:duration],
      warmup: opts[:warmup],
      pool: opts[:pool] && Mix.Pitcrew.name(opts[:pool]),
      pool_options: pool_options(opts),
      call_options: Keyword.take(opts, [:timeout, :retry]),
      faults: faults(opts),
      progress: Keyword.get(opts, :progress, true)
    ] ++ calls(for {:call, call} <- opts, do: term(call))
  end

  defp scenarios(opts) do
    case {opts[:rate], for({:scenario, name} <- opts, do: name)} do
      {nil, []} ->
        LoadTest.scenarios()

      {nil, names} ->
        names

      {rate, []} ->
        own = %{name: "own", calls_per_second: rate, payload_size: payload(opts[:payload])}
        [if(opts[:tools], do: Map.put(own, :tools, opts[:tools]), else: own)]

      {_, _} ->
        Mix.raise("--rate describes a scenario of your own, so it does not go with --scenario")
    end
  end

  defp payload(nil), do: nil
  defp payload(name) when name in ~w(small medium large), do: String.to_atom(name)

  defp payload(bytes) do
    case Integer.parse(bytes) do
      {bytes, ""} -> bytes
      _ -> Mix.raise("--payload is small, medium, large or a number of bytes, not #{bytes}")
    end
  end

  defp calls([]), do: []
  defp calls(calls), do: [tools: calls]

  # An expression of whoever runs the task, as with `mix run -e`.
  defp term(call) do
    case Code.eval_string(call) do
      {{tool, args}, _} -> {tool, args}
      {tool, _} -> {tool, []}
    end
  end

  defp pool_options(opts) do
    for {name, value} <- Keyword.take(opts, Keyword.keys(@pool)),
        do: {name, if(name == :protocol, do: String.to_atom(value), else: value)}
  end

  defp faults(opts), do: if(opts[:faults_every], do: [every: opts[:faults_every]], else: opts[:faults] || false)

  # Calls that fail are not what anybody wants, unless workers are killed to see it.
  defp limits(opts) do
    given = Keyword.take(opts, [:errors | Keyword.keys(@floats)])
    if faults(opts), do: given, else: Keyword.put_new(given, :errors, 0)
  end

  defp report(results, violations, opts) do
    if opts[:html], do: File.write!(opts[:html], LoadTest.html(results, violations))

    case opts[:json] do
      "-" ->
        IO.write(LoadTest.json(results, violations))

      file ->
        IO.write(LoadTest.table(results))
        if file, do: File.write!(file, LoadTest.json(results, violations))
    end

    IO.write(:stderr, :pitcrew_load_text.violations(violations))
  end
end
