defmodule Pitcrew.ToolRegistry do
  @moduledoc """
  Tools of the VM for all pools.

      {:ok, tool_id} = Pitcrew.ToolRegistry.register(fn query -> MyApp.Search.run(query) end)
      {:ok, answer} = Pitcrew.call(MyApp.Py, "react", [%{tools: [%{name: "search", tool_id: tool_id}], input: "…"}])

  An id is a string: it can be given to Python in whatever form, and is called there as `pitcrew.elixir[tool_id](…)`, in any call. A tool that is registered without a
  name has an id that nobody can guess, and is listed nowhere: only who has been told of it can call it. `Pitcrew.register_tool/4` registers
  tools for one pool or one session.

  A tool stays until it is taken out, whatever becomes of the process that has registered it: a task may register it.
  """

  alias Pitcrew.Error

  @doc """
  Registers a function; its id is what Python calls it by.

  The options are those of `Pitcrew.register_tool/4`, and `:name`, which is the id then. A name that is taken is an error, unless there is the
  option `:replace`.

      iex> {:ok, id} = Pitcrew.ToolRegistry.register(fn -> :pong end)
      iex> Pitcrew.ToolRegistry.unregister(id)
      :ok
  """
  @spec register(fun(), [Pitcrew.tool_option() | {:name, Pitcrew.tool()}] | map()) ::
          {:ok, String.t()} | {:error, Error.t()}
  def register(fun, opts \\ []) do
    with {:error, error} <- :pitcrew_tools.register_for_all(fun, opts), do: {:error, Error.from(error)}
  end

  @doc "Takes a tool out; nothing, if there is none with that id. Calls of it that run go on."
  @spec unregister(Pitcrew.tool()) :: :ok | {:error, Error.t()}
  def unregister(id) do
    with {:error, error} <- :pitcrew_tools.unregister_for_all(id), do: {:error, Error.from(error)}
  end
end
