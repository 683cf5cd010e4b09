defmodule Pitcrew.Guide.MapTest do
  # docs/guide-map.md names every code block of the guide, with tests that there are, and every test of this folder.
  use ExUnit.Case, async: true

  @page Path.expand("../../docs/guide-map.md", __DIR__)
  # The guide's blocks in their order: the headings above them, and their languages.
  @blocks [
    {"Performance Bottlenecks Analysis: 1. Serialization Overhead", "Python"},
    {"Performance Bottlenecks Analysis: 3. Process Pool Overhead", "Elixir"},
    {"Optimization Strategies: 1. Protocol Selection", "Elixir"},
    {"Optimization Strategies: 2. Connection Pooling", "Elixir"},
    {"Optimization Strategies: 3. Caching Strategies", "Python"},
    {"Optimization Strategies: 4. Batch Processing", "Elixir"},
    {"Optimization Strategies: 4. Batch Processing, Python-side batch handler", "Python"},
    {"Optimization Strategies: 5. Memory Management", "Python"},
    {"Optimization Strategies: 6. Async/Concurrent Execution", "Elixir"},
    {"Performance Monitoring: 1. Telemetry Integration", "Elixir"},
    {"Performance Monitoring: 2. Performance Dashboard", "Elixir"},
    {"Benchmarking Suite: 1. Load Testing", "Elixir"},
    {"Benchmarking Suite: 2. Profiling Tools", "Python"}
  ]

  defp rows do
    for "| " <> line <- File.stream!(@page), cells = cells(line), length(cells) == 5, hd(cells) != "block", do: cells
  end

  defp cells(line),
    do: line |> String.trim() |> String.trim_trailing("|") |> String.split(" | ") |> Enum.map(&String.trim/1)

  # As {file, name}.
  defp linked(tests) do
    for [_, name, path] <- Regex.scan(~r/\[([^\]]+)\]\(([^)]+)\)/, tests),
        do: {Path.expand(path, Path.dirname(@page)), name}
  end

  defp tests_of(file) do
    pattern = if Path.extname(file) == ".py", do: ~r/^def (test_\w+)\(/m, else: ~r/^  test "([^"]+)"/m
    for [_, name] <- Regex.scan(pattern, File.read!(file)), do: {file, name}
  end

  test "every block of the guide is named, in its order" do
    assert Enum.map(rows(), fn [block, language | _] -> {block, language} end) == @blocks
  end

  test "what is there has tests, and what is not says so and has none" do
    for [block, _, what, state, tests] <- rows() do
      case state do
        "yes" -> assert {block, linked(tests) != [], what =~ "Not yet"} == {block, true, false}
        "in part" -> assert {block, linked(tests) != [], what =~ "Not yet"} == {block, true, true}
        "not yet" -> assert {block, linked(tests) != [], what =~ "Not yet"} == {block, false, true}
      end
    end
  end

  test "the tests that are named are those that there are" do
    named = for [_, _, _, _, tests] <- rows(), test <- linked(tests), do: test
    files = Path.wildcard(Path.join(__DIR__, "{*_test.exs,test_*.py}")) -- [__ENV__.file]
    assert length(files) >= 8
    assert Enum.sort(named) == files |> Enum.flat_map(&tests_of/1) |> Enum.sort()
  end
end
