// The address after #: the page, the job, the filter. All state that should survive a reload is there.
//
//   #/   #/jobs?status=failed&cursor=…   #/jobs/<id>   #/failures   #/submit

export function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const [page, id] = path.split("/").filter(Boolean);
  const given = new URLSearchParams(query ?? "");
  if (page === undefined) return { page: "overview", given };
  if (page === "jobs") return id === undefined ? { page: "jobs", given } : { page: "job", id: decode(id), given };
  return { page: ["failures", "submit"].includes(page) ? page : "missing", given };
}

export function address(page, given = {}) {
  const query = new URLSearchParams(Object.entries(given).filter(([, value]) => value !== "" && value !== null)).toString();
  return `#/${page}${query ? `?${query}` : ""}`;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
