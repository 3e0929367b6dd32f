"""What docker/ promises, without an engine: pinned bases and packages, no root, health, commands that exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from http import HTTPStatus
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from usert.cli import app
from usert.runtime.monitor.http import MonitorServer, Page
from usert.runtime.view.address import Address
from usert.runtime.view.authentication import random_token
from usert.runtime.view.live_page import LivePage, PageConfig

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, SETUPTOOLS = PYPROJECT["project"], PYPROJECT["tool"]["setuptools"]
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PINNED_BASE = re.compile(r"\S+:\d+\.\d+\.\d+-\S+( AS \w+)?")
ON_A_GPU = ("runtime-gpu", "train")

each_dockerfile = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
each_service = pytest.mark.parametrize("name", SERVICES)


def instructions(path: Path) -> list[tuple[str, str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "").splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined if line)]


def last_stage(path: Path) -> dict[str, str]:
    """Of each instruction the one that counts, the last."""
    found = instructions(path)
    begin = max(index for index, (word, _) in enumerate(found) if word == "FROM")
    return dict(found[begin:])


def run_words(path: Path) -> list[str]:
    return [word for name, rest in instructions(path) if name == "RUN" for word in shlex.split(rest)]


def pinned(lock: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(found)


def locks(path: Path) -> list[Path]:
    words = run_words(path)
    return [ROOT / after for word, after in pairwise(words) if word == "-r"]


def assert_known(words: list[str]) -> None:
    """Words of a `usert` command line."""
    group: Any = typer.main.get_command(app)
    command = group.commands[words[0]]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word.split("=")[0] for word in words[1:] if word.startswith("-")} <= known


def test_there_are_the_three_images() -> None:
    assert [path.stem for path in DOCKERFILES] == ["runtime-cpu", "runtime-gpu", "train"]


@each_dockerfile
def test_bases_are_pinned_and_one(path: Path) -> None:
    bases = [rest for word, rest in instructions(path) if word == "FROM"]
    assert len(bases) == 2
    assert all(PINNED_BASE.fullmatch(base) for base in bases)
    assert len({base.split(" ")[0] for base in bases}) == 1, (
        "a virtual environment moves to the same Python only"
    )


@each_dockerfile
def test_root_runs_nothing(path: Path) -> None:
    stage = last_stage(path)
    assert int(stage["USER"]) > 0
    assert f"useradd --uid {stage['USER']} " in stage["RUN"]


@each_dockerfile
def test_extras_exist_and_the_lock_has_what_they_ask(path: Path) -> None:
    (asked,) = (word for word in run_words(path) if word.startswith("usert["))
    extras = Requirement(asked).extras
    assert extras <= set(PROJECT["optional-dependencies"])
    found = {name: version for lock in locks(path) for name, version in pinned(lock).items()}
    found |= dict(word.split("==") for word in run_words(path) if "==" in word)
    for text in PROJECT["dependencies"] + [t for e in extras for t in PROJECT["optional-dependencies"][e]]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(found[requirement.name]), text


@each_dockerfile
def test_every_locked_package_has_a_hash(path: Path) -> None:
    assert "--require-hashes" in run_words(path)
    for lock in locks(path):
        entries = re.split(r"\n(?=\S)", lock.read_text(encoding="utf-8"))
        entries = [entry for entry in entries if not entry.startswith("#")]
        assert entries
        assert all(re.match(r"[\w.-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


@each_dockerfile
def test_the_bill_of_materials_lists_what_is_locked(path: Path) -> None:
    listed = json.loads((DOCKER / "sbom" / f"{path.stem}.json").read_text(encoding="utf-8"))
    assert listed["bomFormat"] == "CycloneDX"
    found = {canonicalize_name(one["name"]): one["version"] for one in listed["components"]}
    assert found == pinned(DOCKER / f"{path.stem}.txt"), "docs/release.md, Pins, says how to make it anew"


@each_dockerfile
def test_the_context_holds_what_is_copied_and_built(path: Path) -> None:
    kept = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE)
    there = {found.relative_to(ROOT).as_posix() for pattern in kept for found in ROOT.glob(pattern)}
    copied = [r.split()[:-1] for w, r in instructions(path) if w == "COPY" and "--from" not in r]
    assert {source for sources in copied for source in sources} - {"."} <= there
    tops = {folder.split("/")[0] for folder in SETUPTOOLS["package-dir"].values()}
    assert {"pyproject.toml", "usert", PROJECT["readme"], *PROJECT["license-files"], *tops} <= there


@each_dockerfile
def test_the_command_exists(path: Path) -> None:
    stage = last_stage(path)
    assert json.loads(stage["ENTRYPOINT"]) == ["usert"]
    assert_known(json.loads(stage["CMD"]))


@each_dockerfile
def test_health_is_asked_where_the_command_serves_it(path: Path) -> None:
    stage = last_stage(path)
    words = json.loads(stage["CMD"])
    if words[0] == "serve":
        host, port = words[words.index("--monitor") + 1].split(":")
        assert f"'{host}', {port}," in stage["HEALTHCHECK"]
        assert "'/health'" in stage["HEALTHCHECK"]
    else:
        assert stage["HEALTHCHECK"] == "NONE"


@each_dockerfile
def test_the_driver_is_asked_for(path: Path) -> None:
    values = " ".join(rest for word, rest in instructions(path) if word == "ENV")
    assert ("NVIDIA_DRIVER_CAPABILITIES=compute,utility" in values) == (path.stem in ON_A_GPU)


def health_check(path: Path) -> str:
    words = json.loads(last_stage(path)["HEALTHCHECK"].partition("CMD ")[2])
    assert words[:2] == ["python", "-c"]
    return str(words[2])


def exit_code(code: str, port: int) -> int:
    """Of a check's code, with `port` in the place of its own."""
    moved, places = re.subn(r"(?<=127\.0\.0\.1., )\d+", str(port), code)
    assert places == 1
    return subprocess.run([sys.executable, "-c", moved], capture_output=True, check=False).returncode


@pytest.mark.parametrize("path", DOCKERFILES[:2], ids=lambda path: path.stem)
@pytest.mark.parametrize(("status", "code"), [(HTTPStatus.OK, 0), (HTTPStatus.SERVICE_UNAVAILABLE, 1)])
def test_the_health_check_reads_the_answer(path: Path, status: HTTPStatus, code: int) -> None:
    page = Page(status=status, body=b"{}", content_type="application/json")
    with MonitorServer("127.0.0.1:0", {"/health": lambda: page}) as monitor:
        port = int(monitor.url.rpartition(":")[2])
        assert exit_code(health_check(path), port) == code
    assert exit_code(health_check(path), port) == 1, "nobody there"


def test_the_health_check_of_the_page_reads_its_refusal(tmp_path: Path) -> None:
    (*python, code) = SERVICES["page"]["healthcheck"]["test"]
    assert python == ["CMD", "python", "-c"]
    address = Address.parse("127.0.0.1:0")
    page = LivePage(PageConfig(strain=f"ipc://{tmp_path}/strain", http=address, token=random_token()))
    with page:
        thread = threading.Thread(target=page.run)
        thread.start()
        try:
            assert exit_code(code, page.port) == 0
        finally:
            page.stop()
            thread.join()
    assert exit_code(code, page.port) == 1, "nobody there"


@each_service
def test_a_service_builds_a_dockerfile_and_runs_a_command(name: str) -> None:
    service = SERVICES[name]
    built = DOCKER / service["build"]["context"] / service["build"]["dockerfile"]
    assert built.resolve() in DOCKERFILES
    assert_known(service["command"])


@each_service
def test_a_service_reaches_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert ("ports" in service) == (service.get("network_mode") != "none") == (name == "page")
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert {volume.split(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])


def test_the_services_meet_in_one_volume() -> None:
    said = {name: dict(w[2:].split("=", 1) for w in s["command"] if "=" in w) for name, s in SERVICES.items()}
    assert said["scanner"]["publish"] == said["server"]["rf"] == said["page"]["rf"]
    assert said["server"]["publish"] == said["page"]["strain"]
    for name, options in said.items():
        folders = [volume.partition(":")[2] for volume in SERVICES[name]["volumes"]]
        for endpoint in (value for value in options.values() if "://" in value):
            assert Path(endpoint.removeprefix("ipc://")).parent.as_posix() in folders


def test_the_server_of_the_compose_file_has_the_health_check_of_its_image() -> None:
    (monitor,) = (word for word in SERVICES["server"]["command"] if word.startswith("--monitor="))
    assert monitor.partition("=")[2] in json.loads(last_stage(DOCKERFILES[0])["CMD"])
    assert "healthcheck" not in SERVICES["server"]
