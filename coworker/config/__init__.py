"""Settings: declared once in `settings`, read by `load`, judged by `check`, shown by `render`."""
