"""The master key, which wraps the workspace's own: a file here, or a key that never leaves AWS KMS or Vault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import tink
from tink import TinkError, aead, proto_keyset_format, secret_key_access

from lakehouse.errors import KeyringError
from lakehouse.stack.state import write_private_once

AWS = "aws-kms://"
VAULT = "hcvault://"


def master_aead(uri: str, file: Path) -> aead.Aead:
    """Return what wraps the workspace's keyset.

    Args:
        uri: ``aws-kms://arn:aws:kms:…``, ``hcvault://host[:port]/mount/keys/name``, or nothing for the file. Credentials are found
            where AWS's and Vault's own clients look for them.
        file: The file, which only its owner can read; made on first use.

    Raises:
        KeyringError: There is no such key, or what it needs is not installed.
    """
    if not uri:
        return _of_file(file)
    try:
        if uri.startswith(AWS):
            import boto3
            from tink.integration import awskms

            client = boto3.client("kms", region_name=uri.split(":")[4])
            return awskms.new_client(boto3_client=client, key_uri=uri).get_aead(uri)
        if uri.startswith(VAULT):
            import hvac
            from tink.integration import hcvault

            host, _, path = uri.removeprefix(VAULT).partition("/")
            address = os.environ.get("VAULT_ADDR") or f"https://{host}"
            return hcvault.new_aead(path, hvac.Client(url=address))
    except ImportError as error:
        extra = "aws-kms" if uri.startswith(AWS) else "vault"
        raise KeyringError(f"{uri} needs more packages: install tidemill[{extra}].") from error
    except Exception as error:
        raise KeyringError(f"The master key {uri} cannot be used: {error}") from error
    raise KeyringError(f"{uri} is no master key: write {AWS}arn:… or {VAULT}host/mount/keys/name, or leave it out for a file.")


def _of_file(file: Path) -> Any:
    aead.register()
    if not file.exists():
        handle = tink.new_keyset_handle(aead.aead_key_templates.AES256_GCM)
        write_private_once(file, proto_keyset_format.serialize(handle, secret_key_access.TOKEN).hex())
    try:
        keyset = bytes.fromhex(file.read_text())
        return proto_keyset_format.parse(keyset, secret_key_access.TOKEN).primitive(aead.Aead)
    except (OSError, ValueError, TinkError) as error:
        raise KeyringError(f"{file} is not the master key that was written there: {error}") from error
