// What has happened in the period: figures with their change, one chart, the top of six dimensions.

import { get } from "../api.js";
import { meter, provisionalFrom, sparkline, timeChart } from "../charts.js";
import { h, replace } from "../dom.js";
import { DIMENSIONS, METRICS, amount, change as changed, dimension, isMoney, metric, whole } from "../format.js";
import { change, filterChange, filters, interval, reportParams, zone } from "../state.js";
import { firstClick } from "./parts.js";

const CARDS = ["clicks", "unique_clicks", "conversions", "cr", "revenue", "commission", "epc", "aov"];
const LISTS = ["link", "affiliate", "campaign", "country", "referrer_host", "device"];

export function open(frame) {
  const cards = h("div", { class: "cards" }, CARDS.map((name) => h("button", { class: "card", disabled: true }, h("span", { class: "name" }, METRICS[name]))));
  const chart = timeChart("Course of the chosen figure");
  const heading = h("h2", {}, METRICS.clicks);
  const about = h("p", { class: "about" });
  const lists = Object.fromEntries(LISTS.map((name) => [name, h("section", { class: "panel", "aria-label": `Top ${DIMENSIONS[name]}` }, h("h2", {}, DIMENSIONS[name]))]));
  const empty = h("div", {});
  const element = h("div", {}, empty, cards, h("section", { class: "panel" }, h("div", { class: "head" }, heading), chart.element, about),
    h("div", { class: "lists" }, Object.values(lists)));
  let nothing = false;

  async function refresh(signal) {
    const base = reportParams(frame.params, frame.currency);
    const compare = frame.compare ? { compare: frame.compare } : {};
    const series = get("/v1/reports", { ...base, ...compare, interval: interval(frame.params), metrics: CARDS.join(","), sort: "time", limit: 1000 }, signal);
    const rest = get("/v1/reports/top", { ...base, dimensions: LISTS.join(","), metrics: "clicks,conversions,revenue", sort: "-clicks", limit: 8 }, signal);
    // If the first fails, its error is shown.
    rest.catch(() => {});
    const report = await series;
    nothing = report.totals.clicks === 0 && report.totals.conversions === 0 && filters(frame.params).length === 0;
    if (nothing && !empty.firstChild) firstClick(empty, frame);
    if (!nothing) replace(empty);
    drawCards(report);
    drawChart(report);
    const tops = (await rest).data;
    LISTS.forEach((name) => drawList(name, tops[name]));
  }

  function drawCards({ data, totals }) {
    const chosen = frame.params.get("metric") ?? "clicks";
    replace(cards, CARDS.map((name) => {
      const [text, way] = changed(totals[name], totals.previous?.[name]);
      return h("button", { class: "card", "aria-pressed": String(name === chosen), onclick: () => change({ metric: name }) },
        h("span", { class: "name" }, isMoney(name) && frame.currency ? `${METRICS[name]} (${frame.currency})` : METRICS[name]),
        h("span", { class: "value" }, isMoney(name) ? amount(totals[name], frame.currency) : metric(name, totals[name])),
        h("span", { class: `change ${way}` }, totals.previous ? text : " "),
        sparkline(data.map((row) => row[name] ?? 0)));
    }));
  }

  function drawChart({ data, meta }) {
    const name = frame.params.get("metric") ?? "clicks";
    const times = data.map((row) => row.time);
    const series = [{ label: METRICS[name], values: data.map((row) => row[name] ?? 0) }];
    if (meta.compared) series.push({ label: "Before", values: data.map((row) => row.previous[name] ?? 0) });
    replace(heading, METRICS[name]);
    chart.show(times, series, { zone: zone(frame.params), provisional: provisionalFrom(times, meta.data_as_of), format: (value) => metric(name, value, frame.currency) });
    const uniques = name === "unique_clicks" && meta.notes.unique_clicks ? ` ${meta.notes.unique_clicks}.` : "";
    replace(about, `Times in ${meta.timezone}; shaded intervals are provisional. From ${meta.source === "raw" ? "raw events" : "rollups"} in ${whole(meta.elapsed_ms)} ms.${meta.incomplete ? " Incomplete: the time for raw events ran out." : ""}${uniques}`);
  }

  function drawList(name, data) {
    const top = Math.max(...data.map((row) => row.clicks), 1);
    const rows = data.map((row) => {
      const { text, filter } = dimension(name, row);
      const label = filter === null ? text : h("button", { class: "link", title: `Only ${text}`, onclick: () => change(filterChange(name, filter)) }, text);
      return h("tr", {}, h("td", {}, label, meter(row.clicks / top)), h("td", { class: "n" }, whole(row.clicks)),
        h("td", { class: "n" }, whole(row.conversions)), h("td", { class: "n" }, amount(row.revenue, frame.currency)));
    });
    const head = [DIMENSIONS[name], "Clicks", "Conv.", frame.currency ?? "Revenue"];
    replace(lists[name], h("h2", {}, DIMENSIONS[name]), data.length
      ? h("div", {}, h("table", { class: "top" },
        h("thead", {}, h("tr", {}, head.map((text, index) => h("th", { scope: "col", class: index ? "n" : undefined }, text)))), h("tbody", {}, rows)))
      : h("p", { class: "soft" }, "Nothing in this period."));
  }

  return { element, refresh, auto: true, live: () => (nothing ? 1 : 0), destroy: () => chart.destroy() };
}
