// How to send a first click, or a first conversion with a test key.

import { get, key } from "../api.js";
import { copyButton, h, replace } from "../dom.js";

const BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

// The exact lines that send the first events, on the account's first link.
export async function firstClick(box, frame) {
  const { test } = frame.me.key;
  const title = `No ${test ? "test conversion" : "click"} in this period yet`;
  replace(box, h("section", { class: "panel" }, h("h2", {}, title), h("p", { class: "soft" }, "Looking for a tracking link…")));
  const links = await get("/v1/links", { limit: 1 }).catch(() => null);
  if (!box.isConnected) return;
  const lines = links?.data.length ? [...(test ? [] : [click(links.data[0])]), conversion(links.data[0], test)] : [noLink(test)];
  replace(box, h("section", { class: "panel first" }, h("h2", {}, title),
    lines.map(([text, line]) => [h("p", {}, text), line ? [h("pre", {}, line), h("p", {}, copyButton(line.replace(hidden(), key() ?? hidden())))] : null])),
  test ? h("p", { class: "note" }, "This is a test key: it shows the conversions that test keys post. Clicks are always live, so none shows here.") : null);
}

const click = ({ url }) => ["Send a click, as a browser would; it shows here within a second or two:", `curl -i -A '${BROWSER}' '${url}?sub1=first'`];

const conversion = ({ url, tracking_code: code }, test) => [test ? "Post a test conversion; it shows here within a second or two:" : "Then the conversion:",
  `curl -i '${new URL(url).origin}/v1/conversions' -H 'Authorization: Bearer ${hidden()}' -H 'Content-Type: application/json' -d '{"tracking_code": "${code}", "order_id": "order_1", "order_value": 99.99}'`];

const noLink = (test) => (test ? ["There is no tracking link yet: make one with a live key, under Links.", null]
  : ["There is no tracking link yet. Make one under Links, or by:", `curl -s ${location.origin}/v1/links -H 'Authorization: Bearer ${hidden()}' -H 'Content-Type: application/json' -d '{"campaign_id": "cmp_1", "affiliate_id": "aff_1", "destination": "https://shop.example/"}'`]);

// A key is not shown on a screen that others may see; the copy has it.
const hidden = () => "lj_live_…";
