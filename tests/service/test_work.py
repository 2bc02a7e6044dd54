"""What the tasks compute, without Celery."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from service.work import events, host, pages, texts, tokens

SOURCE = "import os\n\n\ndef f(x):\n    return x if x else os\n"


def test_count_tokens(tmp_path: Path) -> None:
    """Types are exact, keywords are counted by word."""
    file = tmp_path / "a.py"
    file.write_text(SOURCE)
    counted = tokens.count_tokens(file)
    assert counted["files"] == 1
    assert counted["bytes"] == len(SOURCE)
    assert counted["keywords"] == {"import": 1, "def": 1, "return": 1, "if": 1, "else": 1}
    assert (counted["tokens"]["LPAR"], counted["tokens"]["COLON"], counted["tokens"]["INDENT"]) == (1, 1, 1)
    assert counted["unreadable"] == {}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"# coding: no-such-encoding\nx = 1\n", "SyntaxError"),
        (b"x = '\xff'\n", "SyntaxError"),
        (b"if x:\n        a\n    b\n", "IndentationError"),
        (b"x = (1,\n", "TokenError"),
        (b"# coding: utf-8\nx = 1\n" * 9000 + b"'\xff'\n", "UnicodeDecodeError"),
    ],
)
def test_an_unreadable_file_counts_as_a_whole(tmp_path: Path, content: bytes, error: str) -> None:
    """Whatever was read before the error is left out: the result is the same everywhere."""
    file = tmp_path / "a.py"
    file.write_bytes(content)
    counted = tokens.count_tokens(file)
    assert set(counted["unreadable"]) <= {error, "SyntaxError"}
    assert (counted["files"], counted["bytes"], counted["tokens"], counted["lines"]) == (1, len(content), {}, 0)


def test_merge_is_a_sum_in_any_order(tmp_path: Path) -> None:
    """Nothing, one, many; parts of parts."""
    parts = []
    for number in range(5):
        file = tmp_path / f"{number}.py"
        file.write_text(SOURCE * number)
        parts.append(tokens.count_tokens(file))
    whole = tokens.merge(parts)
    assert whole["files"] == 5
    assert whole["keywords"]["def"] == 10
    assert tokens.merge(reversed(parts)) == whole
    assert tokens.merge([tokens.merge(parts[:2]), tokens.merge(parts[2:])]) == whole
    assert tokens.merge([])["files"] == 0


def test_merge_does_not_change_its_parts(tmp_path: Path) -> None:
    """A part may be merged again."""
    file = tmp_path / "a.py"
    file.write_text(SOURCE)
    part = tokens.count_tokens(file)
    assert tokens.merge([part, part])["files"] == 2
    assert part == tokens.count_tokens(file)


def test_check_event() -> None:
    """Only a whole and well-formed event is valid."""
    good = '{"kind": "order.paid", "id": 7}'
    assert events.check_event(good, events.checksum(good)) == {"valid": True, "kind": "order.paid", "reason": ""}
    assert events.check_event(good + " ", events.checksum(good))["reason"] == "checksum differs"
    for body, reason in (("[", "not JSON"), ("[1]", "no kind"), ('{"kind": 3}', "no kind")):
        assert events.check_event(body, events.checksum(body)) == {"valid": False, "kind": "", "reason": reason}


def test_digest_text() -> None:
    """Counts are those of Python's own text methods."""
    assert texts.digest_text("eins zwei\ndrei ü") == {
        "characters": 16,
        "words": 4,
        "lines": 2,
        "sha256": sha256("eins zwei\ndrei ü".encode()).hexdigest(),
    }


def test_probe() -> None:
    """The sample is of this process."""
    sample = host.probe()
    assert sample["cpus"] >= 1
    assert sample["peak_memory_mb"] > 1


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"page " * 20_000
        self.send_response(200 if self.path == "/page" else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """A web server with one page."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_fetch_page(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status, size and checksum; an error status is a result, a page without end is not."""
    expected = sha256(b"page " * 20_000).hexdigest()
    page = pages.fetch_page(f"{site}/page")
    assert page == {"url": f"{site}/page", "status": 200, "bytes": 100_000, "sha256": expected}
    assert pages.fetch_page(f"{site}/none")["status"] == 404
    monkeypatch.setattr(pages, "MAX_BYTES", 1000)
    with pytest.raises(pages.PageTooLargeError):
        pages.fetch_page(f"{site}/page")
