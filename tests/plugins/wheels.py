"""A wheel of a small package, made without any build tool, so that pip can install it without a network."""

import tomllib
import zipfile
from pathlib import Path


def build_wheel(source: Path, folder: Path, *, version: str | None = None) -> Path:
    """The wheel of the package in `source`, by what its pyproject.toml says;
    `version` stands in for its own."""
    described = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    version = version or described["version"]
    distribution = described["name"].replace("-", "_")
    info = f"{distribution}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {described['name']}\nVersion: {version}\n"
    entry_points = ""
    for group, entries in described["entry-points"].items():
        entry_points += f"[{group}]\n" + "".join(f"{name} = {where}\n" for name, where in entries.items())
    files = {
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    for module in sorted((source / distribution).glob("*.py")):
        files[f"{distribution}/{module.name}"] = module.read_text()
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    wheel = folder / f"{distribution}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return wheel
