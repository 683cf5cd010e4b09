defmodule Pitcrew.SessionTest do
  use ExUnit.Case, async: true

  test "errors are structs, of starts as of calls" do
    assert {:error, %Pitcrew.Error{kind: :invalid_option}} = Pitcrew.session(MyApp.Py, fn _ -> :never end, tll: 1)
    assert {:error, %Pitcrew.Error{kind: :no_pool}} = Pitcrew.start_session(NoSuchPool, :name)
    assert {:error, %Pitcrew.Error{kind: :no_session}} = Pitcrew.stop_session({MyApp.Py, :never})
    assert {:error, %Pitcrew.Error{kind: :no_session}} = Pitcrew.call({MyApp.Py, :never}, "add", [1, 2])
    assert_raise Pitcrew.Error, fn -> Pitcrew.call!({MyApp.Py, :never}, "add", [1, 2]) end
  end

  test "what they look like" do
    {:ok, session} = Pitcrew.start_session(MyApp.Py, :looks)
    assert inspect(session) =~ ~r/^#Pitcrew.Session<pool: MyApp.Py, id: \d+, name: :looks, \.\.\.>$/
    assert %Pitcrew.Session{} = session
    assert :ok = Pitcrew.stop_session(session)
    {:ok, ref} = Pitcrew.call(MyApp.Py, "echo", [[1]], ref: true)
    assert inspect(ref) == ~s(#Pitcrew.Ref<pool: MyApp.Py, type: "list", ...>)
    # What the native code makes is what Elixir makes.
    assert ref == %Pitcrew.Ref{handle: ref.handle, pool: MyApp.Py, type: "list"}
  end

  test "async calls of sessions and references" do
    assert {:ok, 1} =
             Pitcrew.session(MyApp.Py, fn session ->
               {:ok, nil} = session |> Pitcrew.async("remember", ["a", 1]) |> Pitcrew.await()
               {:ok, a} = session |> Pitcrew.async("recall", ["a"]) |> Pitcrew.await()
               a
             end)

    {:ok, ref} = Pitcrew.call(MyApp.Py, "echo", [[1]], ref: true)
    assert {:ok, 0} = ref |> Pitcrew.async("index", [1]) |> Pitcrew.await()
    assert {:error, %Pitcrew.Error{kind: :tool_error, type: "ValueError"}} = Pitcrew.call(ref, "index", [2])
  end
end
