// Uploads, one after the other. Each becomes an inspection, which keeps the bytes: a conversion
// names them by their digest.

const uploads = [];
let runningUpload = null;

/** An upload and its row. */
class Upload {
  constructor({ name, blob, count = 0 }) {
    this.name = name;
    this.blob = blob;
    this.request = null;
    this.refusal = null;
    const files = count ? `, ${counted(count, "file")}` : "";
    this.status = make("p", "Waits for its turn.");
    this.bar = make("progress");
    this.bar.ariaLabel = `Upload of ${name}`;
    this.bar.max = 1;
    this.bar.value = 0;
    this.problem = make("div");
    this.problem.className = "problem";
    this.problem.role = "alert";
    this.problem.hidden = true;
    const cancel = button("Cancel", () => this.dismiss(), name);
    const head = make("p", named(name), ` (${sizeInWords(blob.size)}${files})`);
    this.row = make("li", head, this.bar, this.status, this.problem, cancel);
  }

  /** Send the file; answers the job of its inspection. */
  send() {
    return new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      this.request = request;
      const address = addressOf("inspect");
      address.searchParams.set("filename", this.name);
      request.open("POST", address);
      const headers = {
        ...keyHeaders(), "Content-Type": "application/octet-stream", Prefer: "respond-async",
      };
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.upload.addEventListener("progress", (event) => this.advance(event.loaded));
      request.addEventListener("load", () => {
        if (request.status === 202) {
          done(JSON.parse(request.responseText));
          return;
        }
        const retryAfter = request.getResponseHeader("Retry-After");
        const refusal = refusalOf(request.status, request.responseText, retryAfter);
        if (refusal.problem.code === "unauthorized") askForKey(refusal.problem);
        fail(refusal);
      });
      request.addEventListener("error", () => fail(new Refusal({
        code: "unreachable", title: "The upload was cut",
        detail: "The service does not answer, or the file was changed meanwhile.",
      })));
      request.addEventListener("abort", () => fail(null));
      request.send(this.blob);
    });
  }

  advance(sentBytes) {
    const share = this.blob.size ? sentBytes / this.blob.size : 1;
    this.bar.value = share;
    const [sent, all] = [sentBytes, this.blob.size].map(sizeInWords);
    setText(this.status, share < 1 ? `Uploading: ${sent} of ${all}.` : "Uploaded.");
  }

  fail(refusal) {
    this.refusal = refusal;
    this.bar.hidden = true;
    setText(this.status, "");
    showProblem(this.problem, problemOf(refusal), () => this.retry());
  }

  retry() {
    this.refusal = null;
    this.bar.hidden = false;
    this.bar.value = 0;
    setText(this.status, "Waits for its turn.");
    showProblem(this.problem, null);
    sendNext();
  }

  /** Stop the upload, and remove its row. */
  dismiss() {
    this.request?.abort();
    uploads.splice(uploads.indexOf(this), 1);
    const hadFocus = this.row.contains(document.activeElement);
    this.row.remove();
    byId("uploads").hidden = uploads.length === 0;
    if (hadFocus) byId("choose-files").focus();
  }
}

/** Take checkpoints to upload; the first one that arrives is shown. */
function upload(chosen) {
  for (const each of chosen) {
    const taken = new Upload(each);
    uploads.push(taken);
    byId("uploads").append(taken.row);
  }
  byId("uploads").hidden = uploads.length === 0;
  setText(byId("news"), `${counted(chosen.length, "upload")} began.`);
  uploads.isFirst = !runningUpload;
  sendNext();
}

async function sendNext() {
  const next = uploads.find((each) => !each.refusal);
  if (runningUpload || !next) return;
  runningUpload = next;
  try {
    const job = await next.send();
    next.dismiss();
    takeJobs([job]);
    refreshIn(1_000);
    if (uploads.isFirst) openJob(job.id);
    uploads.isFirst = false;
  } catch (refusal) {
    if (refusal) next.fail(refusal);
  } finally {
    runningUpload = null;
    sendNext();
  }
}

/** Begin again the uploads that were refused for want of a key. */
function retryUnauthorized() {
  for (const each of uploads) {
    if (each.refusal?.problem?.code === "unauthorized") each.retry();
  }
}

function installUploads() {
  window.addEventListener("beforeunload", (event) => {
    if (runningUpload) event.preventDefault(); // an upload cannot go on after a reload
  });
}
