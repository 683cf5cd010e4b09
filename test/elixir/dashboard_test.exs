unless Code.ensure_loaded?(Phoenix.LiveDashboard.PageBuilder) do
  defmodule Phoenix.LiveDashboard.PageBuilder do
    # A stand-in for the library's module: templates are texts.
    @callback menu_link(term(), term()) :: {:ok, String.t()}
    @callback render(map()) :: term()
    defmacro __using__(_) do
      quote do
        @behaviour Phoenix.LiveDashboard.PageBuilder
        import Phoenix.LiveDashboard.PageBuilder
      end
    end

    defmacro sigil_H({:<<>>, _, [template]}, _) do
      # What templates use is used.
      quote do
        _ = unquote(Code.string_to_quoted!("{&fetcher/1, Text}"))
        {var!(assigns), unquote(template)}
      end
    end
  end
end

defmodule Pitcrew.DashboardTest do
  use ExUnit.Case, async: false
  import ExUnit.CaptureIO

  test "a page under a supervisor, and what is wrong with its options is an error" do
    page = start_supervised!({Pitcrew.Dashboard, port: 0, token: "0123456789abcdef", pools: [MyApp.Py]})
    port = Pitcrew.Dashboard.port(page)
    assert Pitcrew.Dashboard.url(page) == "http://127.0.0.1:#{port}/?token=0123456789abcdef"
    {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false])
    :ok = :gen_tcp.send(socket, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert {:ok, "HTTP/1.1 200 OK\r\n" <> _} = :gen_tcp.recv(socket, 0, 10_000)
    :gen_tcp.close(socket)

    assert {:error, %Pitcrew.Error{kind: :invalid_option}} = Pitcrew.Dashboard.start_link(port: -1)
  end

  test "a worker is recycled" do
    start_supervised!({Pitcrew.Pool, name: MyApp.Recycled, size: 1})
    %{workers: [%{id: id}]} = Pitcrew.info(MyApp.Recycled)
    assert :ok = Pitcrew.Pool.recycle(MyApp.Recycled, id)
    assert {:error, %Pitcrew.Error{kind: :bad_arguments}} = Pitcrew.Pool.recycle(MyApp.Recycled, 77)
    assert {:error, %Pitcrew.Error{kind: :no_pool}} = Pitcrew.Pool.recycle(MyApp.Nobody, id)
  end

  test "mix pitcrew.top shows the pools of this VM once" do
    top = fn args -> capture_io(fn -> Mix.Tasks.Pitcrew.Top.run(args ++ ["--once", "--interval", "0.01"]) end) end
    shown = top.(["--pool", "MyApp.Py"])
    assert shown =~ ~r/^POOL +STATUS +READY +RUNNING +WAITING/m
    assert shown =~ ~r/^MyApp.Py +ok +2\/2 /m
    assert shown =~ ~r/^MyApp.Py +\d+ +\d+ +(idle|busy) +[\d.]+ MiB/m
    refute shown =~ "\e"
    assert top.(["--pool", "nobody"]) =~ "There is no pool that counts."
  end

  test "mix pitcrew.top says what is wrong" do
    assert_raise OptionParser.ParseError, fn -> Mix.Tasks.Pitcrew.Top.run(["--nod", "a@b"]) end
    assert_raise Mix.Error, ~r/options only, not a@b/, fn -> Mix.Tasks.Pitcrew.Top.run(["a@b", "--once"]) end
  end

  test "the page of Phoenix.LiveDashboard names columns that its rows have" do
    unless Code.ensure_loaded?(Pitcrew.LiveDashboardPage),
      do: Code.compile_file(Path.expand("../../lib/pitcrew/live_dashboard_page.ex", __DIR__))

    page = Pitcrew.LiveDashboardPage
    assert {:ok, "Pitcrew"} = page.menu_link(%{}, %{})
    source = File.read!(Path.expand("../../lib/pitcrew/live_dashboard_page.ex", __DIR__))
    {:ok, _} = Pitcrew.call(MyApp.Py, "add", [1, 2])

    for [_, kind, columns] <- Regex.scan(~r/fetcher\(:(\w+)\).*?>(.*?)<\/.live_table>/s, source) do
      params = %{search: nil, sort_by: :pool, sort_dir: :asc, limit: 50}
      {[row | _], _, _} = :pitcrew_dashboard_rows.fetch(String.to_atom(kind), params, node(), :none)
      fields = for [_, field] <- Regex.scan(~r/(?:field=\{:|row\.)(\w+)/, columns), do: String.to_atom(field)
      assert length(fields) >= 7
      assert Enum.uniq(fields) -- Map.keys(row) == []
    end
  end
end
