// Affiliates with their commission by status; campaigns and affiliates are made here.

import { get, post } from "../api.js";
import { field, h, openForm } from "../dom.js";
import { amount, known, metric, money, whole } from "../format.js";
import { serverList } from "../frame/list.js";
import { change, filterChange, filteredIds, reportParams } from "../state.js";
import { tag } from "../table.js";

const STATUSES = ["pending", "approved"];
const SORTS = [["name", "Name"], ["-name", "Name, from the end"], ["-created_at", "Newest first"], ["created_at", "Oldest first"]];

export function open(frame) {
  let figures = new Map();
  let parts = new Map();

  const affiliates = serverList(frame, {
    caption: "Affiliates", search: "Name, e-mail address or id", sorts: SORTS, none: "No affiliate yet: make one.",
    tools: [h("button", { needs: "links:write", type: "button", class: "primary", onclick: () => newAffiliate() }, "New affiliate")],
    load, columns,
  });
  const campaigns = h("div", {});
  const element = h("div", {}, h("section", { class: "panel" }, affiliates.element),
    h("section", { class: "panel" }, h("div", { class: "head" }, h("h2", {}, "Campaigns"), h("button", { needs: "links:write", onclick: () => newCampaign() }, "New campaign")), campaigns));

  async function load(asked, signal) {
    const ids = filteredIds(frame.params, "affiliate");
    const page = await get("/v1/affiliates", { ...asked, ...(ids ? { id: ids } : {}) }, signal);
    page.data.forEach((one) => known.set(one.id, one.name));
    await readFigures(page.data.map((one) => one.id), signal);
    return page;
  }

  async function readFigures(ids, signal) {
    figures = parts = new Map();
    if (!ids.length) return;
    const base = reportParams(frame.params, frame.currency);
    const out = (base.affiliate ?? "").split(",").filter((value) => value.startsWith("-"));
    const asked = { ...base, affiliate: [...ids, ...out].slice(0, 100).join(","), limit: 1000 };
    const [sums, byStatus] = await Promise.all([
      get("/v1/reports", { ...asked, group_by: "affiliate", metrics: "clicks,conversions,cr,revenue,commission,epc,approval_rate" }, signal),
      get("/v1/reports", { ...asked, group_by: "affiliate,status", metrics: "conversions,commission" }, signal),
    ]);
    figures = new Map(sums.data.map((row) => [row.affiliate, row]));
    parts = new Map(byStatus.data.map((row) => [`${row.affiliate} ${row.status}`, row]));
  }

  function columns() {
    const of = (id, name) => figures.get(id)?.[name] ?? 0;
    const coin = (value) => amount(value, frame.currency);
    const unit = frame.currency ? ` (${frame.currency})` : "";
    return [
      ["name", "Affiliate", (one) => [h("button", { class: "link", title: "Only this affiliate", onclick: () => change(filterChange("affiliate", one.id), "overview") }, one.name),
        one.status === "active" ? null : [" ", tag(one.status)]], false, "name"],
      ["clicks", "Clicks", (one) => whole(of(one.id, "clicks")), true],
      ["conversions", "Conversions", (one) => whole(of(one.id, "conversions")), true],
      ["cr", "CR", (one) => metric("cr", figures.get(one.id)?.cr ?? null), true],
      ["epc", `EPC${unit}`, (one) => coin(figures.get(one.id)?.epc ?? null), true],
      ["revenue", `Revenue${unit}`, (one) => coin(of(one.id, "revenue")), true],
      ...STATUSES.map((status) => [status, `Commission ${status}${unit}`, (one) => coin(parts.get(`${one.id} ${status}`)?.commission ?? 0), true]),
      ["all", `Commission${unit}`, (one) => coin(of(one.id, "commission")), true],
      ["rate", "Approval rate", (one) => metric("approval_rate", figures.get(one.id)?.approval_rate ?? null), true],
    ];
  }

  const campaignList = serverList(frame, {
    caption: "Campaigns", search: "Name or id", names: ["cq", "csort"], sorts: SORTS, none: "No campaign yet: make one.",
    load: async (asked, signal) => {
      const ids = filteredIds(frame.params, "campaign");
      return get("/v1/campaigns", { ...asked, ...(ids ? { id: ids } : {}) }, signal);
    },
    columns: () => [
      ["name", "Name", (one) => [one.name, one.status === "active" ? null : [" ", tag(one.status)]], false, "name"], ["id", "Id", (one) => h("code", {}, one.id)],
      ["currency", "Currency", (one) => one.currency], ["commission", "Pays", (one) => terms(one)], ["window", "Window", (one) => `${one.window_days} days`, true],
    ],
  });
  campaigns.append(campaignList.element);

  function terms({ commission, currency }) {
    if (commission.kind === "percentage") return `${commission.rate} %`;
    if (commission.kind === "flat") return money(commission.amount, currency);
    return commission.tiers.map((tier) => `${tier.rate} % from ${money(tier.from, currency)}`).join(", ");
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

  return { element, refresh: (signal) => Promise.all([affiliates.refresh(signal), campaignList.refresh(signal)]) };
}
