"""Which stems there are, and how far up they go."""

# In the archive's order; Spleeter's own lists are mapped onto it by name.
STEMS: dict[int, tuple[str, ...]] = {
    2: ("vocals", "accompaniment"),
    4: ("vocals", "drums", "bass", "other"),
    5: ("vocals", "drums", "bass", "piano", "other"),
}
# What the network sees of the spectrum (a configuration of Spleeter's), and whether its masks' mean goes on above it.
BANDS = {"full": ("11kHz", True), "11kHz": ("11kHz", False), "16kHz": ("16kHz", False)}
CUTOFFS = tuple(BANDS)  # the default first
