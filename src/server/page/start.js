// Where one begins: a search, and the machines with their newest backups.

import { bdi, fill, h, icon, loading, problem, soon, time } from "./dom.js";
import { ago, counted, dateTime, dayKey, visible } from "./format.js";
import * as api from "./api.js";
import { searchBox } from "./search.js";

const SHOWN = 60;
const DAYS = 14;
const DAY_MS = 86_400_000;

/** The last two weeks, a mark for each day with a backup; filled in when the card comes into sight. */
function recent(client) {
  const box = h("div", { class: "recent", role: "img", "aria-label": "Backups of the last 14 days are being counted" });
  const load = async () => {
    try {
      const { backups } = await api.get(`/clients/${client.path}`);
      const last = new Date(client.last.time).getTime();
      const have = new Set(backups.map((backup) => dayKey(backup.time)));
      const days = [...Array(DAYS).keys()].map((back) => last - (DAYS - 1 - back) * DAY_MS);
      const hits = days.filter((day) => have.has(dayKey(day)));
      fill(box, days.map((day) => h("span", { class: have.has(dayKey(day)) ? "has" : "", title: dateTime(day).split(",")[0] })));
      box.setAttribute("aria-label", `Backups on ${hits.length} of the 14 days up to the newest`);
    } catch {
      box.remove();
    }
  };
  return { box, load };
}

function card(client, observer) {
  const { box, load } = recent(client);
  const element = h("li", { class: "card" },
    h("a", { class: "card-main", href: `#/browse/${client.path}` }, icon("machine"),
      h("span", { class: "card-name" }, bdi(client.name))),
    client.last ? h("p", { class: "card-last" }, h("span", null, "Last backup ", time(client.last.time, ago(client.last.time))),
      h("span", { class: "muted" }, dateTime(client.last.time))) : h("p", { class: "card-last" }, "No backup yet"),
    client.last && box,
    h("p", { class: "card-foot" }, h("span", { class: "muted" }, counted(client.backups, "backup")),
      client.last && h("a", { href: `#/browse/${client.path}/latest`, "aria-label": `Open the newest backups of ${visible(client.name)}` }, "Open the newest")));
  element.load = client.last ? load : () => {};
  observer.observe(element);
  return element;
}

export function start() {
  const list = h("ul", { class: "cards" });
  const head = h("div", { class: "section-head" }, h("h2", null, "Machines"));
  const body = h("div", null, loading());
  const observer = new IntersectionObserver((seen) => {
    for (const each of seen.filter((one) => one.isIntersecting)) { observer.unobserve(each.target); each.target.load(); }
  });
  const draw = (clients, wanted) => {
    const found = clients.filter((client) => client.name.toLowerCase().includes(wanted.toLowerCase()));
    fill(list, found.slice(0, SHOWN).map((client) => card(client, observer)));
    fill(body, list, found.length > SHOWN && h("p", { class: "note" }, `${counted(found.length - SHOWN, "more machine")}: narrow them by name.`),
      !found.length && h("p", { class: "empty" }, clients.length ? "No machine is called so." : "There are no backups yet, or none for you."));
  };
  const load = async () => {
    try {
      const { clients } = await api.get("/clients");
      if (clients.length > 8) {
        const input = h("input", { type: "search", placeholder: "Filter machines", "aria-label": "Filter machines",
          oninput: soon(() => draw(clients, input.value)) });
        head.append(input);
      }
      draw(clients, "");
    } catch (error) {
      fill(body, problem(error, load));
    }
  };
  load();
  document.title = "Spelunk";
  return { element: h("div", { class: "page start" },
    h("section", { class: "hero" }, h("h1", null, "Which file do you need back?"),
      searchBox({ isLarge: true }),
      h("p", { class: "muted" }, "A part of its name is enough. Or open a machine below and go to the day.")),
    h("section", { "aria-label": "Machines" }, head, body)), stop: () => observer.disconnect() };
}
