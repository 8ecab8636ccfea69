/** How is what the centre says by a word put into a sentence? What has none here is told as the centre says it, in English. */

import { formatCount } from "../shared/format.js";
import { language, locale } from "../shared/texts.js";
import { duration } from "../shared/time.js";

/** @typedef {import("./ask.js").Finding} Finding @typedef {import("./ask.js").Effect} Effect */

/** @type {Record<string, [string, string]>} English, Vietnamese */
const KINDS = {
  kpi: ["Indicator", "Chỉ số"],
  source: ["Source", "Nguồn"],
  unit: ["Unit", "Đội"],
  person: ["Person", "Người dùng"],
  rule: ["Alert rule", "Quy tắc"],
  agency: ["Agency", "Cơ quan"],
  category: ["Category", "Lĩnh vực"],
  report: ["Report", "Báo cáo"],
  channel: ["Channel", "Kênh"],
  layer: ["Map layer", "Lớp bản đồ"],
  layer_content: ["Features of the layer", "Đối tượng của lớp"],
  site: ["Site", "Trung tâm"],
  area: ["Area", "Địa bàn"],
  areas: ["Areas", "Địa bàn"],
};
/** @param {string} kind */
export const kindName = (kind) => pick(KINDS[kind]) ?? kind;

/** @type {Record<string, [string, string]>} */
const FINDINGS = {
  database: ["Database", "Cơ sở dữ liệu"],
  kafka: ["Log (Kafka)", "Nhật ký (Kafka)"],
  streams: ["Counting", "Bộ đếm"],
  issuer: ["Sign-in", "Đăng nhập"],
  workers: ["Workers", "Tiến trình đếm"],
  lag: ["Waiting to be counted", "Chờ được đếm"],
  pack: ["Site pack", "Bộ cấu hình"],
  history: ["History of changes", "Lịch sử thay đổi"],
  disk: ["Disk", "Ổ đĩa"],
  letters: ["Dead letters", "Bản tin lỗi"],
  messages: ["Messages", "Thông báo gửi đi"],
  feed: ["Incoming events", "Sự kiện đến"],
  sources: ["Incoming events", "Sự kiện đến"],
  certificate: ["Certificate", "Chứng thư"],
  versions: ["Versions", "Phiên bản"],
  parts: ["Parts", "Thành phần"],
};
/** @param {Finding} one */
export const findingName = (one) => pick(FINDINGS[one.id]) ?? one.id;

const GB = 1e9;
/** @param {number} bytes */
export const bytes = (bytes) =>
  bytes >= GB ? `${(bytes / GB).toLocaleString(locale(), { maximumFractionDigits: 1 })} GB` : `${Math.max(1, Math.round(bytes / 1000)).toLocaleString(locale())} kB`;

/** @type {Record<string, (v: Record<string, any>) => [string, string]>} In Vietnamese: what was found, and what to do. */
const VIETNAMESE = {
  up: () => ["hoạt động", ""],
  away: (v) => [`không trả lời${v.detail ? `: ${v.detail}` : ""}`, AWAY[v.name] ?? "Xem nhật ký của thành phần này."],
  no_answer: () => ["không hỏi được", "Xem thành phần nào đang không trả lời."],
  "workers.none": () => ["không tiến trình nào đang đếm", "Khởi động lại: `ioc up` trên một máy, `ioc run streams` trên máy khác."],
  "workers.some": (v) => [`${v.counting} đang đếm; có tiến trình đã dừng: ${v.halted[0] ?? ""}`, "Nhật ký của nó nói vì sao dừng; các tiến trình khác vẫn đếm."],
  "workers.all": (v) => [`${v.counting} đang đếm`, ""],
  "lag.level": (v) => [`${count(v.records)} bản ghi`, ""],
  "lag.behind": (v) => [`${count(v.records)} bản ghi`, "Sẽ tự giảm sau đợt cao điểm. Nếu tăng nhiều phút, hãy tăng IOC_WORKERS hoặc thêm máy."],
  "lag.lost": (v) => [`nhật ký đã bị cắt mất ${count(v.lost)} bản ghi chưa đếm`, "`ioc positions` cho biết ở đâu và cách đi tiếp."],
  "pack.in_force": () => ["tệp trên đĩa đang có hiệu lực", ""],
  "pack.broken": (v) => [`${v.problem}`, "Bản đúng gần nhất vẫn có hiệu lực. Sửa ở mục Tệp, hoặc hoàn tác ở mục Lịch sử."],
  "history.whole": () => ["mọi thay đổi còn nguyên như khi ghi", ""],
  "history.altered": (v) => [`thay đổi ${v.change} đã bị sửa sau khi ghi`, "Khôi phục thư mục site-history từ bản sao lưu, và tìm xem ai ghi được vào đó."],
  "disk.room": (v) => [`còn trống ${bytes(v.free)} trên ${bytes(v.total)}`, ""],
  "disk.filling": (v) => [`còn trống ${bytes(v.free)} trên ${bytes(v.total)}`, "Giải phóng chỗ, hoặc chuyển IOC_DATA sang ổ lớn hơn."],
  "disk.full": (v) => [`chỉ còn ${bytes(v.free)}`, "Giải phóng chỗ ngay, hoặc chuyển IOC_DATA sang ổ lớn hơn."],
  "letters.none": () => ["không có", ""],
  "letters.some": (v) => [`${count(v.count)} bản tin không đọc được`, "Xem mục Bản tin lỗi: sai ở đâu, và cái nào gửi lại được."],
  "messages.none": (v) => [`${count(v.waiting)} đang chờ`, ""],
  "messages.waiting": (v) => [`${count(v.waiting)} đang chờ, lâu nhất ${duration(v.oldest_s)}`, "Tiến trình outbound có chạy không? `ioc status` cho biết."],
  "messages.failed": (v) => [`${count(v.failed)} thông báo đã bỏ`, "Xem mục Thông báo gửi đi: vì sao, và gửi lại khi bên nhận hoạt động."],
  "feed.comes": (v) => [`${count(v.sources)} nguồn, vẫn có sự kiện đến`, ""],
  "feed.silent": (v) => [`không có sự kiện mới từ ${new Date(v.newest).toLocaleString("vi-VN")}`, "Xem mục Nguồn dữ liệu: nguồn nào im lặng, và liên hệ họ."],
  "feed.nothing": () => ["chưa từng có sự kiện nào", "Kết nối một nguồn: xem mục Nguồn dữ liệu."],
  "certificate.no_https": (v) => [`${v.url} không phải https`, "Đặt proxy có https phía trước và đặt IOC_PUBLIC_URL, trước khi máy khác sử dụng."],
  "certificate.valid": (v) => [`còn hạn ${v.days} ngày`, ""],
  "certificate.ends_soon": (v) => [`chỉ còn hạn ${v.days} ngày`, "Gia hạn tại proxy."],
  "certificate.ended": () => ["đã hết hạn", "Gia hạn tại proxy ngay."],
  "versions.these": (v) => [`IOC ${v.ioc}, Python ${v.python}, PostgreSQL ${v.postgres}, TimescaleDB ${v.timescale}, bộ cấu hình số ${v.site}`, ""],
};
/** @type {Record<string, string>} */
const AWAY = {
  database: "Khởi động lại PostgreSQL; những gì gửi đến trong lúc đó chờ trong nhật ký.",
  kafka: "Khởi động lại Kafka; đến lúc đó không gửi được gì.",
  streams: "Xem `ioc status` và nhật ký của tiến trình đếm: nó nói vì sao dừng và phải làm gì.",
  issuer: "Ai đã đăng nhập vẫn làm việc được. Kiểm tra nhà cung cấp đăng nhập.",
};

/** What was found, and what to do. @param {Finding} one @returns {[string, string]} */
export function findingWords(one) {
  const found = VIETNAMESE[`${one.id}.${one.code}`] ?? VIETNAMESE[one.code];
  return language() === "vi" && found ? found(one.values) : [one.detail, one.remedy];
}

/** @type {Record<string, [string, string]>} What it is about stands before it. */
const EFFECTS = {
  kpi_starts: ["starts to count from now on. `ioc backfill ID` counts what came before, too.", "bắt đầu được đếm từ nay. `ioc backfill MÃ` đếm cả dữ liệu trước đó."],
  kpi_counts_otherwise: ["is counted by another rule from now on; earlier figures stay as they were. `ioc backfill ID --again` counts them anew.", "từ nay được đếm theo cách khác; số cũ giữ nguyên. `ioc backfill MÃ --again` đếm lại số cũ."],
  kpi_ends: ["is not shown any more; what was counted stays stored.", "không còn hiển thị; số đã đếm vẫn được lưu."],
  kpi_shown_otherwise: ["is shown and judged otherwise, at once.", "được hiển thị và đánh giá khác đi, ngay lập tức."],
  unit_at_work: ["has open cases (their number). Call it back first, or let it end them.", "đang xử lý vụ việc (số vụ). Hãy rút về trước, hoặc để đội làm xong."],
  person_leaves: ["is let in nowhere any more within seconds.", "không còn đăng nhập được, trong vài giây."],
  person_needs_password: ["needs a password: `ioc passwd ID`.", "cần mật khẩu: `ioc passwd MÃ`."],
  you_lose_this_page: ["— that is you — will not be an administrator any more.", "— chính bạn — sẽ không còn là quản trị viên."],
  rule_ends: ["looks at nothing any more; its cases stay open.", "không còn xét; các vụ đã mở vẫn mở."],
  source_undeclared: ["is not waited for any more; what it sends is still counted.", "không còn được chờ tín hiệu; dữ liệu gửi đến vẫn được đếm."],
  kept_for_less: ["(minutes/hours): what is older is dropped for good; days stay.", "(phút/giờ): dữ liệu cũ hơn bị xoá hẳn; số liệu ngày vẫn giữ."],
  areas_change: ["redraws the map. Events are counted where the new list has them; lineage.csv says what became of the old ones.", "thay đổi địa bàn. Sự kiện được đếm theo danh mục mới; lineage.csv cho biết địa bàn cũ thành gì."],
};
/** @param {Effect} one */
export const effectWords = (one) => pick(EFFECTS[one.code]) ?? one.text;

/** @type {Record<string, [string, string]>} */
const KEYS = {
  value: ["value", "giá trị"],
  area: ["area", "địa bàn"],
  start: ["from", "từ ngày"],
  end: ["before", "trước ngày"],
  target: ["target", "chỉ tiêu"],
  thresholds: ["thresholds", "ngưỡng"],
  warning: ["warning", "cảnh báo"],
  bad: ["bad", "xấu"],
  names: ["name", "tên"],
  name: ["name", "họ tên"],
  vi: ["Vietnamese", "tiếng Việt"],
  en: ["English", "tiếng Anh"],
  freshness_s: ["stale after (s)", "coi là cũ sau (giây)"],
  roles: ["roles", "vai trò"],
  areas: ["areas", "địa bàn"],
  owner: ["owner", "đơn vị phụ trách"],
  document: ["laid down in", "văn bản"],
  direction: ["better is", "tốt hơn khi"],
  silent_after_s: ["silent after (s)", "im lặng sau (giây)"],
  severity: ["severity", "mức độ"],
  agency: ["agency", "cơ quan"],
  features: ["features", "số đối tượng"],
};
/** A key as `target.0.value`, in words. @param {string} key */
export const keyWords = (key) =>
  key.split(".").map((step) => (/^\d+$/.test(step) ? `${Number(step) + 1}` : pick(KEYS[step]) ?? step)).join(" · ");

/** @param {[string, string] | undefined} words */
const pick = (words) => words?.[language() === "vi" ? 1 : 0];
/** @param {number} n */
const count = (n) => formatCount(n, locale());
