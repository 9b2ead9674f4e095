"""Every expected failure has its answer in every door that is ours."""

import dataclasses
import json
from collections.abc import Iterator

import msgspec
import pytest
from quart_trio import QuartTrio

from pwfs.model.errors import Category, PatchworkError
from pwfs.model.exits import EXIT_CODES, ExitCode, exit_code_of
from pwfs.model.problems import MEDIA_TYPE, STATUS, to_problem
from pwfs_daemon.web import problems

EXAMPLES: dict[object, object] = {
    str: "text",
    int: 7,
    int | None: None,
    tuple[str, ...]: ("a", "b"),
    tuple[object, ...]: (),
}


def subclasses(of: type[PatchworkError]) -> Iterator[type[PatchworkError]]:
    """All classes below one."""
    for known in of.__subclasses__():
        yield known
        yield from subclasses(known)


KNOWN = sorted(set(subclasses(PatchworkError)), key=lambda known: known.__name__)


def example(kind: type[PatchworkError]) -> PatchworkError:
    """An error of a class, its fields filled by their types."""
    return kind(*(EXAMPLES[field.type] for field in dataclasses.fields(kind)))


@pytest.mark.parametrize("kind", KNOWN, ids=lambda kind: kind.__name__)
@pytest.mark.allow_log("something stored is damaged")
async def test_every_failure_has_an_http_answer_and_an_exit_status(
    kind: type[PatchworkError],
) -> None:
    """The answer is a problem document with the class's code, its category's status, its fields."""
    application = QuartTrio(__name__)
    problems.install(application)
    error = example(kind)

    @application.get("/")
    async def fail() -> str:
        raise error

    response = await application.test_client().get("/")
    assert response.status_code == STATUS[kind.category]
    assert response.content_type == MEDIA_TYPE
    document = json.loads(await response.get_data())
    assert document["code"] == kind.code
    assert document["status"] == response.status_code
    assert document["detail"] == error.message
    assert set(document["fields"]) == set(error.fields)
    assert exit_code_of(document["category"]) == EXIT_CODES[kind.category]


def test_the_mappings_cover_all_categories() -> None:
    """A new category cannot be forgotten, and none reads as success."""
    assert set(STATUS) == set(EXIT_CODES) == set(Category)
    assert all(400 <= status < 600 for status in STATUS.values())
    assert not set(EXIT_CODES.values()) & {ExitCode.OK, ExitCode.UNEXPECTED, ExitCode.USAGE}


def test_codes_are_unique() -> None:
    """Programs tell failures apart by their code alone."""
    codes = [kind.code for kind in KNOWN]
    assert sorted(codes) == sorted(set(codes))


def test_what_the_cli_reads_is_what_the_daemon_wrote() -> None:
    """A document survives JSON, also with values of the model in its fields."""
    for kind in KNOWN:
        document = to_problem(example(kind))
        assert json.loads(msgspec.json.encode(document))["code"] == kind.code


def test_an_unknown_category_counts_as_unexpected() -> None:
    """A document of a newer daemon still ends the command with a failure."""
    assert exit_code_of("something_new") is ExitCode.UNEXPECTED
