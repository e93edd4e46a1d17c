// The picker of the period: presets, a range that is applied at once, and the periods beside it.

import { choice, h } from "../dom.js";
import { PRESETS, change, read, zone } from "../state.js";

const DAY = 86_400_000;
const QUARTER = 900_000;
const HOURS = { "24h": 24, "7d": 7 * 24, "30d": 30 * 24 };
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text ?? "");
const plusDays = (day, count) => new Date(Date.parse(day) + count * DAY).toISOString().slice(0, 10);
const plusMonths = (day, count) => {
  const date = new Date(day);
  return new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + count, 1)).toISOString().slice(0, 10);
};
const dayIn = (instant, at) => new Intl.DateTimeFormat("en-CA", { timeZone: at, year: "numeric", month: "2-digit", day: "2-digit" }).format(instant);

// All that may have been recorded, as changes of the address.
export const allTime = (params) => ({ from: "2000-01-01", to: plusDays(dayIn(Date.now(), zone(params)), 1) });

// The bounds [from, to) of a period, as days or as instants.
export function bounds(params, now = Date.now()) {
  const from = params.get("from") || "24h";
  const today = dayIn(now, zone(params));
  const month = `${today.slice(0, 8)}01`;
  switch (from) {
    case "today": return [today, plusDays(today, 1)];
    case "yesterday": return [plusDays(today, -1), today];
    case "mtd": return [month, plusMonths(month, 1)];
    case "last_month": return [plusMonths(month, -1), month];
    default: break;
  }
  const instant = (time) => new Date(Math.floor(time / QUARTER) * QUARTER).toISOString();
  if (HOURS[from]) return [instant(now - HOURS[from] * 3_600_000), instant(now)];
  return [from, params.get("to") || plusDays(today, 1)];
}

// The period beside the one in the address, before (-1) or after it (1), as changes of the address.
export function beside(params, way, now = Date.now()) {
  const [from, to] = bounds(params, now);
  const today = dayIn(now, zone(params));
  let next;
  if (!isDay(from) || !isDay(to)) {
    const length = Date.parse(to) - Date.parse(from);
    next = [from, to].map((bound) => new Date(Date.parse(bound) + way * length).toISOString());
  } else if (from.endsWith("-01") && to.endsWith("-01")) {
    const months = (Number(to.slice(0, 4)) - Number(from.slice(0, 4))) * 12 + Number(to.slice(5, 7)) - Number(from.slice(5, 7));
    next = [from, to].map((bound) => plusMonths(bound, way * months));
  } else {
    const days = (Date.parse(to) - Date.parse(from)) / DAY;
    next = [from, to].map((bound) => plusDays(bound, way * days));
  }
  if (Date.parse(next[0]) >= (isDay(next[0]) ? Date.parse(today) + DAY : now - QUARTER)) return null;
  const isOf = (name) => bounds(new URLSearchParams({ from: name, tz: zone(params) }), now)
    .every((bound, index) => (isDay(bound) ? bound === next[index] : Math.abs(Date.parse(bound) - Date.parse(next[index])) <= QUARTER));
  const preset = PRESETS.map(([name]) => name).find(isOf);
  return preset ? { from: preset, to: null } : { from: next[0], to: next[1] };
}

const isCustom = (params) => !PRESETS.some(([name]) => name === (params.get("from") || "24h"));

// The form of a range; nothing is asked for before it is sent.
function rangeForm(params) {
  const at = zone(params);
  const [from, to] = bounds(params);
  const first = isDay(from) ? from : dayIn(new Date(from), at);
  const last = isDay(to) ? plusDays(to, -1) : dayIn(new Date(to), at);
  const error = h("p", { class: "error", role: "alert" });
  const begin = h("input", { type: "date", name: "from", required: true, value: first, max: "2100-12-31", min: "2000-01-01" });
  const end = h("input", { type: "date", name: "to", required: true, value: last, max: "2100-12-31", min: "2000-01-01" });
  const apply = (event) => {
    event.preventDefault();
    if (end.value < begin.value) error.textContent = "The last day must not come before the first day.";
    else change({ from: begin.value, to: plusDays(end.value, 1) });
  };
  return h("form", { class: "range", onsubmit: apply, novalidate: undefined },
    h("label", {}, "First day", begin), h("label", {}, "Last day", end), h("button", {}, "Show this range"), error);
}

// The address says where it is by now: an event of its change may not have come yet.
function show(way) {
  const next = beside(read().params, way);
  if (next) change(next);
  return Boolean(next);
}

export function periodPicker(params, redraw, { open = false } = {}) {
  const custom = open || isCustom(params);
  const chosen = custom ? "custom" : params.get("from") || "24h";
  const pick = (value) => (value === "custom" ? redraw({ open: true }) : value === params.get("from") ? redraw() : change({ from: value, to: null }));
  const step = (way, text, label) => {
    const next = beside(params, way);
    return h("button", { type: "button", class: "step", "aria-label": label, title: `${label} (${way < 0 ? "←" : "→"})`, disabled: !next, onclick: () => show(way) }, text);
  };
  return [h("div", { class: "steps" }, choice("Period", [...PRESETS, ["custom", "Range of days"]], chosen, pick),
    step(-1, "‹", "Period before"), step(1, "›", "Period after")), custom ? rangeForm(params) : null];
}

// ← and → show the periods beside, unless the keys mean something where the focus is.
export function onArrowKeys(event) {
  const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!way || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (document.querySelector("dialog[open]") || event.target.closest?.("input, select, textarea, [role=region], .nav")) return;
  if (show(way)) event.preventDefault();
}
