// The page: signs in, polls the service, and shows the mappings and the one that was chosen.

import { h, show } from "./dom.js";
import { flow, link } from "./flow.js";
import { mappingView } from "./mapping.js";
import { credential, offered, Problem, read } from "./service.js";
import { age, isHeld, reasonOf, sentence, tone } from "./text.js";

const EVERY = 5000;
const NARROW = matchMedia("(max-width: 759px)");

const main = document.getElementById("main");
const pulse = document.getElementById("pulse");
const leave = document.getElementById("leave");

const state = { reports: [], offers: new Set(), positions: new Map(), form: "picture", fault: "", readAt: 0 };
let parts;
let timer;

function chosenName() {
  const name = decodeURIComponent(location.hash.slice(1));
  return state.reports.some((one) => one.mapping === name) ? name : null;
}

// -- signing in -------------------------------------------------------------------------------

function signIn(fault = "") {
  clearTimeout(timer);
  leave.hidden = true;
  pulse.textContent = "";
  parts = null;
  const field = h("input", {
    id: "credential", type: "password", autocomplete: "off", required: true, spellcheck: "false",
    "aria-describedby": "credential-help credential-fault",
  });
  const submit = (event) => {
    event.preventDefault();
    if (/^[\x21-\x7e]+$/.test(field.value.trim())) {
      credential.set(field.value);
      start();
    } else signIn("A key or token has no spaces and no other characters than ASCII.");
  };
  const form = h(
    "form", { class: "card sign-in", onsubmit: submit },
    h("h1", {}, "What flows, how late, and why it stops."),
    h("label", { for: "credential" }, "API key or bearer token"),
    field,
    h("p", { class: "fault", id: "credential-fault", role: "alert" }, fault),
    h("button", { type: "submit", class: "primary" }, "Sign in"),
    h("p", { class: "help", id: "credential-help" }, "It needs the scope ", h("code", {}, "observe"), ", and ",
      h("code", {}, "operate"), " to change anything. ", h("code", {}, "sink-runner api-key new NAME --scope observe"),
      " creates a key. It is kept in this tab until you close it."),
  );
  show(main, form);
  field.focus();
}

function signOut() {
  credential.forget();
  state.reports = [];
  state.positions.clear();
  signIn();
}

// -- polling ----------------------------------------------------------------------------------

// The rate is how far the applied offsets moved since the last answer.
function withFlow(reports, progress) {
  return reports.map((report) => {
    const now = progress?.mappings[report.mapping];
    const before = state.positions.get(report.mapping);
    const at = Date.parse(progress?.at);
    let rate = before?.rate ?? null;
    if (now && (!before || at > before.at)) {
      rate = before ? Math.max(0, now.applied - before.applied) / ((at - before.at) / 1000) : null;
      state.positions.set(report.mapping, { applied: now.applied, at, rate });
    }
    return { ...report, rate, deferred: now?.deferred ?? null };
  });
}

async function poll() {
  clearTimeout(timer);
  try {
    if (!state.offers.size) state.offers = await offered();
    const [reports, progress] = await Promise.all([read("mappings"), read("progress").catch(() => null)]);
    if (!credential.get()) return;
    state.reports = withFlow(reports, progress);
    state.fault = "";
    state.readAt = Date.now();
    render();
  } catch (fault) {
    if (!(fault instanceof Problem)) throw fault;
    if ([401, 403].includes(fault.status)) {
      credential.forget();
      signIn(fault.status === 401 ? `The service refused this credential: ${fault.message}.` : `Not permitted: ${fault.message}.`);
      return;
    }
    state.fault = fault.message;
    if (!parts) frame();
    beat();
  }
  timer = setTimeout(poll, EVERY);
}

// -- the page ---------------------------------------------------------------------------------

function frame() {
  const forms = ["picture", "table"].map((form) =>
    h("button", { type: "button", id: `as-${form}`, "aria-pressed": "false", onclick: () => {
      state.form = form;
      render();
    } }, form === "picture" ? "Picture" : "Table"));
  parts = {
    sentence: h("h1", { class: "sentence" }),
    held: h("div", { "aria-live": "polite" }),
    notice: h("div", { role: "alert" }),
    forms,
    flow: h("div", { class: "flow" }),
    mapping: h("section", { id: "mapping", "aria-label": "Chosen mapping" }),
  };
  main.replaceChildren(
    parts.sentence,
    parts.held,
    parts.notice,
    h("div", { class: "forms", role: "group", "aria-label": "Form" }, forms),
    parts.flow,
    parts.mapping,
  );
  leave.hidden = false;
}

function beat() {
  const stale = state.fault ? `no answer: ${state.fault}` : "";
  pulse.classList.toggle("lost", Boolean(stale));
  pulse.textContent = stale || (state.readAt ? "live" : "");
  if (parts) {
    show(parts.notice, stale && h("p", { class: "notice" },
      `The service cannot be read: ${state.fault}. `,
      state.readAt ? `This is what it said ${age(new Date(state.readAt).toISOString())}.` : "The page tries again every five seconds."));
  }
}

// Each mapping that does not run, with its reason.
function held() {
  const found = state.reports.filter(isHeld);
  return found.length > 0 && h("ul", { class: "held-list" }, found.map((report) => h(
    "li", {},
    h("a", { href: link(report.mapping), "data-key": `held-${report.mapping}` }, report.mapping),
    h("span", { class: `state ${tone(report)}` }, ` ${report.state}`),
    report.reason && h("span", { class: "muted" }, `: ${reasonOf(report)}`),
  )));
}

function render() {
  if (!parts) frame();
  beat();
  const form = NARROW.matches ? "table" : state.form;
  parts.sentence.textContent = sentence(state.reports);
  show(parts.held, held());
  parts.forms.forEach((button) => button.setAttribute("aria-pressed", String(button.id === `as-${form}`)));
  show(parts.flow, flow(state.reports, { chosen: chosenName(), wide: Math.floor(parts.flow.clientWidth), form }));
  mappingView(parts.mapping, state.reports.find((one) => one.mapping === chosenName()), { refresh: poll, offers: state.offers });
}

function start() {
  frame();
  poll();
}

addEventListener("hashchange", () => {
  if (!parts || !state.reports.length) return;
  render();
  if (chosenName()) parts.mapping.querySelector("h2")?.focus();
});
new ResizeObserver(() => parts && state.reports.length && render()).observe(main);
document.addEventListener("visibilitychange", () => !document.hidden && parts && poll());
leave.addEventListener("click", signOut);
if (credential.get()) start();
else signIn();
