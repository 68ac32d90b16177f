"""What a separation can't be faster than on this machine: its arithmetic, its bytes, its MP3 encoder."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from ezstems.audio.encode import CHANNELS, SAMPLE_RATE_HZ
from ezstems.audio.outputs import FORMATS, PCM
from ezstems.audio.stft import FRAME_SAMPLES, TILE_SAMPLES
from ezstems.network import runtimes
from ezstems.network.choice import resolve
from ezstems.network.cpu import cores
from ezstems.network.openvino_engine import PRECISION_HINTS
from tests.benchmarks import parts, table

NETWORK_GFLOP = 12.2  # of Spleeter's U-Net, a tile and stem
# What the machine's matrix speed is taken from: a stack of 3 x 3 convolutions that keeps its caches and vectors full.
LAYERS, DEPTH, SIDE, KERNEL = 8, 256, 64, 3
STACK_GFLOP = LAYERS * 2 * (DEPTH * SIDE * KERNEL) ** 2 / 1e9
WAV_MB_A_SECOND = CHANNELS * PCM[FORMATS["wav"].pcm].itemsize * SAMPLE_RATE_HZ / 1e6
CHUNK_BYTES, CHUNKS = 1 << 20, 64  # as much as 3 minutes of 2 stems
STACK_ATTEMPTS, WRITE_ATTEMPTS = 50, 5  # the best counts


@dataclass(frozen=True)
class Floor:
    """Hold what the machine does: its matrix speed, how fast it writes durably, CPU seconds of LAME a stem."""

    gflop_a_second: float
    mb_a_second: float
    lame_seconds: float

    def print_table(self, seconds: float, http_seconds: dict[tuple[int, str], float], wall_seconds: float) -> None:
        """Print the floor of a song of so many seconds below what was measured, by stems and output."""
        stack = f"{LAYERS} convolutions {KERNEL} x {KERNEL}, {DEPTH} channels of {SIDE} x {SIDE}, in OpenVINO"
        print(f"\nThe floor: {NETWORK_GFLOP} GFLOP a tile and stem at {self.gflop_a_second:.0f} GFLOP/s")
        print(f"({stack}, {resolve('auto')}, all cores),")
        print(f"the stems' WAV at {self.mb_a_second:.0f} MB/s (write and fsync),", end=" ")
        print(f"or {self.lame_seconds:.2f} CPU-seconds of LAME a stem, over the cores.\n")
        table.head("stems, output", "network", "writing", "LAME", "floor", "upload to ZIP in hand", "the engine alone")
        tiles = -(-(seconds * SAMPLE_RATE_HZ + FRAME_SAMPLES) // TILE_SAMPLES)
        for (stems, output), measured in http_seconds.items():
            network = NETWORK_GFLOP * tiles * stems / self.gflop_a_second
            writing = stems * seconds * WAV_MB_A_SECOND / self.mb_a_second if output == "wav" else 0.0
            lame = stems * self.lame_seconds / cores() if output == "mp3" else 0.0
            floors = [f"{figure:.2f} s" for figure in (network, writing, lame, network + writing + lame, measured)]
            alone = f"{wall_seconds:.2f} s" if (stems, output) == (2, "wav") else table.NOTHING
            table.line(f"{stems}, {output.upper()}", *floors, alone)


def measure(song: Path, folder: Path) -> Floor:
    """Measure the machine's speeds, and LAME's for the song."""
    return Floor(_matrix_speed(), _write_speed(folder), parts.lame_seconds(song))


def _matrix_speed() -> float:
    """Run the stack in OpenVINO, once on each core, in the engine's own precision; return GFLOP a second."""
    openvino = runtimes.openvino()
    opset = openvino.opset13
    random = np.random.default_rng(1)
    last = first = opset.parameter([1, DEPTH, SIDE, SIDE], np.float32)
    for _ in range(LAYERS):
        kernel = random.normal(0, DEPTH**-0.5 / KERNEL, (DEPTH, DEPTH, KERNEL, KERNEL)).astype(np.float32)
        last = opset.convolution(last, opset.constant(kernel), [1, 1], [1, 1], [1, 1], [1, 1])
    options = {
        "INFERENCE_PRECISION_HINT": PRECISION_HINTS[resolve("auto")],
        "NUM_STREAMS": cores(),
        "INFERENCE_NUM_THREADS": cores(),
    }
    compiled = openvino.Core().compile_model(openvino.Model([last], [first]), "CPU", options)
    requests = [compiled.create_infer_request() for _ in range(cores())]
    image = random.normal(size=(1, DEPTH, SIDE, SIDE)).astype(np.float32)
    seconds = []
    for _ in range(STACK_ATTEMPTS):
        started = perf_counter()
        for request in requests:
            request.start_async([image], share_inputs=True)
        for request in requests:
            request.wait()
        seconds.append(perf_counter() - started)
    return cores() * STACK_GFLOP / min(seconds)


def _write_speed(folder: Path) -> float:
    """Write a file and bring it to the disk; return megabytes a second."""
    chunk = np.random.default_rng(1).bytes(CHUNK_BYTES)
    seconds = []
    for _ in range(WRITE_ATTEMPTS):
        with tempfile.TemporaryFile(dir=folder) as file:
            started = perf_counter()
            for _ in range(CHUNKS):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            seconds.append(perf_counter() - started)
    return CHUNKS * CHUNK_BYTES / 1e6 / min(seconds)
