// The key. It is kept in the session storage, so that a reload goes on and closing the tab forgets
// it; where that is switched off it is kept in memory.

const KEY_NAME = "convlast-key";
let keyInMemory = "";

function currentKey() {
  try {
    return sessionStorage.getItem(KEY_NAME) ?? keyInMemory;
  } catch {
    return keyInMemory;
  }
}

function keepKey(key) {
  keyInMemory = key;
  try {
    if (key) sessionStorage.setItem(KEY_NAME, key);
    else sessionStorage.removeItem(KEY_NAME);
  } catch { /* Memory has it. */ }
  byId("forget-key").hidden = !key;
}

function keyHeaders() {
  const key = currentKey();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Show the form for the key, and why it is needed. */
function askForKey(problem) {
  const section = byId("key-section");
  const isNew = section.hidden;
  section.hidden = false;
  setText(byId("key-problem"), problem.detail);
  if (isNew) byId("key").focus();
}

function installKey(onKey) {
  const field = byId("key");
  byId("forget-key").hidden = !currentKey();
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const key = field.value.trim();
    // Anything else cannot be sent in a header.
    const isKey = /^[\x21-\x7e]+$/.test(key);
    field.ariaInvalid = String(!isKey);
    if (!isKey) {
      setText(byId("key-problem"), "A key has letters, digits and signs of ASCII, and no spaces.");
      field.focus();
      return;
    }
    keepKey(key);
    field.value = "";
    byId("key-section").hidden = true;
    byId("page-title").focus();
    onKey();
  });
  byId("forget-key").addEventListener("click", () => {
    keepKey("");
    // What was read with the key goes too.
    location.hash = "";
    location.reload();
  });
}
