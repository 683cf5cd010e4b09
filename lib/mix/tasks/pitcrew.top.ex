defmodule Mix.Tasks.Pitcrew.Top do
  @shortdoc "Shows pools and their workers live"

  @moduledoc """
  Shows pools and their workers as a table, once a second, until Ctrl-C.

      mix pitcrew.top --node my_app@myhost --cookie secret
      mix pitcrew.top --node my_app@myhost --once

  Without `--node` it starts the application of this project, and shows the pools of that.

    * `--node` - the name of a running node, long or short
    * `--cookie` - the cookie of that node (default: what is in `~/.erlang.cookie`). Whoever may see the processes of this machine sees it
    * `--pool` - a name of a pool as Elixir writes it, `MyApp.Py`; may be given more than once (default: all pools)
    * `--interval` - seconds between two tables, over which rates and percentiles are (default 1)
    * `--once` - one table, after one interval, without control characters

  `docs/dashboard.md` says what the columns are.
  """

  use Mix.Task

  @switches [node: :string, cookie: :string, pool: :keep, interval: :float, once: :boolean]

  @impl true
  def run(args) do
    opts = Mix.Pitcrew.options(args, "pitcrew.top", @switches)
    Mix.Task.run(if(opts[:node], do: "compile", else: "app.start"))

    with {:error, error} <- :pitcrew_top.run(Map.new(options(opts))), do: Mix.raise(error.message)
  end

  # What names a node becomes an atom: whoever types it is at this machine.
  defp options(opts) do
    pools = for {:pool, name} <- opts, do: Mix.Pitcrew.name(name)

    [
      interval: max(1, round(1000 * (opts[:interval] || 1.0))),
      times: if(opts[:once], do: 1, else: :infinity),
      pools: if(pools == [], do: :all, else: pools)
    ] ++ for {key, text} when key in [:node, :cookie] <- opts, do: {key, String.to_atom(text)}
  end
end
