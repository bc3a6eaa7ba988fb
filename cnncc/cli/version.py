"""`cnncc version`."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from .console import print_json, print_table
from .options import Json

PACKAGES = ("numpy", "numba", "llvmlite", "onnx", "onnxruntime")


def version(as_json: Json = False) -> None:
    """Prints the versions of cnncc and of what it stands on."""
    found = {"cnncc": version_of("cnncc"), "python": platform.python_version()}
    found |= {package: _installed(package) for package in PACKAGES}
    found["machine"] = f"{platform.system()} {platform.machine()}"
    if as_json:
        print_json(found)
    else:
        print_table(("what", "version"), list(found.items()))


def _installed(package: str) -> str:
    try:
        return version_of(package)
    except PackageNotFoundError:
        return "not installed"
