// Starts the dashboard: the address selects the page, and polling keeps it up to date. Nothing is stored but the theme
// and, while the tab is open, the token.

import { Refused } from "./api.js";
import { byId, h, render } from "./dom.js";
import { failures } from "./failures.js";
import { age } from "./format.js";
import { hook } from "./hook.js";
import { hooks } from "./hooks.js";
import { job } from "./job.js";
import { jobs } from "./jobs.js";
import { limit } from "./limit.js";
import { limits } from "./limits.js";
import { Live } from "./live.js";
import { say } from "./notice.js";
import { overview } from "./overview.js";
import { queues } from "./queues.js";
import { learnRights, mayChange } from "./rights.js";
import { route } from "./route.js";
import { scheduleForm } from "./schedule-form.js";
import { schedule } from "./schedule.js";
import { schedules } from "./schedules.js";
import { signOut, token } from "./session.js";
import { showSignIn } from "./sign-in.js";
import { submit } from "./submit.js";
import { system } from "./system.js";
import { followTheme } from "./theme.js";
import { workersPage } from "./workers-page.js";

const PAGES = {
  overview, jobs, job, queues, schedules, schedule, "schedule-form": scheduleForm, limits, limit, failures, hooks, hook, workers: workersPage, system,
  submit, missing,
};
const LIST_OF = { job: "jobs", schedule: "schedules", "schedule-form": "schedules", limit: "limits", hook: "hooks" };
const WORDS = { live: "Live", paused: "Paused", away: "Away", starting: "Starting", idle: "Idle" };

let state = "starting";
let counting = null;
let seenAt = null; // when the page's picture was taken
const live = new Live({ onState: showState, refused });

async function show({ isFirst = false } = {}) {
  const where = route();
  const here = location.hash;
  live.stop();
  const root = h("div", { key: location.hash });
  render(byId("main"), root);
  await learnRights();
  if (location.hash !== here) return; // another page was chosen meanwhile
  byId("nav").querySelector("[data-page=submit]").hidden = !mayChange();
  const page = PAGES[where.page](byId("main").firstChild, where, { live });
  document.title = `${page.title} · Jobyard`;
  for (const link of byId("nav").children) {
    if (link.dataset.page === (LIST_OF[where.page] ?? where.page)) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  byId("sign-out").hidden = token() === null;
  if (page.look === null) showState({ state: "idle" });
  else await live.follow((signal) => page.look(signal), { isOnce: page.isOnce === true });
  if (!isFirst) byId("main").querySelector("h1")?.focus({ preventScroll: true });
}

function missing(root) {
  render(root, h("h1", { tabindex: -1 }, "There is no such page"), h("p", {}, h("a", { href: "#/" }, "To the overview")));
  return { title: "No such page", look: null };
}

function refused(fault) {
  const root = byId("main").firstChild;
  if (fault instanceof Refused && fault.status === 401) {
    live.stop();
    showSignIn(root, { words: token() === null ? null : "The token is not valid any more.", then: () => show() });
    signOut();
    byId("sign-out").hidden = true;
    return;
  }
  if (!(fault instanceof Refused)) console.error(fault);
  render(root, h("h1", { tabindex: -1 }, "That does not work"), h("p", { class: "fault", role: "alert" }, fault.message));
}

// Shows the state of polling: always visible, announced to screen readers only when it changes.
function showState(news) {
  if (state === "away" && news.state === "live") say("The service answers again.");
  if (state !== "away" && news.state === "away") say("The service is away.");
  state = news.state;
  byId("live").dataset.state = state;
  seenAt = news.seenAt ?? seenAt;
  showAge();
  clearInterval(counting);
  byId("away").hidden = state !== "away";
  if (state !== "away") return;
  const count = () => {
    const left = Math.max(0, Math.ceil((news.nextAt - Date.now()) / 1000));
    byId("away-words").textContent = `Jobyard is away: ${news.words}. What you see is ${ageWords()}. Trying again in ${left} s.`;
  };
  count();
  counting = setInterval(count, 1000);
}

const OLD_MS = 5000;
const ageWords = () => (seenAt === null ? "not known yet" : `${age((Date.now() - seenAt) / 1000)} old`);

// A picture that is older than usual says so, since the next one may take up to 30 s where answers are slow.
function showAge() {
  byId("live").textContent = state === "live" && Date.now() - seenAt > OLD_MS ? ageWords() : WORDS[state];
}

setInterval(() => document.hidden || showAge(), OLD_MS);
byId("skip").onclick = (event) => {
  event.preventDefault(); // following the link would change the address, which selects the page
  byId("main").focus();
};
byId("try-now").onclick = () => live.now();
byId("sign-out").onclick = () => {
  signOut();
  show();
};
followTheme(byId("theme"));
addEventListener("hashchange", () => show());
show({ isFirst: true });
