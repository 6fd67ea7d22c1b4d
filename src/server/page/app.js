// Who is there, which page is shown, and what is the same on all of them.

import { bdi, button, fill, h, icon, iconButton, loading, memory, problem } from "./dom.js";
import * as api from "./api.js";
import { account, login, setTheme, setup, themeChoice } from "./account.js";
import { audit, index, users } from "./admin.js";
import { Browse } from "./browse.js";
import { Search, searchBox } from "./search.js";
import { hasShortcuts, help } from "./dialog.js";
import { start } from "./start.js";

const main = document.getElementById("main");
const top = document.getElementById("top");
let session = null;
let view = null;

/** `#/browse/PATH?item=NAME` in parts. Paths and the item stay percent-encoded: their bytes may be no UTF-8. */
function readRoute() {
  const [place, rest = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...path] = place.split("/");
  const query = {};
  for (const pair of rest.split("&").filter(Boolean)) {
    const at = pair.indexOf("=");
    const [key, value] = at < 0 ? [pair, ""] : [pair.slice(0, at), pair.slice(at + 1)];
    try {
      query[key] = key === "item" ? value : decodeURIComponent(value.replaceAll("+", " "));
    } catch {
      // A value that cannot be read is none.
    }
  }
  return { name, path: path.filter(Boolean).join("/"), query };
}

const VIEWS = {
  "": () => start(session),
  browse: (route) => route.path ? new Browse(session, route) : start(session),
  search: (route) => new Search(session, route),
  account: () => account(session, { out: logout, theme: themeChoice }),
  users: () => users(session),
  audit: () => audit(),
  index: () => index(),
};

/** Shows another page, or lets the one that is shown change. */
function show(next, key) {
  view?.stop?.();
  view = next;
  view.key = key;
  fill(main, view.element);
  document.querySelector("dialog[open]")?.close();
  main.scrollTop = 0;
  view.element.querySelector("[autofocus]")?.focus();
}

function route() {
  const now = readRoute();
  if (now.name === "setup" && !api.isShare) { drawTop(); show(setup(now.path, enter), "setup"); return; }
  if (!session) { drawTop(); show(login(enter), "login"); return; }
  if (api.isShare && (now.name !== "browse" || !isShared(now.path))) { location.replace(`#/browse/${session.root}`); return; }
  if (now.name === "login") { location.replace("#/"); return; }
  const key = now.name === "browse" ? `browse/${now.path}` : now.name;
  const isSame = view?.update && (view.key === key || (view.path && `browse/${view.path}` === key));
  if (isSame) { view.update(now); return; }
  drawTop();
  show((VIEWS[now.name] || VIEWS[""])(now), key);
}

const isShared = (path) => path === session.root || path.startsWith(`${session.root}/`);

/** Asks who is there, and goes on to where they wanted to be. */
async function enter() {
  try {
    session = await api.get("");
  } catch (error) {
    session = null;
    if (error.status !== 401 && !(readRoute().name === "setup")) {
      drawTop();
      show({ element: h("div", { class: "page" }, api.isShare
        ? problem({ kind: "share", title: "This link is not good any more", hint: "It may have ended, or somebody has ended it. Ask for a new one." })
        : problem(error, enter)) }, "error");
      return;
    }
  }
  if (session && ["setup", "login"].includes(readRoute().name)) history.replaceState(null, "", "#/");
  route();
}

async function logout() {
  try { await api.send("POST", "/logout"); } catch { /* Then it has ended already. */ }
  session = null;
  location.hash = "#/login";
  route();
}

function switchTheme() {
  const isDark = memory.get("theme", "") === "dark" || (!memory.get("theme", "") && matchMedia("(prefers-color-scheme: dark)").matches);
  setTheme(isDark ? "light" : "dark");
}

/** Where a search from the page's head looks: in the machine that is shown. */
const scope = () => {
  const now = readRoute();
  return now.name === "browse" && memory.get("scope", "all") === "client" ? now.path.split("/")[0] : "";
};

function menu() {
  const links = [["account", "Account, tokens, links"], session.is_admin && ["users", "Users"], session.is_admin && ["audit", "Log"], ["index", "Index"]];
  const element = h("details", { class: "menu" },
    h("summary", { "aria-label": `Menu of ${session.user}`, title: session.user }, icon("user"), h("span", { class: "wide-text" }, bdi(session.user))),
    h("div", { class: "menu-list" }, links.filter(Boolean).map(([name, text]) => h("a", { href: `#/${name}` }, text)),
      button("Log out", logout)));
  const close = () => { element.open = false; };
  element.addEventListener("click", (event) => { if (event.target.closest("a, button")) close(); });
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && element.open) { close(); element.querySelector("summary").focus(); event.stopPropagation(); }
  });
  element.addEventListener("focusout", (event) => { if (event.relatedTarget && !element.contains(event.relatedTarget)) close(); });
  return element;
}

function drawTop() {
  const isStart = ["", "browse"].includes(readRoute().name) && !readRoute().path;
  fill(top, h("a", { class: "brand", href: api.isShare ? "#/browse/" : "#/", "aria-label": "Spelunk, to the start" },
    h("img", { src: "assets/icon.svg", alt: "", width: "28", height: "28" }), h("span", { class: "wide-text" }, "Spelunk")),
  session && !api.isShare && !isStart && readRoute().name !== "search" ? searchBox({ scope }) : h("span", { class: "gap-fill" }),
  h("nav", { "aria-label": "Main" }, iconButton("help", "Help and keys", help), iconButton("theme", "Light or dark", switchTheme),
    session && !api.isShare && menu()));
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest?.("input:not([type=checkbox]), textarea, select, dialog, audio, video");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !session || event.defaultPrevented) return;
  const isLetterAllowed = hasShortcuts();
  if (view?.handle?.(event, isLetterAllowed)) { event.preventDefault(); return; }
  if (!isLetterAllowed) return;
  if (event.key === "?") help();
  else if (event.key === "/") document.querySelector("form[role=search] input")?.focus();
  else return;
  event.preventDefault();
});

document.addEventListener("click", (event) => {
  const open = document.querySelector("details.menu[open]");
  if (open && !open.contains(event.target)) open.open = false;
});
addEventListener("hashchange", route);
addEventListener("spelunk:logged-out", () => {
  if (!session) return;
  session = null;
  route();
});

fill(main, loading());
enter();
