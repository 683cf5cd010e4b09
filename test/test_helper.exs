# The pool of the doctests. Tests that need another start one of their own.
{:ok, _} =
  Supervisor.start_link(
    [{Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"], cd: Path.join(__DIR__, "elixir"), size: 2, allow_eval: true}],
    strategy: :one_for_one
  )

# The adapter's tests need DSPy, which the requirements have wherever it can be had.
python = System.get_env("PITCREW_PYTHON") || "python3"
{there_is, 0} = System.cmd(python, ["-c", "import sys; print((3, 10) <= sys.version_info < (3, 16))"])

if String.trim(there_is) == "True" do
  ExUnit.start()
else
  IO.puts("There is no DSPy for this version of Python: its tests are left out.")
  ExUnit.start(exclude: [:dspy])
end
