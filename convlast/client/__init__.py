"""A client of the service: the library's verbs, carried out by a service.

Each call is a job of the service, which goes on if the line is cut or the service is restarted.
The client then asks how far the job is, and sends nothing twice.
"""

from __future__ import annotations

from convlast.client.asynchronous import AsyncClient
from convlast.client.blocking import Client
from convlast.client.submission import INSPECTED

__all__ = ["INSPECTED", "AsyncClient", "Client"]
