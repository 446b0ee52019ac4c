// The chosen mapping: state and way out, controls, chain, columns, dead letters, conflicts,
// reconciliation.  Each part is read on its own, so that a part that fails leaves the others.

import { ACTIONS, openAction } from "./actions.js";
import { h, show } from "./dom.js";
import { followForm } from "./follow.js";
import { ofMapping, read } from "./service.js";
import { age, clock, count, duration, NONE, number, rate, reasonOf, seconds, tone } from "./text.js";

const EVERY = 20000;
// What an action has started shows soon: for this long the parts are read with every poll.
const EAGER = 60000;
const PARTS = {
  chain: ["Chain", chain],
  columns: ["Columns", columns],
  "dead-letters": ["Dead letters", deadLetters],
  conflicts: ["Conflicts", conflicts],
  reconciliation: ["Reconciliation", reconciliation],
};

let shown = null;

export function mappingView(parent, report, page) {
  if (!report) {
    shown = null;
    show(parent, h("p", { class: "hint" }, "Choose a mapping to see why it is in its state, what it does to each column, and to control it."));
    return;
  }
  if (shown?.name !== report.mapping) {
    shown = { name: report.mapping, ...layout(parent, report.mapping, page), readAt: 0, eagerUntil: 0 };
  }
  show(shown.state, summary(report));
  show(shown.facts, facts(report));
  if (Date.now() - shown.readAt > EVERY || Date.now() < shown.eagerUntil) {
    shown.readAt = Date.now();
    for (const part of Object.keys(PARTS)) fill(shown.name, part, shown.parts[part]);
  }
}

function layout(parent, name, { refresh, offers }) {
  const state = h("div", { class: "why" });
  const list = h("dl", { class: "facts" });
  const parts = Object.fromEntries(Object.keys(PARTS).map((part) => [part, h("div", { class: "body" }, h("p", { class: "muted" }, "…"))]));
  const done = h("p", { class: "done", role: "status" });
  const again = (result) => {
    if (shown) Object.assign(shown, { readAt: 0, eagerUntil: Date.now() + EAGER });
    done.textContent = result ? `${name}: ${result}.` : "";
    return refresh();
  };
  const actions = Object.entries(ACTIONS).filter(([action]) => offers.has(action));
  const buttons = actions.map(([action, { title }]) =>
    h("button", { type: "button", id: `do-${action}`, onclick: () => openAction(action, name, again) }, title));
  const card = (part) => h("section", { class: `card part-${part}`, "aria-labelledby": `head-${part}` }, h("h3", { id: `head-${part}` }, PARTS[part][0]), parts[part]);
  parent.replaceChildren(
    h("header", { class: "chosen" }, h("h2", { tabindex: "-1" }, name), h("div", { class: "buttons", role: "group", "aria-label": `Control ${name}` }, buttons)),
    done,
    h("div", { class: "card" }, state, list),
    h("div", { class: "parts" }, card("chain"), h("div", { class: "parts" }, card("dead-letters"), card("conflicts"), card("reconciliation")), card("columns")),
    h("section", { class: "card follow-card", "aria-labelledby": "head-follow" }, h("h3", { id: "head-follow" }, "Follow a row"), followForm(name)),
  );
  return { state, facts: list, parts };
}

async function fill(name, part, parent) {
  try {
    const found = await read(ofMapping(name, part));
    if (shown?.name === name) show(parent, PARTS[part][1](found));
  } catch (fault) {
    if (shown?.name === name) show(parent, h("p", { class: "muted" }, `Not available: ${fault.message}.`));
  }
}

function summary(report) {
  return [
    report.source && h("p", { class: "route" }, h("code", {}, report.source), " → ", h("code", {}, report.target)),
    h("p", { class: "reason" }, h("span", { class: `state ${tone(report)}` }, report.state), report.reason && `: ${reasonOf(report)}`),
    report.way_out && h("p", { class: "way-out" }, h("b", {}, "Way out: "), report.way_out),
    report.next_try && h("p", { class: "muted" }, `Next try at ${clock(report.next_try)}.`),
  ];
}

function facts(report) {
  const versions = Object.entries(report.versions ?? {}).map(([name, version]) => `${name} ${version}`).join(", ");
  const runners = Array.isArray(report.runners) ? report.runners.join(", ") || "none" : number(report.runners);
  const pairs = [
    ["Rate", rate(report.rate)],
    ["Lag", report.lag_events === null ? NONE : `${seconds(report.lag_seconds)}, ${count(report.lag_events, "event")}`],
    ["Last event", report.last_event_at ? `${clock(report.last_event_at)}, ${age(report.last_event_at)}` : NONE],
    ["Verified through", report.verified_through ? `${clock(report.verified_through)}, ${age(report.verified_through)}` : "never"],
    ["Runners", runners],
    ["Versions", versions || NONE],
  ];
  return pairs.map(([term, text]) => h("div", {}, h("dt", {}, term), h("dd", {}, text)));
}

function grid(heads, rows, nothing) {
  if (!rows.length) return h("p", { class: "muted" }, nothing);
  return h(
    "div", { class: "scroll", tabindex: "0", role: "group", "aria-label": heads.join(", ") },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))),
  );
}

const code = (text) => h("code", {}, text);

function chain({ steps, timings }) {
  const spent = Object.entries(timings ?? {});
  return [
    h("ol", { class: "chain" }, steps.map((step) => h(
      "li", { class: step.hook ? "hook" : "" },
      h("span", { class: "does" }, step.hook ? code(step.hook) : step.does),
      step.hook && h("span", { class: "plugins" }, step.plugins.map((one) => `${one.name} ${one.version}`).join(", ") || "no plugin"),
    ))),
    spent.length > 0 && h("p", { class: "muted" }, "Mean time of a batch: ", spent.map(([step, time]) => `${step} ${duration(time)}`).join(" · ")),
  ];
}

function columns({ columns: found }) {
  const input = (one) => h("div", { class: one.is_value ? "" : "muted" },
    code(one.column), one.tags.map((tag) => h("span", { class: "chip personal" }, tag)), !one.is_value && " finds the row");
  const masks = (one) => [...new Set(one.inputs.map((it) => it.mask).filter(Boolean))];
  return grid(
    ["Source", "On the way", "Target"],
    found.map((one) => [
      one.inputs.map(input),
      [
        masks(one).map((mask) => h("span", { class: "chip masked" }, mask)),
        h("span", { class: "muted" }, one.steps.join(", ") || (masks(one).length ? "" : "as it is")),
      ],
      code(one.target),
    ]),
    "No column reaches the target.",
  );
}

function deadLetters({ counts }) {
  return grid(
    ["Class", "SQLSTATE", "Status", "Number", "Newest"],
    counts.map((one) => [one.error_class, one.sqlstate ? code(one.sqlstate) : NONE, one.status.toLowerCase(), number(one.number), age(one.last)]),
    "None.",
  );
}

function conflicts({ conflicts: found }) {
  return grid(
    ["Type", "Record", "Found", "Decision"],
    found.map((one) => [one.type.replaceAll("_", " "), code(one.record), age(one.detected), one.action?.replaceAll("_", " ") ?? "open"]),
    "None.",
  );
}

function reconciliation({ runs }) {
  const columnsOf = (one) => Object.keys(one.columns_differing).join(", ");
  return grid(
    ["Run", "Outcome", "Rows", "Missing", "Extra", "Different"],
    runs.map((one) => [
      [`${clock(one.started)} `, h("span", { class: "muted" }, one.mode)],
      [one.outcome, columnsOf(one) && h("div", { class: "muted" }, columnsOf(one))],
      number((one.counts.read ?? 0) + (one.counts.unchanged ?? 0)),
      number(one.counts.missing ?? 0), number(one.counts.extra ?? 0), number(one.counts.different ?? 0),
    ]),
    "Never run.",
  );
}
