"""A bundle read from S3: the same engine as from its folder, and a sentence for whatever goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.engine.object_server import Handler, ObjectServer, serving
from model_build.packing.pack import pack
from model_build.packing.prefix import write_prefix
from model_build.sources import open_source
from storyteller.bucket import Bucket, opened
from storyteller.engine import Engine, EngineError, Sampling, load_engine
from storyteller.engine.files.reading import Part, Reading
from tests.tiny_llama import LLAMA_3_1, write_tiny_llama

ROOT = Path(__file__).resolve().parents[3]
GREEDY = Sampling(temperature=0.0, max_tokens=40)
LINE = "Once upon a time there was a gate."
Fault = Callable[["Faulty", Path, int, int, int | None, str, int], bool]


class Faulty(Handler):
    """Asks the server's `fault` before each answer; True means that the fault has answered."""

    def tag(self, path: Path) -> str:
        return getattr(self.server, "tags", {}).get(path.name) or super().tag(path)

    def answer(self, path: Path, begin: int, end: int, whole: int | None, tag: str, number: int) -> None:
        fault: Fault | None = getattr(self.server, "fault", None)
        if fault is None or not fault(self, path, begin, end, whole, tag, number):
            super().answer(path, begin, end, whole, tag, number)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options: dict[str, Any] = {**LLAMA_3_1, "width": 128, "hidden": 192, "head_dim": 64, "scale": 0.06}
    source = write_tiny_llama(tmp_path_factory.mktemp("checkpoint"), words=["gate"], **options)
    return pack(open_source(str(source), None), tmp_path_factory.mktemp("bundles") / "bundle", calibration="none")


@pytest.fixture
def bundle(packed: Path, tmp_path: Path) -> Path:
    """A copy to be spoiled, with a shipped prefix."""
    own = Path(shutil.copytree(packed, tmp_path / "own"))
    engine = load_engine(own, threads=1, kernel="reference")
    write_prefix(own, engine, engine.encode(LINE * 3))
    return own


@pytest.fixture
def server(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    server = ObjectServer(bundle)
    server.RequestHandlerClass = Faulty
    for name, value in {
        "AWS_ENDPOINT_URL_S3": server.url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with serving(server):
        yield server


def load(parallel: int = 4, **options: Any) -> Engine:
    with Bucket("s3://bucket/some/prefix", parallel=parallel, pause=lambda seconds: None) as bucket:
        return load_engine(bucket, threads=1, kernel="reference", **options)


def tell(engine: Engine) -> tuple[str, int]:
    told = engine.generate(engine.encode(LINE * 3 + " Behind"), GREEDY)
    return told.text, told.reused_tokens


def test_it_tells_what_the_folder_tells_and_counts_the_same_bytes(bundle: Path, server: ObjectServer) -> None:
    mine: list[tuple[int, int]] = []
    theirs: list[tuple[int, int]] = []
    remote = load(progress=lambda done, total: mine.append((done, total)))
    local = load_engine(bundle, threads=1, kernel="reference", progress=lambda d, t: theirs.append((d, t)))
    assert tell(remote) == tell(local)
    sizes = [path.stat().st_size for path in bundle.glob("*.safetensors")]
    assert len(sizes) == 2
    assert mine[-1] == theirs[-1] == (sum(sizes), sum(sizes))
    assert [done for done, _ in mine] == sorted(done for done, _ in mine)


def test_a_large_file_is_read_in_ranges_at_once_and_every_byte_lies_where_it_belongs(
    bundle: Path, server: ObjectServer
) -> None:
    content = bytes(range(256)) * (5 << 12) + b"end"
    (bundle / "weights").write_bytes(content)
    together = threading.Barrier(4, timeout=30)
    begins: list[int] = []

    def wait(_: Faulty, path: Path, begin: int, *rest: object) -> bool:
        begins.append(begin)
        if len(begins) <= 4:
            together.wait()  # breaks unless four are asked for at the same time
        return False

    server.fault = wait  # type: ignore[attr-defined]
    into = memoryview(bytearray(len(content)))
    with Bucket("s3://bucket/prefix", parallel=4) as bucket:
        Reading([Part(Path("weights"), 0, len(content), into)], lambda done, total: None, store=bucket).wait()
    assert into == content
    assert sorted(begins) == list(range(0, len(content), 1 << 20))


def fail(handler: Faulty, *_: object) -> None:
    handler.refuse(503, "SlowDown", "Please reduce your request rate.")


def hang_up(handler: Faulty, *_: object) -> None:
    handler.close_connection = True


def cut(handler: Faulty, path: Path, begin: int, end: int, whole: int | None, tag: str) -> None:
    handler.head(begin, end, whole, tag)
    handler.send(path, begin, (begin + end) // 2)
    handler.close_connection = True


def shorten(handler: Faulty, path: Path, begin: int, end: int, whole: int | None, tag: str) -> None:
    """The range asked for in the header, and a whole answer with fewer bytes."""
    handler.send_response(206)
    handler.send_header("ETag", tag)
    handler.send_header("Content-Range", f"bytes {begin}-{end - 1}/{whole}")
    handler.send_header("Content-Length", "5")
    handler.end_headers()
    handler.send(path, begin, begin + 5)


@pytest.mark.parametrize("fault", [fail, hang_up, cut, shorten])
def test_what_passes_by_itself_is_tried_again(bundle: Path, server: ObjectServer, fault: Callable[..., None]) -> None:
    failures: list[int] = []

    def sometimes(handler: Faulty, path: Path, begin: int, end: int, whole: int | None, tag: str, number: int) -> bool:
        if path.name != "weights-001.safetensors" or len(failures) >= 5:
            return False
        failures.append(number)
        fault(handler, path, begin, end, whole, tag)
        return True

    server.fault = sometimes  # type: ignore[attr-defined]
    assert tell(load(parallel=1)) == tell(load_engine(bundle, threads=1, kernel="reference"))
    assert len(failures) == 5


@pytest.mark.parametrize("fault", [fail, hang_up, cut, shorten])
def test_what_does_not_pass_ends_with_a_sentence(server: ObjectServer, fault: Callable[..., None]) -> None:
    def always(handler: Faulty, path: Path, begin: int, end: int, whole: int | None, tag: str, number: int) -> bool:
        if path.name != "weights-001.safetensors":
            return False
        fault(handler, path, begin, end, whole, tag)
        return True

    server.fault = always  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match=r"s3://bucket/some/prefix/weights-001.safetensors could not be read in 6"):
        load()


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (403, "AccessDenied", r"is not there or may not be read: .* the role's s3:GetObject"),
        (404, "NoSuchKey", r"is not there: upload the whole bundle again"),
        (412, "PreconditionFailed", r"changed while it was read"),
        (416, "InvalidRange", r"is shorter than its manifest says"),
        (400, "ExpiredToken", r"cannot be read \(.*ExpiredToken.*\)"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(server: ObjectServer, status: int, code: str, says: str) -> None:
    refused: list[int] = []

    def refuse(handler: Faulty, path: Path, *rest: Any) -> bool:
        if path.name != "tokenizer.json":
            return False
        refused.append(status)
        handler.refuse(status, code, "No.")
        return True

    server.fault = refuse  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match=f"^s3://bucket/some/prefix/tokenizer.json {says}"):
        load()
    assert refused == [status]


def test_a_missing_file_is_named(bundle: Path, server: ObjectServer) -> None:
    (bundle / "weights-001.safetensors").unlink()
    with pytest.raises(EngineError, match=r"prefix/weights-001.safetensors is not there"):
        load()


def test_ranges_of_two_objects_are_never_mixed(bundle: Path, server: ObjectServer) -> None:
    """Between two ranges somebody uploads another model under the same name."""
    path = bundle / "weights-001.safetensors"
    server.tags = {}  # type: ignore[attr-defined]
    answered: list[str] = []

    def replace(handler: Faulty, path: Path, *rest: Any) -> bool:
        answered.append(path.name)
        server.tags[path.name] = '"another"'  # type: ignore[attr-defined]
        return False

    server.fault = replace  # type: ignore[attr-defined]
    with Bucket("s3://bucket/prefix") as bucket:
        bucket.fill(path.name, 0, memoryview(bytearray(8)))
        with pytest.raises(EngineError, match="safetensors changed while it was read"):
            bucket.fill(path.name, 8, memoryview(bytearray(8)))
    assert answered == [path.name]  # the second was refused by its If-Match


def test_two_tags_at_the_same_time_are_noticed_too(bundle: Path, server: ObjectServer) -> None:
    tags = iter(['"one"', '"two"'])
    both = threading.Barrier(2, timeout=30)

    def tagged(handler: Faulty, path: Path, begin: int, end: int, whole: int | None, tag: str, number: int) -> bool:
        both.wait()
        handler.head(begin, end, whole, next(tags))
        handler.send(path, begin, end)
        return True

    server.fault = tagged  # type: ignore[attr-defined]
    errors: list[str] = []
    with Bucket("s3://bucket/prefix") as bucket:

        def fill() -> None:
            try:
                bucket.fill("weights-001.safetensors", 0, memoryview(bytearray(8)))
            except EngineError as error:
                errors.append(str(error))

        threads = [threading.Thread(target=fill) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (error,) = errors
    assert "changed while it was read" in error


@pytest.mark.parametrize("name", ["weights-001.safetensors", "prefix.safetensors", "tokenizer.json"])
def test_a_flipped_byte_is_noticed(bundle: Path, server: ObjectServer, name: str) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[-3] ^= 1
    (bundle / name).write_bytes(content)
    with pytest.raises(EngineError, match=f"s3://bucket/some/prefix/{name} is not what was packed"):
        load()


def test_a_shorter_file_is_noticed(bundle: Path, server: ObjectServer) -> None:
    path = bundle / "weights-001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineError, match=r"weights-001.safetensors (came as bytes |is shorter)"):
        load()


def test_a_server_without_ranges_is_refused(server: ObjectServer) -> None:
    def whole(handler: Faulty, path: Path, begin: int, end: int, size: int | None, tag: str, number: int) -> bool:
        handler.head(0, path.stat().st_size, None, tag)
        handler.send(path, 0, path.stat().st_size)
        return True

    server.fault = whole  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="came as None, not as the bytes 0-"):
        load()


@pytest.mark.parametrize("manifest", ["[]", "{", json.dumps({"format": "another"})])
def test_a_broken_manifest_is_named(bundle: Path, server: ObjectServer, manifest: str) -> None:
    (bundle / "bundle.json").write_text(manifest)
    with pytest.raises(EngineError, match=r"^s3://bucket/some/prefix/bundle.json "):
        load()


@pytest.mark.parametrize("address", ["s3://bucket", "s3://bucket/", "s3:///prefix"])
def test_an_address_without_a_prefix_is_refused(address: str) -> None:
    with pytest.raises(EngineError, match="give s3://bucket/prefix"):
        Bucket(address)


def test_a_folder_stays_a_folder() -> None:
    with opened("build/models/storyteller") as model:
        assert model == "build/models/storyteller"


@pytest.mark.parametrize("start", ["on-demand", "snap-start"])
def test_the_handler_reads_the_address_that_it_is_given(bundle: Path, server: ObjectServer, start: str) -> None:
    code = (
        "import sys\n"
        "from storyteller.handler import loader\n"
        "assert loader.wait(120 if sys.argv[1] == 'on-demand' else 0)\n"
        "engine = loader.engine\n"
        "assert engine.encode('gate') and loader.progress().fraction == 1.0\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "lambda")]),
        "OVERTURE_MODEL": "s3://bucket/some/prefix",
        "OVERTURE_THREADS": "1",
        "AWS_LAMBDA_INITIALIZATION_TYPE": start,
        "POWERTOOLS_TRACE_DISABLED": "true",
        "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI": "http://127.0.0.1:1",
    }
    command = [sys.executable, "-c", code, start]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert server.requests > 4
