defmodule Pitcrew.Cache do
  @moduledoc """
  Results of calls, kept for equal calls. One cache serves all workers of a pool that has the option `:cache`.

      children = [
        {Pitcrew.Pool, name: MyApp.Py, tools: ["my_tools"], cache: [max_entries: 10_000, ttl: 60_000]}
      ]

  Calls of tools that are declared `@tool(idempotent=True)` use it by themselves; others do with the option `cache: true`, and `cache: false`
  goes round it. `docs/cache.md` says what is kept, for whom, and what goes first.
  """

  alias Pitcrew.Error

  @doc """
  What the cache has done since the pool started, and what is in it.

    * `:hits`, `:joined` (calls that waited for an equal one and took its result), `:misses` (calls that ran)
    * `:stored`, `:evicted` (there was no room), `:expired`
    * `:too_large`, `:refused` (arguments or results that cannot be kept: pids, functions, references)
    * `:bad` (entries of Redis that were not what they should be), `:unreachable` (calls that did without because Redis did not answer)
    * `:entries`, `:bytes`, `:max_entries`, `:max_bytes`

  Raises `Pitcrew.Error` when there is no such pool, or it has no cache.
  """
  @spec stats(Pitcrew.pool()) :: %{atom() => non_neg_integer()}
  def stats(pool), do: Error.raising(fn -> :pitcrew_cache.stats(pool) end)

  @doc "Forgets everything, with Redis for all nodes. Results of calls that run meanwhile are not kept."
  @spec clear(Pitcrew.pool()) :: :ok | {:error, Error.t()}
  def clear(pool) do
    with {:error, error} <- :pitcrew_cache.clear(pool), do: {:error, Error.from(error)}
  end

  @doc """
  Forgets the result of one call; its options are those that the call was made with. If that call runs meanwhile its result is not
  kept.
  """
  @spec delete(Pitcrew.pool(), Pitcrew.tool(), Pitcrew.args(), [Pitcrew.option()] | map()) :: :ok | {:error, Error.t()}
  def delete(pool, tool, args \\ [], opts \\ []) do
    with {:error, error} <- :pitcrew_cache.delete(pool, tool, args, opts), do: {:error, Error.from(error)}
  end
end
