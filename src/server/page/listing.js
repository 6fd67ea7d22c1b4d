// A folder of any size: only the rows that can be seen are elements, and pages are fetched as they come into sight.

import { announce, bdi, fill, h, icon, problem } from "./dom.js";
import { counted, dateTime, dateTimeLong, kindName, size, visible } from "./format.js";

const PAGE = 500;
/** Pages that are kept; those looked at longest ago go first. */
const PAGES_MAX = 60;
/** Rows above and below the visible ones. */
const SPARE = 8;
/** Browsers do not make elements much higher than this. */
const HEIGHT_MAX = 8_000_000;
/** Entries that are selected at once: as many as an archive takes. */
export const SELECTED_MAX = 10_000;

const COLUMNS = [["name", "Name"], ["size", "Size"], ["modified", "Modified"], ["type", "Kind"]];
const IMAGES = /\.(png|jpe?g|gif|webp|avif|bmp|ico|svg)$/i;
const MEDIA = /\.(mp3|ogg|oga|opus|wav|flac|m4a|aac|mp4|m4v|webm|ogv|mov|mkv)$/i;

/** The picture for a kind of entry. */
export function iconName(entry) {
  if (entry.error) return "warning";
  if (entry.type === "directory") return "folder";
  if (entry.type === "symlink") return "link";
  if (entry.type !== "file") return "device";
  if (IMAGES.test(entry.name)) return "image";
  return MEDIA.test(entry.name) ? "media" : "file";
}

/**
 * `ask({offset, limit, sort, order})` gives a page; `href(entry)` its address; `open`, `info`, `selected` are told what
 * the user did.
 */
export class Listing {
  constructor({ ask, href, open, selected, label }) {
    Object.assign(this, { ask, href, open, onSelected: selected });
    this.sort = "name";
    this.order = "asc";
    this.pages = new Map();
    this.selection = new Map();
    this.rows = new Map();
    this.total = 0;
    this.cursor = 0;
    this.anchor = 0;
    this.generation = 0;
    this.build(label);
  }

  build(label) {
    this.headings = COLUMNS.map(([key, text]) => h("div", { role: "columnheader", class: `cell c-${key}` },
      h("button", { type: "button", class: "sort", tabindex: "-1", onclick: () => this.sortBy(key) }, text)));
    this.all = h("input", { type: "checkbox", tabindex: "-1", "aria-label": "Select all", onchange: () => this.toggleAll() });
    this.head = h("div", { role: "row", class: "grid-head", "aria-rowindex": "1" },
      h("div", { role: "columnheader", class: "cell c-check" }, this.all), this.headings);
    this.space = h("div", { class: "grid-space", role: "rowgroup" });
    this.element = h("div", { role: "grid", class: "grid", tabindex: "0", "aria-label": label,
      "aria-multiselectable": "true", "aria-colcount": "5" },
    h("div", { role: "rowgroup", class: "grid-top" }, this.head), this.space);
    this.element.addEventListener("scroll", () => this.later(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.space.addEventListener("click", (event) => this.click(event));
    this.height = 36;
    this.observer = new ResizeObserver(() => { this.measure(); this.later(); });
    this.observer.observe(this.element);
    this.message = h("div", { class: "grid-message" });
    this.box = h("div", { class: "grid-box" }, this.element, this.message);
  }

  /** Rows are higher on small screens. */
  measure() {
    this.height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row")) || this.height;
  }

  /** Reads the folder anew, from its first entry. */
  async reload() {
    const generation = this.generation += 1;
    this.pages.clear();
    fill(this.message);
    try {
      const page = await this.fetch(0);
      if (generation !== this.generation) return null;
      this.element.scrollTop = 0;
      this.cursor = this.anchor = 0;
      this.draw();
      return page;
    } catch (error) {
      if (generation !== this.generation) return null;
      this.total = 0;
      this.draw();
      fill(this.message, problem(error, () => this.reload()));
      return null;
    }
  }

  /** A page, asked for once. */
  fetch(number) {
    const known = this.pages.get(number);
    if (known) {
      this.pages.delete(number);
      this.pages.set(number, known);
      return known.promise;
    }
    const generation = this.generation;
    const asked = this.ask({ offset: number * PAGE, limit: PAGE, sort: this.sort, order: this.order });
    const page = { entries: null, promise: null };
    page.promise = asked.then((answer) => {
      if (generation !== this.generation) return answer;
      page.entries = answer.entries;
      this.total = answer.total;
      this.later();
      return answer;
    });
    page.promise.catch(() => { if (this.pages.get(number) === page) this.pages.delete(number); });
    this.pages.set(number, page);
    if (this.pages.size > PAGES_MAX) this.pages.delete(this.pages.keys().next().value);
    return page.promise;
  }

  at(index) {
    return this.pages.get(Math.floor(index / PAGE))?.entries?.[index % PAGE];
  }

  later() {
    this.frame ??= requestAnimationFrame(() => { this.frame = null; this.draw(); });
  }

  /** The first row in sight. Beyond the height that browsers can scroll, a pixel stands for more than one. */
  geometry() {
    const full = this.total * this.height;
    const scrolled = Math.min(full, HEIGHT_MAX);
    const view = Math.max(this.height, this.element.clientHeight - this.height);
    const top = this.element.scrollTop;
    const share = scrolled > view ? Math.min(1, top / (scrolled - view)) : 0;
    const offset = full > scrolled ? share * (full - view) : top;
    return { full, scrolled, view, top, offset };
  }

  draw() {
    const { scrolled, view, top, offset } = this.geometry();
    this.space.style.height = `${scrolled}px`;
    this.element.setAttribute("aria-rowcount", String(this.total + 1));
    const first = Math.max(0, Math.floor(offset / this.height) - SPARE);
    const last = Math.min(this.total, Math.ceil((offset + view) / this.height) + SPARE);
    for (const [index, row] of this.rows) {
      if (index < first || index >= last) { row.element.remove(); this.rows.delete(index); }
    }
    for (let index = first; index < last; index += 1) {
      this.row(index).style.transform = `translateY(${top + index * this.height - offset}px)`;
    }
    if (last > first) for (const page of new Set([first, last - 1].map((index) => Math.floor(index / PAGE)))) {
      this.fetch(page).catch((error) => fill(this.message, problem(error, () => this.later())));
    }
    this.marks();
  }

  /** The element of a row, made anew only when what it shows has come or changed. */
  row(index) {
    const entry = this.at(index);
    const known = this.rows.get(index);
    if (known && known.entry === entry) return known.element;
    const element = entry ? this.render(entry, index)
      : h("div", { role: "row", class: "row waiting", "aria-rowindex": index + 2 }, h("div", { role: "gridcell", class: "cell c-name" }, "…"));
    element.id = `row-${index}`;
    if (known) known.element.replaceWith(element); else this.space.append(element);
    this.rows.set(index, { entry, element });
    return element;
  }

  render(entry, index) {
    const name = visible(entry.name);
    const link = entry.path && h("a", { class: "name", href: this.href(entry), tabindex: "-1" }, bdi(entry.name));
    const flags = [entry.hidden && "hidden", entry.system && "system", entry.readonly && "read-only"].filter(Boolean);
    return h("div", { role: "row", class: `row${entry.error ? " broken" : ""}${entry.hidden || entry.name.startsWith(".") ? " dim" : ""}`,
      "aria-rowindex": index + 2 },
    h("div", { role: "gridcell", class: "cell c-check" }, entry.path && !entry.error
      && h("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select ${name}` })),
    h("div", { role: "gridcell", class: "cell c-name", title: flags.length ? `${name} (${flags.join(", ")})` : name },
      icon(iconName(entry)), link || h("span", { class: "name" }, bdi(entry.name)),
      entry.target !== undefined && h("span", { class: "target" }, "→ ", bdi(entry.target))),
    h("div", { role: "gridcell", class: "cell c-size" }, entry.type === "file" ? size(entry.size) : ""),
    h("div", { role: "gridcell", class: "cell c-modified", title: dateTimeLong(entry.modified) }, dateTime(entry.modified)),
    h("div", { role: "gridcell", class: "cell c-type" }, kindName(entry)));
  }

  /** Shows what is selected, where the cursor is, and by what is sorted. */
  marks() {
    for (const [index, { entry, element }] of this.rows) {
      const isSelected = Boolean(entry) && this.selection.has(entry.path);
      element.setAttribute("aria-selected", String(isSelected));
      element.classList.toggle("cursor", index === this.cursor);
      element.classList.toggle("open", Boolean(entry) && entry.path === this.opened);
      const check = element.querySelector("input");
      if (check) check.checked = isSelected;
    }
    COLUMNS.forEach(([key], at) => {
      const is = key === this.sort;
      this.headings[at].setAttribute("aria-sort", is ? (this.order === "asc" ? "ascending" : "descending") : "none");
    });
    if (this.rows.has(this.cursor)) this.element.setAttribute("aria-activedescendant", `row-${this.cursor}`);
    else this.element.removeAttribute("aria-activedescendant");
    this.all.checked = this.selection.size > 0 && this.selection.size >= this.total;
    this.all.indeterminate = this.selection.size > 0 && !this.all.checked;
  }

  sortBy(key) {
    this.order = key === this.sort ? (this.order === "asc" ? "desc" : "asc") : key === "name" || key === "type" ? "asc" : "desc";
    this.sort = key;
    announce(`Sorted by ${key}, ${this.order === "asc" ? "ascending" : "descending"}`);
    return this.reload();
  }

  /** Moves the cursor, and what is in sight along with it. */
  move(index, isExtending) {
    if (!this.total) return;
    this.cursor = Math.max(0, Math.min(this.total - 1, index));
    if (!isExtending) this.anchor = this.cursor;
    const { full, scrolled, view, offset } = this.geometry();
    const start = this.cursor * this.height;
    const wanted = start < offset ? start : start + this.height > offset + view ? start + this.height - view : offset;
    if (wanted !== offset) {
      this.element.scrollTop = full > scrolled ? (wanted / (full - view)) * (scrolled - view) : wanted;
    }
    this.draw();
    if (isExtending) this.range(this.anchor, this.cursor);
  }

  /** Puts the cursor on an entry that is on the first pages. */
  find(path) {
    for (const [number, page] of this.pages) {
      const at = page.entries?.findIndex((entry) => entry.path === path) ?? -1;
      if (at >= 0) { this.move(number * PAGE + at); return true; }
    }
    return false;
  }

  click(event) {
    const element = event.target.closest(".row");
    const index = element ? Number(element.id.slice(4)) : NaN;
    const entry = this.at(index);
    if (!entry) return;
    if (event.target.matches("input")) {
      if (event.shiftKey) this.range(this.anchor, index);
      else { this.toggle(entry); this.anchor = index; }
      this.cursor = index;
      this.marks();
      this.element.focus({ preventScroll: true });
      return;
    }
    if (event.target.closest("a") && (event.ctrlKey || event.metaKey) && !event.shiftKey) return;
    event.preventDefault();
    this.element.focus({ preventScroll: true });
    if (event.shiftKey) this.move(index, true);
    else {
      this.move(index);
      if (event.ctrlKey || event.metaKey) this.toggle(entry); else this.open(entry);
    }
  }

  key(event) {
    if (event.altKey || (event.target !== this.element && !this.space.contains(event.target))) return;
    const screen = Math.max(1, Math.floor(this.geometry().view / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: screen, PageUp: -screen, Home: -Infinity, End: Infinity };
    const entry = this.at(this.cursor);
    if (event.key in steps) this.move(this.cursor + steps[event.key], event.shiftKey);
    else if (event.key === "Enter" && entry) this.open(entry);
    else if (event.key === " " && entry) this.toggle(entry);
    else if (event.key === "a" && (event.ctrlKey || event.metaKey)) this.range(0, this.total - 1);
    else return;
    event.preventDefault();
  }

  toggle(entry) {
    if (!entry.path || entry.error) return;
    if (!this.selection.delete(entry.path)) this.selection.set(entry.path, entry);
    this.changed();
  }

  toggleAll() {
    if (this.selection.size) this.clear(); else this.range(0, this.total - 1);
  }

  clear() {
    this.selection.clear();
    this.changed();
  }

  /** Selects from one row to another, those included that nobody has seen yet. */
  async range(a, b) {
    const [from, to] = [Math.min(a, b), Math.min(Math.max(a, b), Math.min(a, b) + SELECTED_MAX - 1)];
    const generation = this.generation;
    const turn = this.turn = (this.turn || 0) + 1;
    const chosen = [];
    for (let page = Math.floor(from / PAGE); page <= Math.floor(to / PAGE); page += 1) {
      const { entries } = await this.fetch(page);
      if (generation !== this.generation || turn !== this.turn) return;
      chosen.push(...entries.slice(Math.max(0, from - page * PAGE), to - page * PAGE + 1));
    }
    this.selection = new Map(chosen.filter((entry) => entry.path && !entry.error).map((entry) => [entry.path, entry]));
    this.changed();
  }

  changed() {
    this.marks();
    announce(this.selection.size ? `${counted(this.selection.size, "entry", "entries")} selected` : "Nothing selected");
    this.onSelected(this.selection);
  }

  /** Marks the entry that is shown beside the listing. */
  show(path) {
    this.opened = path;
    this.marks();
  }

  stop() {
    this.generation += 1;
    this.observer.disconnect();
  }
}
