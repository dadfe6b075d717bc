"""Thin entry points: parse, wire, run."""
