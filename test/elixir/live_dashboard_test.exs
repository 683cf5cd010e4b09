# With `make test-optional`, where Phoenix.LiveDashboard and what it needs are among the libraries. See also dashboard_test.exs.
if Code.ensure_loaded?(Phoenix.LiveDashboard.Router) do
  Application.put_env(:phoenix, :json_library, Pitcrew.JSON)

  Application.put_env(:pitcrew, Pitcrew.LiveDashboardTest.Endpoint,
    secret_key_base: String.duplicate("secret of a test", 4),
    live_view: [signing_salt: "of the test"],
    pubsub_server: Pitcrew.LiveDashboardTest.PubSub
  )

  for app <- [:telemetry, :plug_crypto, :plug, :phoenix_pubsub, :phoenix, :phoenix_live_view, :phoenix_live_dashboard],
      do: {:ok, _} = Application.ensure_all_started(app)

  defmodule Pitcrew.LiveDashboardTest.Router do
    use Phoenix.Router
    import Phoenix.LiveDashboard.Router

    pipeline :browser do
      plug(:fetch_query_params)
      plug(:fetch_session)
    end

    scope "/" do
      pipe_through(:browser)
      live_dashboard("/dashboard", additional_pages: [pitcrew: Pitcrew.LiveDashboardPage])
    end
  end

  defmodule Pitcrew.LiveDashboardTest.Endpoint do
    use Phoenix.Endpoint, otp_app: :pitcrew

    plug(Plug.Session, store: :cookie, key: "_pitcrew_test", signing_salt: "of the test")
    plug(Pitcrew.LiveDashboardTest.Router)
  end

  defmodule Pitcrew.LiveDashboardTest do
    use ExUnit.Case, async: false
    import Phoenix.ConnTest, only: [build_conn: 0, get: 2, html_response: 2]

    @endpoint Pitcrew.LiveDashboardTest.Endpoint

    setup_all do
      start_supervised!({Phoenix.PubSub, name: Pitcrew.LiveDashboardTest.PubSub})
      start_supervised!(@endpoint)
      :ok
    end

    test "its page is in the menu" do
      home = build_conn() |> get("/dashboard/home") |> html_response(200)
      assert home =~ ~r|href="/dashboard/pitcrew"[^>]*>\s*Pitcrew|
    end

    test "pools, workers and tools are tables" do
      {:ok, _} = Pitcrew.call(MyApp.Py, "add", [1, 2])
      %{workers: [%{os_pid: os_pid} | _]} = Pitcrew.info(MyApp.Py)

      assert table("pools") =~ ~r|MyApp.Py.*ok.*2/2|s
      assert table("workers") =~ ~r|MyApp.Py.*#{os_pid}|s
      assert table("tools") =~ ~r|MyApp.Py.*add|s
    end

    defp table(nav) do
      html = build_conn() |> get("/dashboard/pitcrew?nav=#{nav}") |> html_response(200)
      [_, body] = Regex.run(~r|<table.*?<tbody>(.*?)</tbody>|s, html)
      body
    end
  end
end
