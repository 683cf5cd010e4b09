defmodule Pitcrew.DocTest do
  use ExUnit.Case, async: true

  doctest Pitcrew
  doctest Pitcrew.Bytes
  doctest Pitcrew.Error
  doctest Pitcrew.Iterator
  doctest Pitcrew.LoadTest
  doctest Pitcrew.Pool
  doctest Pitcrew.Profiler
  doctest Pitcrew.Protocol
  doctest Pitcrew.Ref
  doctest Pitcrew.ToolRegistry
end
