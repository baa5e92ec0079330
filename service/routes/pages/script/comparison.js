// Two finished conversions, side by side: what changed from the older to the newer one.

const chosenToCompare = new Set();

function canBeCompared(job) {
  return job.verb === "convert" && Boolean(job.links.html);
}

function compareBox(job) {
  const box = make("input");
  box.type = "checkbox";
  box.checked = chosenToCompare.has(job.id);
  box.ariaLabel = `Compare the conversion of ${job.input.filename}`;
  box.addEventListener("change", () => {
    if (box.checked) chosenToCompare.add(job.id);
    else chosenToCompare.delete(job.id);
    updateCompare();
  });
  return make("label", box, " Compare");
}

function updateCompare() {
  for (const id of chosenToCompare) if (!known.has(id)) chosenToCompare.delete(id);
  const comparable = [...known.values()].filter(canBeCompared).length;
  byId("compare-field").hidden = comparable < 2;
  byId("compare").disabled = chosenToCompare.size !== 2;
  setText(byId("compare-help"), chosenToCompare.size === 2 ? ""
    : `Choose two conversions to compare; ${chosenToCompare.size} chosen.`);
}

async function showComparison(ids) {
  const stop = new AbortController();
  const mine = { id: null, stop };
  opened = mine;
  const [section, problem, place] = ["comparison-section", "comparison-problem", "comparison"]
    .map(byId);
  section.hidden = false;
  place.replaceChildren();
  showProblem(problem, null);
  byId("comparison-title").focus();
  const path = `jobs/${ids[0]}/comparison?with=${encodeURIComponent(ids[1])}`;
  try {
    await showFrame(place, path, "Comparison of two reports", stop.signal);
  } catch (error) {
    if (opened !== mine || stop.signal.aborted) return;
    showProblem(problem, problemOf(error), () => showComparison(ids));
  }
}

function installComparison() {
  byId("compare").addEventListener("click", () => {
    const ids = [...chosenToCompare].map((id) => known.get(id))
      .sort((a, b) => (a.created_at < b.created_at ? -1 : 1)).map((job) => job.id);
    const hash = `#compare=${ids.join(",")}`;
    if (location.hash === hash) showAddressed();
    else location.hash = hash;
  });
}
