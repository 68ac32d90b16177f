"""From an audio file to one file a stem: decode, STFT, U-Net, masks, inverse STFT, encode, as a chain over blocks."""
