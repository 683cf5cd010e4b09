defmodule Pitcrew.LoadTest do
  @moduledoc """
  Load tests: calls at a fixed rate for a while, and exactly how long they took.

      iex> [result] =
      ...>   Pitcrew.LoadTest.run_benchmark(
      ...>     pool: MyApp.Py,
      ...>     scenarios: [%{name: "add", tools: [{"add", [1, 2]}], calls_per_second: 100, duration: 0.2, warmup: 0}]
      ...>   )
      iex> {result.scenario, result.calls, result.errors, result.p99_latency >= result.p50_latency}
      {"add", 20, 0, true}

  Calls start when they are due, whatever has become of those before them, each in a process of its own; the latency of a call counts from
  when it was due. So a stall is not hidden: it is part of every call that was due in it. `mix pitcrew.loadtest` does the same from the command
  line, with reports as JSON and HTML, and `docs/loadtest.md` says how to read the figures.
  """

  alias Pitcrew.Error

  @typedoc """
  A scenario, or the name of one that `scenarios/0` has.

    * `:name` (required)
    * `:calls_per_second` (required) - a number above 0, at most 100 000
    * `:duration` - seconds that are measured (default 60), after `:warmup` seconds at the same rate that are not (default 2)
    * `:tools` - how many tools of the load test's own, which return their argument (default 1); or tools of your pool, names or
      `{tool, args}`. One of them is chosen at random for each call
    * `:calls` - instead of `:tools`, a function from the number of a call, from 1, to `{tool, args}`
    * `:payload_size` - of the argument of the load test's tools, and of tools that are given by name alone: `:small` (32 bytes, default),
      `:medium` (8 KiB), `:large` (1 MiB) or a number of bytes. A tool of yours that is given by name alone has no argument without it
  """
  @type scenario :: map() | keyword() | String.t() | atom()

  @typedoc """
  What became of a scenario. Latencies are milliseconds, as floats; failed calls count with the time until their error,
  but for those that were not made.

    * `:scenario`, `:pool`, `:tools` (how many), `:calls_per_second`, `:duration`, `:warmup`, `:payload_bytes`, `:started_at` (Unix time)
    * `:calls`, `:ok`, `:errors`; `:error_kinds`, maps with `:kind`, `:count` and an example's `:message`
    * `:throughput` - calls a second that ended well
    * `:avg_latency`, `:min_latency`, `:p50_latency`, `:p90_latency`, `:p99_latency`, `:p999_latency`, `:max_latency`
    * `:percentiles` - maps with `:percent` and `:latency`; `:series` - for intervals of `:interval` seconds, maps with `:at`, `:calls`, `:errors`,
      `:p50`, `:p99`, `:max`
    * `:avg_late`, `:max_late` - how late calls were started: what the measurement itself has added
    * `:faults` - `nil`, or a map with `:kills`, `:at` (milliseconds), `:retries` of so many calls (`:retried`), `:healthy` (whether the pool had
      all its workers again within ten seconds) and `:recovery` (after how many milliseconds)
  """
  @type result :: %{atom() => term()}

  @typedoc """
  Options.

    * `:scenarios` - default: `scenarios/0`
    * `:duration`, `:warmup`, `:tools`, `:calls` - the same for all of them
    * `:pool` - a pool of yours that runs. By default each scenario has one of its own, with `:pool_options`
    * `:call_options` - of each call, such as `:timeout` and `:retry`
    * `:faults` - `true` or `[every: milliseconds]` (1 000): a worker is killed so often while calls are measured
    * `:max_running` - calls that may run at once (20 000); what is due beyond that is an error of the kind `:not_made`
    * `:seed` - which tools are chosen (0)
    * `:progress` - `true` shows on standard error how far it is, if that is a terminal; or a function that is called with a map ten times a second
  """
  @type option :: {atom(), term()}

  @doc """
  Runs scenarios, one after the other, by default the three of the performance guide, which takes three minutes.

  First each tool is called once. Raises `Pitcrew.Error` when one of these calls fails, there is no such pool, or an option is wrong.
  """
  @spec run_benchmark([option()] | map()) :: [result()]
  def run_benchmark(opts \\ []) do
    case :pitcrew_load.run(opts) do
      {:ok, results} -> results
      {:error, error} -> raise Error.from(error)
    end
  end

  @doc """
  The scenarios of the performance guide.

      iex> Enum.map(Pitcrew.LoadTest.scenarios(), & &1.name)
      ["high_frequency_single", "multi_tool_moderate", "large_payload"]
  """
  @spec scenarios() :: [map()]
  defdelegate scenarios, to: :pitcrew_load

  @doc """
  What is beyond a limit in results: `:avg_ms`, `:p50_ms`, `:p90_ms`, `:p99_ms`, `:p999_ms`, `:max_ms` and `:errors` above it, `:throughput` below it.
  A pool that did not recover from faults always is.

      iex> result = %{scenario: "add", p99_latency: 130.0, errors: 0, faults: nil}
      iex> Pitcrew.LoadTest.check([result], p99_ms: 100, errors: 0)
      [%{scenario: "add", what: :p99_ms, limit: 100, seen: 130.0}]
  """
  @spec check([result()], keyword(number()) | %{atom() => number()}) :: [map()]
  def check(results, limits), do: :pitcrew_load.check(results, Map.new(limits))

  @doc "The results as a table for people."
  @spec table([result()]) :: String.t()
  def table(results), do: results |> :pitcrew_load_text.table() |> to_string()

  @doc "The results, and what was beyond a limit, as JSON."
  @spec json([result()], [map()]) :: binary()
  def json(results, violations \\ []), do: :pitcrew_load.json(results, violations)

  @doc "The results, and what was beyond a limit, as an HTML page with curves; it needs no network."
  @spec html([result()], [map()]) :: binary()
  def html(results, violations \\ []), do: :pitcrew_load_page.page(results, violations)
end
