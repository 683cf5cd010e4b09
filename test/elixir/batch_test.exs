defmodule Pitcrew.BatchTest do
  use ExUnit.Case, async: false

  @fixtures Path.expand("../fixtures", __DIR__)

  defp start(options) do
    name = :"#{__MODULE__}.#{System.unique_integer([:positive])}"

    start_supervised!(
      {Pitcrew.Pool, Keyword.merge([name: name, tools: ["batch_tools"], cd: @fixtures, size: 2], options)}
    )

    name
  end

  # Tools connect, say their number, and wait for an answer.
  defp listen do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, packet: :line, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)
    on_exit(fn -> :gen_tcp.close(listener) end)
    {listener, port}
  end

  defp meet(listener) do
    {:ok, socket} = :gen_tcp.accept(listener, 10_000)
    {:ok, line} = :gen_tcp.recv(socket, 0, 10_000)
    {socket, line |> String.trim() |> String.to_integer()}
  end

  defp visits(pool, port, numbers, opts) do
    Pitcrew.map(pool, "visit_at", Stream.map(numbers, &[port, &1]), opts)
  end

  describe "batch" do
    test "has a result for each call" do
      pool = start([])
      calls = for n <- 1..200, do: {"note", [n]}
      assert Pitcrew.batch(pool, calls) == for(n <- 1..200, do: {:ok, n})
      assert Pitcrew.batch(pool, calls, batch_size: 7, timeout: 20_000) == for(n <- 1..200, do: {:ok, n})

      assert [{:ok, 0.5}, {:error, %Pitcrew.Error{kind: :tool_error, index: 1} = error}, {:ok, 4}] =
               Pitcrew.batch(pool, [{:divide, [1, 2]}, {:divide, %{a: 1, b: 0}}, {:squares, [2]}])

      assert Exception.message(error) =~ "call of the batch: 1"
    end

    test "an unknown tool is the error of its calls" do
      assert [{:ok, 1}, {:error, %Pitcrew.Error{kind: :unknown_tool, tool: "notte", index: 1} = error}] =
               Pitcrew.batch(start([]), [{"note", [1]}, {"notte", [1]}])

      assert error.message =~ "did you mean"
    end

    test "with a bang raises the first error" do
      pool = start([])
      assert Pitcrew.batch!(pool, [{"note", [1]}, {"note", [2]}]) == [1, 2]
      calls = [{"note", [1]}, {"divide", [1, 0]}, {"nothing", []}, {"note", [2]}]
      assert %{index: 1} = assert_raise(Pitcrew.Error, fn -> Pitcrew.batch!(pool, calls) end)
    end
  end

  describe "map" do
    test "is lazy, in order, of any size of chunk" do
      pool = start([])
      assert pool |> Pitcrew.map("note", 1..100) |> Enum.to_list() == for(n <- 1..100, do: {:ok, n})

      for size <- [1, 2, 7, 1000] do
        assert pool |> Pitcrew.map("note", 1..100, batch_size: size) |> Enum.to_list() == for(n <- 1..100, do: {:ok, n})

        assert pool |> Pitcrew.map("squares", 1..9, batch_size: size) |> Enum.map(&elem(&1, 1)) ==
                 for(n <- 1..9, do: n * n)
      end

      assert pool |> Pitcrew.map("note", [[1], %{"a" => 1}, nil]) |> Enum.to_list() == [
               {:ok, [1]},
               {:ok, %{"a" => 1}},
               {:ok, nil}
             ]

      assert pool |> Pitcrew.map("note", []) |> Enum.to_list() == []
      nothing = Stream.map(1..3, fn _ -> flunk("nobody has asked") end)
      assert Pitcrew.map(pool, "note", nothing)
    end

    test "takes elements only as calls end" do
      pool = start([])
      counter = :counters.new(1, [])
      elements = Stream.map(Stream.iterate(1, &(&1 + 1)), fn n -> :counters.add(counter, 1, 1) && n end)
      taken = pool |> Pitcrew.map("note", elements, max_concurrency: 1, batch_size: 3) |> Enum.take(4)
      assert taken == [ok: 1, ok: 2, ok: 3, ok: 4]
      assert :counters.get(counter, 1) <= 3 * 3
    end

    test "runs together with other streams" do
      pool = start([])
      assert Enum.zip(Pitcrew.map(pool, "note", 1..3), Pitcrew.map(pool, "note", 4..6)) |> length() == 3
      assert pool |> Pitcrew.map("note", 1..3) |> Stream.zip(1..2) |> Enum.to_list() == [{{:ok, 1}, 1}, {{:ok, 2}, 2}]
    end

    test "an error is one of its element" do
      pool = start([])

      for size <- [1, 2, 10] do
        results = pool |> Pitcrew.map("later", [1, 2, "ValueError", 4], batch_size: size) |> Enum.to_list()
        assert [{:ok, 1}, {:ok, 2}, {:error, %Pitcrew.Error{type: "ValueError", index: 2}}, {:ok, 4}] = results
      end

      assert [{:error, %{kind: :no_pool, index: 0}}, {:error, %{index: 1}}] =
               Enum.to_list(Pitcrew.map(:no_such_pool, "note", 1..2))
    end

    test "refuses wrong options of its own" do
      for opts <- [[batch_size: 0], [ordered: 1], %{max_concurrency: 0}] do
        assert %{kind: :invalid_option} = assert_raise(Pitcrew.Error, fn -> Pitcrew.map(MyApp.Py, "note", [], opts) end)
      end
    end

    test "has at most so many calls out" do
      pool = start(size: 4)
      {listener, port} = listen()
      task = Task.async(fn -> visits(pool, port, 1..4, max_concurrency: 2) |> Enum.to_list() end)

      for _ <- 1..2 do
        sockets = for _ <- 1..2, do: elem(meet(listener), 0)
        assert :gen_tcp.accept(listener, 20) == {:error, :timeout}
        for socket <- sockets, do: :ok = :gen_tcp.send(socket, "x")
      end

      assert Task.await(task) == List.duplicate({:ok, "x"}, 4)
    end

    test "unordered results come as they are ready" do
      pool = start([])
      {listener, port} = listen()
      test = self()

      task =
        Task.async(fn ->
          visits(pool, port, 1..2, ordered: false) |> Enum.each(&send(test, {:result, &1}))
        end)

      sockets = Map.new(for(_ <- 1..2, do: meet(listener)), fn {socket, n} -> {n, socket} end)
      :ok = :gen_tcp.send(sockets[2], "b")
      assert_receive {:result, {:ok, "b"}}, 10_000
      :ok = :gen_tcp.send(sockets[1], "a")
      assert_receive {:result, {:ok, "a"}}, 10_000
      Task.await(task)
    end

    test "who stops cancels what runs" do
      Process.flag(:trap_exit, true)
      pool = start([])
      {listener, port} = listen()
      test = self()

      spawn_link(fn ->
        send(
          test,
          {:taken, visits(pool, port, 1..10, max_concurrency: 2) |> Enum.take(1), Process.info(self(), :messages)}
        )
      end)

      sockets = Map.new(for(_ <- 1..2, do: meet(listener)), fn {socket, n} -> {n, socket} end)
      :ok = :gen_tcp.send(sockets[1], "a")
      assert_receive {:taken, [ok: "a"], {:messages, []}}, 10_000
      assert :gen_tcp.recv(sockets[2], 0, 10_000) == {:error, :closed}
      assert Pitcrew.call(pool, "note", [1]) == {:ok, 1}
    end

    test "out of a function waits for no worker that waits for it" do
      for size <- [1, 2] do
        pool = start(size: size, tools: ["function_tools"])
        map = fn -> pool |> Pitcrew.map("echo", 1..20) |> Enum.map(fn {:ok, value} -> value end) end
        assert Pitcrew.call!(pool, "apply_to", [map]) == Enum.to_list(1..20)
      end
    end

    test "leaves nothing in the mailbox of whoever traps exits" do
      Process.flag(:trap_exit, true)
      pool = start([])
      assert pool |> Pitcrew.map("note", 1..20) |> Enum.take(3) == [ok: 1, ok: 2, ok: 3]
      assert pool |> Pitcrew.map("note", 1..20) |> Enum.count() == 20
      assert Process.info(self(), :messages) == {:messages, []}
    end
  end
end
