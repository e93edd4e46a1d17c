// Conversions as they stand, their history, and what people decide about them.

import { get, post, save } from "../api.js";
import { choice, field, h, openForm, openPanel, replace, uniqueId } from "../dom.js";
import { money, time } from "../format.js";
import { serverList } from "../frame/list.js";
import { allTime } from "../frame/period.js";
import { change, filterChange, filters, period, zone } from "../state.js";
import { table, tag } from "../table.js";

const any = (words) => [["", "Any"], ...words.map((word) => [word, word.replace("_", " ")])];
const unique = () => `dashboard-${uniqueId()}`;
const SORTS = [["-time", "Newest first"], ["time", "Oldest first"], ["-order_value", "Order value, the highest first"], ["order_value", "Order value"],
  ["-net_value", "Net value, the highest first"], ["net_value", "Net value"], ["-commission_amount", "Commission, the highest first"], ["commission_amount", "Commission"]];
const CHOSEN = ["attribution", "payout", "verified"];

export function open(frame) {
  const tools = h("span", { class: "tools inner" });
  const list = serverList(frame, {
    caption: "Conversions", search: "Part of an order, click, customer or conversion id, or a coupon", sorts: SORTS, tools: [tools],
    none: ["No conversion of this period fits. ", h("button", { class: "link", onclick: () => change(allTime(frame.params)) }, "Look at all time")],
    load: (wanted, signal) => get("/v1/conversions", { ...asked(), ...wanted }, signal), columns,
  });
  const element = h("section", { class: "panel" }, list.element);

  function asked() {
    const chosen = CHOSEN.map((name) => [name, frame.params.get(name)]).filter(([, value]) => value);
    return { ...period(frame.params), ...Object.fromEntries(filters(frame.params)), ...Object.fromEntries(chosen) };
  }

  function drawTools() {
    const { params } = frame;
    const inbox = params.get("attribution") === "none";
    const pick = (name) => (value) => change({ [name]: value });
    const status = params.get("f.status") ?? "";
    const statuses = any(["pending", "approved", "rejected"]);
    replace(tools,
      choice("Status", statuses.some(([value]) => value === status) ? statuses : [...statuses, [status, status]], status, (value) => change(filterChange("status", value || null))),
      choice("Attribution", any(["click", "tracking_code", "coupon", "order", "customer", "manual", "none"]), params.get("attribution") ?? "", pick("attribution")),
      choice("Payout", any(["unpaid", "paid"]), params.get("payout") ?? "", pick("payout")),
      choice("Verified", [["", "Any"], ["true", "verified"], ["false", "unverified"]], params.get("verified") ?? "", pick("verified")),
      h("button", { type: "button", "aria-pressed": String(inbox), onclick: () => change({ attribution: inbox ? null : "none" }) }, "Unattributed inbox"),
      h("button", { type: "button", onclick: download }, "Save as CSV"));
  }

  function download() {
    const { params } = frame;
    const wanted = { ...asked(), sort: params.get("sort") ?? SORTS[0][0], ...(params.get("q") ? { q: params.get("q") } : {}) };
    save("/v1/conversions", { ...wanted, format: "csv" }, "linkjolt-conversions.csv").catch((error) => frame.fail(error));
  }

  async function refresh(signal) {
    drawTools();
    await list.refresh(signal);
  }

  function columns() {
    const at = zone(frame.params);
    return [
      ["time", "Time", (one) => time(one.timestamp, at), false, "time"],
      ["order", "Order", (one) => h("button", { class: "link", onclick: () => show(one.conversion_id) }, one.order_id ?? one.conversion_id)],
      ["event", "Event", (one) => one.event],
      ["status", "Status", (one) => [tag(one.status), one.payout === "paid" ? tag("paid") : null, one.verified ? null : tag("unverified")]],
      ["affiliate", "Affiliate", (one) => one.affiliate_name ?? one.affiliate_id ?? tag("none")],
      ["campaign", "Campaign", (one) => one.campaign_name ?? one.campaign_id],
      ["value", "Order value", (one) => money(one.order_value, one.currency), true, "order_value"],
      ["net", "Net value", (one) => money(one.net_value, one.currency), true, "net_value"],
      ["commission", "Commission", (one) => money(one.commission_amount, one.currency), true, "commission_amount"],
    ];
  }

  async function show(id) {
    try {
      const one = await get(`/v1/conversions/${id}`);
      const dialog = openPanel(one.order_id ?? one.conversion_id, facts(one), history(one), actions(one, () => dialog.close()));
    } catch (error) {
      frame.fail(error);
    }
  }

  function facts(one) {
    const rows = [["Conversion", one.conversion_id], ["Status", tag(one.status)], ["Order value", money(one.order_value, one.currency)],
      ["Refunded", money(one.refunded, one.currency)], ["Commission", money(one.commission_amount, one.currency)], ["Payout", one.payout],
      ["Attribution", `${one.attribution.method}${one.attribution.reason ? ` (${one.attribution.reason})` : ""}`], ["Click", one.click_id ?? "–"]];
    return h("dl", { class: "facts" }, rows.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]).flat());
  }

  function history(one) {
    const at = zone(frame.params);
    return table({
      caption: "History",
      rows: one.history,
      columns: [
        ["time", "Time", (fact) => time(fact.timestamp, at)],
        ["kind", "What", (fact) => tag(fact.kind)],
        ["author", "By", (fact) => fact.author ?? "–"],
        ["reason", "Reason", (fact) => fact.reason],
        ["value", "Order value", (fact) => money(fact.order_value_change, one.currency), true],
        ["commission", "Commission", (fact) => money(fact.commission_change, one.currency), true],
      ],
    });
  }

  function actions(one, close) {
    const path = `/v1/conversions/${one.conversion_id}`;
    const done = async (body, route = "adjustments") => {
      await post(`${path}/${route}`, { adjustment_id: unique(), ...body });
      close();
      await frame.refresh();
    };
    const now = (label, kind) => h("button", { needs: kind === "pay" ? "payouts:write" : "conversions:write", onclick: () => done({ kind }).catch((error) => { close(); frame.fail(error); }) }, label);
    const ask = (label, title, fields, body, route) => h("button", { needs: "conversions:write", onclick: () => openForm(title, fields(), label, (form) => done(body(form), route)) }, label);
    const reason = () => [field("Reason", { name: "reason", required: true, maxlength: 500 })];
    const amount = () => [field(`Amount in ${one.currency} (empty: all that is left)`, { name: "amount", inputmode: "decimal" })];
    const whom = () => [field("Tracking code of the link that earned it", { name: "tracking_code", required: true })];
    return h("div", { class: "actions" },
      one.status === "approved" ? null : now("Approve", "approve"),
      one.status === "rejected" ? null : ask("Reject", "Reject the conversion", reason, (form) => ({ kind: "reject", reason: form.reason })),
      one.status === "rejected" ? null : ask("Refund", "Refund the order", amount, (form) => ({ kind: "refund", ...(form.amount ? { amount: form.amount } : {}) })),
      one.status === "approved" && one.payout === "unpaid" ? now("Mark as paid", "pay") : null,
      ["none", "manual"].includes(one.attribution.method) ? ask("Attribute", "Attribute by hand", whom, (form) => ({ tracking_code: form.tracking_code }), "attribute") : null);
  }

  return { element, refresh };
}
