/** What has this viewer chosen? Kept in the browser where that is allowed, and the same for all pages. */

export const THEMES = /** @type {const} */ (["auto", "light", "dark"]);

/** What was chosen; `?name=` in the address wins. @param {string} name @param {string} otherwise @param {readonly string[]} [allowed] */
export function choice(name, otherwise, allowed) {
  let kept = null;
  try {
    kept = localStorage.getItem(`ioc.${name}`);
  } catch { /* without storage a choice lasts as long as the page */ }
  const asked = new URLSearchParams(location.search).get(name);
  return [asked, kept].find((one) => one !== null && (allowed === undefined || allowed.includes(one))) ?? otherwise;
}

/** @param {string} name @param {string} value */
export function keep(name, value) {
  try {
    localStorage.setItem(`ioc.${name}`, value);
  } catch { /* see above */ }
}

/** @param {string} theme */
export function applyTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}
