// Calls the service.  The credential lives in sessionStorage: it ends with the tab.

const STORED = "sink-runner.credential";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const credential = {
  get: () => sessionStorage.getItem(STORED),
  set: (text) => sessionStorage.setItem(STORED, text.trim()),
  forget: () => sessionStorage.removeItem(STORED),
};

// A key of `sink-runner api-key new` begins with sink_; a token is a JWT, three parts with dots.
function headers() {
  const text = credential.get() ?? "";
  return text.split(".").length === 3 ? { Authorization: `Bearer ${text}` } : { "X-API-Key": text };
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(`v1/${path}`, { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new Problem(0, "the service does not answer");
  }
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const faults = (body.errors ?? []).map((fault) => `${fault.pointer.replace("/body/", "")}: ${fault.detail}`);
  throw new Problem(response.status, faults.join("; ") || body.detail || response.statusText);
}

export function read(path) {
  return call(path, { signal: AbortSignal.timeout(15000) });
}

export function post(path, body) {
  const content = { "Content-Type": "application/json" };
  return call(path, { method: "POST", headers: content, body: JSON.stringify(body) });
}

// The actions that this version of the service has.
export async function offered() {
  const document = await fetch("openapi.json").then((answer) => answer.json()).catch(() => ({ paths: {} }));
  const found = Object.keys(document.paths).map((path) => path.match(/^\/v1\/mappings\/\{name\}\/(.*)$/)?.[1]);
  return new Set(found);
}

export function ofMapping(name, part = "") {
  return `mappings/${encodeURIComponent(name)}${part && `/${part}`}`;
}
