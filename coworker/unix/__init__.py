"""System calls, thinly wrapped."""
