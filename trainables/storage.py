"""A folder on any filesystem that pyarrow knows: this machine's disks, or an object store such as S3.

Knows names and bytes. Does not know what is stored. No torch, no Ray; it can be sent to a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.fs as pafs


@dataclass(frozen=True)
class Folder:
    """Files by name below one path; a name may have slashes. Every method raises OSError where the storage does.

    A folder need not exist to be named: it is there once something is written into it, and lists as empty before.
    """

    filesystem: pafs.FileSystem
    path: str
    location: str
    """As the user would write it: a path, or `s3://bucket/folder?options`."""

    @classmethod
    def at(cls, location: str | Path) -> Folder:
        """The folder that a path or a URI names.

        Raises:
            ValueError: it is a URI that pyarrow cannot read.
        """
        if "://" not in str(location):
            path = str(Path(location).expanduser().absolute())
            return cls(pafs.LocalFileSystem(), path, path)
        filesystem, path = pafs.FileSystem.from_uri(str(location))
        return cls(filesystem, path.rstrip("/"), str(location))

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine, which may be mounted on others too."""
        return bool(self.filesystem.type_name == "local")

    def __truediv__(self, name: str) -> Folder:
        uri = urlsplit(self.location)
        location = (
            str(Path(self.location) / name)
            if self.is_local
            else uri._replace(path=f"{uri.path.rstrip('/')}/{name}").geturl()
        )
        return Folder(self.filesystem, f"{self.path}/{name}", location)

    def __str__(self) -> str:
        return self.location

    def names(self) -> list[str]:
        """Files and folders directly in it, in alphabetical order."""
        selector = pafs.FileSelector(self.path, allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector))

    def has(self, name: str) -> bool:
        return bool(self.filesystem.get_file_info(f"{self.path}/{name}").type == pafs.FileType.File)

    def read(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(f"{self.path}/{name}") as stream:
            return bytes(stream.read())

    def write(self, name: str, content: bytes) -> None:
        """Write a file, or replace it: whole or not at all, whenever the process dies."""
        path = f"{self.path}/{name}"
        if not self.is_local:  # an object is there once it is complete
            with self.filesystem.open_output_stream(path) as stream:
                stream.write(content)
            return
        self.filesystem.create_dir(path.rpartition("/")[0], recursive=True)
        with self.filesystem.open_output_stream(f"{path}.tmp") as stream:
            stream.write(content)
        self.filesystem.move(f"{path}.tmp", path)

    def copy(self, name: str, to: Folder) -> None:
        """Copy a file into another folder of the same filesystem, under its name."""
        to.write(name, self.read(name))

    def remove(self, name: str) -> None:
        """Remove a file; nothing happens if there is none."""
        if self.has(name):
            self.filesystem.delete_file(f"{self.path}/{name}")

    def delete(self) -> None:
        """Remove the folder and all that is in it; nothing happens if it is not there."""
        if self.filesystem.get_file_info(self.path).type == pafs.FileType.Directory:
            self.filesystem.delete_dir(self.path)
