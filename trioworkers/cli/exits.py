"""Exit codes, after sysexits.h where it has one; services and scripts depend on them."""

DONE = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
UNREACHABLE = 69
TRY_AGAIN = 75
NOT_PERMITTED = 77
BAD_CONFIGURATION = 78
