"""Master keys: a file here, or one that never leaves AWS KMS."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

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
