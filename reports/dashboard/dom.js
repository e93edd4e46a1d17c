// Elements, made in one line each. Text is only ever set as text.

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

export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

export function replace(element, ...children) {
  element.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined && child !== false));
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
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } }, "Copy");
  return button;
}
