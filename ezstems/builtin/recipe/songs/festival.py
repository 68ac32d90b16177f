"""Festival's voices, which are heard in validation alone: every package of Debian whose voice speaks any ASCII word."""

import subprocess
from pathlib import Path

# Of the packages festvox-{kallpc16k,kdlpc16k,us-slt-hts,italp16k,itapc16k,czech-ph,suopuhe-lj,suopuhe-mv,ca-ona-hts}.
FESTIVAL_VOICES = (
    "kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts", "lp_diphone", "pc_diphone", "czech_ph",
    "suo_fi_lj_diphone", "hy_fi_mv_diphone", "upc_ca_ona_hts",
)  # fmt: skip


def say(text: str, voice: str, path: Path) -> None:
    """Write the words of an ASCII text, said by one of the voices, as a mono WAV file at the voice's own rate."""
    if voice not in FESTIVAL_VOICES:
        raise ValueError(f"voice={voice!r} must be one of {', '.join(FESTIVAL_VOICES)}")
    command = ["text2wave", "-eval", f"(voice_{voice})", "-o", str(path)]
    subprocess.run(command, input=text, encoding="ascii", check=True, capture_output=True)
    if not path.exists():
        raise RuntimeError(f"the Festival voice {voice!r} is not installed: text2wave wrote nothing")
