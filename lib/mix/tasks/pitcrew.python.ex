defmodule Mix.Tasks.Pitcrew.Python do
  @shortdoc "Builds Pitcrew's Python part for an interpreter"

  @moduledoc """
  Builds the C part of Pitcrew's Python package for one more interpreter, beside those that are built already.

      mix pitcrew.python --python /opt/python3.12/bin/python3
      mix pitcrew.python --python .venv/bin/python

  `--python` takes a path or a command; without it, the environment variable `PITCREW_PYTHON`, else `python3`, says which.
  The interpreter's headers must be installed (Debian: python3-dev). Needs `make` and a C compiler.
  """

  use Mix.Task

  @impl true
  def run(args) do
    opts = Mix.Pitcrew.options(args, "pitcrew.python", python: :string)
    Mix.Task.run("compile")
    python = interpreter(opts[:python] || System.get_env("PITCREW_PYTHON") || "python3")
    command("make", ["-s", "--no-print-directory", "-C", Path.join(source(), "c_src"), "python", "PYTHON=#{python}"])
    command(python, ["-c", "import pitcrew._core as c; print('Built', c.__file__)"], package_path())
  end

  defp interpreter(name) do
    path = if String.contains?(name, "/"), do: Path.expand(name), else: System.find_executable(name)
    if path && File.exists?(path), do: path, else: Mix.raise("There is no Python interpreter #{inspect(name)}")
  end

  defp source do
    if Mix.Project.config()[:app] == :pitcrew, do: File.cwd!(), else: Map.fetch!(Mix.Project.deps_paths(), :pitcrew)
  end

  defp package_path, do: [{"PYTHONPATH", Application.app_dir(:pitcrew, "priv/python")}]

  defp command(name, args, env \\ []) do
    case System.cmd(name, args, into: IO.stream(), stderr_to_stdout: true, env: env) do
      {_, 0} -> :ok
      {_, status} -> Mix.raise("#{Path.basename(name)} exited with status #{status}; its messages are above")
    end
  end
end
