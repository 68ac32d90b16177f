"""Freeze one checkpoint for OpenVINO, as the child of `frozen`, in a process that ends with its parent.

    python -m ezstems.audio.freeze SOURCE STEMS FOLDER TARGET KEY PARENT
"""

import sys
from pathlib import Path
from typing import Any

from ezstems.audio.cpu import step_back
from ezstems.audio.parent import follow

TOLERANCE = 1e-3  # of masks; float32 rounds to 1e-5


def freeze(source: str, stems: int, folder: Path, target: Path, key: str) -> None:
    """Write the frozen network of the checkpoint in `folder` into `target`, durably.

    Raises:
        ConfigurationError: the checkpoint doesn't fit the configuration.
        SystemExit: it isn't, or no longer, the one of the key.
    """
    from ezstems.audio import files, frozen, rewrite, runtimes, unet, weights

    found = weights.load(source, stems, folder)
    configurations = {cutoff: unet.configuration(found, cutoff) for cutoff in unet.CONFIGURATIONS}
    graph = unet.build(found, next(iter(configurations.values())), any_width=True)
    if frozen.key(found) != key:
        sys.exit("the checkpoint has changed")
    definition = target / "network.pb"
    definition.write_bytes(graph.definition.SerializeToString())
    del graph
    openvino = runtimes.openvino()
    model, original = (openvino.Core().read_model(definition) for _ in range(2))
    rewrite.rewrite(model)
    if not _same(model, original, next(iter(configurations.values()))["F"]):
        sys.exit("the rewritten network computes something else")
    for cutoff, params in configurations.items():
        frozen.set_bins(model, cutoff, params["F"])
    openvino.save_model(model, target / frozen.NETWORK, compress_to_fp16=False)
    definition.unlink()
    for path in (*target.iterdir(), target):
        files.sync(path)


def _same(model: Any, original: Any, bins: int) -> bool:
    """Tell whether two networks give the same masks for noise of any level."""
    import numpy as np

    from ezstems.audio import runtimes, stft

    random, frames = np.random.default_rng(1), stft.TILE_FRAMES
    noise = random.normal(size=(1, frames, bins, 2)) * 10 ** random.uniform(-3, 2, (1, frames, 1, 1))
    core, masks = runtimes.openvino().Core(), []
    for network in (model, original):
        network = network.clone()
        network.reshape(noise.shape)
        compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        masks.append(list(compiled([np.abs(noise).astype(np.float32)]).values()))
    return all(np.abs(one - other).max() < TOLERANCE for one, other in zip(*masks, strict=True))


def main(source: str, stems: str, folder: str, target: str, key: str, parent: str) -> None:
    """Freeze with the arguments of the command line."""
    follow(int(parent))
    step_back()
    freeze(source, int(stems), Path(folder), Path(target), key)


if __name__ == "__main__":
    main(*sys.argv[1:])
