// Pause, resume, replay, resync and reconcile: each shows its plan and its command-line twin first.

import { h, show } from "./dom.js";
import { ofMapping, post } from "./service.js";

export const ACTIONS = {
  pause: { title: "Pause", fields: [{ name: "reason", label: "Reason", required: true }], twin: (name, it) => `sink-runner pause ${name} --reason ${quoted(it.reason)}` },
  resume: { title: "Resume", fields: [], twin: (name) => `sink-runner resume ${name}` },
  replay: { title: "Replay", fields: [{ name: "from", label: "From a time or offset:PARTITION:OFFSET", required: true }], twin: (name, it) => `sink-runner replay ${name} --from ${quoted(it.from)}` },
  resync: { title: "Resync", fields: [], twin: (name) => `sink-runner resync ${name}` },
};

// A word of a POSIX shell.
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

export function openAction(action, name, done) {
  const { title, fields, twin } = ACTIONS[action];
  const inputs = fields.map((field) => h("input", { id: `field-${field.name}`, name: field.name, required: field.required, autocomplete: "off" }));
  const plan = h("div", { class: "plan", "aria-live": "polite" });
  const fault = h("p", { class: "fault", role: "alert" });
  const next = h("button", { type: "submit", class: "primary" }, "Show the plan");
  const values = () => Object.fromEntries(inputs.map((input) => [input.name, input.value.trim()]));
  let planned = null;

  const reset = () => {
    planned = null;
    next.textContent = "Show the plan";
    show(plan);
  };
  const run = async (body) => {
    fault.textContent = "";
    next.disabled = true;
    try {
      return await post(ofMapping(name, action), body);
    } catch (problem) {
      fault.textContent = `${title} failed: ${problem.message}.`;
      return null;
    } finally {
      next.disabled = false;
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    const wanted = values();
    if (planned === null) {
      const answer = await run({ ...wanted, dry_run: true });
      if (!answer) return;
      planned = wanted;
      show(plan, h("h3", {}, "Plan"), h("ul", {}, answer.plan.map((line) => h("li", {}, line))), h("h3", {}, "On the command line"), h("pre", {}, h("code", {}, answer.command ?? twin(name, wanted))));
      next.textContent = `${title} ${name}`;
      next.focus();
    } else if (await run({ ...planned, dry_run: false })) {
      dialog.close();
      await done();
    }
  };

  const heading = `${title} ${name}`;
  const form = h(
    "form", { onsubmit: submit },
    h("h2", { id: "dialog-title" }, heading),
    fields.map((field, index) => [h("label", { for: `field-${field.name}` }, field.label), inputs[index]]),
    plan, fault,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), next),
  );
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() }, form);
  inputs.forEach((input) => input.addEventListener("input", reset));
  document.getElementById("dialogs").append(dialog);
  dialog.showModal();
  if (!fields.length) form.requestSubmit();
}
