/**
 * What has somebody done that the centre does not know yet, and how does it get there?
 *
 * Everything is a command with an id and a time of its own, taken down before anything is sent. It is sent in order, and
 * after a lost answer again with the same id, so that it counts once. Used by the page and by its service worker.
 */

import { within } from "./store.js";

/** So many may wait; who has more is told so, and nothing is lost that was taken down. */
export const DEPTH_MAX = 2000;
/** Bytes of one request. On 32 kbit/s this takes a second; what was lost with the link is sent again. */
const SEND_BYTES_MAX = 4096;
/** A request that takes longer has been lost on the way. */
const ANSWER_WAIT_MS = 30_000;
const SENDING = "ioc-field-sending";

/**
 * @typedef {{n: number, id: string, person: string, about: {case: string} | {subject: string}, time: string, title: string,
 *   do: {action: string, offer?: number, step?: string} & Record<string, any>, byItself: boolean,
 *   state: "waiting" | "sent" | "rejected", sentAtMs?: number, reason?: string, detail?: string, fix?: string}} Item
 * `sent`: the centre has it and has not decided yet. `byItself`: the phone did it, nobody pressed anything.
 */
/** @typedef {{status: number, reason: string, detail: string}} Trouble  `status` 0: there is no link */

/** Tells the page, other tabs and the service worker of each other's changes. */
const changes = new BroadcastChannel("ioc-field");

/** @param {() => void} listener */
export function onChange(listener) {
  changes.addEventListener("message", listener);
}

/** All of it, in order. @returns {Promise<Item[]>} */
export const items = () => within("outbox", "readonly", (store) => store.getAll());

/** Takes something down. Raises RangeError when too much waits already. @param {Omit<Item, "n" | "state">} item */
export async function add(item) {
  const depth = await within("outbox", "readonly", (store) => store.count());
  if (depth >= DEPTH_MAX) throw new RangeError(`${DEPTH_MAX}`);
  await within("outbox", "readwrite", (store) => store.add({ ...item, state: "waiting" }));
  changes.postMessage("added");
}

/** @param {Item} item */
export async function remove(item) {
  await within("outbox", "readwrite", (store) => store.delete(item.n));
  changes.postMessage("removed");
}

/** @param {Item} item @param {{reason?: string, detail?: string, fix?: string}} why */
export async function reject(item, why) {
  const { reason = "", detail = "", fix = "" } = why;
  await put({ ...item, state: "rejected", reason, detail, fix });
}

/** @param {Item} item */
async function put(item) {
  await within("outbox", "readwrite", (store) => store.put(item));
  changes.postMessage("changed");
}

/**
 * Sends what waits of this person, until nothing does or something is in the way. One at a time, whoever calls.
 * @param {string} person @returns {Promise<Trouble | null>} what is in the way
 */
export async function sendWaiting(person) {
  const all = () => sendAll(person);
  return "locks" in navigator ? navigator.locks.request(SENDING, all) : all();
}

/** @param {string} person */
async function sendAll(person) {
  for (;;) {
    const waiting = (await items()).filter((item) => item.state === "waiting" && item.person === person);
    if (waiting.length === 0) return null;
    const trouble = await send(firstOf(waiting));
    if (trouble) return trouble;
  }
}

/** As many of the first as go into one request. @param {Item[]} waiting */
function firstOf(waiting) {
  let bytes = 0;
  const fit = waiting.findIndex((item) => (bytes += new Blob([wire(item)]).size) > SEND_BYTES_MAX);
  return fit < 0 ? waiting : waiting.slice(0, Math.max(1, fit));
}

/** @param {Item} item */
const wire = ({ id, about, time, do: action }) => JSON.stringify({ id, ...about, time, do: action });

/** @param {Item[]} batch @returns {Promise<Trouble | null>} */
async function send(batch) {
  let answer, told;
  try {
    answer = await fetch(new URL("../v1/commands", import.meta.url), {
      method: "POST",
      headers: { "Content-Type": "application/json", "IOC-Request": "1" },
      body: batch.length === 1 ? wire(batch[0]) : `[${batch.map(wire).join(",")}]`,
      credentials: "same-origin",
      signal: AbortSignal.timeout(ANSWER_WAIT_MS),
    });
    told = await answer.json();
  } catch (error) {
    return { status: 0, reason: "unreachable", detail: error instanceof Error ? error.message : String(error) };
  }
  if (told?.results) {
    for (const result of told.results) {
      const item = batch[result.index];
      if (result.status === "accepted") await put({ ...item, state: "sent", sentAtMs: Date.now() });
      else await reject(item, result);
    }
    return null;
  }
  if (answer.status === 400 || answer.status === 413 || answer.status === 422) {
    // Never readable, however often it is sent: the one that is at fault is found by sending the first alone.
    if (batch.length > 1) return send(batch.slice(0, 1));
    await reject(batch[0], told);
    return null;
  }
  return { status: answer.status, reason: told?.reason ?? "", detail: told?.detail ?? told?.title ?? "" };
}
