"""Networks frozen for OpenVINO, beside the checkpoints they were made from.

    <models>/frozen/official-2stems-<key>/network.xml   the graph, for magnitudes of any width
    <models>/frozen/official-2stems-<key>/network.bin   its weights, float32

The key is a hash of the checkpoint and of the versions that decide how it is frozen, so that a folder that is there is
right; it is written beside and renamed. TensorFlow is needed once, to freeze, and runs in a process of its own.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from logging import getLogger
from pathlib import Path
from time import monotonic
from typing import Any

from ezstems.audio.files import share, turn
from ezstems.audio.weights import Weights

logger = getLogger(__name__)

FORMAT = 2  # of what `freeze` writes; one more whenever that changes
FOLDER, NETWORK, WEIGHTS, MASK, PART = "frozen", "network.xml", "network.bin", "mask_", ".part"
GRAPH_BYTES = 4 << 20  # twice what a graph takes beside its weights
FREEZE_SECONDS = 600  # an honest one takes 5 to 20
LOOK_EVERY_SECONDS = 0.5
ROOMS = Path(__file__).resolve().parents[2]  # where the package lies
_BINS = ("ezstems", "bins_{}")


class NotFrozen(Exception):
    """Say that a network could not be frozen; never leaves this room."""


class NoRoom(NotFrozen):
    """Say that the disk has no room for a frozen network, as yet."""


def key(weights: Weights) -> str:
    """Hash what a frozen network depends on; a checkpoint's index holds the checksum of every tensor."""
    digest = hashlib.sha256(weights.checkpoint.with_name(f"{weights.checkpoint.name}.index").read_bytes())
    digest.update(json.dumps([FORMAT, version("openvino"), version("spleeter"), weights.overrides]).encode())
    return digest.hexdigest()[:16]


def folder(weights: Weights, models_directory: Path) -> Path:
    """Return where the frozen network of these weights lies, or would."""
    return models_directory / FOLDER / f"{_prefix(weights)}{key(weights)}"


def require(
    weights: Weights, models_directory: Path, min_free_bytes: int = 0, waiting: Callable[[], None] = lambda: None
) -> Path:
    """Return the folder of the frozen network, which is made where it is missing: that takes some seconds.

    A process that finds another one freezing waits for it; `waiting` is called now and then meanwhile. Raises NoRoom
    where making it would leave less than `min_free_bytes`, NotFrozen, or ImportError without OpenVINO.
    """
    try:
        target = folder(weights, models_directory)
        if not _is_whole(target):
            if not target.parent.is_dir():
                target.parent.mkdir(parents=True, exist_ok=True)
                share(target.parent)
            with turn(target.parent / ".lock", waiting):
                if not _is_whole(target):
                    _require_room(weights, target.parent, min_free_bytes)
                    _freeze(weights, target, waiting)
    except OSError as error:
        where = error.filename or models_directory
        raise NotFrozen(f"{weights.label} could not be frozen: {where}: {error.strerror}") from error
    return target


def discard(weights: Weights, models_directory: Path) -> None:
    """Delete the frozen network of these weights, so that it is made anew."""
    _remove(folder(weights, models_directory))


def set_bins(model: Any, cutoff: str, bins: int) -> None:
    """Note in an OpenVINO model how many bins the network of a cutoff sees."""
    model.set_rt_info(str(bins), [name.format(cutoff) for name in _BINS])


def bins_of(model: Any, cutoff: str) -> int:
    """Return how many bins the network of a cutoff sees."""
    return int(model.get_rt_info([name.format(cutoff) for name in _BINS]).astype(str))


def _prefix(weights: Weights) -> str:
    return f"{weights.source}-{weights.stems}stems-"


def _is_whole(target: Path) -> bool:
    return (target / NETWORK).is_file() and (target / WEIGHTS).is_file()


def _remove(target: Path) -> None:
    """Delete a folder, first out of its name: half-deleted, it must not be taken for whole."""
    gone = target.with_name(f".{target.name}.{os.getpid()}{PART}")
    if target.exists():
        target.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _require_room(weights: Weights, folder: Path, min_free_bytes: int) -> None:
    """Raise NoRoom unless the disk holds the graph that TensorFlow writes, and what OpenVINO makes of it, and more."""
    sizes = (path.stat().st_size for path in weights.checkpoint.parent.glob(f"{weights.checkpoint.name}.*"))
    needed = 2 * (sum(sizes) + GRAPH_BYTES) + min_free_bytes
    if (free := shutil.disk_usage(folder).free) < needed:
        raise NoRoom(f"freezing {weights.label} needs {needed >> 20} MiB of free disk; there are {free >> 20}")


def _freeze(weights: Weights, target: Path, waiting: Callable[[], None]) -> None:
    started = monotonic()
    for left in target.parent.glob(f".*{PART}"):  # of a process that was killed: whoever lives has the turn
        shutil.rmtree(left, ignore_errors=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PART}").resolve()
    part.mkdir()
    try:
        _run_child(weights, part, waiting)
        if not _is_whole(part):
            raise NotFrozen(f"{weights.label} was frozen into nothing")
        share(part)
        for path in part.iterdir():
            share(path)
        _remove(target)  # it wasn't whole
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for stale in target.parent.glob(f"{_prefix(weights)}*"):
        if stale != target:
            _remove(stale)
    logger.info("froze %s in %.1f s", weights.label, monotonic() - started)


def _run_child(weights: Weights, part: Path, waiting: Callable[[], None]) -> None:
    source, stems, checkpoint = weights.source, str(weights.stems), weights.checkpoint.resolve()
    deadline = monotonic() + FREEZE_SECONDS
    with subprocess.Popen(
        [sys.executable, "-m", "ezstems.audio.freeze", source, stems, str(checkpoint.parent), str(part),
         key(weights), str(os.getpid())],
        cwd=ROOMS,  # `-m` looks for modules where it runs, and must find none but the package's
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as child:  # fmt: skip
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    _, stderr = child.communicate(timeout=LOOK_EVERY_SECONDS)
                    break
                if monotonic() > deadline:
                    raise NotFrozen(f"{weights.label} was not frozen within {FREEZE_SECONDS} seconds")
                waiting()
        finally:
            child.kill()
    if child.returncode:
        said = ascii(stderr[-2000:].decode(errors="replace"))
        raise NotFrozen(f"freezing {weights.label} ended with {child.returncode}: {said}")
