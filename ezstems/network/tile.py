"""What a network sees at a time, by Spleeter's definition: magnitudes of 512 stereo frames, float32 (512, F, 2)."""

FRAME_SAMPLES = 4096
TILE_FRAMES = 512
BINS = FRAME_SAMPLES // 2 + 1  # of a frame's spectrum; a network sees the lowest F of them
CHANNELS = 2
