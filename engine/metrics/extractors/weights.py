"""Published weights of feature extractors:
where they are looked for, and what to say when they are not there.

Imports no torch, so a plan can ask.
"""

import os
from dataclasses import dataclass
from pathlib import Path


class WeightsNotFound(FileNotFoundError):
    """No weights could be had. The message names the ways to give them."""


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A weights file that somebody else publishes, and the ways it may come here."""

    variable: str
    """Environment variable that may name the file."""
    url: str
    """Where it is published."""
    sha256_prefix: str
    """How the SHA-256 of the published file begins; other weights give other numbers, under another name."""
    downloaded: bool
    """Whether it is fetched when it is not there. Others must be named."""

    @property
    def file(self) -> str:
        """The published file's name."""
        return self.url.rsplit("/", 1)[-1]

    def kept_at(self) -> Path:
        """Where torch keeps the published file, in its hub folder."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        home = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser()
        return home / "hub" / "checkpoints" / self.file

    def named(self, path: Path | None = None) -> Path | None:
        """The given path, else what the environment names, else None."""
        given = path or os.environ.get(self.variable)
        return Path(given) if given else None

    def find(self, path: Path | None = None) -> Path:
        """The file that is named, else the kept one;
        WeightsNotFound where neither is there. Fetches nothing."""
        named = self.named(path)
        if named is None and not self.kept_at().is_file():
            raise WeightsNotFound(f"no weights: {self.ways}")
        return named or self.kept_at()

    @property
    def ways(self) -> str:
        """How to give the file, in words."""
        return f"fetch {self.url} and name the file in {self.variable}, or keep it as {self.kept_at()}"

    def read(self, path: Path | None = None) -> bytes:
        """The file's bytes; raises WeightsNotFound."""
        file = self.find(path)
        try:
            return file.read_bytes()
        except OSError as error:
            raise WeightsNotFound(f"cannot read weights {file}: {error.strerror}; {self.ways}") from None

    def problem(self) -> str | None:
        """Why a run on this machine would not find them, in words;
        None where it would, or would fetch them."""
        named = self.named()
        if named is not None:
            missing = f"{self.variable} names {named}, which is not there"
            return None if named.is_file() else missing
        if self.downloaded or self.kept_at().is_file():
            return None
        return self.ways
