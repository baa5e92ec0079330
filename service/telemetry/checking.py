"""`python -m service --check`: whether a service with these settings would start and become ready.

A service that runs meanwhile is not disturbed: its port is not tried, and nothing is removed from
its work folder.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from convlast.errors import ConvlastError
from service.access.keyring import Keyring
from service.access.signing import SigningKey
from service.settings import Settings, SettingsError
from service.storage.workspace import check_folder
from service.telemetry import logs, service_lines
from service.workers import Health, known_trouble

_log = structlog.get_logger()


@dataclass(frozen=True)
class Checked:
    """The result for one part of the service.

    Attributes:
        part: The part.
        result: What was found, or why a service would not start or not become ready.
        is_well: Whether it would.
        warnings: Other things that the operator should know.
    """

    part: str
    result: str
    is_well: bool = True
    warnings: Sequence[str] = ()


class Checkable(Protocol):
    """Workers, as far as this module needs them."""

    async def check(self) -> None:
        """Start one worker, and end it.

        Raises:
            ConvlastError: If no device works.
        """

    def health(self) -> Health:
        """Return what was found."""


class CheckableStore(Protocol):
    """The store that services share, as far as this module needs it."""

    def check(self) -> str:
        """Write to it, and say that this was possible.

        Raises:
            ConvlastError: If it was not.
        """


def run(
    settings: Settings,
    workers_of: Callable[[Settings, str], Checkable],
    store: CheckableStore | None = None,
) -> bool:
    """Check all parts, tell the results, and return whether all are well.

    Args:
        settings: The settings to check.
        workers_of: Makes the workers for a device.
        store: The store that services share, if there is one.
    """
    if sys.stderr.isatty():
        logs.configure("critical")  # a person is told in words
    checked = [Checked("settings", "They are valid."), _keys(settings), _work_folder(settings)]
    if settings.signing_key_file is not None:
        checked.append(_signing_key(settings))
    if store is not None:
        checked.append(_store(store))
    if all(each.is_well for each in checked[2:]):
        workers = workers_of(settings, settings.device)
        checked += asyncio.run(
            check_device_and_sandbox(workers, is_required=settings.require_sandbox)
        )
    tell(checked)
    return all(each.is_well for each in checked)


def tell(checked: Sequence[Checked]) -> None:
    """Tell the results: to a person in words, to a log in lines of JSON."""
    if sys.stderr.isatty():
        sys.stderr.writelines(f"{line}\n" for each in checked for line in _in_words(each))
        return
    for each in checked:
        level = logging.WARNING if each.warnings else logging.INFO
        more = {"warnings": list(each.warnings)} if each.warnings else {}
        _log.log(
            level if each.is_well else logging.CRITICAL,
            "checked",
            part=each.part,
            ok=each.is_well,
            result=each.result,
            **more,
        )


def _in_words(checked: Checked) -> list[str]:
    mark = "ok" if checked.is_well else "FAILED"
    lines = [f"{mark:<6}  {checked.part:<11}  {checked.result}"]
    return [*lines, *(f"{'':<21}Warning: {each}" for each in checked.warnings)]


def _keys(settings: Settings) -> Checked:
    try:
        problem = Keyring.of(settings).problem
    except SettingsError as error:
        return Checked("keys", str(error), is_well=False)
    result = f"{service_lines.served(settings).capitalize()}."
    return Checked("keys", result, warnings=(problem,) if problem else ())


def _signing_key(settings: Settings) -> Checked:
    try:
        return Checked("signing key", f"Its id is {SigningKey.of(settings).keyid}.")
    except SettingsError as error:
        return Checked("signing key", str(error), is_well=False)


def _work_folder(settings: Settings) -> Checked:
    try:
        return Checked("work folder", check_folder(settings))
    except SettingsError as error:
        return Checked("work folder", str(error), is_well=False)


def _store(store: CheckableStore) -> Checked:
    try:
        return Checked("store", store.check())
    except ConvlastError as error:
        return Checked("store", str(error), is_well=False)


async def check_device_and_sandbox(workers: Checkable, *, is_required: bool) -> list[Checked]:
    """Start one worker, and end it."""
    failure: Exception | None = None
    try:
        await workers.check()
    except (ConvlastError, OSError) as error:
        failure = error
    health = workers.health()
    sandbox = _sandbox(health, is_required=is_required)
    # A worker that lacks a wall has failed too, but its device works.
    if failure is not None and all(each.is_well for each in sandbox):
        return [Checked("device", str(failure), is_well=False), *sandbox]
    return [_device(health), *sandbox]


def _device(health: Health) -> Checked:
    facts = health.facts
    name = facts.get("gpu") or facts.get("device")
    return Checked(
        "device", f"{name}, torch {facts.get('torch')}.", warnings=tuple(known_trouble(facts))
    )


def _sandbox(health: Health, *, is_required: bool) -> list[Checked]:
    """Return the result for the walls, if a worker has told of them."""
    missing = [f"{wall.name}: {wall.detail}" for wall in health.walls if not wall.held]
    count = len(health.walls)
    result = (
        f"{len(missing)} of {count} walls are missing." if missing else f"All {count} walls hold."
    )
    checked = Checked("sandbox", result, not (missing and is_required), tuple(missing))
    return [checked] if health.walls else []
