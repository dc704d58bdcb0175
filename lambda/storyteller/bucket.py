"""A bundle in an S3 bucket (`weights=s3`), read by ranged GETs, many at once.

Every range of a file must come from the same object: the first answer's ETag is asked for in all later requests. What
may pass by itself (a 5xx, a cut connection, a timeout) is tried again a few times, after a random pause; everything
else ends the load with one sentence.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from types import TracebackType
from typing import Any, TypeVar

from storyteller.engine import EngineError

Result = TypeVar("Result")

SCHEME = "s3://"

#: GETs at once. AWS's own pattern for reading S3 in a Lambda has 30 threads: more begin to wait for each other.
PARALLEL = 32
_ATTEMPTS, _FIRST_PAUSE_S, _LONGEST_PAUSE_S = 6, 0.1, 3.0
_CONNECT_S, _READ_S = 3, 10
#: Smaller pieces cost more of Python; with 64 KiB a gigabyte takes twice the CPU time.
_PIECE = 1 << 20

_AGAIN = "upload the whole bundle again, as make deploy does"
_FINAL = {
    # S3 says the same of what is not there to who may not list the bucket.
    403: f"is not there or may not be read: {_AGAIN}, or look at the role's s3:GetObject",
    404: f"is not there: {_AGAIN}",
    412: f"changed while it was read: {_AGAIN}, a new model under a new prefix",
    416: f"is shorter than its manifest says: {_AGAIN}",
}


def opened(address: str) -> AbstractContextManager[str | Bucket]:
    """The folder of that name as it is, or the `Bucket` of an address on S3."""
    return Bucket(address) if address.startswith(SCHEME) else nullcontext(address)


class Bucket:
    """The files under `s3://bucket/prefix`: a `Store`. Raises EngineError for another address."""

    def __init__(self, address: str, *, parallel: int = PARALLEL, pause: Callable[[float], None] = time.sleep) -> None:
        import boto3
        from botocore.config import Config

        self.address = address.rstrip("/")
        self.parallel = parallel
        self._bucket, _, self._prefix = self.address.removeprefix(SCHEME).partition("/")
        if not address.startswith(SCHEME) or not self._bucket or not self._prefix:
            raise EngineError(f"{address} is no address of a bundle on S3: give s3://bucket/prefix.")
        self._pause = pause
        self._tags: dict[str, str] = {}
        self._lock = threading.Lock()
        config = Config(
            max_pool_connections=parallel + 1,  # and one for the small files
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            retries={"total_max_attempts": 1, "mode": "standard"},  # here, where a cut body is seen too
            response_checksum_validation="when_required",  # the manifest's checksums are compared
        )
        self._client: Any = boto3.client("s3", config=config)

    def __enter__(self) -> Bucket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def read(self, name: str) -> bytes:
        """The whole of a small file."""

        def get() -> bytes:
            answer = self._get(name, {})
            with closing(answer["Body"]) as body:
                return bytes(body.read())

        return self._persist(name, get)

    def fill(self, name: str, begin: int, view: memoryview) -> None:
        """Fills `view` with the bytes of a file from `begin` on."""
        wanted = f"{begin}-{begin + len(view) - 1}"

        def get() -> None:
            answer = self._get(name, {"Range": f"bytes={wanted}"})
            with closing(answer["Body"]) as body:
                came = str(answer.get("ContentRange"))
                if not came.startswith(f"bytes {wanted}/"):
                    raise self._error(name, f"came as {came}, not as the bytes {wanted} of its manifest: {_AGAIN}")
                at = 0
                while at < len(view):
                    piece = body.read(min(_PIECE, len(view) - at))
                    if not piece:
                        raise EOFError("it ended early")
                    view[at : at + len(piece)] = piece
                    at += len(piece)
                body.read()  # so that the connection can serve the next one

        self._persist(name, get)

    def _get(self, name: str, more: dict[str, str]) -> Any:
        if name in self._tags:
            more = {**more, "IfMatch": self._tags[name]}
        answer = self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{name}", **more)
        with self._lock:
            tag = self._tags.setdefault(name, str(answer["ETag"]))
        if tag != answer["ETag"]:
            answer["Body"].close()
            raise self._error(name, _FINAL[412])
        return answer

    def _persist(self, name: str, get: Callable[[], Result]) -> Result:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        attempt = 0
        while True:
            attempt += 1
            try:
                return get()
            except ClientError as error:
                status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
                if status in _FINAL:
                    raise self._error(name, _FINAL[status]) from error
                if status < 500 and status != 429:
                    raise self._error(name, f"cannot be read ({error}): correct the address or the rights") from error
                failure: Exception = error
            except (BotoCoreError, HTTPError, OSError, EOFError) as error:
                failure = error
            if attempt == _ATTEMPTS:
                raise self._error(name, f"could not be read in {attempt} attempts ({failure}): try later") from failure
            longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**attempt)
            self._pause(random.uniform(longest / 2, longest))

    def _error(self, name: str, why: str) -> EngineError:
        return EngineError(f"{self.address}/{name} {why}.")
