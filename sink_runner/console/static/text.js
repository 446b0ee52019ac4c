// Numbers, times and states as people read them.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const RATE = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

export const NONE = "–";

export function number(value) {
  return value === null || value === undefined ? NONE : NUMBER.format(value);
}

export function count(value, one, many = `${one}s`) {
  return `${number(value)} ${value === 1 ? one : many}`;
}

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return NONE;
  if (perSecond === 0) return "idle";
  return perSecond < 0.1 ? `${RATE.format(perSecond * 60)}/min` : `${RATE.format(perSecond)}/s`;
}

export function seconds(value) {
  if (value === null || value === undefined) return NONE;
  if (value < 1) return value > 0 ? "< 1 s" : "0 s";
  if (value < 90) return `${Math.round(value)} s`;
  if (value < 5400) return `${Math.round(value / 60)} min`;
  if (value < 129600) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86400)} d`;
}

export function duration(value) {
  if (value === null || value === undefined) return "";
  return value < 1 ? `${RATE.format(value * 1000)} ms` : `${RATE.format(value)} s`;
}

export function age(moment) {
  return moment ? `${seconds(Math.max(0, (Date.now() - Date.parse(moment)) / 1000))} ago` : NONE;
}

// 10:04 today, else 3 Mar 10:04.
export function clock(moment) {
  if (!moment) return NONE;
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(at) : `${DAY.format(at)} ${CLOCK.format(at)}`;
}

const GOOD = ["running", "scheduled"];

export const isHeld = (report) => !GOOD.includes(report.state);

// The colours change where the alerts fire: at 60 s and at 300 s.
export function tone(report) {
  if (["stopped", "quarantined"].includes(report.state)) return "bad";
  if (isHeld(report)) return "held";
  if (report.lag_seconds >= 300) return "bad";
  return report.lag_seconds >= 60 ? "late" : "fresh";
}

// "10 of 12 mappings run; the oldest change waits 3 s.": the answer to "does data flow?".
export function sentence(reports) {
  if (!reports.length) return "No mapping is on.";
  const running = reports.filter((one) => !isHeld(one)).length;
  const all = reports.length === 1 ? "The mapping runs" : `All ${reports.length} mappings run`;
  const state = running === reports.length ? all : `${running} of ${reports.length} mappings run`;
  const known = reports.map((one) => one.lag_seconds).filter((lag) => lag !== null);
  if (!known.length) return `${state}.`;
  const waits = Math.max(...known);
  return waits > 0 ? `${state}; the oldest change waits ${seconds(waits)}.` : `${state}, and no change waits.`;
}

// A pause names its time in UTC, to the second; here it is a local time.
export function reasonOf(report) {
  return report.reason.replace(/(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d) UTC/, (_, day, time) => clock(`${day}T${time}Z`));
}
