defmodule Pitcrew.ReactTest do
  # `react_optimized` with the real DSPy, on a pool that runs one call at a time and on one that runs many.
  use ExUnit.Case, async: false

  @moduletag :dspy
  @fixtures Path.expand("../fixtures", __DIR__)
  @signature "question -> answer"
  @schema %{
    type: :object,
    properties: %{city: %{type: :string}, day: %{type: :integer}},
    required: [:city, :day],
    additionalProperties: false
  }

  @alone __MODULE__.Alone
  @many __MODULE__.Many
  @caches __MODULE__.Caches

  # DSPy takes a moment to import, so the tests share pools.
  setup_all do
    pools = [{@alone, size: 1}, {@many, size: 1, concurrency: 4}, {@caches, size: 2, cache: []}]

    for {name, options} <- pools do
      start_supervised!({Pitcrew.Pool, [name: name, tools: ["react_tools"], cd: @fixtures] ++ options}, id: name)
    end

    :ok
  end

  defp weather(func, more \\ %{}),
    do: Map.merge(%{name: :weather, doc: "The weather of a city.", schema: @schema, func: func}, more)

  defp arguments(tools, question, config \\ %{}),
    do: %{signature: @signature, tools: tools, input: %{question: question}, config: config}

  defp react(pool, tools, question, config \\ %{}),
    do: Pitcrew.call(pool, "react_optimized", arguments(tools, question, config))

  defp observed(%{"trajectory" => [%{"calls" => calls} | _]}), do: Enum.map(calls, &{&1["ok"], &1["observation"]})

  # A tool that says it has begun, and goes on when it is told to.
  defp meets do
    test = self()

    fn %{"city" => city, "day" => day} ->
      send(test, {:begun, self()})

      receive do
        :go -> "#{day} in #{city}"
      end
    end
  end

  defp listen do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)
    on_exit(fn -> :gen_tcp.close(listener) end)
    {listener, port}
  end

  defp gone(pid) do
    ref = Process.monitor(pid)
    assert_receive {:DOWN, ^ref, _, _, _}, 10_000
  end

  for pool <- [@alone, @many] do
    describe "#{inspect(pool)}:" do
      setup do
        {:ok, nil} = Pitcrew.call(unquote(pool), "prepare", %{})
        %{pool: unquote(pool)}
      end

      test "it runs in a fork", %{pool: pool} do
        assert Pitcrew.info(pool).start == :fork
        tool = weather(fn %{"city" => "Paris", "day" => day} -> %{"sun" => day} end)
        assert {:ok, result} = react(pool, [tool], "weather in Paris")
        assert %{"outputs" => %{"answer" => "fine in Paris"}, "ended" => "finish", "reasoning" => _} = result
        assert observed(result) == for(day <- 1..3, do: {true, ~s({"sun": #{day}})})
        assert Pitcrew.call(pool, "kept") == {:ok, [0, 0, 0]}
      end

      test "the tools of a step run at once, or one after the other, with the same answer", %{pool: pool} do
        tools = [weather(meets())]
        call = Pitcrew.async(pool, "react_optimized", arguments(tools, "weather in Oslo"))

        begun =
          for _ <- 1..3 do
            assert_receive {:begun, pid}, 10_000
            pid
          end

        for pid <- Enum.reverse(begun), do: send(pid, :go)
        {:ok, at_once} = Pitcrew.await(call)
        call = Pitcrew.async(pool, "react_optimized", arguments(tools, "weather in Oslo", %{parallel_tools: false}))

        for _ <- 1..3 do
          assert_receive {:begun, pid}, 10_000
          refute_receive {:begun, _}, 20
          send(pid, :go)
        end

        assert Pitcrew.await(call) == {:ok, at_once}
        assert observed(at_once) == for(day <- 1..3, do: {true, "#{day} in Oslo"})
      end

      test "tools of the pool, by name", %{pool: pool} do
        assert {:ok, result} = react(pool, ["weather"], "weather in Rome")
        assert observed(result) == for(day <- 1..3, do: {true, "sun in Rome on day #{day}"})
      end

      test "tools of the VM, by id", %{pool: pool} do
        {:ok, id} = Pitcrew.ToolRegistry.register(fn %{"city" => city, "day" => day} -> "#{city} #{day}" end)
        tool = nil |> weather(%{tool_id: id}) |> Map.delete(:func)
        assert {:ok, result} = react(pool, [tool], "weather in Rome")
        assert observed(result) == for(day <- 1..3, do: {true, "Rome #{day}"})
        assert {:ok, result} = react(pool, [tool], "wrongly Rome")
        assert {false, "ValueError: weather: 'day' is a required property"} = Enum.at(observed(result), 2)
        :ok = Pitcrew.ToolRegistry.unregister(id)
        assert {:ok, result} = react(pool, [tool], "weather in Rome")
        assert [{false, "ElixirError: (unknown_tool) " <> _}, _, _] = observed(result)
      end

      test "tools of the VM, by name, of which the VM says what they take", %{pool: pool} do
        test = self()
        outlook = fn city, day -> send(test, :ran) && "#{city} #{day}" end
        named = [parameters: [:city, :day], doc: "What is to come.", schema: @schema, idempotent: true]
        :ok = Pitcrew.register_tool(pool, "outlook", outlook, named)
        on_exit(fn -> Pitcrew.unregister_tool(pool, "outlook") end)

        for tool <- ["outlook", %{name: "outlook", tool_id: :outlook}] do
          assert {:ok, result} = react(pool, [tool], "outlook in Rome")
          assert observed(result) == for(day <- 1..3, do: {true, "Rome #{day}"})
          for _ <- 1..3, do: assert_received(:ran)
        end

        tool = %{name: "weather", tool_id: "outlook"}
        assert {:ok, result} = react(pool, [tool], "wrongly Rome")

        assert [
                 {false, _},
                 {false, "ValueError: Arg city is invalid" <> _},
                 {false, "ValueError: weather: 'day'" <> _},
                 _
               ] = observed(result)

        assert {:ok, %{"trajectory" => _}} = react(pool, [tool], "twice Rome")
        for _ <- 1..2, do: assert_received(:ran)
        refute_received :ran
      end

      test "the model is asked for all inputs at once, or for one after the other, with the same answers", %{pool: pool} do
        inputs = for city <- ["Rome", "Paris", "Oslo"], do: %{question: "weather in #{city}"}
        arguments = %{signature: @signature, tools: ["weather"], input: inputs}

        [at_once, alone] =
          for {batch, together, most} <- [{true, 3, 3}, {false, nil, 1}] do
            {:ok, nil} = Pitcrew.call(pool, "prepare", %{together: together})
            config = %{batch_llm_calls: batch}
            {:ok, results} = Pitcrew.call(pool, "react_optimized", Map.put(arguments, :config, config))
            assert Pitcrew.call(pool, "most") == {:ok, most}
            results
          end

        assert at_once == alone
        answers = for %{"outputs" => %{"answer" => answer}} <- at_once, do: answer
        assert answers == ["fine in Rome", "fine in Paris", "fine in Oslo"]
      end

      test "what goes wrong with tools is told to the model", %{pool: pool} do
        tool = weather(fn _ -> raise ArgumentError, "no such city" end)
        assert {:ok, %{"outputs" => %{"answer" => "fine in Rome"}} = result} = react(pool, [tool], "wrongly Rome")

        assert observed(result) == [
                 {false, "LookupError: there is no tool named 'wether', only weather, finish"},
                 {false, "ValueError: Arg city is invalid: 7 is not of type 'string'"},
                 {false, "ValueError: weather: 'day' is a required property"},
                 {false, "ElixirError: (ArgumentError) no such city"}
               ]
      end

      test "a function that takes too long, too", %{pool: pool} do
        tool = weather(fn _ -> Process.sleep(:infinity) end)
        arguments = arguments([tool], "twice Rome")
        assert {:ok, result} = Pitcrew.call(pool, "react_optimized", arguments, function_timeout: 20)
        assert [{false, "ElixirError: (timeout) " <> _}, {false, _}] = observed(result)
      end

      test "equal calls of an idempotent tool run once", %{pool: pool} do
        test = self()
        tool = weather(fn _ -> send(test, :ran) && "sun" end, %{idempotent: true})

        for {config, times} <- [{%{}, 1}, {%{cache_tool_results: false}, 2}] do
          assert {:ok, result} = react(pool, [tool], "twice Oslo", config)
          assert observed(result) == [{true, "sun"}, {true, "sun"}]
          for _ <- 1..times, do: assert_received(:ran)
          refute_received :ran
        end
      end

      test "a deadline while functions run", %{pool: pool} do
        {:ok, [worker, []]} = Pitcrew.call(pool, "threads")
        arguments = arguments([weather(meets())], "weather in Paris")
        call = Pitcrew.async(pool, "react_optimized", arguments, timeout: 1_500)

        begun =
          for _ <- 1..3 do
            assert_receive {:begun, pid}, 10_000
            pid
          end

        assert {:error, %Pitcrew.Error{kind: :timeout}} = Pitcrew.await(call)
        Enum.each(begun, &gone/1)
        goes_on(pool, worker)
      end

      test "cancelled while a tool in Python runs", %{pool: pool} do
        {:ok, [worker, []]} = Pitcrew.call(pool, "threads")
        {listener, port} = listen()
        {:ok, nil} = Pitcrew.call(pool, "prepare", %{port: port})
        call = Pitcrew.async(pool, "react_optimized", arguments(["stays", "weather"], "stay in Oslo"))
        {:ok, socket} = :gen_tcp.accept(listener, 10_000)
        {:ok, "stays"} = :gen_tcp.recv(socket, 5, 10_000)
        :ok = Pitcrew.cancel(call)
        assert {:error, %Pitcrew.Error{kind: :cancelled}} = Pitcrew.await(call)
        assert :gen_tcp.recv(socket, 0, 10_000) == {:ok, "interrupted"}
        goes_on(pool, worker)
      end

      test "cancelled while the model is asked", %{pool: pool} do
        {:ok, [worker, []]} = Pitcrew.call(pool, "threads")
        {listener, port} = listen()
        {:ok, nil} = Pitcrew.call(pool, "prepare", %{stuck: port})
        inputs = for city <- ["Rome", "Paris"], do: %{question: "weather in #{city}"}
        arguments = %{signature: @signature, tools: ["weather"], input: inputs}
        call = Pitcrew.async(pool, "react_optimized", arguments)

        sockets =
          for _ <- 1..2 do
            {:ok, socket} = :gen_tcp.accept(listener, 10_000)
            socket
          end

        :ok = Pitcrew.cancel(call)
        assert {:error, %Pitcrew.Error{kind: :cancelled}} = Pitcrew.await(call)
        for socket <- sockets, do: assert(:gen_tcp.recv(socket, 0, 10_000) == {:error, :closed})
        {:ok, nil} = Pitcrew.call(pool, "prepare", %{})
        goes_on(pool, worker)
      end
    end
  end

  # One call at a time: there is a new worker after a call that was cut. Many: nobody else has noticed.
  defp goes_on(pool, worker) do
    assert {:ok, [now, []]} = Pitcrew.call(pool, "threads")
    assert now == worker or pool == @alone
    assert {:ok, %{"ended" => "finish"}} = react(pool, ["weather"], "weather in Rome")
  end

  test "what is refused, and what the model does not understand" do
    pool = @alone

    for {arguments, type, message} <- [
          {arguments(["wether"], "?"), "LookupError", "there is no tool of that name"},
          {arguments([%{name: "f", func: fn -> 1 end, schema: %{type: "thing"}}], "?"), "ValueError",
           "this is no JSON schema"},
          {arguments([], "?", %{max_iter: 3}), "ValueError", "config has no max_iter, only"},
          {arguments([], "something else"), "dspy.utils.exceptions.AdapterParseError", "failed to parse"}
        ] do
      assert {:error, %Pitcrew.Error{kind: :tool_error} = error} = Pitcrew.call(pool, "react_optimized", arguments)
      assert error.type == type
      assert error.message =~ message
    end

    assert {:ok, [%{"outputs" => _}, %{"error" => %{"type" => "AdapterParseError", "message" => _}}]} =
             Pitcrew.call(pool, "react_optimized", %{
               signature: @signature,
               tools: ["weather"],
               input: [%{question: "weather in Rome"}, %{question: "something else"}]
             })
  end

  test "the adapter alone makes a pool" do
    pool = start_supervised!({Pitcrew.Pool, name: __MODULE__.Bare, tools: ["pitcrew.adapters.dspy"], size: 1})
    assert {:error, %Pitcrew.Error{type: "ValueError", message: message}} = react(pool, [], "?")
    assert message =~ "there is no language model: give lm in config"
  end

  test "a function may call the pool again, which keeps the results of idempotent tools" do
    pool = @caches
    before = Pitcrew.Cache.stats(pool)
    tool = weather(fn args -> Pitcrew.call!(pool, "weather", args) end)

    for _ <- 1..2,
        do: assert({:ok, %{"ended" => "finish"}} = react(pool, [tool], "weather in Rome", %{parallel_tools: false}))

    assert %{hits: hits, stored: stored} = Pitcrew.Cache.stats(pool)
    assert {hits - before.hits, stored - before.stored} == {3, 3}
  end

  test "results of tools of the VM are in the cache of the pool" do
    test = self()
    outlook = fn city, day -> send(test, :ran) && "#{city} #{day}" end

    :ok =
      Pitcrew.register_tool(@caches, "outlook", outlook, parameters: [:city, :day], schema: @schema, idempotent: true)

    for _ <- 1..2, do: assert({:ok, %{"ended" => "finish"}} = react(@caches, ["outlook"], "outlook in Oslo"))
    for _ <- 1..3, do: assert_received(:ran)
    refute_received :ran
  end
end
