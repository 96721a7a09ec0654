// A worker in JavaScript: node 18 or later, no packages. `signal` tells the work to stop.
const URL_ = process.env.JOBYARD_URL ?? "http://127.0.0.1:8080";
const TASK = "count-in-javascript";
const LEASE_S = 15;
const headers = { "Content-Type": "application/json" };
if (process.env.JOBYARD_TOKEN) headers.Authorization = `Bearer ${process.env.JOBYARD_TOKEN}`;

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

async function ask(method, path, body) {
  const answer = await fetch(URL_ + path, { method, headers, body: JSON.stringify(body), signal: AbortSignal.timeout(90_000) });
  return { status: answer.status, body: await answer.json() };
}

// Your work: it gets the payload and returns the result, and stops when the signal is aborted.
function work(payload, signal) {
  return new Promise((done, failed) => {
    const timer = setTimeout(() => done({ by: "javascript" }), (payload?.seconds ?? 0) * 1000);
    signal.addEventListener("abort", () => { clearTimeout(timer); failed(signal.reason); });
  });
}

// Work on one job, and stop when its lease is lost or cancellation was requested.
async function run(lease) {
  const job = `/api/jobs/${lease.job_id}`;
  const token = { epoch: lease.epoch };
  const stop = new AbortController();
  const extender = setInterval(async () => {
    const answer = await ask("POST", `${job}/extend`, { ...token, lease_s: LEASE_S }).catch(() => null);
    if (answer?.status === 409) stop.abort(new Error("lost the lease"));
    else if (answer?.body.cancel_requested) stop.abort(new Error("stopped on request"));
  }, (LEASE_S * 1000) / 3);
  try {
    const result = await work(lease.payload, stop.signal);
    await ask("POST", `${job}/complete`, { ...token, result });
  } catch (wrong) {
    console.error(`${lease.job_id}: ${wrong.message}`);
    await ask("POST", `${job}/fail`, { ...token, error: wrong.message, cancelled: stop.signal.aborted }).catch(() => null);
  } finally {
    clearInterval(extender);
  }
}

await ask("PUT", `/api/tasks/${TASK}`, { timeout_s: 300 });
const wanted = { worker: `javascript ${process.pid}`, tasks: [TASK], lease_s: LEASE_S, wait_s: 30 };
for (;;) {
  const answer = await ask("POST", "/api/leases", wanted).catch(() => null);
  if (answer?.status !== 200) await pause(2);
  else for (const lease of answer.body) await run(lease);
}
