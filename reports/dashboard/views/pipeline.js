// Whether it adds up: accepted = stored + rejected + waiting, per stream and hour; how far behind.

import { get, request } from "../api.js";
import { timeChart } from "../charts.js";
import { h, replace } from "../dom.js";
import { ago, metric, time, whole } from "../format.js";
import { zone } from "../state.js";
import { table } from "../table.js";

const PARTS = ["accepted", "stored", "rejected", "waiting", "difference"];

export function open(frame) {
  const sum = h("section", { class: "panel" });
  const chart = timeChart("Accepted events an hour", true);
  const streams = h("section", { class: "panel" });
  const work = h("section", { class: "panel" });
  const element = h("div", {}, sum, h("section", { class: "panel" }, h("h2", {}, "By hour of stream time"), chart.element), streams, work);

  async function refresh(signal) {
    const [balance, metrics] = await Promise.all([get("/v1/balance", {}, signal), request("GET", "/metrics", { signal }).then((answer) => answer.text())]);
    drawSum(balance);
    drawHours(balance);
    drawStreams(balance);
    drawWork(readMetrics(metrics));
  }

  function drawSum({ streams: rows, spooled, shed, stale, as_of: asOf }) {
    const total = (name) => rows.reduce((all, row) => all + row[name], 0);
    const even = rows.every((row) => row.difference === 0);
    const item = (name, value) => h("div", {}, h("span", { class: "soft" }, name), h("b", {}, whole(value)));
    replace(sum, h("h2", {}, "The balance of this installation"), h("div", { class: "sum" }, item("Accepted", total("accepted")), "=", item("Stored", total("stored")), "+",
      item("Rejected", total("rejected")), "+", item("Waiting", total("waiting"))),
    h("p", { role: "status" }, even ? h("span", { class: "tag good" }, "It adds up") : h("span", { class: "tag bad" }, `Difference ${whole(total("difference"))}`),
      stale.map((row) => [" ", h("span", { class: "tag bad" }, `${row.where}: ${whole(row.events)} wait, for ${ago(row.seconds)}`)]),
      ` ${whole(spooled)} more on the edges' disks, ${whole(shed)} shed (redirected and lost, ever). Read at ${time(asOf, zone(frame.params))}.`));
  }

  function drawHours({ streams: rows }) {
    const hours = new Map();
    for (const hour of rows.flatMap((row) => row.hours)) {
      const had = hours.get(hour.hour) ?? { accepted: 0, stored: 0 };
      hours.set(hour.hour, { accepted: had.accepted + hour.accepted, stored: had.stored + hour.stored });
    }
    const times = [...hours.keys()].sort().slice(-48);
    chart.show(times, [{ label: "Accepted", values: times.map((at) => hours.get(at).accepted) }, { label: "Stored", values: times.map((at) => hours.get(at).stored) }],
      { zone: zone(frame.params), format: whole });
  }

  function drawStreams({ streams: rows }) {
    replace(streams, h("h2", {}, "Streams"), table({
      caption: "Each stream's balance; the difference is 0 unless events were lost or doubled",
      rows,
      columns: [["stream", "Stream", (row) => row.stream], ...PARTS.map((name) => [name, name[0].toUpperCase() + name.slice(1), (row) => whole(row[name]), true]),
        ["oldest", "Oldest waiting", (row) => (row.oldest_waiting_ms === null ? "none" : ago((Date.now() - row.oldest_waiting_ms) / 1000)), true]],
    }));
  }

  function drawWork(found) {
    const batches = found.get("linkjolt_batch_seconds_count");
    const stored = [...found].filter(([name]) => name.startsWith("linkjolt_stored_total")).reduce((all, [, value]) => all + value, 0);
    const rows = [["Behind", found.has("linkjolt_behind_seconds") ? ago(found.get("linkjolt_behind_seconds")) : null],
      ["Events a batch, on average", batches ? whole(Math.round(stored / batches)) : null],
      ["Seconds a batch, on average", batches ? (found.get("linkjolt_batch_seconds_sum") / batches).toFixed(3) : null],
      ["Steps begun anew", found.has("linkjolt_aggregator_retries_total") ? whole(found.get("linkjolt_aggregator_retries_total")) : null],
      ["Clients of the live feed", metric("clicks", found.get("linkjolt_live_clients"))]].filter(([, value]) => value !== null);
    replace(work, h("h2", {}, "The aggregator, since it was started"), h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", { class: "num" }, value)]).flat()),
      batches === undefined ? h("p", { class: "soft" }, "It runs in another process: see that one's /metrics.") : null);
  }

  return { element, refresh, auto: true, destroy: () => chart.destroy() };
}

function readMetrics(text) {
  return new Map(text.split("\n").filter((line) => line && !line.startsWith("#")).map((line) => {
    const at = line.lastIndexOf(" ");
    return [line.slice(0, at), Number(line.slice(at + 1))];
  }));
}
