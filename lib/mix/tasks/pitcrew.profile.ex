defmodule Mix.Tasks.Pitcrew.Profile do
  @shortdoc "Profiles what Python does while a piece of Elixir runs"

  @moduledoc """
  Starts the application, runs a piece of Elixir, and shows what the workers of a pool did meanwhile.

      mix pitcrew.profile --pool MyApp.Py --eval 'for _ <- 1..100, do: Pitcrew.call(MyApp.Py, "summarize", [])'
      mix pitcrew.profile --pool MyApp.Py priv/profile_this.exs
      mix pitcrew.profile --pool Try.Py --tools my_tools --eval 'Pitcrew.call(Try.Py, "work", [])'

  The tables go to the terminal, and with them `functions.pstats` (for Python's `pstats`, snakeviz and the like), `stacks.collapsed` and
  `flamegraph.svg` into a folder.

    * `--pool` - the name of the pool
    * `--eval` - the Elixir to run, if it is not in a file
    * `--tools` - the pool is started with this tool module, which may be given more than once; without it the application has the pool
    * `--sample` - milliseconds between two looks at the stacks, by default 5; 0 for none
    * `--memory` - how many frames of each allocation are kept; without it memory is not looked at
    * `--no-functions` - without cProfile, which makes functions that are called often slower
    * `--sort` - `own` (default) or `total`: the functions that take the most time themselves, or with all that they call
    * `--top` - how many lines the tables have, by default 25
    * `--out` - the folder, by default `profile`
  """

  use Mix.Task

  alias Pitcrew.Profiler

  @switches [
    pool: :string,
    eval: :string,
    tools: :keep,
    sample: :integer,
    memory: :integer,
    functions: :boolean,
    top: :integer,
    sort: :string,
    out: :string
  ]

  @impl true
  def run(args) do
    {opts, files} = OptionParser.parse!(args, strict: @switches)
    pool = pool(opts[:pool])
    code = code(opts[:eval], files)
    Mix.Task.run("app.start")
    {:ok, _} = Application.ensure_all_started(:pitcrew)
    start_pool(pool, Keyword.get_values(opts, :tools))

    case Profiler.run(pool, options(opts), fn -> evaluate(code) end) do
      {:ok, _, profile} -> show(profile, opts[:out] || "profile")
      {:error, error} -> Mix.raise(Exception.message(error))
    end
  end

  defp pool(nil), do: Mix.raise("Which pool? --pool MyApp.Py")
  defp pool(name), do: Mix.Pitcrew.name(name)

  defp code(nil, [file]), do: {File.read!(file), file}
  defp code(text, []) when is_binary(text), do: {text, "--eval"}
  defp code(_, _), do: Mix.raise("What is to run? Either --eval CODE, or one file")

  defp start_pool(_, []), do: :ok

  defp start_pool(pool, tools) do
    case Pitcrew.start_pool(name: pool, tools: tools, cd: File.cwd!()) do
      {:ok, _} ->
        :ok

      {:error, {:already_started, _}} ->
        Mix.raise("The application has a pool #{inspect(pool)} already; without --tools that one is used")

      {:error, error} ->
        Mix.raise(Exception.message(error))
    end
  end

  defp options(opts) do
    sample = if opts[:sample] == 0, do: :none, else: opts[:sample] || 5
    given = Keyword.take(opts, [:functions, :memory, :top])
    [sample: sample, sort: sort(opts[:sort] || "own")] ++ given
  end

  defp sort("own"), do: :own
  defp sort("total"), do: :total
  defp sort(other), do: Mix.raise("--sort is own or total, not #{other}")

  defp evaluate({text, file}), do: Code.eval_string(text, [], file: file)

  defp show(profile, folder) do
    Mix.shell().info(Profiler.format(profile))

    case Profiler.write(profile, folder) do
      {:ok, paths} -> Mix.shell().info(["Written: ", Enum.join(paths, ", ")])
      {:error, {path, reason}} -> Mix.raise("#{path} cannot be written: #{:file.format_error(reason)}")
    end
  end
end
