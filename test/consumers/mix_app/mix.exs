defmodule Consumer.MixProject do
  use Mix.Project

  def project do
    [app: :consumer, version: "0.1.0", elixir: "~> 1.14", deps: [{:pitcrew, path: "../pitcrew"}]]
  end

  def application do
    [mod: {Consumer.Application, []}, extra_applications: [:logger]]
  end
end
