"""The seven U-Nets, what each one listens for, and the models that share them."""

from ezstems.builtin.recipe.songs.corpus import STEMS

# Each net, and the stems of the corpus whose sum it estimates.
NETS = {
    "vocals": ("vocals",),
    "accompaniment": ("drums", "bass", "piano", "other"),
    "drums": ("drums",),
    "bass": ("bass",),
    "piano": ("piano",),
    "other_of_four": ("piano", "other"),
    "other_of_five": ("other",),
}

# Each model's instruments in the order of Spleeter's configuration, and the net of each.
MODELS = {
    "2stems": {"vocals": "vocals", "accompaniment": "accompaniment"},
    "4stems": {"vocals": "vocals", "drums": "drums", "bass": "bass", "other": "other_of_four"},
    "5stems": {"vocals": "vocals", "piano": "piano", "drums": "drums", "bass": "bass", "other": "other_of_five"},
}

# The nets that start as one body with many heads, and whose copy each net then starts from.
COMMON = ("vocals", "drums", "bass", "piano", "other_of_five")
ORIGINS = {name: name if name in COMMON else "other_of_five" for name in NETS}

STEM_INDICES = {name: [STEMS.index(stem) for stem in stems] for name, stems in NETS.items()}
