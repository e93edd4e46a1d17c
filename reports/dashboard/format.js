// Numbers, money and times as people read them, in the report's zone.

const WHOLE = new Intl.NumberFormat("en");
const PERCENT = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });

export const METRICS = {
  clicks: "Clicks", unique_clicks: "Unique clicks", bot_clicks: "Bot clicks", duplicate_clicks: "Duplicate clicks",
  conversions: "Conversions", pending: "Pending", approved: "Approved", rejected: "Rejected", revenue: "Revenue",
  commission: "Commission", cr: "CR", epc: "EPC", aov: "AOV", approval_rate: "Approval rate",
};
export const DIMENSIONS = {
  campaign: "Campaign", affiliate: "Affiliate", link: "Link", country: "Country", device: "Device", os: "System",
  browser: "Browser", language: "Language", referrer_host: "Referrer", verdict: "Verdict", currency: "Currency",
  ...Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`sub${index + 1}`, `sub${index + 1}`])),
  source_id: "Source", creative_id: "Creative", coupon_code: "Coupon", utm_source: "utm_source", utm_medium: "utm_medium",
  utm_campaign: "utm_campaign", utm_term: "utm_term", utm_content: "utm_content", event: "Event", status: "Status",
  verdict_reason: "Verdict reason",
};
const MONEY = new Set(["revenue", "commission", "epc", "aov"]);

export const whole = (number) => WHOLE.format(number);

export function money(amount, currency) {
  if (amount === null || amount === undefined) return "–";
  if (!currency) return WHOLE.format(amount);
  return new Intl.NumberFormat("en", { style: "currency", currency, currencyDisplay: "code" }).format(amount);
}

export function metric(name, value, currency) {
  if (value === null || value === undefined) return "–";
  if (MONEY.has(name)) return money(value, currency);
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

// The text of a row's dimension, and the value by which it is filtered.
export function dimension(name, row) {
  const value = row[name];
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
