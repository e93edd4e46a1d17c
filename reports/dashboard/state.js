// What is looked at stands in the address: a link to a view shows the same to a colleague.

import { get } from "./api.js";
import { takesFilter } from "./views.js";

export const PRESETS = [["today", "Today"], ["yesterday", "Yesterday"], ["24h", "24 hours"], ["7d", "7 days"],
  ["30d", "30 days"], ["mtd", "Month to date"], ["last_month", "Last month"]];
const FILTER = "f.";
const SHARED = ["from", "to", "tz", "cur", "cmp"];
// Browsers still tell some zones by names that the IANA database has given up.
const RENAMED = { "Asia/Calcutta": "Asia/Kolkata", "Asia/Katmandu": "Asia/Kathmandu", "Asia/Saigon": "Asia/Ho_Chi_Minh",
  "Asia/Rangoon": "Asia/Yangon", "Europe/Kiev": "Europe/Kyiv", "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
  "America/Godthab": "America/Nuuk", "Atlantic/Faeroe": "Atlantic/Faroe" };
const named = (name) => RENAMED[name] ?? name;
const here = named(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
export const ZONES = [...new Set(["UTC", ...Intl.supportedValuesOf("timeZone").map(named)])];

export function read() {
  const [view, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view, params: new URLSearchParams(query ?? "") };
}

export function address(view, params) {
  const query = params.toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

// Changes some parameters of the address; null takes one away. `replaced`: without a step back.
export function change(changes, view, { replaced = false } = {}) {
  const state = read();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || (value === "" && !name.startsWith(FILTER))) state.params.delete(name);
    else state.params.set(name, value);
  }
  const next = address(view ?? state.view, state.params);
  if (replaced) location.replace(next);
  else location.hash = next;
}

// What a view takes over from another one; the rest of the address is the other one's own.
export function shared(params, view) {
  const kept = new URLSearchParams();
  for (const [name, value] of params) {
    const filter = name.startsWith(FILTER) && takesFilter(view, name.slice(FILTER.length));
    if (SHARED.includes(name) || filter) kept.append(name, value);
  }
  return kept;
}

// The address without filters that do not act in its view; null if it has none.
export function withoutIdle(view, params) {
  const kept = new URLSearchParams([...params].filter(([name]) => !name.startsWith(FILTER) || takesFilter(view, name.slice(FILTER.length))));
  return kept.size === params.size ? null : kept;
}

export const zone = (params) => params.get("tz") || here;

export function filters(params) {
  return [...params].filter(([name]) => name.startsWith(FILTER)).map(([name, value]) => [name.slice(FILTER.length), value]);
}

export const filterChange = (dimension, value) => ({ [FILTER + dimension]: value });

// The ids by which a list is filtered, from a filter of reports; null where it only leaves some out.
export function filteredIds(params, dimension) {
  const ids = (params.get(FILTER + dimension) ?? "").split(",").filter((value) => value && !value.startsWith("-"));
  return ids.length ? ids.join(",") : null;
}

export function period(params) {
  const found = { from: params.get("from") || "24h", timezone: zone(params) };
  if (params.get("to")) found.to = params.get("to");
  return found;
}

// The parameters that every report of the page has.
export function reportParams(params, currency) {
  const found = { ...period(params), ...Object.fromEntries(filters(params)) };
  if (currency && !found.currency) found.currency = currency;
  return found;
}

export function interval(params) {
  const from = params.get("from") || "24h";
  if (["today", "yesterday", "24h"].includes(from)) return "hour";
  if (PRESETS.some(([name]) => name === from)) return "day";
  const days = (Date.parse(params.get("to") || new Date().toISOString()) - Date.parse(from)) / 86_400_000;
  if (days <= 3) return "hour";
  if (days <= 100) return "day";
  return days <= 700 ? "week" : "month";
}

// The currencies of the period, the one with most conversions first.
export async function currencies(params, signal) {
  const asked = reportParams(params);
  delete asked.currency;
  const found = await get("/v1/reports",
    { ...asked, group_by: "currency", metrics: "conversions", sort: "-conversions" }, signal);
  return found.data.map((row) => row.currency).filter(Boolean);
}
