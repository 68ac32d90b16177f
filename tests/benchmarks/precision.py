"""What bfloat16 changes: each stem against float32's, and against the truth where that is known."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ezstems.audio.separate import STEMS, separate_blocks
from ezstems.network.networks import Networks
from tests.support.music import sdr_db

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Compared:
    """Hold one stem's difference: SNR of bfloat16 against float32, and the SDR of both where the truth is known."""

    stem: str
    snr_db: float
    sdr_db: dict[str, float] = field(default_factory=dict)


def compare(models: Path, model: str, stems: int, truth: dict[str, np.ndarray]) -> list[Compared]:
    """Separate the sum of the true stems, float32 (samples, 2), in both precisions, in OpenVINO."""
    mix = np.sum(list(truth.values()), axis=0, dtype=np.float32)
    results = {precision: _separate(models, model, stems, precision, mix) for precision in PRECISIONS}
    compared = []
    for stem in STEMS[stems]:
        exact, rounded = (results[precision][stem] for precision in PRECISIONS)
        scores = {name: sdr_db(truth[stem], results[name][stem]) for name in PRECISIONS} if stem in truth else {}
        compared.append(Compared(stem, sdr_db(exact, rounded), scores))
    return compared


def _separate(models: Path, model: str, stems: int, precision: str, mix: np.ndarray) -> dict[str, np.ndarray]:
    networks = Networks(models, model, "openvino", precision, 0.0)
    with networks.use(stems, "11kHz") as engine:
        blocks = list(separate_blocks([mix], engine, STEMS[stems]))
    return {stem: np.concatenate([block[stem] for block in blocks]) for stem in STEMS[stems]}
