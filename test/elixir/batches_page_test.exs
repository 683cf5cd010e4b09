defmodule Pitcrew.BatchesPageTest do
  # docs/batches.md: its Python is a tool module, and its Elixir runs from the first line to the last; every line is a match.
  use ExUnit.Case, async: false

  @moduletag :tmp_dir
  @page Path.expand("../../docs/batches.md", __DIR__)

  defp blocks(language) do
    ~r/^```#{language}\n(.*?)^```$/ms |> Regex.scan(File.read!(@page), capture: :all_but_first) |> List.flatten()
  end

  test "every example of the page", %{tmp_dir: tmp_dir} do
    [tools] = blocks("python")
    File.write!(Path.join(tmp_dir, "till_tools.py"), tools)
    elixir = blocks("elixir")
    assert length(elixir) >= 6
    Code.eval_string(Enum.join(elixir, "\n"), [tools_folder: tmp_dir], file: @page)
    assert :ok = Pitcrew.Pool.stop(Till.Py)
  end
end
