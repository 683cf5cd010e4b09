defmodule Mix.Tasks.Pitcrew.DoctorTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  @page Path.expand("../../docs/doctor.md", __DIR__)

  defp run(args) do
    parent = self()

    output =
      capture_io(fn ->
        ended =
          try do
            Mix.Tasks.Pitcrew.Doctor.run(args)
            0
          catch
            :exit, {:shutdown, status} -> status
          end

        send(parent, {:ended, ended})
      end)

    assert_received {:ended, ended}
    {ended, output}
  end

  test "lines for people, the pools of this VM among them, and status 1 only if one of them is to be repaired" do
    {ended, output} = run([])
    assert output =~ ~r/^  ok    MyApp.Py is ok: 2 of 2 workers are ready$/m
    assert ended == if(output =~ ~r/^  fail  /m, do: 1, else: 0)
  end

  test "an interpreter that is none is to be repaired" do
    assert {1, output} = run(["--python", "no_such_python"])
    assert output =~ "  fail  there is no interpreter no_such_python\n        -> "
  end

  test "the same as JSON" do
    {ended, output} =
      run(["--json", "--python", System.get_env("PITCREW_PYTHON") || "python3", "--python", "no_such_python"])

    assert ended == 1

    if :pitcrew_json.available() == :ok do
      assert {:ok, %{"status" => "fail", "checks" => checks}} = Pitcrew.JSON.decode(output)
      assert [%{"status" => first}, %{"status" => "fail"}] = Enum.filter(checks, &(&1["name"] == "interpreter"))
      assert first in ["ok", "fail"]
    end
  end

  test "the page explains every check, and its example holds" do
    page = File.read!(@page)
    {:ok, _} = Pitcrew.Pool.start_link(name: Pitcrew.DoctorTest.Py, size: 1)
    names = for %{name: name} <- :pitcrew_doctor.run(), uniq: true, do: name
    :ok = Pitcrew.Pool.stop(Pitcrew.DoctorTest.Py)
    explained = for [_, name] <- Regex.scan(~r/^\| `(\w+)` \|/m, page), do: String.to_atom(name)
    assert Enum.sort([:none | names]) == Enum.sort(explained)

    [example] = ~r/^```elixir\n(.*?)^```$/ms |> Regex.scan(page, capture: :all_but_first) |> List.flatten()
    capture_io(fn -> Code.eval_string(example, [], file: @page) end)
  end

  test "arguments that are none are refused" do
    assert_raise Mix.Error, ~r/options only/, fn -> run(["now"]) end
  end
end
