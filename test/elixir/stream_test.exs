defmodule Pitcrew.StreamTest do
  use ExUnit.Case, async: true

  # A pool of its own, so that a worker that is replaced disturbs nobody.
  @fixtures Path.expand("../fixtures", __DIR__)

  setup do
    name = :"stream_test_#{System.unique_integer([:positive])}"
    start_supervised!({Pitcrew.Pool, name: name, tools: ["stream_tools"], cd: @fixtures, size: 1})
    %{pool: name}
  end

  test "is lazy, and enumerated more than once", %{pool: pool} do
    stream = Pitcrew.stream(pool, "count_to", [5])
    assert {:ok, []} = Pitcrew.call(pool, "take_closed")
    assert Enum.to_list(stream) == [1, 2, 3, 4, 5]
    assert Enum.sum(stream) == 15
    assert {:ok, ["count_to", "count_to"]} = Pitcrew.call(pool, "take_closed")
  end

  test "goes through other streams", %{pool: pool} do
    numbers = Pitcrew.stream(pool, "forever", [], buffer: 8)
    assert numbers |> Stream.filter(&(rem(&1, 2) == 1)) |> Stream.chunk_every(2) |> Enum.take(2) == [[1, 3], [5, 7]]
    assert {:ok, [_]} = Pitcrew.call(pool, "take_closed")
  end

  test "an early end closes the generator, and the worker goes on", %{pool: pool} do
    pid = Pitcrew.call!(pool, "pid")
    assert Enum.take(Pitcrew.stream(pool, "forever"), 3) == [0, 1, 2]
    assert {:ok, [at]} = Pitcrew.call(pool, "take_closed")
    assert at >= 2
    assert Pitcrew.call!(pool, "pid") == pid
  end

  test "so does an exception of the consumer", %{pool: pool} do
    assert_raise RuntimeError, "enough", fn ->
      for n <- Pitcrew.stream(pool, "forever"), do: if(n == 4, do: raise("enough"))
    end

    assert {:ok, [_]} = Pitcrew.call(pool, "take_closed")
  end

  test "an error comes behind the chunks", %{pool: pool} do
    stream = Pitcrew.stream(pool, "fail_after", [3])

    error =
      assert_raise Pitcrew.Error, fn ->
        for n <- stream, do: send(self(), {:seen, n})
      end

    assert %{kind: :tool_error, type: "ValueError", tool: "fail_after"} = error
    for n <- 0..2, do: assert_received({:seen, ^n})
    refute_received {:seen, _}
    assert {:messages, []} = Process.info(self(), :messages)
  end

  test "one that could not begin is raised, too", %{pool: pool} do
    for {tool, args, opts, kind} <- [
          {"nothing_like_it", [], [], :unknown_tool},
          {"count_to", [], [], :bad_arguments},
          {"no_stream", [], [], :result_error},
          {"count_to", [1], [buffer: 0], :invalid_option}
        ] do
      error = assert_raise Pitcrew.Error, fn -> pool |> Pitcrew.stream(tool, args, opts) |> Enum.to_list() end
      assert error.kind == kind
    end
  end

  test "two streams side by side", %{pool: pool} do
    other = :"#{pool}_other"
    start_supervised!({Pitcrew.Pool, name: other, tools: ["stream_tools"], cd: @fixtures, size: 1})
    pairs = Stream.zip(Pitcrew.stream(pool, "forever"), Pitcrew.stream(other, "async_count_to", [3]))
    assert Enum.to_list(pairs) == [{0, 1}, {1, 2}, {2, 3}]
  end

  test "sent to a process", %{pool: pool} do
    {ref, _} = Pitcrew.stream_to(self(), pool, "fail_after", [2])
    assert_receive {:pitcrew_stream, ^ref, {:chunk, 0}}
    assert_receive {:pitcrew_stream, ^ref, {:chunk, 1}}
    assert_receive {:pitcrew_stream, ^ref, {:error, %Pitcrew.Error{kind: :tool_error}}}
  end

  test "sent to a process until it is told to stop", %{pool: pool} do
    {ref, stream} = Pitcrew.stream_to(self(), pool, "sleep_after", [2, 0.05])
    assert_receive {:pitcrew_stream, ^ref, {:chunk, 1}}, 5_000
    :ok = Pitcrew.stop_stream(stream)
    assert_receive {:pitcrew_stream, ^ref, {:done, 2}}, 5_000
  end
end
