// Conversions as they stand, their history, and what people decide about them.

import { get, post, save } from "../api.js";
import { choice, field, h, openForm, openPanel, replace } from "../dom.js";
import { money, time } from "../format.js";
import { change, zone } from "../state.js";
import { table, tag } from "../table.js";

const any = (words) => [["", "Any"], ...words.map((word) => [word, word.replace("_", " ")])];
const unique = () => `dashboard-${crypto.randomUUID()}`;

export function open(frame) {
  const tools = h("div", { class: "tools" });
  const box = h("div", {});
  const element = h("section", { class: "panel" }, tools, box);
  let cursors = [null];

  function asked() {
    const found = { limit: 50, timezone: zone(frame.params) };
    if (!frame.params.get("order_id")) {
      found.from = frame.params.get("from") || "24h";
      if (frame.params.get("to")) found.to = frame.params.get("to");
    }
    for (const name of ["status", "attribution", "payout", "verified", "order_id"]) {
      if (frame.params.get(name)) found[name] = frame.params.get(name);
    }
    const cursor = cursors.at(-1);
    return cursor ? { ...found, cursor } : found;
  }

  function whole() {
    const { limit: _, cursor: __, ...rest } = asked();
    return rest;
  }

  function set(changes) {
    cursors = [null];
    change(changes);
  }

  function drawTools() {
    const order = h("input", { name: "order", value: frame.params.get("order_id") ?? "", "aria-label": "Order id" });
    replace(tools,
      choice("Status", any(["pending", "approved", "rejected"]), frame.params.get("status") ?? "", (value) => set({ status: value })),
      choice("Attribution", any(["click", "tracking_code", "coupon", "order", "customer", "manual", "none"]), frame.params.get("attribution") ?? "", (value) => set({ attribution: value })),
      choice("Payout", any(["unpaid", "paid"]), frame.params.get("payout") ?? "", (value) => set({ payout: value })),
      choice("Verified", [["", "Any"], ["true", "verified"], ["false", "unverified"]], frame.params.get("verified") ?? "", (value) => set({ verified: value })),
      h("form", { onsubmit: (event) => { event.preventDefault(); set({ order_id: order.value.trim() }); } }, h("label", {}, "Order id", order)),
      h("button", { "aria-pressed": String(frame.params.get("attribution") === "none"), onclick: () => set({ attribution: frame.params.get("attribution") === "none" ? null : "none" }) }, "Unattributed inbox"),
      h("button", { onclick: () => save("/v1/conversions", whole(), "linkjolt-conversions.csv").catch((error) => frame.fail(error)) }, "Save as CSV"));
  }

  async function refresh(signal) {
    drawTools();
    const page = await get("/v1/conversions", asked(), signal);
    const at = zone(frame.params);
    replace(box, table({
      caption: "Conversions of the period, the newest first",
      rows: page.data,
      empty: "No conversion fits.",
      columns: [
        ["time", "Time", (one) => time(one.timestamp, at)],
        ["order", "Order", (one) => h("button", { class: "link", onclick: () => show(one.conversion_id) }, one.order_id ?? one.conversion_id)],
        ["event", "Event", (one) => one.event],
        ["status", "Status", (one) => [tag(one.status), one.payout === "paid" ? tag("paid") : null, one.verified ? null : tag("unverified")]],
        ["affiliate", "Affiliate", (one) => one.affiliate_name ?? one.affiliate_id ?? tag("none")],
        ["campaign", "Campaign", (one) => one.campaign_name ?? one.campaign_id],
        ["value", "Order value", (one) => money(one.order_value, one.currency), true],
        ["net", "Net value", (one) => money(one.net_value, one.currency), true],
        ["commission", "Commission", (one) => money(one.commission_amount, one.currency), true],
      ],
    }), h("div", { class: "actions" },
      h("button", { disabled: cursors.length < 2, onclick: () => { cursors.pop(); frame.refresh(); } }, "Newer"),
      h("button", { disabled: !page.next_cursor, onclick: () => { cursors.push(page.next_cursor); frame.refresh(); } }, "Older")));
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
    const now = (label, kind) => h("button", { onclick: () => done({ kind }).catch((error) => { close(); frame.fail(error); }) }, label);
    const ask = (label, title, fields, body, route) => h("button", { onclick: () => openForm(title, fields(), label, (form) => done(body(form), route)) }, label);
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
