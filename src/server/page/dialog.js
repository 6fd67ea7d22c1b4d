// Questions and answers in front of the page.

import { button, field, fill, h, iconButton, memory, problem, select } from "./dom.js";
import { visible } from "./format.js";
import * as api from "./api.js";

/** Opens a dialogue; `make(close)` gives what stands in it. The focus goes back to where it was. */
export function dialog(title, make) {
  const before = document.activeElement;
  const element = h("dialog", { class: "dialog", "aria-labelledby": "dialog-title" });
  const close = () => element.close();
  fill(element,
    h("div", { class: "dialog-head" }, h("h2", { id: "dialog-title" }, title), iconButton("close", "Close", close)),
    make(close));
  element.addEventListener("close", () => { element.remove(); before?.focus?.(); });
  element.addEventListener("click", (event) => { if (event.target === element) close(); });
  document.body.append(element);
  element.showModal();
  return element;
}

/** Asks before something is done that cannot be undone. */
export function confirm(title, text, verb, work) {
  dialog(title, (close) => {
    const note = h("div");
    const go = async () => {
      try { await work(); close(); } catch (error) { fill(note, problem(error)); }
    };
    return h("div", { class: "dialog-body" }, h("p", null, text), note,
      h("div", { class: "actions" }, button("Cancel", close, { class: "button" }),
        button(verb, go, { class: "button danger" })));
  });
}

/** A form whose button works only once at a time, and whose errors are shown in it. */
export function form(fields, verb, submit, attributes) {
  const note = h("div", { "aria-live": "polite" });
  const go = h("button", { class: "button primary", type: "submit" }, verb);
  const onsubmit = async (event) => {
    event.preventDefault();
    go.disabled = true;
    fill(note);
    try { await submit(note); } catch (error) { fill(note, problem(error)); }
    go.disabled = false;
  };
  return h("form", { onsubmit, ...attributes }, fields, note, h("div", { class: "actions" }, go));
}

/** What was made and is shown once: to be copied. */
export function secret(label, text) {
  const input = h("input", { value: text, readonly: true, class: "secret", onfocus: () => input.select() });
  const copied = h("span", { role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      copied.textContent = "Copied.";
    } catch {
      input.select();
      copied.textContent = "Selected: press Ctrl+C to copy.";
    }
  };
  return h("div", { class: "made" }, field(label, input),
    h("div", { class: "actions" }, copied, button("Copy", copy, { class: "button primary" })));
}

export const DAY = 86_400;
const TERMS = [[DAY, "One day"], [7 * DAY, "One week"], [30 * DAY, "30 days"], [365 * DAY, "One year"]];

/** How long something is to be good. */
export const terms = (chosen, others = []) =>
  select([...TERMS, ...others].map(([seconds, text]) => [String(seconds), text]), String(chosen));

/** Makes a share link of a file or folder. */
export function share(path, name) {
  dialog("Share link", (close) => {
    const term = terms(7 * DAY);
    const body = h("div", { class: "dialog-body" });
    const make = async () => {
      const made = await api.send("POST", "/shares", { path, expires_in: Number(term.value) });
      const link = new URL(api.base + made.link.replace(/^\//, ""), location.origin);
      fill(body, secret("The link, which is shown only now", link.href),
        h("p", { class: "note" }, "You can end it before its time under your name, “Share links”."),
        h("div", { class: "actions" }, button("Done", close, { class: "button" })));
      body.querySelector("input").focus();
    };
    return fill(body,
      h("p", null, "Whoever has the link can see and download ", h("strong", null, h("bdi", null, visible(name))),
        ", without logging in, and nothing else."),
      form([field("Good for", term)], "Make the link", make));
  });
}

const KEYS = [
  ["↑ ↓ Page Home End", "move in a list"], ["Enter", "open a folder, preview a file"],
  ["Backspace", "the folder above"], ["Space", "select; with Shift and arrows, several"],
  ["Ctrl A", "select all"], ["Esc", "close what is open, clear the selection"],
  ["/", "search everywhere"], ["f", "filter this folder"], ["i", "details"], ["v", "versions"], ["d", "download"],
  ["[ and ]", "the same folder, a backup earlier or later"], ["?", "this help"],
];

/** Whether single letters are shortcuts; people who speak to their computer switch them off. */
export const hasShortcuts = () => memory.get("shortcuts", "on") === "on";

/** What the keys do. */
export function help() {
  const toggle = h("input", { type: "checkbox", id: "shortcuts",
    onchange: () => memory.set("shortcuts", toggle.checked ? "on" : "off") });
  toggle.checked = hasShortcuts();
  dialog("Help", () => h("div", { class: "dialog-body" },
    h("p", null, "To get a file back: search for its name, or open a machine, choose the day, and go to its folder. ",
      "Nothing here can change a backup."),
    h("h3", null, "Keys"),
    h("dl", { class: "keys" }, KEYS.map(([key, text]) => [h("dt", null, h("kbd", null, key)), h("dd", null, text)])),
    h("p", { class: "check" }, toggle, h("label", { for: "shortcuts" }, "Single keys are shortcuts")),
    !api.isShare && h("p", { class: "note" }, "For programs: the API is described at ",
      h("a", { href: `${api.base}api/v1/openapi.json` }, "api/v1/openapi.json"), ", and WebDAV is at ",
      h("code", null, `${location.origin}${api.base}dav/`), " (log in with your name and a token).")));
}
