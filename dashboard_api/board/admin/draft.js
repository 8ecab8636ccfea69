/** What has been changed here and is not applied yet? Texts of files, beside those of the pack. */

import { get } from "../shared/api.js";
import { fileText, post } from "./ask.js";

/** @typedef {import("./ask.js").Pack} Pack @typedef {import("./ask.js").Preview} Preview @typedef {import("./ask.js").Entry} Entry @typedef {import("./ask.js").Edit} Edit */

/** @type {Pack | null} */
let pack = null;
/** @type {Map<string, string>} */
const read = new Map();
/** Null: the file is to go. @type {Map<string, string | null>} */
const files = new Map();
/** @type {Preview | null} */
let seen = null;
/** @type {Set<() => void>} */
const listeners = new Set();
let asked = 0;

/** Calls back whenever something has changed. @param {() => void} listener */
export const onDraft = (listener) => void listeners.add(listener);
const tell = () => listeners.forEach((listener) => listener());

/** The pack as it was read last. */
export const current = () => pack;
/** How many files are changed. */
export const size = () => files.size;
/** What the change would do; null while that is being found out. */
export const preview = () => seen;
/** The changed files. */
export const changed = () => Object.fromEntries(files);

/** Reads the pack anew. The change stays, and files that have become the same as it leave it. @returns {Promise<Pack>} */
export async function load() {
  const found = /** @type {Pack} */ (await get("/v1/admin/pack"));
  if (pack?.version !== found.version) read.clear();
  pack = found;
  tell();
  return found;
}

/** Names of the pack's files and of those that are to be added. */
export function names() {
  const known = (pack?.files ?? []).map((file) => file.name);
  return [...known, ...[...files.keys()].filter((name) => !known.includes(name) && files.get(name) !== null)];
}

/** What a file would hold; "" for one that there is not. @param {string} name @returns {Promise<string>} */
export async function text(name) {
  const drafted = files.get(name);
  if (drafted !== undefined) return drafted ?? "";
  return original(name);
}

/** @param {string} name @returns {Promise<string>} */
async function original(name) {
  const file = pack?.files.find((one) => one.name === name);
  if (!file) return "";
  const known = file.text ?? read.get(name);
  if (known !== undefined) return known;
  const found = await fileText(name);
  read.set(name, found);
  return found;
}

/** Whether a file is changed. @param {string} name */
export const isChanged = (name) => files.has(name);

/** Puts a file's text into the change, null to remove the file. @param {string} name @param {string | null} wanted */
export async function put(name, wanted) {
  const exists = pack?.files.some((file) => file.name === name) ?? false;
  const same = wanted === null ? !exists : exists && wanted === (await original(name));
  if (same) files.delete(name);
  else files.set(name, wanted);
  await look();
}

/** Drops the change, of one file or all of it. @param {string} [name] */
export async function discard(name) {
  if (name === undefined) files.clear();
  else files.delete(name);
  await look();
}

/** Finds out what the change would do. */
export async function look() {
  asked += 1;
  const mine = asked;
  seen = null;
  tell();
  if (files.size === 0) return;
  const found = await post("preview", { files: changed() });
  if (mine !== asked) return;
  seen = found;
  tell();
}

/** Applies the change. @param {string} why @returns {Promise<import("./ask.js").Change>} */
export async function apply(why) {
  const done = await post("changes", { base: pack?.version ?? "", files: changed(), why });
  files.clear();
  seen = null;
  await load();
  return done;
}

/** The entries of a file as it would be. @param {string} name @returns {Promise<Entry[]>} */
export async function entries(name) {
  return (await post("entries", { file: name, text: await text(name) })).items;
}

/** Changes one entry, or adds one where `id` is null. @param {string} name @param {string | null} id @param {Edit[]} edits */
export async function edit(name, id, edits) {
  const answer = await post("edit", { file: name, text: await text(name), id, edits });
  await put(name, answer.text);
}

/** @param {string} name @param {string} id */
export async function removeEntry(name, id) {
  const answer = await post("edit", { file: name, text: await text(name), id, remove: true });
  await put(name, answer.text);
}
