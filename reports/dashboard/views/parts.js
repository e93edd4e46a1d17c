// What several views show alike: filters as chips, and how to send a first click.

import { get, key } from "../api.js";
import { copyButton, h, replace } from "../dom.js";
import { DIMENSIONS } from "../format.js";
import { change, filterChange } from "../state.js";

const BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

export function chips(chosen) {
  if (!chosen.length) return null;
  return h("div", { class: "chips", role: "group", "aria-label": "Filters" }, chosen.map(([name, value]) => {
    const label = DIMENSIONS[name] ?? name;
    return h("span", { class: "chip" }, `${label} = ${value === "" ? "(none)" : value}`,
      h("button", { "aria-label": `Remove the filter ${label}`, onclick: () => change(filterChange(name, null)) }, "✕"));
  }));
}

// The exact line that sends the first click, on the account's first link.
export async function firstClick(box, frame) {
  replace(box, h("section", { class: "panel" }, h("h2", {}, "No click in this period yet"), h("p", { class: "soft" }, "Looking for a tracking link…")));
  const links = await get("/v1/links", { limit: 1 }).catch(() => null);
  if (!box.isConnected) return;
  const link = links?.data[0];
  const origin = location.origin;
  const lines = link
    ? [["Send a click, as a browser would; it shows here within a second or two:", `curl -i -A '${BROWSER}' '${link.url}?sub1=first'`],
      ["Then the conversion:", `curl -i '${new URL(link.url).origin}/v1/conversions' -H 'Authorization: Bearer ${hidden()}' -H 'Content-Type: application/json' -d '{"tracking_code": "${link.tracking_code}", "order_id": "order_1", "order_value": 99.99}'`]]
    : [["There is no tracking link yet. Make one under Links, or by:", `curl -s ${origin}/v1/links -H 'Authorization: Bearer ${hidden()}' -H 'Content-Type: application/json' -d '{"campaign_id": "cmp_1", "affiliate_id": "aff_1", "destination": "https://shop.example/"}'`]];
  replace(box, h("section", { class: "panel first" }, h("h2", {}, "No click in this period yet"),
    lines.map(([text, line]) => [h("p", {}, text), h("pre", {}, line), h("p", {}, copyButton(line.replace(hidden(), key())))])));
  if (frame.me.key.test) box.append(h("p", { class: "note" }, "This is a test key: it shows test events only."));
}

// A key is not shown on a screen that others may see; the copy has it.
const hidden = () => "lj_live_…";
