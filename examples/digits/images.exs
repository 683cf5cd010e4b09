defmodule Digits.Images do
  @moduledoc """
  The handwritten digits that scikit-learn ships, read from its own file.

  `digits.csv.gz` has one image a line: 64 numbers from 0 to 16, row by row, then the digit it shows.
  """

  @type image :: %{index: non_neg_integer(), pixels: [0..16], label: 0..9}

  @doc "All images, in the order of the file. `python` is an interpreter that has scikit-learn."
  @spec read(Path.t()) :: [image()]
  def read(python) do
    python
    |> path()
    |> File.read!()
    |> :zlib.gunzip()
    |> String.split("\n", trim: true)
    |> Enum.with_index(&image/2)
  end

  # Finds the package without importing it.
  defp path(python) do
    program = "import importlib.util as u; print(u.find_spec('sklearn').submodule_search_locations[0])"

    case System.cmd(python, ["-c", program], stderr_to_stdout: true) do
      {folder, 0} -> Path.join([String.trim(folder), "datasets", "data", "digits.csv.gz"])
      {_, _} -> raise "#{python} has no scikit-learn; `make demo` installs it into .venv"
    end
  end

  defp image(line, index) do
    {pixels, [label]} = line |> String.split(",") |> Enum.map(&String.to_integer/1) |> Enum.split(64)
    %{index: index, pixels: pixels, label: label}
  end

  @doc "Images side by side, two rows of pixels in one line of text."
  @spec draw([image()]) :: [String.t()]
  def draw(images) do
    images
    |> Enum.map(fn image -> image.pixels |> Enum.chunk_every(8) |> Enum.chunk_every(2) |> Enum.map(&draw_rows/1) end)
    |> Enum.zip_with(&Enum.join(&1, "   "))
  end

  defp draw_rows([upper, lower]), do: Enum.zip_with(upper, lower, fn a, b -> dot(a > 6, b > 6) end)

  defp dot(true, true), do: "█"
  defp dot(true, false), do: "▀"
  defp dot(false, true), do: "▄"
  defp dot(false, false), do: " "
end
