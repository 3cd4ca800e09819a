"""A folder on any filesystem that pyarrow supports: a local disk, or an object store such as S3.

Knows names and bytes; does not know what is stored. A folder can be sent to a worker. No torch, no Ray.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, quote, urlsplit

import pyarrow.fs as pafs

T = TypeVar("T")

RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Waits after failures of an object store, in turn; one more failure counts."""

_SECRET_BEFORE_HOST = re.compile(r"[^:/]+://[^/?:@]*:[^?]*@")
"""Also matches secrets that contain a slash, as Amazon's may; a URI parser takes the slash for the end of the host."""
_SECRET_OPTION = re.compile(r"secret|password|token|access_key|account_key|^sig$", re.IGNORECASE)

_AWS_ERROR = re.compile(
    r"AWS Error (?P<code>\w+) during \w+ operation: (?P<text>.*?)(?: \(Request ID: .*\))?$", re.DOTALL
)
_DENIED = re.compile(
    r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIAL|AUTH|HTTP response code: 40[13]|40[13] FORBIDDEN"
)


@dataclass(frozen=True)
class Folder:
    """Files by name below one path; a name may contain slashes. Every method raises OSError if the storage fails.

    The folder is created when something is written into it; until then it lists as empty. Methods raise ValueError for
    a name that leads out of the folder.
    """

    filesystem: pafs.FileSystem
    path: str
    """The path on the filesystem."""
    location: str = field(compare=False)
    """The path or URI (`s3://bucket/folder?options`) as the user wrote it, for messages."""

    @classmethod
    def at(cls, location: str | Path) -> Folder:
        """The folder at a path or URI. pyarrow looks up the credentials.

        Raises:
            ValueError: pyarrow cannot read the URI, the URI contains a secret, or the path is not UTF-8.
            OSError: the storage did not answer the query for the bucket's region.
        """
        text = str(location)
        check_location(text)
        if "://" not in text:
            written = Path(location)
            with contextlib.suppress(RuntimeError):  # no such user: then it is a name like any other
                written = written.expanduser()
            check_location(str(written.absolute()))
            return cls(pafs.LocalFileSystem(), str(written.absolute()), str(written))
        uri = urlsplit(text)
        # With this option a small object is one request, and a killed process leaves no partial upload behind.
        query = "&".join(filter(None, [uri.query, "allow_delayed_open=true"])) if uri.scheme == "s3" else uri.query
        try:
            filesystem, path = pafs.FileSystem.from_uri(uri._replace(query=query).geturl())
        except NotImplementedError as error:
            raise ValueError(str(error)) from error
        if filesystem.type_name == "local":
            return cls(filesystem, path, path)
        if not path.strip("/"):
            raise ValueError(f"{text!r} does not name a bucket; write it as s3://bucket/folder")
        return cls(filesystem, path.rstrip("/"), text)

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine, which may also be mounted on others."""
        return bool(self.filesystem.type_name == "local")

    @property
    def local_path(self) -> Path | None:
        """The path of a local folder; None on an object store."""
        return Path(self.path) if self.is_local else None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    def __truediv__(self, name: str) -> Folder:
        path = self._path(name)
        if self.is_local:
            return Folder(self.filesystem, path, str(Path(self.location) / name))
        uri = urlsplit(self.location)
        location = uri._replace(path=f"{uri.path.rstrip('/')}/{quote(name)}").geturl()
        return Folder(self.filesystem, path, location)

    def __str__(self) -> str:
        return self.location

    def names(self) -> list[str]:
        """Names of the files and folders directly in this folder, in alphabetical order."""
        return sorted(info.base_name for info in self._infos())

    def folders(self) -> list[str]:
        """Names of the folders directly in this folder, in alphabetical order."""
        return sorted(info.base_name for info in self._infos() if info.type == pafs.FileType.Directory)

    def stamp(self, name: str) -> tuple[int, int] | None:
        """A file's size in bytes and its modification time in nanoseconds since 1970; None if there is no such file."""
        info = self.filesystem.get_file_info(self._path(name))
        return (info.size, info.mtime_ns) if info.type == pafs.FileType.File else None

    def has(self, name: str) -> bool:
        """Whether there is a file of this name; False for a folder."""
        return bool(self.filesystem.get_file_info(self._path(name)).type == pafs.FileType.File)

    def read(self, name: str) -> bytes:
        """The contents of a file; FileNotFoundError if there is no such file."""
        with self.filesystem.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Write or replace a file atomically, even if the process dies or another process writes the same file.

        With `durable`, also if the power fails; this forces a write to the disk. On an object store, writes are always
        durable.
        """
        path = self._path(name)
        if not self.is_local:  # an object becomes visible only when it is complete
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(content)
            return
        target = Path(path)
        # The name is unique to this call, because a worker that was thought dead may write the same file.
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(content)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(target)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    def copy(self, name: str, to: Folder) -> None:
        """Copy a file into another folder under the same name."""
        to.write(name, self.read(name))

    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""
        if self.has(name):
            with contextlib.suppress(FileNotFoundError):  # a worker that was thought dead may delete it too
                self.filesystem.delete_file(self._path(name))

    def delete(self) -> None:
        """Delete the folder and everything in it, if it exists."""
        if self.filesystem.get_file_info(self.path).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def patiently(self, do: Callable[[], T]) -> T:
        """Call `do`, which uses this folder; on an object store, again after a while if the error may be temporary."""
        for seconds in () if self.is_local else RETRY_SECONDS:
            try:
                return do()
            except OSError as error:
                if not is_retryable(error):
                    raise
                time.sleep(seconds)
        return do()

    def _infos(self) -> list[pafs.FileInfo]:
        infos: list[pafs.FileInfo] = self.filesystem.get_file_info(pafs.FileSelector(self.path, allow_not_found=True))
        return infos

    def _path(self, name: str) -> str:
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise ValueError(f"{name!r} is not a name of a file in {self.location}")
        return f"{self.path}/{name}"


def split_options(location: str) -> tuple[str, str]:
    """Split a URI before its options, which keep their question mark; a path has no options."""
    if "://" not in location:
        return location, ""
    place, mark, options = location.partition("?")
    return place, f"{mark}{options}"


def holds_secret(location: str) -> bool:
    """Whether a URI contains a secret, before the host or among its options."""
    if "://" not in location:
        return False
    options = parse_qsl(location.partition("?")[2], keep_blank_values=True)
    return bool(_SECRET_BEFORE_HOST.match(location)) or any(_SECRET_OPTION.search(name) for name, _ in options)


def check_location(location: str) -> None:
    """Refuse a URI that contains a secret, because locations are shown and recorded, and a path that is not UTF-8.

    Raises:
        ValueError: the URI contains a secret, and the message does not repeat it; or pyarrow cannot use the path.
    """
    if any("\ud800" <= letter <= "\udfff" for letter in location):
        raise ValueError(f"the path {location!r} is not UTF-8; use another name")
    if holds_secret(location):
        scheme = location.partition("://")[0]
        raise ValueError(
            f"a {scheme}:// URI with a secret in it would be shown and recorded; remove the secret and use environment "
            "variables (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), ~/.aws/credentials or the machine's role"
        )


def reason(error: OSError) -> str:
    """Why the storage failed, in one line; says what to change if that is known."""
    if found := _AWS_ERROR.search(str(error)):
        code, text = found["code"], found["text"].strip().splitlines()[0] if found["text"].strip() else found["code"]
        if code == "NO_SUCH_BUCKET":
            return "there is no such bucket"
        if code == "NETWORK_CONNECTION":
            text = text.rpartition("Details: ")[2]
            return f"the object store cannot be reached: {text}; see endpoint_override in the URI, or AWS_ENDPOINT_URL"
        if _DENIED.search(f"{code} {text}"):
            return (
                f"the object store denies access: {text}; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "~/.aws/credentials or the machine's role"
            )
        return text
    if error.errno is not None:
        return os.strerror(error.errno)
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_retryable(error: OSError) -> bool:
    """Whether a retry may succeed: False if the file or the bucket does not exist, or access is denied."""
    if isinstance(error, FileNotFoundError):
        return False
    found = _AWS_ERROR.search(str(error))
    return found is None or (
        found["code"] != "NO_SUCH_BUCKET" and not _DENIED.search(f"{found['code']} {found['text']}")
    )


__all__ = ["Folder", "check_location", "holds_secret", "is_retryable", "reason", "split_options"]
