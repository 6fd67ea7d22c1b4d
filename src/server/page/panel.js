// One file or folder: what is in it, all that is known of it, and what it was in other backups.

import { bdi, button, fill, h, icon, iconButton, loading, problem, time } from "./dom.js";
import { count, counted, dateTime, kindName, lastOf, parentOf, size, visible } from "./format.js";
import * as api from "./api.js";
import { preview } from "./preview.js";
import { share } from "./dialog.js";
import { iconName } from "./listing.js";

const TABS = [["preview", "Preview"], ["details", "Details"], ["versions", "Versions"]];

/** Where an entry is shown: beside the folder that it is in. */
export const entryHref = (path, tab) =>
  `#/browse/${parentOf(path)}?item=${lastOf(path)}${tab ? `&tab=${tab}` : ""}`;

export const downloadLink = (path, stream, text, attributes) =>
  h("a", { href: api.fileUrl(path, { stream }), download: true, class: "button", ...attributes }, icon("download"), text);

function term(name, ...value) {
  return value.some((each) => each !== null && each !== undefined && each !== "" && each !== false)
    ? [h("dt", null, name), h("dd", null, value)] : null;
}

const PERMISSIONS = "rwxrwxrwx";

/** `0644` as `-rw-r--r--` is known to those who care. */
function permissions(mode) {
  const bits = parseInt(mode, 8);
  const letters = [...PERMISSIONS].map((letter, at) => bits & (0o400 >> at) ? letter : "-").join("");
  const special = [[0o4000, "setuid"], [0o2000, "setgid"], [0o1000, "sticky"]].filter(([bit]) => bits & bit).map(([, name]) => name);
  return `${letters} (${mode})${special.length ? `, ${special.join(", ")}` : ""}`;
}

function details(node) {
  const flags = [node.hidden && "hidden", node.system && "system", node.readonly && "read-only"].filter(Boolean).join(", ");
  const exact = (bytes) => bytes === undefined ? "" : `${size(bytes)}${bytes >= 1000 ? ` (${count(bytes)} bytes)` : ""}`;
  const owner = node.uid === undefined ? "" : `user ${node.uid}, group ${node.gid ?? "?"}`;
  return [
    (node.problems || []).map((each) => problem({ ...each, kind: String(each.type).replace("urn:spelunk:", "") })),
    h("dl", { class: "facts" },
      term("Name", bdi(node.name)), term("Kind", kindName(node)),
      term("Leads to", node.target !== undefined && bdi(node.target)),
      term("Size", node.type === "file" ? exact(node.size) : ""), term("Space taken", exact(node.allocated)),
      term("Modified", time(node.modified)), term("Created", time(node.created)),
      term("Accessed", time(node.accessed)), term("Attributes changed", time(node.changed)),
      term("Attributes", flags), term("Permissions", node.mode ? permissions(node.mode) : ""), term("Owner", owner),
      term("Hard links", node.links > 1 ? count(node.links) : ""), term("Device", node.device),
      term("DOS attributes", node.dos_attributes ? `0x${node.dos_attributes.toString(16)}` : ""),
      term("Reparse tag", node.reparse_tag && `0x${node.reparse_tag}`)),
    node.streams.length > 0 && [h("h3", null, "Streams"), h("ul", { class: "streams" }, node.streams.map((stream) =>
      h("li", null, bdi(stream.name), h("span", { class: "muted" }, size(stream.size)),
        downloadLink(node.path, stream.stream, "Download", { "aria-label": `Download stream ${visible(stream.name)}` }))))],
    node.xattrs.length > 0 && [h("h3", null, "Extended attributes"), h("dl", { class: "facts wide" }, node.xattrs.map((each) =>
      [h("dt", null, bdi(each.name)), h("dd", { class: "value" }, each.text === undefined ? `Base64 ${each.value}` : bdi(each.text))]))],
  ];
}

const STATES = { same: "unchanged", changed: "changed", new: "first seen", absent: "not there", unknown: "cannot be read" };

function versionRow(version, current) {
  const isThere = version.type !== undefined && version.state !== "absent";
  const isFile = version.type === "file";
  return h("li", { class: `version version-${version.state}${version.path === current ? " current" : ""}` },
    h("span", { class: `state state-${version.state}` }, STATES[version.state] || version.state),
    h("div", { class: "version-what" },
      isThere ? h("a", { href: entryHref(version.path, isFile ? "preview" : "details"), "aria-current": version.path === current ? "true" : null }, time(version.time))
        : time(version.time),
      h("p", { class: "muted" }, version.error ? visible(version.error.title)
        : isThere ? [isFile && `${size(version.size)}, `, "modified ", dateTime(version.modified) || "at a time not known"] : ""),
      version.sha256 && h("p", { class: "hash" }, h("abbr", { title: version.sha256 }, `SHA-256 ${version.sha256.slice(0, 16)}…`))),
    isThere && isFile && downloadLink(version.path, undefined, "", { class: "icon-button", title: "Download",
      "aria-label": `Download as of ${dateTime(version.time)}` }));
}

function versions(path) {
  const box = h("div", { class: "versions" });
  const load = async (contents) => {
    fill(box, loading(contents ? "Reading all versions…" : "Looking into the other backups…"));
    try {
      const found = (await api.get(`/versions/${path}`, { contents })).versions;
      const marks = found.filter((each) => each.state === "changed" || each.state === "new").length;
      const isFile = found.some((each) => each.type === "file");
      fill(box,
        h("p", null, `${counted(marks, "version")} in ${counted(found.length, "backup")}`,
          contents ? ", compared by content." : ", compared by size and times."),
        isFile && !contents && button("Compare contents", () => load(1), { class: "button" }),
        h("ol", { class: "version-list" }, found.map((each) => versionRow(each, path))));
    } catch (error) {
      fill(box, problem(error, () => load(contents)));
    }
  };
  load();
  return box;
}

/** The panel of the entry at `path`. `tab` is shown; `close` and `change(tab)` are called for the user. */
export function panel({ path, entry, tab, close, change, can }) {
  const element = h("aside", { class: "panel", "aria-labelledby": "panel-title" });
  const body = h("div", { class: "panel-body", role: "tabpanel", id: "panel-body", tabindex: "0" });
  const heading = h("h2", { id: "panel-title", tabindex: "-1" }, bdi(entry?.name ?? ""));
  const actions = h("div", { class: "panel-actions" });
  const tabs = h("div", { role: "tablist", class: "tabs", "aria-label": "About this" });
  let node = null;

  const known = (found) => {
    node = found;
    fill(heading, icon(iconName(node)), bdi(node.name));
    fill(actions, node.type === "file" && can.download && downloadLink(node.path, undefined, "Download", { class: "button primary" }),
      node.type === "directory" && h("a", { class: "button primary", href: `#/browse/${node.path}` }, icon("folder"), "Open"),
      can.share && button([icon("share"), "Share link…"], () => share(node.path, node.name), { class: "button" }));
  };
  const names = () => TABS.filter(([key]) =>
    (key !== "versions" || can.versions) && (key !== "preview" || !node || node.type === "file"));
  const shown = () => names().some(([key]) => key === tab) ? tab : names()[0][0];
  const draw = () => {
    const current = shown();
    fill(tabs, names().map(([key, text]) => h("button", { type: "button", role: "tab", id: `tab-${key}`,
      "aria-selected": String(key === current), "aria-controls": "panel-body", tabindex: key === current ? "0" : "-1",
      onclick: () => change(key) }, text)));
    body.setAttribute("aria-labelledby", `tab-${current}`);
    if (!node) return;
    if (current === "details") fill(body, details(node));
    else if (current === "versions") fill(body, versions(node.path));
    else fill(body, can.download ? preview(node) : h("p", { class: "note" }, "You may see what is there, but not what is in it."));
  };
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const all = names();
    const at = all.findIndex(([key]) => key === shown());
    change(all[(at + step + all.length) % all.length][0]);
    tabs.querySelector("[aria-selected=true]").focus();
    event.preventDefault();
  });
  const load = async () => {
    fill(body, loading());
    try { known(await api.get(`/node/${path}`)); draw(); } catch (error) { fill(body, problem(error, load)); }
  };
  fill(element, h("div", { class: "panel-head" }, heading,
    iconButton("wide", "Wide or narrow", () => element.classList.toggle("is-wide"), { class: "icon-button wide-button" }),
    close && iconButton("close", "Close", close)), actions, tabs, body);
  draw();
  if (entry?.error) {
    fill(heading, icon("warning"), bdi(entry.name));
    fill(body, problem({ ...entry.error, kind: String(entry.error.type).replace("urn:spelunk:", "") }));
  } else load();
  return { element, path, heading, set: (next) => { if (next !== tab) { tab = next; draw(); } } };
}
