/**
 * In which language does a page speak, and what are states, severities and actions called?
 *
 * Vietnamese first, English second. The choice is remembered, with the theme, in this browser; the board shares both.
 */

import { THEMES, applyTheme, choice, keep } from "./choice.js";

/** @typedef {"vi" | "en"} Language */

const NAMES = { vi: "Tiếng Việt", en: "English" };

/** @type {Language} */
let spoken = /** @type {Language} */ (choice("language", "vi", Object.keys(NAMES)));
/** @type {Set<() => void>} */
const listeners = new Set();
document.documentElement.lang = spoken;
applyTheme(choice("theme", "auto", THEMES));

/** The language that is spoken now. */
export const language = () => spoken;
/** The locale of numbers and times. */
export const locale = () => (spoken === "vi" ? "vi-VN" : "en-GB");

/** @param {Language} wanted */
export function speak(wanted) {
  spoken = wanted;
  keep("language", wanted);
  document.documentElement.lang = wanted;
  translate();
  listeners.forEach((listener) => listener());
}

/** Calls back after each change of the language. @param {() => void} listener */
export function onLanguage(listener) {
  listeners.add(listener);
}

/**
 * A page's own texts: a function that gives those of the present language. The Vietnamese ones have to have all keys.
 * @template {Record<string, unknown>} T @param {T} en @param {T} vi @returns {() => T}
 */
export function dictionary(en, vi) {
  if (!page) page = () => (spoken === "vi" ? vi : en);
  return () => (spoken === "vi" ? vi : en);
}

/** The first dictionary: what `data-text` in the HTML names. @type {(() => Record<string, unknown>) | null} */
let page = null;

/** Fills every element that has `data-text`, and labels those with `data-label`. @param {ParentNode} [root] */
export function translate(root = document) {
  const words = page?.() ?? {};
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-text]"))) {
    node.textContent = String(words[node.dataset.text ?? ""]);
  }
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-label]"))) {
    node.setAttribute("aria-label", String(words[node.dataset.label ?? ""]));
  }
}

/** What a thing is called, of its `names`. @param {Record<string, string> | undefined} names @param {string} otherwise */
export function nameOf(names, otherwise) {
  return names?.[spoken] ?? names?.vi ?? names?.en ?? Object.values(names ?? {})[0] ?? otherwise;
}

/**
 * What a case is called: by its title, by how a citizen's report begins for those who may read it, or by its category.
 * @param {{title?: string, excerpt?: string, names?: Record<string, string>, category: string}} item
 */
export const titleOf = (item) => item.title || item.excerpt || nameOf(item.names, item.category);

/** Two buttons, of which one is on. @param {HTMLElement} root */
export function languageSwitch(root) {
  root.setAttribute("role", "group");
  const draw = () => {
    root.setAttribute("aria-label", spoken === "vi" ? "Ngôn ngữ" : "Language");
    root.replaceChildren(.../** @type {Language[]} */ (Object.keys(NAMES)).map((one) => {
      const button = document.createElement("button");
      button.type = "button";
      button.lang = one;
      button.textContent = NAMES[one];
      button.setAttribute("aria-pressed", String(one === spoken));
      button.addEventListener("click", () => {
        speak(one);
        /** @type {HTMLElement | null} */ (root.querySelector(`[lang="${one}"]`))?.focus();
      });
      return button;
    }));
  };
  draw();
  onLanguage(draw);
}

/** A choice between the device's theme, light and dark. @param {HTMLSelectElement} select */
export function themeSwitch(select) {
  const draw = () => {
    const words = spoken === "vi" ? ["Theo thiết bị", "Sáng", "Tối"] : ["As the device", "Light", "Dark"];
    select.setAttribute("aria-label", spoken === "vi" ? "Giao diện" : "Theme");
    const chosen = choice("theme", "auto", THEMES);
    select.replaceChildren(...THEMES.map((one, n) => new Option(words[n], one, false, one === chosen)));
  };
  draw();
  onLanguage(draw);
  select.addEventListener("change", () => {
    keep("theme", select.value);
    applyTheme(select.value);
  });
}

/** @type {Record<string, Record<string, [string, string]>>} English, Vietnamese */
const WORDS = {
  state: {
    new: ["New", "Mới"],
    triaged: ["Triaged", "Đã phân loại"],
    merged: ["Merged", "Đã gộp"],
    assigned: ["Assigned", "Đã giao"],
    accepted: ["Accepted", "Đã tiếp nhận"],
    en_route: ["On the way", "Đang đến"],
    on_scene: ["On the scene", "Tại hiện trường"],
    waiting_citizen: ["Waiting for the citizen", "Chờ người dân"],
    waiting_agency: ["Waiting for an agency", "Chờ cơ quan khác"],
    resolved: ["Resolved", "Đã xử lý"],
    confirmed: ["Confirmed", "Người dân xác nhận"],
    closed: ["Closed", "Đã đóng"],
    rejected: ["Rejected", "Từ chối"],
    reopened: ["Reopened", "Mở lại"],
  },
  severity: {
    info: ["Information", "Thông tin"],
    minor: ["Minor", "Nhẹ"],
    major: ["Major", "Nghiêm trọng"],
    critical: ["Critical", "Khẩn cấp"],
  },
  kind: {
    service: ["Service", "Phản ánh"],
    incident: ["Incident", "Sự cố"],
    alert: ["Alert", "Cảnh báo"],
    conduct: ["Complaint about an official", "Tố cáo cán bộ"],
    violation: ["Camera violation", "Vi phạm qua camera"],
  },
  clock: {
    first_answer: ["First answer", "Phản hồi đầu tiên"],
    acceptance: ["Acceptance", "Tiếp nhận"],
    arrival: ["Arrival", "Đến hiện trường"],
    resolution: ["Resolution", "Xử lý xong"],
  },
  step: {
    offered: ["Offered", "Đã điều động"],
    delivered: ["Delivered", "Đã gửi đến máy"],
    seen: ["Seen", "Đã xem"],
    accepted: ["Accepted", "Đã nhận"],
    en_route: ["On the way", "Đang đến"],
    on_scene: ["On the scene", "Tại hiện trường"],
    done: ["Done", "Đã xong"],
    declined: ["Declined", "Từ chối"],
    missed: ["Missed", "Không trả lời"],
    withdrawn: ["Withdrawn", "Đã rút"],
  },
  unit: {
    available: ["Available", "Sẵn sàng"],
    busy: ["Busy", "Đang bận"],
    off: ["Off", "Nghỉ"],
  },
  action: {
    open: ["Open a case", "Mở hồ sơ"],
    triage: ["Triage", "Phân loại"],
    assign: ["Assign", "Giao cơ quan"],
    accept: ["Accept", "Tiếp nhận"],
    merge: ["Merge", "Gộp"],
    unmerge: ["Take apart", "Tách gộp"],
    split: ["Split", "Tách tin báo"],
    dismiss: ["Not the same", "Không trùng"],
    dispatch: ["Dispatch", "Điều động"],
    withdraw_offer: ["Call the unit back", "Rút điều động"],
    offer: ["Unit's step", "Bước của đội"],
    wait: ["Wait", "Chờ"],
    resume: ["Go on", "Tiếp tục"],
    answer: ["Answer the citizen", "Trả lời người dân"],
    note: ["Note", "Ghi chú"],
    resolve: ["Resolve", "Xử lý xong"],
    close: ["Close", "Đóng"],
    reject: ["Reject", "Từ chối xử lý"],
    reopen: ["Reopen", "Mở lại"],
    acknowledge: ["Acknowledge", "Đã biết"],
    review: ["Review", "Thẩm định"],
    law_step: ["Legal step", "Bước theo luật"],
    reveal: ["Reveal", "Xem phần che"],
    confirm: ["Confirm that it is fixed", "Xác nhận đã xong"],
    dispute: ["Not fixed", "Chưa xong"],
    rate: ["Rate", "Đánh giá"],
    reply: ["Reply", "Trả lời"],
    availability: ["Availability", "Trạng thái đội"],
    silence: ["Silence", "Tạm im"],
    erase: ["Erase", "Xoá dữ liệu"],
  },
  refusal: {
    unknown_case: ["There is no such case, or you may not see it.", "Không có hồ sơ này, hoặc bạn không được xem."],
    unknown_unit: ["There is no such unit.", "Không có đội này."],
    unknown_category: ["There is no such category.", "Không có lĩnh vực này."],
    unknown_agency: ["There is no such agency.", "Không có cơ quan này."],
    impossible: ["That cannot be done in the present state.", "Không làm được ở trạng thái hiện tại."],
    stale: ["It has changed in the meantime. Look again, then decide.", "Hồ sơ vừa thay đổi. Xem lại rồi quyết định."],
    forbidden: ["You may not do that.", "Bạn không có quyền làm việc này."],
    not_yours: ["That offer is another unit's.", "Lệnh điều động này là của đội khác."],
    incomplete: ["Something that is needed is missing.", "Còn thiếu thông tin bắt buộc."],
    too_many: ["The case has no room for more.", "Hồ sơ đã đạt giới hạn."],
    unit_busy: ["The unit is busy.", "Đội đang bận."],
    not_capable: ["The unit is not known to be capable.", "Đội chưa đủ khả năng hoặc ngoài ca trực."],
    already: ["It is so already.", "Việc này đã được làm."],
    too_late: ["It is too late for that.", "Đã quá muộn."],
    from_the_future: ["Its time has not come yet.", "Thời điểm chưa tới."],
    same_reviewer: ["The second review has to be another person's.", "Lần thẩm định thứ hai phải do người khác."],
    awaits_citizen: ["The citizen may still answer.", "Người dân vẫn còn thời gian trả lời."],
    unreachable: ["The centre cannot be reached.", "Không kết nối được trung tâm."],
  },
};

/**
 * The name of a `state`, `severity`, `kind`, `clock`, `step` (of an offer), `unit` (its status), `action` or `refusal`.
 * What has no name is shown as it is.
 * @param {keyof typeof WORDS} group @param {string} word
 */
export function word(group, word) {
  return WORDS[group]?.[word]?.[spoken === "vi" ? 1 : 0] ?? word;
}
