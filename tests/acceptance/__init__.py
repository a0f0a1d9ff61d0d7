"""One flux from import to acknowledgement, whole platforms, and what happens when parts of them are killed."""
