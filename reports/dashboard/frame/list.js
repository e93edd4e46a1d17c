// A list that is searched, sorted and paged on the server; search and order are in the address.

import { choice, h, replace } from "../dom.js";
import { whole } from "../format.js";
import { change } from "../state.js";
import { table } from "../table.js";

const PAGE = 50;
const PAUSE_MS = 250;

// `caption` names what is listed, `sorts` are [value, text] with the default first, `load(asked,
// signal)` returns { data, total, next_cursor }, `columns(rows)` those of the table, whose fifth
// element is the sort of the heading. `none` is said where there is nothing at all. `names` are the
// parameters of the address; two lists of a view need different ones.
export function serverList(frame, { caption, search, sorts, tools = [], load, columns, none, page = PAGE, names = ["q", "sort"] }) {
  const box = h("div", {});
  const find = h("input", { type: "search", "aria-label": `Search: ${caption}`, placeholder: search, oninput: () => { clearTimeout(timer); timer = setTimeout(seek, PAUSE_MS); } });
  const order = h("span", { class: "order" });
  const element = h("div", {}, h("form", { class: "tools", onsubmit: (event) => { event.preventDefault(); clearTimeout(timer); seek(); } },
    h("label", {}, "Search", find), order, tools), box);
  const [searchedBy, sortedBy] = names;
  let timer = null;
  let cursors = [null];
  let asked = "";

  const seek = () => {
    if (find.value.trim() !== (frame.params.get(searchedBy) ?? "")) change({ [searchedBy]: find.value.trim() || null }, undefined, { replaced: true });
  };
  const sortOf = () => frame.params.get(sortedBy) ?? sorts[0][0];

  async function refresh(signal) {
    const q = frame.params.get(searchedBy) ?? "";
    if (document.activeElement !== find) find.value = q;
    const key = location.hash;
    if (key !== asked) cursors = [null];
    asked = key;
    const sort = sortOf();
    replace(order, choice("Sort by", sorts, sort, (value) => change({ [sortedBy]: value })));
    const cursor = cursors.at(-1);
    const wanted = { limit: page, sort, ...(q ? { q } : {}), ...(cursor ? { cursor } : {}) };
    draw(await load(wanted, signal), q, sort);
  }

  function title(count, total, q) {
    const first = (cursors.length - 1) * page;
    const which = total === 0 ? "none" : count === total ? whole(total) : `${whole(first + 1)} to ${whole(first + count)} of ${whole(total)}`;
    return `${caption}${q ? ` that match “${q}”` : ""}: ${which}`;
  }

  function draw({ data, total, next_cursor: next, note }, q, sort) {
    const clear = h("button", { class: "link", onclick: () => { find.value = ""; seek(); } }, "Clear the search");
    const turn = (step) => () => { step(); frame.refresh(); };
    replace(box, table({ caption: title(data.length, total, q), rows: data, columns: columns(data), sort, onsort: (value) => change({ [sortedBy]: value }), cards: true,
      empty: q ? [`Nothing matches “${q}”. `, clear, Array.isArray(none) ? [". ", none] : null] : none }),
    note ? h("p", { class: "soft" }, note) : null,
    h("div", { class: "actions" },
      h("button", { disabled: cursors.length < 2, onclick: turn(() => cursors.pop()) }, "Back"),
      h("button", { disabled: !next, onclick: turn(() => cursors.push(next)) }, "Next rows")));
  }

  return { element, refresh };
}

// A choice among the entries of a list, which is searched as one types; `name` is the form's field.
export function picker(text, name, find, { required = true } = {}) {
  const select = h("select", { name, required, "aria-label": text });
  const status = h("small", { class: "soft", role: "status" });
  let timer = null;
  const look = async () => {
    try {
      const { data, total } = await find(input.value.trim());
      replace(select, data.map((one) => h("option", { value: one.id }, one.name)));
      replace(status, total > data.length ? `${whole(data.length)} of ${whole(total)}: search for others.` : total ? "" : "Nothing matches.");
    } catch (error) {
      replace(status, error.message);
    }
  };
  const input = h("input", { type: "search", autocomplete: "off", "aria-label": `Search: ${text}`, placeholder: "Search by name", oninput: () => { clearTimeout(timer); timer = setTimeout(look, PAUSE_MS); } });
  return { element: h("div", { class: "picker" }, h("span", {}, text), input, select, status), ready: look() };
}
