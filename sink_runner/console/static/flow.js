// The databases and one arrow for each mapping: width for rate, colour for lag, a mark for what holds
// it.  A picture for wide screens and a table with the same content; both are links to a mapping.

import { h, s } from "./dom.js";
import { age, count, isHeld, NONE, number, rate, reasonOf, seconds, tone } from "./text.js";

const ROW = 56;
const HEAD = 44;
const MARKS = { paused: "‖", waiting: "…", quarantined: "×", stopped: "×" };

export const database = (table) => table.split(".")[0];
const short = (table) => table.split(".").slice(2).join(".");
export const link = (name) => `#${encodeURIComponent(name)}`;

const width = (perSecond) => (perSecond ? Math.min(9, 2 + Math.log2(1 + perSecond)) : 2);

function clip(text, room) {
  const most = Math.max(4, Math.floor(room / 6.6));
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function described(report) {
  const parts = [`${report.mapping}, from ${database(report.source)} to ${database(report.target)}: ${report.state}`];
  if (report.reason) parts.push(reasonOf(report));
  parts.push(`rate ${rate(report.rate)}, lag ${seconds(report.lag_seconds)}`);
  if (report.deferred) parts.push(count(report.deferred, "deferred event"));
  if (report.open_dead_letters) parts.push(count(report.open_dead_letters, "dead letter"));
  parts.push(report.verified_through ? `verified ${age(report.verified_through)}` : "never verified");
  return parts.join("; ");
}

function notes(report) {
  const found = [];
  if (report.deferred) found.push(`${number(report.deferred)} deferred`);
  if (report.open_dead_letters) found.push(count(report.open_dead_letters, "dead letter"));
  return found.join(" · ");
}

// Mappings between the same two databases share a block, so that any number of databases fits.
function blocks(reports) {
  const found = new Map();
  for (const report of reports) {
    const ends = [database(report.source), database(report.target)];
    const pair = [...ends].sort().join("\n");
    if (!found.has(pair)) found.set(pair, { ends, reports: [] });
    found.get(pair).reports.push(report);
  }
  for (const { ends, reports: lanes } of found.values()) {
    lanes.sort((a, b) => (database(a.source) === ends[0] ? 0 : 1) - (database(b.source) === ends[0] ? 0 : 1));
  }
  return [...found.values()];
}

function speed(report) {
  if (report.state === "scheduled") return "by schedule";
  return report.rate === null || isHeld(report) ? "" : rate(report.rate);
}

function lane(report, { left, right, y, forward, chosen }) {
  const thick = width(report.rate);
  const [from, to] = forward ? [left, right] : [right, left];
  const step = forward ? -1 : 1;
  const tip = 7 + thick;
  const line = { x1: from, y1: y, x2: to + step * tip, y2: y };
  const half = (right - left) / 2;
  const moving = report.state === "running" && report.rate > 0;
  const mark = MARKS[report.state];
  return s(
    "a",
    {
      href: link(report.mapping),
      "data-key": `lane-${report.mapping}`,
      class: `lane ${tone(report)}`,
      "aria-label": described(report),
      "aria-current": chosen && "true",
    },
    s("rect", { class: "touch", x: left - 6, y: y - 28, width: right - left + 12, height: ROW - 4, rx: 8 }),
    s("text", { class: "name", x: left + 6, y: y - 12 }, clip(report.mapping, half)),
    s("text", { class: "facts", x: right - 6, y: y - 12, "text-anchor": "end" }, [
      speed(report),
      report.lag_seconds ? `${seconds(report.lag_seconds)} behind` : "",
    ].filter(Boolean).join(" · ")),
    s("line", { class: "line", ...line, "stroke-width": thick }),
    moving && s("line", { class: "motion", ...line, "stroke-width": Math.max(1.5, thick / 3) }),
    s("path", { class: "tip", d: `M${to} ${y}l${step * (tip + 3)} ${-(tip / 2 + 2)}v${tip + 4}z` }),
    mark && s("circle", { class: "mark", cx: left + half, cy: y, r: 9 }),
    mark && s("text", { class: "sign", x: left + half, y: y + 4, "text-anchor": "middle" }, mark),
    s("text", { class: "notes", x: left + 6, y: y + 18 }, notes(report)),
    s("text", { class: "verified", x: right - 6, y: y + 18, "text-anchor": "end" }, report.verified_through ? `verified ${age(report.verified_through)}` : "not verified"),
  );
}

function picture(reports, chosen, wide) {
  const side = Math.round(Math.min(220, wide * 0.22));
  const [left, right] = [side + 14, wide - side - 14];
  const children = [];
  let top = 0;
  for (const { ends, reports: lanes } of blocks(reports)) {
    const high = HEAD + lanes.length * ROW;
    for (const [x, name] of [[0, ends[0]], [wide - side, ends[1]]]) {
      children.push(
        s("rect", { class: "database", x: x + 0.5, y: top + 0.5, width: side - 1, height: high - 1, rx: 12 }),
        s("text", { class: "title", x: x + 16, y: top + 28 }, clip(name, side - 24)),
      );
    }
    lanes.forEach((report, index) => {
      const y = top + HEAD + index * ROW + ROW / 2 - 2;
      const forward = database(report.source) === ends[0];
      const tables = forward ? [report.source, report.target] : [report.target, report.source];
      children.push(
        s("text", { class: "table", x: 16, y: y + 4 }, clip(short(tables[0]), side - 24)),
        s("text", { class: "table", x: wide - side + 16, y: y + 4 }, clip(short(tables[1]), side - 24)),
        lane(report, { left, right, y, forward, chosen: report.mapping === chosen }),
      );
    });
    top += high + 20;
  }
  const high = top - 20;
  return s(
    "svg",
    { class: "picture", viewBox: `0 0 ${wide} ${high}`, width: wide, height: high, role: "group", "aria-label": "Mappings between the databases" },
    children,
  );
}

const HEADS = ["Mapping", "State", "Route", "Rate", "Lag", "Deferred", "Dead letters", "Verified"];

function table(reports, chosen) {
  const line = (report) => {
    const cells = [
      h("span", { class: `state ${tone(report)}` }, report.state),
      report.source ? `${database(report.source)} → ${database(report.target)}` : NONE,
      rate(report.rate),
      seconds(report.lag_seconds),
      number(report.deferred),
      number(report.open_dead_letters),
      report.verified_through ? age(report.verified_through) : "never",
    ];
    const name = h("a", { href: link(report.mapping), "data-key": `row-${report.mapping}`, "aria-current": report.mapping === chosen && "true" }, report.mapping);
    return h("tr", {}, h("th", { scope: "row" }, name), cells.map((cell, index) => h("td", { "data-head": HEADS[index + 1] }, cell)));
  };
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      { class: "mappings" },
      h("caption", { class: "hidden" }, "Mappings"),
      h("thead", {}, h("tr", {}, HEADS.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, reports.map(line)),
    ),
  );
}

export function flow(reports, { chosen, wide, form }) {
  // A plugin that cannot be loaded has declared no table.
  const drawn = reports.filter((report) => report.source);
  return form === "table" ? table(reports, chosen) : picture(drawn, chosen, wide);
}
