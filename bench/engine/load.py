"""From a cold disk to the first token, against the disk's own speed; or from S3's ranges, next to that.

    python -m bench.engine.load <bundle> [--rounds 3]
    python -m bench.engine.load <bundle> --s3 1 16 32 64 [--first-byte 0.03 --stream 80]

Each round puts the bundle out of the page cache, reads it plainly with as many threads as the engine
has, puts it out again and starts a Python that loads it and tells one token. The target is
1.2 x (reading + import of torch). Linux only; random weights do as well (`bench.engine` leaves some).

With `--s3` a local HTTP server with S3's ranges serves the same files from the page cache. Each round reads them with
N GETs at once, without and with their checksums, and loads the bundle from there, next to the mapped file. Such
a server is nearer than S3 can be: `--first-byte` is how many seconds pass before an answer begins, `--stream` how many
MB/s a connection has. CPU time is this side's alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.engine.object_server import add_options
from storyteller.bucket import Bucket
from storyteller.engine.files.bundle import read_manifest
from storyteller.engine.files.reading import Part, Reading

ROOT = Path(__file__).resolve().parents[2]
_LOAD = """
import sys, time
from storyteller.engine import Sampling, load_engine
engine = load_engine(sys.argv[1], chat=False, context=2048, copy=sys.argv[2] == "copy")
engine.generate(engine.encode("Once"), Sampling(temperature=0, max_tokens=1))
"""
_LOAD_S3 = """
import sys
from storyteller.bucket import Bucket
from storyteller.engine import Sampling, load_engine
with Bucket("s3://bucket/prefix", parallel=int(sys.argv[1])) as bucket:
    engine = load_engine(bucket, chat=False, context=2048)
engine.generate(engine.encode("Once"), Sampling(temperature=0, max_tokens=1))
"""


def forget(folder: Path) -> None:
    """Puts a folder's files out of the page cache."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(code: str, *arguments: str) -> float:
    """Seconds that a fresh Python takes for `code`."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "lambda")])
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, env={**os.environ, "PYTHONPATH": paths})
    return time.perf_counter() - began


@contextmanager
def server_of(bundle: Path, first_byte_s: float, stream_mb_s: float) -> Iterator[str]:
    """The address of a server in a process of its own: in this one its threads would take turns with the reader's."""
    command = [sys.executable, "-m", "bench.engine.object_server", str(bundle)]
    command += ["--first-byte", str(first_byte_s), "--stream", str(stream_mb_s)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measure_disk(bundle: Path, parts: Sequence[Part]) -> dict[str, float]:
    """One round from the disk."""
    row = {"import_torch_s": timed("import torch")}
    forget(bundle)
    began = time.perf_counter()
    Reading(parts, lambda done, total: None).wait()
    row["read_s"] = time.perf_counter() - began
    for way in ("map", "copy"):
        forget(bundle)
        row[f"first_token_{way}_s"] = timed(_LOAD, str(bundle), way)
    row["ratio"] = row["first_token_map_s"] / (row["read_s"] + row["import_torch_s"])
    return row


def measure_s3(bundle: Path, parallel: Sequence[int]) -> dict[str, float]:
    """One round from the server that AWS_ENDPOINT_URL_S3 names, next to the mapped file in the page cache."""
    manifest = read_manifest(bundle)
    files = [(name, *found) for name, found in manifest.files.items() if name.endswith(".safetensors")]
    total = sum(size for _, size, _ in files)
    parts = [Part(bundle / name, 0, size, None) for name, size, _ in files]
    Reading(parts, lambda done, total: None).wait()  # into the page cache
    row = {"first_token_map_s": timed(_LOAD, str(bundle), "map")}
    with Bucket("s3://bucket/prefix"):
        pass  # the first client imports boto3, which belongs to no count of GETs
    for count in parallel:
        into = [(name, size, digest, memoryview(bytearray(size))) for name, size, digest in files]
        for checked in (False, True):
            wanted = [Part(Path(name), 0, size, view, digest if checked else None) for name, size, digest, view in into]
            began, worked = time.perf_counter(), time.process_time()
            with Bucket("s3://bucket/prefix", parallel=count) as bucket:
                Reading(wanted, lambda done, total: None, store=bucket).wait()
            word = "checked" if checked else "read"
            row[f"{word}_{count}_gb_per_s"] = total / (time.perf_counter() - began) / 1e9
            row[f"{word}_{count}_cpu_s_per_gb"] = (time.process_time() - worked) / total * 1e9
        row[f"first_token_{count}_s"] = timed(_LOAD_S3, str(count))
        row[f"ratio_{count}"] = row[f"first_token_{count}_s"] / row["first_token_map_s"]
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine.load", description="Cold load to the first token.")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--s3", type=int, nargs="+", metavar="GETS", help="from a local server, by that many GETs at once"
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    files = sorted(options.bundle.glob("*.safetensors"))
    parts = [Part(path, 0, path.stat().st_size, None) for path in files]
    about: dict[str, float] = {"bytes": sum(part.end for part in parts)}
    if options.s3:
        with server_of(options.bundle, options.first_byte, options.stream) as url:
            credentials = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "nobody")
            os.environ.update(credentials, AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL_S3=url)
            rows = [measure_s3(options.bundle, options.s3) for _ in range(options.rounds)]
    else:
        rows = [measure_disk(options.bundle, parts) for _ in range(options.rounds)]
    found = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    if not options.s3:
        about["read_gb_per_s"] = about["bytes"] / found["read_s"] / 1e9
    print(json.dumps({**about, **found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
