// Numbers, money and times as people read them, in the report's zone.

const WHOLE = new Intl.NumberFormat("en");
const PERCENT = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const METRICS = {
  clicks: "Clicks", unique_clicks: "Unique clicks", bot_clicks: "Bot clicks", duplicate_clicks: "Duplicate clicks",
  conversions: "Conversions", pending: "Pending", approved: "Approved", rejected: "Rejected", revenue: "Revenue",
  commission: "Commission", cr: "CR", epc: "EPC", aov: "AOV", approval_rate: "Approval rate", clawback: "Claw-back", unverified_conversions: "Unverified",
};
export const DIMENSIONS = {
  campaign: "Campaign", affiliate: "Affiliate", link: "Link", country: "Country", region: "Region", device: "Device", os: "System",
  browser: "Browser", language: "Language", referrer_host: "Referrer", verdict: "Verdict", currency: "Currency",
  ...Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`sub${index + 1}`, `sub${index + 1}`])),
  source_id: "Source", creative_id: "Creative", coupon_code: "Coupon", utm_source: "utm_source", utm_medium: "utm_medium",
  utm_campaign: "utm_campaign", utm_term: "utm_term", utm_content: "utm_content", event: "Event", status: "Status",
  verdict_reason: "Verdict reason",
};
// Why a request got its verdict (`linkjolt/verdict_reasons.py`).
export const REASONS = {
  "": "Nothing speaks against a person.",
  head_request: "A HEAD request asks for no page.",
  prefetch_request: "The browser loaded it ahead of any click.",
  link_preview: "A chat or social network fetched the link to show a preview.",
  crawler_list: "The user agent is on the list of known crawlers.",
  headless_browser: "The user agent is that of a browser driven by a program.",
  http_library: "The user agent is an HTTP library's own.",
  self_declared: "The user agent calls itself a bot or carries a contact address.",
  unknown_program: "The user agent names neither a browser nor a system.",
  empty_user_agent: "No user agent was sent; browsers always send one.",
};
const MONEY = new Set(["revenue", "commission", "epc", "aov", "clawback"]);

export const isMoney = (name) => MONEY.has(name);
export const whole = (number) => WHOLE.format(number);

export function money(amount, currency) {
  if (amount === null || amount === undefined) return "–";
  if (!currency) return WHOLE.format(amount);
  return new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code" }).format(amount);
}

// The same without the currency's code, where a heading has it.
export function amount(value, currency) {
  if (value === null || value === undefined) return "–";
  const digits = currency ? new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions().maximumFractionDigits : 2;
  return new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(value);
}

export function metric(name, value, currency) {
  if (value === null || value === undefined) return "–";
  if (isMoney(name)) return money(value, currency);
  return name === "cr" || name === "approval_rate" ? PERCENT.format(value) : WHOLE.format(value);
}

// A value's change since an earlier one, as [text, up | down | ""].
export function change(now, before) {
  if (now === null || before === null || before === undefined || now === undefined) return ["–", ""];
  if (before === 0) return now === 0 ? ["0 %", ""] : ["new", "up"];
  const part = (now - before) / Math.abs(before);
  const text = `${part > 0 ? "+" : ""}${(part * 100).toFixed(Math.abs(part) < 0.1 ? 1 : 0)} %`;
  return [text, part > 0 ? "up" : part < 0 ? "down" : ""];
}

export function time(instant, zone, style = { dateStyle: "medium", timeStyle: "medium" }) {
  return new Intl.DateTimeFormat("en-GB", { ...style, timeZone: zone }).format(new Date(instant));
}

export const clock = (instant, zone) => time(instant, zone, { timeStyle: "medium" });

// Names of campaigns and affiliates by id, as answers have told them.
export const known = new Map();

// The text of a row's dimension, and the value by which it is filtered.
export function dimension(name, row) {
  const value = row[name];
  if (row[`${name}_name`]) known.set(value, row[`${name}_name`]);
  if (name === "campaign" || name === "affiliate") {
    return { text: value === null ? "(none)" : `${row[`${name}_name`] ?? value}`, filter: value };
  }
  return { text: value === "" || value === null ? "(none)" : value, filter: name === "link" && !value ? null : value };
}

export function ago(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}
