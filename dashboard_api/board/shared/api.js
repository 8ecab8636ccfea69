/**
 * How does a page ask the centre, and how does it tell what somebody wants?
 *
 * Reads are GETs; what somebody asks for is a command, whose outcome is waited for. Whatever is refused becomes an
 * `ApiError` with the field, the reason and the fix.
 */

/** How long one request waits for an outcome, in seconds. */
const WAIT_S = 5;
/** After so many waits a command counts as still under way. */
const WAITS_MAX = 3;
/** A command that did not go through is sent again with the same id, so that it counts once. */
const SENDS_MAX = 3;
const SEND_AGAIN_MS = 700;

/**
 * @typedef {{id: string, state: "applied" | "rejected" | "pending", case?: string, action?: string, reason?: string,
 *   detail?: string, case_state?: string, version?: number}} Outcome
 */

/** What went wrong, and what to do about it. `status` is 0 when the centre could not be reached. */
export class ApiError extends Error {
  /** @param {number} status @param {{detail?: string, title?: string, field?: string, reason?: string, fix?: string}} problem */
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `${status}`);
    this.name = "ApiError";
    this.status = status;
    this.field = problem.field ?? null;
    this.reason = problem.reason ?? (status === 0 ? "unreachable" : null);
    this.fix = problem.fix ?? null;
    /** Where to sign in, and come back to this page. @type {string | null} */
    this.signIn = status === 401 ? signInLink() : null;
  }
}

/** The sign-in page, coming back to here. */
export function signInLink() {
  return `signin?${new URLSearchParams({ back: location.pathname + location.search })}`;
}

/**
 * Reads JSON. Raises ApiError.
 * @param {string} path as `/v1/cases?open=true` @param {{secret?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function get(path, { secret, signal } = {}) {
  return body(await ask(path, { headers: { Accept: "application/json", ...tracking(secret) }, signal }));
}

/**
 * Asks for something, and says what came of it. `pending` means that it is on the log and not yet decided.
 * Raises ApiError for what cannot be decided whatever the case is, and when nothing is certain.
 * @param {string | null} subject a case's id or `unit:…`, `alert:…`, `person:…`; null to open a case
 * @param {{action: string} & Record<string, any>} action
 * @param {{time?: string, version?: number, id?: string, secret?: string, area?: string, place?: string, exercise?: boolean}} [options]
 * @returns {Promise<Outcome>}
 */
export async function command(subject, action, { time, version, id = newId(), secret, area, place, exercise = isDrill() } = {}) {
  const about = subject === null ? {} : subject.includes(":") ? { subject } : { case: subject };
  const sent = {
    id,
    ...about,
    ...(time === undefined ? {} : { time }),
    ...(area === undefined ? {} : { area }),
    ...(place === undefined ? {} : { place }),
    ...(exercise ? { exercise } : {}),
    do: version === undefined ? action : { ...action, version },
  };
  const result = await send(JSON.stringify(sent), secret);
  if (result.status !== "accepted") throw new ApiError(422, result);
  return outcome(id, secret);
}

/** Whether this page is in drill mode: then whatever is done on it is a drill. */
const isDrill = () => new URLSearchParams(location.search).get("drill") === "1";

/**
 * What became of a command, waited for a while.
 * @param {string} id @param {string} [secret] @returns {Promise<Outcome>}
 */
export async function outcome(id, secret) {
  let known = /** @type {Outcome} */ ({ id, state: "pending" });
  for (let n = 0; n < WAITS_MAX && known.state === "pending"; n += 1) {
    try {
      known = await get(`/v1/commands/${encodeURIComponent(id)}?wait=${WAIT_S}`, { secret });
    } catch (error) {
      // It is on the log already, so it is under way whatever becomes of the question.
      if (!(error instanceof ApiError) || (error.status !== 0 && error.status !== 503)) throw error;
      await pause(SEND_AGAIN_MS);
    }
  }
  return known;
}

/** An id that nobody else makes. It does without `randomUUID`, which only https has. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} text @param {string} [secret] */
async function send(text, secret) {
  for (let n = 1; ; n += 1) {
    try {
      const answer = await ask("/v1/commands", {
        method: "POST",
        headers: { "Content-Type": "application/json", "IOC-Request": "1", ...tracking(secret) },
        body: text,
      }, [422]);
      const told = await answer.json();
      if (!told.results) throw new ApiError(answer.status, told);
      return told.results[0];
    } catch (error) {
      const again = error instanceof ApiError && (error.status === 0 || error.status === 503) && n < SENDS_MAX;
      if (!again) throw error;
      await pause(SEND_AGAIN_MS * n);
    }
  }
}

/** @param {string} path @param {RequestInit} options @param {number[]} [alsoTaken] */
async function ask(path, options, alsoTaken = []) {
  let answer;
  try {
    answer = await fetch(new URL(path.replace(/^\//, ""), document.baseURI), { credentials: "same-origin", ...options });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, { detail: error instanceof Error ? error.message : String(error) });
  }
  if (!answer.ok && !alsoTaken.includes(answer.status)) throw new ApiError(answer.status, await body(answer).catch(() => ({})));
  return answer;
}

/** @param {Response} answer @returns {Promise<any>} */
async function body(answer) {
  const text = await answer.text();
  return text === "" ? null : JSON.parse(text);
}

/** @param {string} [secret] @returns {Record<string, string>} */
const tracking = (secret) => (secret === undefined ? {} : { "Tracking-Secret": secret });

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
