"""Many who look at dashboards, by locust, in a process of their own: ``python -m bench.query.crowd``.

Standard input says once where the gateway is, whose tokens there are, and how long; then how it went is said.
"""

from __future__ import annotations

from typing import Any

from ..lines import hear, say

THINK_SECONDS = (7.0, 10.0)
"""Between an answer and the next question: anything between."""

_SPAWN_SECONDS = 10
_TEXTS = 5


def main() -> None:
    """Ask until the time is over."""
    import gevent.monkey

    gevent.monkey.patch_all()  # which locust needs to be first
    import gevent
    from locust import FastHttpUser, between, events, task
    from locust.env import Environment

    from .board import QUERIES

    wanted = hear()
    tokens: list[str] = wanted["tokens"]
    bodies = [{"sql": sql} for sql in QUERIES.values()]
    cold: list[float] = []
    kept: list[float] = []
    errors: list[str] = []
    measured = False
    number = 0

    class Viewer(FastHttpUser):
        """Somebody who looks at a dashboard."""

        wait_time = between(*THINK_SECONDS)  # type: ignore[no-untyped-call]
        host = wanted["url"]
        network_timeout = connection_timeout = 60.0

        def on_start(self) -> None:
            nonlocal number
            self._headers = {"Authorization": f"Bearer {tokens[number % len(tokens)]}"}
            self._turn = number
            number += 1
            gevent.sleep(THINK_SECONDS[1] * (number % 100) / 100)  # nobody comes at the same moment

        @task
        def look(self) -> None:
            self._turn += 1
            self.client.post("/sql", json=bodies[self._turn % len(bodies)], headers=self._headers, name="dashboard")

    def note(response_time: float, response: Any, exception: Exception | None, **_: Any) -> None:
        if not measured:
            return
        if exception is not None or response.status_code != 200:
            errors.append(repr(exception))
        else:
            (kept if b'"cached":true' in response.content else cold).append(response_time)

    environment = Environment(user_classes=[Viewer], events=events)
    environment.events.request.add_listener(note)
    runner = environment.create_local_runner()
    runner.start(wanted["users"], spawn_rate=max(1, wanted["users"] / _SPAWN_SECONDS))
    gevent.sleep(_SPAWN_SECONDS + wanted["warm_up"])
    measured = True
    say("measuring", users=runner.user_count)
    gevent.sleep(wanted["seconds"])
    measured = False
    users = runner.user_count
    say("measured", users=users, cold=cold, kept=kept, errors=len(errors), texts=sorted(set(errors))[:_TEXTS])
    runner.quit()


if __name__ == "__main__":
    main()
