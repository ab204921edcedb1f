"""Stacks for the end-to-end tests, and a clear message if they cannot run."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import tested
from tests.e2e.compose_stack import REPOSITORY, ComposeStack, docker

HERE = Path(__file__).parent
BASE = "python:3.13-slim"
BUILT_FROM = (
    "Dockerfile",
    ".dockerignore",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "db_utils",
    "barnameh",
    "examples",
)


@functools.cache
def missing_for_docker() -> str | None:
    """The reason why the compose file cannot be started here; None if it can."""
    if shutil.which("docker") is None:
        return "no docker command"
    if docker("version").returncode != 0:
        return "no Docker engine answers"
    if docker("compose", "version").returncode != 0:
        return "no Compose plugin (docker compose)"
    images = docker("compose", "-f", str(REPOSITORY / "docker-compose.yml"), "config", "--images")
    for image in sorted(set(images.stdout.split())):
        if docker("image", "inspect", image).returncode != 0:
            return f"image {image} is not here (docker compose pull)"
    return None


@functools.cache
def browser_paths() -> tuple[str, str] | None:
    """Chromium and its driver, or None."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents:
            continue
        reason = missing_for_docker() if item.get_closest_marker("docker") else None
        if reason is None and item.get_closest_marker("browser") and browser_paths() is None:
            reason = "no chromium with chromedriver"
        if reason:
            item.add_marker(pytest.mark.skip(reason=f"not tested here: {reason}"))


@pytest.fixture(scope="session")
def make_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ComposeStack]]:
    """Makes copies of the compose project; everything they started is removed at the end, including volumes."""
    stacks: list[ComposeStack] = []

    def make(**settings: str) -> ComposeStack:
        project = f"barnameh-e2e-{os.getpid()}-{len(stacks)}"
        stack = ComposeStack(tmp_path_factory.mktemp("compose"), project, **settings)
        stacks.append(stack)
        return stack

    yield make
    for stack in stacks:
        stack.compose("--profile", "*", "down", "-v", "--timeout", "1", check=False)


@pytest.fixture
def fresh_stack(make_stack: Callable[..., ComposeStack]) -> Iterator[Callable[..., ComposeStack]]:
    """Like make_stack, but removed at the end of the test."""
    made: list[ComposeStack] = []

    def make(**settings: str) -> ComposeStack:
        made.append(make_stack(**settings))
        return made[-1]

    yield make
    for stack in made:
        stack.compose("--profile", "*", "down", "-v", "--timeout", "1", check=False)


@pytest.fixture(scope="session")
def stack(make_stack: Callable[..., ComposeStack]) -> ComposeStack:
    """The whole project, started once from empty volumes with the documented defaults."""
    made = make_stack()
    made.up()
    [(edition, version)] = made.query("SELECT database_edition(), current_setting('server_version')")
    tested(f"{edition} (compose stack, PostgreSQL {version})")
    return made


@pytest.fixture(scope="session")
def built(make_stack: Callable[..., ComposeStack]) -> Iterator[ComposeStack]:
    """A copy of the project with its own image."""
    if docker("image", "inspect", BASE).returncode != 0:
        pytest.skip(f"not tested here: image {BASE} is not here (docker pull)")
    stack = make_stack()
    stack.write_env(SERVICES_IMAGE=f"{stack.project}-services")
    for name in BUILT_FROM:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, stack.folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, stack.folder / name)
    stack.compose("--profile", "services", "build", "worker", timeout=600)
    yield stack
    stack.compose("--profile", "*", "down", "-v", "--timeout", "1", check=False)
    docker("rmi", stack.settings["SERVICES_IMAGE"])
