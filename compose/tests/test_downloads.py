"""Downloads are resumed, chosen for the machine, and show their progress."""

import hashlib
import io
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sink_stack import programs
from sink_stack.errors import StackError
from sink_stack.maven import Artifact, Maven
from sink_stack.progress import Arrivals, Reporter

ARCHIVE = Artifact("org.example", "server", "1.0", "tar.gz")
CONTENT = bytes(range(256)) * 4000


class Mirror(BaseHTTPRequestHandler):
    """Serves ranges of one file, as a Maven repository does."""

    requested: list[str | None] = []  # noqa: RUF012 - the server makes a handler for each request
    cut_off = False

    def do_GET(self):
        self.requested.append(self.headers["Range"])
        begin = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.end_headers()
        end = begin + 1000 if self.cut_off else len(CONTENT)
        self.wfile.write(CONTENT[begin:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def mirror():
    Mirror.requested.clear()
    Mirror.cut_off = False
    server = HTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/maven"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def maven(tmp_path, monkeypatch, mirror):
    """An interrupted download of Maven, with an `mvn` that fails."""
    sums = tmp_path / "checksums.txt"
    sums.write_text(f"{hashlib.sha256(CONTENT).hexdigest()}  server-1.0.tar.gz\n")
    download = Maven(
        repository=tmp_path / "m2", plugin_version="1", checksums=sums, log=tmp_path / "l"
    )
    download.log.write_text(f"[INFO] Downloading from central: {mirror}/{ARCHIVE.path.name}\n")
    (download.repository / ARCHIVE.folder).mkdir(parents=True)
    program = tmp_path / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return download


@pytest.mark.parametrize("suffix", [".part", ".8812.tmp"])
def test_interrupted_download_is_resumed(maven, suffix):
    path = maven.repository / ARCHIVE.path
    path.with_name(path.name + suffix).write_bytes(CONTENT[:300_000])
    assert maven.get(ARCHIVE).read_bytes() == CONTENT
    assert Mirror.requested == ["bytes=300000-"]


def test_download_interrupted_twice_keeps_received_bytes(maven):
    path = maven.repository / ARCHIVE.path
    part = path.with_name(path.name + ".part")
    part.write_bytes(CONTENT[:300_000])
    Mirror.cut_off = True
    with pytest.raises(StackError, match="Maven could not fetch"):
        maven.get(ARCHIVE)
    assert part.stat().st_size == 301_000
    Mirror.cut_off = False
    assert maven.get(ARCHIVE).read_bytes() == CONTENT


def test_unknown_download_is_left_to_maven(maven):
    with pytest.raises(StackError, match="Maven could not fetch"):
        maven.get(ARCHIVE)
    assert Mirror.requested == []


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [("x86_64", "amd64"), ("aarch64", "arm64v8"), ("arm64", "arm64v8")],
)
def test_postgresql_is_chosen_for_the_machine(machine, architecture):
    name = f"embedded-postgres-binaries-linux-{architecture}"
    assert programs.postgres_binaries(machine) == name


def test_error_for_unknown_machine_names_known_ones():
    with pytest.raises(StackError, match=r"'riscv64', only for x86_64, aarch64, arm64: run `STACK"):
        programs.postgres_binaries("riscv64")


def test_bytes_of_renamed_files_count_once(tmp_path):
    (tmp_path / "before.jar").write_bytes(bytes(500))
    arrived = Arrivals(tmp_path)
    (tmp_path / "a.tar.gz.part").write_bytes(bytes(100))
    (tmp_path / "b.jar.77.tmp").write_bytes(bytes(10))
    assert arrived.bytes() == 110
    (tmp_path / "a.tar.gz.part").rename(tmp_path / "a.tar.gz")
    (tmp_path / "b.jar.77.tmp").rename(tmp_path / "b.jar")
    assert arrived.bytes() == 110
    (tmp_path / "a.tar.gz").unlink()
    assert arrived.bytes() == 110


def test_progress_is_shown_from_first_second_without_terminal():
    completed = io.StringIO()
    reporter = Reporter(completed)
    with reporter.watching(lambda: "fetching"), reporter.watching(lambda: "installing"):
        time.sleep(0.2)
    first = completed.getvalue().splitlines()[0]
    assert "0.0s  fetching" in first


def test_progress_on_a_terminal_stays_on_one_line(monkeypatch):
    completed = io.StringIO()
    completed.isatty = lambda: True
    monkeypatch.setenv("COLUMNS", "40")
    reporter = Reporter(completed)
    with reporter.watching(lambda: "x" * 100):
        time.sleep(0.2)
        live = completed.getvalue()
    assert live.startswith("\r\x1b[K")
    assert "\n" not in live
    assert len(live) < 50
