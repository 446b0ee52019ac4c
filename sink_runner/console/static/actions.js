// Pause, resume, replay and resync: each shows its plan and its form on the command line first.

import { h, show } from "./dom.js";
import { ofMapping, post } from "./service.js";

export const ACTIONS = {
  pause: { title: "Pause", fields: [{ name: "reason", label: "Reason", required: true }] },
  resume: { title: "Resume", fields: [] },
  replay: { title: "Replay", fields: [{ name: "from", label: "From a time or offset:PARTITION:OFFSET", required: true }] },
  resync: { title: "Resync", fields: [] },
  reconcile: {
    title: "Reconcile",
    fields: [
      { name: "full", label: "Compare every row", type: "checkbox" },
      { name: "repair", label: "Repair what differs", type: "checkbox" },
    ],
  },
};

export function openAction(action, name, done) {
  const { title, fields } = ACTIONS[action];
  const inputs = fields.map((field) => h("input", { id: `field-${field.name}`, name: field.name, type: field.type, required: field.required, autocomplete: "off" }));
  const plan = h("div", { class: "plan", "aria-live": "polite" });
  const fault = h("p", { class: "fault", role: "alert" });
  const next = h("button", { type: "submit", class: "primary" }, "Show the plan");
  const values = () => Object.fromEntries(inputs.map((input) => [input.name, input.type === "checkbox" ? input.checked : input.value.trim()]));
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
      show(plan, h("h3", {}, "Plan"), h("ul", {}, answer.plan.map((line) => h("li", {}, line))), h("h3", {}, "On the command line"), h("pre", {}, h("code", {}, answer.command)));
      next.textContent = `${title} ${name}`;
      next.focus();
      return;
    }
    const answer = await run({ ...planned, dry_run: false });
    if (!answer) return;
    dialog.close();
    await done(answer.result);
  };

  const heading = `${title} ${name}`;
  const form = h(
    "form", { onsubmit: submit },
    h("h2", { id: "dialog-title" }, heading),
    fields.map((field, index) => h("div", { class: `field ${field.type ?? ""}` }, h("label", { for: `field-${field.name}` }, field.label), inputs[index])),
    plan, fault,
    h("div", { class: "buttons" }, h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), next),
  );
  const dialog = h("dialog", { "aria-labelledby": "dialog-title", onclose: () => dialog.remove() }, form);
  inputs.forEach((input) => input.addEventListener("input", reset));
  document.getElementById("dialogs").append(dialog);
  dialog.showModal();
  if (!fields.length) form.requestSubmit();
}
