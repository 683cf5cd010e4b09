defmodule Pitcrew.ProfilerTest do
  # The Elixir side: errors as structs, and `mix pitcrew.profile`. What is seen is tested in test/erlang/pitcrew_profiler_tests.erl.
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  alias Mix.Tasks.Pitcrew.Profile

  @moduletag :tmp_dir

  @tools """
  from pitcrew import tool


  @tool
  def add(a: int, b: int) -> int:
      return a + b
  """

  setup %{tmp_dir: tmp_dir} do
    File.write!(Path.join(tmp_dir, "task_tools.py"), @tools)
    :ok
  end

  defp task(tmp_dir, args),
    do: capture_io(fn -> File.cd!(tmp_dir, fn -> Profile.run(["--tools", "task_tools" | args]) end) end)

  test "an error is a Pitcrew.Error" do
    assert {:error, %Pitcrew.Error{kind: :no_pool}} = Pitcrew.Profiler.run(:no_such_pool, fn -> flunk("was called") end)

    assert {:error, %Pitcrew.Error{kind: :invalid_option}} =
             Pitcrew.Profiler.run(:any, [sample: 0], fn -> flunk("was called") end)
  end

  test "mix pitcrew.profile shows a table and writes the files", %{tmp_dir: tmp_dir} do
    code = ~S|for n <- 1..7, do: {:ok, _} = Pitcrew.call(Task.Py, "add", [n, 1])|
    output = task(tmp_dir, ["--pool", "Task.Py", "--memory", "1", "--out", "seen", "--eval", code])
    assert output =~ ~r/^ +7 .* add  .*task_tools.py:4$/m
    assert output =~ ~r/^Task.Py: \d+ ms, workers/
    assert output =~ "Lines that have grown"
    refute output =~ ~r|/pitcrew/\w+\.py|

    assert Path.join(tmp_dir, "seen") |> File.ls!() |> Enum.sort() ==
             ["flamegraph.svg", "functions.pstats", "profile.txt", "stacks.collapsed"]

    assert :ok = Pitcrew.Pool.stop(Task.Py)
  end

  test "it takes a file, and leaves out what is not wanted", %{tmp_dir: tmp_dir} do
    File.write!(Path.join(tmp_dir, "run.exs"), ~S|{:ok, 3} = Pitcrew.call(:file_pool, "add", [1, 2])|)

    for name <- [":file_pool", "file_pool"] do
      output = task(tmp_dir, ["--pool", name, "--sample", "0", "--sort", "total", "run.exs"])
      assert output =~ "with what they call"
      assert tmp_dir |> Path.join("profile") |> File.ls!() |> Enum.sort() == ["functions.pstats", "profile.txt"]
      assert :ok = Pitcrew.Pool.stop(:file_pool)
    end
  end

  test "what is not clear is said", %{tmp_dir: tmp_dir} do
    for {args, message} <- [
          {["--eval", "1"], "Which pool?"},
          {["--pool", "A.Py"], "What is to run?"},
          {["--pool", "A.Py", "--eval", "1", "file.exs"], "What is to run?"},
          {["--pool", "A.Py", "--eval", "1", "--sort", "name"], "--sort is own or total"}
        ] do
      assert_raise Mix.Error, ~r/#{Regex.escape(message)}/, fn -> task(tmp_dir, args) end
      _ = Pitcrew.Pool.stop(A.Py)
    end
  end
end
