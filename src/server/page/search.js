// Finds files by name, in all backups or some.

import { bdi, button, fill, h, icon, loading, marked, problem, select, soon, time } from "./dom.js";
import { count, counted, decode, lastOf, momentText, size, visible } from "./format.js";
import * as api from "./api.js";
import { downloadLink, entryHref } from "./panel.js";
import { iconName } from "./listing.js";

const PAGE = 100;
const UNITS = { "": 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3, t: 1024 ** 4 };

/** "10 MB" as bytes. */
function bytesOf(text) {
  const parts = /^\s*([\d.]+)\s*([kmgt]?)i?b?\s*$/i.exec(text || "");
  return parts ? Math.round(parts[1] * UNITS[parts[2].toLowerCase()]) : undefined;
}

export function searchHref(query) {
  const pairs = Object.entries(query).filter(([, value]) => value);
  return `#/search?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

/** The field in the page's head and on the first page. */
export function searchBox({ isLarge, scope } = {}) {
  const input = h("input", { type: "search", placeholder: isLarge ? "Name of a file or folder" : "Search all backups",
    "aria-label": "Search by name", autocomplete: "off", spellcheck: "false", autofocus: isLarge && matchMedia("(pointer: fine)").matches });
  const onsubmit = (event) => {
    event.preventDefault();
    if (input.value.trim()) location.hash = searchHref({ q: input.value.trim(), in: scope?.() });
  };
  return h("form", { role: "search", class: isLarge ? "search large" : "search", onsubmit, "aria-label": isLarge ? "Search for a file" : "Search" },
    icon("search"), input, isLarge && h("button", { class: "button primary", type: "submit" }, "Search"));
}

const TYPES = [["", "Files and folders"], ["file", "Files"], ["directory", "Folders"], ["symlink", "Links"]];

function hitRow(hit, wanted) {
  const isFolder = hit.type === "directory";
  const { from, to, count: number } = hit.moments;
  const place = decode(hit.directory).split("/").slice(2).join(" › ");
  const when = number > 1 ? `in ${counted(number, "backup")}, ${momentText(from)} to ${momentText(to)}` : `in the backup of ${momentText(to)}`;
  return h("li", { class: "hit" }, icon(iconName(hit)),
    h("div", { class: "hit-what" },
      h("a", { class: "hit-name", href: isFolder ? `#/browse/${hit.path}` : entryHref(hit.path, "preview") }, marked(hit.name, wanted)),
      h("p", { class: "hit-place" }, h("a", { href: `#/browse/${hit.directory}` }, bdi(hit.client), " › ", bdi(place))),
      h("p", { class: "muted" }, [hit.type === "file" && `${size(hit.size)}, `, hit.modified && ["modified ", time(hit.modified), ", "], when])),
    h("div", { class: "hit-actions" },
      !isFolder && h("a", { class: "button", href: entryHref(hit.path, "versions"), "aria-label": `Versions of ${visible(hit.name)}` }, "Versions"),
      hit.type === "file" && downloadLink(hit.path, undefined, "", { class: "icon-button", title: "Download", "aria-label": `Download ${visible(hit.name)}` })));
}

/** How much of what was searched is in the index, when it is not all. */
function gap(indexed, within) {
  const missing = indexed.items - indexed.done;
  if (missing <= 0) return null;
  const start = async (event) => {
    event.target.disabled = true;
    try {
      await api.send("POST", `/index${within ? `?in=${encodeURIComponent(within)}` : ""}`);
      event.target.replaceWith("It is being read now; search again in a moment.");
    } catch (error) {
      event.target.replaceWith(problem(error));
    }
  };
  return h("div", { class: "gap" }, icon("info"), h("p", null,
    `${count(indexed.done)} of ${count(indexed.items)} volumes and shares can be searched so far.`),
  button("Read the others now", start, { class: "button" }));
}

export class Search {
  constructor(session, route) {
    this.element = h("div", { class: "page search-page" });
    this.results = h("div", { class: "results" });
    this.build(route.query);
    this.update(route);
  }

  build(query) {
    const again = () => { location.replace(searchHref(this.read())); };
    const later = soon(again, 350);
    const field = (label, input) => h("label", { class: "filter" }, h("span", null, label), input);
    const text = (name, attributes) => h("input", { value: query[name] || "", oninput: later, ...attributes });
    this.fields = {
      q: h("input", { type: "search", value: query.q || "", "aria-label": "Search by name", placeholder: "Name, or a pattern such as *.docx",
        autocomplete: "off", spellcheck: "false", oninput: later }),
      in: select([["", "All machines"], ...this.scopes(query.in)], query.in || "", { onchange: again }),
      type: select(TYPES, query.type || "", { onchange: again }),
      ext: text("ext", { placeholder: "pdf", size: "6", autocomplete: "off" }),
      min: text("min", { placeholder: "10 MB", size: "8", autocomplete: "off" }),
      max: text("max", { placeholder: "1 GB", size: "8", autocomplete: "off" }),
      after: text("after", { type: "date" }),
      before: text("before", { type: "date" }),
    };
    const { q, type, ext, min, max, after, before } = this.fields;
    const isNarrowed = ["type", "ext", "min", "max", "after", "before"].some((name) => query[name]);
    fill(this.element, h("h1", null, "Search"),
      h("form", { role: "search", "aria-label": "Search with filters", class: "search-form", onsubmit: (event) => { event.preventDefault(); again(); } },
        h("div", { class: "search large" }, icon("search"), q, h("button", { class: "button primary", type: "submit" }, "Search")),
        h("div", { class: "filters" }, field("Where", this.fields.in),
          h("details", { open: isNarrowed, class: "more-filters" }, h("summary", null, "Filters"),
            h("div", { class: "filters" }, field("Kind", type), field("Ends with", ext), field("At least", min), field("At most", max),
              field("Modified from", after), field("Modified before", before))))),
      this.results);
    if (!query.q) requestAnimationFrame(() => q.focus());
    this.loadClients();
  }

  /** What a place's parents are: one can search in each. */
  scopes(within) {
    const names = (within || "").split("/").filter(Boolean);
    const label = (name, at) => at === 1 ? `this backup: ${momentText(decode(name))}` : visible(decode(name));
    return names.map((name, at) => [names.slice(0, at + 1).join("/"), names.slice(0, at + 1).map(label).join(" › ")]);
  }

  async loadClients() {
    try {
      const { clients } = await api.get("/clients");
      const have = new Set([...this.fields.in.options].map((option) => option.value));
      this.fields.in.append(...clients.slice(0, 500).filter((client) => !have.has(client.path))
        .map((client) => h("option", { value: client.path }, visible(client.name))));
    } catch {
      // Everywhere is still a choice.
    }
  }

  read() {
    return Object.fromEntries(Object.entries(this.fields).map(([name, input]) => [name, input.value.trim()]));
  }

  parameters(query) {
    return { q: query.q, in: query.in, type: query.type, ext: query.ext?.replace(/^\./, ""), min_size: bytesOf(query.min),
      max_size: bytesOf(query.max), after: query.after, before: query.before };
  }

  async update({ query }) {
    this.abort?.abort();
    this.abort = new AbortController();
    const { signal } = this.abort;
    document.title = query.q ? `${visible(query.q)} – Search – Spelunk` : "Search – Spelunk";
    if (this.fields.q.value.trim() !== (query.q || "") && document.activeElement !== this.fields.q) this.fields.q.value = query.q || "";
    if (!query.q && !query.ext && !query.after && !query.min) {
      fill(this.results, h("p", { class: "empty" }, "A part of the name is enough; * and ? stand for any characters."));
      return;
    }
    if (!this.results.childElementCount) fill(this.results, loading("Searching…"));
    try {
      const found = await api.get("/search", { ...this.parameters(query), limit: PAGE }, signal);
      this.draw(found, query);
    } catch (error) {
      if (error.name !== "AbortError") fill(this.results, problem(error, () => this.update({ query })));
    }
  }

  draw(found, query) {
    const list = h("ol", { class: "hits" }, found.hits.map((hit) => hitRow(hit, query.q)));
    let shown = found.hits.length;
    const note = found.is_incomplete ? " The search took too long and was cut short: narrow it." : "";
    const more = async () => {
      try {
        const next = await api.get("/search", { ...this.parameters(query), limit: PAGE, offset: shown });
        list.append(...next.hits.map((hit) => hitRow(hit, query.q)));
        shown += next.hits.length;
        further.hidden = shown >= next.total || !next.hits.length;
      } catch (error) {
        this.results.append(problem(error, more));
      }
    };
    const further = button("Show more", more, { class: "button" });
    further.hidden = shown >= found.total;
    const total = `${found.has_more ? "More than " : ""}${counted(found.total, "hit")}`;
    fill(this.results, h("p", { class: "muted", role: "status" }, found.total ? total : `Nothing is called so${query.in ? ` in ${visible(decode(lastOf(query.in)))}` : ""}.`, note),
      gap(found.indexed, query.in), list, further);
  }

  stop() { this.abort?.abort(); }
}
