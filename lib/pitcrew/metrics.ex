defmodule Pitcrew.Metrics do
  @moduledoc """
  What pools do, in numbers: `Pitcrew.stats/1` for people, and for Prometheus an endpoint in your own supervision tree.

      children = [
        {Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"]},
        {Pitcrew.Metrics, port: 9568}
      ]

  `GET http://127.0.0.1:9568/metrics` is answered in the OpenMetrics text format by the HTTP server of OTP's application `:inets`.

    * `:port` - default 9568; 0 is any that is free, see `port/1`
    * `:ip` - where it listens (default `{127, 0, 0, 1}`). Everybody who can connect may read what your pools and tools are called
    * `:path` - default `"/metrics"`
    * `:pools` - a list of names, for a part of the pools (default `:all`)

  Pools count unless their option `:metrics` is `false`. `docs/metrics.md` has every number.
  """

  alias Pitcrew.Error

  @type options :: keyword() | map()

  @doc "A child specification for `Supervisor`."
  @spec child_spec(options()) :: Supervisor.child_spec()
  def child_spec(opts), do: %{id: __MODULE__, start: {__MODULE__, :start_link, [opts]}, type: :supervisor}

  @doc "Starts the endpoint."
  @spec start_link(options()) :: {:ok, pid()} | {:error, Error.t() | term()}
  def start_link(opts \\ []) do
    case :pitcrew_metrics_http.start_link(opts) do
      {:error, %{kind: _} = error} -> {:error, Error.from(error)}
      result -> result
    end
  end

  @doc "Where an endpoint listens."
  @spec port(pid()) :: :inet.port_number()
  defdelegate port(endpoint), to: :pitcrew_metrics_http

  @doc """
  All pools that count, or some, in the OpenMetrics text format.

      iex> text = Pitcrew.Metrics.openmetrics([MyApp.Py]) |> IO.iodata_to_binary()
      iex> String.ends_with?(text, "# EOF\\n")
      true
  """
  @spec openmetrics() :: iodata()
  defdelegate openmetrics(), to: :pitcrew_metrics
  @spec openmetrics([Pitcrew.pool()]) :: iodata()
  defdelegate openmetrics(pools), to: :pitcrew_metrics

  @doc """
  Definitions for reporters of the library `telemetry_metrics`, such as the page of `Phoenix.LiveDashboard`, of Pitcrew's events with
  a prefix. Raises if that library is not there.

  `make test-optional` runs its tests.
  """
  @spec definitions([atom(), ...]) :: [struct()]
  def definitions(prefix \\ [:pitcrew]) do
    Code.ensure_loaded?(Telemetry.Metrics) ||
      raise "Pitcrew.Metrics.definitions/1 needs the library telemetry_metrics, which is not there"

    for {kind, name, opts} <- table(), do: apply(Telemetry.Metrics, kind, [prefix ++ name, opts])
  end

  @parts [:queue, :encode, :transport, :python, :decode]
  @times [unit: {:native, :millisecond}]

  defp table do
    of_call = [tags: [:pool, :tool_id, :protocol]]

    [
      {:counter, [:call, :stop, :duration], of_call},
      {:counter, [:call, :exception, :duration], [tags: [:pool, :tool_id, :protocol, :result]]},
      {:summary, [:call, :stop, :duration], of_call ++ @times},
      {:sum, [:call, :stop, :bytes_in], of_call ++ [unit: :byte]},
      {:sum, [:call, :stop, :bytes_out], of_call ++ [unit: :byte]},
      {:counter, [:cache, :hit, :duration], [tags: [:pool, :tool_id]]},
      {:counter, [:cache, :miss, :duration], [tags: [:pool, :tool_id]]},
      {:sum, [:cache, :evict, :entries], [tags: [:pool, :reason]]},
      {:summary, [:worker, :start, :duration], [tags: [:pool]] ++ @times},
      {:counter, [:worker, :stop, :lifetime], [tags: [:pool, :reason], tag_values: &readable/1]},
      {:last_value, [:pool, :health, :ready], [tags: [:pool]]},
      {:last_value, [:pool, :health, :wanted], [tags: [:pool]]},
      {:last_value, [:pool, :on_hold, :bytes], [tags: [:pool], unit: :byte]}
    ] ++ for part <- @parts, do: {:summary, [:call, :stop, part], of_call ++ @times}
  end

  # A reason may be a tuple, and tags are texts.
  defp readable(metadata), do: Map.update!(metadata, :reason, &inspect/1)
end
