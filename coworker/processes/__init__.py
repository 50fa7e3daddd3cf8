"""The life of a process: forked, booted, watched, replaced."""
