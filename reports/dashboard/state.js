// What is looked at stands in the address: a link to a view shows the same to a colleague.

import { get } from "./api.js";

export const PRESETS = [["today", "Today"], ["yesterday", "Yesterday"], ["24h", "24 hours"], ["7d", "7 days"],
  ["30d", "30 days"], ["mtd", "Month to date"], ["last_month", "Last month"]];
const FILTER = "f.";
// Browsers still tell some zones by names that the IANA database has given up.
const RENAMED = { "Asia/Calcutta": "Asia/Kolkata", "Asia/Katmandu": "Asia/Kathmandu", "Asia/Saigon": "Asia/Ho_Chi_Minh",
  "Asia/Rangoon": "Asia/Yangon", "Europe/Kiev": "Europe/Kyiv", "America/Buenos_Aires": "America/Argentina/Buenos_Aires",
  "America/Godthab": "America/Nuuk", "Atlantic/Faeroe": "Atlantic/Faroe" };
const named = (name) => RENAMED[name] ?? name;
const here = named(Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC");
export const ZONES = [...new Set(["UTC", ...Intl.supportedValuesOf("timeZone").map(named)])];

export function read() {
  const [view, query] = location.hash.replace(/^#\/?/, "").split("?");
  return { view: view || "overview", params: new URLSearchParams(query ?? "") };
}

export function address(view, params) {
  const query = params.toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

// Changes some parameters of the address; null takes one away.
export function change(changes, view) {
  const state = read();
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || (value === "" && !name.startsWith(FILTER))) state.params.delete(name);
    else state.params.set(name, value);
  }
  location.hash = address(view ?? state.view, state.params);
}

// What every view shares; the rest of the address is the view's own.
export function shared(params) {
  const kept = new URLSearchParams();
  for (const [name, value] of params) {
    if (["from", "to", "tz", "cur", "cmp"].includes(name) || name.startsWith(FILTER)) kept.append(name, value);
  }
  return kept;
}

export const zone = (params) => params.get("tz") || here;

export function filters(params) {
  return [...params].filter(([name]) => name.startsWith(FILTER)).map(([name, value]) => [name.slice(FILTER.length), value]);
}

export const filterChange = (dimension, value) => ({ [FILTER + dimension]: value });

// The parameters that every report of the page has.
export function reportParams(params, currency) {
  const found = { from: params.get("from") || "24h", timezone: zone(params) };
  if (params.get("to")) found.to = params.get("to");
  for (const [name, value] of filters(params)) found[name] = value;
  if (currency && !found.currency) found.currency = currency;
  return found;
}

export function interval(params) {
  const from = params.get("from") || "24h";
  if (["today", "yesterday", "24h"].includes(from)) return "hour";
  if (PRESETS.some(([name]) => name === from)) return "day";
  const days = (Date.parse(params.get("to") || new Date().toISOString()) - Date.parse(from)) / 86_400_000;
  if (days <= 3) return "hour";
  return days <= 100 ? "day" : "week";
}

// The currencies of the period, the one with most conversions first.
export async function currencies(params, signal) {
  const asked = reportParams(params);
  delete asked.currency;
  const found = await get("/v1/reports",
    { ...asked, group_by: "currency", metrics: "conversions", sort: "-conversions" }, signal);
  return found.data.map((row) => row.currency).filter(Boolean);
}
