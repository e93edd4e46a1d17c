// Tracking links: what they brought in the period, made, changed, tried, and as a QR code.

import qrcode from "../vendor/qrcode.js";
import { all, get, patch, post } from "../api.js";
import { copyButton, field, h, openForm, openPanel, replace, svg } from "../dom.js";
import { metric, whole } from "../format.js";
import { reportParams } from "../state.js";
import { table, tag } from "../table.js";

const MARGIN = 4;

function qr(text) {
  const code = qrcode(0, "M");
  code.addData(text);
  code.make();
  const size = code.getModuleCount();
  const path = [];
  for (let row = 0; row < size; row += 1) {
    for (let column = 0; column < size; column += 1) {
      if (code.isDark(row, column)) path.push(`M${column + MARGIN} ${row + MARGIN}h1v1h-1z`);
    }
  }
  const whole = size + 2 * MARGIN;
  return svg("svg", { class: "qr", viewBox: `0 0 ${whole} ${whole}`, role: "img", "aria-label": `QR code of ${text}` }, svg("path", { d: path.join("") }));
}

export function open(frame) {
  const box = h("div", {});
  const find = h("input", { type: "search", "aria-label": "Find a link", placeholder: "Code, destination, affiliate", oninput: () => draw() });
  const element = h("section", { class: "panel" }, h("div", { class: "head" }, find, h("button", { class: "primary", onclick: () => create().catch((error) => frame.fail(error)) }, "New link")), box);
  let links = [];
  let names = new Map();
  let counts = new Map();

  async function refresh(signal) {
    const report = get("/v1/reports", { ...reportParams(frame.params, frame.currency), group_by: "link", metrics: "clicks,conversions,commission", limit: 1000 }, signal);
    [links] = await Promise.all([all("/v1/links"), readNames()]);
    counts = new Map((await report).data.map((row) => [row.link, row]));
    draw();
  }

  async function readNames() {
    const [campaigns, affiliates] = await Promise.all([all("/v1/campaigns"), all("/v1/affiliates")]);
    names = new Map([...campaigns, ...affiliates].map((one) => [one.id, one.name]));
  }

  function draw() {
    const wanted = find.value.toLowerCase();
    const rows = links.filter((one) => [one.tracking_code, one.destination, names.get(one.affiliate_id)].some((text) => (text ?? "").toLowerCase().includes(wanted)));
    replace(box, table({
      caption: `Tracking links (${whole(rows.length)}), with the period's figures`,
      rows: rows.slice(0, 500),
      empty: "No link yet: make one.",
      columns: [
        ["code", "Tracking code", (one) => [h("button", { class: "link", onclick: () => show(one) }, one.tracking_code), " ", tag(one.status)]],
        ["campaign", "Campaign", (one) => names.get(one.campaign_id) ?? one.campaign_id],
        ["affiliate", "Affiliate", (one) => names.get(one.affiliate_id) ?? one.affiliate_id],
        ["destination", "Destination", (one) => one.destination],
        ["clicks", "Clicks", (one) => whole(counts.get(one.tracking_code)?.clicks ?? 0), true],
        ["conversions", "Conversions", (one) => whole(counts.get(one.tracking_code)?.conversions ?? 0), true],
        ["commission", "Commission", (one) => metric("commission", counts.get(one.tracking_code)?.commission ?? 0, frame.currency), true],
      ],
    }));
  }

  async function create() {
    await readNames();
    const options = (kind) => [...names].filter(([id]) => id.startsWith(kind)).map(([id, name]) => h("option", { value: id }, name));
    if (!options("cmp_").length || !options("aff_").length) return frame.fail(new Error("A link needs a campaign and an affiliate: make them under Affiliates first."));
    return openForm("New link", [
      h("label", {}, "Campaign", h("select", { name: "campaign_id" }, options("cmp_"))),
      h("label", {}, "Affiliate", h("select", { name: "affiliate_id" }, options("aff_"))),
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
      h("div", { class: "actions" }, h("button", { onclick: () => { dialog.close(); edit(link); } }, "Change")));
    attempt();
  }

  return { element, refresh };
}
