// Who is there: the first set-up, logging in, and what belongs to one's own account.

import { bdi, button, field, fill, h, icon, loading, memory, problem, time } from "./dom.js";
import { decode, visible } from "./format.js";
import { confirm, dialog, form, secret, terms } from "./dialog.js";
import * as api from "./api.js";

export const PASSWORD_MIN = 10;
const NOTE = `At least ${PASSWORD_MIN} characters. A few words in a row are good.`;

export const nameInput = (attributes) => h("input", { required: true, maxlength: "64", autocomplete: "username", spellcheck: "false",
  autocapitalize: "none", pattern: "[\\p{L}\\p{N}.\\-_@+]{1,64}", title: "Letters, digits and . - _ @ +", ...attributes });
export const passwordInput = (isNew) => h("input", { type: "password", required: true, maxlength: "1024",
  minlength: isNew ? String(PASSWORD_MIN) : null, autocomplete: isNew ? "new-password" : "current-password" });

const gate = (title, text, content) => h("div", { class: "gate" }, h("div", { class: "gate-card" },
  h("img", { src: "assets/icon.svg", alt: "", width: "56", height: "56" }), h("h1", null, title), text && h("p", { class: "muted" }, text), content));

/** Two fields that must say the same. */
export function newPassword() {
  const first = passwordInput(true), again = passwordInput(true);
  const check = () => again.setCustomValidity(first.value === again.value ? "" : "The two are not the same");
  first.addEventListener("input", check);
  again.addEventListener("input", check);
  return { input: first, fields: [field("New password", first, NOTE), field("Once more", again)] };
}

export function login(done) {
  document.title = "Log in – Spelunk";
  const name = nameInput({ autofocus: true }), password = passwordInput(false);
  return { element: gate("Log in", "to see the backups.", form([field("Name", name), field("Password", password)], "Log in", async () => {
    await api.send("POST", "/login", { name: name.value.trim(), password: password.value });
    done();
  })) };
}

export function setup(key, done) {
  document.title = "Set up – Spelunk";
  const name = nameInput({ value: "admin", autofocus: true });
  const password = newPassword();
  return { element: gate("Welcome to Spelunk", "Make the administrator, who can then make the other users. The link that brought you here works once.",
    form([field("Name", name), password.fields], "Make the administrator", async () => {
      await api.send("POST", "/setup", { secret: key, name: name.value.trim(), password: password.input.value });
      // Whoever has just chosen a password need not type it again.
      await api.get("").catch(() => api.send("POST", "/login", { name: name.value.trim(), password: password.input.value }));
      done();
    })) };
}

function passwordSection() {
  const old = passwordInput(false);
  const fresh = newPassword();
  const make = () => form([field("Password until now", old), fresh.fields], "Change the password", async (note) => {
    await api.send("POST", "/password", { old: old.value, new: fresh.input.value });
    section.querySelector("form").reset();
    fill(note, h("p", { class: "good", role: "status" }, "The password is changed. Other sessions of yours have ended."));
  }, { class: "narrow" });
  const section = h("section", { class: "block" }, h("h2", null, "Password"), make());
  return section;
}

/** A list from the server, with an empty word, in a section that can be drawn anew. */
export function listSection(title, text, load, row, attributes = {}) {
  const body = h("div", null, loading());
  const draw = async () => {
    try {
      const rows = await load();
      fill(body, rows.length ? h("ul", { class: "rows" }, rows.map((each) => row(each, draw))) : h("p", { class: "empty" }, attributes.empty));
    } catch (error) {
      fill(body, problem(error, draw));
    }
  };
  draw();
  const element = h("section", { class: "block" }, h("div", { class: "section-head" }, h("h2", null, title), attributes.action?.(draw)),
    text && h("p", { class: "muted" }, text), body);
  return element;
}

export const ACTIONS = [["browse", "See what is there"], ["download", "Download"], ["manage", "Build the index"]];

function newToken(draw) {
  dialog("New token", (close) => {
    const name = h("input", { required: true, maxlength: "100", placeholder: "What it is for" });
    const term = terms(30 * 86_400, [["", "Without end"]]);
    const body = h("div", { class: "dialog-body" });
    return fill(body, form([field("Name", name), field("Good for", term)], "Make the token", async () => {
      const asked = { name: name.value.trim(), actions: ["browse", "download"] };
      if (term.value) asked.expires_in = Number(term.value);
      const made = await api.send("POST", "/tokens", asked);
      draw();
      fill(body, secret("The token, which is shown only now", made.secret),
        h("p", { class: "note" }, "For WebDAV it is the password, with your name; for the API: ", h("code", null, "Authorization: Bearer TOKEN"), "."),
        h("div", { class: "actions" }, button("Done", close, { class: "button" })));
    }));
  });
}

const tokens = () => listSection("Tokens", "For WebDAV and programs: a token sees and downloads what you may, and changes nothing.",
  async () => (await api.get("/tokens")).tokens,
  (token, draw) => h("li", null, h("div", null, h("strong", null, bdi(token.name)),
    h("p", { class: "muted" }, "made ", time(token.made), token.expires ? [", ends ", time(token.expires)] : ", without end",
      token.used ? [", last used ", time(token.used)] : ", never used")),
  button("Remove", () => confirm("Remove the token?", `What uses “${visible(token.name)}” will be refused.`, "Remove",
    async () => { await api.send("DELETE", `/tokens/${token.id}`); draw(); }), { class: "button", "aria-label": `Remove token ${visible(token.name)}` })),
  { empty: "You have no tokens.", action: (draw) => button("New token…", () => newToken(draw), { class: "button" }) });

const shares = (session) => listSection("Share links", session.is_admin ? "All that are good at present." : "Those of yours that are good at present.",
  async () => (await api.get("/shares")).shares,
  (each, draw) => h("li", null, h("div", null, h("a", { href: `#/browse/${each.path}` }, bdi(decode(each.path).split("/").join(" › "))),
    h("p", { class: "muted" }, session.is_admin && ["of ", bdi(each.user), ", "], "made ", time(each.made), ", ends ", time(each.expires))),
  button("End", () => confirm("End the link?", "Whoever has it will see nothing any more.", "End it",
    async () => { await api.send("DELETE", `/shares/${each.id}`); draw(); }), { class: "button", "aria-label": `End the link to ${visible(decode(each.path))}` })),
  { empty: "There are none. Make one with “Share link…” beside a file or folder." });

export function account(session, { out, theme }) {
  document.title = "Account – Spelunk";
  return { element: h("div", { class: "page account" },
    h("div", { class: "page-head" }, h("h1", null, icon("user"), bdi(session.user)), h("p", { class: "muted" }, session.is_admin ? "Administrator" : "User"),
      button("Log out", out, { class: "button" })),
    h("section", { class: "block" }, h("h2", null, "Appearance"), field("Theme", theme())),
    shares(session), tokens(), passwordSection()) };
}

/** The choice of a theme. */
export function themeChoice() {
  const choices = [["", "As the system"], ["light", "Light"], ["dark", "Dark"]];
  const choice = h("select", { onchange: () => setTheme(choice.value) }, choices.map(([value, text]) => h("option", { value }, text)));
  choice.value = memory.get("theme", "");
  return choice;
}

export function setTheme(theme) {
  memory.set("theme", theme);
  if (theme) document.documentElement.dataset.theme = theme; else delete document.documentElement.dataset.theme;
}
