// How values are told in words. All text goes into the page by `textContent`.

"use strict";

const STAGES = {
  queue: "Waiting", read: "Reading the checkpoint", choose: "Choosing the layers",
  write: "Writing the artifact", prove: "Proving the artifact", smoke: "Running it in fp16",
  survival: "Trying the ways of loading it", digest: "Hashing the checkpoint",
  compare: "Comparing the files", files: "Working through the files", end: "Finishing",
};
const STATES = {
  queued: "waiting", running: "running", succeeded: "done", failed: "failed",
  cancelled: "cancelled",
};
const VERDICTS = {
  passed: ["Passed", "good"],
  passed_with_findings: ["Passed with findings", "caution"],
  failed: ["Failed", "bad"],
};
const VERBS = { convert: "Conversion", inspect: "Inspection" };
const STATUSES = {
  convertible: "would be converted", converted: "converted", already: "already so",
  kept: "not selected", skipped: "skipped",
};

function sizeInWords(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  for (const unit of ["kB", "MB", "GB"]) {
    value /= 1000;
    if (value < 999.5) return `${digits(value)} ${unit}`;
  }
  return `${digits(value / 1000)} TB`;
}

function digits(value) {
  return value < 99.95 ? value.toPrecision(3) : String(Math.round(value));
}

function durationInWords(seconds) {
  return seconds < 1 ? `${digits(seconds * 1000)} ms` : `${digits(seconds)} s`;
}

/** Say about how long something will take. */
function secondsInWords(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  return `${Math.round(seconds / 60)} min`;
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/** Say how far a job is; a share is told only where the stage has a length. */
function progressInWords(job) {
  if (job.state === "queued") {
    const place = job.place ? `, place ${job.place} in the queue` : "";
    const wait = job.wait_s ? `, about ${secondsInWords(job.wait_s)}` : "";
    return `Waiting${place}${wait}.`;
  }
  if (job.state !== "running") return endInWords(job);
  const { stage, done, total, unit, remaining_s: remaining } = job.progress;
  let share = "";
  if (total > 1) {
    share = unit === "bytes" ? `: ${sizeInWords(done)} of ${sizeInWords(total)}`
      : `: ${done} of ${total}`;
  }
  const left = remaining ? `, about ${secondsInWords(remaining)} left` : "";
  return `${STAGES[stage] ?? stage}${share}${left}.`;
}

/** Say how a job has ended, how long it took, and until when its files are kept. */
function endInWords(job) {
  if (job.state === "cancelled") return "Cancelled; its checkpoint was removed.";
  const whole = job.verb === "inspect" ? "Inspected" : "Converted";
  const done = job.state === "failed" ? "Failed" : whole;
  const spent = (Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000;
  const took = spent >= 0 ? ` in ${durationInWords(spent)}` : "";
  const device = job.verb === "convert" && job.device ? ` on ${job.device}` : "";
  const kept = job.expires_at ? ` Kept until ${timeInWords(job.expires_at)}.` : "";
  return `${done}${took}${device}.${kept}`;
}

/** Return the share of a stage that is done; null if it cannot be told. */
function shareOf(job) {
  const { done, total } = job.progress;
  return job.state === "running" && total > 1 ? Math.min(done / total, 1) : null;
}

function timeInWords(iso) {
  return new Date(iso).toLocaleString("en-GB", {
    day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
  });
}

function timeElement(iso) {
  const element = make("time", timeInWords(iso));
  element.dateTime = iso;
  return element;
}

/** Make an element; strings become text. */
function make(name, ...content) {
  const element = document.createElement(name);
  element.append(...content);
  return element;
}

/** Make an element for a name from a file, so that its direction of writing stays inside. */
function named(text) {
  const element = make("bdi", text);
  element.className = text.length > 80 ? "name long" : "name";
  element.title = text;
  return element;
}

function button(label, action, subject = "") {
  const element = make("button", label);
  element.type = "button";
  if (subject) element.ariaLabel = `${label}: ${subject}`;
  element.addEventListener("click", action);
  return element;
}

/** Set a text only if it is another one, so that nothing is read out twice. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function byId(id) {
  return document.getElementById(id);
}
