// Asks the server. The only file that knows addresses and what an error looks like.

/** Where the page is: `/`, or `/s/SECRET/` behind a share link. Everything is asked for below it. */
export const base = location.pathname.replace(/[^/]*$/, "");
export const isShare = /\/s\/[^/]+\/$/.test(base);
const root = `${base}api/v1`;

/** An error of the server's, in words (RFC 9457). */
export class Problem extends Error {
  constructor(body, status, retryAfter) {
    super(body.title || `The server answered ${status}`);
    this.kind = String(body.type || "").replace("urn:spelunk:", "");
    this.status = status;
    this.detail = body.detail;
    this.causes = body.causes || [];
    this.hint = body.hint;
    this.retryAfter = retryAfter;
  }
}

const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(body, response.status, Number(response.headers.get("retry-after")) || 0);
}

/** Asks; a lost reader is asked once more, as the server advises. Throws a `Problem`. */
export async function ask(address, options = {}, isAgain = false) {
  let response;
  try {
    response = await fetch(address, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ title: "The server cannot be reached", type: "offline",
      hint: "Is the network there, and is Spelunk running?" }, 0, 0);
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (problem.kind === "worker-lost" && !options.method && !isAgain) {
    await wait(problem.retryAfter || 1);
    return ask(address, options, true);
  }
  if (problem.status === 401 && !address.endsWith("/login")) dispatchEvent(new CustomEvent("spelunk:logged-out"));
  throw problem;
}

function query(parameters) {
  const pairs = Object.entries(parameters || {}).filter(([, value]) => value !== undefined && value !== "");
  return pairs.length ? `?${pairs.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}` : "";
}

/** GET, as an object. */
export async function get(place, parameters, signal) {
  return (await ask(`${root}${place}${query(parameters)}`, { signal })).json();
}

/** Any other method: what the cookie may do needs a header that other sites cannot send. */
export async function send(method, place, body) {
  const headers = { "x-spelunk-csrf": "1" };
  if (body !== undefined) headers["content-type"] = "application/json";
  const response = await ask(`${root}${place}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  return text ? JSON.parse(text) : {};
}

/** Where a file's content is. `path` is percent-encoded, as the server gave it. */
export const fileUrl = (path, options) => `${root}/file/${path}${query(options)}`;

/** Where an archive is made. */
export const archiveUrl = (kind) => `${root}/${kind}`;

/** Bytes of a file from `start`, `count` at most: the bytes, and how many there are in all. */
export async function bytes(path, stream, start, count) {
  const headers = { range: `bytes=${start}-${start + count - 1}` };
  const response = await ask(fileUrl(path, { inline: 1, stream }), { headers });
  const total = Number((response.headers.get("content-range") || "").split("/")[1]);
  const content = new Uint8Array(await response.arrayBuffer());
  return { content, total: Number.isFinite(total) && total > 0 ? total : content.length };
}
