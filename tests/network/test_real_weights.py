"""With Deezer's own weights, on a little song: Spleeter's very stems in float32, and next to them in bfloat16.

Skipped where neither the release nor the package index can be reached.
"""

from pathlib import Path

import numpy as np
import pytest

from ezstems.audio.separate import STEMS, separate_blocks
from ezstems.network.choice import open_engine
from ezstems.network.cpu import has_bfloat16
from ezstems.weights import folders
from tests.audio.test_parity import WholeFile
from tests.benchmarks.precision import compare
from tests.support.music import backing, sdr_db, voice

TOLERANCE = 1e-5  # of full scale
LEAST_SNR_DB = {2: 45.0, 4: 40.0}  # 4 stems: the bundled networks round worse


def test_float32_is_spleeters_whole_file_separation(deezers: Path) -> None:
    found, mix = folders.find("official", 2, deezers), voice() + backing()
    whole = WholeFile(found, "full")
    expected = whole(mix)["outputs"]
    whole.session.close()
    blocks = list(separate_blocks([mix], open_engine("auto", "float32", found, "11kHz"), STEMS[2], average=True))
    for stem in STEMS[2]:
        actual = np.concatenate([block[stem] for block in blocks])
        difference, snr_db = np.abs(actual - expected[stem]).max(), sdr_db(expected[stem], actual)
        print(f"{stem}: {difference:.1e}, {snr_db:.1f} dB")
        assert difference < TOLERANCE and snr_db > 80
    assert np.abs(actual).max() > 0.1


@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
@pytest.mark.parametrize("stems", sorted(LEAST_SNR_DB))
def test_bfloat16_changes_little(stems: int, deezers: Path) -> None:
    compared = compare(deezers, "auto", stems, {"vocals": voice(), "accompaniment": backing()})
    for stem in compared:
        print(f"{stem.stem}: {stem.snr_db:.1f} dB")
    assert all(LEAST_SNR_DB[stems] < stem.snr_db < np.inf for stem in compared)
