// Any report: up to three dimensions, columns, filters, sort; the address holds all of it.

import { get, save } from "../api.js";
import { choice, h, replace } from "../dom.js";
import { DIMENSIONS, METRICS, change as changed, dimension, metric, time, whole } from "../format.js";
import { change, filterChange, reportParams, zone } from "../state.js";
import { table } from "../table.js";

const INTERVALS = [["none", "None"], ["15m", "15 minutes"], ["hour", "Hour"], ["day", "Day"], ["week", "Week"], ["month", "Month"]];
const DEFAULT = "clicks,unique_clicks,conversions,cr,revenue,commission,epc";
const LIMIT = 100;

export function open(frame) {
  const tools = h("div", {});
  const result = h("div", {});
  const element = h("div", {}, h("section", { class: "panel" }, tools), h("section", { class: "panel" }, result));
  let cursors = [null];
  let shownFor = "";

  const groups = () => (frame.params.get("by") ?? "affiliate").split(",").filter(Boolean);
  const metrics = () => (frame.params.get("cols") ?? DEFAULT).split(",");
  const asked = () => {
    const found = { ...reportParams(frame.params, frame.currency), metrics: metrics().join(","), interval: frame.params.get("interval") ?? "none",
      time_basis: frame.params.get("basis") ?? "conversion" };
    if (groups().length) found.group_by = groups().join(",");
    if (frame.params.get("sort")) found.sort = frame.params.get("sort");
    return found;
  };

  function drawTools() {
    const chosen = groups();
    const options = [["", "–"], ...Object.entries(DIMENSIONS)];
    const pick = (index) => (value) => {
      const next = [...chosen];
      next[index] = value;
      change({ by: [...new Set(next.filter(Boolean))].join(",") || ",", sort: null });
    };
    const toggle = (name) => (event) => {
      const next = Object.keys(METRICS).filter((one) => (one === name ? event.target.checked : metrics().includes(one)));
      change({ cols: next.join(",") || "clicks", sort: null });
    };
    replace(tools, h("div", { class: "tools" }, [0, 1, 2].map((index) => choice(`Dimension ${index + 1}`, options, chosen[index] ?? "", pick(index))),
      choice("Interval", INTERVALS, frame.params.get("interval") ?? "none", (value) => change({ interval: value, sort: null })),
      choice("A conversion counts", [["conversion", "at its own time"], ["click", "at its click's time"]], frame.params.get("basis") ?? "conversion", (value) => change({ basis: value }))),
    h("fieldset", { class: "checks" }, h("legend", {}, "Columns"), Object.entries(METRICS).map(([name, text]) =>
      h("label", {}, h("input", { type: "checkbox", checked: metrics().includes(name), onchange: toggle(name) }), text))),
    h("button", { onclick: (event) => download(event.target) }, "Save as CSV"));
  }

  async function download(button) {
    button.disabled = true;
    try {
      const compare = frame.compare ? { compare: frame.compare } : {};
      await save("/v1/reports", { ...asked(), ...compare, format: "csv" }, "linkjolt-report.csv");
    } catch (error) {
      frame.fail(error);
    } finally {
      button.disabled = false;
    }
  }

  async function refresh(signal) {
    const key = JSON.stringify(asked());
    if (key !== shownFor) cursors = [null];
    shownFor = key;
    drawTools();
    const cursor = cursors.at(-1);
    const compare = frame.compare ? { compare: frame.compare } : {};
    const report = await get("/v1/reports", { ...asked(), ...compare, limit: LIMIT, ...(cursor ? { cursor } : {}) }, signal);
    drawResult(report);
  }

  function drill(name, filter) {
    const rest = groups().filter((one) => one !== name);
    change({ ...filterChange(name, filter), by: rest.join(",") || (name === "link" ? "sub1" : "link"), sort: null });
  }

  function changeOf(name, row) {
    if (!row.previous) return null;
    const [text, way] = changed(row[name], row.previous[name]);
    return h("span", { class: `change ${way}`, title: `Before: ${metric(name, row.previous[name], row.currency ?? frame.currency)}` }, ` ${text}`);
  }

  function drawResult({ data, totals, meta, next_cursor: next }) {
    const columns = [];
    if (meta.interval !== "none") columns.push(["time", "Time", (row) => time(row.time, zone(frame.params), { dateStyle: "medium", timeStyle: "short" })]);
    for (const name of groups()) {
      columns.push([name, DIMENSIONS[name] ?? name, (row) => {
        const { text, filter } = dimension(name, row);
        return filter === null ? text : h("button", { class: "link", title: "Drill down", onclick: () => drill(name, filter) }, text);
      }]);
    }
    for (const name of metrics()) columns.push([name, METRICS[name], (row) => [metric(name, row[name], row.currency ?? frame.currency), changeOf(name, row)], true]);
    const foot = Object.fromEntries(metrics().map((name) => [name, [metric(name, totals[name], totals.currency ?? frame.currency), changeOf(name, totals)]]));
    if (columns.length && !metrics().includes(columns[0][0])) foot[columns[0][0]] = "Totals";
    const sort = frame.params.get("sort") ?? (meta.interval === "none" ? `-${metrics()[0]}` : "time");
    replace(result, table({ caption: "Report", columns, rows: data, sort, onsort: (value) => change({ sort: value }), foot, empty: "Nothing in this period." }),
      h("div", { class: "actions" },
        h("button", { disabled: cursors.length < 2, onclick: () => { cursors.pop(); frame.refresh(); } }, "Back"),
        h("button", { disabled: !next, onclick: () => { cursors.push(next); frame.refresh(); } }, "Next rows")),
      h("p", { class: "soft" }, `${whole(data.length)} rows from ${meta.source === "raw" ? "raw events" : "rollups"}, ${whole(meta.elapsed_ms)} ms, times in ${meta.timezone}.`,
        ...Object.values(meta.notes).map((text) => ` Unique clicks: ${text}.`)),
      meta.incomplete ? h("p", { class: "note" }, "Incomplete: reading raw events took too long. Choose a shorter period or fewer dimensions.") : null);
  }

  return { element, refresh };
}
