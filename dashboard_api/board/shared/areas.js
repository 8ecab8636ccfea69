/** How does the tree of areas become a list? */

/**
 * The areas with their depth, children under their parent.
 * @template {{id: string, parent: string | null}} T @param {T[]} areas @returns {{area: T, depth: number}[]}
 */
export function inOrder(areas) {
  /** @type {Map<string | null, T[]>} */
  const below = new Map();
  for (const area of areas) below.set(area.parent, [...(below.get(area.parent) ?? []), area]);
  /** @type {{area: T, depth: number}[]} */
  const listed = [];
  const walk = (/** @type {string | null} */ parent, /** @type {number} */ depth) => {
    for (const area of below.get(parent) ?? []) {
      listed.push({ area, depth });
      walk(area.id, depth + 1);
    }
  };
  walk(null, 0);
  return listed;
}
