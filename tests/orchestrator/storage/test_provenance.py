"""What ran where with which code, and no credentials."""

import re
from pathlib import Path

import pytest

from orchestrator.storage import provenance
from orchestrator.storage.provenance import (
    code_fingerprint,
    command_line,
    environment,
    package_version,
    redacted,
)

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://key:secret@bucket/path", "s3://***@bucket/path"),
        (
            "s3://key:se/cr@et@bucket/path",
            "s3://***@bucket/path",
        ),  # as copied, without the %-escapes a URL needs
        ("https://token@mlflow.example/x", "https://***@mlflow.example/x"),
        ("--storage=s3://a:b@c/d --address ray://h:10001", "--storage=s3://***@c/d --address ray://h:10001"),
        ("postgresql://u:p@db/mlflow?password=p&ssl=1", "postgresql://***@db/mlflow?password=***&ssl=1"),
        ("abfss://c@a/p?client_secret=x&tenant_id=y", "abfss://***@a/p?client_secret=***&tenant_id=y"),
        ("gs://bucket/p?access_token=x", "gs://bucket/p?access_token=***"),
        ("s3://bucket/run@2024?region=eu", "s3://bucket/run@2024?region=eu"),
        ("orch sweep grids/quickstart.yaml", "orch sweep grids/quickstart.yaml"),
        ("someone@example.org", "someone@example.org"),
    ],
)
def test_credentials_in_urls_are_replaced(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_the_command_is_as_typed_without_folder_and_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["/somewhere/bin/orch", "sweep", "my grid.yaml", "--storage", "s3://me:hunter2@host/bucket"]
    monkeypatch.setattr("sys.argv", arguments)
    assert command_line() == "orch sweep 'my grid.yaml' --storage s3://***@host/bucket"


def test_the_environment_names_packages_and_no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    facts = environment()
    assert facts.packages["torch"] == package_version("torch")
    assert re.fullmatch(r"3\.\d+\.\d+", facts.python or "")
    assert "hunter2" not in str(facts)


def test_a_package_that_is_not_installed_has_no_version() -> None:
    assert package_version("no-such-package-of-ours") is None


def test_the_fingerprint_follows_every_source_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "orchestrator/storage/provenance.py"))
    for name in ("engine", "orchestrator", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.py").write_text("x = 1\n")
    first = code_fingerprint()
    assert first == code_fingerprint()
    (tmp_path / "reports" / "a.py").write_text("x = 2\n")
    second = code_fingerprint()
    (tmp_path / "reports" / "a.py").rename(tmp_path / "reports" / "b.py")
    assert len({first.tree_sha256, second.tree_sha256, code_fingerprint().tree_sha256}) == 3
    assert (first.commit, first.dirty) == (None, None)  # outside of git nothing is claimed
