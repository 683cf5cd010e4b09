defmodule Pitcrew.IteratorTest do
  # Enumerables of Elixir's in the arguments of calls; test/erlang/pitcrew_iterator_tests.erl has what happens to iterators of all sorts.
  use ExUnit.Case, async: false

  alias Pitcrew.Error

  defmodule Struct do
    @derive {Pitcrew.Encoder, only: [:only]}
    defstruct [:only, :hidden]
  end

  @moduletag :tmp_dir
  @fixtures Path.expand("../fixtures", __DIR__)

  setup do
    start_supervised!({Pitcrew.Pool, name: Into.Py, tools: ["iterator_tools"], cd: @fixtures, size: 2})
    :ok
  end

  defp take(iterator, n \\ nil), do: Pitcrew.call(Into.Py, "take", [iterator, n])

  test "whatever is enumerable" do
    assert {:ok, [1, 2, 3]} = take(Pitcrew.iterator([1, 2, 3]))
    assert {:ok, [1, 3, 5]} = take(Pitcrew.iterator(1..5//2))
    assert {:ok, [{:a, 1}]} = take(Pitcrew.iterator(%{a: 1}))
    assert {:ok, [1]} = take(Pitcrew.iterator(MapSet.new([1])))
    assert {:ok, [1, 2, 4]} = take(Pitcrew.iterator(Stream.iterate(1, &(&1 * 2))), 3)
    assert {:ok, [{1, :a}, {2, :b}]} = take(Pitcrew.iterator(Stream.zip(1..9, [:a, :b])))
    assert {:ok, [[1, 2], [3]]} = take(Pitcrew.iterator(Stream.chunk_every(1..3, 2), buffer: 1))
    assert {:ok, [1, 2]} = take(Pitcrew.iterator(Stream.take(Stream.cycle([1, 2]), 2)))
    assert {:ok, [1, 2]} = take(Pitcrew.iterator(Stream.take_while(1..9, &(&1 < 3))))
    assert {:ok, [1, 1, 2]} = take(Pitcrew.iterator(Stream.flat_map([1, 2], &(1..&1))))
  end

  test "streams are iterators by themselves, what else there is stays what it was", %{tmp_dir: tmp_dir} do
    assert {:ok, [2, 4, 6]} = take(Stream.map(1..3, &(&1 * 2)))
    assert {:ok, [[1, 1], [2, 2]]} = Pitcrew.call(Into.Py, "zipped", [Stream.map(1..2, & &1), Stream.map(1..2, & &1)])
    path = Path.join(tmp_dir, "lines")
    File.write!(path, "one\ntwo\n")
    assert {:ok, ["one\n", "two\n"]} = take(File.stream!(path))
    assert {:ok, ["one", "two"]} = take(path |> File.stream!() |> Stream.map(&String.trim/1))
    {:ok, device} = StringIO.open("a\nb\n")
    assert {:ok, ["a\n", "b\n"]} = take(IO.stream(device, :line))
    assert {:ok, [1, 2]} = Pitcrew.call(Into.Py, "echo", [[1, 2]])
    assert {:error, %Error{kind: :encode_error}} = Pitcrew.call(Into.Py, "echo", [1..2])
    # A function of two arguments can be enumerated, and can be called.
    assert {:error, %Error{kind: :tool_error, type: "TypeError"}} = take(Stream.iterate(1, & &1))
  end

  test "after functions run, whatever ends it" do
    me = self()

    source = fn element ->
      Stream.resource(
        fn -> 1 end,
        fn n -> {[element.(n)], n + 1} end,
        fn n -> send(me, {:closed, n, self()}) end
      )
    end

    assert {:ok, [1, 2]} = take(Pitcrew.iterator(source.(& &1), buffer: 1), 2)
    assert_received {:closed, n, runner} when n <= 4
    refute Process.alive?(runner)

    raises = source.(fn n -> if n > 2, do: raise(ArgumentError, "no third"), else: n end)

    assert {:ok, [[1, 2], "error", "ArgumentError", "no third", []]} =
             Pitcrew.call(Into.Py, "caught", [Pitcrew.iterator(raises)])

    assert_received {:closed, 3, _}

    assert {:error, %Error{kind: :tool_error, type: "pitcrew.ElixirError", message: "(ArgumentError) no third"}} =
             take(Pitcrew.iterator(raises))

    assert_received {:closed, 3, _}
    unsendable = source.(fn n -> if n > 2, do: <<255>>, else: n end)

    assert {:ok, [[1, 2], "result_error", nil, message, []]} =
             Pitcrew.call(Into.Py, "caught", [Pitcrew.iterator(unsendable)])

    assert message =~ "an element cannot be sent"
    assert_received {:closed, _, _}
    assert {:error, %Error{kind: :worker_exit}} = Pitcrew.call(Into.Py, "exits", [Pitcrew.iterator(source.(& &1)), 3])
    assert_received {:closed, _, _}
  end

  test "structs in elements are encoded" do
    assert {:ok, [%{only: 1}]} = take(Pitcrew.iterator([%Struct{only: 1, hidden: self()}]))
  end

  test "a stack trace of the enumerable's" do
    raises = Stream.map([1], fn _ -> raise "boom" end)
    assert {:ok, stacktrace} = Pitcrew.call(Into.Py, "stacktrace", [raises])
    assert stacktrace =~ "iterator_test.exs"
    refute stacktrace =~ "pitcrew_runner"
  end

  test "from one tool to another" do
    stream = Pitcrew.stream(Into.Py, "doubled", [Pitcrew.iterator(1..1000)])
    assert {:ok, 1_001_000} = Pitcrew.call(Into.Py, "total", [Pitcrew.iterator(stream)])
    assert [4, 8] = Into.Py |> Pitcrew.stream("doubled", [Stream.map(1..2, &(&1 * 2))]) |> Enum.to_list()
    assert {:ok, [2, 4]} = take(Pitcrew.iterator(stream), 2)
  end

  test "beside a function, which is found in the arguments before a stream has become an iterator" do
    stream = 1..4 |> Stream.map(&(&1 + 1)) |> Stream.filter(&(&1 > 2))
    assert {:ok, [6, 8, 10]} = Pitcrew.call(Into.Py, "mapped", [&(&1 * 2), stream])
    assert {:ok, [6, 8, 10]} = Pitcrew.call(Into.Py, "mapped", %{function: &(&1 * 2), iterator: stream})
    assert [6, 8, 10] = Into.Py |> Pitcrew.stream("mapped_one_by_one", [&(&1 * 2), stream]) |> Enum.to_list()
    in_a_key = [&(&1 * 2), %{stream => fn -> :ok end}]
    assert {:error, %Error{kind: :encode_error}} = Pitcrew.call(Into.Py, "mapped", in_a_key)
  end

  test "in batches and maps" do
    batch = for n <- 0..5, do: {"total", [Pitcrew.iterator(0..n)]}
    assert [ok: 0, ok: 1, ok: 3, ok: 6, ok: 10, ok: 15] = Pitcrew.batch(Into.Py, batch)
    arguments = for n <- 0..5, do: Pitcrew.iterator(0..n)
    assert [ok: 0, ok: 1, ok: 3, ok: 6, ok: 10, ok: 15] = Into.Py |> Pitcrew.map("total", arguments) |> Enum.to_list()
  end

  test "what is no enumerable, and wrong options" do
    assert_raise Protocol.UndefinedError, fn -> Pitcrew.iterator(7) end
    assert_raise Error, fn -> Pitcrew.iterator([], buffer: 0) end

    assert {:error, %Error{kind: :encode_error}} =
             Pitcrew.call(Into.Py, "take", [Stream.map([1], & &1)], protocol: :json)
  end
end
