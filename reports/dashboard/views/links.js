// Tracking links: what they brought in the period, made, changed, tried, and as a QR code.

import { get, patch, post } from "../api.js";
import { choice, copyButton, field, h, openForm, openPanel, replace } from "../dom.js";
import { amount, time, whole } from "../format.js";
import { picker, serverList } from "../frame/list.js";
import { learn, linkIds, textOf } from "../frame/names.js";
import { qr } from "../qr.js";
import { change, filteredIds, reportParams, zone } from "../state.js";
import { tag } from "../table.js";

const SORTS = [["-created_at", "Newest first"], ["created_at", "Oldest first"], ["tracking_code", "Tracking code"], ["-tracking_code", "Tracking code, from the end"]];

export function open(frame) {
  let counts = new Map();
  const status = h("span", {});
  const list = serverList(frame, {
    caption: "Tracking links", search: "Code, host of the destination or id", sorts: SORTS, none: "No link yet: make one.",
    tools: [status, h("button", { needs: "links:write", type: "button", class: "primary", onclick: () => create().catch((error) => frame.fail(error)) }, "New link")],
    load, columns,
  });
  const element = h("section", { class: "panel" }, list.element);

  async function refresh(signal) {
    replace(status, choice("Status", [["", "Any"], "active", "disabled"], frame.params.get("status") ?? "", (value) => change({ status: value })));
    await list.refresh(signal);
  }

  async function load(asked, signal) {
    const filtered = { status: frame.params.get("status"), campaign_id: filteredIds(frame.params, "campaign"), affiliate_id: filteredIds(frame.params, "affiliate") };
    const codes = filteredIds(frame.params, "link");
    if (codes) filtered.id = await linkIds(codes.split(","), signal) ?? "lnk_4294967295";
    const given = Object.fromEntries(Object.entries(filtered).filter(([, value]) => value));
    const page = await get("/v1/links", { ...asked, ...given }, signal);
    await Promise.all([readCounts(page.data, signal), learn("campaign", page.data.map((one) => one.campaign_id)), learn("affiliate", page.data.map((one) => one.affiliate_id))]);
    return page;
  }

  async function readCounts(links, signal) {
    counts = new Map();
    // Codes that a filter would read otherwise have no figures of their own to ask for.
    const codes = links.map((one) => one.tracking_code).filter((code) => !/^-|,/.test(code));
    if (!codes.length) return;
    const base = reportParams(frame.params, frame.currency);
    const out = (base.link ?? "").split(",").filter((value) => value.startsWith("-"));
    const report = await get("/v1/reports", { ...base, link: [...codes, ...out].slice(0, 100).join(","), group_by: "link", metrics: "clicks,conversions,commission", limit: 1000 }, signal);
    counts = new Map(report.data.map((row) => [row.link, row]));
  }

  function columns() {
    const unit = frame.currency ? ` (${frame.currency})` : "";
    const of = (one, name) => counts.get(one.tracking_code)?.[name] ?? 0;
    return [
      ["code", "Tracking code", (one) => [h("button", { class: "link", onclick: () => show(one) }, one.tracking_code), " ", tag(one.status)], false, "tracking_code"],
      ["campaign", "Campaign", (one) => textOf("campaign", one.campaign_id)],
      ["affiliate", "Affiliate", (one) => textOf("affiliate", one.affiliate_id)],
      ["destination", "Destination", (one) => one.destination],
      ["created", "Created", (one) => time(one.created_at, zone(frame.params), { dateStyle: "medium" }), false, "created_at"],
      ["clicks", "Clicks", (one) => whole(of(one, "clicks")), true],
      ["conversions", "Conversions", (one) => whole(of(one, "conversions")), true],
      ["commission", `Commission${unit}`, (one) => amount(of(one, "commission"), frame.currency), true],
    ];
  }

  async function create() {
    const found = (kind) => (q) => get(`/v1/${kind}`, { limit: 50, sort: "name", ...(q ? { q } : {}) });
    const campaign = picker("Campaign", "campaign_id", found("campaigns"));
    const affiliate = picker("Affiliate", "affiliate_id", found("affiliates"));
    await Promise.all([campaign.ready, affiliate.ready]);
    return openForm("New link", [
      campaign.element, affiliate.element,
      field("Destination", { name: "destination", type: "url", required: true, placeholder: "https://shop.example/p?ref={affiliate_id}" }),
      field("Tracking code (made up when left empty)", { name: "tracking_code" }),
    ], "Make the link", async (form) => {
      if (!form.tracking_code) delete form.tracking_code;
      const made = await post("/v1/links", form);
      await frame.refresh();
      show(made);
    });
  }

  function edit(link) {
    openForm(`Change ${link.tracking_code}`, [
      field("Destination", { name: "destination", type: "url", required: true, value: link.destination }),
      field("Fallback when disabled", { name: "fallback_url", type: "url", value: link.fallback_url }),
      h("label", {}, "Status", h("select", { name: "status" }, ["active", "disabled"].map((one) => h("option", { value: one, selected: one === link.status }, one)))),
    ], "Save", async (form) => {
      await patch(`/v1/links/${link.id}`, form);
      await frame.refresh();
    });
  }

  function show(link) {
    const shown = h("div", { "aria-live": "polite" });
    const query = h("input", { name: "query", value: "sub1=test" });
    const attempt = async (event) => {
      event?.preventDefault();
      try {
        const preview = await get(`/v1/links/${link.id}/preview`, query.value);
        replace(shown, h("dl", { class: "facts" },
          h("dt", {}, "A click on"), h("dd", {}, h("code", {}, preview.url)),
          h("dt", {}, "leads to"), h("dd", {}, h("code", {}, preview.location)),
          h("dt", {}, "filled in from"), h("dd", {}, h("code", {}, preview.destination))),
        h("p", { class: "soft" }, "Nothing was counted; the click id is made up."),
        h("a", { href: preview.url, target: "_blank", rel: "noreferrer" }, "Really click it (this counts)"));
      } catch (error) {
        replace(shown, h("p", { class: "error", role: "alert" }, error.message));
      }
    };
    const dialog = openPanel(link.tracking_code, h("p", {}, h("code", {}, link.url), " ", copyButton(link.url)), qr(link.url),
      h("form", { class: "tools", onsubmit: attempt }, h("label", {}, "Test click with", query), h("button", {}, "Show where it leads")), shown,
      h("div", { class: "actions" }, h("button", { needs: "links:write", onclick: () => { dialog.close(); edit(link); } }, "Change")));
    attempt();
  }

  return { element, refresh };
}
