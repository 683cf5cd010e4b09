Code.require_file("support.exs", __DIR__)

defmodule Pitcrew.Guide.PoolsTest do
  # Process pool overhead; connection pooling.
  use ExUnit.Case, async: false

  import Pitcrew.Guide.Support

  defp measure_pool_startup(size) do
    {time, {:ok, pool}} =
      :timer.tc(fn -> Pitcrew.start_pool(options(name: :"guide_startup_#{size}", pool_size: size)) end)

    {pool, time / 1_000}
  end

  test "a pool's start is measured until its workers are ready" do
    for size <- [1, 4, 16] do
      {pool, ms} = measure_pool_startup(size)
      assert ms > 0
      info = Pitcrew.info(pool)
      assert {info.size, info.free, length(info.workers)} == {size, size, size}
      assert Pitcrew.call(pool, "add", [1, 2]) == {:ok, 3}
      assert :ok = Pitcrew.stop_pool(pool)
    end
  end

  @pools [
    react_pool: [pool_size: 8, lazy: false, checkout_timeout: 5_000],
    general_pool: [pool_size: 4, lazy: true, max_overflow: 4],
    streaming_pool: [pool_size: 2, connection_pool_size: 10]
  ]

  defp start_pools do
    children =
      Enum.map(@pools, fn {name, config} ->
        Supervisor.child_spec({Pitcrew.Pool, options([name: :"guide_#{name}"] ++ config)}, id: name)
      end)

    start_supervised!(%{id: :pools, start: {Supervisor, :start_link, [children, [strategy: :one_for_one]]}})
  end

  defp workers(pool), do: length(Pitcrew.info(pool).workers)

  # So many calls that are all inside at once; from which workers they come.
  defp at_once(pool, tool, count) do
    calls = for _ <- 1..count, do: Pitcrew.async(pool, tool, [arrive()])
    count |> all_there() |> let_go()
    Enum.uniq(for(call <- calls, {:ok, pid} = Pitcrew.await(call), do: pid))
  end

  test "three pools under one supervisor, each for its work" do
    supervisor = start_pools()

    assert supervisor |> Supervisor.which_children() |> Enum.map(&elem(&1, 0)) |> Enum.sort() ==
             Enum.sort(Keyword.keys(@pools))

    assert workers(:guide_react_pool) == 8
    assert length(at_once(:guide_react_pool, "meet", 8)) == 8

    assert workers(:guide_general_pool) == 0
    assert length(at_once(:guide_general_pool, "meet", 8)) == 8

    assert workers(:guide_streaming_pool) == 2
    assert length(at_once(:guide_streaming_pool, "meet_later", 20)) == 2
    assert Pitcrew.stream(:guide_streaming_pool, "count_to", [1_000]) |> Enum.sum() == 500_500
  end

  test "who finds no worker in time is told so" do
    pool = start_pool(pool_size: 1, checkout_timeout: 50)
    call = Pitcrew.async(pool, "meet", [arrive()])
    [inside] = all_there(1)
    assert {:error, %Pitcrew.Error{kind: :checkout_timeout}} = Pitcrew.call(pool, "add", [1, 2])
    let_go([inside])
    assert {:ok, _} = Pitcrew.await(call)
  end
end
