defmodule Pitcrew.Dashboard do
  @moduledoc """
  A page that shows the pools of this VM live, and replaces workers when it is told to.

      children = [
        {Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"]},
        {Pitcrew.Dashboard, port: 4040}
      ]

  Open the address that the log has when it starts.

    * `:port` - default 4040; 0 is any that is free, see `port/1`
    * `:ip` - where it listens (default `{127, 0, 0, 1}`). Whoever can connect to a loopback address may look; elsewhere nothing is
      shown without the token
    * `:token` - a binary of at least 16 bytes (default: a random one, in the log). Whoever has it may change things
    * `:hosts` - names of hosts by which browsers reach the page, besides `localhost` and IP addresses (default none)
    * `:pools` - a list of names, for a part of the pools (default `:all`)

  `docs/dashboard.md` says what is on the page and who may do what. In a terminal, `mix pitcrew.top` shows the same.
  """

  alias Pitcrew.Error

  @type options :: keyword() | map()

  @doc "A child specification for `Supervisor`."
  @spec child_spec(options()) :: Supervisor.child_spec()
  def child_spec(opts), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [opts]}, type: :supervisor}

  @doc "Starts the page."
  @spec start_link(options()) :: {:ok, pid()} | {:error, Error.t() | term()}
  def start_link(opts \\ []) do
    case :pitcrew_dashboard.start_link(opts) do
      {:error, %{kind: _} = error} -> {:error, Error.from(error)}
      result -> result
    end
  end

  @doc "Where it listens."
  @spec port(pid()) :: :inet.port_number()
  defdelegate port(dashboard), to: :pitcrew_dashboard

  @doc "The address of the page, with the token in it: whoever opens it may change things."
  @spec url(pid()) :: String.t()
  def url(dashboard), do: dashboard |> :pitcrew_dashboard.url() |> IO.chardata_to_string()
end
