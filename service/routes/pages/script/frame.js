// Shows a report in a frame of its own: it runs only its own script, and reaches nothing here.

/** Show a page of the service in a place; answers whether it is there. */
async function showFrame(place, path, title, signal, headers = {}) {
  const response = await ask(path, { headers: { Accept: "text/html", ...headers }, signal });
  const html = await response.text();
  if (signal.aborted) return;
  const frame = make("iframe");
  frame.title = title;
  frame.sandbox = "allow-scripts";
  frame.allow = "clipboard-write"; // for its copy buttons
  frame.srcdoc = html;
  place.replaceChildren(frame);
  place.hidden = false;
}
