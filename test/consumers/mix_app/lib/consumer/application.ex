defmodule Consumer.Application do
  use Application

  @impl true
  def start(_type, _args) do
    python = Application.app_dir(:consumer, "priv/python")

    children = [
      {Pitcrew.Pool, name: Consumer.Py, tools: ["consumer_tools"], cd: python, size: 2},
      {Task, &Consumer.main/0}
    ]

    Supervisor.start_link(children, strategy: :one_for_one, name: Consumer.Supervisor)
  end
end
