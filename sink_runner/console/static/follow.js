// Follows one row or event through its mapping: why the row is in the target or not.

import { h, show } from "./dom.js";
import { ofMapping, post } from "./service.js";

const PLACE = /^[^:]+:\d+:\d+$/;

export function followForm(name) {
  const field = h("input", { id: "follow", autocomplete: "off", spellcheck: "false", required: true });
  const button = h("button", { type: "submit" }, "Follow");
  const result = h("div", { class: "followed", "aria-live": "polite" });
  const submit = async (event) => {
    event.preventDefault();
    const text = field.value.trim();
    button.disabled = true;
    try {
      show(result, explained(await post(ofMapping(name, "explain"), PLACE.test(text) ? { at: text } : { key: text })));
    } catch (problem) {
      show(result, h("p", { class: "fault" }, `It cannot be followed: ${problem.message}.`));
    } finally {
      button.disabled = false;
    }
  };
  return [
    h("form", { class: "follow", onsubmit: submit },
      h("label", { for: "follow" }, "Key of the row in the source, or topic:partition:offset of an event"),
      h("div", { class: "line" }, field, button)),
    result,
  ];
}

function explained(found) {
  return [
    h("p", { class: `why ${found.good ? "fresh" : "late"}` }, found.sentence),
    found.passages.map((passage) => [h("p", { class: "muted" }, passage.id), steps(passage)]),
    rows(found),
    found.facts.length > 0 && h("pre", {}, found.facts.join("\n")),
  ];
}

function steps(passage) {
  return h("ol", { class: "chain" }, passage.steps.map((step) => h(
    "li", { class: "hook" },
    h("span", { class: "does" }, step.name, step.state !== "ok" && h("b", {}, ` ${step.state}`)),
    h("span", { class: "plugins" }, step.detail),
  )));
}

// What the newest passage makes, beside what the target has.
function rows({ passages, target }) {
  const sides = (passages.at(-1)?.rows ?? []).map((one) => [one.does, one.row]);
  if (target) sides.push(["in the target", target]);
  if (!sides.length) return null;
  const names = [...new Set(sides.flatMap(([, row]) => Object.keys(row)))];
  const text = (row, name) => (name in row ? String(row[name] ?? "null") : "");
  return h(
    "div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Rows, masked" },
    h("table", {},
      h("thead", {}, h("tr", {}, ["column", ...sides.map(([head]) => head)].map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, names.map((name) => h("tr", {},
        h("th", { scope: "row" }, h("code", {}, name)),
        sides.map(([, row]) => h("td", {}, text(row, name))))))),
  );
}
