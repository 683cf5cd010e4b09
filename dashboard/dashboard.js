// What the server says once a second, put where it belongs.
import { Chart, element } from "./charts.js";

const KEPT = 300;
const by = (id) => document.getElementById(id);

// ---- Numbers as people read them

const nothing = "–";
const digits = (value, places) => value.toLocaleString("en", { maximumFractionDigits: places });
const number = (value) => (value == null ? nothing : value >= 1e6 ? `${digits(value / 1e6, 1)}M` : value >= 1e4 ? `${digits(value / 1e3, 1)}k` : digits(value, value < 10 ? 1 : 0));
const percent = (value) => (value == null ? nothing : `${digits(100 * value, 0)} %`);
const bytes = (value) => (value == null ? nothing : value >= 2 ** 30 ? `${digits(value / 2 ** 30, 1)} GiB` : `${digits(value / 2 ** 20, 1)} MiB`);

function milliseconds(value) {
  if (value == null) return nothing;
  if (value >= 1000) return `${digits(value / 1000, 1)} s`;
  if (value === 0) return "0";
  return value >= 1 ? `${digits(value, value < 10 ? 1 : 0)} ms` : `${digits(value * 1000, 0)} µs`;
}

function age(seconds) {
  if (seconds == null) return nothing;
  if (seconds < 120) return `${Math.floor(seconds)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

// ---- The token: in the address once, then in this tab only

function token() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

const secret = token();

// ---- What there is

const state = { pools: new Map(), points: new Map(), chosen: null };

const charts = [
  new Chart({ title: "Calls a second", series: [["calls", (p) => p.rate], ["errors", (p) => p.errors]], show: number }),
  new Chart({ title: "Latency", series: [["p50", (p) => p.p50], ["p90", (p) => p.p90], ["p99", (p) => p.p99]], show: milliseconds }),
  new Chart({ title: "Workers and queue", series: [["running", (p) => p.running], ["room", (p) => p.room], ["waiting", (p) => p.queued]], show: number }),
  new Chart({ title: "Protocols, calls a second", series: [["msgpack", (p) => p.msgpack], ["json", (p) => p.json]], show: number }),
  new Chart({ title: "Cache hit rate", series: [["hits", (p) => p.hit_rate]], show: percent, max: 1 }),
];
by("charts").append(...charts.map((chart) => chart.root));
const cacheChart = charts.at(-1);

function take(view) {
  state.pools = new Map(view.pools.map((pool) => [pool.name, pool]));
  for (const name of state.points.keys()) if (!state.pools.has(name)) state.points.delete(name);
  for (const pool of view.pools) {
    const points = view.history ? (view.history[pool.name] ?? []) : [...(state.points.get(pool.name) ?? []), pool.now].slice(-KEPT);
    state.points.set(pool.name, points);
  }
  choose();
  show();
}

// The address remembers the pool.
function choose() {
  const wanted = state.chosen ?? new URLSearchParams(location.search).get("pool");
  state.chosen = state.pools.has(wanted) ? wanted : (state.pools.keys().next().value ?? null);
  const names = [...state.pools.values()].map(({ name, label }) => [name, label]);
  const select = by("pool");
  const present = [...select.options].map((option) => [option.value, option.textContent]);
  if (JSON.stringify(names) !== JSON.stringify(present)) {
    select.replaceChildren(...names.map(([name, label]) => element("option", { value: name }, label)));
  }
  if (state.chosen !== null) select.value = state.chosen;
}

function show() {
  const pool = state.pools.get(state.chosen);
  by("content").hidden = !pool;
  by("nothing").hidden = Boolean(pool);
  if (!pool) return;
  showFacts(pool);
  cacheChart.root.hidden = pool.cache == null;
  charts.forEach((chart) => chart.draw(state.points.get(pool.name)));
  showRows(by("workers"), pool.workers, (worker) => `${pool.name} ${worker.id}`, workerRow(pool));
  showRows(by("tools"), pool.tools, (tool) => tool.name, toolRow);
  by("actions-note").hidden = Boolean(secret);
  by("actions").hidden = !secret;
}

function showFacts(pool) {
  const { now, cache } = pool;
  const facts = [
    ["Status", pool.status, pool.status],
    ["Calls a second", number(now.rate)],
    ["p99, last second", milliseconds(now.p99)],
    ["Workers ready", `${pool.ready} of ${pool.wanted}`],
    ["Running", `${now.running} of ${now.room}`],
    ["Waiting", number(pool.queued)],
    ["Calls", number(pool.calls)],
    ["Errors", number(pool.errors)],
    ["Replaced", number(pool.restarts)],
    ...(cache ? [["Cache hit rate", percent(cache.hit_rate)], ["Cache", bytes(cache.bytes)]] : []),
  ];
  by("facts").replaceChildren(...facts.map(([name, value, look]) => element("div", {}, element("dt", {}, name), element("dd", { class: look ?? "" }, value))));
}

// Rows are kept, so that what has the focus keeps it.
function showRows(body, items, keyOf, fill) {
  const rows = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const row = rows.get(key) ?? element("tr", { "data-key": key, role: "row" });
    fill(row, item);
    return row;
  });
  for (const row of [...body.rows]) if (!wanted.includes(row)) row.remove();
  wanted.forEach((row, at) => { if (body.rows[at] !== row) body.insertBefore(row, body.rows[at] ?? null); });
}

// What a column is called is in its cells, too, for where there is no room for columns.
function cells(table, row, texts) {
  if (row.cells.length === 0) {
    const labels = [...table.tHead.rows[0].cells].map((head) => head.textContent);
    row.append(element("th", { scope: "row", role: "rowheader" }), ...texts.slice(1).map((_, at) => element("td", { role: "cell", "data-label": labels[at + 1] })));
  }
  texts.forEach(([text, look], at) => {
    const cell = row.cells[at];
    if (cell.textContent !== text) cell.textContent = text;
    if (cell.className !== look) cell.className = look;
  });
}

const workerRow = (pool) => (row, worker) => {
  const isNew = row.cells.length === 0;
  cells(by("workers").parentNode, row, [
    [`${worker.id}`, ""],
    [worker.os_pid == null ? nothing : `${worker.os_pid}`, "number"],
    [worker.running > 1 ? `${worker.state}, ${worker.running} calls` : worker.state, `state ${worker.state}`],
    [bytes(worker.rss), "number"],
    [percent(worker.cpu), "number"],
    [number(worker.calls), "number"],
    [age(worker.age), "number"],
  ]);
  if (isNew) {
    const button = element("button", { type: "button", "aria-label": `Recycle worker ${worker.id}` }, "Recycle…");
    button.addEventListener("click", () => recycle(pool.name, worker.id));
    row.append(element("td", { class: "act", role: "cell" }, button));
  }
  const button = row.lastElementChild.firstElementChild;
  button.disabled = !["idle", "busy"].includes(worker.state);
  button.hidden = !secret;
};

function toolRow(row, tool) {
  cells(by("tools").parentNode, row, [
    [tool.name, ""],
    [number(tool.rate), "number"],
    [number(tool.calls), "number"],
    [number(tool.errors), "number"],
    ...[tool.p50, tool.p90, tool.p99].map((value) => [milliseconds(value), "number"]),
  ]);
}

// ---- What is done only after a question

function ask(title, text, yes) {
  by("ask-title").textContent = title;
  by("ask-text").textContent = text;
  by("ask-yes").textContent = yes;
  const dialog = by("ask");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

async function post(path, parameters) {
  const answer = await fetch(`${path}?${new URLSearchParams(parameters)}`, { method: "POST", headers: { "X-Pitcrew-Token": secret } });
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

async function act(during, path, parameters, after) {
  by("outcome").textContent = during;
  try {
    by("outcome").textContent = after(await post(path, parameters));
  } catch (error) {
    by("outcome").textContent = `That did not work: ${error.message}`;
  }
}

async function recycle(pool, worker) {
  const { label } = state.pools.get(pool);
  const sure = await ask(`Recycle worker ${worker} of ${label}?`, "Another worker is ready before this one leaves, and it ends the calls that it has.", "Recycle");
  if (sure) await act("", "/recycle", { pool, worker }, () => `Worker ${worker} is being replaced.`);
}

by("profile").addEventListener("click", async () => {
  const pool = state.chosen;
  const { label } = state.pools.get(pool);
  const sure = await ask(`Profile ${label} for 10 seconds?`, "Calls are slower as long as it lasts.", "Profile");
  if (!sure) return;
  by("profile").disabled = true;
  await act("Profiling for 10 seconds…", "/profile", { pool, ms: 10_000 }, showProfile);
  by("profile").disabled = false;
});

function showProfile(profile) {
  by("profile-table").textContent = profile.table;
  const link = by("flame");
  if (link.href) URL.revokeObjectURL(link.href);
  link.hidden = !profile.flame_graph;
  if (profile.flame_graph) link.href = URL.createObjectURL(new Blob([profile.flame_graph], { type: "image/svg+xml" }));
  by("profile-section").hidden = false;
  by("profile-title").focus();
  return "The profile is below.";
}

by("pool").addEventListener("change", (event) => {
  state.chosen = event.target.value;
  history.replaceState(null, "", `?${new URLSearchParams({ pool: state.chosen })}`);
  show();
});

// ---- The connection

function connection(text, look) {
  const place = by("connection");
  if (place.textContent !== text) place.textContent = text;
  place.className = `connection ${look}`;
}

const events = new EventSource("/events");
events.addEventListener("history", (event) => { connection("Live", "live"); take(JSON.parse(event.data)); });
events.addEventListener("look", (event) => take(JSON.parse(event.data)));
events.addEventListener("error", () => {
  connection(events.readyState === EventSource.CLOSED ? "Not connected: reload the page" : "Connection lost, trying again…", "lost");
});
