defmodule Pitcrew.Profiler do
  @moduledoc """
  What Python does in the workers of a pool while a function runs: which functions take the time, which stacks are seen, which lines
  allocate memory. Nothing of it is there while nobody asks.

      iex> {:ok, result, profile} = Pitcrew.Profiler.run(MyApp.Py, [sample: 5], fn -> Pitcrew.call(MyApp.Py, "add", [1, 2]) end)
      iex> result
      {:ok, 3}
      iex> Enum.map(profile.functions, & &1.calls) |> Enum.all?(&(&1 > 0))
      true

  `mix pitcrew.profile` does it from a shell. `docs/profiling.md` says what is seen, and what is not.
  """

  @typedoc "For `mark/1`."
  @opaque handle :: pid()

  @typedoc "A function of Python, or one written in C, whose file is `\"~\"`. Times in microseconds: its own, and with all that it calls."
  @type function_row :: %{
          function: String.t(),
          file: String.t(),
          line: integer(),
          calls: integer(),
          primitive_calls: integer(),
          own_us: non_neg_integer(),
          total_us: non_neg_integer()
        }

  @typedoc "A line of Python, and what it has allocated that is there still; of `growth` the difference."
  @type place :: %{file: String.t(), line: integer(), bytes: integer(), blocks: integer()}

  @typedoc """
  What was seen. What was not asked for is `nil`.

    * `workers` - the operating-system pids of those that have a part in it
    * `missing` - those that have not, and why: `:busy` (it was in a call for longer than the option `:timeout`), `:gone` (it has ended),
      `:late` (it was started during the run), `:reserved` (it is an exclusive session's), `:refused` (another profiler is at work there), `:failed`
    * `functions`, `pstats` - the functions that take the most time, in the order of `sort`, and all of them as a file of Python's `pstats`
    * `samples`, `stacks`, `flame_graph` - how many stacks were seen, all of them in the collapsed format, and as an SVG
    * `memory` - bytes that were allocated during the run: `current`, `peak`, the lines that have the most `allocations`, and those with the most
      `growth` since the last mark
  """
  @type profile :: %{
          pool: atom(),
          duration_ms: non_neg_integer(),
          workers: [pos_integer()],
          missing: [%{worker: pos_integer(), reason: atom(), message: String.t()}],
          sort: :own | :total,
          functions: nil | [function_row()],
          pstats: nil | binary(),
          samples: nil | non_neg_integer(),
          stacks: nil | String.t(),
          flame_graph: nil | String.t(),
          memory: nil | %{current: integer(), peak: integer(), allocations: [place()], growth: [place()]}
        }

  @doc """
  Runs a function, and profiles the workers that the pool has meanwhile. The function has no argument, or one, for `mark/1`.

  Returns `{:ok, result, profile}`. What the function raises is raised, and nothing is left switched on; nor is it when the caller dies. An
  error means that the function was not called: an option is wrong, there is no such pool, or no worker could be profiled.

  Options:

    * `:functions` - whether calls and times of functions are counted, by cProfile (default `true`)
    * `:sample` - milliseconds between two looks at the stacks, or `:none` (default)
    * `:memory` - how many frames of each allocation tracemalloc keeps, or `:none` (default); 1 is enough for the lines
    * `:timeout` - milliseconds that a worker which is busy is waited for, at the beginning and at the end (default 5 000)
    * `:top` - how many functions, and lines, the tables have (default 25)
    * `:sort` - whether those functions come first that take the most time themselves, `:own` (default), or with all that they call, `:total`
  """
  @spec run(Pitcrew.pool(), keyword() | map(), (() -> result) | (handle() -> result)) ::
          {:ok, result, profile()} | {:error, Pitcrew.Error.t()}
        when result: term()
  def run(pool, options \\ [], fun) when is_function(fun, 0) or is_function(fun, 1) do
    with {:error, error} <- :pitcrew_profiler.run(pool, options, fun), do: {:error, Pitcrew.Error.from(error)}
  end

  @doc "From here on memory grows: the profile's `growth` is what has come since the last mark, or since the beginning."
  @spec mark(handle()) :: :ok
  defdelegate mark(handle), to: :pitcrew_profiler

  @doc "The profile as a text, for people."
  @spec format(profile()) :: String.t()
  def format(profile), do: profile |> :pitcrew_profiler.format() |> IO.chardata_to_string()

  @doc """
  Writes what there is into a folder, which it makes: `profile.txt` (`format/1`), `functions.pstats`, `stacks.collapsed`, `flamegraph.svg`.

  Returns their paths.
  """
  @spec write(profile(), Path.t()) :: {:ok, [Path.t()]} | {:error, {Path.t(), File.posix()}}
  def write(profile, folder) do
    case :pitcrew_profiler.write(profile, folder) do
      {:ok, paths} -> {:ok, Enum.map(paths, &IO.chardata_to_string/1)}
      {:error, {path, reason}} -> {:error, {IO.chardata_to_string(path), reason}}
    end
  end
end
