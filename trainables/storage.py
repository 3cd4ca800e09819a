"""A folder on any filesystem that pyarrow knows: this machine's disks, or an object store such as S3.

Knows names and bytes. Does not know what is stored. No torch, no Ray; it can be sent to a worker.
"""

from __future__ import annotations

import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pyarrow.fs as pafs

_SECRET_BEFORE_HOST = re.compile(r"[^:/]+://[^/?:@]*:[^?]*@")
"""Also where the secret holds a slash, as Amazon's do, which a parser of URIs takes for the end of the host."""
_SECRET_OPTION = re.compile(r"secret|password|token|access_key|account_key|^sig$", re.IGNORECASE)

_AWS_ERROR = re.compile(
    r"AWS Error (?P<code>\w+) during \w+ operation: (?P<text>.*?)(?: \(Request ID: .*\))?$", re.DOTALL
)
_DENIED = re.compile(
    r"ACCESS_DENIED|ACCESS_KEY|SIGNATURE|TOKEN|CREDENTIAL|AUTH|HTTP response code: 40[13]|40[13] FORBIDDEN"
)


@dataclass(frozen=True)
class Folder:
    """Files by name below one path; a name may have slashes. Every method raises OSError where the storage does.

    A folder need not exist to be named: it is there once something is written into it, and lists as empty before. A
    name that would lead out of the folder is a ValueError.
    """

    filesystem: pafs.FileSystem
    path: str
    location: str = field(compare=False)
    """As the user wrote it: a path, or `s3://bucket/folder?options`. To be shown."""

    @classmethod
    def at(cls, location: str | Path) -> Folder:
        """The folder that a path or a URI names. Credentials are those that pyarrow finds.

        Raises:
            ValueError: it is a URI that pyarrow cannot read, or one that holds a secret.
            OSError: the storage was asked for the bucket's region, and did not answer.
        """
        text = str(location)
        check_location(text)
        if "://" not in text:
            written = Path(location).expanduser()
            return cls(pafs.LocalFileSystem(), str(written.absolute()), str(written))
        uri = urlsplit(text)
        # A small object is then one request, and a process that is killed leaves no half of an upload behind.
        query = "&".join(filter(None, [uri.query, "allow_delayed_open=true"])) if uri.scheme == "s3" else uri.query
        try:
            filesystem, path = pafs.FileSystem.from_uri(uri._replace(query=query).geturl())
        except NotImplementedError as error:
            raise ValueError(str(error)) from error
        if filesystem.type_name == "local":
            return cls(filesystem, path, path)
        if not path.strip("/"):
            raise ValueError(f"{text!r} names no bucket; it is written s3://bucket/folder")
        return cls(filesystem, path.rstrip("/"), text)

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine, which may be mounted on others too."""
        return bool(self.filesystem.type_name == "local")

    @property
    def local_path(self) -> Path | None:
        """The path of a local folder; None for one on an object store."""
        return Path(self.path) if self.is_local else None

    @property
    def name(self) -> str:
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
        """Files and folders directly in it, in alphabetical order."""
        selector = pafs.FileSelector(self.path, allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def stamp(self, name: str) -> tuple[int, int] | None:
        """How many bytes a file has and when it was written last (nanoseconds); None if there is none."""
        info = self.filesystem.get_file_info(self._path(name))
        return (info.size, info.mtime_ns) if info.type == pafs.FileType.File else None

    def has(self, name: str) -> bool:
        return bool(self.filesystem.get_file_info(self._path(name)).type == pafs.FileType.File)

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(self._path(name)) as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes, *, durable: bool = False) -> None:
        """Write a file, or replace it: whole or not at all, whenever the process dies and whoever else writes it.

        With `durable`, whenever the power fails too; that costs a forced write to the disk. An object store always is.
        """
        path = self._path(name)
        if not self.is_local:  # an object is there once it is complete
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(content)
            return
        target = Path(path)
        # Of this writer alone: a worker that was thought dead may write the same file.
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
        """Copy a file into another folder, under its name."""
        to.write(name, self.read(name))

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""
        if self.has(name):
            self.filesystem.delete_file(self._path(name))

    def delete(self) -> None:
        """Remove the folder and all that is in it; nothing happens if it is not there."""
        if self.filesystem.get_file_info(self.path).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def _path(self, name: str) -> str:
        if any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name:
            raise ValueError(f"{name!r} is no name of a file in {self.location}")
        return f"{self.path}/{name}"


def split_options(location: str) -> tuple[str, str]:
    """Split a URI before its options, which keep their question mark; a path has no options."""
    if "://" not in location:
        return location, ""
    place, mark, options = location.partition("?")
    return place, f"{mark}{options}"


def holds_secret(location: str) -> bool:
    """Whether there is one in a URI: before the host, or among its options."""
    if "://" not in location:
        return False
    options = parse_qsl(location.partition("?")[2], keep_blank_values=True)
    return bool(_SECRET_BEFORE_HOST.match(location)) or any(_SECRET_OPTION.search(name) for name, _ in options)


def check_location(location: str) -> None:
    """Refuse a URI with a secret in it, which would be shown and recorded wherever the location is.

    Raises:
        ValueError: it holds one; the message does not.
    """
    if holds_secret(location):
        scheme = location.partition("://")[0]
        raise ValueError(
            f"a {scheme}:// URI with a secret in it would be shown and recorded; leave it out and set the environment "
            "(AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), ~/.aws/credentials or the machine's role"
        )


def reason(error: OSError) -> str:
    """Why the storage refused, in one line, with what to change where that is known."""
    if found := _AWS_ERROR.search(str(error)):
        code, text = found["code"], found["text"].strip().splitlines()[0] if found["text"].strip() else found["code"]
        if code == "NO_SUCH_BUCKET":
            return "there is no such bucket"
        if code == "NETWORK_CONNECTION":
            text = text.rpartition("Details: ")[2]
            return f"the object store cannot be reached: {text}; see endpoint_override in the URI, or AWS_ENDPOINT_URL"
        if _DENIED.search(f"{code} {text}"):
            return (
                f"the object store denies access: {text}; it is asked with AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, ~/.aws/credentials or the machine's role"
            )
        return text
    if error.errno is not None:
        return os.strerror(error.errno)
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def may_pass(error: OSError) -> bool:
    """Whether the same again may succeed: false for a bucket that is not there, and for access that is denied."""
    found = _AWS_ERROR.search(str(error))
    return found is None or (
        found["code"] != "NO_SUCH_BUCKET" and not _DENIED.search(f"{found['code']} {found['text']}")
    )


__all__ = ["Folder", "check_location", "may_pass", "reason", "split_options"]
