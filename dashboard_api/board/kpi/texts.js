/**
 * What does the board say, in each language?
 *
 * A text with a blank is a function of what fills it. A language that is missing here falls back to English.
 */

const EN = {
  locale: "en-GB",
  area: "Area",
  period: "Period",
  language: "Language",
  theme: "Theme",
  auto: "As the device",
  light: "Light",
  dark: "Dark",
  signIn: "Sign in",
  signOut: "Sign out",
  minute: "60 minutes",
  hour: "24 hours",
  day: "30 days",
  indicators: "Indicators",
  sources: "Sources",
  latestEvents: "Latest events",
  simulated: "Simulated",
  exercise: "Drill",
  undeclared: "Not declared",
  connecting: "Connecting…",
  live: "Live",
  loading: "Loading…",
  reconnecting: (/** @type {string} */ since) => `Connection lost at ${since}. Reconnecting…`,
  stale: (/** @type {string} */ since, /** @type {string} */ age) => `Not live. Last word at ${since}, ${age} ago`,
  away: (/** @type {string} */ since) => `Database away since ${since}`,
  stopped: (/** @type {string} */ why) => `Counting has stopped: ${why}`,
  whyStopped: (/** @type {string} */ reason, /** @type {string} */ detail) =>
    ({ silent: "the workers give no sign of life", starting: "the workers are starting", none: "no worker runs" })[reason] ?? detail,
  held: (/** @type {string} */ age) => `Live, with a delay of ${age}`,
  bannerStale: (/** @type {string} */ since) =>
    `The figures below are from ${since} and may have changed. The board reconnects by itself.`,
  bannerAway: (/** @type {string} */ since) =>
    `The database has not answered since ${since}. The figures below are from then; they come back by themselves.`,
  bannerStopped: (/** @type {string} */ since) =>
    `Nothing has been counted since ${since}. The figures below are from then; what comes in waits and is counted later.`,
  failed: (/** @type {string} */ why) => `The board could not be loaded (${why}). Trying again…`,
  noData: "No data in this period",
  noNews: (/** @type {string} */ age) => `No news for ${age}`,
  updated: (/** @type {string} */ age) => `News ${age} ago`,
  justNow: "News within the minute",
  asOf: (/** @type {string} */ time, /** @type {string} */ age) => `As of ${time}, ${age} ago`,
  soFar: "so far",
  knownUntil: (/** @type {string} */ until) => `known up to ${until}`,
  asFirstClosed: "as first reported",
  share: (/** @type {string} */ part, /** @type {string} */ whole) => `${part} of ${whole}`,
  spread: (/** @type {string} */ p50, /** @type {string} */ p95) => `median ${p50} · 95 % up to ${p95}`,
  between: (/** @type {string} */ lower, /** @type {string} */ upper) => `≈ between ${lower} and ${upper}: the map was redrawn`,
  atLeast: (/** @type {string} */ lower) => `≈ at least ${lower}: the map was redrawn`,
  atMost: (/** @type {string} */ upper) => `≈ at most ${upper}: the map was redrawn`,
  inexact: "≈ not exact: the map was redrawn",
  first: (/** @type {string} */ value) => `First reported as ${value}`,
  chart: (/** @type {string} */ n, /** @type {string} */ low, /** @type {string} */ high) =>
    `${n} values, lowest ${low}, highest ${high}`,
  noEvents: "No events yet. New ones appear here as they come in.",
  noSources: "No source is known yet.",
  signInForEvents: "Events are for people who have signed in.",
  signInForSources: "Sources are for people who have signed in.",
  noKpis: "This site has no indicators yet. They are declared in its kpis.toml.",
  never: "Never heard",
  fresh: (/** @type {string} */ age) => `${age} ago`,
  silent: (/** @type {string} */ age) => `Silent for ${age}`,
  counted: (/** @type {string} */ n) => `${n} events`,
  siteTime: (/** @type {string} */ zone) => `Times are those of ${zone}`,
  "ioc.feedback.received.v1": "Report",
  "ioc.feedback.closed.v1": "Report closed",
  "ioc.feedback.answered.v1": "Report answered",
  "ioc.feedback.reopened.v1": "Report reopened",
  "ioc.feedback.rated.v1": "Report rated",
  "ioc.dossier.received.v1": "Dossier received",
  "ioc.dossier.closed.v1": "Dossier closed",
  "ioc.dossier.rated.v1": "Dossier rated",
  "ioc.indicator.observed.v1": "Indicator reported",
  "ioc.camera.incident.v1": "Camera incident",
  "ioc.camera.detection.v1": "Detection",
  "ioc.service.metric.v1": "Measurement",
  info: "Information",
  minor: "Minor",
  major: "Major",
  critical: "Critical",
};

/** @type {typeof EN} */
const VI = {
  locale: "vi-VN",
  area: "Địa bàn",
  period: "Khoảng thời gian",
  language: "Ngôn ngữ",
  theme: "Giao diện",
  auto: "Theo thiết bị",
  light: "Sáng",
  dark: "Tối",
  signIn: "Đăng nhập",
  signOut: "Đăng xuất",
  minute: "60 phút",
  hour: "24 giờ",
  day: "30 ngày",
  indicators: "Chỉ số",
  sources: "Nguồn dữ liệu",
  latestEvents: "Sự kiện mới nhất",
  simulated: "Mô phỏng",
  exercise: "Diễn tập",
  undeclared: "Chưa khai báo",
  connecting: "Đang kết nối…",
  live: "Trực tiếp",
  loading: "Đang tải…",
  reconnecting: (since) => `Mất kết nối lúc ${since}. Đang kết nối lại…`,
  stale: (since, age) => `Không trực tiếp. Tin cuối lúc ${since}, cách đây ${age}`,
  away: (since) => `Cơ sở dữ liệu gián đoạn từ ${since}`,
  stopped: (why) => `Việc đếm đã dừng: ${why}`,
  whyStopped: (reason, detail) =>
    ({ silent: "tiến trình đếm không còn tín hiệu", starting: "tiến trình đếm đang khởi động", none: "không có tiến trình đếm nào chạy" })[reason] ?? detail,
  held: (age) => `Trực tiếp, chậm ${age}`,
  bannerStale: (since) => `Số liệu dưới đây là của lúc ${since} và có thể đã thay đổi. Bảng sẽ tự kết nối lại.`,
  bannerAway: (since) =>
    `Cơ sở dữ liệu không trả lời từ ${since}. Số liệu dưới đây là của lúc đó và sẽ tự cập nhật trở lại.`,
  bannerStopped: (since) =>
    `Chưa đếm thêm gì từ ${since}. Số liệu dưới đây là của lúc đó; những gì gửi đến được giữ lại và sẽ được đếm sau.`,
  failed: (why) => `Không tải được bảng (${why}). Đang thử lại…`,
  noData: "Chưa có dữ liệu trong khoảng này",
  noNews: (age) => `Chưa có tin mới trong ${age}`,
  updated: (age) => `Có tin cách đây ${age}`,
  justNow: "Có tin trong phút này",
  asOf: (time, age) => `Số lúc ${time}, ${age} trước`,
  soFar: "đến lúc này",
  knownUntil: (/** @type {string} */ until) => `đã biết đến ${until}`,
  asFirstClosed: "theo báo cáo lần đầu",
  share: (part, whole) => `${part} trên ${whole}`,
  spread: (p50, p95) => `trung vị ${p50} · 95 % đến ${p95}`,
  between: (lower, upper) => `≈ từ ${lower} đến ${upper}: địa giới đã thay đổi`,
  atLeast: (lower) => `≈ ít nhất ${lower}: địa giới đã thay đổi`,
  atMost: (upper) => `≈ nhiều nhất ${upper}: địa giới đã thay đổi`,
  inexact: "≈ không chính xác: địa giới đã thay đổi",
  first: (value) => `Công bố lần đầu: ${value}`,
  chart: (n, low, high) => `${n} giá trị, thấp nhất ${low}, cao nhất ${high}`,
  noEvents: "Chưa có sự kiện. Sự kiện mới sẽ hiện ở đây ngay khi tiếp nhận.",
  noSources: "Chưa có nguồn dữ liệu nào.",
  signInForEvents: "Sự kiện dành cho người đã đăng nhập.",
  signInForSources: "Nguồn dữ liệu dành cho người đã đăng nhập.",
  noKpis: "Nơi này chưa có chỉ số. Chỉ số được khai báo trong kpis.toml.",
  never: "Chưa có tín hiệu",
  fresh: (age) => `${age} trước`,
  silent: (age) => `Im lặng ${age}`,
  counted: (n) => `${n} sự kiện`,
  siteTime: (zone) => `Giờ theo ${zone}`,
  "ioc.feedback.received.v1": "Phản ánh",
  "ioc.feedback.closed.v1": "Phản ánh đã xử lý",
  "ioc.feedback.answered.v1": "Phản ánh đã trả lời",
  "ioc.feedback.reopened.v1": "Phản ánh mở lại",
  "ioc.feedback.rated.v1": "Đánh giá phản ánh",
  "ioc.dossier.received.v1": "Hồ sơ tiếp nhận",
  "ioc.dossier.closed.v1": "Hồ sơ đã giải quyết",
  "ioc.dossier.rated.v1": "Đánh giá hồ sơ",
  "ioc.indicator.observed.v1": "Số liệu báo cáo",
  "ioc.camera.incident.v1": "Sự cố camera",
  "ioc.camera.detection.v1": "Phát hiện",
  "ioc.service.metric.v1": "Số đo",
  info: "Thông tin",
  minor: "Nhẹ",
  major: "Nghiêm trọng",
  critical: "Rất nghiêm trọng",
};

/** @type {Record<string, typeof EN>} */
export const LANGUAGES = { vi: VI, en: EN };

/** The name of each language in itself. @type {Record<string, string>} */
export const LANGUAGE_NAMES = { vi: "Tiếng Việt", en: "English" };

/** @param {string} language */
export function textsOf(language) {
  return LANGUAGES[language] ?? EN;
}

/** A name by language, in this one or another that there is. @param {Record<string, string>} names @param {string} language @param {string} fallback */
export function nameIn(names, language, fallback) {
  return names[language] ?? names.en ?? Object.values(names)[0] ?? fallback;
}
