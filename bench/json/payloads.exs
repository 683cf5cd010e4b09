defmodule Bench.JSON.Payloads do
  @moduledoc "The payloads of `bench json`; payloads.c builds the same values with jansson."

  @letters List.to_string(Enum.to_list(?a..?z))

  @doc "Name and value of each, in the order of the report."
  def all do
    [
      {"small_map",
       %{
         "active" => true,
         "id" => 123_456,
         "name" => "Ada Lovelace",
         "score" => 97.5,
         "tags" => ["first", "second", nil]
       }},
      {"ints_1000", for(i <- 0..999, do: rem(i * 7919, 1_000_003))},
      {"floats_100000", for(i <- 0..99_999, do: i / 7.0)},
      {"maps_1000x6", for(i <- 0..999, do: person(i))},
      {"strings_50x10kB", for(i <- 0..49, do: text(i))},
      {"rows_200", for(i <- 0..199, do: %{"row" => i, "cells" => cells(i)})}
    ]
  end

  defp person(i) do
    %{
      "active" => rem(i, 2) == 0,
      "city" => "Bletchley",
      "email" => "ada@example.org",
      "id" => i,
      "name" => "Ada Lovelace",
      "score" => i / 8.0
    }
  end

  defp text(i), do: @letters |> String.duplicate(400) |> binary_part(rem(i, 26), 10_000)

  defp cells(i), do: [i, -i, %{"flags" => [true, nil, 1.5], "label" => "cell"}]
end
