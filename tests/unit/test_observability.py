import subprocess
import sys
from pathlib import Path

PROGRAM = """
import resource, sys, structlog
from tollway.observability import configure_logging
configure_logging(sys.argv[1])
log = structlog.get_logger()
log.warning("before")
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for _ in range(3):
    log.warning("meanwhile")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.warning("after")
print("went on")
"""


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    for log_format in ("json", "console"):
        with (tmp_path / log_format).open("wb") as log:
            done = subprocess.run([sys.executable, "-c", PROGRAM, log_format], stderr=log, stdout=subprocess.PIPE, check=False)
        assert done.stdout == b"went on\n"
        written = (tmp_path / log_format).read_text()
        assert "before" in written
        assert "after" in written
