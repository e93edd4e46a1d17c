// Filters: a chip for each, by name, on every view that applies them; chosen from known values.

import { choice, h, openPanel, replace } from "../dom.js";
import { DIMENSIONS } from "../format.js";
import { change, filterChange, filters } from "../state.js";
import { takesFilter } from "../views.js";
import { idsOf, label, learn, search, textOf } from "./names.js";

const PAUSE_MS = 200;

function describe(dimension, value) {
  const parts = value.split(",");
  const left = parts.filter((one) => one.startsWith("-"));
  const kept = parts.filter((one) => !one.startsWith("-"));
  const text = (ones) => ones.map((one) => textOf(dimension, one.replace(/^-/, ""))).join(" or ");
  return [kept.length ? `= ${text(kept)}` : "", left.length ? `≠ ${text(left)}` : ""].filter(Boolean).join(", ");
}

function chip(dimension, value) {
  return h("span", { class: "chip" }, `${label(dimension)} ${describe(dimension, value)}`,
    h("button", { "aria-label": `Remove the filter ${label(dimension)}`, onclick: () => change(filterChange(dimension, null)) }, "✕"));
}

// Draws the chips at once with what is known, and again when their names are.
export async function drawFilters(box, frame) {
  const chosen = filters(frame.params);
  const draw = () => replace(box,
    chosen.length ? h("div", { class: "chips", role: "group", "aria-label": "Filters" }, chosen.map(([name, value]) => chip(name, value)),
      chosen.length > 1 ? h("button", { class: "link", onclick: () => change(Object.fromEntries(chosen.map(([name]) => [`f.${name}`, null]))) }, "Remove all") : null) : null,
    h("button", { class: "add", onclick: () => openFilter(frame) }, "Add a filter"));
  draw();
  await Promise.all(chosen.map(([name, value]) => learn(name, idsOf(value))));
  if (filters(frame.params).join() === chosen.join() && box.isConnected) draw();
}

// A panel that searches the values of a dimension as they are typed.
function openFilter(frame) {
  const names = Object.entries(DIMENSIONS).filter(([name]) => takesFilter(frame.name, name));
  const status = h("p", { class: "soft", role: "status" });
  const list = h("ul", { class: "found" });
  const text = h("input", { type: "search", name: "value", autocomplete: "off", oninput: () => { clearTimeout(timer); timer = setTimeout(look, PAUSE_MS); } });
  const out = h("input", { type: "checkbox", name: "out" });
  let dimension = "affiliate";
  let timer = null;
  let stop = null;

  function take(value) {
    const had = frame.params.get(`f.${dimension}`);
    const one = `${out.checked ? "-" : ""}${value}`;
    const parts = had === null ? [] : had.split(",").filter((each) => each.replace(/^-/, "") !== value);
    dialog.close();
    change(filterChange(dimension, [...parts, one].join(",")));
  }

  async function look() {
    stop?.abort();
    stop = new AbortController();
    const sought = text.value.trim();
    replace(status, "Searching…");
    try {
      const found = await search(dimension, sought, frame, stop.signal);
      const free = !["campaign", "affiliate", "link"].includes(dimension) && sought && !found.some(([value]) => value === sought);
      replace(list, found.map(([value, shown]) => h("li", {}, h("button", { type: "button", class: "link", onclick: () => take(value) }, shown === "" ? "(none)" : shown))),
        free ? h("li", {}, h("button", { type: "button", class: "link", onclick: () => take(sought) }, `Exactly “${sought}”`)) : null);
      replace(status, found.length ? "Choose one:" : `Nothing known matches${sought ? ` “${sought}”` : ""}.`);
    } catch (error) {
      if (error.name !== "AbortError") replace(status, error.message);
    }
  }

  const pick = (value) => { dimension = value; text.value = ""; look(); };
  const enter = (event) => { event.preventDefault(); list.querySelector("button")?.focus(); };
  const dialog = openPanel("Add a filter", h("form", { class: "form", onsubmit: enter },
    choice("Dimension", names, dimension, pick), h("label", {}, "Search", text), h("label", { class: "inline" }, out, " Leave it out instead"), status, list));
  text.focus();
  look();
}
