Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.ProfilingTest do
  # Profiling tools: what the guide's ProfilingHandler returns, of all workers of a pool.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  @moduletag :tmp_dir

  test "functions are profiled, the ten most expensive are shown, and Python reads the file", %{tmp_dir: tmp_dir} do
    pool = start_pool(size: 2)
    calls = fn -> for n <- 1..20, do: {:ok, ^n} = Pitcrew.call(pool, "add", [n, 0]) end
    {:ok, _, profile} = Pitcrew.Profiler.run(pool, [sort: :total, top: 10], calls)
    assert length(profile.functions) <= 10
    assert %{calls: 20} = Enum.find(profile.functions, &(&1.function == "add"))
    {:ok, paths} = Pitcrew.Profiler.write(profile, tmp_dir)
    pstats = Enum.find(paths, &(Path.extname(&1) == ".pstats"))
    python = System.get_env("PITCREW_PYTHON", "python3")
    {text, 0} = System.cmd(python, ["-c", "import pstats, sys; pstats.Stats(sys.argv[1]).print_stats('add')", pstats])
    assert text =~ ~r/20 .*guide_tools\.py:\d+\(add\)/
  end

  test "memory is compared between two points" do
    pool = start_pool(size: 1)

    {:ok, _, %{memory: memory}} =
      Pitcrew.Profiler.run(pool, [functions: false, memory: 1], fn profiler ->
        {:ok, _} = Pitcrew.call(pool, "keep", [3_000_000])
        :ok = Pitcrew.Profiler.mark(profiler)
        {:ok, _} = Pitcrew.call(pool, "keep", [1_000_000])
      end)

    assert [%{bytes: bytes} | _] = memory.allocations
    assert bytes >= 4_000_000
    assert [%{bytes: grown, file: file} | _] = memory.growth
    assert grown in 1_000_000..1_999_999
    assert Path.basename(file) == "guide_tools.py"
  end
end
