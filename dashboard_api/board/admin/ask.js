/** How does the administrator's page ask for something that is no command, and what does it get? */

import { ApiError } from "../shared/api.js";

/**
 * @typedef {{file: string, line: number | null, position: string, reason: string, fix: string}} Mistake
 * @typedef {{key: string, before: unknown, after: unknown}} FieldChange
 * @typedef {{kind: string, id: string, names: Record<string, string>, change: "added" | "changed" | "removed", fields: FieldChange[]}} EntryChange
 * @typedef {{code: string, about: string[], needs_care: boolean, text: string}} Effect
 * @typedef {{mark: " " | "-" | "+", before: number | null, after: number | null, text: string}} DiffLine
 * @typedef {{name: string, change: "added" | "changed" | "removed", diff: {parts: DiffLine[][], added: number, removed: number, is_cut: boolean}}} FileDiff
 * @typedef {{mistakes: Mistake[], changes: EntryChange[], effects: Effect[], diffs: FileDiff[]}} Preview
 * @typedef {{name: string, size: number, hash: string, text: string | null, table: string | null}} PackFile
 * @typedef {{folder: string, version: string, files: PackFile[], is_in_force: boolean, problem: string, may_change: boolean,
 *   why_not: string, fix: string, mistakes: Mistake[]}} Pack
 * @typedef {{number: number, at: string, who: string, name: string, why: string, files: {name: string}[], reverts: number | null}} Change
 * @typedef {{id: string, line: number, value: Record<string, any>}} Entry
 * @typedef {{path: (string | number)[], value: unknown}} Edit
 * @typedef {{id: string, state: "good" | "warning" | "bad" | "unknown", code: string, values: Record<string, any>, detail: string, remedy: string}} Finding
 */

/** A refusal with the mistakes that it is for. */
export class Refusal extends ApiError {
  /** @param {number} status @param {any} problem */
  constructor(status, problem) {
    super(status, problem);
    /** @type {Mistake[]} */
    this.mistakes = problem.mistakes ?? [];
  }
}

/** Sends JSON, and gives the JSON of the answer. Raises Refusal. @param {string} path @param {unknown} body @returns {Promise<any>} */
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(new URL(`v1/admin/${path}`, document.baseURI), {
      method: "POST",
      credentials: "same-origin",
      headers: { "Content-Type": "application/json", "IOC-Request": "1" },
      body: JSON.stringify(body),
    });
  } catch (error) {
    throw new Refusal(0, { detail: error instanceof Error ? error.message : String(error) });
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, told);
  return told;
}

/** The text of a file of the pack. @param {string} name @returns {Promise<string>} */
export async function fileText(name) {
  const answer = await fetch(new URL(`v1/admin/pack/files/${encodeURIComponent(name)}`, document.baseURI), { credentials: "same-origin" });
  if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => ({})));
  return answer.text();
}
