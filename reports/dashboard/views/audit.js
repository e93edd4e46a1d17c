// Who changed what, the newest first, and whose credentials were refused.

import { get, save } from "../api.js";
import { field, h, openPanel, replace } from "../dom.js";
import { time, whole } from "../format.js";
import { change, zone } from "../state.js";
import { table } from "../table.js";

const PAGE = 50;
const FILTERS = [["actor", "Who (such as key_1 or cli)"], ["operation", "Operation"], ["object", "Object (such as lnk_1)"]];

export function open(frame) {
  const tools = h("form", { class: "tools", onsubmit: filter });
  const list = h("div", {});
  const element = h("section", { class: "panel" }, tools, list);
  let cursors = [null];
  let asked = "";

  const wanted = () => Object.fromEntries(FILTERS.map(([name]) => [name, frame.params.get(name)]).filter(([, value]) => value));

  function filter(event) {
    event.preventDefault();
    change(Object.fromEntries([...new FormData(tools)].map(([name, value]) => [name, value.trim() || null])));
  }

  function drawTools() {
    replace(tools, FILTERS.map(([name, label]) => field(label, { name, value: frame.params.get(name) ?? "", maxlength: 128 })),
      h("button", {}, "Filter"), h("button", { type: "button", onclick: download }, "Save as CSV"));
  }

  function download() {
    save("/v1/audit", { ...wanted(), format: "csv" }, "linkjolt-audit.csv").catch((error) => frame.fail(error));
  }

  async function refresh(signal) {
    const filters = JSON.stringify(wanted());
    if (filters !== asked || !tools.childElementCount) {
      [asked, cursors] = [filters, [null]];
      drawTools();
    }
    const cursor = cursors.at(-1);
    draw(await get("/v1/audit", { ...wanted(), limit: PAGE, ...(cursor ? { cursor } : {}) }, signal));
  }

  function draw({ data, next_cursor: next }) {
    const turn = (step) => () => { step(); frame.refresh(); };
    const at = zone(frame.params);
    replace(list, table({
      caption: "Audit log, the newest first", rows: data, cards: true, empty: "No record fits.",
      columns: [
        ["at", "Time", (one) => time(one.at, at)],
        ["actor", "Who", (one) => [one.actor ?? "nobody", one.actor_name ? ` (${one.actor_name})` : null]],
        ["operation", "Operation", (one) => h("button", { class: "link", onclick: () => show(one) }, one.operation)],
        ["object", "Object", (one) => one.object ?? one.key_hint],
        ["fields", "Changed", (one) => Object.keys(one.changes).join(", ") || null],
        ["count", "Times", (one) => whole(one.count), true],
        ["address", "From", (one) => one.address],
      ],
    }), h("div", { class: "actions" },
      h("button", { disabled: cursors.length < 2, onclick: turn(() => cursors.pop()) }, "Back"),
      h("button", { disabled: !next, onclick: turn(() => cursors.push(next)) }, "Next rows")));
  }

  function show(one) {
    const facts = [["Record", whole(one.seq)], ["Answer", one.status], ["Request", one.request_id], ["Hash", one.hash]];
    const text = (value) => (value === null ? "–" : typeof value === "string" ? value : JSON.stringify(value));
    openPanel(`${one.operation} ${one.object ?? ""}`,
      h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value ?? "–")]).flat()),
      table({ caption: "What it changed", rows: Object.entries(one.changes), empty: "Nothing that is recorded.",
        columns: [["field", "Field", ([name]) => name], ["before", "Before", ([, values]) => text(values.before)], ["after", "After", ([, values]) => text(values.after)]] }));
  }

  return { element, refresh };
}
