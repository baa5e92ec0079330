// Takes files and folders: dropped anywhere on the page, or chosen by the buttons.

/** A checkpoint to upload: its name and its bytes. */
function ofFile(file) {
  return { name: file.name, blob: file };
}

function ofFolder(name, members) {
  return { name: `${name}.tar`, blob: packed(members), count: members.length };
}

/** Group the files of a chosen folder; each path begins with the folder's name. */
function ofChosenFolder(files) {
  const members = files.map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  const name = members[0].path.split("/")[0];
  return ofFolder(name, members);
}

/** Return what was dropped. The entries must be taken before anything is awaited. */
async function ofDropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file")
    .map((item) => [item.webkitGetAsEntry?.(), item.getAsFile()]);
  const found = [];
  for (const [entry, file] of entries) {
    if (!entry?.isDirectory) {
      if (file) found.push(ofFile(file));
      continue;
    }
    const members = [];
    await walk(entry, entry.name, members);
    if (members.length === 0) throw new Error(`The folder ${entry.name} is empty.`);
    found.push(ofFolder(entry.name, members));
  }
  return found;
}

async function walk(folder, path, members) {
  const reader = folder.createReader();
  for (;;) {
    // A reader returns a part of the entries at a time, and at last none.
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (entries.length === 0) return;
    for (const entry of entries) {
      const inner = `${path}/${entry.name}`;
      if (entry.isDirectory) {
        await walk(entry, inner, members);
      } else {
        const file = await new Promise((done, fail) => entry.file(done, fail));
        members.push({ path: inner, file });
      }
    }
  }
}

function installChoosing(onChosen) {
  const zone = byId("drop");
  for (const [buttonId, inputId, read] of [
    ["choose-files", "files", (files) => files.map(ofFile)],
    ["choose-folder", "folder", (files) => [ofChosenFolder(files)]],
  ]) {
    const input = byId(inputId);
    byId(buttonId).addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      const files = [...input.files];
      if (files.length > 0) onChosen(read(files));
      input.value = ""; // so that the same file can be chosen again
    });
  }
  const isOfFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!isOfFiles(event)) return;
    event.preventDefault();
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", async (event) => {
    if (!isOfFiles(event)) return;
    event.preventDefault();
    zone.classList.remove("over");
    try {
      showProblem(byId("drop-problem"), null);
      onChosen(await ofDropped(event.dataTransfer));
    } catch (error) {
      showProblem(byId("drop-problem"), {
        title: "This cannot be read", detail: `${error.message} Choose it by the button.`,
      });
    }
  });
}
