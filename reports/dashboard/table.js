// Tables: columns are [name, label, cell, numeric, sort]; headers sort where `onsort` is given.

import { h } from "./dom.js";

// `cards`: on narrow pages each row is a card, with its labels, so that no column is out of sight.
// With it a heading sorts by its column's `sort`; without, by its name, the largest first.
export function table({ caption, columns, rows, sort, onsort, foot, empty, cards = false }) {
  const head = columns.map(([name, label, , numeric, sorted]) => {
    const key = cards ? sorted : name;
    const by = key !== undefined && sort?.replace(/^-/, "") === key;
    const direction = by ? (sort.startsWith("-") ? "descending" : "ascending") : undefined;
    const mark = by ? (sort.startsWith("-") ? " ↓" : " ↑") : "";
    const first = cards && !numeric ? key : `-${key}`;
    const next = !by ? first : sort.startsWith("-") ? key : `-${key}`;
    return h("th", { scope: "col", class: numeric ? "n" : undefined, "aria-sort": direction },
      onsort && key !== undefined ? h("button", { type: "button", onclick: () => onsort(next) }, label + mark) : label);
  });
  const line = (cell) => (row) => h("tr", {}, columns.map((column) => {
    const content = cell(column, row);
    return h("td", { class: column[3] ? "n" : undefined, "data-label": column[1] || undefined }, content ?? "–");
  }));
  const body = rows.length
    ? rows.map(line(([, , cell], row) => cell(row)))
    : [h("tr", {}, h("td", { colspan: columns.length, class: "soft" }, empty ?? "Nothing here yet."))];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: cards ? "cards-narrow" : undefined }, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body),
      foot ? h("tfoot", {}, line(([name], row) => row[name])(foot)) : null));
}

export function tag(text) {
  const kind = { approved: "good", human: "good", active: "good", delivered: "good", paid: "good", created: "good",
    rejected: "bad", bot: "bad", failed: "bad", disabled: "bad", suspended: "bad", refunded: "warn", pending: "warn", none: "warn" }[text];
  return h("span", { class: kind ? `tag ${kind}` : "tag" }, text);
}
