"""What bfloat16 costs on separated music: next to nothing."""

from pathlib import Path

import numpy as np
import pytest

from ezstems.network.cpu import has_bfloat16
from tests.benchmarks.precision import compare
from tests.support.music import backing, voice

SDR_CHANGE_DB = 0.05
LEAST_SNR_DB = 30.0


@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
@pytest.mark.parametrize("stems", [2, 5])
def test_bfloat16_changes_little(stems: int, tmp_path: Path) -> None:
    truth = {"vocals": voice(), "accompaniment": backing()}
    compared = compare(tmp_path, "builtin", stems, truth)
    assert all(LEAST_SNR_DB < stem.snr_db < np.inf for stem in compared)  # not the same bits, either
    changes_db = [stem.sdr_db["bfloat16"] - stem.sdr_db["float32"] for stem in compared if stem.sdr_db]
    assert changes_db and all(abs(change_db) < SDR_CHANGE_DB for change_db in changes_db)
