"""States as a word, a shape and a colour, so that no one of them is needed to tell them apart."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """How something is.

    Attributes:
        word: What it is called.
        kind: ``good``, ``warn``, ``bad`` or ``quiet``: its colour.
        mark: Its shape.
    """

    word: str
    kind: str
    mark: str


_STATES = {
    "running": State("Running", "good", "●"),
    "external": State("External", "good", "●"),
    "done": State("Up to date", "good", "✓"),
    "loaded": State("Loaded", "good", "✓"),
    "paused": State("Paused", "warn", "‖"),
    "unhealthy": State("No answer", "bad", "▲"),
    "crashed": State("Crashed", "bad", "■"),
    "stopped": State("Stopped", "bad", "■"),
    "down": State("Not running", "quiet", "○"),
    "waiting": State("Waiting", "quiet", "○"),
    "idle": State("Not running", "quiet", "○"),
}


def state(name: str) -> State:
    """Return how a state is shown; one that nobody knows is shown as it is."""
    return _STATES.get(name, State(name.capitalize(), "quiet", "?"))
