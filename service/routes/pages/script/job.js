// The job that is looked at; its id is in the address, so that a reload goes on with it.

const DOWNLOADS = [
  ["artifact", "Artifact"], ["html", "Report (HTML)"], ["report", "Report (JSON)"],
  ["markdown", "Report (Markdown)"], ["provenance", "Statement"], ["archive", "All as a zip"],
];
let opened = null; // {id, job, stop, hasReport}

function openJob(id, { focus = false } = {}) {
  const hash = `#job=${id}`;
  if (location.hash === hash) showJob(id, focus);
  else {
    openJob.focus = focus;
    location.hash = hash; // goes on in `showAddressed`
  }
}

/** Show the job or the comparison that the address names. */
function showAddressed() {
  const asked = new URLSearchParams(location.hash.slice(1));
  closeShown();
  const ids = (asked.get("compare") ?? "").split(",");
  if (ids.length === 2) showComparison(ids);
  else if (asked.get("job")) showJob(asked.get("job"), openJob.focus ?? false);
  openJob.focus = false;
}

function closeShown() {
  opened?.stop.abort();
  opened = null;
  for (const id of ["job-section", "comparison-section"]) byId(id).hidden = true;
  document.title = byId("page-title").textContent;
  markOpened(null);
}

async function showJob(id, focus) {
  opened?.stop.abort();
  const stop = new AbortController();
  const mine = { id, job: null, stop, hasReport: false };
  opened = mine;
  clearJob();
  byId("job-section").hidden = false;
  markOpened(id);
  if (focus) byId("job-title").focus();
  try {
    await follow(id, (job) => updateJob(mine, job), (trouble) => {
      if (opened === mine) setText(byId("job-trouble"), trouble);
    }, stop.signal);
  } catch (error) {
    if (opened !== mine) return;
    setText(byId("job-state"), "");
    showProblem(byId("job-problem"), problemOf(error), () => showJob(id, false));
  }
}

function clearJob() {
  byId("job-title").replaceChildren("Job");
  setText(byId("job-state"), "");
  setText(byId("job-trouble"), "");
  for (const id of ["job-problem", "options-problem"]) showProblem(byId(id), null);
  for (const id of ["job-progress", "options-box", "job-report", "job-actions", "job-verdict"]) {
    byId(id).hidden = true;
  }
  for (const id of ["job-report", "job-actions", "job-summary", "job-verdict"]) {
    byId(id).replaceChildren();
  }
}

function updateJob(mine, job) {
  if (opened !== mine) return;
  const isFirst = !mine.job;
  mine.job = job;
  takeJobs([job]);
  if (isFirst) showTitle(job);
  showProgress(job);
  showActions(job);
  if (FINISHED.has(job.state)) showEnd(mine, job);
}

function showTitle(job) {
  byId("job-title").replaceChildren(`${VERBS[job.verb]} of `, named(job.input.filename));
}

function showProgress(job) {
  const bar = byId("job-progress");
  const share = shareOf(job);
  bar.hidden = FINISHED.has(job.state);
  if (share === null) bar.removeAttribute("value");
  else bar.value = share;
  setText(byId("job-state"), progressInWords(job));
  announceStage(job);
  const percent = share === null ? STATES[job.state] : `${Math.round(share * 100)} %`;
  document.title = `${percent}, ${job.input.filename} – convlast`;
}

/** Read out each stage once: the state beside the bar changes too often for that. */
function announceStage(job) {
  const stage = job.state === "running" ? STAGES[job.progress.stage] : STATES[job.state];
  setText(byId("news"), `${VERBS[job.verb]}: ${stage}`);
}

function showActions(job) {
  const place = byId("job-actions");
  const isOver = FINISHED.has(job.state);
  const wanted = `${job.state} ${Object.keys(job.links)}`;
  if (place.dataset.shown === wanted && !place.hidden) return;
  place.dataset.shown = wanted;
  const subject = job.input.filename;
  const actions = isOver ? [button("Remove", () => removeJob(job), subject)]
    : [button("Cancel", () => cancelJob(job), subject)];
  const links = isOver ? DOWNLOADS.filter(([name]) => job.links[name]) : [];
  const hadFocus = place.contains(document.activeElement);
  place.replaceChildren(
    ...links.map(([name, label]) => downloadLink(job, name, label)), ...actions,
  );
  place.hidden = false;
  if (hadFocus) byId("job-title").focus();
}

/** A plain link, which the browser saves as it comes; with a key the page has to fetch it. */
function downloadLink(job, name, label) {
  const link = make("a", label);
  link.className = name === "artifact" ? "button main" : "button";
  link.href = addressOf(job.links[name]);
  link.download = downloadName(job, name);
  link.addEventListener("click", (event) => {
    if (!currentKey()) return;
    event.preventDefault();
    downloadWithKey(job, name, link.download);
  });
  return link;
}

function downloadName(job, name) {
  const ending = {
    html: "report.html", report: "report.json", markdown: "report.md",
    provenance: "provenance.json",
  }[name];
  return ending ? `${job.input.filename}.${ending}` : "";
}

/**
 * A link cannot send a key, so the answer becomes a Blob. The browser keeps a large one on disk,
 * and it is let go as soon as it is saved.
 */
async function downloadWithKey(job, name, wantedName) {
  try {
    setText(byId("job-trouble"), "Fetching the file with the key.");
    const response = await ask(job.links[name]);
    const disposition = response.headers.get("Content-Disposition") ?? "";
    const link = make("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = wantedName || nameIn(disposition) || "convlast";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    setText(byId("job-trouble"), "");
  } catch (error) {
    setText(byId("job-trouble"), "");
    const { title, detail } = problemOf(error instanceof Refusal ? error : unreachable());
    showProblem(byId("job-problem"), { title, detail });
  }
}

function nameIn(disposition) {
  const encoded = /filename\*=UTF-8''([^;]+)/.exec(disposition);
  if (encoded) return decodeURIComponent(encoded[1]);
  return /filename="([^"]*)"/.exec(disposition)?.[1];
}

async function showEnd(mine, job) {
  if (mine.hasReport) return;
  mine.hasReport = true;
  if (job.verdict && job.verb === "convert") showVerdict(job);
  if (job.state === "failed") {
    const { verb, input, options } = job;
    const again = async () => {
      try {
        openJob((await submit(verb, input, options)).id, { focus: true });
        refreshJobs();
      } catch (error) {
        showProblem(byId("job-problem"), problemOf(error));
      }
    };
    // The same request runs anew only if the system was at fault, and not the file.
    showProblem(byId("job-problem"), job.problem, job.problem.status >= 500 ? again : null);
  }
  if (job.verb === "convert" ? job.state !== "cancelled" : job.state === "succeeded") {
    showOptions(job);
  }
  try {
    const { signal } = mine.stop;
    if (job.verb === "inspect" && job.links.report) await showSummary(job, signal);
    const title = `Report on ${job.input.filename}`;
    if (job.links.html) await showFrame(byId("job-report"), job.links.html, title, signal);
  } catch (error) {
    if (opened !== mine || mine.stop.signal.aborted) return;
    showProblem(byId("job-problem"), problemOf(error), () => showJob(job.id, false));
  }
}

function showVerdict(job) {
  const [label, tone] = VERDICTS[job.verdict];
  const verdict = byId("job-verdict");
  verdict.textContent = label;
  verdict.className = tone;
  verdict.hidden = false;
}

/** Say what would be converted, as the report of an inspection counts it. */
async function showSummary(job, signal) {
  const { layers } = await askForJson(job.links.report, {
    headers: { Accept: "application/json" }, signal,
  });
  const counts = new Map();
  for (const { status } of layers) counts.set(status, (counts.get(status) ?? 0) + 1);
  const said = [...counts].map(([status, count]) => `${count} ${STATUSES[status] ?? status}`);
  const text = layers.length ? `${counted(layers.length, "layer")}: ${said.join(", ")}.`
    : "It has no layers of a 3-D convolution.";
  setText(byId("job-summary"), text);
}

function showOptions(job) {
  const others = job.verb === "inspect" ? unconverted(job) : [];
  fillOptions(job.options);
  byId("options-box").hidden = false;
  byId("options-box").open = job.verb === "inspect" || job.state === "failed";
  setText(byId("options-title"), job.verb === "inspect" ? "Convert it" : "Convert it again");
  byId("others-field").hidden = others.length === 0;
  byId("others").checked = false;
  setText(byId("others-label"),
    `Also convert ${counted(others.length, "other inspected file")} with these options`);
}

function installJob() {
  byId("options-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const { job } = opened;
    convert(job, byId("others").checked ? unconverted(job) : []);
  });
  window.addEventListener("hashchange", showAddressed);
}
