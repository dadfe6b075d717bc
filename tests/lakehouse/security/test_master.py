"""Master keys: a file here, or one that never leaves AWS KMS or Vault."""

from __future__ import annotations

import base64
import json
import stat
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from moto.server import ThreadedMotoServer
from tink import TinkError

from lakehouse.errors import KeyringError
from lakehouse.security.master import master_aead


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a key in a KMS."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }.items():
        monkeypatch.setenv(name, value)
    arn = boto3.client("kms", region_name="us-east-1").create_key()["KeyMetadata"]["Arn"]
    yield f"aws-kms://{arn}"
    server.stop()


def test_a_key_of_kms_wraps(kms: str, tmp_path: Path) -> None:
    wrapped = master_aead(kms, tmp_path / "unused").encrypt(b"keyset", b"")
    assert b"keyset" not in wrapped
    assert master_aead(kms, tmp_path / "unused").decrypt(wrapped, b"") == b"keyset"
    assert not (tmp_path / "unused").exists()


class Transit(BaseHTTPRequestHandler):
    """What Vault's transit engine says over HTTP; Vault itself is a program that no registry of packages has."""

    cipher = AESGCM(AESGCM.generate_key(256))

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["X-Vault-Token"] != "let-me-in":
            return self._say(403, {"errors": ["permission denied"]})
        match self.path.split("/"):
            case ["", "v1", "teams", "transit", "encrypt", "tidemill"]:
                sealed = self.cipher.encrypt(b"n" * 12, base64.b64decode(asked["plaintext"]), None)
                return self._say(200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}"}})
            case ["", "v1", "teams", "transit", "decrypt", "tidemill"]:
                opened = self.cipher.decrypt(b"n" * 12, base64.b64decode(asked["ciphertext"].removeprefix("vault:v1:")), None)
                return self._say(200, {"data": {"plaintext": base64.b64encode(opened).decode()}})
        return self._say(400, {"errors": ["encryption key not found"]})

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Transit) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("VAULT_ADDR", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("VAULT_TOKEN", "let-me-in")
        yield
        server.shutdown()


@pytest.mark.usefixtures("vault")
def test_a_key_of_vault_wraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "hcvault://vault.example.org:8200/teams/transit/keys/tidemill"
    wrapped = master_aead(uri, tmp_path / "unused").encrypt(b"keyset", b"")
    assert wrapped.startswith(b"vault:v1:")
    assert b"keyset" not in wrapped
    assert master_aead(uri, tmp_path / "unused").decrypt(wrapped, b"") == b"keyset"
    with pytest.raises(TinkError, match="not found"):
        master_aead(uri.replace("tidemill", "another"), tmp_path / "unused").encrypt(b"keyset", b"")
    monkeypatch.setenv("VAULT_TOKEN", "stolen")
    with pytest.raises(TinkError, match="denied"):
        master_aead(uri, tmp_path / "unused").decrypt(wrapped, b"")


def test_a_file_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "master.key"
    wrapped = master_aead("", file).encrypt(b"keyset", b"")
    assert master_aead("", file).decrypt(wrapped, b"") == b"keyset"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [x.name for x in file.parent.iterdir()] == ["master.key"]


@pytest.mark.parametrize("content", ["", "no hexadecimal digits", "00ff"])
def test_a_file_that_is_no_key_is_told(content: str, tmp_path: Path) -> None:
    file = tmp_path / "master.key"
    file.write_text(content)
    with pytest.raises(KeyringError, match="is not the master key that was written there"):
        master_aead("", file)


@pytest.mark.parametrize("uri", ["gcp-kms://x", "master.key", "aws-kms://", "aws-kms://no:arn", "hcvault://vault:8200/no-key"])
def test_what_names_no_key_is_told(uri: str, tmp_path: Path) -> None:
    with pytest.raises(KeyringError, match=uri):
        master_aead(uri, tmp_path / "unused")


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hvac", None)
    with pytest.raises(KeyringError, match=r"install tidemill\[vault\]"):
        master_aead("hcvault://vault:8200/transit/keys/tidemill", tmp_path / "unused")
