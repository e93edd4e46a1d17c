// Tables: columns are [name, label, cell, numeric]; headers sort where `sort` is given.

import { h } from "./dom.js";

export function table({ caption, columns, rows, sort, onsort, foot, empty }) {
  const head = columns.map(([name, label, , numeric]) => {
    const by = sort?.replace(/^-/, "") === name;
    const direction = by ? (sort.startsWith("-") ? "descending" : "ascending") : undefined;
    const mark = by ? (sort.startsWith("-") ? " ↓" : " ↑") : "";
    const next = by && sort.startsWith("-") ? name : `-${name}`;
    return h("th", { scope: "col", class: numeric ? "n" : undefined, "aria-sort": direction },
      onsort ? h("button", { type: "button", onclick: () => onsort(next) }, label + mark) : label);
  });
  const line = (cell) => (row) => h("tr", {}, columns.map((column) => {
    const content = cell(column, row);
    return h("td", { class: column[3] ? "n" : undefined }, content ?? "–");
  }));
  const body = rows.length
    ? rows.map(line(([, , cell], row) => cell(row)))
    : [h("tr", {}, h("td", { colspan: columns.length, class: "soft" }, empty ?? "Nothing here yet."))];
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", {}, caption), h("thead", {}, h("tr", {}, head)), h("tbody", {}, body),
      foot ? h("tfoot", {}, line(([name], row) => row[name])(foot)) : null));
}

export function tag(text) {
  const kind = { approved: "good", human: "good", active: "good", delivered: "good", paid: "good", created: "good",
    rejected: "bad", bot: "bad", failed: "bad", disabled: "bad", refunded: "warn", pending: "warn", none: "warn" }[text];
  return h("span", { class: kind ? `tag ${kind}` : "tag" }, text);
}
