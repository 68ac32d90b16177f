"""The masks of both engines: what they hold to; `test_unet` holds that they are the same."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ezstems.audio import stft
from ezstems.audio.separate import STEMS
from ezstems.network.choice import open_engine
from ezstems.network.cpu import has_bfloat16
from ezstems.network.engine import Engine
from ezstems.weights import folders
from tests.support.audio_files import song
from tests.support.tensorflow import ENGINES, needs_tensorflow

CUTOFFS = {"11kHz": 1024, "16kHz": 1536}
HALF_SNR_DB = 40.0  # of bfloat16's masks: about 45 of 5 stems, above 50 of 2 and 4

Opener = Callable[..., Engine]
both_engines = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture(scope="module")
def opened(models: Path) -> Opener:
    """Return an opener of the small networks: by engine, stems, cutoff and precision, each once."""

    @cache
    def opened(name: str, stems: int, cutoff: str = "11kHz", precision: str = "float32") -> Engine:
        return open_engine(name, precision, folders.find("official", stems, models), cutoff)

    return opened


@cache
def magnitudes(bins: int = 1024, seed: int = 3) -> np.ndarray:
    """Return the magnitudes of a song's first tile, the second half of which is silent."""
    tile, count = next(stft.tiles([song(300_000, seed=seed)]))
    return stft.Workspace(bins, average=False).magnitudes(tile, stft.frames(count))


def masks_of(engine: Engine, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return masks that no other call overwrites."""
    return {name: mask.copy() for name, mask in engine.runner()(values).items()}


@both_engines
@pytest.mark.parametrize("cutoff", CUTOFFS)
def test_masks_share_out_the_mix(name: str, cutoff: str, opened: Opener) -> None:
    engine = opened(name, 5, cutoff)
    assert (engine.name, engine.precision, engine.bins) == (name, "float32", CUTOFFS[cutoff])
    masks = masks_of(engine, magnitudes(engine.bins))
    assert set(masks) == set(STEMS[5])
    assert all(mask.shape == (512, engine.bins, 2) and mask.dtype == np.float32 for mask in masks.values())
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in masks.values())
    assert np.abs(sum(masks.values()) - 1)[:250].max() < 1e-5


@both_engines
def test_masks_are_equal_shares_of_silence(name: str, opened: Opener) -> None:
    for mask in masks_of(opened(name, 4), np.zeros((512, 1024, 2), np.float32)).values():
        assert np.allclose(mask, 0.25)


@both_engines
def test_masks_of_several_threads_are_the_same(name: str, opened: Opener) -> None:
    engine = opened(name, 2)
    inputs = [magnitudes(seed=seed) for seed in range(8)]
    alone = [masks_of(engine, values) for values in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda values: masks_of(engine, values), inputs))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(one[stem], other[stem]) for stem in STEMS[2])


@both_engines
def test_runners_do_not_overwrite_each_others_masks(name: str, opened: Opener) -> None:
    engine = opened(name, 2)
    first, second = engine.runner(), engine.runner()
    lent = first(magnitudes(seed=1))
    kept = {stem: mask.copy() for stem, mask in lent.items()}
    other = second(magnitudes(seed=2))
    for stem in STEMS[2]:
        assert np.array_equal(lent[stem], kept[stem]) and not np.array_equal(lent[stem], other[stem])


@both_engines
def test_the_magnitudes_are_left_alone(name: str, opened: Opener) -> None:
    values = magnitudes().copy()
    masks_of(opened(name, 2), values)
    assert np.array_equal(values, magnitudes())


@needs_tensorflow
@pytest.mark.skipif(not has_bfloat16(), reason="this processor has no bfloat16")
@both_engines
@pytest.mark.parametrize("stems", STEMS)
def test_bfloat16_comes_close(stems: int, name: str, opened: Opener) -> None:
    engine = opened(name, stems, precision="bfloat16")
    assert engine.precision == "bfloat16"
    exact, rounded = masks_of(opened("tensorflow", stems), magnitudes()), masks_of(engine, magnitudes())
    for stem, mask in exact.items():
        error = rounded[stem] - mask
        assert np.abs(error).max() > 1e-3, f"{stem} is exact: bfloat16 was not used"
        assert 10 * np.log10((mask**2).sum() / (error**2).sum()) > HALF_SNR_DB, stem
    assert np.abs(sum(rounded.values()) - 1)[:250].max() < 1e-5
