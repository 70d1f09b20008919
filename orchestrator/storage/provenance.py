"""What ran where with which code: facts for the report, gathered without secrets."""

import hashlib
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine import ENGINE_VERSION
from engine.records.manifest import Code
from engine.records.units import Environment

PACKAGES = (
    "torch",
    "torchvision",
    "ray",
    "numpy",
    "scikit-learn",
    "mlflow",
    "optuna",
    "pyarrow",
    "torch-fidelity",
)
CODE_FOLDERS = ("engine", "orchestrator", "reports")

# What stands between :// and @ (user, or user:password), and query values whose names say they are secret.
USER_INFO = re.compile(r"://(?:[^\s/@:]*:\S*|[^\s/@]+)@")
SECRET_VALUE = re.compile(r"(?i)([?&][^\s=&]*(?:secret|token|password|key|sig)[^\s=&]*=)[^\s&]+")


def package_version(name: str) -> str | None:
    """Installed version of a distribution, or None."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def code_fingerprint() -> Code:
    """Versions, commit, whether the tree differs from it, and a hash of every source file of ours."""
    root = Path(__file__).resolve().parents[2]
    tree = hashlib.sha256()
    for folder in CODE_FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            tree.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--", *CODE_FOLDERS)
    return Code(
        commit=commit,
        dirty=None if commit is None else bool(changes),
        tree_sha256=tree.hexdigest(),
        orch_version=package_version("orch-diffusion"),
        engine_version=ENGINE_VERSION,
    )


def environment() -> Environment:
    """Python, platform and package versions of this process."""
    versions = {name: package_version(name) for name in PACKAGES}
    return Environment(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: version for name, version in versions.items() if version},
        cpu=cpu_name(),
        cpu_count=os.cpu_count(),
    )


def worker_environment(device: str) -> Environment:
    """What a worker computed on: captured there, because the driver may be another kind of machine."""
    import torch

    gpu = torch.cuda.get_device_name() if device.startswith("cuda") else None
    own = {"device": gpu or cpu_name(), "gpu": gpu, "threads": torch.get_num_threads()}
    return environment().model_copy(update=own)


def cpu_name() -> str:
    """The processor's marketing name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def command_line() -> str:
    """The command as typed, without the folder of the script and without credentials."""
    return redacted(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]))


def redacted(text: str) -> str:
    """The text with the credentials in its URLs replaced by ***."""
    return SECRET_VALUE.sub(r"\1***", USER_INFO.sub("://***@", text))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
