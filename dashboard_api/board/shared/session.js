/** Who is signed in, and how does it stay so while the page is open? */

import { ApiError, get, signInLink } from "./api.js";

const RENEW_BEFORE_MS = 120_000;
const LOOK_EVERY_MS = 30_000;

/** @typedef {{asked: boolean, id: string | null, name: string | null, roles: string[], agency: string | null, unit: string | null, areas: string[], expires_at: string | null}} Me */

export class Session {
  /** @param {Me} me as `GET /v1/me` has it @param {(me: Me) => void} changed */
  constructor(me, changed) {
    this.me = me;
    this.changed = changed;
    setInterval(() => void this.#renew(), LOOK_EVERY_MS);
  }

  /** Whether cases may be asked for: the site asks for no sign-in, or somebody is signed in. */
  get isIn() {
    return !this.me.asked || this.me.id !== null;
  }

  /** Gets a new token while the issuer still knows this browser. */
  async #renew() {
    if (this.me.id === null || this.me.expires_at === null) return;
    const leftMs = Date.parse(this.me.expires_at) - Date.now();
    if (leftMs > RENEW_BEFORE_MS) return;
    try {
      this.me = await get(`/signin?${new URLSearchParams({ back: "/v1/me" })}`);
    } catch (error) {
      // An issuer elsewhere answers only a page that goes there, and one without a session with its own page.
      if (leftMs <= 0 && !(error instanceof ApiError && error.status === 0)) this.me = await get("/v1/me").catch(() => this.me);
    }
    this.changed(this.me);
  }

  /** Fills a name and a link to sign in or out. @param {HTMLElement} root @param {HTMLElement} name @param {HTMLAnchorElement} link @param {{signIn: string, signOut: string}} words */
  show(root, name, link, words) {
    root.hidden = !this.me.asked;
    name.textContent = this.me.id === null ? "" : this.me.name ?? this.me.id;
    link.textContent = this.me.id === null ? words.signIn : words.signOut;
    link.href = this.me.id === null ? signInLink() : "signout";
  }
}
