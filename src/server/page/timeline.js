// A client's backups as a strip of days, and the moments of the chosen day.

import { button, fill, h, iconButton } from "./dom.js";
import { clockTime, counted, dateTime, dayKey, dayName } from "./format.js";

/** Days that are shown around the chosen one; others are reached by date, or by going on. */
const DAYS_AROUND = 45;

const parts = (options) => new Intl.DateTimeFormat(undefined, options);
const weekday = parts({ weekday: "short" });
const month = parts({ month: "long", year: "numeric" });

/** Days with their backups, the oldest first. `backups` come the newest first. */
export function days(backups) {
  const found = new Map();
  for (const backup of [...backups].reverse()) {
    const key = dayKey(backup.time);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(backup);
  }
  return [...found].map(([key, ofDay]) => ({ key, backups: ofDay, time: ofDay[0].time }));
}

/** The strip. `current` is the chosen moment's name, or nothing; `go(backup)` is called with another. */
export function timeline(backups, current, go) {
  const all = days(backups);
  const chosen = all.findIndex((each) => each.backups.some((backup) => backup.moment === current));
  const strip = h("div", { class: "strip", role: "group", "aria-label": "Days with backups" });
  const moments = h("div", { class: "moments", role: "group", "aria-label": "Backups of this day" });
  let selected = chosen < 0 ? all.length - 1 : chosen;
  let from = Math.max(0, selected - DAYS_AROUND), to = Math.min(all.length, selected + DAYS_AROUND);

  const showMoments = () => {
    const each = all[selected];
    fill(moments, each && h("span", { class: "moments-day" }, dayName(each.time)),
      each?.backups.map((backup) => button(clockTime(backup.time), () => go(backup), {
        class: "chip", "aria-current": backup.moment === current ? "true" : null, title: dateTime(backup.time),
      })));
  };
  const choose = (index) => {
    selected = index;
    const each = all[index];
    if (each.backups.length === 1 && each.backups[0].moment !== current) { go(each.backups[0]); return; }
    draw();
    strip.querySelector("[aria-pressed=true]")?.focus();
  };
  const dayButton = (each, index) => h("button", {
    type: "button", class: "day", "aria-pressed": String(index === selected), onclick: () => choose(index),
    title: `${dayName(each.time)}: ${counted(each.backups.length, "backup")}`,
  },
  h("span", { class: "sr" }, `${dayName(each.time)}, ${counted(each.backups.length, "backup")}`),
  h("span", { class: "weekday", "aria-hidden": "true" }, weekday.format(new Date(each.time))),
  h("span", { class: "date", "aria-hidden": "true" }, String(new Date(each.time).getDate())),
  h("span", { class: "dots", "aria-hidden": "true" }, "•".repeat(Math.min(3, each.backups.length))));
  const draw = () => {
    const cells = [];
    let label;
    if (from > 0) cells.push(button("Earlier", () => { from = Math.max(0, from - DAYS_AROUND); draw(); }, { class: "more" }));
    for (let index = from; index < to; index += 1) {
      const name = month.format(new Date(all[index].time));
      if (name !== label) cells.push(h("span", { class: "month" }, label = name));
      cells.push(dayButton(all[index], index));
    }
    if (to < all.length) cells.push(button("Later", () => { to = Math.min(all.length, to + DAYS_AROUND); draw(); }, { class: "more" }));
    fill(strip, cells);
    showMoments();
  };
  draw();
  // Scrolled to the chosen day once it has a place.
  requestAnimationFrame(() => {
    const day = strip.querySelector("[aria-pressed=true]");
    if (day) strip.scrollLeft = day.offsetLeft - strip.clientWidth / 2;
  });

  const at = backups.findIndex((backup) => backup.moment === current);
  const step = (name, label, backup) =>
    iconButton(name, backup ? `${label}: ${dateTime(backup.time)}` : label, () => go(backup), { disabled: !backup });
  const jump = h("input", { type: "date", "aria-label": "Newest backup up to this day", title: "Go to a day" });
  jump.min = all[0]?.key ?? "";
  jump.max = all.at(-1)?.key ?? "";
  jump.value = all[selected]?.key ?? "";
  jump.addEventListener("change", () => {
    const index = all.findLastIndex((each) => each.key <= jump.value);
    if (jump.value && index >= 0) go(all[index].backups.at(-1));
  });
  return h("section", { class: "timeline", "aria-label": "Timeline" },
    h("div", { class: "timeline-row" },
      at >= 0 && step("left", "Earlier backup", backups[at + 1]), strip,
      at >= 0 && step("right", "Later backup", backups[at - 1]), jump),
    moments);
}
