// Requests to the service, and its refusals.

/** A refusal by the service, or the lack of an answer. */
class Refusal extends Error {
  constructor(problem, retryAfterS = null) {
    super(problem.detail);
    this.problem = problem;
    this.retryAfterS = retryAfterS;
  }

  get isPassing() {
    const { code, status } = this.problem;
    return code === "unreachable" || status === 429 || status >= 500;
  }
}

function unreachable() {
  return new Refusal({
    code: "unreachable", title: "The service does not answer",
    detail: "Check the connection, and whether the service runs. Jobs go on meanwhile.",
  });
}

/** Read a refusal; a gateway answers in other words than the service. */
function refusalOf(status, text, retryAfter) {
  let problem = null;
  try {
    problem = JSON.parse(text);
  } catch { /* It is not of the service. */ }
  if (!problem?.code || !problem.detail) {
    problem = {
      code: "foreign", status, title: `The answer has status ${status}`,
      detail: "It is not from the service, but from a proxy in between. Try again.",
    };
  }
  return new Refusal(problem, Number(retryAfter) || null);
}

/** Return the address of a path; the service names its prefix, if it has one. */
function addressOf(path) {
  return new URL(path, new URL(byId("app").dataset.base ?? "", document.baseURI));
}

/** Ask the service, with the key if there is one; raises a Refusal unless it succeeds. */
async function ask(path, { headers = {}, ...more } = {}) {
  let response;
  try {
    response = await fetch(addressOf(path), {
      ...more, headers: { ...keyHeaders(), ...headers }, credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
  if (response.ok || response.status === 304) return response;
  throw await refused(response);
}

async function refused(response) {
  const text = await response.text().catch(() => "");
  const refusal = refusalOf(response.status, text, response.headers.get("Retry-After"));
  if (refusal.problem.code === "unauthorized") askForKey(refusal.problem);
  return refusal;
}

async function askForJson(path, more) {
  const response = await ask(path, more);
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw unreachable();
  }
}

/** Ask for a job with bytes that the service has, or fetches again; answers the job. */
function submit(verb, input, options) {
  const { filename, source = null } = input;
  return askForJson(verb, {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: "respond-async" },
    body: JSON.stringify({ source: source ?? `sha256:${input.sha256}`, filename, options }),
  });
}

/** Show a problem in words, with a button to try again if that may help. */
function showProblem(place, problem, retry = null) {
  place.replaceChildren();
  place.hidden = !problem;
  if (!problem) return;
  const title = make("h3", problem.title ?? "It failed");
  const detail = make("p", String(problem.detail ?? ""));
  place.append(title, detail);
  if (problem.request_id && problem.status >= 500) {
    place.append(make("p", "In the log of the service: request ", make("code",
      problem.request_id), "."));
  }
  if (retry) place.append(button("Try again", retry));
}

function problemOf(error) {
  if (error instanceof Refusal) return error.problem;
  console.error(error);
  return { title: "The page has a fault", detail: `${error}. Load it again.` };
}
