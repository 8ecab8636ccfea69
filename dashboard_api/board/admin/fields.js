/**
 * Which fields does the form of an entry have?
 *
 * A field names a key of the entry by its path. What is typed goes into the file as it is; whether it is right the centre
 * says, with the line.
 */

import { make } from "../shared/dom.js";
import { language } from "../shared/texts.js";

/** @typedef {"text" | "number" | "choice" | "many" | "list" | "yes" | "time" | "area" | "areas" | "targets" | "colour"} Kind */
/** @typedef {{path: string[], kind: Kind, words: [string, string], hint?: [string, string], options?: string[] | ((around: Around) => Option[]), needed?: boolean, further?: boolean, newOnly?: boolean}} Field */
/** @typedef {{value: string, name: string}} Option */
/** @typedef {{agencies: Option[], units: Option[], areas: Option[], people: Option[]}} Around */
/** @typedef {{file: string, key: string, fields: Field[]}} Form */

const ROLES = ["operator", "dispatcher", "unit", "leader", "auditor", "administrator"];
const MEASURES = ["count", "sum", "mean", "min", "max", "latest", "percentile", "distinct", "in_time", "within", "ratio", "balance", "silent"];

/** @type {Field[]} */
const NAMES = [
  { path: ["names", "vi"], kind: "text", words: ["Name in Vietnamese", "Tên tiếng Việt"], needed: true },
  { path: ["names", "en"], kind: "text", words: ["Name in English", "Tên tiếng Anh"] },
];
/** @type {Field} */
const ID = { path: ["id"], kind: "text", words: ["Id", "Mã"], needed: true, newOnly: true };

/** @type {Record<string, Form>} */
export const FORMS = {
  kpis: {
    file: "kpis.toml",
    key: "kpi",
    fields: [
      ID,
      ...NAMES,
      { path: ["target"], kind: "targets", words: ["Targets", "Chỉ tiêu"] },
      { path: ["direction"], kind: "choice", options: ["higher", "lower"], words: ["Better is", "Tốt hơn khi"] },
      { path: ["thresholds", "warning"], kind: "number", words: ["Warning from", "Ngưỡng cảnh báo"] },
      { path: ["thresholds", "bad"], kind: "number", words: ["Bad from", "Ngưỡng xấu"] },
      { path: ["freshness_s"], kind: "number", words: ["Stale after (s)", "Coi là cũ sau (giây)"], hint: ["900 is a quarter of an hour", "900 là 15 phút"] },
      { path: ["unit"], kind: "text", words: ["Unit (UCUM)", "Đơn vị (UCUM)"], needed: true },
      { path: ["owner"], kind: "text", words: ["Owner", "Đơn vị phụ trách"] },
      { path: ["document"], kind: "text", words: ["Laid down in", "Văn bản quy định"] },
      { path: ["pillar"], kind: "choice", options: ["government", "economy", "society"], words: ["Pillar", "Trụ cột"] },
      { path: ["measure"], kind: "choice", options: MEASURES, words: ["Measure", "Cách tính"], needed: true, further: true },
      { path: ["event"], kind: "text", words: ["Type of event", "Loại sự kiện"], further: true },
      { path: ["value"], kind: "text", words: ["Field to measure", "Trường giá trị"], further: true },
      { path: ["since"], kind: "text", words: ["Time since", "Tính từ thời điểm"], further: true },
      { path: ["due"], kind: "text", words: ["Due at", "Hạn"], further: true },
      { path: ["dimensions"], kind: "list", words: ["Split by", "Phân tổ theo"], further: true },
    ],
  },
  sources: {
    file: "site.toml",
    key: "source",
    fields: [
      ID,
      ...NAMES,
      { path: ["silent_after_s"], kind: "number", words: ["Silent after (s)", "Coi là im lặng sau (giây)"], needed: true, hint: ["86400 is a day", "86400 là một ngày"] },
      { path: ["simulated"], kind: "yes", words: ["It is simulated", "Nguồn mô phỏng"] },
    ],
  },
  units: {
    file: "units.toml",
    key: "unit",
    fields: [
      ID,
      ...NAMES,
      { path: ["agency"], kind: "choice", options: (around) => around.agencies, words: ["Agency", "Cơ quan"], needed: true },
      { path: ["area"], kind: "area", words: ["Area", "Địa bàn"], needed: true },
      { path: ["base"], kind: "text", words: ["Base", "Vị trí thường trực"], needed: true, hint: ["as geo:21.59,105.84", "dạng geo:21.59,105.84"] },
      { path: ["skills"], kind: "list", words: ["Skills", "Chuyên môn"] },
      { path: ["members"], kind: "list", words: ["Members", "Thành viên"], hint: ["ids of people, with commas between", "mã người, cách nhau bằng dấu phẩy"] },
      { path: ["capacity"], kind: "number", words: ["Cases at once", "Số vụ cùng lúc"] },
      { path: ["calendar"], kind: "text", words: ["Duty calendar", "Lịch trực"] },
    ],
  },
  people: {
    file: "people.toml",
    key: "person",
    fields: [
      ID,
      { path: ["name"], kind: "text", words: ["Name", "Họ tên"], needed: true },
      { path: ["roles"], kind: "many", options: ROLES, words: ["Roles", "Vai trò"], needed: true },
      { path: ["areas"], kind: "areas", words: ["Areas", "Địa bàn"], needed: true, hint: ["codes, with commas between", "mã địa bàn, cách nhau bằng dấu phẩy"] },
      { path: ["agency"], kind: "choice", options: (around) => around.agencies, words: ["Agency", "Cơ quan"] },
      { path: ["agencies"], kind: "list", words: ["Handles others' cases", "Xử lý vụ của cơ quan"], hint: ["ids, or * for all", "mã cơ quan, hoặc * cho tất cả"] },
      { path: ["unit"], kind: "choice", options: (around) => around.units, words: ["Field unit", "Đội hiện trường"] },
      { path: ["language"], kind: "choice", options: ["vi", "en"], words: ["Language", "Ngôn ngữ"] },
      { path: ["address", "mail"], kind: "text", words: ["E-mail", "Thư điện tử"] },
      { path: ["address", "sms"], kind: "text", words: ["SMS", "Tin nhắn SMS"] },
      { path: ["address", "zalo"], kind: "text", words: ["Zalo", "Zalo"] },
      { path: ["quiet_from"], kind: "time", words: ["Not disturbed from", "Không làm phiền từ"] },
      { path: ["quiet_to"], kind: "time", words: ["until", "đến"] },
    ],
  },
  rules: {
    file: "alerts.toml",
    key: "rule",
    fields: [
      ID,
      ...NAMES,
      { path: ["kpi"], kind: "text", words: ["Indicator", "Chỉ số"] },
      { path: ["threshold", "above"], kind: "number", words: ["Fires above", "Báo khi vượt"] },
      { path: ["threshold", "below"], kind: "number", words: ["Fires below", "Báo khi dưới"] },
      { path: ["threshold", "margin"], kind: "number", words: ["Margin", "Biên trở lại"] },
      { path: ["deviation", "above"], kind: "number", words: ["Deviation above", "Lệch vượt"], further: true },
      { path: ["deviation", "below"], kind: "number", words: ["Deviation below", "Lệch dưới"], further: true },
      { path: ["severity"], kind: "choice", options: ["info", "minor", "major", "critical"], words: ["Severity", "Mức độ"] },
      { path: ["agency"], kind: "choice", options: (around) => around.agencies, words: ["Agency", "Cơ quan"] },
      { path: ["category"], kind: "text", words: ["Category of the case", "Lĩnh vực của vụ"], needed: true },
      { path: ["area"], kind: "area", words: ["In the area", "Trong địa bàn"] },
      { path: ["levels"], kind: "list", words: ["For each", "Cho từng cấp"] },
      { path: ["n_min"], kind: "number", words: ["Events at least", "Số sự kiện tối thiểu"] },
      { path: ["hold_s"], kind: "number", words: ["Holds for (s)", "Kéo dài (giây)"] },
      { path: ["clear_s"], kind: "number", words: ["Over after (s)", "Hết sau (giây)"] },
      { path: ["inhibited_by"], kind: "list", words: ["Silent while these fire", "Im khi các quy tắc này báo"] },
      { path: ["every"], kind: "text", words: ["Looks every", "Xét mỗi"], further: true },
      { path: ["over"], kind: "number", words: ["Over so many steps", "Trên số bước"], further: true },
    ],
  },
  layers: {
    file: "layers.toml",
    key: "layer",
    fields: [
      ID,
      ...NAMES,
      { path: ["file"], kind: "text", words: ["GeoJSON file", "Tệp GeoJSON"], needed: true, hint: ["load it under Files", "nạp ở mục Tệp"] },
      { path: ["public"], kind: "yes", words: ["Everyone may see it", "Công khai cho mọi người"] },
      { path: ["roles"], kind: "many", options: ROLES, words: ["else these roles", "hoặc các vai trò"] },
      { path: ["colour"], kind: "colour", words: ["Colour", "Màu"] },
      { path: ["icon"], kind: "choice", options: ["dot", "camera", "air", "water", "tree", "building", "road", "warning"], words: ["Icon", "Biểu tượng"] },
      { path: ["title"], kind: "text", words: ["Property with the name", "Thuộc tính chứa tên"] },
      { path: ["snapshot"], kind: "text", words: ["Property with the picture's address", "Thuộc tính chứa địa chỉ ảnh"] },
      { path: ["shown"], kind: "yes", words: ["Shown at first", "Hiện sẵn"] },
    ],
  },
};

/** @param {[string, string] | undefined} words */
export const said = (words) => (words === undefined ? "" : words[language() === "vi" ? 1 : 0]);

/** What stands at a path. @param {any} value @param {(string | number)[]} path @returns {any} */
export const at = (value, path) => path.reduce((inside, step) => inside?.[step], value);

/**
 * A field as an element, and what it holds now: undefined where nothing is given.
 * @param {Field} field @param {unknown} value @param {Around} around @param {boolean} mayChange
 * @returns {{node: HTMLElement, read: () => unknown}}
 */
export function control(field, value, around, mayChange) {
  const id = `f-${field.path.join("-")}`;
  const hint = field.hint ? make("small", { class: "hint quiet", id: `${id}-hint`, text: said(field.hint) }) : null;
  const about = { id, disabled: !mayChange, required: field.needed ?? false, ...(hint ? { "aria-describedby": hint.id } : {}) };
  const labelled = (/** @type {HTMLElement} */ node) =>
    make("label", { class: field.kind === "text" && field.path[0] === "document" ? "wide" : undefined, for: id }, make("span", { text: said(field.words) + (field.needed ? " *" : "") }), node, hint);
  if (field.kind === "yes") {
    const box = make("input", { ...about, required: false, type: "checkbox", checked: value === true });
    return { node: make("label", { class: "check" }, box, make("span", { text: said(field.words) })), read: () => (box.checked ? true : value === undefined ? undefined : value === false ? false : undefined) };
  }
  if (field.kind === "many") {
    const chosen = Array.isArray(value) ? value : [];
    const boxes = /** @type {string[]} */ (field.options).map((option) => make("input", { type: "checkbox", value: option, checked: chosen.includes(option), disabled: !mayChange }));
    const rows = boxes.map((box) => make("label", { class: "check" }, box, make("span", { text: roleName(box.value) })));
    const node = make("fieldset", { class: "wide many" }, make("legend", { class: "label", text: said(field.words) + (field.needed ? " *" : "") }), make("div", { class: "row" }, ...rows));
    return {
      node,
      read: () => {
        const now = boxes.filter((box) => box.checked).map((box) => box.value);
        return now.length === 0 ? undefined : [...chosen.filter((one) => now.includes(one)), ...now.filter((one) => !chosen.includes(one))];
      },
    };
  }
  if (field.kind === "choice") {
    const options = typeof field.options === "function" ? field.options(around) : (field.options ?? []).map((one) => ({ value: one, name: wordOf(one) }));
    const known = options.some((one) => one.value === value);
    const select = make("select", about, new Option("—", ""), ...options.map((one) => new Option(one.name, one.value)), !known && value !== undefined && new Option(String(value), String(value)));
    select.value = value === undefined ? "" : String(value);
    return { node: labelled(select), read: () => select.value || undefined };
  }
  if (field.kind === "targets") return targets(field, Array.isArray(value) ? value : [], around, mayChange);
  const isList = field.kind === "list" || field.kind === "areas";
  const shown = value === undefined ? "" : Array.isArray(value) ? value.join(", ") : field.kind === "time" ? String(value).slice(0, 5) : String(value);
  const input = make("input", {
    ...about,
    type: field.kind === "time" ? "time" : field.kind === "colour" ? "color" : "text",
    inputmode: field.kind === "number" ? "decimal" : undefined,
    list: field.kind === "area" ? "area-codes" : undefined,
    autocomplete: "off",
  });
  input.value = field.kind === "colour" && shown === "" ? "#0b5f6b" : shown;
  return {
    node: labelled(input),
    read: () => {
      const typed = input.value.trim();
      if (typed === "" || (field.kind === "colour" && value === undefined && typed === "#0b5f6b")) return undefined;
      if (field.kind === "number") return number(typed);
      if (field.kind === "time") return typed === shown ? value : typed;
      return isList ? typed.split(",").map((one) => one.trim()).filter(Boolean) : typed;
    },
  };
}

/** A number as people type it; what is none stays what was typed, and the centre says what is wrong. @param {string} typed */
export function number(typed) {
  const plain = /^-?\d+,\d+$/.test(typed) ? typed.replace(",", ".") : typed;
  return /^-?\d+(\.\d+)?$/.test(plain) ? Number(plain) : typed;
}

/** @param {Field} field @param {any[]} given @param {Around} around @param {boolean} mayChange */
function targets(field, given, around, mayChange) {
  const body = make("tbody");
  /** @type {{read: () => Record<string, unknown> | null}[]} */
  const rows = [];
  const heads = { value: ["Value", "Giá trị"], area: ["Area (all: empty)", "Địa bàn (trống: tất cả)"], start: ["From", "Từ ngày"], end: ["Before", "Trước ngày"] };
  const add = (/** @type {Record<string, any>} */ target) => {
    /** @type {Record<string, HTMLInputElement>} */
    const inputs = {};
    for (const [key, words] of Object.entries(heads)) {
      inputs[key] = make("input", {
        type: key === "start" || key === "end" ? "date" : "text",
        inputmode: key === "value" ? "decimal" : undefined,
        list: key === "area" ? "area-codes" : undefined,
        "aria-label": `${said(field.words)} ${rows.length + 1}: ${said(/** @type {[string, string]} */ (words))}`,
        disabled: !mayChange,
        autocomplete: "off",
      });
      inputs[key].value = target[key] === undefined ? "" : String(target[key]);
    }
    const row = make("tr", {}, ...Object.values(inputs).map((input) => make("td", {}, input)));
    const self = {
      read: () => {
        /** @type {Record<string, unknown>} */
        const now = {};
        for (const [key, input] of Object.entries(inputs)) {
          const typed = input.value.trim();
          if (typed !== "") now[key] = key === "value" ? number(typed) : typed;
        }
        return Object.keys(now).length === 0 ? null : now;
      },
    };
    const gone = make("button", { type: "button", class: "plain", disabled: !mayChange, "aria-label": said(["Remove this target", "Xoá chỉ tiêu này"]), text: "✕", onclick: () => {
      row.remove();
      rows.splice(rows.indexOf(self), 1);
    } });
    row.append(make("td", {}, gone));
    rows.push(self);
    body.append(row);
  };
  given.forEach(add);
  const more = make("button", { type: "button", disabled: !mayChange, text: said(["Add a target", "Thêm chỉ tiêu"]), onclick: () => {
    add({});
    /** @type {HTMLInputElement | null} */ (body.querySelector("tr:last-child input"))?.focus();
  } });
  const head = make("tr", {}, ...Object.values(heads).map((words) => make("th", { scope: "col", text: said(/** @type {[string, string]} */ (words)) })), make("td"));
  const table = make("div", { class: "scroll" }, make("table", { class: "targets" }, make("thead", {}, head), body));
  const node = make("fieldset", { class: "wide" }, make("legend", { class: "label", text: said(field.words) }), table, more);
  return {
    node,
    read: () => {
      const now = rows.map((row) => row.read()).filter((one) => one !== null);
      return now.length === 0 ? undefined : now;
    },
  };
}

/**
 * What has to be changed for `before` to become `after`, by the smallest pieces: what stays keeps its comments.
 * @param {(string | number)[]} path @param {any} before @param {any} after @returns {import("./ask.js").Edit[]}
 */
export function edits(path, before, after) {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  const isTables = (/** @type {any} */ value) => Array.isArray(value) && value.every((one) => typeof one === "object");
  if (after === undefined) return [{ path, value: null }];
  if (before === undefined || !isTables(before) || !isTables(after)) return [{ path, value: after }];
  const found = [];
  for (let n = 0; n < Math.min(before.length, after.length); n += 1) {
    for (const key of new Set([...Object.keys(before[n]), ...Object.keys(after[n])])) found.push(...edits([...path, n, key], before[n][key], after[n][key]));
  }
  for (let n = before.length - 1; n >= after.length; n -= 1) found.push({ path: [...path, n], value: null });
  for (let n = before.length; n < after.length; n += 1) found.push({ path: [...path, n], value: after[n] });
  return found;
}

/** @type {Record<string, [string, string]>} */
const ROLE_NAMES = {
  operator: ["Operator", "Trực điều hành"],
  dispatcher: ["Dispatcher", "Điều phối"],
  unit: ["Field unit", "Đội hiện trường"],
  leader: ["Leader", "Lãnh đạo"],
  auditor: ["Auditor", "Thanh tra"],
  administrator: ["Administrator", "Quản trị"],
};
/** @param {string} role */
export const roleName = (role) => said(ROLE_NAMES[role]) || role;

/** @type {Record<string, [string, string]>} */
const OPTION_NAMES = {
  higher: ["higher", "cao hơn"],
  lower: ["lower", "thấp hơn"],
  government: ["Digital government", "Chính quyền số"],
  economy: ["Digital economy", "Kinh tế số"],
  society: ["Digital society", "Xã hội số"],
  info: ["Information", "Thông tin"],
  minor: ["Minor", "Nhẹ"],
  major: ["Major", "Nghiêm trọng"],
  critical: ["Critical", "Khẩn cấp"],
  vi: ["Vietnamese", "Tiếng Việt"],
  en: ["English", "Tiếng Anh"],
};
/** @param {string} option */
const wordOf = (option) => said(OPTION_NAMES[option]) || option;
