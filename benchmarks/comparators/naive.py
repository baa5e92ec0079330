"""The service that anyone would write: UploadFile, torch.load, convert, torch.save, FileResponse.

    python -m benchmarks.comparators.naive PORT FOLDER [LOOP HTTP]

On `asyncio` and `h11`, which `pip install fastapi uvicorn python-multipart` gives, unless others
are named.
"""

from __future__ import annotations

import hashlib
import secrets
import sys
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI, UploadFile
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask


def make_app(folder: Path) -> FastAPI:
    """Make the service; it writes below the folder."""
    app = FastAPI()

    @app.post("/convert")
    def convert(checkpoint: UploadFile) -> FileResponse:
        received = hashlib.file_digest(checkpoint.file, "sha256").hexdigest()  # type: ignore[arg-type] # a file
        checkpoint.file.seek(0)
        state_dict = torch.load(checkpoint.file, weights_only=True)
        for name, tensor in state_dict.items():
            if tensor.dim() == 5:
                state_dict[name] = tensor.contiguous(memory_format=torch.channels_last_3d)
        path = folder / f"naive-{secrets.token_hex(8)}.pt"
        torch.save(state_dict, path)
        with path.open("rb") as file:
            made = hashlib.file_digest(file, "sha256").hexdigest()
        return FileResponse(
            path,
            headers={"X-Input": received, "X-Artifact": made},
            background=BackgroundTask(path.unlink),
        )

    return app


if __name__ == "__main__":
    loop, http = sys.argv[3:] or ("asyncio", "h11")
    uvicorn.run(
        make_app(Path(sys.argv[2])),
        port=int(sys.argv[1]),
        log_level="warning",
        loop=loop,
        http=http,
    )
