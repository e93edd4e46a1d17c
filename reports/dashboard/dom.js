// Elements, made in one line each. Text is only ever set as text.

import { may } from "./may.js";

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// Nothing, where `needs` names a scope that is lacking.
export function h(tag, properties, ...children) {
  const { needs, ...props } = properties ?? {};
  if (needs && !may(needs)) return null;
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function pathTo(element, child) {
  const path = [];
  for (let at = child; at !== element; at = at.parentElement) path.unshift([...at.parentElement.children].indexOf(at));
  return path;
}

// Puts children in the place of those there are; what has the focus keeps it, at the same place.
export function replace(element, ...children) {
  const focused = document.activeElement;
  const path = focused !== element && element.contains(focused) ? pathTo(element, focused) : null;
  element.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
  const next = path?.reduce((at, index) => at?.children[index], element);
  if (next?.tagName === focused?.tagName && document.activeElement !== focused) next?.focus({ preventScroll: true });
}

// A labelled choice; `options` are texts or [value, text].
export function choice(label, options, chosen, change, props) {
  const items = options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h("option", { value, selected: value === chosen }, text);
  });
  return h("label", props, label, h("select", { onchange: (event) => change(event.target.value) }, items));
}

export function field(label, props) {
  return h("label", {}, label, h(props.tag ?? "input", { autocomplete: "off", ...props, tag: undefined }));
}

// A dialog with a form; `submit` gets the fields' values and may throw.
export function openForm(title, fields, label, submit) {
  const error = h("p", { class: "error", role: "alert" });
  const close = () => { dialog.close(); dialog.remove(); };
  const send = async (event) => {
    event.preventDefault();
    replace(error);
    try {
      const done = await submit(Object.fromEntries(new FormData(form)), form);
      close();
      return done;
    } catch (problem) {
      return replace(error, problem.message);
    }
  };
  const form = h("form", { class: "form", onsubmit: send }, h("h2", {}, title), error, fields,
    h("div", { class: "actions" }, h("button", { class: "primary" }, label),
      h("button", { type: "button", onclick: close }, "Cancel")));
  const dialog = h("dialog", { "aria-label": title, onclose: () => dialog.remove() }, form);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function openPanel(title, ...content) {
  const close = () => { dialog.close(); dialog.remove(); };
  const dialog = h("dialog", { "aria-label": title, onclose: () => dialog.remove() },
    h("div", { class: "head" }, h("h2", {}, title), h("button", { onclick: close }, "Close")), content);
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

export function copyButton(text) {
  const button = h("button", { type: "button", onclick: async () => {
    button.textContent = (await copy(text)) ? "Copied" : "Select the text and copy it";
  } }, "Copy");
  return button;
}

// Browsers give the clipboard to pages of https and localhost only; elsewhere a selection is copied.
async function copy(text) {
  if (navigator.clipboard && window.isSecureContext) {
    return navigator.clipboard.writeText(text).then(() => true, () => false);
  }
  const area = h("textarea", { class: "offscreen", readonly: true, "aria-hidden": "true" }, text);
  // Inside an open dialog: nothing outside of it can have the focus.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

// An id that no other request has; `randomUUID` is for pages of https and localhost only.
export function uniqueId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
