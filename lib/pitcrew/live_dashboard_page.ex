if Code.ensure_loaded?(Phoenix.LiveDashboard.PageBuilder) do
  defmodule Pitcrew.LiveDashboardPage do
    @moduledoc """
    Pools, workers and tools as a page of `Phoenix.LiveDashboard`. It is there only where that library was there when Pitcrew was compiled.

        live_dashboard "/dashboard", additional_pages: [pitcrew: Pitcrew.LiveDashboardPage]

    `make test-optional` runs its tests.
    """
    use Phoenix.LiveDashboard.PageBuilder

    alias :pitcrew_dashboard_text, as: Text

    @impl true
    def menu_link(_session, _capabilities), do: {:ok, "Pitcrew"}

    @impl true
    def render(assigns) do
      ~H"""
      <.live_nav_bar id="pitcrew-nav" page={@page}>
        <:item name="pools">
          <.live_table id="pitcrew-pools" dom_id="pitcrew-pools" page={@page} title="Pools" row_fetcher={fetcher(:pools)}>
            <:col field={:pool} sortable={:asc} />
            <:col field={:status} />
            <:col :let={row} field={:ready} text_align="right"><%= Text.of_all(row.ready, row.wanted) %></:col>
            <:col field={:running} text_align="right" />
            <:col field={:queued} header="Waiting" text_align="right" />
            <:col :let={row} field={:rate} header="Calls/s" text_align="right" sortable={:desc}><%= Text.number(row.rate) %></:col>
            <:col field={:calls} text_align="right" sortable={:desc} />
            <:col field={:errors} text_align="right" sortable={:desc} />
            <:col :let={row} field={:p50} header="p50" text_align="right"><%= Text.ms(row.p50) %></:col>
            <:col :let={row} field={:p99} header="p99" text_align="right" sortable={:desc}><%= Text.ms(row.p99) %></:col>
            <:col :let={row} field={:hit_rate} header="Cache hits" text_align="right"><%= Text.percent(row.hit_rate) %></:col>
            <:col field={:restarts} header="Replaced" text_align="right" />
          </.live_table>
        </:item>
        <:item name="workers">
          <.live_table id="pitcrew-workers" dom_id="pitcrew-workers" page={@page} title="Workers" row_fetcher={fetcher(:workers)}>
            <:col field={:pool} sortable={:asc} />
            <:col field={:id} header="Worker" text_align="right" />
            <:col field={:os_pid} header="OS pid" text_align="right" />
            <:col field={:state} />
            <:col :let={row} field={:rss} header="Memory" text_align="right" sortable={:desc}><%= Text.bytes(row.rss) %></:col>
            <:col :let={row} field={:cpu} header="CPU" text_align="right" sortable={:desc}><%= Text.percent(row.cpu) %></:col>
            <:col field={:calls} text_align="right" sortable={:desc} />
            <:col :let={row} field={:age} text_align="right" sortable={:desc}><%= Text.age(row.age) %></:col>
          </.live_table>
        </:item>
        <:item name="tools">
          <.live_table id="pitcrew-tools" dom_id="pitcrew-tools" page={@page} title="Tools" row_fetcher={fetcher(:tools)}>
            <:col field={:pool} sortable={:asc} />
            <:col field={:name} header="Tool" sortable={:asc} />
            <:col :let={row} field={:rate} header="Calls/s" text_align="right" sortable={:desc}><%= Text.number(row.rate) %></:col>
            <:col field={:calls} text_align="right" sortable={:desc} />
            <:col field={:errors} text_align="right" sortable={:desc} />
            <:col :let={row} field={:p50} header="p50" text_align="right" sortable={:desc}><%= Text.ms(row.p50) %></:col>
            <:col :let={row} field={:p99} header="p99" text_align="right" sortable={:desc}><%= Text.ms(row.p99) %></:col>
          </.live_table>
        </:item>
      </.live_nav_bar>
      """
    end

    # What was seen before is the state that the table keeps for it.
    defp fetcher(kind),
      do: {fn params, node, before -> :pitcrew_dashboard_rows.fetch(kind, params, node, before) end, :none}
  end
end
