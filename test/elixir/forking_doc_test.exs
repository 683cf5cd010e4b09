defmodule Pitcrew.ForkingDocTest do
  @moduledoc "The examples of docs/forking.md, section by section: its modules are written down, its Elixir is run."
  use ExUnit.Case, async: true

  @page Path.expand("../../docs/forking.md", __DIR__)
  @external_resource @page
  @sections @page |> File.read!() |> String.split(~r/^## /m) |> Enum.filter(&(&1 =~ "```elixir"))

  test "there are examples" do
    assert length(@sections) == 4
    assert length(Regex.scan(~r/^```python/m, Enum.join(@sections))) == 5
  end

  for section <- @sections do
    [title | _] = String.split(section, "\n")

    test title do
      section = unquote(section)
      folder = Path.join(System.tmp_dir!(), "pitcrew-forking-#{System.unique_integer([:positive])}")
      File.mkdir_p!(folder)
      on_exit(fn -> File.rm_rf!(folder) end)

      for [code, name] <- Regex.scan(~r/^```python\n# (\S+)\n.*?^```/ms, section) do
        code = code |> String.trim_leading("```python\n") |> String.trim_trailing("```")
        File.write!(Path.join(folder, name), code)
      end

      # A start that fails sends an exit signal, too.
      Process.flag(:trap_exit, true)

      for [_, code] <- Regex.scan(~r/^```elixir\n(.*?)^```/ms, section) do
        code |> String.replace(~s("python), ~s("#{folder})) |> Code.eval_string()
      end

      {:links, pools} = Process.info(self(), :links)
      for pool <- pools, is_pid(pool), do: :ok = Pitcrew.Pool.stop(pool)
    end
  end
end
