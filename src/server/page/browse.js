// A folder of a backup: where one is, when, what is there, and one thing of it in detail.

import { announce, bdi, button, fill, h, icon, iconButton, loading, memory, problem, select, soon, time, toast } from "./dom.js";
import { count, counted, decode, lastOf, parentOf, size, visible } from "./format.js";
import * as api from "./api.js";
import { Listing, SELECTED_MAX } from "./listing.js";
import { timeline } from "./timeline.js";
import { entryHref, panel } from "./panel.js";
import { share } from "./dialog.js";

const FORMATS = [["zip", "ZIP, compressed"], ["store", "ZIP, stored: can be resumed"], ["tar", "tar.zst, with owners and links"]];
/** A longer address is sent as a form's body. */
const ADDRESS_MAX = 6000;

/** Downloads several things as one archive: through a form, so that the browser does it and not the page. */
export function archive(paths, format) {
  const isTar = format === "tar";
  const frame = document.getElementById("downloads") || document.body.appendChild(
    h("iframe", { id: "downloads", name: "downloads", hidden: true, title: "Downloads" }));
  // A download loads no document; an error does.
  frame.onload = () => toast("The archive could not be made. Perhaps something selected cannot be read, or the server has too much to do.");
  const isLong = paths.reduce((sum, path) => sum + path.length * 1.5 + 6, 0) > ADDRESS_MAX;
  const form = h("form", { action: api.archiveUrl(isTar ? "tar" : "zip"), method: isLong ? "post" : "get", target: "downloads", hidden: true },
    paths.map((path) => h("input", { type: "hidden", name: "path", value: path })),
    !isTar && h("input", { type: "hidden", name: "compression", value: format === "store" ? "store" : "deflate" }));
  document.body.append(form);
  form.submit();
  form.remove();
  announce("The download starts");
}

export class Browse {
  /** `root` is what nothing above is shown of: nothing, or what a link shares. */
  constructor(session, route) {
    this.session = session;
    this.root = session.root || "";
    this.element = h("div", { class: "browse" });
    this.path = route.path;
    this.can = { download: true, share: !api.isShare, versions: !api.isShare };
    this.start(route);
  }

  async start(route) {
    const names = this.path.split("/");
    this.client = names[0];
    this.crumbs = h("nav", { class: "crumbs", "aria-label": "Where you are" });
    this.time = h("div", { class: "time" });
    this.content = h("div", { class: "content" });
    // Those who see read it in the breadcrumbs; a client's page has a heading to be seen.
    this.title = h("h1", { class: "sr", hidden: names.length === 1 && !api.isShare });
    fill(this.element, this.title, this.crumbs, this.time, this.content);
    this.drawCrumbs();
    if (!api.isShare) this.loadTimeline(names);
    if (names.length === 1 && !api.isShare) return;
    if (this.path === this.root && api.isShare && !await this.isFolder()) { this.single(route); return; }
    this.listing(route);
  }

  /** A share link may lead to a file. */
  async isFolder() {
    try {
      return (await api.get(`/node/${this.path}`)).type === "directory";
    } catch (error) {
      return error.kind !== "not-found" || Boolean(fill(this.content, problem(error)));
    }
  }

  single(route) {
    const shown = panel({ path: this.path, tab: route.query.tab || "preview", close: null, can: this.can,
      change: (tab) => { location.replace(`#/browse/${this.path}?tab=${tab}`); shown.set(tab); } });
    fill(this.content, shown.element);
    this.element.classList.add("single");
    this.panel = shown;
  }

  drawCrumbs() {
    const names = this.path.split("/").filter(Boolean);
    const skipped = this.root ? this.root.split("/").length - 1 : 0;
    const steps = names.map((name, at) => ({ name, path: names.slice(0, at + 1).join("/"), at })).slice(skipped);
    const items = steps.map(({ name, path, at }, index) => {
      const isLast = index === steps.length - 1;
      const text = at === 1 && !api.isShare ? h("span", { class: "crumb-moment" }, this.momentName(decode(name))) : bdi(decode(name));
      return h("li", null, isLast ? h("span", { "aria-current": "page" }, text) : h("a", { href: `#/browse/${path}` }, text));
    });
    this.title.textContent = visible(decode(names.at(-1) || ""));
    fill(this.crumbs, h("ol", null, !api.isShare && h("li", null, h("a", { href: "#/" }, "Backups")), items));
    this.crumbs.scrollLeft = this.crumbs.scrollWidth;
    document.title = `${visible(decode(names.at(-1) || ""))} – Spelunk`;
  }

  momentName(moment) {
    if (moment === "latest") return "Newest";
    const backup = this.backups?.find((each) => each.moment === moment);
    return backup ? time(backup.time) : moment;
  }

  async loadTimeline(names) {
    const isClient = names.length === 1;
    if (isClient) fill(this.content, loading());
    try {
      const found = await api.get(`/clients/${this.client}`);
      this.backups = found.backups;
      this.drawCrumbs();
      this.drawTimeline();
      if (isClient) this.drawClient(found);
    } catch (error) {
      if (isClient) fill(this.content, problem(error));
    }
  }

  drawTimeline() {
    const names = this.path.split("/");
    const rest = names.slice(2).join("/");
    // The same folder in another backup.
    const go = (backup) => { location.hash = `#/browse/${backup.path}${rest ? `/${rest}` : ""}`; };
    if (this.backups?.length) fill(this.time, timeline(this.backups, decode(names[1] || ""), go));
  }

  /** Another backup, `step` earlier or later. */
  step(step) {
    const names = this.path.split("/");
    const at = this.backups?.findIndex((backup) => backup.moment === decode(names[1] || "")) ?? -1;
    const backup = at < 0 ? null : this.backups[at + step];
    if (backup) location.hash = `#/browse/${[backup.path, ...names.slice(2)].join("/")}`;
    else announce(step > 0 ? "There is no earlier backup" : "There is no later backup");
  }

  drawClient({ name, path, backups }) {
    const list = h("ul", { class: "backups" });
    let shown = 0;
    const more = () => {
      const part = backups.slice(shown, shown += 100);
      list.append(...part.map((backup) => h("li", { class: "backup" },
        h("a", { class: "backup-time", href: `#/browse/${backup.path}` }, icon("clock"), time(backup.time)),
        h("ul", { class: "items", "aria-label": "Volumes and shares" }, backup.items.map((item) => h("li", null,
          h("a", { class: "item", href: `#/browse/${item.path}` }, icon("disk"), bdi(item.name),
            item.stored_bytes !== undefined && h("span", { class: "muted" }, size(item.stored_bytes)))))))));
      next.hidden = shown >= backups.length;
    };
    const next = button("Show earlier backups", more, { class: "button" });
    more();
    fill(this.content, h("div", { class: "page" }, h("div", { class: "page-head" }, h("h1", null, icon("machine"), bdi(name)),
      h("p", { class: "muted" }, counted(backups.length, "backup"))),
    h("p", { class: "actions start" }, h("a", { class: "button primary", href: `#/browse/${path}/latest` }, "Open the newest backups"),
      h("a", { class: "button", href: `#/search?in=${encodeURIComponent(path)}` }, icon("search"), "Search this machine")),
    list, next));
  }

  listing(route) {
    this.filter = "";
    this.list = new Listing({
      label: `Entries of ${visible(decode(lastOf(this.path)))}`,
      href: (entry) => entry.type === "directory" ? `#/browse/${entry.path}` : entryHref(entry.path),
      ask: async (options) => {
        const page = await api.get(`/list/${this.path}`, { ...options, filter: this.filter });
        this.arrived(page);
        return page;
      },
      open: (entry) => this.open(entry),
      selected: (selection) => this.drawSelection(selection),
    });
    const input = h("input", { type: "search", placeholder: "Filter this folder", "aria-label": "Filter this folder", autocomplete: "off",
      spellcheck: "false", oninput: soon(() => { this.filter = input.value; this.reload(); }) });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && input.value) { input.value = ""; input.dispatchEvent(new Event("input")); event.stopPropagation(); }
      if (event.key === "ArrowDown" || event.key === "Enter") { this.list.element.focus(); event.preventDefault(); }
    });
    this.input = input;
    this.counter = h("span", { class: "muted counter", role: "status" });
    this.selection = h("div", { class: "selection", role: "region", "aria-label": "Selection", hidden: true });
    const up = this.path !== this.root && h("a", { class: "icon-button", "aria-label": "The folder above", title: "The folder above (Backspace)",
      href: this.upHref() }, icon("up"));
    const isLibrary = this.path.split("/").length < 3 && !api.isShare;
    this.tools = h("div", { class: "tools" }, up, input, this.counter,
      h("div", { class: "tools-end" },
        !api.isShare && iconButton("info", "About this folder", () => { location.hash = entryHref(this.path, "details"); }, { hidden: isLibrary }),
        this.can.share && iconButton("share", "Share link of this folder…", () => share(this.path, decode(lastOf(this.path))), { hidden: isLibrary }),
        this.formatChoice(), button([icon("download"), h("span", { class: "wide-text" }, "Download folder")], () => archive([this.path], this.format), { class: "button", "aria-label": "Download folder" })));
    this.side = h("div", { class: "side" });
    fill(this.content, h("div", { class: "pane" }, this.tools, this.list.box, this.selection), this.side);
    this.reload().then(() => this.update(route));
    // Once it is on the page, for the keys.
    requestAnimationFrame(() => this.list.element.focus({ preventScroll: true }));
  }

  /** The server says which backup `latest` is. */
  arrived(page) {
    if (page.path === this.path) return;
    this.path = page.path;
    history.replaceState(null, "", `#/browse/${this.path}${location.hash.includes("?") ? `?${location.hash.split("?")[1]}` : ""}`);
    this.drawCrumbs();
    this.drawTimeline();
  }

  async reload() {
    const page = await this.list.reload();
    if (!page) { this.counter.textContent = ""; return; }
    this.counter.textContent = counted(page.total, "entry", "entries");
    if (!page.total) {
      fill(this.list.message, h("p", { class: "empty" }, this.filter ? "No name here has that in it." : "This folder is empty."));
    }
  }

  upHref() {
    const above = parentOf(this.path);
    return above ? `#/browse/${above}` : "#/";
  }

  formatChoice() {
    const choice = select(FORMATS, this.format, { "aria-label": "Kind of archive", class: "format",
      onchange: () => {
        memory.set("format", choice.value);
        this.element.querySelectorAll("select.format").forEach((other) => { other.value = choice.value; });
      } });
    return choice;
  }

  get format() { return memory.get("format", "zip"); }

  drawSelection(selection) {
    const chosen = [...selection.values()];
    this.selection.hidden = !chosen.length;
    if (!chosen.length) return;
    const files = chosen.filter((entry) => entry.type === "file");
    const bytes = files.reduce((sum, entry) => sum + entry.size, 0);
    const folders = chosen.filter((entry) => entry.type === "directory").length;
    const isFull = chosen.length >= SELECTED_MAX;
    const go = () => files.length === 1 && chosen.length === 1 ? this.download(files[0])
      : archive(chosen.map((entry) => entry.path), this.format);
    fill(this.selection,
      h("p", null, h("strong", null, `${count(chosen.length)} selected`),
        h("span", { class: "muted" }, [folders && counted(folders, "folder"), files.length && `${counted(files.length, "file")}, ${size(bytes)}`].filter(Boolean).join(" · ")),
        isFull && h("span", { class: "muted" }, "That is as many as one archive takes.")),
      h("div", { class: "actions" }, button("Clear", () => this.list.clear(), { class: "button" }),
        chosen.length === 1 && this.can.share && button([icon("share"), "Share link…"], () => share(chosen[0].path, chosen[0].name), { class: "button" }),
        this.formatChoice(), button([icon("download"), "Download"], go, { class: "button primary download-selection" })));
  }

  download(entry) {
    const link = h("a", { href: api.fileUrl(entry.path), download: true });
    document.body.append(link);
    link.click();
    link.remove();
  }

  open(entry) {
    if (entry.type === "directory") location.hash = `#/browse/${entry.path}`;
    else if (entry.path) this.show(entry, entry.error ? "details" : entry.type === "file" ? this.tab || "preview" : "details");
    else toast(visible(entry.error?.title || "This entry is damaged in the backup. The rest of the folder is fine."));
  }

  show(entry, tab) {
    const hash = entryHref(entry.path, tab);
    if (location.hash === hash) this.update({ path: this.path, query: { item: lastOf(entry.path), tab } });
    else location.hash = hash;
  }

  /** The same folder, with another thing in detail. */
  update(route) {
    if (this.element.classList.contains("single")) { this.panel?.set(route.query.tab || "preview"); return; }
    if (!this.list) return;
    const item = route.query.item;
    const path = item && `${this.path}/${item}`;
    this.tab = route.query.tab || this.tab;
    if (!path) { this.closePanel(); return; }
    if (this.panel?.path === path) { this.panel.set(route.query.tab || "preview"); return; }
    const isMarked = this.list.at(this.list.cursor)?.path === path || this.list.find(path);
    const entry = isMarked ? this.list.at(this.list.cursor) : undefined;
    this.panel = panel({ path, entry, tab: route.query.tab || "preview", can: this.can,
      close: () => { location.hash = `#/browse/${this.path}`; },
      change: (tab) => { history.replaceState(null, "", entryHref(path, tab)); this.tab = tab; this.panel.set(tab); } });
    fill(this.side, this.panel.element);
    this.element.classList.add("has-panel");
    this.list.show(path);
    if (entry) announce(`${visible(entry.name)} is shown beside the list`);
  }

  closePanel() {
    if (!this.panel) return;
    this.panel = null;
    fill(this.side);
    this.element.classList.remove("has-panel");
    this.list.show(null);
    this.list.element.focus({ preventScroll: true });
  }

  /** A key that no field wants. Says whether it meant something here. */
  handle(event, isLetterAllowed) {
    if (event.key === "Backspace" && this.path !== this.root) { location.hash = this.upHref(); return true; }
    if (!this.list) return false;
    if (event.key === "Escape") {
      if (this.panel) location.hash = `#/browse/${this.path}`; else this.list.clear();
      return true;
    }
    if (!isLetterAllowed) return false;
    const entry = this.list.at(this.list.cursor);
    if (event.key === "f") this.input.focus();
    else if (event.key === "[") this.step(1);
    else if (event.key === "]") this.step(-1);
    else if (event.key === "i" && entry?.path) this.show(entry, "details");
    else if (event.key === "v" && entry?.path && this.can.versions) this.show(entry, "versions");
    else if (event.key === "d") this.downloadChosen(entry);
    else return false;
    return true;
  }

  downloadChosen(entry) {
    const chosen = [...this.list.selection.keys()];
    if (chosen.length) archive(chosen, this.format);
    else if (entry?.type === "file") this.download(entry);
    else if (entry?.path) archive([entry.path], this.format);
  }

  stop() { this.list?.stop(); }
}
