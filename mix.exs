defmodule Mix.Tasks.Compile.PitcrewNative do
  @moduledoc false
  # C and the Python package, before anything that loads them. All flags are in c_src/Makefile.
  use Mix.Task.Compiler

  @impl true
  def run(_args) do
    python = python(System.get_env("PITCREW_PYTHON") || "python3")
    make = System.find_executable("make") || Mix.raise("Pitcrew's C parts are built with make, which is not installed")

    args = [
      "-s",
      "--no-print-directory",
      "-j#{System.schedulers_online()}",
      "-C",
      Path.join(__DIR__, "c_src"),
      "app",
      "PYTHON=#{python}"
    ]

    case System.cmd(make, args, into: IO.stream(), stderr_to_stdout: true) do
      {_, 0} ->
        # Mix linked priv into the build folder before compilers ran; in a fresh clone it was not there yet.
        Mix.Project.build_structure()
        {:ok, []}

      {_, status} ->
        Mix.raise("Pitcrew's C parts could not be built (make exited with status #{status}); its messages are above")
    end
  end

  # A path counts from the project that is compiled, which has Pitcrew as a dependency or is Pitcrew.
  defp python(name) do
    if String.contains?(name, "/"), do: Path.expand(name, Path.dirname(Mix.Project.deps_path())), else: name
  end
end

defmodule Pitcrew.MixProject do
  use Mix.Project

  # Version, description and start module are written once, for rebar3 and mix.
  app_file = Path.join(__DIR__, "src/pitcrew.app.src")
  @external_resource app_file
  {:ok, [{:application, :pitcrew, app}]} = :file.consult(app_file)
  @app app

  def project do
    [
      app: :pitcrew,
      version: to_string(@app[:vsn]),
      description: to_string(@app[:description]),
      elixir: "~> 1.14",
      start_permanent: Mix.env() == :prod,
      # Tests implement Pitcrew.Encoder for structs of their own.
      consolidate_protocols: Mix.env() != :test,
      compilers: [:pitcrew_native] ++ Mix.compilers(),
      erlc_options: [:debug_info],
      deps: deps(),
      package: package()
    ]
  end

  def application do
    [
      mod: @app[:mod],
      registered: @app[:registered],
      env: @app[:env],
      extra_applications:
        Enum.map(@app[:applications], &if(&1 in @app[:optional_applications], do: {&1, :optional}, else: &1))
    ]
  end

  # Everything builds without Hex; whether telemetry is there is asked when the application starts. Who has the other one has it compiled before
  # Pitcrew, which then has a page for it.
  defp deps do
    if Code.ensure_loaded?(Hex),
      do: [{:telemetry, "~> 1.0"}, {:phoenix_live_dashboard, "~> 0.8", optional: true}],
      else: []
  end

  defp package do
    [
      licenses: @app[:licenses],
      links: %{},
      files: ~w(c_src dashboard lib src python docs mix.exs rebar.config README.md CHANGELOG.md LICENSE)
    ]
  end
end
