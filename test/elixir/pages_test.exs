defmodule Pitcrew.PagesTest do
  # Pages of docs/ whose Python is a tool module, and whose Elixir runs from the first line to the last; every line is a match.
  use ExUnit.Case, async: false

  @moduletag :tmp_dir
  # With the name of the tool module, the pool, and the least number of examples.
  @pages [
    {"batches", "till_tools", Till.Py, 6},
    {"buffers", "buffers_page", Buffers.Py, 5},
    {"dspy", "trip_tools", Trip.Py, 6},
    {"events", "library_tools", Library.Py, 8},
    {"dashboard", "dashboard_page", Board.Py, 3},
    {"metrics", "metrics_page", Counted.Py, 3},
    {"loadtest", "load_page", Load.Py, 8},
    {"observability", "watch_page", Watched.Py, 6},
    {"profiling", "desk_tools", Desk.Py, 6},
    {"sessions", "shop_tools", Shop.Py, 9},
    {"streams", "stream_page", Streams.Py, 7},
    {"telemetry", "telemetry_page", Shown.Py, 4},
    {"tools", "agent_tools", Agent.Py, 10}
  ]

  for {name, module, pool, least} <- @pages do
    if name == "dspy", do: @tag(:dspy)

    test "every example of docs/#{name}.md", %{tmp_dir: tmp_dir} do
      page = Path.expand("../../docs/#{unquote(name)}.md", __DIR__)
      [tools] = blocks(page, "python")
      File.write!(Path.join(tmp_dir, "#{unquote(module)}.py"), tools)
      elixir = blocks(page, "elixir")
      assert length(elixir) >= unquote(least)
      Code.eval_string(Enum.join(elixir, "\n"), [tools_folder: tmp_dir], file: page)
      assert :ok = Pitcrew.Pool.stop(unquote(pool))
    end
  end

  test "every example of docs/limits.md about memory", %{tmp_dir: tmp_dir} do
    page = Path.expand("../../docs/limits.md", __DIR__)
    [_, section] = page |> File.read!() |> String.split("\n## Memory care\n")
    [tools] = blocks_of(section, "python")
    File.write!(Path.join(tmp_dir, "press_tools.py"), tools)
    elixir = blocks_of(section, "elixir")
    assert length(elixir) >= 4
    Code.eval_string(Enum.join(elixir, "\n"), [tools_folder: tmp_dir], file: page)
    assert :ok = Pitcrew.Pool.stop(Press.Py)
  end

  defp blocks(page, language), do: page |> File.read!() |> blocks_of(language)

  defp blocks_of(text, language) do
    ~r/^```#{language}\n(.*?)^```$/ms |> Regex.scan(text, capture: :all_but_first) |> List.flatten()
  end
end
