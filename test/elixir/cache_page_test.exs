defmodule Pitcrew.CachePageTest do
  # docs/cache.md: its Python is a tool module, and its Elixir runs from the first line to the last; every line is a match.
  use ExUnit.Case, async: false

  @moduletag :tmp_dir
  @page Path.expand("../../docs/cache.md", __DIR__)
  @server System.find_executable("redis-server")

  defp blocks(language) do
    ~r/^```#{language}\n(.*?)^```$/ms |> Regex.scan(File.read!(@page), capture: :all_but_first) |> List.flatten()
  end

  defp needs_redis?(block), do: block =~ "redis_port"

  setup %{tmp_dir: tmp_dir} do
    [tools] = blocks("python")
    File.write!(Path.join(tmp_dir, "shelf_tools.py"), tools)
    :ok
  end

  test "every example of the page", %{tmp_dir: tmp_dir} do
    elixir = Enum.reject(blocks("elixir"), &needs_redis?/1)
    assert length(elixir) >= 8
    Code.eval_string(Enum.join(elixir, "\n"), [tools_folder: tmp_dir], file: @page)
  end

  if @server && match?({:module, _}, Code.ensure_loaded(:eredis)) do
    test "the example with Redis", %{tmp_dir: tmp_dir} do
      {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
      {:ok, port} = :inet.port(socket)
      :ok = :gen_tcp.close(socket)
      args = ["--port", "#{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tmp_dir]
      redis = Port.open({:spawn_executable, @server}, [:binary, :exit_status, args: args])
      {:os_pid, os_pid} = Port.info(redis, :os_pid)
      [elixir] = Enum.filter(blocks("elixir"), &needs_redis?/1)
      binding = [tools_folder: tmp_dir, redis_port: port, connected: &connected/1]

      try do
        Code.eval_string(elixir, binding, file: @page)
      after
        System.cmd("kill", ["-KILL", "#{os_pid}"])
        assert_receive {^redis, {:exit_status, _}}, 10_000
      end
    end
  end

  # A pool is there before eredis has connected.
  defp connected(pool, tries \\ 500) do
    case Pitcrew.Cache.clear(pool) do
      {:error, _} when tries > 0 ->
        receive do
        after
          20 -> connected(pool, tries - 1)
        end

      outcome ->
        outcome
    end
  end
end
