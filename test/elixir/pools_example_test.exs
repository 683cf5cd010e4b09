# The pools of examples/pools, as they stand there, and what is to be seen of them.
Code.require_file("../../examples/pools/pools.exs", __DIR__)

defmodule PoolsExampleTest do
  use ExUnit.Case, async: false

  test "three pools under one supervisor, each with its own ways" do
    python = System.get_env("PITCREW_PYTHON") || "python3"
    {:ok, supervisor} = Supervisor.start_link(Pools.children(python), strategy: :one_for_one)

    for {what, check} <- Pools.checks() do
      {seen, holds} = check.()
      assert holds, "#{what}: #{seen}"
    end

    Supervisor.stop(supervisor)
  end
end
