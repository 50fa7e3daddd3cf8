"""Bytes into values and back; no input or output here."""
