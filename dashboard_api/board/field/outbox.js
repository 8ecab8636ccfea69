/**
 * What has somebody done that the centre does not know yet, and how does it get there?
 *
 * Everything is a command with an id and a time of its own, taken down before anything is sent. It is sent in order, and
 * after a lost answer again with the same id, so that it counts once. Used by the page and by its service worker.
 */

import { within } from "./store.js";
import { post } from "./wire.js";

/** So many may wait; who has more is told so, and nothing is lost that was taken down. */
export const DEPTH_MAX = 2000;
/** Bytes of one message. On 32 kbit/s this takes a second; what was lost with the link is sent again. */
const SEND_BYTES_MAX = 4096;
const SENDING = "ioc-field-sending";

/**
 * @typedef {{n: number, id: string, person: string, about: {case: string} | {subject: string}, exercise?: boolean, time: string, title: string,
 *   do: {action: string, offer?: number, step?: string} & Record<string, any>, byItself: boolean,
 *   state: "waiting" | "sent" | "rejected", sentAtMs?: number, reason?: string, detail?: string, fix?: string}} Item
 * `exercise`: it is about a drill's case. `sent`: the centre has it and has not decided yet. `byItself`: the phone did it, nobody pressed anything.
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
 * @param {string} person @param {import("./wire.js").Wire} [wire] by what it goes
 * @returns {Promise<Trouble | null>} what is in the way
 */
export async function sendWaiting(person, wire = post) {
  const all = () => sendAll(person, wire);
  return "locks" in navigator ? navigator.locks.request(SENDING, all) : all();
}

/** @param {string} person @param {import("./wire.js").Wire} wire */
async function sendAll(person, wire) {
  for (;;) {
    const waiting = (await items()).filter((item) => item.state === "waiting" && item.person === person);
    if (waiting.length === 0) return null;
    const trouble = await send(firstOf(waiting), wire);
    if (trouble) return trouble;
  }
}

/** As many of the first as go into one message. @param {Item[]} waiting */
function firstOf(waiting) {
  let bytes = 0;
  const fit = waiting.findIndex((item) => (bytes += new Blob([said(item)]).size) > SEND_BYTES_MAX);
  return fit < 0 ? waiting : waiting.slice(0, Math.max(1, fit));
}

/** @param {Item} item */
const said = ({ id, about, exercise, time, do: action }) => JSON.stringify({ id, ...about, ...(exercise ? { exercise } : {}), time, do: action });

/** @param {Item[]} batch @param {import("./wire.js").Wire} wire @returns {Promise<Trouble | null>} */
async function send(batch, wire) {
  let answer;
  try {
    answer = await wire(batch.length === 1 ? said(batch[0]) : `[${batch.map(said).join(",")}]`);
  } catch (error) {
    return { status: 0, reason: "unreachable", detail: error instanceof Error ? error.message : String(error) };
  }
  const { status, told } = answer;
  if (status === 202 || told?.results) {
    // A socket names those alone that were rejected.
    const rejected = new Map((told.results ?? []).filter((/** @type {any} */ one) => one.status === "rejected").map((/** @type {any} */ one) => [one.index, one]));
    for (const [index, item] of batch.entries()) {
      if (rejected.has(index)) await reject(item, rejected.get(index));
      else await put({ ...item, state: "sent", sentAtMs: Date.now() });
    }
    return null;
  }
  if (status === 400 || status === 413 || status === 422) {
    // Never readable, however often it is sent: the one that is at fault is found by sending the first alone.
    if (batch.length > 1) return send(batch.slice(0, 1), wire);
    await reject(batch[0], told);
    return null;
  }
  return { status, reason: told?.reason ?? "", detail: told?.detail ?? told?.title ?? "" };
}
