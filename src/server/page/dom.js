// Builds the page. Texts of guests become text nodes and attributes, never markup.

import { dateTime, dateTimeLong, pieces, visible } from "./format.js";

/** An element. `on...` are listeners, `true` an empty attribute; `false`, `null` and `undefined` are none. */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

/** Puts `children` in place of what was in `element`. */
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

const ICONS = {
  folder: "M3 6.5A1.5 1.5 0 0 1 4.5 5H9l2 2.5h8.5A1.5 1.5 0 0 1 21 9v8.5a1.5 1.5 0 0 1-1.5 1.5h-15A1.5 1.5 0 0 1 3 17.5z",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-2.5 4 3.5M15.5 9.5h.01",
  media: "M8 5l11 7-11 7z",
  link: "M10 14a4 4 0 0 0 6 .5l3-3a4 4 0 0 0-5.7-5.7L12 7.2M14 10a4 4 0 0 0-6-.5l-3 3a4 4 0 0 0 5.7 5.7L12 16.8",
  device: "M6 6h12v12H6zM9 2v4M15 2v4M9 18v4M15 18v4M2 9h4M2 15h4M18 9h4M18 15h4",
  warning: "M12 4l9 16H3zM12 10v5M12 17.5h.01",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  download: "M12 4v11M7 10.5l5 5 5-5M4 20h16",
  info: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 11v5.5M12 7.5h.01",
  close: "M6 6l12 12M18 6L6 18",
  left: "M14.5 5l-7 7 7 7",
  right: "M9.5 5l7 7-7 7",
  up: "M12 19V5M6 11l6-6 6 6",
  theme: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18",
  user: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21c.8-4 4-6 8-6s7.2 2 8 6",
  help: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9.5 9.5a2.5 2.5 0 1 1 3.5 2.3c-.7.3-1 .8-1 1.7M12 16.8h.01",
  share: "M17 3.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM7 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM17 15.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM9.2 10.8l5.6-3.3M9.2 13.2l5.6 3.3",
  clock: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5.5l3.5 2",
  machine: "M4 5h16v11H4zM9 20h6M12 16v4",
  disk: "M4 6h16v12H4zM4 14h16M16 16h.01",
  wide: "M4 10V4h6M20 14v6h-6M4 4l6 6M20 20l-6-6",
};

/** A small picture that says nothing which its surroundings do not say. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  const attributes = { viewBox: "0 0 24 24", "aria-hidden": "true", class: `icon icon-${name}` };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A guest's name, kept apart from the text around it; what would not be seen is shown as signs. */
export function bdi(text) {
  const signs = pieces(text).map((piece) => piece.isHostile ? h("span", { class: "sign" }, piece.text) : piece.text);
  return h("bdi", null, signs);
}

/** A name with the piece marked that was searched for. */
export function marked(text, wanted) {
  const at = wanted && !/[*?]/.test(wanted) ? text.toLowerCase().indexOf(wanted.toLowerCase()) : -1;
  if (at < 0) return bdi(text);
  const end = at + wanted.length;
  const signs = (part) => bdi(part).childNodes;
  return h("bdi", null, [...signs(text.slice(0, at))], h("mark", null, [...signs(text.slice(at, end))]),
    [...signs(text.slice(end))]);
}

/** A moment, in the browser's words; all of it when pointed at. */
export const time = (value, text) =>
  value ? h("time", { datetime: value, title: dateTimeLong(value) }, text || dateTime(value)) : null;

export const button = (text, onclick, attributes) => h("button", { type: "button", onclick, ...attributes }, text);

/** A button that is a picture: `label` says what it does. */
export const iconButton = (name, label, onclick, attributes) =>
  h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...attributes },
    icon(name));

/** A labelled field. */
export function field(label, input, note) {
  const id = input.id || `f${Math.random().toString(36).slice(2)}`;
  input.id = id;
  if (note) input.setAttribute("aria-describedby", `${id}-note`);
  return h("div", { class: "field" }, h("label", { for: id }, label), input,
    note && h("p", { class: "note", id: `${id}-note` }, note));
}

/** A choice out of `pairs` of value and text. */
export function select(pairs, value, attributes) {
  const element = h("select", attributes, pairs.map(([key, text]) => h("option", { value: key }, text)));
  element.value = value;
  return element;
}

/** Tells those who do not see the page what happened. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** A message that goes away by itself. */
export function toast(text) {
  const message = h("div", { class: "toast" }, text,
    iconButton("close", "Dismiss", () => message.remove()));
  document.getElementById("toasts").append(message);
  setTimeout(() => message.remove(), 12_000);
}

const WORDS = {
  damaged: "This is damaged in the backup. The rest of the folder is fine.",
  unsupported: "Spelunk cannot read this yet. Nothing is wrong with the backup.",
  storage: "The storage that holds the backup cannot be read. The backup itself may be fine.",
  "not-found": "There is no such thing in this backup, or it is not for you to see.",
  denied: "You are not permitted to do this.",
  limit: "This is over one of Spelunk's limits.",
  "worker-lost": "The jailed reader of this backup was lost. It starts again by itself.",
};

/** An error in words: what it means, then what exactly, then why. */
export function problem(error, retry) {
  const what = WORDS[error.kind];
  const details = [error.detail, ...(error.causes || [])].filter(Boolean);
  return h("div", { class: `problem problem-${error.kind || "other"}`, role: "alert" }, icon("warning"),
    h("div", null,
      h("p", { class: "problem-title" }, visible(error.title || error.message)),
      what && h("p", null, what),
      details.map((text) => h("p", { class: "problem-detail" }, bdi(text))),
      error.hint && h("p", null, visible(error.hint)),
      retry && button("Try again", retry, { class: "button" })));
}

/** What stands in the place of what is still asked for. */
export const loading = (text = "Loading…") => h("p", { class: "loading", role: "status" }, text);

/** Remembers small choices where the browser allows it. */
export const memory = {
  get(key, otherwise) {
    try { return localStorage.getItem(`spelunk.${key}`) ?? otherwise; } catch { return otherwise; }
  },
  set(key, value) {
    try { localStorage.setItem(`spelunk.${key}`, value); } catch { /* Then it is chosen anew. */ }
  },
};

/** Calls `work` once nothing more comes for a moment. */
export function soon(work, milliseconds = 180) {
  let timer;
  return (...values) => { clearTimeout(timer); timer = setTimeout(() => work(...values), milliseconds); };
}
