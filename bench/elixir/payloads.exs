defmodule Bench.Payloads do
  @moduledoc "The payloads of `bench codec`: name and term."

  def all do
    [
      {"small_map", %{"id" => 12_345, "name" => "pitcrew-python", "score" => 0.5, "ok" => true}},
      {"ints_1000", for(i <- 0..999, do: rem(i * 7919, 1_000_003))},
      {"ints_20000", for(i <- 0..19_999, do: rem(i * 7919, 1_000_003))},
      {"floats_100000", for(i <- 0..99_999, do: i / 7.0)},
      {"maps_1000x6", for(i <- 0..999, do: person(i))},
      {"rows_200",
       for(i <- 0..199, do: %{"row" => i, "cells" => [i, -i, %{"label" => "cell", "flags" => [true, nil, 1.5]}]})},
      {"nested_200", Enum.reduce(1..200, "leaf", fn i, inner -> %{"depth" => i, "inner" => [inner]} end)}
    ]
  end

  @doc "Those that are mostly large binaries, reported apart."
  def large do
    [
      {"binary_1MiB", %{"data" => :crypto.strong_rand_bytes(1_048_576)}},
      {"strings_50x10kB", for(i <- 0..49, do: String.duplicate(<<rem(i, 26) + ?a>>, 10_000))}
    ]
  end

  defp person(i) do
    %{
      "id" => i,
      "name" => "Ada Lovelace",
      "email" => "ada@example.org",
      "city" => "Bletchley",
      "active" => rem(i, 2) == 0,
      "score" => i / 8.0
    }
  end
end
