"""The least that such a service can do: take the bytes in, and give the same ones back.

    python -m benchmarks.comparators.floor PORT FOLDER

The body is raw, and written as it comes; its digest, and that of what goes out, are taken in
threads.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

CHUNK_BYTES = 1 << 20


def make_app(folder: Path) -> Starlette:
    """Make the service; it writes below the folder."""

    async def convert(request: Request) -> Response:
        path = folder / "floor.upload"
        received = hashlib.sha256()
        with path.open("wb", buffering=0) as file:

            def keep(data: bytes) -> None:
                received.update(data)
                file.write(data)

            batch = bytearray()
            writing: asyncio.Future[None] | None = None
            async for chunk in request.stream():
                batch += chunk
                if len(batch) >= CHUNK_BYTES:
                    if writing is not None:
                        await writing
                    writing = asyncio.ensure_future(asyncio.to_thread(keep, bytes(batch)))
                    batch.clear()
            if writing is not None:
                await writing
            keep(bytes(batch))
        sent = await asyncio.to_thread(_sha256_of, path)
        assert sent == received.hexdigest()
        return StreamingResponse(_chunks(path), headers={"Repr-Digest": sent})

    return Starlette(routes=[Route("/convert", convert, methods=["POST"])])


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


if __name__ == "__main__":
    uvicorn.run(make_app(Path(sys.argv[2])), port=int(sys.argv[1]), log_level="warning")
