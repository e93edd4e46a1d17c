// Affiliates with their commission by status; campaigns and affiliates are made here.

import { all, get, post } from "../api.js";
import { field, h, openForm, replace } from "../dom.js";
import { metric, money, whole } from "../format.js";
import { change, filterChange, reportParams } from "../state.js";
import { table } from "../table.js";

const STATUSES = ["pending", "approved", "rejected"];

export function open(frame) {
  const box = h("div", {});
  const campaigns = h("div", {});
  const element = h("div", {},
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Affiliates"), h("button", { class: "primary", onclick: () => newAffiliate() }, "New affiliate")), box),
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Campaigns"), h("button", { onclick: () => newCampaign() }, "New campaign")), campaigns));

  async function refresh(signal) {
    const base = { ...reportParams(frame.params, frame.currency), limit: 1000 };
    const [list, found, sums, byStatus] = await Promise.all([
      all("/v1/affiliates"), all("/v1/campaigns"),
      get("/v1/reports", { ...base, group_by: "affiliate", metrics: "clicks,conversions,cr,revenue,commission,epc,approval_rate" }, signal),
      get("/v1/reports", { ...base, group_by: "affiliate,status", metrics: "conversions,commission" }, signal),
    ]);
    drawAffiliates(list, sums.data, byStatus.data);
    replace(campaigns, table({
      caption: "Campaigns",
      rows: found,
      empty: "No campaign yet: make one.",
      columns: [
        ["name", "Name", (one) => one.name], ["id", "Id", (one) => h("code", {}, one.id)], ["currency", "Currency", (one) => one.currency],
        ["commission", "Pays", (one) => terms(one)], ["window", "Window", (one) => `${one.window_days} days`, true],
      ],
    }));
  }

  function terms({ commission, currency }) {
    if (commission.kind === "percentage") return `${commission.rate} %`;
    if (commission.kind === "flat") return money(commission.amount, currency);
    return commission.tiers.map((tier) => `${tier.rate} % from ${money(tier.from, currency)}`).join(", ");
  }

  function drawAffiliates(list, sums, byStatus) {
    const figures = new Map(sums.map((row) => [row.affiliate, row]));
    const parts = new Map(byStatus.map((row) => [`${row.affiliate} ${row.status}`, row]));
    const of = (id, name) => figures.get(id)?.[name] ?? 0;
    replace(box, table({
      caption: "Affiliates, with the period's figures and their commission by status",
      rows: list,
      empty: "No affiliate yet: make one.",
      columns: [
        ["name", "Affiliate", (one) => h("button", { class: "link", title: "Only this affiliate", onclick: () => change(filterChange("affiliate", one.id), "overview") }, one.name)],
        ["clicks", "Clicks", (one) => whole(of(one.id, "clicks")), true],
        ["conversions", "Conversions", (one) => whole(of(one.id, "conversions")), true],
        ["cr", "CR", (one) => metric("cr", figures.get(one.id)?.cr ?? null), true],
        ["epc", "EPC", (one) => metric("epc", figures.get(one.id)?.epc ?? null, frame.currency), true],
        ["revenue", "Revenue", (one) => money(of(one.id, "revenue"), frame.currency), true],
        ...STATUSES.slice(0, 2).map((status) => [status, `Commission ${status}`, (one) => money(parts.get(`${one.id} ${status}`)?.commission ?? 0, frame.currency), true]),
        ["all", "Commission", (one) => money(of(one.id, "commission"), frame.currency), true],
        ["rate", "Approval rate", (one) => metric("approval_rate", figures.get(one.id)?.approval_rate ?? null), true],
      ],
    }));
  }

  function newAffiliate() {
    openForm("New affiliate", [field("Name", { name: "name", required: true, maxlength: 200 })], "Make the affiliate", async (form) => {
      await post("/v1/affiliates", form);
      await frame.refresh();
    });
  }

  function newCampaign() {
    openForm("New campaign", [
      field("Name", { name: "name", required: true, maxlength: 200 }),
      field("Currency (ISO 4217)", { name: "currency", required: true, value: frame.currency ?? "USD", maxlength: 3 }),
      field("Commission in percent of the order value", { name: "rate", required: true, inputmode: "decimal", value: "30" }),
      field("Attribution window in days", { name: "window_days", type: "number", min: "0", max: "3650", value: "30" }),
    ], "Make the campaign", async (form) => {
      await post("/v1/campaigns", { name: form.name, currency: form.currency.toUpperCase(), window_days: Number(form.window_days), commission: { kind: "percentage", rate: form.rate } });
      await frame.refresh();
    });
  }

  return { element, refresh };
}
