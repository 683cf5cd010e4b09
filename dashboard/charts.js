// Charts of lines, as SVG, with their numbers in words and in a table beside them.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [400, 150, 46, 18, 8];
const CLASSES = ["one", "two", "three"];
// What a chart reaches back, in minutes: no more than it needs.
const SPANS = [1, 2, 5];
// So many rows has the table that stands for a chart.
const ROWS = 10;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// The least of 1, 2, 5, 10, … that is not below a value.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((digit) => digit * power).find((bound) => bound >= value * 0.999999);
}

const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

export class Chart {
  // `series` are pairs of a label and a function of a point; `show` makes text of a number; `max` bounds the scale if it is known.
  constructor({ title, series, show, max }) {
    Object.assign(this, { title, series, show, max });
    this.svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.values = series.map(() => element("b"));
    const items = series.map(([label], i) => {
      const sample = drawn("svg", { viewBox: "0 0 24 8", "aria-hidden": "true" }, drawn("path", { d: "M0 4H24", class: `line ${CLASSES[i]}` }));
      return element("li", {}, sample, `${label} `, this.values[i]);
    });
    this.rows = element("tbody");
    const heads = ["Time", ...series.map(([label]) => label)].map((text) => element("th", { scope: "col" }, text));
    const table = element("table", {}, element("caption", { class: "unseen" }, title), element("thead", {}, element("tr", {}, ...heads)), this.rows);
    this.details = element("details", {}, element("summary", {}, "As a table", element("span", { class: "unseen" }, `: ${title}`)), table);
    const heading = element("h3", {}, title);
    this.root = element("div", { class: "chart" }, heading, this.svg, element("ul", { class: "legend" }, ...items), this.details);
    this.points = [];
    this.details.addEventListener("toggle", () => this.tabulate());
  }

  draw(points) {
    this.points = points;
    const last = points.at(-1);
    const texts = this.series.map(([label, of]) => `${label} ${last ? this.show(of(last)) : "–"}`);
    this.series.forEach(([, of], i) => { this.values[i].textContent = last ? this.show(of(last)) : "–"; });
    const largest = Math.max(0, ...points.flatMap((point) => this.series.map(([, of]) => of(point) ?? 0)));
    const top = this.max ?? roundUp(largest);
    const end = last ? last.time : Date.now();
    const known = last ? (end - points[0].time) / 60_000 : 0;
    const span = SPANS.find((minutes) => minutes >= known) ?? SPANS.at(-1);
    const x = (time) => LEFT + Math.max(0, 1 - (end - time) / (60_000 * span)) * (WIDTH - LEFT);
    const y = (value) => TOP + (1 - Math.min(1, value / top)) * (HEIGHT - TOP - BOTTOM);
    this.svg.setAttribute("aria-label", `${this.title}, now: ${texts.join(", ")}; the most shown: ${this.show(largest)}`);
    this.svg.replaceChildren(...this.grid(top, y, span), ...this.series.map(([, of], i) => this.line(points, of, i, x, y)));
    if (this.details.open) this.tabulate();
  }

  grid(top, y, span) {
    const lines = [0, 0.5, 1].flatMap((share) => [
      drawn("path", { d: `M${LEFT} ${y(share * top)}H${WIDTH}`, class: "grid" }),
      drawn("text", { x: LEFT - 6, y: y(share * top) + 4, "text-anchor": "end" }, this.show(share * top)),
    ]);
    const times = [[`${span} min ago`, LEFT, "start"], ["now", WIDTH, "end"]];
    return [...lines, ...times.map(([text, x, anchor]) => drawn("text", { x, y: HEIGHT - 4, "text-anchor": anchor }, text))];
  }

  // Where there is no number, there is a gap; one that stands alone is a dot.
  line(points, of, i, x, y) {
    let path = "";
    let pen = false;
    points.forEach((point, at) => {
      const value = of(point);
      if (value == null) {
        pen = false;
      } else {
        path += `${pen ? "L" : "M"}${x(point.time).toFixed(1)} ${y(value).toFixed(1)}`;
        if (!pen && (at + 1 === points.length || of(points[at + 1]) == null)) path += "h.1";
        pen = true;
      }
    });
    return drawn("path", { d: path, class: `line ${CLASSES[i]}` });
  }

  tabulate() {
    const step = Math.max(1, Math.floor(this.points.length / ROWS));
    const shown = this.points.filter((_, at) => (this.points.length - 1 - at) % step === 0).slice(-ROWS).reverse();
    this.rows.replaceChildren(...shown.map((point) => element("tr", {},
      element("th", { scope: "row" }, clock(point.time)),
      ...this.series.map(([, of]) => element("td", {}, this.show(of(point)))))));
  }
}
