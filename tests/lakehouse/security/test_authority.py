"""The workspace's own certificate authority: what it makes, for whom, and when anew."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakehouse.clients import trusting
from lakehouse.security import authority
from lakehouse.security.authority import Authority, Shown
from lakehouse.settings import Settings
from lakehouse.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, {})


def settings(**sections: dict[str, object]) -> Settings:
    return Settings.model_validate(sections)


@contextmanager
def serving(certificate: Path) -> Iterator[int]:
    """Shake hands with whoever comes, with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:

        def answer() -> None:
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    try:
                        context.wrap_socket(client, server_side=True).close()
                    except OSError:
                        continue

        threading.Thread(target=answer, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def greet(port: int, ca: Path, name: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        trusting(ca).wrap_socket(plain, server_hostname=name).close()


def test_its_certificate_is_for_the_names_of_this_machine_and_nobody_elses(workspace: Workspace, tmp_path: Path) -> None:
    mine, other = Authority(workspace), Authority(Workspace(tmp_path / "other", {}))
    chosen = settings(encryption={"names": ["lake.example"]}, gateway={"address": "192.0.2.7"})
    mine.renew(chosen)
    other.renew(chosen)
    with serving(mine.certificate) as port:
        for name in ("127.0.0.1", "localhost", "::1", socket.gethostname(), "lake.example", "192.0.2.7"):
            greet(port, mine.ca, name)
        for name in ("elsewhere.example", "192.0.2.8"):
            with pytest.raises(ssl.SSLCertVerificationError):
                greet(port, mine.ca, name)
        with pytest.raises(ssl.SSLCertVerificationError):
            greet(port, other.ca, "localhost")


def test_only_the_owner_can_read_it(workspace: Workspace) -> None:
    made = Authority(workspace)
    made.renew(settings())
    assert made.ca.parent.stat().st_mode & 0o777 == 0o700
    keys = [file for file in made.ca.parent.iterdir() if b"PRIVATE KEY" in file.read_bytes()]
    assert len(keys) == 2
    assert {file.stat().st_mode & 0o777 for file in keys} == {0o600}


def test_it_is_renewed_before_it_expires_and_only_then(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Authority(workspace)
    with monkeypatch.context() as shorter:
        shorter.setattr(authority, "_LIFE", timedelta(days=20))
        made.renew(settings())
    before, ca = made.shown(), made.ca.read_bytes()
    assert before is not None
    made.renew(settings())
    after = made.shown()
    assert after is not None
    assert after.not_valid_after_utc - datetime.now(UTC) > timedelta(days=300)
    assert made.ca.read_bytes() == ca, "who trusts the authority goes on doing so"
    made.renew(settings())
    assert made.shown() == after


def test_an_authority_that_ends_before_its_next_certificate_would_is_replaced(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Authority(workspace)
    with monkeypatch.context() as shorter:
        shorter.setattr(authority, "_AUTHORITY_LIFE", timedelta(days=400))
        shorter.setattr(authority, "_RENEWED_BEFORE", timedelta(days=1))
        made.renew(settings())
    before = made.ca.read_bytes()
    made.renew(settings())
    assert made.ca.read_bytes() != before
    with serving(made.certificate) as port:
        greet(port, made.ca, "localhost")


@pytest.mark.parametrize("lost", ["ca.pem", "ca.key", "server.pem"])
def test_what_was_lost_or_spoiled_is_made_again(workspace: Workspace, lost: str) -> None:
    made = Authority(workspace)
    made.renew(settings())
    (made.ca.parent / lost).write_text("not a certificate")
    made.renew(settings())
    with serving(made.certificate) as port:
        greet(port, made.ca, "localhost")


def test_a_further_name_makes_a_further_certificate(workspace: Workspace) -> None:
    made = Authority(workspace)
    made.renew(settings())
    before = made.shown()
    made.renew(settings(push={"address": "192.0.2.9"}))
    assert made.shown() != before


def test_services_are_plain_on_this_machine_and_encrypted_outside_unless_said_otherwise(workspace: Workspace) -> None:
    assert Shown.of(workspace, settings()) is None
    outside = {"address": "0.0.0.0"}
    made = Authority(workspace)
    assert Shown.of(workspace, settings(push=outside)) == Shown(made.certificate, made.ca)
    assert Shown.of(workspace, settings(gateway=outside, encryption={"services": False})) is None
    own = {"services": True, "certificate": "/mine/server.pem"}
    assert Shown.of(workspace, settings(encryption=own)) == Shown(Path("/mine/server.pem"), None)
