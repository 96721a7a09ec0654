// The actions on a job's page: cancel it, make it due now, retry it, run or edit and submit it again, delete it, copy it as a curl command.

import { ask, post, Refused } from "./api.js";
import { act, button, strong } from "./buttons.js";
import { confirm, copy } from "./dialog.js";
import { h } from "./dom.js";
import { say } from "./notice.js";
import { fieldsOf } from "./resubmission.js";
import { mayChange } from "./rights.js";
import { address } from "./route.js";
import { token } from "./session.js";
import { CAN_RETRY, ENDED } from "./status.js";

const HOOKS = "webhook"; // its jobs are made by hooks only

export function actions(job, live) {
  return h("div", { class: "buttons" },
    !ENDED.includes(job.status) && button("Cancel", () => cancel(job, live)),
    job.status === "pending" && new Date(job.scheduled_at) > new Date() && button("Run now", () => change(job, "run", live)),
    CAN_RETRY.includes(job.status) && strong("Retry", () => change(job, "retry", live)),
    job.task !== HOOKS && ENDED.includes(job.status) && button("Run again", () => runAgain(job, live)),
    job.task !== HOOKS && mayChange() && h("a", { key: "edit", class: "button", href: address("submit", { from: job.job_id }) }, "Edit and resubmit"),
    ENDED.includes(job.status) && button("Delete", () => remove(job, live)),
    h("button", { key: "curl", type: "button", onclick: () => copyCurl(job) }, "Copy as curl"));
}

async function cancel(job, live) {
  const words = job.status === "running" ? "Its task is asked to stop, and is killed if it does not." : "It will not run.";
  if (await confirm("Cancel this job?", words, "Cancel the job")) await change(job, "cancel", live);
}

async function change(job, verb, live) {
  try {
    const after = await post(`/api/jobs/${job.job_id}/${verb}`);
    say(after.status === "running" ? "The task is asked to stop." : `The job is ${after.status} now.`);
  } catch (fault) {
    say(fault instanceof Refused ? fault.message : `Nothing is known to have changed: ${fault.message}.`);
  }
  await live.now();
}

// A new job with the same fields; this one stays as it is.
async function runAgain(job, live) {
  const made = await act(() => post("/api/jobs", JSON.stringify(fieldsOf(job))), "It runs again, as this new job.", live);
  if (made !== null) location.hash = address(`jobs/${made.job_id}`);
}

async function remove(job, live) {
  if (!(await confirm("Delete this job?", "Its attempts and their output go, too.", "Delete the job"))) return;
  try {
    await ask("DELETE", `/api/jobs/${job.job_id}`);
    say("The job is deleted.");
    location.hash = address("jobs");
  } catch (fault) {
    say(fault instanceof Refused ? fault.message : `Nothing is known to have changed: ${fault.message}.`);
    await live.now();
  }
}

async function copyCurl(job) {
  if (await copy(curl(job))) say("Copied: a command that submits the same job.");
}

export function curl(job) {
  const body = JSON.stringify(fieldsOf(job));
  const sign = token() === null ? "" : ' -H "Authorization: Bearer $API_TOKEN"';
  return `curl -X POST ${location.origin}/api/jobs${sign} -H 'Content-Type: application/json' -d '${body.replaceAll("'", "'\\''")}'`;
}
