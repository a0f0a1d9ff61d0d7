"""Speed and memory, each beside a bare reference measured in the same run. `make bench` runs them all.

Machines differ and are noisy: a figure means something beside its reference, and next to yesterday's ratio. Nothing
here asserts a time; the goals are shown in the table, and `--strict` turns a missed one into an exit status.
"""
