// What is being stored right now: rates of the last minute and half hour, and each event.

import { timeChart } from "../charts.js";
import { h, replace } from "../dom.js";
import { clock, money, whole } from "../format.js";
import { zone } from "../state.js";
import { tag } from "../table.js";

const SHOWN = 100;
const MINUTES = 30;

export function open(frame) {
  const seconds = new Map();
  const events = [];
  let paused = false;
  let waiting = 0;
  const rates = h("div", { class: "rates" });
  const minute = timeChart("Events a second, last minute", true);
  const half = timeChart("Events a minute, last 30 minutes", true);
  const list = h("ol", { class: "feed", "aria-label": "Stored events, the newest first" });
  const state = h("p", { class: "soft", role: "status" }, "Waiting for the first event…");
  const pause = h("button", { "aria-pressed": "false", onclick: () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    replace(pause, paused ? "Go on" : "Pause");
    if (!paused) drawEvents();
    tellWaiting();
  } }, "Pause");
  const element = h("div", {}, h("section", { class: "panel" }, rates),
    h("section", { class: "panel" }, h("h2", {}, "Last minute"), minute.element),
    h("section", { class: "panel" }, h("h2", {}, "Last 30 minutes"), half.element),
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Events"), pause), state, list));

  const add = ({ detail }, anew) => {
    if (anew) seconds.clear();
    for (const [second, clicks, others, conversions] of detail.seconds) {
      const had = seconds.get(second) ?? [0, 0, 0];
      seconds.set(second, [had[0] + clicks, had[1] + others, had[2] + conversions]);
    }
    const least = Date.now() / 1000 - MINUTES * 60 - 5;
    for (const second of seconds.keys()) if (second < least) seconds.delete(second);
    draw();
  };
  const hello = (event) => add(event, true);
  const tick = (event) => add(event, false);
  const event = ({ type, detail }) => {
    events.unshift({ type, ...detail });
    events.splice(SHOWN);
    if (paused) waiting += 1;
    else drawEvents();
    tellWaiting();
  };

  function tellWaiting() {
    if (!paused) waiting = 0;
    replace(state, paused ? `Paused; ${whole(waiting)} newer` : events.length ? "As they are stored; at most 100 are shown a second." : "Waiting for the first event…");
  }

  function sums(count, width, open) {
    const now = Math.floor(Date.now() / 1000 / width) * width + open * width;
    const starts = Array.from({ length: count }, (_, index) => now - (count - index) * width);
    const rows = starts.map((start) => {
      const sum = [0, 0, 0];
      for (let second = start; second < start + width; second += 1) {
        (seconds.get(second) ?? []).forEach((value, index) => { sum[index] += value; });
      }
      return sum;
    });
    return { times: starts.map((start) => new Date(start * 1000).toISOString()), rows };
  }

  function draw() {
    const labels = { zone: zone(frame.params), format: (value) => whole(Math.round(value)) };
    const last = sums(60, 1, 0);
    const series = ({ rows }) => [{ label: "Clicks", values: rows.map((row) => row[0]) }, { label: "Conversions", values: rows.map((row) => row[2]) }];
    minute.show(last.times, series(last), labels);
    const long = sums(MINUTES, 60, 1);
    half.show(long.times, series(long), labels);
    const mean = (index) => (last.rows.slice(-10).reduce((sum, row) => sum + row[index], 0) / 10).toFixed(1);
    replace(rates, [["Clicks a second", 0], ["Bots and others a second", 1], ["Conversions a second", 2]].map(([text, index]) =>
      h("div", {}, h("span", { class: "soft" }, text), h("b", { class: "value" }, mean(index)))));
  }

  function drawEvents() {
    const at = zone(frame.params);
    replace(list, events.map((one) => (one.type === "click"
      ? h("li", {}, h("span", { class: "num soft" }, clock(one.time, at)), tag("click"), tag(one.verdict), h("b", {}, one.link ?? ""),
        h("span", {}, one.affiliate_name ?? one.affiliate ?? ""), h("span", { class: "soft" }, [one.country, one.device, one.browser, one.referrer_host].filter(Boolean).join(" · ")))
      : h("li", {}, h("span", { class: "num soft" }, clock(one.time, at)), tag("conversion"), tag(one.kind), h("b", {}, one.order_id ?? one.conversion_id),
        h("span", { class: "num" }, money(one.order_value, one.currency)), h("span", {}, one.affiliate_name ?? one.affiliate ?? "(unattributed)")))));
  }

  // A feed of its own begins with `hello`, the counters of the last half hour.
  const feed = new frame.feed.constructor();
  for (const [name, listener] of [["hello", hello], ["tick", tick], ["click", event], ["conversion", event]]) feed.addEventListener(name, listener);
  feed.addEventListener("state", ({ detail }) => { if (!detail.connected) replace(state, "The connection broke off; trying again…"); });
  feed.run();
  return { element, refresh: async () => draw(), destroy: () => { feed.close(); minute.destroy(); half.destroy(); } };
}
