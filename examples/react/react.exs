# An agent of DSPy's whose tools are functions of this VM, and run at once.
#
#     mix run examples/react/react.exs
#     REACT_MODEL=openai/gpt-4o-mini mix run examples/react/react.exs     with a model that you have a key for
#
# Python is $PITCREW_PYTHON, or .venv/bin/python, and has dspy (docs/dspy.md). Exit status 0 means that every check held; those
# are for the model of the example, which knows its answers.
defmodule ConcurrentToolExecutor do
  @moduledoc "Registers tools, and has an agent use them, as many at once as it likes."

  @doc "What `react_optimized` has found for an input, or for each of a list."
  def execute_react_optimized(pool, signature, tools, input, config \\ %{}) do
    registered =
      tools
      |> Task.async_stream(&register/1, max_concurrency: max(length(tools), 1))
      |> Enum.map(fn {:ok, tool} -> tool end)

    try do
      Pitcrew.call!(pool, "react_optimized", %{
        signature: signature,
        tools: registered,
        input: input,
        config: Map.merge(%{parallel_tools: true, cache_tool_results: true, batch_llm_calls: true}, config)
      })
    after
      for tool <- registered, do: :ok = Pitcrew.ToolRegistry.unregister(tool.tool_id)
    end
  end

  defp register(tool) do
    {:ok, tool_id} = Pitcrew.ToolRegistry.register(tool.func)
    tool |> Map.delete(:func) |> Map.put(:tool_id, tool_id)
  end
end

defmodule Trip do
  @moduledoc "Three tools that stand for requests to other services, questions, and what is to be seen of the answers."

  @pool :react_pool
  @signature "question -> answer"
  @city %{type: :string, description: "the name of the city"}

  @doc "The pool's child specification."
  def pool(python) do
    {Pitcrew.Pool, name: @pool, tools: ["trip_agent"], python: python, cd: __DIR__, size: 1, concurrency: 8}
  end

  @doc "The tools; each tells the counters when it begins and ends."
  def tools(counters) do
    [
      %{
        name: "weather",
        doc: "The weather of a city.",
        schema: %{type: :object, properties: %{city: @city}, required: [:city]},
        idempotent: true,
        func: fn %{"city" => city} -> request(counters, "4 °C and clear in #{city}") end
      },
      %{
        name: "events",
        doc: "What is on in a city.",
        schema: %{type: :object, properties: %{city: @city}, required: [:city]},
        idempotent: true,
        func: fn %{"city" => city} -> request(counters, ["a concert in #{city}", "a market"]) end
      },
      %{
        name: "hotels",
        doc: "Hotels of a city that cost at most so much a night.",
        schema: %{type: :object, properties: %{city: @city, most: %{type: :number}}, required: [:city, :most]},
        idempotent: true,
        func: fn %{"city" => city, "most" => most} -> request(counters, [%{name: "Grand #{city}", price: most - 1}]) end
      }
    ]
  end

  defp request(counters, answer) do
    :counters.add(counters, 1, 1)
    :counters.put(counters, 2, max(:counters.get(counters, 1), :counters.get(counters, 2)))
    :counters.add(counters, 3, 1)
    Process.sleep(200)
    :counters.sub(counters, 1, 1)
    answer
  end

  @doc "Asks the agent. Returns what it found, how many tools ran at once and in all, and how many model calls at once."
  def ask(questions, config) do
    counters = :counters.new(3, [])
    lm = System.get_env("REACT_MODEL")
    config = if lm, do: Map.put(config, :lm, lm), else: config
    input = if is_list(questions), do: Enum.map(questions, &%{question: &1}), else: %{question: questions}
    found = ConcurrentToolExecutor.execute_react_optimized(@pool, @signature, tools(counters), input, config)

    %{
      found: found,
      tools: :counters.get(counters, 2),
      calls: :counters.get(counters, 3),
      models: Pitcrew.call!(@pool, "most_model_calls")
    }
  end

  @doc "What is to be seen: `{what, fun}`, where the fun returns what was seen in words, and whether that is right."
  def checks do
    oslo = "How do I spend a day in Oslo?"
    cities = for city <- ["Oslo", "Rome", "Cork"], do: "How do I spend a day in #{city}?"

    [
      {"one question: the three tools that it takes run at once",
       fn ->
         seen = ask(oslo, %{})
         {"#{seen.tools} at once", seen.tools == 3 and answer(seen.found) == "Take a coat, and the museums."}
       end},
      {"parallel_tools: false: one after the other, the same answer",
       fn ->
         seen = ask(oslo, %{parallel_tools: false})
         {"#{seen.tools} at once", seen.tools == 1 and answer(seen.found) == "Take a coat, and the museums."}
       end},
      {"three questions: the model is asked for all of them at once",
       fn ->
         seen = ask(cities, %{})
         {"#{seen.models} model calls at once, #{seen.tools} tools", seen.models == 3 and seen.tools == 9}
       end},
      {"batch_llm_calls: false: for one after the other",
       fn ->
         seen = ask(cities, %{batch_llm_calls: false})
         {"#{seen.models} model call at once, #{seen.tools} tools", seen.models == 1 and seen.tools == 3}
       end},
      {"three times the same question: each tool runs once",
       fn ->
         seen = ask([oslo, oslo, oslo], %{})
         {"#{seen.calls} calls of tools", seen.calls == 3 and Enum.uniq_by(seen.found, &answer/1) |> length() == 1}
       end}
    ]
  end

  @doc "The answer of a result."
  def answer(%{"outputs" => %{"answer" => answer}}), do: answer

  @doc "A result as people read it."
  def print(question, result) do
    IO.puts(question)

    for {step, number} <- Enum.with_index(result["trajectory"], 1) do
      IO.puts("  #{number}. #{step["thought"]}")
      for call <- step["calls"], do: IO.puts("     #{call["name"]} #{inspect(call["args"])}: #{call["observation"]}")
    end

    IO.puts("  #{answer(result)}\n")
  end

  def main do
    python = System.get_env("PITCREW_PYTHON") || Path.expand(".venv/bin/python")
    {:ok, supervisor} = Supervisor.start_link([pool(python)], strategy: :one_for_one)
    question = "How do I spend a day in Oslo?"
    print(question, ask(question, %{}).found)

    held =
      for {what, check} <- checks() do
        {microseconds, {seen, holds}} = :timer.tc(check)
        mark = if holds, do: "ok  ", else: "NOT "
        IO.puts("#{mark} #{String.pad_trailing(what, 62)} #{seen}, #{div(microseconds, 1000)} ms")
        holds
      end

    Supervisor.stop(supervisor)
    if Enum.all?(held), do: :ok, else: exit({:shutdown, 1})
  end
end

unless Mix.env() == :test, do: Trip.main()
