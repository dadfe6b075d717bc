"""Tests of one secure stack, which runs as long as they do; the last ones change it."""
