// The fields of a new job that is like another: what it does and how, but not its time, its place in a workflow or its keys.

export function fieldsOf(job) {
  const { task, payload, queue, priority, max_retries, timeout_s, tags, expires_s } = job;
  const limit = (job.limit ?? []).filter((part) => !part.includes(":") && part !== "*"); // the others apply by themselves
  return {
    task, payload, queue, priority, max_retries, timeout_s, ...(tags.length > 0 ? { tags } : {}), ...(limit.length > 0 ? { limit } : {}),
    ...(expires_s ? { expires_s } : {}),
  };
}

// Those that have no field in the form; they are sent as they were.
export function restOf(job) {
  const { task, payload, queue, priority, ...rest } = fieldsOf(job);
  return rest;
}
