"""What is said of the files of a model folder."""

from __future__ import annotations

from convlast.report.codes.kind import FindingKind

_MENDED = "Convert the checkpoint anew."
_FETCH = "Fetch the file itself, and convert again."

FINDINGS = {
    "file-added": FindingKind(
        "error", "A file is only in the converted folder.", _MENDED, "files were added"
    ),
    "file-missing": FindingKind(
        "error", "A file is missing in the converted folder.", _MENDED, "files are missing"
    ),
    "file-changed": FindingKind(
        "error", "A file that should have been copied was changed.", _MENDED, "files were changed"
    ),
    "no-conv3d-weights": FindingKind(
        "info",
        "A file of a folder holds no convolution weight.",
        many="files hold no convolution weight",
    ),
    "not-in-index": FindingKind(
        "warning",
        "A tensor of a shard is not in the index beside it.",
        "Fetch the index and its shards anew.",
        "tensors of shards are not in the index beside them",
    ),
    "checkpoint-not-opened": FindingKind(
        "warning",
        "A file of a folder cannot be opened; it is copied as it is.",
        "Each message says why; `on_unreadable=reject` refuses such a folder.",
        "files cannot be opened, and are copied as they are",
    ),
    "file-not-fetched": FindingKind(
        "warning",
        "A file of a folder is a pointer, of Git LFS or the like, not the file.",
        _FETCH,
        "files are pointers, of Git LFS or the like, not the files",
    ),
    "not-a-checkpoint": FindingKind(
        "warning",
        "A file of a folder is named like a checkpoint, but is something else.",
        "Each message says what it is.",
        "files are named like checkpoints, but are something else",
    ),
    "archive-not-opened": FindingKind(
        "info",
        "A file of a folder is an archive; it is copied unopened.",
        "Convert it on its own, if it holds a checkpoint.",
        "files are archives, copied unopened",
    ),
    "store-not-opened": FindingKind(
        "info",
        "A file of a folder belongs to `.git` or the like; it is copied unopened.",
        many="files belong to `.git` or the like, and are copied unopened",
    ),
    "left-out": FindingKind(
        "warning",
        "A link to nothing, or a pipe, is not in the artifact.",
        many="links to nothing, pipes and the like are not in the artifact",
    ),
    "pickle-not-opened": FindingKind(
        "info",
        "A file of a folder is a pickle, not torch.save's; it is copied unopened.",
        many="files are pickles, copied unopened",
    ),
    "program-not-opened": FindingKind(
        "warning",
        "A file of a folder contains code; it is copied unopened.",
        "Allow programs, from senders you trust (`--allow-programs`, or "
        "`CONVLAST_ALLOW_PROGRAMS=true`).",
        "files contain code, and are copied unopened",
    ),
}
