"""Files by URL and from a hub, against a server on this machine."""

from __future__ import annotations

import functools
import hashlib
import http.server
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from factloop.corpora.published import PUBLISHED
from factloop.corpora.readers import read
from factloop.corpora.rows import BadRow, Rule
from tasks import sources
from tasks.sources import SourceError, find_source
from tests.conftest import Clone, Undisturbed
from tests.soundness import Killed

pytestmark = pytest.mark.unit
CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CHECKED = ("download:piece", "download:ended", "download:checked", "download:renamed")
TRUSTED = ("digest:written", "digest:noted", "download:renamed")
FROM_HUB = ("download:from-hub",)
POINTS = (*CHECKED, *TRUSTED, *FROM_HUB)


class Handler(http.server.BaseHTTPRequestHandler):
    """One file: whole, in ranges, cut short, moved; and as the hub serves it."""

    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.asked.append(f"{self.command} {self.path} {self.headers.get('Range', '')}".strip())
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", {"/moved": "/file", "/moved-off": "http://example.org/file"}[self.path])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path not in ("/file", "/cut", "/cut-once", "/datasets/who/data/resolve/abc123/folder/file.bin"):
            return self.send_error(404)
        ranged = self.headers.get("Range", "")
        begin = int(ranged.removeprefix("bytes=").rstrip("-").partition("-")[0]) if ranged else 0
        self.send_response(206 if ranged else 200)
        self.send_header("Content-Length", str(len(CONTENT) - begin))
        self.send_header("ETag", f'"{DIGEST}"')
        self.send_header("X-Repo-Commit", "abc123")
        self.end_headers()
        if self.command == "GET":
            cut = self.path == "/cut" or (self.path == "/cut-once" and not ranged)
            self.wfile.write(CONTENT[begin : begin + 300_000] if cut else CONTENT[begin:])
        return None

    def log_message(self, *arguments: Any) -> None: ...


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    Handler.asked.clear()
    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, daemon=True).start()
    monkeypatch.setattr(sources, "DOWNLOADS", tmp_path / "downloads")
    monkeypatch.setattr(sources, "LOCK", tmp_path / "sources.lock.yaml")
    monkeypatch.delenv("DATA_MIRROR", raising=False)
    yield f"http://127.0.0.1:{found.server_port}"
    found.shutdown()


def source(url: str = "", **fields: Any) -> dict[str, Any]:
    own = {"file": "some/file.bin", "licence": "CC0", "origin": "here", "sha256": DIGEST} | ({"url": url} if url else {}) | fields
    return {"some": {name: value for name, value in own.items() if value is not None}}


find = functools.partial(find_source, "some", non_commercial=False)


def test_a_url_is_fetched_once_and_followed_where_it_moved(server: str, tmp_path: Path) -> None:
    path = find(source(f"{server}/moved"))
    assert path == tmp_path / "downloads" / "some" / "file.bin" and path.read_bytes() == CONTENT
    before = list(Handler.asked)
    assert find(source(f"{server}/moved")) == path and Handler.asked == before == ["GET /moved", "GET /file"]


def test_a_download_that_breaks_off_goes_on_where_it_was(server: str) -> None:
    assert find(source(f"{server}/cut-once")).read_bytes() == CONTENT
    kept = 300_000 // sources.PIECE * sources.PIECE
    assert Handler.asked == ["GET /cut-once", f"GET /cut-once bytes={kept}-"]
    assert not list(sources.DOWNLOADS.rglob("*.unfinished"))


def test_without_a_digest_a_broken_download_begins_anew(server: str) -> None:
    with pytest.raises(SourceError, match=r"/cut cannot be reached"):
        find(source(f"{server}/cut", sha256=None))
    assert all("bytes=" not in line for line in Handler.asked) and not sources.LOCK.exists()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"url": "/file", "sha256": "0" * 64}, f"SHA-256 is {DIGEST}, data/sources.yaml says 0000"),
        ({"url": "/none"}, r"source 'some': .*/none answers 404 .*DATA_MIRROR is not set.*set DATA_MIRROR=<folder>"),
        ({"url": "/moved-off"}, "http://example.org/file is not https: refused"),
        ({"url": "/file", "file": "../../outside.bin"}, "data/sources.yaml: ../../outside.bin leads out of"),
    ],
)
def test_what_cannot_be_taken_says_why(server: str, tmp_path: Path, fields: dict[str, str], says: str) -> None:
    with pytest.raises(SourceError, match=says):
        find(source(**(fields | {"url": server + fields["url"]})))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_server_that_is_not_there_is_told_quickly(server: str) -> None:
    began = time.monotonic()
    with pytest.raises(
        SourceError, match=r"http://127.0.0.1:1/file cannot be reached .*Connect this machine to the network, or set DATA_MIRROR"
    ):
        find(source("http://127.0.0.1:1/file"))
    assert time.monotonic() - began < 10


def test_without_a_published_digest_the_first_copy_is_held_to(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find(source(f"{server}/file", sha256=None)).read_bytes() == CONTENT
    assert sources.LOCK.read_text() == f"some/file.bin: {DIGEST}\n"
    altered = tmp_path / "mirror" / "some" / "file.bin"
    altered.parent.mkdir(parents=True)
    altered.write_bytes(CONTENT + b"!")
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(SourceError, match=f"data/sources.lock.yaml, from when it was first seen, says {DIGEST}"):
        find(source(f"{server}/file", sha256=None))


def test_a_mirror_comes_first_and_what_it_lacks_is_fetched(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = tmp_path / "mirror" / "some" / "file.bin"
    held.parent.mkdir(parents=True)
    held.write_bytes(CONTENT)
    monkeypatch.setenv("DATA_MIRROR", str(tmp_path / "mirror"))
    assert find(source(f"{server}/file")) == held and not Handler.asked
    beside = [{"file": "some/other.bin", "sha256": DIGEST, "url": f"{server}/file"}]
    path = find(source(f"{server}/file", beside=beside))  # all of a source comes from one place
    assert path.parent == tmp_path / "downloads" / "some" and path.with_name("other.bin").read_bytes() == CONTENT
    with pytest.raises(SourceError, match=r"cannot be downloaded: the mirror .* lacks some/none.bin. Build it so. Then set DATA_MIRROR"):
        find(source(file="some/none.bin", obtain="Build it so."))


FETCH = """
from tasks import sources
from tasks.environment import prepare
prepare()
print(sources.find_source("some", {"some": FIELDS}, False))
"""
HUB = """
from pathlib import Path
from tasks import sources
from tasks.environment import prepare
prepare()
hub = {"repo": "who/data", "revision": "abc123", "file": "folder/FILE"}
try:
    print(sources.find_source("some", {"some": {"file": "some/file.bin", "sha256": DIGEST, "hub": hub, "origin": "here"}}, False))
except sources.SourceError as error:
    print(error)
"""


@pytest.mark.flow
def test_a_dataset_of_the_hub(server: str, clone: Clone) -> None:
    """In a process of its own: huggingface_hub reads HF_ENDPOINT when it is imported."""
    code = HUB.replace("DIGEST", repr(DIGEST))
    result = clone.run("-c", code.replace("FILE", "file.bin"), HF_ENDPOINT=server)
    target = clone.folder / ".factloop" / "downloads" / "some" / "file.bin"
    assert result.stdout.strip() == str(target) and target.read_bytes() == CONTENT, result.stderr[-2000:]
    target.unlink()
    missing = clone.run("-c", code.replace("FILE", "none.bin"), HF_ENDPOINT=server)
    assert "folder/none.bin of the dataset who/data@abc123 on the hub cannot be had" in missing.stdout
    began = time.monotonic()
    away = clone.run("-c", code.replace("FILE", "file.bin"), HF_ENDPOINT="http://127.0.0.1:1")
    assert "cannot be had" in away.stdout and "set DATA_MIRROR=<folder> to a folder that holds some/file.bin" in away.stdout
    assert time.monotonic() - began < 20 and "Traceback" not in away.stderr


@pytest.mark.fault
def test_killed_at_every_point_a_download_ends_as_if_never_killed(server: str, clone: Clone) -> None:
    """In processes of their own: of a file with a digest, of one trusted at first sight, of the hub's."""
    hub = {"repo": "who/data", "revision": "abc123", "file": "folder/file.bin"}
    lock, downloads = clone.folder / "data" / "sources.lock.yaml", clone.folder / ".factloop" / "downloads"
    for name, fields, points in (
        ("checked", {"url": f"{server}/file", "sha256": DIGEST}, CHECKED),
        ("trusted", {"url": f"{server}/file"}, TRUSTED),
        ("hub", {"hub": hub, "sha256": DIGEST}, FROM_HUB),
    ):
        code = FETCH.replace("FIELDS", repr({"file": f"{name}/file.bin", "origin": "here"} | fields))
        target = downloads / name / "file.bin"
        for point in points:
            died = clone.run("-c", code, FACTLOOP_KILL=point, HF_ENDPOINT=server)
            assert died.returncode == -signal.SIGKILL, f"{point} was not reached: {died.stdout[-500:]}{died.stderr[-2000:]}"
            assert target.exists() == (point == "download:renamed"), point
            assert not target.exists() or target.read_bytes() == CONTENT
            assert lock.exists() == (name == "trusted" and point != "digest:written") or name == "hub", point
        result = clone.run("-c", code, HF_ENDPOINT=server)
        assert result.stdout.strip() == str(target) and target.read_bytes() == CONTENT, result.stderr[-2000:]
    assert f"GET /file bytes={sources.PIECE}-" in Handler.asked  # what was killed half-way went on from there
    assert yaml.safe_load(lock.read_text()) == {"trusted/file.bin": DIGEST}
    assert sum(line == "GET /datasets/who/data/resolve/abc123/folder/file.bin" for line in Handler.asked) == 1
    assert not [*clone.folder.glob("data/*.unfinished"), *downloads.rglob("*.unfinished")]


@pytest.mark.fault
def test_a_download_is_there_once_it_is_verified_however_it_was_killed(
    server: str, monkeypatch: pytest.MonkeyPatch, kill: Callable[[str], None]
) -> None:
    def dies(path: Path) -> str:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(sources, "file_digest", dies)
        find(source(f"{server}/file"))
    assert not (sources.DOWNLOADS / "some" / "file.bin").exists()
    kill("download:checked")
    with pytest.raises(Killed):
        find(source(f"{server}/file"))
    assert not (sources.DOWNLOADS / "some" / "file.bin").exists()
    kill("")
    assert find(source(f"{server}/file")).read_bytes() == CONTENT


@pytest.mark.fault
def test_the_digest_of_a_first_copy_is_noted_whole_or_not_at_all(server: str, kill: Callable[[str], None]) -> None:
    noted = f"another: {DIGEST}\n"
    sources.LOCK.write_text(noted)
    kill("digest:written")
    with pytest.raises(Killed):
        find(source(f"{server}/file", sha256=None))
    assert sources.LOCK.read_text() == noted


@pytest.mark.flow
def test_a_profile_without_its_data_stops_with_both_ways_out(undisturbed: Undisturbed) -> None:
    sources_file = undisturbed.clone.folder / "data" / "sources.yaml"
    whole = sources_file.read_text()
    sources_file.write_text(whole.replace("https://rajpurkar.github.io", "http://127.0.0.1:1"))
    result = undisturbed.clone.retrain("paper", HF_ENDPOINT="http://127.0.0.1:1")
    sources_file.write_text(whole)
    assert result.returncode == 2 and "Traceback" not in result.stderr, result.stderr[-3000:]
    assert "source 'xsum': data/XSUM-EMNLP18-Summary-Data-Original.tar.gz of the dataset EdinburghNLP/xsum@" in result.stderr
    assert "Connect this machine to the network, or set DATA_MIRROR=<folder> to a folder that holds xsum/XSUM-" in result.stderr


def rows_of(reader: str, record: Any) -> list[dict[str, Any]]:
    return PUBLISHED[reader].rows(record)


def test_records_of_published_formats_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(Rule, match="article 7 has no section RESTBODY"):
        rows_of("xsum-archive", ("7", "train", b"[SN]FIRST-SENTENCE[SN]\nA.\n"))
    assert rows_of("xsum-archive", ("7", "train", b"[SN]FIRST-SENTENCE[SN]\n\n[SN]RESTBODY[SN]\nB\n")) == []
    with pytest.raises(Rule, match="not UTF-8"):
        rows_of("stories", ("7", "train", b"\xff"))
    assert rows_of("stories", ("7", "test", b"One\n\n@highlight\n\nREAD this")) == []
    story = {"storyId": "s", "text": "One two.", "type": "train", "questions": [{"q": "Who?", "consensus": {"s": 4, "e": 99}}]}
    assert rows_of("newsqa", story)[0]["questions"] == [{"question": "Who?", "answer": "two."}]
    with pytest.raises(Rule, match=r"question 'Who\?': the span 9-12 is not within 8 characters"):
        rows_of("newsqa", story | {"questions": [{"q": "Who?", "consensus": {"s": 9, "e": 12}}]})
    path = tmp_path / "combined.json"
    path.write_text('{"data": [{"text": "x"}]}')
    with pytest.raises(BadRow, match=r"combined.json: row 1: not of this format \(KeyError: 'type'\)"):
        list(read(path, PUBLISHED["newsqa"]))
    with zipfile.ZipFile(tmp_path / "tables.zip", "w") as made:
        for folder in ("tables_tok", "request_tok"):
            made.writestr(f"w/{folder}/a.json", "{}")
    with pytest.raises(BadRow, match=r"tables.zip: row 1: not of this format \(KeyError"):
        list(read(tmp_path / "tables.zip", PUBLISHED["wikitables"]))
    broken = tmp_path / "XSUM.tar.gz"
    broken.write_bytes(b"no archive")
    with pytest.raises(Rule, match="needs XSum-TRAINING"):
        list(PUBLISHED["xsum-archive"].records(broken))
    broken.with_name("XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json").write_text('{"train": ["7"], "validation": [], "test": []}')
    with pytest.raises(Rule, match="not a tar archive"):
        list(PUBLISHED["xsum-archive"].records(broken))
