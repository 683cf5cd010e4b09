defmodule Pitcrew.ReactModelTest do
  # `react_optimized` with a model over HTTP, as its option `lm` says; the other end is here.
  use ExUnit.Case, async: false

  @moduletag :dspy
  @pool __MODULE__.Py

  setup_all do
    fixtures = Path.expand("../fixtures", __DIR__)
    start_supervised!({Pitcrew.Pool, name: @pool, tools: ["react_tools"], cd: fixtures, size: 1, concurrency: 4})
    :ok
  end

  setup do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)
    on_exit(fn -> :gen_tcp.close(listener) end)
    api = "http://127.0.0.1:#{port}/v1"
    %{listener: listener, lm: %{model: "openai/test", api_base: api, api_key: "none", cache: false, num_retries: 0}}
  end

  defp arguments(lm, input),
    do: %{signature: "question -> answer", tools: ["weather"], input: input, config: %{lm: lm}}

  test "is asked for all inputs at once", %{listener: listener, lm: lm} do
    inputs = for question <- ["a?", "b?", "c?"], do: %{question: question}
    call = Pitcrew.async(@pool, "react_optimized", arguments(lm, inputs))
    finish = ~s({"tool_calls": [{"name": "finish", "args": {}}]})

    for fields <- [[next_thought: "enough", tool_calls: finish], [reasoning: "none", answer: "42"]] do
      # All are there before one is answered.
      sockets = for _ <- 1..3, do: asked(listener)
      for socket <- sockets, do: answer(socket, fields)
    end

    assert {:ok, results} = Pitcrew.await(call)
    assert [%{"outputs" => %{"answer" => "42"}}, %{"ended" => "finish"}, %{"reasoning" => "none"}] = results
  end

  test "and its connection closed when the call is cancelled", %{listener: listener, lm: lm} do
    {:ok, [worker, []]} = Pitcrew.call(@pool, "threads")
    call = Pitcrew.async(@pool, "react_optimized", arguments(lm, %{question: "?"}))
    socket = asked(listener)
    :ok = Pitcrew.cancel(call)
    assert :gen_tcp.recv(socket, 0, 10_000) == {:error, :closed}
    assert Pitcrew.call(@pool, "threads") == {:ok, [worker, []]}
  end

  test "what it refuses is the error of the call", %{listener: listener, lm: lm} do
    call = Pitcrew.async(@pool, "react_optimized", arguments(lm, %{question: "?"}))
    listener |> asked() |> respond("401 Unauthorized", ~s({"error": {"message": "who are you?"}}))
    assert {:error, %Pitcrew.Error{kind: :tool_error} = error} = Pitcrew.await(call)
    assert error.type == "dspy.utils.exceptions.LMAuthError"
    assert error.message =~ "who are you?"
  end

  # A connection whose request has been read.
  defp asked(listener) do
    {:ok, socket} = :gen_tcp.accept(listener, 10_000)
    read_all(socket, "")
    socket
  end

  defp read_all(socket, read) do
    with [head, body] <- String.split(read, "\r\n\r\n", parts: 2),
         [_, length] <- Regex.run(~r/^content-length: (\d+)/mi, head),
         true <- byte_size(body) == String.to_integer(length) do
      body
    else
      _ ->
        {:ok, more} = :gen_tcp.recv(socket, 0, 10_000)
        read_all(socket, read <> more)
    end
  end

  defp answer(socket, fields) do
    text = Enum.map_join(fields ++ [completed: ""], "\n\n", fn {name, text} -> "[[ ## #{name} ## ]]\n#{text}" end)
    choice = %{index: 0, message: %{role: "assistant", content: text}, finish_reason: "stop"}
    usage = %{prompt_tokens: 1, completion_tokens: 1, total_tokens: 2}
    reply = %{id: "1", object: "chat.completion", created: 1, model: "test", choices: [choice], usage: usage}
    {:ok, json} = Pitcrew.JSON.encode(reply)
    respond(socket, "200 OK", json)
  end

  defp respond(socket, status, json) do
    head = "HTTP/1.1 #{status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    :ok = :gen_tcp.send(socket, [head, "Content-Length: #{byte_size(json)}\r\n\r\n", json])
    :ok = :gen_tcp.close(socket)
  end
end
