"""Ask the gateway from Python, and get a table of Arrow, pandas or Polars."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import httpx2 as httpx
import pyarrow as pa

from lakehouse import errors
from lakehouse.clients import trusting
from lakehouse.errors import QueryFailedError, SettingsError, SourceError, TidemillError, UnknownNameError
from lakehouse.serving.client import Change, subscribe
from lakehouse.serving.gateway.endpoint import Endpoint as Gateway
from lakehouse.serving.push.endpoint import Endpoint
from lakehouse.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

_GRACE = 10.0  # seconds beyond a query's own time until nobody waits for the gateway any more


class Client:
    """A user's way to the data.

    with Client.of(Workspace.find(), "ada") as client:
        delays = client.polars("SELECT carrier, avg(delay) AS delay FROM silver.flights GROUP BY carrier")
    """

    def __init__(self, url: str, token: str, ca: str | Path | None = None) -> None:
        """Know where the gateway is, and who asks.

        Args:
            url: ``http://host:port``, or ``https://``.
            token: Of an identity provider, or of :meth:`sign_in`.
            ca: PEM file of the authority of its certificate; one that the system knows when left out.
        """
        self._token = token
        self._ca = str(ca) if ca else None
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, verify=trusting(ca))

    @classmethod
    def sign_in(cls, url: str, name: str, password: str, ca: str | Path | None = None) -> Self:
        """Return the client of a user of the workspace itself.

        Raises:
            AuthenticationError: Name or password is wrong.
            SourceError: The gateway does not answer.
        """
        try:
            form = {"username": name, "password": password}
            answer = httpx.post(f"{url}/token", data=form, verify=trusting(ca))
        except httpx.HTTPError as error:
            raise _away(url) from error
        return cls(url, str(_checked(answer).json()["access_token"]), ca)

    @classmethod
    def of(cls, workspace: Workspace, name: str) -> Self:
        """Return the client of a user of a workspace on this machine, by the password that was generated for them.

        Raises:
            SourceError: No gateway ran here, or it does not answer.
            UnknownNameError: There is no such user.
        """
        try:
            gateway = Gateway.of(workspace)
            passwords = json.loads((workspace.state / "issuer.json").read_text())["passwords"]
        except (SettingsError, OSError, ValueError, KeyError) as error:
            raise SourceError("No gateway is known here: run `tidemill run --lane gateway`.") from error
        if name not in passwords:
            raise UnknownNameError(f"There is no user {name}; there are: {', '.join(passwords) or 'none'}.")
        return cls.sign_in(gateway.url, name, passwords[name], gateway.ca)

    def arrow(
        self,
        sql: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        purpose: str | None = None,
        versions: Mapping[str, int] | None = None,
        limit: int = 1_000_000,
        timeout: float = 60.0,
    ) -> pa.Table:
        """Return the answer to one SELECT.

        Args:
            sql: The text.
            parameters: Values of ``$name``, or of ``?``.
            purpose: What for.
            versions: Tables to read at an older version.
            limit: Most rows.
            timeout: Seconds after which it is given up.

        Raises:
            TidemillError: What the gateway said, as the error that it was there.
            SourceError: The gateway does not answer.
        """
        body = {"sql": sql, "parameters": parameters, "purpose": purpose, "limit": limit, "timeout": timeout, "format": "arrow"}
        try:
            answer = self._http.post("/sql", json={**body, "versions": dict(versions or {})}, timeout=timeout + _GRACE)
        except httpx.HTTPError as error:
            raise _away(str(self._http.base_url)) from error
        return pa.ipc.open_stream(_checked(answer).content).read_all()

    def pandas(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None, **options: Any) -> pd.DataFrame:
        """Return :meth:`arrow` as pandas has it."""
        frame: pd.DataFrame = self.arrow(sql, parameters, **options).to_pandas()
        return frame

    def polars(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None, **options: Any) -> pl.DataFrame:
        """Return :meth:`arrow` as Polars has it."""
        import polars as pl

        frame = pl.from_arrow(self.arrow(sql, parameters, **options))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def live(self, feed: str, **options: Any) -> Iterator[Change]:
        """Yield what changes in a live table, as :func:`~lakehouse.serving.client.subscribe` does, which has the options.

        Raises:
            TidemillError: What the gateway said.
            SourceError: It does not answer, or the push service does not let this user in.
        """
        answer = self._http.get("/live", params={} if "purpose" not in options else {"purpose": options["purpose"]})
        return subscribe(Endpoint(str(_checked(answer).json()["url"]), self._token, self._ca), feed, **options)

    def tables(self, purpose: str | None = None) -> list[str]:
        """Return the tables that the user may see something of."""
        answer = self._http.get("/tables", params={} if purpose is None else {"purpose": purpose})
        return list(_checked(answer).json()["tables"])

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _checked(answer: httpx.Response) -> httpx.Response:
    """Return an answer that is one, and raise what the gateway raised otherwise."""
    if answer.is_success:
        return answer
    try:
        said = answer.json()
        kind = getattr(errors, str(said.get("error")), TidemillError)
        raise kind(str(said.get("reason") or said.get("detail")))
    except (ValueError, AttributeError, TypeError):
        raise QueryFailedError(f"The gateway answers {answer.status_code}.") from None


def _away(url: str) -> SourceError:
    return SourceError(f"The gateway at {url} does not answer.")
