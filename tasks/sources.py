"""The files of `data/sources.yaml`: from the mirror, else by URL, else from the hub; always checked.

Downloads are kept under `.factloop/downloads/`. A file whose SHA-256 nobody has published is
trusted at first sight: its digest goes to `data/sources.lock.yaml`, and every later copy,
from wherever it comes, must have it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import yaml
from tqdm import tqdm

from factloop.faults import kill_point

from .environment import ROOT, STATE
from .keys import file_digest

LOCK = ROOT / "data" / "sources.lock.yaml"
DOWNLOADS = STATE / "downloads"
TIMEOUT = (10, 30)  # seconds to connect and between two pieces
TRIES = 3
REDIRECTS = 5
PIECE = 1 << 16  # bytes; a connection that breaks loses at most so many


class SourceError(ValueError):
    """A source that cannot be had or is not what was promised."""


def find_source(name: str, declared: dict[str, Any], non_commercial: bool) -> Path:
    """The file of a source, checked against its SHA-256 and licence; files it needs `beside` lie in the same folder."""
    if name not in declared:
        raise SourceError(f"there is no source {name!r}; data/sources.yaml has {sorted(declared)}")
    source = declared[name]
    if source.get("non_commercial") and not non_commercial:
        raise SourceError(f"source {name!r} is under {source['licence']}: set data.source.non_commercial to true in the profile to use it")
    files = [source, *source.get("beside", [])]
    mirror = os.environ.get("DATA_MIRROR")
    root = Path(mirror).expanduser().resolve() if mirror else None
    mirrored = [_inside(root, file) for file in files] if root else [None for _ in files]
    missing = [file["file"] for file, path in zip(files, mirrored, strict=True) if not path or not path.is_file()]
    if not missing:
        return [_checked(file, path) for file, path in zip(files, mirrored, strict=True) if path][0]
    lacking = f"the mirror {root} lacks {', '.join(missing)}" if root else "DATA_MIRROR is not set"
    ways = f"set DATA_MIRROR=<folder> to a folder that holds {', '.join(file['file'] for file in files)}"
    if any("url" not in file and "hub" not in file for file in files):
        how = source.get("obtain", f"It is from {source['origin']}.")
        raise SourceError(f"source {name!r} cannot be downloaded: {lacking}. {how} Then {ways}")
    try:
        return [_downloaded(file) for file in files][0]
    except OSError as error:
        raise SourceError(f"source {name!r}: {error}; {lacking}. Connect this machine to the network, or {ways}") from None


def _inside(root: Path, file: dict[str, Any]) -> Path | None:
    """Where a file is in a folder; None if its name leads out of it."""
    path = (root / file["file"]).resolve()
    return path if path.is_relative_to(root.resolve()) else None


def _checked(file: dict[str, Any], path: Path) -> Path:
    """`path`, if it has the SHA-256 that is declared, or else the one noted when the file was first seen."""
    found, known = file_digest(path), file.get("sha256")
    said = "data/sources.yaml"
    if known is None:
        noted = yaml.safe_load(LOCK.read_text()) if LOCK.exists() else None
        known, said = (noted or {}).get(file["file"]), f"data/{LOCK.name}, from when it was first seen,"
        if known is None:
            scratch = LOCK.with_name(LOCK.name + ".unfinished")
            scratch.write_text(yaml.safe_dump((noted or {}) | {file["file"]: found}))
            kill_point("digest:written")
            scratch.replace(LOCK)
            kill_point("digest:noted")
            return path
    if found != known:
        raise SourceError(f"{path}: SHA-256 is {found}, {said} says {known}")
    return path


def _downloaded(file: dict[str, Any]) -> Path:
    target = _inside(DOWNLOADS, file)
    if target is None:
        raise SourceError(f"data/sources.yaml: {file['file']} leads out of {DOWNLOADS}")
    if target.is_file():
        return _checked(file, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(target.name + ".unfinished")
    if "url" in file:
        download(file["url"], scratch, resume="sha256" in file)
    else:
        _from_hub(file["hub"], scratch)
    kill_point("download:ended")
    try:
        _checked(file, scratch)
    except SourceError:
        scratch.unlink()  # nothing to go on from
        raise
    kill_point("download:checked")
    scratch.replace(target)
    kill_point("download:renamed")
    return target


def _refuse(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")):
        raise SourceError(f"{url} is not https: refused")


def download(url: str, scratch: Path, resume: bool) -> None:
    """Stream `url` to a file, going on where an earlier attempt broke off if `resume`; OSError names the URL."""
    if not resume:
        scratch.unlink(missing_ok=True)
    for attempt in range(1, TRIES + 1):
        have = scratch.stat().st_size if scratch.exists() else 0
        try:
            _stream(url, scratch, have)
            return
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            now = scratch.stat().st_size if scratch.exists() else 0
            if attempt == TRIES or now == have:  # another try only where the last one got further
                raise OSError(f"{url} cannot be reached ({type(error).__name__} after {now} bytes)") from None
            if not resume:
                scratch.unlink(missing_ok=True)


def _stream(url: str, scratch: Path, have: int) -> None:
    # As it lies there, not compressed for the way, so that ranges and sizes are those of the file.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.Session() as session:
        place = url
        for _ in range(REDIRECTS + 1):
            _refuse(place)
            response = session.get(place, headers=headers, stream=True, timeout=TIMEOUT, allow_redirects=False)
            if not response.is_redirect:
                break
            place = urljoin(place, response.headers["Location"])
        if response.status_code == 416:  # the file has no more bytes than we have, or changed: begin again
            scratch.unlink()
            return _stream(url, scratch, 0)
        if response.status_code not in (200, 206):
            raise OSError(f"{url} answers {response.status_code} {response.reason}")
        more = response.status_code == 206
        begin = have if more else 0
        size = begin + int(response.headers.get("Content-Length", 0))
        with (
            scratch.open("ab" if more else "wb") as stream,
            tqdm(desc=f"downloading {url}", total=size or None, initial=begin, unit="B", unit_scale=True, mininterval=5) as bar,
        ):
            for piece in response.iter_content(PIECE):
                stream.write(piece)
                kill_point("download:piece")
                bar.update(len(piece))
    return None


class _Bar(tqdm):  # type: ignore[type-arg]
    """The hub's progress, said like ours."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **(options | {"desc": f"downloading {options.get('desc', '')}", "mininterval": 5, "disable": False}))


def _from_hub(hub: dict[str, str], scratch: Path) -> None:
    """`hub` names repo, revision and file of a dataset repository."""
    import httpx
    from huggingface_hub import hf_hub_download, hf_hub_url

    said = f"{hub['file']} of the dataset {hub['repo']}@{hub['revision'][:12]} on the hub"
    place = {"repo_id": hub["repo"], "filename": hub["file"], "repo_type": "dataset", "revision": hub["revision"]}
    try:
        # The hub's own client tries for minutes to reach what is not there.
        requests.head(hf_hub_url(**place), timeout=TIMEOUT, allow_redirects=False)
        found = hf_hub_download(**place, local_dir=DOWNLOADS / "hub", tqdm_class=_Bar)  # type: ignore[call-overload]
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise OSError(f"{said} cannot be had ({type(error).__name__}: {str(error).splitlines()[0]})") from None
    kill_point("download:from-hub")
    Path(found).replace(scratch)
