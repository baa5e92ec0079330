// The form of the options. A field that is left alone is not sent: the service has the defaults.

function chosenOptions() {
  const options = {};
  for (const field of optionFields()) {
    const value = field.value.trim();
    if (value) options[field.name] = value;
  }
  return options;
}

function optionFields() {
  return byId("options-form").querySelectorAll("select[name], input[name]");
}

/** Fill the form with the options of a job. */
function fillOptions(options) {
  for (const field of optionFields()) {
    const value = options[field.name];
    field.value = value == null ? "" : optionText(value);
    field.removeAttribute("aria-invalid");
  }
}

/** Write an option as the service reads it. */
function optionText(value) {
  if (Array.isArray(value)) return value.join(",");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Show why the options were refused, at the field that is at fault. */
function showOptionProblem(problem) {
  showProblem(byId("options-problem"), problem);
  for (const field of optionFields()) {
    const isBad = problem?.option === field.name;
    field.ariaInvalid = isBad ? "true" : null;
    if (!isBad) continue;
    field.closest("details")?.setAttribute("open", "");
    field.focus();
  }
}

/** Convert the bytes of a job, and those of others too if that is wanted. */
async function convert(job, others) {
  const options = chosenOptions();
  const sending = byId("convert");
  sending.disabled = true;
  try {
    showOptionProblem(null);
    const begun = await submit("convert", job.input, options);
    takeJobs([begun]);
    openJob(begun.id, { focus: true });
    for (const other of others) takeJobs([await submit("convert", other.input, options)]);
    refreshIn(1_000);
  } catch (error) {
    showOptionProblem(problemOf(error));
  } finally {
    sending.disabled = false;
  }
}
