// The address after #: the page, the job, the filter. All state that should survive a reload is there.
//
//   #/   #/jobs?status=failed&cursor=…   #/jobs/<id>   #/schedules   #/schedules/<name>   #/schedule-form?name=…   #/failures   …

const ONES = { jobs: "job", schedules: "schedule", limits: "limit", hooks: "hook" }; // the pages of one of many
const PAGES = [...Object.keys(ONES), "queues", "schedule-form", "failures", "workers", "system", "submit"];

export function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [page, id] = path.split("/").filter(Boolean);
  const given = new URLSearchParams(query ?? "");
  if (page === undefined) return { page: "overview", given };
  if (page in ONES && id !== undefined) return { page: ONES[page], id: decode(id), given };
  return { page: PAGES.includes(page) ? page : "missing", given };
}

export function address(page, given = {}) {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "" && value !== null)).toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}

// The page of one of them, whatever its name contains.
export const addressOf = (page, name) => address(`${page}/${encodeURIComponent(name)}`);

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
