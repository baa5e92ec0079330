// The list of jobs, the newest first. It is read again while one of them goes on.

const PAGE = 20;
const LARGEST_PAGE = 200; // of the service
const known = new Map(); // jobs by id
const rows = new Map(); // their rows
let olderPath = null;
let refreshTimer = null;

/** Read the newest jobs again; those that are gone from the list are forgotten. */
async function refreshJobs() {
  clearTimeout(refreshTimer);
  const before = [...known.values()]; // others come while the answer is on its way
  const limit = Math.min(Math.max(known.size, PAGE), LARGEST_PAGE);
  try {
    const page = await askForJson(`jobs?limit=${limit}`);
    const oldest = page.next ? page.jobs.at(-1)?.created_at ?? "" : "";
    if (before.every((job) => job.created_at >= oldest)) olderPath = page.next;
    for (const job of before) if (job.created_at >= oldest) known.delete(job.id);
    takeJobs(page.jobs);
    setText(byId("jobs-trouble"), "");
  } catch (error) {
    if (error.problem?.code === "unauthorized") return; // goes on with a key
    setText(byId("jobs-trouble"), `${problemOf(error).title}. Trying again.`);
  }
  const isGoingOn = [...known.values()].some((job) => !FINISHED.has(job.state));
  refreshIn(isGoingOn ? 2_000 : 15_000);
}

function refreshIn(ms) {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(refreshJobs, ms);
}

async function showOlder() {
  try {
    const page = await askForJson(olderPath);
    olderPath = page.next;
    takeJobs(page.jobs);
    if (!olderPath) rows.get(page.jobs[0]?.id)?.open.focus();
  } catch (error) {
    setText(byId("jobs-trouble"), problemOf(error).title);
  }
}

/** Take what was read of jobs, and show the list. */
function takeJobs(jobs) {
  for (const job of jobs) {
    const before = known.get(job.id);
    // Answers can overtake each other. A job that is run anew has begun later, and counts anew.
    const isNews = !before || before.created_at < job.created_at
      || before.progress.seq <= job.progress.seq;
    if (isNews) known.set(job.id, job);
  }
  for (const [id, row] of rows) {
    if (known.has(id)) continue;
    row.element.remove();
    rows.delete(id);
  }
  const newestFirst = [...known.values()].sort((a, b) => (a.created_at < b.created_at ? 1 : -1));
  const list = byId("jobs");
  newestFirst.forEach((job, index) => {
    const row = rows.get(job.id) ?? newRow(job);
    updateRow(row, job);
    if (list.children[index] !== row.element) list.insertBefore(row.element, list.children[index]);
  });
  byId("no-jobs").hidden = known.size > 0;
  byId("older").hidden = !olderPath;
  updateCompare();
}

function newRow(job) {
  const open = make("a", `${VERBS[job.verb]} of `, named(job.input.filename));
  open.href = `#job=${job.id}`;
  open.addEventListener("click", (event) => {
    event.preventDefault();
    openJob(job.id, { focus: true });
  });
  const [state, actions, facts] = [make("span"), make("span"), make("span")];
  facts.className = "quiet facts";
  facts.append(timeElement(job.created_at), `, ${sizeInWords(job.input.bytes)}`);
  actions.className = "actions";
  const element = make("li", open, facts, state, actions);
  const row = { element, open, state, actions, shown: "" };
  rows.set(job.id, row);
  return row;
}

function updateRow(row, job) {
  const isOver = FINISHED.has(job.state);
  const [label, tone] = stateOf(job);
  setText(row.state, label);
  row.state.className = `tag ${tone}`;
  const isOpen = opened?.id === job.id;
  row.open.ariaCurrent = isOpen ? "true" : null;
  const shown = `${isOver} ${canBeCompared(job)}`;
  if (row.shown === shown) return;
  row.shown = shown;
  const hadFocus = row.actions.contains(document.activeElement);
  const subject = `${VERBS[job.verb].toLowerCase()} of ${job.input.filename}`;
  const change = isOver ? button("Remove", () => removeJob(job), subject)
    : button("Cancel", () => cancelJob(job), subject);
  row.actions.replaceChildren(...(canBeCompared(job) ? [compareBox(job)] : []), change);
  if (hadFocus) change.focus();
}

function stateOf(job) {
  if (job.state === "failed") return [job.problem?.title ?? "Failed", "bad"];
  if (job.state === "succeeded" && job.verb === "convert") return VERDICTS[job.verdict];
  const share = shareOf(job);
  const percent = share === null ? "" : `, ${Math.round(share * 100)} %`;
  return [`${STATES[job.state]}${percent}`, job.state === "running" ? "running" : "unknown"];
}

/** Mark the row of the job that is looked at. */
function markOpened(id) {
  for (const [other, row] of rows) row.open.ariaCurrent = other === id ? "true" : null;
}

/** Return the inspected files, beside that of a job, that no conversion is there of. */
function unconverted(job) {
  const jobs = [...known.values()];
  const done = new Set(jobs.filter((each) => each.verb === "convert")
    .map((each) => each.input.sha256));
  done.add(job.input.sha256);
  return jobs.filter((each) => {
    const isOther = each.verb === "inspect" && each.state === "succeeded"
      && !done.has(each.input.sha256);
    if (isOther) done.add(each.input.sha256);
    return isOther;
  });
}

async function cancelJob(job) {
  await change(job, async () => {
    const response = await ask(`jobs/${job.id}`, { method: "DELETE" });
    if (response.status === 200) takeJobs([await response.json()]);
    else forgetJob(job);
  });
}

async function removeJob(job) {
  const { filename } = job.input;
  if (!window.confirm(`Remove the job of ${filename.slice(0, 200)}, and its files?`)) return;
  await change(job, async () => {
    await ask(`jobs/${job.id}`, { method: "DELETE" });
    forgetJob(job);
  });
}

/** Change a job on the service, and tell if that failed. */
async function change(job, request) {
  try {
    await request();
  } catch (error) {
    if (["gone", "not-found"].includes(error.problem?.code)) forgetJob(job);
    else setText(byId("jobs-trouble"), `${problemOf(error).title}: ${problemOf(error).detail}`);
  }
  refreshJobs();
}

/** Drop a job from the list, and move the focus from its row to the next one. */
function forgetJob(job) {
  const row = rows.get(job.id);
  const hadFocus = row?.element.contains(document.activeElement);
  const next = row?.element.nextElementSibling?.querySelector("a");
  known.delete(job.id);
  takeJobs([]);
  if (opened?.id === job.id) location.hash = "";
  if (hadFocus) (next ?? byId("jobs-title")).focus();
}
