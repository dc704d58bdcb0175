"""The storyteller's image, as `make image` built it: a whole play under emulation, without /sys/devices/system/cpu.

Front, tickets and gateway are the local ones; the storyteller is a container whose runtime client asks the same
Runtime API. What Lambda does and this does not: freezing (the container is not our process), and Graviton's speed.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from client.session.connection import Play
from client.session.events import AnswerCame, BeatCame
from client.session.story import Ended
from infra.deploy.package import assemble
from infra.functions import INDEX_PATH, WORLD_PATH
from infra.settings import Settings
from local.aws.functions.environment import runtime_argv
from local.plan import LambdaLimits
from local.play import overture
from local.stack import LocalStack

IMAGE = os.environ.get("IMAGE", "overture-storyteller")
PODMAN = "podman"
#: The arm64 root that `make image` makes.
BASE = "localhost/overture-base-arm64"
LABEL = f"overture-test={uuid.uuid4().hex}"
#: As Lambda: nothing can be written but /tmp, and the CPU's folder is not to be seen.
LIKE_LAMBDA = [
    "--read-only",
    "--tmpfs=/tmp",
    "--security-opt=mask=/sys/devices/system/cpu",
    "--network=host",
    "--runtime=runc",
    "--ulimit=nofile=20000:20000",
    "--ulimit=nproc=4096:4096",
    f"--label={LABEL}",
    "--env=QEMU_CPU=neoverse-n1",
]

pytestmark = pytest.mark.timeout(1500)


def podman(*arguments: str) -> str:
    done = subprocess.run([PODMAN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def image() -> Iterator[None]:
    """The image must have been built: where nothing may be skipped that is an error."""
    built = (
        shutil.which(PODMAN) is not None
        and subprocess.run([PODMAN, "image", "exists", IMAGE], check=False).returncode == 0
    )
    if not built:
        reason = f"The image {IMAGE} has not been built: run make image MODEL=FOLDER (as root) first."
        assert not os.environ.get("CI"), reason
        pytest.skip(reason)
    yield
    left = podman("ps", "--all", "--quiet", f"--filter=label={LABEL}").split()
    if left:
        podman("rm", "--force", "--time=0", *left)


def in_container(handler: str) -> list[str]:
    """The command of a function's runtime: the storyteller's is the container, the others' are processes."""
    if not handler.startswith("storyteller."):
        return runtime_argv(handler)
    passed = [f"--env={name}" for name in ("AWS_*", "POWERTOOLS_*", "OVERTURE_TABLE", "OVERTURE_CONCURRENCY")]
    passed += [f"--env={name}" for name in ("OVERTURE_MAX_TOKENS", "OVERTURE_TEMPERATURE", "OVERTURE_RESERVATION_S")]
    # Podman looks for its own helpers and storage in these.
    own = [f"{name}={os.environ[name]}" for name in ("PATH", "HOME") if name in os.environ]
    manager = ["--cgroup-manager=cgroupfs"]
    return ["env", *own, PODMAN, *manager, "run", "--rm", *LIKE_LAMBDA, *passed, IMAGE]


def run_python(code: str) -> str:
    return podman("--cgroup-manager=cgroupfs", "run", "--rm", *LIKE_LAMBDA, "--entrypoint=python3", IMAGE, "-c", code)


def test_is_for_arm64_and_runs_the_handler_as_nobody_special() -> None:
    (described,) = json.loads(podman("image", "inspect", IMAGE))
    config = described["Config"]
    assert described["Architecture"] == "arm64"
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["python3", "-m", "awslambdaric"]
    assert config["Cmd"] == ["storyteller.handler.lambda_handler"]


def test_the_probes_shim_keeps_kleidiai_where_the_cpus_folder_is_hidden() -> None:
    said = run_python(
        "import os, torch\n"
        "packed = torch.ops.aten._dyn_quant_pack_4bit_weight(torch.zeros(8, 32, dtype=torch.uint8), "
        "torch.ones(8, 2, dtype=torch.bfloat16), None, 32, 64, 8)\n"
        "try:\n"
        "    seen = os.listdir('/sys/devices/system/cpu')\n"
        "except OSError:\n"
        "    seen = []\n"
        "import pathlib, sys\n"
        "mapped = pathlib.Path('/proc/self/maps').read_text().splitlines()\n"
        "openmp = sorted({line.split()[-1] for line in mapped if 'libgomp' in line})\n"
        "heavy = sorted({'torchao', 'transformers', 'sympy', 'networkx'} & set(sys.modules))\n"
        "print(packed.dtype, seen, heavy, torch.__version__, os.getuid(), *openmp)"
    )
    # Torch brings its own OpenMP: none is asked of the base.
    assert said.split() == ["torch.uint8", "[]", "[]", "2.10.0+cpu", "1000", "/opt/site/torch/lib/libgomp.so.1"]


def test_the_base_is_as_poor_as_awss() -> None:
    said = run_python("import shutil; print([tool for tool in ('find', 'xargs', 'tar', 'cc') if shutil.which(tool)])")
    assert said.strip() == "[]"


#: The newest symbols that AL2023's glibc 2.34 and libstdc++ have. The root that `make image` makes has newer ones, and
#: would hide a wheel that asks for more.
AL2023 = {b"GLIBC": (2, 34), b"GLIBCXX": (3, 4, 29), b"CXXABI": (1, 3, 13)}
_VERSION = re.compile(rb"\x00(GLIBC|GLIBCXX|CXXABI)_(\d+(?:\.\d+)+)(?=\x00)")


def too_new(folder: Path) -> tuple[int, list[str]]:
    """How many ELF files a folder has, and the symbol versions in them that AL2023 lacks."""
    count, found = 0, []
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()):
        with path.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                continue
            file.seek(0)
            versions = set(_VERSION.findall(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
        count += 1
        for library, text in sorted(versions):
            if tuple(map(int, text.split(b"."))) > AL2023[library]:
                found.append(f"{path.relative_to(folder)}: {library.decode()}_{text.decode()}")
    return count, found


def test_nothing_that_is_shipped_asks_for_a_newer_libc_than_awss(tmp_path: Path) -> None:
    (tmp_path / "new.so").write_bytes(b"\x7fELF\x00GLIBC_2.34\x00GLIBC_2.38\x00GLIBCXX_3.4.30\x00GLIBC_PRIVATE\x00")
    assert too_new(tmp_path) == (1, ["new.so: GLIBC_2.38", "new.so: GLIBCXX_3.4.30"])
    root = Path(podman("image", "mount", IMAGE).strip())
    try:
        for folder, least in ((root / "opt", 30), (root / "var" / "task", 1)):
            count, found = too_new(folder)
            assert count >= least, folder
            assert found == []
    finally:
        podman("image", "unmount", IMAGE)
    count, found = too_new(assemble(Settings(), tmp_path / "front"))
    assert count >= 10
    assert found == []


IMPORTED = """
import importlib, pathlib, sys
for name in ("storyteller.engine", "storyteller.worker", "prologue.prompt", "prologue.world", "torch"):
    importlib.import_module(name)
modules = [one for one in list(sys.modules.values()) if str(getattr(one, "__file__", "")).endswith(".py")]
ours = [one for one in modules if one.__file__.startswith(("/opt", "/var/task"))]
print(len(ours), [one.__name__ for one in ours if not pathlib.Path(one.__cached__).exists()])
"""


def test_everything_that_is_imported_is_compiled_already() -> None:
    count, missing = run_python(IMPORTED).split(maxsplit=1)
    assert int(count) > 500
    assert missing.strip() == "[]"


FRONT = """
import front.authorizer, front.handler, front.ticket
from prologue.answers.index import load_answer_index
found = load_answer_index("/var/task/answers").find("What can you do?")
print(found.id)
"""


def test_fronts_package_answers_on_arm64(tmp_path: Path) -> None:
    package = assemble(Settings(), tmp_path / "package")
    told = {
        "AWS_DEFAULT_REGION": "us-east-1",
        "POWERTOOLS_SERVICE_NAME": "front",
        "POWERTOOLS_METRICS_NAMESPACE": "Overture",
        "POWERTOOLS_TRACE_DISABLED": "1",
        "OVERTURE_WORLD": WORLD_PATH,
        "OVERTURE_INDEX": INDEX_PATH,
    }
    said = podman(
        *("--cgroup-manager=cgroupfs", "run", "--rm", "--platform=linux/arm64", *LIKE_LAMBDA),
        *(f"--env={name}={value}" for name, value in told.items()),
        *(f"--volume={package}:/var/task:ro", "--workdir=/var/task", BASE, "python3", "-c", FRONT),
    )
    assert said.split() == ["what_can_i_do"]


async def test_a_whole_play_with_the_storyteller_in_its_container(tmp_path: Path) -> None:
    slow = {"OVERTURE_RESERVATION_S": "600", "OVERTURE_LEASE_S": "600"}
    plan = overture(wait_s=0).change(
        "storyteller",
        environment={
            "OVERTURE_MAX_TOKENS": "12",
            "OVERTURE_TEMPERATURE": "0",
            "OVERTURE_RESERVATION_S": "600",
            # As on AWS, where the stack sets both: what the engine says at INFO is to be seen.
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_LEVEL": "INFO",
        },
        event_age_s=600,
    )
    # An emulated init takes longer than Lambda's ten seconds; thrown away, it would begin again.
    plan = replace(plan, lambdas=LambdaLimits(init_s=300), environment={**plan.environment, **slow})
    async with LocalStack(plan, logs=tmp_path, runtime=in_container) as stack:
        await stack.prestart()
        async with asyncio.timeout(1400), Play(stack.url) as play:
            async for event in play:
                if isinstance(event, BeatCame):
                    # As a visitor who reads it. A session that changes without a pause is one that an
                    # emulated storyteller, slower than Front by far, hardly ever gets a word into.
                    await asyncio.sleep(1)
                    if event.beat.ask:
                        choices = event.beat.ask.choices
                        await play.say(choices[0] if choices else "Nim", ask=event.beat.ask.key)
                    else:
                        await play.next(event.beat.id)
                if isinstance(event, Ended):
                    break
            opening = play.turns[0]
            assert opening.id == "opening"
            assert opening.reply.strip()
            await play.say("What can you do?")
            await play.until(lambda event: isinstance(event, AnswerCame), timeout_s=60)
            line = await play.say("I knock at the green door.")
            ended = await play.until(lambda event: isinstance(event, Ended) and event.turn.id == line, timeout_s=600)
            assert isinstance(ended, Ended)
            assert ended.turn.reply.strip()
            assert ended.turn.stats is not None
            assert ended.turn.stats.tokens > 0
        assert len(stack.environments("storyteller")) == 1
    log = stack.logs.path("storyteller").read_text()
    assert "Error in cpuinfo" not in log
    # The engine refuses packed tensors that are not uint8, and says which kernel reads them.
    assert "bundle.json" in run_python("import os; print(os.listdir('/opt/model'))"), "make image MODEL=a bundle"
    # The engine's own library, compiled for arm64 into the image, does all of a layer.
    assert "kernel native dotprod, layout kleidiai-" in log, log
    assert ", attention native" in log, log
