// Looks into a file. What runs in guests' files runs nowhere: pictures and sound are shown by the browser, text is text.

import { button, fill, h, loading, problem } from "./dom.js";
import { count, size, visible } from "./format.js";
import { bytes, fileUrl } from "./api.js";

const FIRST = 64 << 10;
const MORE = 256 << 10;
/** Bytes of text in the page. Beyond it, downloading is better. */
const TEXT_MAX = 4 << 20;
const HEX_ROWS = 32;

const KINDS = [
  ["image", /\.(png|jpe?g|gif|webp|avif|bmp|ico|svg)$/i],
  ["audio", /\.(mp3|ogg|oga|opus|wav|flac|m4a|aac)$/i],
  ["video", /\.(mp4|m4v|webm|ogv|mov|mkv)$/i],
  ["pdf", /\.pdf$/i],
];

/** Why a picture or a sound is not shown: the server knows, or the browser cannot. */
async function excuse(entry, stream) {
  try {
    await bytes(entry.path, stream, 0, 1);
    return h("p", { class: "note" }, "The browser cannot show this file. It can be downloaded.");
  } catch (error) {
    return problem(error);
  }
}

function media(kind, entry, stream, box) {
  const src = fileUrl(entry.path, { inline: 1, stream });
  const onerror = async () => fill(box, await excuse(entry, stream));
  const name = visible(entry.name);
  if (kind === "image") return h("img", { src, alt: `Preview of ${name}`, class: "picture", onerror });
  if (kind === "pdf") return h("iframe", { src, class: "document", title: `Preview of ${name}` });
  return h(kind, { src, controls: true, preload: "metadata", class: "player", "aria-label": name, onerror });
}

/** What the bytes of a text are: by its mark, by zeros in every other place, by what is no UTF-8. `null`: no text. */
export function charset(content) {
  const [a, b, c] = content;
  if (a === 0xef && b === 0xbb && c === 0xbf) return "utf-8";
  if (a === 0xff && b === 0xfe) return "utf-16le";
  if (a === 0xfe && b === 0xff) return "utf-16be";
  const head = content.subarray(0, 4096);
  const zeros = [0, 0];
  head.forEach((byte, at) => { if (byte === 0) zeros[at % 2] += 1; });
  const half = head.length / 2;
  if (zeros[1] > half * 0.4 && zeros[0] < half * 0.05) return "utf-16le";
  if (zeros[0] > half * 0.4 && zeros[1] < half * 0.05) return "utf-16be";
  if (zeros[0] + zeros[1] > 0) return null;
  const odd = head.filter((byte) => byte < 9 || (byte > 13 && byte < 27) || (byte > 27 && byte < 32)).length;
  if (odd > head.length * 0.02) return null;
  try {
    // The last character may be cut in two.
    new TextDecoder("utf-8", { fatal: true }).decode(content, { stream: true });
    return "utf-8";
  } catch {
    return "windows-1252";
  }
}

const NAMES = { "utf-8": "UTF-8", "utf-16le": "UTF-16", "utf-16be": "UTF-16 (big-endian)", "windows-1252": "Latin-1" };

function text(entry, stream, first, total, encoding) {
  const decoder = new TextDecoder(encoding);
  const pre = h("pre", { class: "text", tabindex: "0", "aria-label": `Text of ${visible(entry.name)}` });
  const note = h("p", { class: "note" });
  const foot = h("div", { class: "preview-foot" });
  let shown = 0;
  const show = (content) => {
    shown += content.length;
    pre.append(decoder.decode(content, { stream: shown < total }));
    const isWhole = shown >= total;
    note.textContent = `${NAMES[encoding]} · ${isWhole ? size(total) : `${size(shown)} of ${size(total)}`}`;
    const more = async () => {
      try { show((await bytes(entry.path, stream, shown, MORE)).content); } catch (error) { fill(foot, problem(error, more)); }
    };
    fill(foot, note, !isWhole && shown < TEXT_MAX && button("Show more", more, { class: "button" }));
  };
  show(first);
  return [pre, foot];
}

function hex(content, total) {
  const rows = [];
  for (let at = 0; at < Math.min(content.length, HEX_ROWS * 16); at += 16) {
    const row = [...content.subarray(at, at + 16)];
    const digits = row.map((byte) => byte.toString(16).padStart(2, "0")).join(" ").padEnd(47);
    const signs = row.map((byte) => byte > 31 && byte < 127 ? String.fromCharCode(byte) : "·").join("");
    rows.push(`${at.toString(16).padStart(6, "0")}  ${digits}  ${signs}`);
  }
  return [h("pre", { class: "text hex", tabindex: "0", "aria-label": "First bytes" }, rows.join("\n")),
    h("p", { class: "note" }, `No text: the first of ${count(total)} bytes.`)];
}

/** The preview of a file, or of one of its streams. */
export function preview(entry, stream) {
  const box = h("div", { class: "preview" }, loading());
  const kind = !stream && KINDS.find(([, names]) => names.test(entry.name))?.[0];
  if (entry.size === 0 && !stream) return fill(box, h("p", { class: "note" }, "The file is empty."));
  if (kind) return fill(box, media(kind, entry, stream, box));
  const load = async () => {
    try {
      const { content, total } = await bytes(entry.path, stream, 0, FIRST);
      const encoding = charset(content);
      fill(box, encoding ? text(entry, stream, content, total, encoding) : hex(content, total));
    } catch (error) {
      fill(box, problem(error, load));
    }
  };
  load();
  return box;
}
