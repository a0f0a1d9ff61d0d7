"""Judging for real: flux, and what they are judged by."""
