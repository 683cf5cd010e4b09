defmodule Pitcrew.PoolTest do
  use ExUnit.Case, async: true

  setup context do
    {:ok, name: Module.concat(__MODULE__, "P#{context.line}")}
  end

  defp start_pool(context, opts \\ []) do
    opts = Keyword.merge([name: context.name, tools: ["my_tools"], cd: __DIR__, size: 1], opts)
    start_supervised!({Pitcrew.Pool, opts})
    context.name
  end

  test "child_spec/1 takes the name as its id", %{name: name} do
    assert %{id: ^name, type: :supervisor} = Pitcrew.Pool.child_spec(name: name)
  end

  test "starts under a supervisor, answers, and stops", context do
    pool = start_pool(context)
    assert Pitcrew.call!(pool, "add", [1, 2]) == 3
    assert :ok = stop_supervised(pool)
    assert {:error, %{kind: :no_pool}} = Pitcrew.call(pool, "add", [1, 2])
    assert {:error, %Pitcrew.Error{kind: :no_pool}} = Pitcrew.Pool.stop(pool)
    assert %{kind: :no_pool} = assert_raise(Pitcrew.Error, fn -> Pitcrew.info(pool) end)
  end

  test "a name is taken once", context do
    pool = start_pool(context)
    assert {:error, {:already_started, pid}} = Pitcrew.Pool.start_link(name: pool, tools: ["my_tools"], cd: __DIR__)
    assert pid == Process.whereis(pool)
  end

  test "a tool module that does not import is a start error with Python's traceback", context do
    Process.flag(:trap_exit, true)
    assert {:error, error} = Pitcrew.Pool.start_link(name: context.name, tools: ["no_such_module"], size: 1)
    assert %Pitcrew.Error{kind: :start_error} = error
    assert Exception.message(error) =~ "ModuleNotFoundError"
    assert error.traceback =~ "no_such_module"
  end

  test "under a supervisor, that traceback is printed line by line", context do
    opts = [name: context.name, tools: ["no_such_module"], size: 1]
    assert {:error, {reason, _child}} = start_supervised({Pitcrew.Pool, opts})
    assert Exception.format_exit(reason) =~ ~r/^ModuleNotFoundError: No module named 'no_such_module'$/m
  end

  test "a Python that does not exist is a start error", context do
    Process.flag(:trap_exit, true)

    assert {:error, %Pitcrew.Error{kind: :start_error} = error} =
             Pitcrew.Pool.start_link(name: context.name, python: "/no/such/python", size: 1)

    assert error.message =~ "/no/such/python"
  end

  test "a worker that dies takes its own call with it, and is replaced", context do
    pool = start_pool(context)
    assert {:error, %{kind: :worker_exit, reason: {:signal, :sigkill}}} = Pitcrew.call(pool, "die")
    assert Pitcrew.call!(pool, "add", [1, 2]) == 3
  end

  @tag :tmp_dir
  test "an idempotent call is tried again when asked for", context do
    pool = start_pool(context)
    path = Path.join(context.tmp_dir, "died")
    assert is_integer(Pitcrew.call!(pool, "die_once", [path], retry: 1))
  end

  test "a deadline kills the worker and frees the slot", context do
    pool = start_pool(context)
    [%{os_pid: before}] = Pitcrew.info(pool).workers
    assert {:error, %{kind: :timeout}} = Pitcrew.call(pool, "wait_forever", [], timeout: 50)
    assert Pitcrew.call!(pool, "add", [1, 2]) == 3
    assert [%{os_pid: now}] = Pitcrew.info(pool).workers
    assert now != before
  end

  test "info/1 and tools/1 tell what is there", context do
    pool = start_pool(context, size: 2)
    assert %{name: ^pool, size: 2, workers: [_, _], queued: 0} = Pitcrew.info(pool)
    assert %{idempotent: true} = Enum.find(Pitcrew.tools(pool), &(&1.name == "die_once"))
  end
end
