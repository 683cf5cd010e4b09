# The pool of the doctests. Tests that need another start one of their own.
{:ok, _} =
  Supervisor.start_link(
    [{Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"], cd: Path.join(__DIR__, "elixir"), size: 2, allow_eval: true}],
    strategy: :one_for_one
  )

ExUnit.start()
