defmodule Mix.Tasks.Pitcrew.Doctor do
  @shortdoc "Looks whether all that Pitcrew needs is there"

  @moduledoc """
  Looks whether all that Pitcrew needs is there, and says what to do about what is not.

      mix pitcrew.doctor
      mix pitcrew.doctor --start --json
      mix pitcrew.doctor --python .venv/bin/python

  It looks at what Pitcrew was built with and whether it could be built again; at the Python interpreter (its version, its headers, Pitcrew's C part for
  it); at what the system allows: open files, processes, memory, shared memory, the system calls that are needed, the folder for sockets, huge pages; and at
  the pools that run, by the points of a production checklist. `docs/doctor.md` explains the lines.

    * `--python PATH` - the interpreter to look at, may be given several times (default: those of the pools that run; if none does, the environment variable
      `PITCREW_PYTHON`, else `python3`)
    * `--start` - starts the application first, so that its pools are looked at, too
    * `--json` - JSON instead of lines

  The exit status is 1 if something has to be repaired (`fail`). In a node that runs, a release for one, the same is
  `bin/my_app rpc ":pitcrew_doctor.print()"`.
  """

  use Mix.Task

  @impl true
  def run(args) do
    opts = Mix.Pitcrew.options(args, "pitcrew.doctor", python: :keep, start: :boolean, json: :boolean)
    start(opts[:start])
    checks = :pitcrew_doctor.run(options(for {:python, python} <- opts, do: python))
    IO.write(if opts[:json], do: :pitcrew_doctor.json(checks), else: :pitcrew_doctor.format(checks))
    if :pitcrew_doctor.worst(checks) == :fail, do: exit({:shutdown, 1})
  end

  defp start(true), do: Mix.Task.run("app.start")

  # What cannot start is what somebody wants to know about.
  defp start(_) do
    Mix.Task.run("app.config")
    Application.ensure_all_started(:pitcrew)
  end

  defp options([]), do: %{}
  defp options(pythons), do: %{python: pythons}
end
