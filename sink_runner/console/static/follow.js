// Follows one event through its mapping: why its row is in the target or not.

import { h, show } from "./dom.js";
import { ofMapping, post } from "./service.js";

export function followForm(name) {
  const field = h("input", { id: "follow-at", autocomplete: "off", spellcheck: "false", required: true, placeholder: "topic:partition:offset" });
  const button = h("button", { type: "submit" }, "Follow");
  const result = h("div", { class: "followed", "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      show(result, explained(await post(ofMapping(name, "explain"), { at: field.value.trim() })));
    } catch (problem) {
      show(result, h("p", { class: "fault" }, `The event cannot be followed: ${problem.message}.`));
    } finally {
      button.disabled = false;
    }
  };
  return [
    h("form", { class: "follow", onsubmit: submit }, h("label", { for: "follow-at" }, "Place of the event in Kafka"), h("div", { class: "line" }, field, button)),
    result,
  ];
}

function explained(found) {
  return [
    h("p", { class: `why ${found.good ? "fresh" : "late"}` }, found.sentence),
    h("ol", { class: "chain" }, found.steps.map((step) => h(
      "li", { class: "hook" },
      h("span", { class: "does" }, step.name, step.state !== "ok" && h("b", {}, ` ${step.state}`)),
      h("span", { class: "plugins" }, step.detail),
    ))),
    found.rows.length + (found.target ? 1 : 0) > 0 && rows(found),
  ];
}

function rows({ rows: made, target }) {
  const text = (row, name) => (row && name in row ? String(row[name] ?? "null") : "");
  const names = [...new Set([...made, target ?? {}].flatMap(Object.keys))];
  const heads = ["Column", ...made.map(() => "The event makes"), target && "The target has"].filter(Boolean);
  return h(
    "div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Rows, masked" },
    h("table", {},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, names.map((name) => h("tr", {},
        h("th", { scope: "row" }, h("code", {}, name)),
        made.map((row) => h("td", {}, text(row, name))),
        target && h("td", {}, text(target, name)))))),
  );
}
