"""Takes postbacks and the pixel."""
