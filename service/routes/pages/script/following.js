// Follows a job to its end: by server-sent events, read by `fetch` so that the key can be sent; by
// long polls where events do not arrive.

const FINISHED = new Set(["succeeded", "failed", "cancelled"]);
const MOST_CUTS = 2; // streams without an event, after which the page polls
const SILENCE_MS = 45_000; // the service sends a comment every 15 s
const POLL_S = 4; // shorter than the idle timeout of most gateways
const LONGEST_PAUSE_MS = 10_000;

function pause(ms, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    }, { once: true });
  });
}

/**
 * Tell each status of a job until it has ended; goes on when the service was away.
 * @param {(job: object) => void} onStatus
 * @param {(trouble: string) => void} onTrouble called with what is wrong, and "" when it is over
 */
async function follow(id, onStatus, onTrouble, signal) {
  let [seen, cuts, failures] = [null, 0, 0];
  const take = (job) => {
    if (seen?.progress.seq === job.progress.seq) return;
    [seen, cuts, failures] = [job, 0, 0];
    onStatus(job);
  };
  while (!signal.aborted) {
    try {
      if (seen && cuts < MOST_CUTS) {
        cuts += 1;
        await readEvents(id, seen, take, signal);
      } else {
        await poll(id, seen, take, signal);
        failures = 0;
      }
      onTrouble("");
    } catch (error) {
      if (signal.aborted) return;
      // A stream that is cut is not told: the next request may succeed.
      if (error instanceof Refusal) {
        if (!error.isPassing) throw error;
        onTrouble(`${error.problem.title}. Trying again.`);
      }
      failures += 1;
    }
    if (seen && FINISHED.has(seen.state)) return;
    await pause(Math.min(250 * 2 ** failures, LONGEST_PAUSE_MS), signal).catch(() => {});
  }
}

async function poll(id, seen, take, signal) {
  const headers = seen ? { "If-None-Match": `"${seen.progress.seq}"` } : {};
  const wait = seen ? `?wait=${POLL_S}` : "";
  const response = await ask(`jobs/${id}${wait}`, { headers, signal });
  if (response.status === 200) take(await response.json());
}

async function readEvents(id, seen, take, signal) {
  const silence = new AbortController();
  const response = await ask(`jobs/${id}/events`, {
    headers: { Accept: "text/event-stream", "Last-Event-ID": String(seen.progress.seq) },
    signal: AbortSignal.any([signal, silence.signal]),
  });
  if (response.status === 204) {
    await poll(id, null, take, signal); // it has ended, or the service is about to
    return;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ""; ;) {
    const timer = setTimeout(() => silence.abort(), SILENCE_MS);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length) take(JSON.parse(data.map((line) => line.slice(5)).join("\n")));
    }
  }
}
