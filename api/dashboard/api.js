// Requests to the gateway: adds the token, turns failures into one of two errors, and keeps large numbers exact.
//
//   Refused   the service refused the request: status, code, message, field
//   Away      there was no answer, or the service is temporarily unavailable: worth trying again

import { token } from "./session.js";

const TIMEOUT_MS = 15000;

export class Refused extends Error {
  constructor(status, { code, message, field }) {
    super(message);
    Object.assign(this, { status, code, field });
  }
}

export class Away extends Error {}

export async function get(path, signal) {
  return (await ask("GET", path, undefined, signal)).data;
}

export async function post(path, body, signal) {
  return (await ask("POST", path, body, signal)).data;
}

export async function put(path, body) {
  return (await ask("PUT", path, body)).data;
}

export async function getText(path, signal) {
  return (await sent("GET", path, undefined, signal, "text/plain")).text;
}

export async function ask(method, path, body, signal) {
  const { response, text } = await sent(method, path, body, signal, "application/json");
  return { data: text === "" ? null : parse(text), headers: response.headers };
}

async function sent(method, path, body, signal, media) {
  const headers = { Accept: media };
  if (token() !== null) headers.Authorization = `Bearer ${token()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const either = signal === undefined ? limit : AbortSignal.any([signal, limit]);
  const { response, text } = await fetched(path, { method, headers, body, signal: either, cache: "no-store" }, signal);
  if (response.status >= 500) throw new Away(words(text) ?? `it answers with status ${response.status}`);
  if (!response.ok) throw new Refused(response.status, parse(text).error);
  return { response, text };
}

async function fetched(path, options, signal) {
  try {
    const response = await fetch(`.${path}`, options); // relative to the page, which a proxy may serve under a prefix
    return { response, text: await response.text() };
  } catch (fault) {
    if (signal?.aborted) throw fault;
    throw new Away(fault.name === "TimeoutError" ? "it does not answer in time" : "it cannot be reached");
  }
}

function words(text) {
  try {
    return parse(text).error.message;
  } catch {
    return null;
  }
}

// Integers beyond 2^53 keep all digits in browsers that pass the source text to the reviver.
export function parse(text) {
  return JSON.parse(text, (name, value, context) => {
    const isLarge = typeof value === "number" && !Number.isSafeInteger(value) && Number.isInteger(value);
    return isLarge && context?.source && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
  });
}

export const isAbort = (fault) => fault?.name === "AbortError";
