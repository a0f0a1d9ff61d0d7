"""Units that bounds are written in."""

MEBIBYTE = 1024 * 1024
