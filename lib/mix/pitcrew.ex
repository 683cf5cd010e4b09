defmodule Mix.Pitcrew do
  # What Pitcrew's tasks have in common.
  @moduledoc false

  @doc "The options of a task that takes nothing else."
  @spec options([String.t()], String.t(), keyword()) :: keyword()
  def options(args, task, switches) do
    {opts, rest} = OptionParser.parse!(args, strict: switches)
    rest == [] || Mix.raise("mix #{task} takes options only, not #{Enum.join(rest, " ")}")
    opts
  end

  @doc "The atom that a pool's name stands for: `MyApp.Py` as Elixir writes it, `:py`, or `py`. Whoever types it is at this machine."
  @spec name(String.t()) :: atom()
  def name(":" <> name), do: String.to_atom(name)
  def name(<<first, _::binary>> = name) when first in ?A..?Z, do: Module.concat([name])
  def name(name), do: String.to_atom(name)
end
