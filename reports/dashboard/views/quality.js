// What was no click, and why: verdicts by reason.

import { get } from "../api.js";
import { provisionalFrom, timeChart } from "../charts.js";
import { h, replace } from "../dom.js";
import { REASONS, metric, whole } from "../format.js";
import { change, filterChange, interval, reportParams, zone } from "../state.js";
import { table, tag } from "../table.js";

export function open(frame) {
  const cards = h("div", { class: "cards" });
  const chart = timeChart("Bot clicks");
  const verdicts = h("section", { class: "panel" });
  const agents = h("section", { class: "panel" });
  const element = h("div", {}, cards, h("section", { class: "panel" }, h("h2", {}, "Bots"), chart.element), verdicts, agents);

  async function refresh(signal) {
    const base = reportParams(frame.params);
    const [series, byVerdict, byReason, byBrowser] = await Promise.all([
      get("/v1/reports", { ...base, interval: interval(frame.params), metrics: "clicks,bot_clicks,approval_rate", sort: "time", limit: 1000 }, signal),
      get("/v1/reports", { ...base, group_by: "verdict", metrics: "clicks,unique_clicks,conversions" }, signal),
      get("/v1/reports", { ...base, group_by: "verdict,verdict_reason", metrics: "clicks", limit: 100 }, signal),
      get("/v1/reports", { ...base, verdict: "bot,preview", group_by: "browser", metrics: "clicks", limit: 10 }, signal),
    ]);
    drawCards(series.totals, byVerdict.data);
    const times = series.data.map((row) => row.time);
    chart.show(times, [{ label: "Bot clicks", values: series.data.map((row) => row.bot_clicks) }],
      { zone: zone(frame.params), provisional: provisionalFrom(times, series.meta.data_as_of), format: whole });
    drawVerdicts(byReason.data, byReason.meta);
    replace(agents, h("h2", {}, "Programs behind bots and previews"), table({ caption: "By browser or program", rows: byBrowser.data,
      columns: [["browser", "Browser or program", (row) => row.browser || "(none)"], ["clicks", "Requests", (row) => whole(row.clicks), true]] }));
  }

  function drawCards(totals, rows) {
    const every = rows.reduce((sum, row) => sum + row.clicks, 0);
    const share = (count) => (every ? metric("cr", count / every) : "–");
    const shown = [["Recorded requests", whole(every)], ["Counted clicks", whole(totals.clicks)], ["Bot share", share(totals.bot_clicks)],
      ["Approval rate", metric("approval_rate", totals.approval_rate)]];
    replace(cards, shown.map(([name, value]) => h("div", { class: "card plain" }, h("span", { class: "name" }, name), h("span", { class: "value" }, value))));
  }

  function drawVerdicts(rows, meta) {
    replace(verdicts, h("h2", {}, "Verdicts by reason"), table({
      caption: "Every recorded request",
      rows: rows.filter((row) => row.clicks > 0),
      columns: [
        ["verdict", "Verdict", (row) => h("button", { class: "link", onclick: () => change(filterChange("verdict", row.verdict)) }, tag(row.verdict))],
        ["reason", "Reason", (row) => REASONS[row.verdict_reason] ?? row.verdict_reason],
        ["clicks", "Requests", (row) => whole(row.clicks), true],
      ],
    }), meta.incomplete ? h("p", { class: "note" }, "Incomplete: reading raw events took too long. Choose a shorter period.") : null);
  }

  return { element, refresh, auto: true, destroy: () => chart.destroy() };
}
