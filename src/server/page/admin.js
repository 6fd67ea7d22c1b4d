// For administrators: users and their rights, what was done, and what can be searched.

import { bdi, button, field, fill, h, icon, loading, problem, select, time } from "./dom.js";
import { count, counted, decode, size, visible } from "./format.js";
import { ACTIONS, listSection, nameInput, newPassword, passwordInput } from "./account.js";
import { confirm, dialog, form } from "./dialog.js";
import * as api from "./api.js";

const ALL = "*";

const rightsText = (user) => user.admin ? "Everything" : user.rights.length
  ? user.rights.map((right) => `${right.client === ALL ? "All machines" : visible(decode(right.client))}: ${right.actions.join(", ")}`).join(" · ")
  : "Nothing yet";

/** A table of machines and what may be done with each. */
function rightsTable(clients, rights) {
  const known = new Map(rights.map((right) => [right.client, new Set(right.actions)]));
  const names = [ALL, ...new Set([...clients.map((client) => client.path), ...known.keys()])].filter((name, at, all) => all.indexOf(name) === at);
  const rows = names.map((client) => {
    const label = client === ALL ? "All machines" : visible(decode(client));
    const boxes = ACTIONS.map(([action, text]) => {
      const box = h("input", { type: "checkbox", value: action, "aria-label": `${label}: ${text}` });
      box.checked = known.get(client)?.has(action) ?? false;
      return box;
    });
    return { client, boxes, element: h("tr", null, h("th", { scope: "row" }, bdi(label)), boxes.map((box) => h("td", null, box))) };
  });
  const element = h("div", { class: "table-box", role: "region", "aria-label": "Rights", tabindex: "0" }, h("table", { class: "rights" },
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Machine"), ACTIONS.map(([, text]) => h("th", { scope: "col" }, text)))),
    h("tbody", null, rows.map((row) => row.element))));
  const read = () => rows.map(({ client, boxes }) => ({ client, actions: boxes.filter((box) => box.checked).map((box) => box.value) }))
    .filter((right) => right.actions.length);
  return { element, read };
}

const checkbox = (label, checked) => {
  const input = h("input", { type: "checkbox", id: `c${Math.random().toString(36).slice(2)}` });
  input.checked = checked;
  return { input, element: h("p", { class: "check" }, input, h("label", { for: input.id }, label)) };
};

/** Makes a user, or changes one. */
async function edit(user, draw) {
  const { clients } = await api.get("/clients").catch(() => ({ clients: [] }));
  dialog(user ? `User ${visible(user.name)}` : "New user", (close) => {
    const name = nameInput({ autocomplete: "off" });
    const fresh = newPassword();
    const password = passwordInput(true);
    password.required = false;
    const admin = checkbox("Administrator: manages users, may do everything", user?.admin ?? false);
    const disabled = checkbox("May not log in", user?.disabled ?? false);
    const rights = rightsTable(clients, user?.rights ?? [{ client: ALL, actions: ["browse", "download"] }]);
    const show = () => { rights.element.hidden = admin.input.checked; };
    admin.input.addEventListener("change", show);
    show();
    const submit = async () => {
      const asked = { admin: admin.input.checked, rights: rights.read() };
      if (!user) await api.send("POST", "/users", { ...asked, name: name.value.trim(), password: fresh.input.value });
      else {
        asked.disabled = disabled.input.checked;
        if (password.value) asked.password = password.value;
        await api.send("PATCH", `/users/${encodeURIComponent(user.name)}`, asked);
      }
      draw();
      close();
    };
    return h("div", { class: "dialog-body" }, form([
      !user && [field("Name", name), fresh.fields], admin.element, rights.element,
      user && [field("New password", password, "Leave it empty to keep the one there is."), disabled.element]], user ? "Save" : "Make the user", submit));
  });
}

export function users(session) {
  document.title = "Users – Spelunk";
  return { element: h("div", { class: "page" }, h("h1", null, "Users"), listSection("All users", null,
    async () => (await api.get("/users")).users,
    (user, draw) => h("li", null, h("div", null, h("strong", null, bdi(user.name)), " ",
      user.admin && h("span", { class: "badge" }, "administrator"), user.disabled && h("span", { class: "badge bad" }, "may not log in"),
      h("p", { class: "muted" }, rightsText(user), ", made ", time(user.made))),
    h("div", { class: "actions" }, button("Change…", () => edit(user, draw), { class: "button", "aria-label": `Change ${visible(user.name)}…` }),
      user.name !== session.user && button("Remove", () => confirm("Remove the user?", `${visible(user.name)} can no longer log in; tokens and share links of theirs end.`, "Remove",
        async () => { await api.send("DELETE", `/users/${encodeURIComponent(user.name)}`); draw(); }), { class: "button", "aria-label": `Remove ${visible(user.name)}` }))),
    { empty: "There are none.", action: (draw) => button("New user…", () => edit(null, draw), { class: "button primary" }) })) };
}

const EVENTS = ["setup", "login", "login-failed", "logout", "password-changed", "user-made", "user-changed", "user-removed",
  "token-made", "token-removed", "share-made", "share-revoked", "download", "archive"];
const eventText = (event) => event.replaceAll("-", " ");

export function audit() {
  document.title = "Log – Spelunk";
  const body = h("tbody");
  const note = h("div", null, loading());
  let next;
  const user = h("input", { type: "search", "aria-label": "User", placeholder: "User", autocomplete: "off" });
  const event = select([["", "Everything"], ...EVENTS.map((name) => [name, eventText(name)])], "", { "aria-label": "Kind" });
  const row = (line) => h("tr", null, h("td", null, time(line.time)), h("td", null, line.user ? bdi(line.user) : "this machine"),
    h("td", null, eventText(line.event)), h("td", null, h("span", { class: `badge${line.outcome === "done" ? "" : " bad"}` }, line.outcome)),
    h("td", { class: "audit-what" }, [line.about, line.path && decode(line.path)].filter(Boolean).map((text) => h("p", null, bdi(text)))),
    h("td", null, line.bytes ? size(line.bytes) : ""), h("td", null, line.peer || ""));
  const load = async (before) => {
    try {
      const page = await api.get("/audit", { before, user: user.value.trim(), event: event.value, limit: 100 });
      if (!before) fill(body);
      body.append(...page.events.map(row));
      next = page.next;
      fill(note, !body.childElementCount && h("p", { class: "empty" }, "Nothing yet."),
        next !== undefined && button("Show earlier ones", () => load(next), { class: "button" }));
    } catch (error) {
      fill(note, problem(error, () => load(before)));
    }
  };
  const again = (change) => { change.preventDefault?.(); load(); };
  event.addEventListener("change", again);
  load();
  const titles = ["When", "Who", "What", "Outcome", "With what", "Sent", "From"];
  return { element: h("div", { class: "page" }, h("h1", null, "Log"), h("p", { class: "muted" }, "Who logged in, changed something, or downloaded what."),
    h("form", { class: "filters", onsubmit: again }, user, event, h("button", { class: "button", type: "submit" }, "Show")),
    h("div", { class: "table-box", role: "region", "aria-label": "Log", tabindex: "0" },
      h("table", null, h("thead", null, h("tr", null, titles.map((title) => h("th", { scope: "col" }, title)))), body)), note) };
}

const POLL_MS = 2000;

/** What can be searched, and what is being read right now. */
export function index() {
  document.title = "Index – Spelunk";
  const body = h("div", null, loading());
  let timer;
  const draw = async () => {
    try {
      const status = await api.get("/index");
      const { done, items, running } = status;
      fill(body, h("p", null, done >= items ? `All ${count(items)} volumes and shares can be searched.` : `${count(done)} of ${count(items)} volumes and shares can be searched.`),
        h("progress", { max: String(Math.max(1, items)), value: String(done), "aria-label": "Indexed" }),
        h("p", { class: "muted" }, `${counted(status.entries, "name")} in the index`, status.damaged ? `; ${counted(status.damaged, "damaged place")} could not be read` : "", "."),
        running ? h("p", { role: "status" }, icon("clock"), " Reading ", bdi(`${running.client} › ${running.item}`), `: ${counted(running.entries, "entry", "entries")} so far, ${count(running.done)} of ${count(running.items)} done.`)
          : done < items && button("Read the others now", async () => { try { await api.send("POST", "/index"); draw(); } catch (error) { body.append(problem(error)); } }, { class: "button primary" }));
      if (running) timer = setTimeout(draw, POLL_MS);
    } catch (error) {
      fill(body, problem(error, draw));
    }
  };
  draw();
  return { element: h("div", { class: "page" }, h("h1", null, "Index"),
    h("p", { class: "muted" }, "Names are read once from each backup, so that a search opens none of them."), h("section", { class: "block" }, body)),
  stop: () => clearTimeout(timer) };
}
