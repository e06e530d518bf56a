"""File descriptors: a connection is one, and what is done for its request is most often another."""

import contextlib
import resource

_CONNECTIONS_MAX = 16_384
_RESERVED = 256
"""For the database, the log, modules that are loaded late."""


def connections_that_fit() -> int:
    """How many connections this process and its children can have each, having raised their limit of open files as far as need
    be: what it is at first, mostly 1024, is the choice of who cares for programs that use `select`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _CONNECTIONS_MAX + _RESERVED
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return _CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(16, min(_CONNECTIONS_MAX, (soft - _RESERVED) // 2))
