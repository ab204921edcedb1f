"""Generated input for every operation: no server error, and no response that the document does not declare."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from barnameh.api.document import document
from tests.support.api import OPERATIONS, Api

CHECKS = [
    schemathesis.checks.not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 5


@cache
def described() -> dict[str, Any]:
    """The operations as the document describes them, by name."""
    return _by_name(document())


def _by_name(openapi: dict[str, Any]) -> dict[str, Any]:
    schema = schemathesis.openapi.from_dict(openapi)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


def ask(api: Api, case: schemathesis.Case, *, key: str) -> Any:
    """Send a case to the application, as its organization."""
    case.path_parameters = {"organization_id": str(api.organization_id)}
    request = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    headers = {**dict(request.headers), "authorization": f"Bearer {key}"}
    return api.client.request(request.method or "", request.url or "", content=request.body, headers=headers)


def run(api: Api, name: str, mode: GenerationMode, *, key: str, examples: int = EXAMPLES) -> int:
    """Call this operation with generated input; raise what the checks find, return the number of calls."""
    strategy = described()[name].as_strategy(generation_mode=mode)
    asked = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def once(case: schemathesis.Case) -> None:
        nonlocal asked
        asked += 1
        case.validate_response(ask(api, case, key=key), checks=CHECKS)

    try:
        once()
    except FailureGroup as failures:
        raise AssertionError("\n\n".join(map(str, failures.exceptions))) from None
    return asked


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_no_server_error_and_no_undeclared_answer(api: Api, name: str) -> None:
    asked = run(api, name, GenerationMode.POSITIVE, key=api.key)
    if OPERATIONS[name].arguments.model_fields:
        asked += run(api, name, GenerationMode.NEGATIVE, key=api.key)
    assert asked > 0


@pytest.mark.thorough
def test_what_is_not_declared_is_found(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks work: without 401 in the document, a wrong key is an undeclared response."""
    lacking = document()
    for path in lacking["paths"].values():
        for operation in path.values():
            del operation["responses"]["401"]
    monkeypatch.setattr(sys.modules[__name__], "described", lambda: _by_name(lacking))
    with pytest.raises(AssertionError, match=r"Undocumented (HTTP )?status code"):
        run(api, "get_locations", GenerationMode.POSITIVE, key="nobody", examples=1)
