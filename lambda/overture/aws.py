"""AWS's clients: made by botocore alone, all of one session, with what it reads of AWS kept small."""

from __future__ import annotations

import functools
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import botocore.session
import msgspec
from botocore.config import Config
from botocore.loaders import JSONFileLoader

Service = Literal["dynamodb", "lambda", "apigatewaymanagementapi"]

#: The services above by the names that their hosts have, and the one that gives roles.
_HOSTS = {"dynamodb", "lambda", "execute-api", "sts"}
_OPEN: dict[str, Callable[..., Any]] = {".json": open, ".json.gz": gzip.open}


def create_client(service: Service, **settings: Any) -> Any:
    """A client of a service, as `boto3.client` gives it; `settings` are those of botocore's `Config`."""
    return _session().create_client(service, config=Config(**settings))


class Descriptions(JSONFileLoader):
    """Reads what botocore has on services and regions, as plain dictionaries.

    Its own reader makes ordered ones, twice as large, and keeps the regions of every service: 9 MB more.
    """

    def load_file(self, file_path: str) -> Any:
        """The content of the file, whose path lacks its ending; None where there is no such file."""
        for ending, opened in _OPEN.items():
            if Path(file_path + ending).is_file():
                with opened(file_path + ending, "rb") as file:
                    content = file.read()
                return _read_regions(content) if Path(file_path).name == "endpoints" else msgspec.json.decode(content)
        return None


class _Regions(msgspec.Struct):
    version: int
    partitions: list[dict[str, msgspec.Raw]]


def _read_regions(content: bytes) -> dict[str, Any]:
    """The partitions, each with our services alone: those of all others are skipped, not read and dropped."""
    found = msgspec.json.decode(content, type=_Regions)
    partitions = []
    for raw in found.partitions:
        services = msgspec.json.decode(raw.pop("services"), type=dict[str, msgspec.Raw])
        partition = {name: msgspec.json.decode(value) for name, value in raw.items()}
        partition["services"] = {name: msgspec.json.decode(services[name]) for name in _HOSTS & services.keys()}
        partitions.append(partition)
    return {"version": found.version, "partitions": partitions}


@functools.cache
def _session() -> botocore.session.Session:
    session = botocore.session.Session()
    loader: Any = session.get_component("data_loader")
    loader.file_loader = Descriptions()
    return session
