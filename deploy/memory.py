"""How does a process that uses much memory again and again avoid asking the system for it each time?

glibc hands large pieces back as soon as they are free, and the system clears every page before it gives it out again.
A process that takes in requests does that for each batch that it writes: an eighth of its time.
"""

import ctypes

KEEP_BYTES_MAX = 128 * 1024 * 1024
"""Free memory that is kept. Beyond it glibc hands back what lies at the end of the heap."""

PIECE_BYTES_MAX = 32 * 1024 * 1024
"""Larger pieces still come from the system and go back to it at once. glibc allows no more."""

# Source: mallopt(3), malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_memory() -> bool:
    """Tells the allocator; False where it is another than glibc's, which is left as it is."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, PIECE_BYTES_MAX) and mallopt(_M_TRIM_THRESHOLD, KEEP_BYTES_MAX))
