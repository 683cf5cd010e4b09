defmodule Mix.Tasks.Pitcrew.LoadtestTest do
  use ExUnit.Case, async: false

  import ExUnit.CaptureIO

  @moduletag :tmp_dir
  @quick ~w(--pool MyApp.Py --rate 100 --duration 0.1 --warmup 0 --no-progress)

  # What it prints, what it complains about, and how it ends.
  defp run(args) do
    parent = self()

    error =
      capture_io(:stderr, fn ->
        output =
          capture_io(fn ->
            ended =
              try do
                Mix.Tasks.Pitcrew.Loadtest.run(args)
                0
              catch
                :exit, {:shutdown, status} -> status
              end

            send(parent, {:ended, ended})
          end)

        send(parent, {:output, output})
      end)

    assert_received {:output, output}
    assert_received {:ended, ended}
    {ended, output, error}
  end

  test "a table, and status 0, when nothing is beyond a limit" do
    assert {0, output, ""} = run(@quick ++ ["--call", ~S({"add", [1, 2]}), "--call", ~S({"echo", %{value: 1}})])
    assert output =~ ~r/^own +10 +0 /m
  end

  test "status 1, and why, when calls fail, and none when they may" do
    failing = @quick ++ ["--call", ~S({"echo", [1]}), "--call", ~S({"pid_of_nobody", []})]
    assert_raise Mix.Error, ~r/unknown_tool/, fn -> run(failing) end

    slow = @quick ++ ["--call", ~S({"add", [1, 2]}), "--p50-ms", "0.000001"]
    assert {1, _, error} = run(slow)
    assert error =~ ~r/own: p50 is .* ms, and may be at most 0.000/

    assert {1, _, error} = run(@quick ++ ["--call", ~S({"add", [1, 2]}), "--throughput", "100000"])
    assert error =~ "throughput is"
  end

  test "reports as JSON and as a page", %{tmp_dir: tmp_dir} do
    [json, html] = for name <- ["report.json", "report.html"], do: Path.join(tmp_dir, name)
    assert {0, _, _} = run(@quick ++ ["--call", ~S({"add", [1, 2]}), "--json", json, "--html", html])
    assert File.read!(html) =~ "<h2 id=\"s1\">own</h2>"

    if :pitcrew_json.available() == :ok do
      assert {:ok, %{"results" => [%{"calls" => 10, "p99_latency" => p99}], "violations" => []}} =
               Pitcrew.JSON.decode(File.read!(json))

      assert is_float(p99)
      assert {0, output, _} = run(@quick ++ ["--call", ~S({"add", [1, 2]}), "--json", "-"])
      assert {:ok, %{"results" => [_]}} = Pitcrew.JSON.decode(output)
    end
  end

  test "scenarios of the guide, by name, in a pool of their own" do
    args = ~w(--scenario multi_tool_moderate --scenario large_payload --duration 0.4 --warmup 0 --size 1 --no-progress)
    assert {0, output, ""} = run(args)
    assert [_, "multi_tool_moderate" <> _, "large_payload" <> _ | _] = String.split(output, "\n")
  end

  test "what does not go together, and what is wrong, is said" do
    for {args, message} <- [
          {~w(--rate 5 --scenario large_payload), ~r/--rate describes a scenario of your own/},
          {~w(--scenario none), ~r/there is no scenario none/},
          {~w(--rate 5 --payload big), ~r/--payload is small/},
          {~w(--pool No.Such --rate 5 --call {"add",[1,2]}), ~r/no_pool/},
          {~w(extra), ~r/options only/}
        ] do
      assert_raise Mix.Error, message, fn -> run(args) end
    end
  end
end
