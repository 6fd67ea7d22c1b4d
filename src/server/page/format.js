// Times, sizes and names as text to look at.

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const format = (options) => new Intl.DateTimeFormat(undefined, options);
const full = format({ dateStyle: "full", timeStyle: "medium" });
const short = format({ dateStyle: "medium", timeStyle: "short" });
const day = format({ weekday: "long", day: "numeric", month: "long", year: "numeric" });
const clock = format({ timeStyle: "short" });
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const plain = new Intl.NumberFormat();
const rounded = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });

const shown = (formatter) => (time) => {
  const date = new Date(time);
  return time && !Number.isNaN(date.getTime()) ? formatter.format(date) : "";
};

export const dateTime = shown(short);
export const dateTimeLong = shown(full);
export const dayName = shown(day);
export const clockTime = shown(clock);

/** The day of a time where the browser is: `2026-11-23`. */
export function dayKey(time) {
  const date = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** A backup's moment, `2026-11-23_0243`, is a time of the server's: without its zone it is shown as it stands. */
export function momentText(moment) {
  const parts = /^(\d+)-(\d+)-(\d+)_(\d\d)(\d\d)$/.exec(moment);
  return parts ? short.format(new Date(+parts[1], parts[2] - 1, +parts[3], +parts[4], +parts[5])) : moment;
}

/** "3 hours ago". */
export function ago(time) {
  const seconds = (new Date(time).getTime() - Date.now()) / 1000;
  const size = Math.abs(seconds);
  if (size < MINUTE) return relative.format(0, "minute");
  if (size < HOUR) return relative.format(Math.round(seconds / MINUTE), "minute");
  if (size < DAY) return relative.format(Math.round(seconds / HOUR), "hour");
  if (size < 60 * DAY) return relative.format(Math.round(seconds / DAY), "day");
  if (size < 730 * DAY) return relative.format(Math.round(seconds / (30.44 * DAY)), "month");
  return relative.format(Math.round(seconds / (365.25 * DAY)), "year");
}

export const count = (number) => plain.format(number);

/** "1 backup", "3 backups". */
export const counted = (number, one, many = `${one}s`) => `${plain.format(number)} ${number === 1 ? one : many}`;

export function size(bytes) {
  if (bytes === undefined || bytes === null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
  let unit = 0, value = bytes;
  while (value >= 1000 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit ? rounded.format(value) : plain.format(value)} ${units[unit]}`;
}

/** Characters that hide, or reorder, what stands around them. */
const HOSTILE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffc]/;

const ABBREVIATIONS = { 8: "BS", 9: "TAB", 10: "LF", 13: "CR", 27: "ESC", 127: "DEL" };

const sign = (character) => {
  const code = character.codePointAt(0);
  return `\u27e8${ABBREVIATIONS[code] || code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
};

/** A guest's text in pieces: what is as it stands, and signs for what would not be seen. */
export function pieces(text) {
  const parts = String(text).split(new RegExp(`(${HOSTILE.source})`, "u"));
  return parts.filter(Boolean).map((part) => {
    const isHostile = HOSTILE.test(part);
    return { text: isHostile ? sign(part) : part, isHostile };
  });
}

/** A guest's text for labels and titles. */
export const visible = (text) => pieces(text).map((piece) => piece.text).join("");

const utf8 = new TextDecoder();

/** The text of a percent-encoded name; what is no UTF-8 is U+FFFD. */
export function decode(encoded) {
  if (!encoded.includes("%")) return encoded;
  const out = [];
  for (let at = 0; at < encoded.length; at += 1) {
    const code = encoded[at] === "%" ? parseInt(encoded.slice(at + 1, at + 3), 16) : NaN;
    if (Number.isNaN(code)) out.push(...new TextEncoder().encode(encoded[at]));
    else { out.push(code); at += 2; }
  }
  return utf8.decode(new Uint8Array(out));
}

export const lastOf = (path) => path.slice(path.lastIndexOf("/") + 1);
export const parentOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

const KINDS = { directory: "Folder", symlink: "Link", fifo: "Pipe", socket: "Socket",
  "char-device": "Device", "block-device": "Device" };

/** What a thing is, in a word. */
export function kindName(entry) {
  if (entry.error) return "Damaged";
  if (KINDS[entry.type]) return KINDS[entry.type];
  const dot = entry.name.lastIndexOf(".");
  const extension = dot > 0 ? visible(entry.name.slice(dot + 1)) : "";
  return extension && extension.length < 8 ? extension.toUpperCase() : "File";
}
