"""Units that bounds are written in."""

KIBIBYTE = 1024
MEBIBYTE = 1024 * 1024
