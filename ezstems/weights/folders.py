"""The networks' weights: which are on disk, and whether they are whole; judged from the files alone.

A folder in Spleeter's checkpoint layout is complete when `checkpoint` names a prefix inside it, `<prefix>.index` can
be read (see `checkpoint`), and every shard that it counts is there and as long as it says. Spleeter's
`.probe` is not asked for: it says that a download once ended, not that the files are still there, and a folder copied
by hand may well lack it.
"""

import json
import re
from dataclasses import dataclass, replace
from logging import getLogger
from pathlib import Path
from typing import Any

from ezstems.errors import BadInput, ConfigurationError, ModelMissing
from ezstems.weights.checkpoint import INDEX_LIMIT_BYTES, Index, shard_path

logger = getLogger(__name__)

MODELS = ("auto", "official", "builtin")
SOURCES = ("official", "builtin")
STEM_COUNTS = (2, 4, 5)
COMPLETE, INCOMPLETE, MISSING = "complete", "incomplete", "missing"
ABSENT = "not on disk"
NOTE = "source.json"  # what `fetch` leaves beside the weights
BUILTIN = Path(__file__).resolve().parent.parent / "builtin"

TEXT_LIMIT_BYTES = 1 << 20  # `checkpoint` and `config.json` have a few lines


@dataclass(frozen=True)
class Weights:
    """Name one complete checkpoint, and what it changes in Spleeter's configuration of as many stems.

    Where `vocals` names another one, of 2 stems, that takes the vocals out first.
    """

    source: str
    stems: int
    checkpoint: Path
    overrides: dict[str, Any]
    vocals: "Weights | None" = None

    @property
    def label(self) -> str:
        """Return the name that pages, logs and archives give these weights."""
        own = f"{self.source} {self.stems}stems"
        return own if self.vocals is None else f"{self.vocals.source} vocals + {own}"

    @property
    def parts(self) -> tuple["Weights", ...]:
        """Return the checkpoints that a tile goes through, one after the other."""
        return (self,) if self.vocals is None else (self.vocals, replace(self, vocals=None))


@dataclass(frozen=True)
class Status:
    """Describe one folder of weights: `state` is complete, incomplete or missing, `why` says what it lacks.

    `origin` says where they are from.
    """

    source: str
    stems: int
    state: str
    why: str
    path: Path
    size_bytes: int
    origin: str


class Incomplete(Exception):
    """Say what keeps a folder from being a model; never leaves this room."""


def find(model: str, stems: int, models_directory: Path) -> Weights:
    """Return the weights that the setting `model` means for `stems`; raise ModelMissing where there are none."""
    found = _search(model, stems, models_directory)
    if isinstance(found, Weights):
        return found
    raise ModelMissing(_missing_message(model, {stems: found}))


def require(model: str, models_directory: Path) -> dict[int, Weights]:
    """Return the weights of 2, 4 and 5 stems; raise one ModelMissing that names all that are missing."""
    found: dict[int, Weights] = {}
    missing: dict[int, str] = {}
    for stems in STEM_COUNTS:
        result = _search(model, stems, models_directory)
        if isinstance(result, Weights):
            found[stems] = result
        else:
            missing[stems] = result
    if missing:
        raise ModelMissing(_missing_message(model, missing))
    return found


def status(models_directory: Path) -> list[Status]:
    """Describe the official and the bundled weights of every number of stems."""
    return [_describe(source, stems, models_directory) for stems in STEM_COUNTS for source in SOURCES]


def load(source: str, stems: int, folder: Path) -> Weights:
    """Return the weights in `folder`; raise Incomplete where they are not whole."""
    try:
        if not folder.exists():
            raise Incomplete(ABSENT)
        return Weights(source, stems, _checkpoint(folder), _overrides(folder))
    except OSError as error:
        logger.info("reading %s: %s", folder, error)
        raise Incomplete("its files can't be read") from error


def _folder(source: str, stems: int, models_directory: Path) -> Path:
    return (models_directory if source == "official" else BUILTIN) / f"{stems}stems"


def _search(model: str, stems: int, models_directory: Path) -> Weights | str:
    """Return the first source that is complete, or why none is."""
    if model not in MODELS:
        raise ConfigurationError(f"EZSTEMS_MODEL={model!r} must be auto, official or builtin")
    if stems not in STEM_COUNTS:
        raise BadInput(f"stems={stems!r} must be 2, 4 or 5")
    reasons = []
    for source in SOURCES if model == "auto" else (model,):
        folder = _folder(source, stems, models_directory)
        try:
            found = load(source, stems, folder)
            return _composed(found, models_directory) if model == "auto" and source == "builtin" else found
        except Incomplete as error:
            reasons.append(f"{source} {error}" if model == "auto" else str(error))
            if str(error) != ABSENT:
                logger.warning("%s %sstems passed over: %s", source, stems, error)
    return ", ".join(reasons)


def _composed(found: Weights, models_directory: Path) -> Weights:
    """Let the official 2 stems, where they are whole, take the vocals out before bundled weights of more."""
    if found.stems == 2:
        return found
    try:
        return replace(found, vocals=load("official", 2, _folder("official", 2, models_directory)))
    except Incomplete as error:
        if str(error) != ABSENT:
            logger.warning("official vocals passed over for %s: %s", found.label, error)
        return found


def _missing_message(model: str, missing: dict[int, str]) -> str:
    what = "; ".join(f"{stems}stems ({why})" for stems, why in missing.items())
    fetch = "`ezstems models fetch " + " ".join(f"{stems}stems" for stems in missing) + "`"
    if model == "official":
        return f"official weights are missing: {what}; get them with {fetch}, or set EZSTEMS_MODEL=builtin"
    if model == "builtin":
        return f"bundled weights are missing: {what}; install ezstems again, or use the official ones: {fetch}"
    return f"weights are missing: {what}; get the official ones with {fetch}, or install ezstems again"


def _describe(source: str, stems: int, models_directory: Path) -> Status:
    folder = _folder(source, stems, models_directory)
    state, why = COMPLETE, ""
    try:
        load(source, stems, folder)
    except Incomplete as error:
        why = str(error)
        state = MISSING if why == ABSENT else INCOMPLETE
    size_bytes = sum(path.stat().st_size for path in folder.glob("*") if path.is_file())
    return Status(source, stems, state, why, folder, size_bytes, _origin(source, folder) if state != MISSING else "")


def _origin(source: str, folder: Path) -> str:
    """Return where weights are from, as far as their folder says so."""
    if source == "builtin":
        return "this package"
    try:
        return str(json.loads(_read(folder / NOTE, TEXT_LIMIT_BYTES))["source"])
    except (Incomplete, OSError, ValueError, KeyError, TypeError):
        return "by hand"


def _read(path: Path, limit_bytes: int) -> bytes:
    if not path.is_file():
        raise Incomplete(f"{path.name!r} is missing")
    with path.open("rb") as file:
        content = file.read(limit_bytes + 1)
    if not 0 < len(content) <= limit_bytes:
        raise Incomplete(f"{path.name!r} is {'too long' if content else 'empty'}")
    return content


def _checkpoint(folder: Path) -> Path:
    """Return the prefix of the checkpoint in `folder`, every file of which was found whole."""
    pointer = _read(folder / "checkpoint", TEXT_LIMIT_BYTES).decode(errors="replace")
    named = re.search(r'^[ \t]*model_checkpoint_path[ \t]*:[ \t]*"([^"\n]*)"', pointer, re.MULTILINE)
    if named is None:
        raise Incomplete("'checkpoint' names no checkpoint")
    # TensorFlow's own Saver may write where the files once lay, in whichever system's manner: they lie here now.
    name = re.split(r"[\\/]", named[1])[-1]
    if not re.fullmatch(r"[\w-][\w.-]*", name, re.ASCII):
        raise Incomplete(f"'checkpoint' names {named[1][:200]!r}, which must end in a bare name")
    index = _read(folder / f"{name}.index", INDEX_LIMIT_BYTES)
    try:
        shards = Index.parse(index).shard_bytes()
    except ValueError as error:
        logger.info("reading %s.index in %s: %s", name, folder, error)
        raise Incomplete(f"'{name}.index' is truncated or damaged") from error
    for number, least_bytes in enumerate(shards):
        shard = shard_path(folder / name, number, len(shards))
        if not shard.is_file():
            raise Incomplete(f"{shard.name!r} is missing")
        size_bytes = shard.stat().st_size
        if size_bytes < max(least_bytes, 1):
            raise Incomplete(f"{shard.name!r} has {size_bytes} of {max(least_bytes, 1)} bytes")
    return folder / name


def _overrides(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists():
        return {}
    try:
        overrides = json.loads(_read(path, TEXT_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise Incomplete("'config.json' is not JSON") from error
    if not isinstance(overrides, dict):
        raise Incomplete("'config.json' is not a JSON object")
    return overrides
