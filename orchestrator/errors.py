"""What can go wrong, as one small tree.

    CellscoutError             exit status
      InputError                  2    something given to us is wrong; nothing was touched
        ConfigError                    a search file, a setting, or a name in it
        RunDirectoryError              the run directory cannot be used
        ClusterError                   the Ray cluster cannot run this
      SearchError                 1    a search started and could not go on; its record is whole up to there

A message is one line that gives the value, the bound and the setting to change.
"""


class CellscoutError(Exception):
    """Base of all errors that are shown without a traceback."""

    exit_status = 1


class InputError(CellscoutError, ValueError):
    """Something that the user gave is wrong."""

    exit_status = 2


class ConfigError(InputError):
    """A search file, a setting or a name in it is wrong."""


class RunDirectoryError(InputError):
    """The run directory cannot be created, read or written."""


class ClusterError(InputError):
    """The Ray cluster cannot be reached, or lacks what a trial asks for."""


class SearchError(CellscoutError):
    """A search started and could not go on."""


def last_line(error: BaseException) -> str:
    """The last line of an exception's message, where a wrapped traceback has its reason; else the exception's type."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
