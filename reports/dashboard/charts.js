// Time series by uPlot, sparklines and meters by SVG; behind each chart a table says the same.

import uPlot from "./vendor/uplot.js";
import { h, replace, svg } from "./dom.js";
import { time } from "./format.js";

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const epoch = (text) => Date.parse(text) / 1000;

// Intervals that are not over, or not wholly stored, are shaded: their numbers may still rise.
function shade(from) {
  return (plot) => {
    if (from === null) return;
    const { left, top, width, height } = plot.bbox;
    const x = Math.max(left, plot.valToPos(from, "x", true));
    if (x >= left + width) return;
    plot.ctx.save();
    plot.ctx.fillStyle = color("--shade");
    plot.ctx.fillRect(x, top, left + width - x, height);
    plot.ctx.restore();
  };
}

// Days where days are shown, else the clock, with the day at its beginning.
function marks(zone) {
  return (plot, seconds) => {
    const days = seconds.length > 1 && seconds[1] - seconds[0] >= 86_400;
    return seconds.map((second) => {
      if (seconds[1] - seconds[0] < 60) return time(second * 1000, zone, { timeStyle: "medium" });
      const clock = time(second * 1000, zone, { hour: "2-digit", minute: "2-digit" });
      return days || clock === "00:00" ? time(second * 1000, zone, { day: "numeric", month: "short" }) : clock;
    });
  };
}

function options(box, times, series, { zone, provisional, format }) {
  // The last interval reaches as far to the right as the others.
  const step = times.length > 1 ? times.at(-1) - times.at(-2) : 3600;
  const axis = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const styles = [
    { stroke: color("--accent"), fill: color("--area"), width: 2 },
    { stroke: color("--second"), width: 1.5, dash: [5, 4] },
  ];
  return {
    width: Math.max(200, box.clientWidth),
    height: box.clientHeight || 260,
    tzDate: (second) => uPlot.tzDate(new Date(second * 1000), zone),
    cursor: { drag: { x: false, y: false } },
    scales: { x: { range: () => [times[0] ?? 0, (times.at(-1) ?? 0) + step] }, y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] } },
    axes: [{ ...axis, values: marks(zone) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(format) }],
    series: [{}, ...series.map((one, index) => ({ label: one.label, points: { show: one.values.length < 3 }, ...styles[index] }))],
    hooks: { drawClear: [shade(provisional)] },
  };
}

export function timeChart(label, small = false) {
  const box = h("div", { class: small ? "chart small" : "chart", role: "img", "aria-label": label });
  const legend = h("p", { class: "legend" });
  const table = h("div", { class: "scroll" });
  const element = h("div", {}, box, legend, h("details", {}, h("summary", {}, "Show the numbers as a table"), table));
  let plot = null;
  let last = null;

  function draw() {
    if (!last || !box.isConnected) return;
    const { times, series, labels } = last;
    const data = [times.map(epoch), ...series.map((one) => one.values)];
    plot?.destroy();
    const settings = options(box, data[0], series, labels);
    settings.hooks.setCursor = [(one) => tell(one.cursor.idx)];
    plot = new uPlot(settings, data, box);
    tell(null);
  }

  function tell(index) {
    const { times, series, labels } = last;
    const at = index ?? times.length - 1;
    if (at < 0) return replace(legend, "No intervals");
    const parts = series.map((one) => `${one.label} ${labels.format(one.values[at] ?? 0)}`);
    const open = labels.provisional !== null && epoch(times[at]) >= labels.provisional ? " (provisional)" : "";
    return replace(legend, `${time(times[at], labels.zone, { dateStyle: "medium", timeStyle: "short" })}: ${parts.join(" · ")}${open}`);
  }

  function show(times, series, labels) {
    last = { times, series, labels: { provisional: null, ...labels } };
    draw();
    replace(table, h("table", {}, h("caption", {}, label),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), series.map((one) => h("th", { scope: "col", class: "n" }, one.label)))),
      h("tbody", {}, times.map((at, index) => h("tr", {}, h("td", {}, time(at, labels.zone, { dateStyle: "medium", timeStyle: "short" })),
        series.map((one) => h("td", { class: "n" }, labels.format(one.values[index] ?? 0))))))));
  }

  let width = 0;
  const observer = new ResizeObserver(() => {
    if (box.clientWidth !== width) { width = box.clientWidth; draw(); }
  });
  observer.observe(box);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  dark.addEventListener("change", draw);
  return { element, show, destroy: () => { observer.disconnect(); dark.removeEventListener("change", draw); plot?.destroy(); } };
}

export function sparkline(values) {
  const top = Math.max(...values, 1e-9);
  const step = values.length > 1 ? 100 / (values.length - 1) : 100;
  const path = values.map((value, index) => `${index ? "L" : "M"}${(index * step).toFixed(1)} ${(22 - (value / top) * 20).toFixed(1)}`);
  return svg("svg", { class: "spark", viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("path", { d: path.join("") }));
}

// A bar of a part of 1, below a name.
export function meter(part) {
  return svg("svg", { class: "meter", viewBox: "0 0 100 4", preserveAspectRatio: "none", width: "100%", "aria-hidden": "true" },
    svg("rect", { width: (Math.max(0, Math.min(1, part)) * 100).toFixed(1), height: 4 }));
}

// The second from which a report's intervals are provisional: the one that holds `data_as_of`.
export function provisionalFrom(times, asOf) {
  const fresh = asOf ? epoch(asOf) : 0;
  const open = times.filter((at) => epoch(at) <= fresh).pop();
  return open ? epoch(open) : null;
}
