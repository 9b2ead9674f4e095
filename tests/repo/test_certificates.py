"""Certificates: what was tested is what landed, and `verify` finds whatever says otherwise."""

from pathlib import Path

import pytest

from pwfs.model.errors import NotFound
from pwfs.model.queue import Member
from pwfs.repo.certifying import verify
from pwfs.repo.repository import Repository
from tests.repo.certified import altered, passed, submitted
from tests.repo.conftest import LINES
from tests.repo.support import make_repository, workspace_on, write


@pytest.fixture
def landed(tmp_path: Path) -> Repository:
    """Main with an import, two speculative landings, an item of two changes, one never tested."""
    repo = make_repository(tmp_path / "project", {"README": LINES, "b": "b\n"})
    repo.set_setting("test-cmd", "make test")
    base = repo.main()[0]
    first = submitted(repo, "One", "README", LINES.replace("line 1\n", "ONE\n"))
    second = submitted(repo, "Two", "README", LINES.replace("line 8\n", "TWO\n"))
    tried = passed(repo, first, first.members, base)
    behind = passed(repo, second, (*first.members, *second.members), base)
    repo.land_item(first.id, tried)
    repo.land_item(second.id, behind)
    for title in ("Three", "Four", "Direct"):
        write(repo, workspace_on(repo, title), title, "new\n")
    item = repo.submit(["three", "four"], agent="a")
    repo.land_item(item.id, passed(repo, item, item.members, repo.main()[0]))
    repo.land("direct", agent="a")
    return repo


def test_what_landed_is_certified(landed: Repository) -> None:
    """With what stood before it, what it was tested with, and the certificate before."""
    found = verify(landed)
    assert (found.landings, found.certified, found.untested, found.earlier) == (6, 4, 2, 0)
    assert found.problems == []
    first, second, third = landed.log.certificates()
    one = landed.landings()[1]
    assert landed.certificate(one.seq) == first
    certificate = first.certificate
    assert certificate.stack == certificate.members == (Member(one.change_id, 1),)
    assert (certificate.root, certificate.main_seq) == (one.root, one.previous_seq)
    assert (certificate.command, certificate.environment_hash) == ("make test", "e" * 64)
    assert certificate.output_hash == landed.blobs.put(b"fine\n")
    assert second.certificate.base_seq == certificate.base_seq
    assert second.certificate.main_seq == one.seq
    assert [member.change_id for member in third.certificate.members] == ["three", "four"]
    links = [(each.certificate.previous, each.digest) for each in (first, second, third)]
    assert [previous for previous, _ in links] == ["", links[0][1], links[1][1]]
    for seq in (landed.main()[0], 10_000):
        with pytest.raises(NotFound):
            landed.certificate(seq)
    landed.close()


def test_a_result_that_is_used_again_names_the_test(landed: Repository) -> None:
    """The certificate tells which attempt was run."""
    item = submitted(landed, "Again", "b", "again\n")
    base, root = landed.main()
    earlier = passed(landed, item, item.members, base)
    landed.cancel(item.id, agent="a")
    item = landed.submit(["again"], agent="a")
    key = landed.attempt(earlier).key
    again = landed.reuse_attempt(item, base, item.members, key, earlier)
    (landing,) = landed.land_item(item.id, again.id)
    certificate = landed.certificate(landing.seq).certificate
    assert (certificate.attempt_id, certificate.tested_by) == (again.id, earlier)
    assert certificate.main_root == root
    assert verify(landed).problems == []
    landed.close()


NEWER = "(SELECT max(number) FROM certificates)"
FIRST = "(SELECT root FROM landings ORDER BY seq LIMIT 1)"


@pytest.mark.parametrize(
    "statement",
    [
        # A tree that nobody tested, which takes back what landed before.
        f"UPDATE landings SET root = {FIRST} WHERE attempt_id = 2",
        f"UPDATE landings SET root = {FIRST} WHERE attempt_id IS NULL AND previous_seq > 0",
        "UPDATE landings SET verified = 0 WHERE attempt_id = 1",
        "UPDATE landings SET attempt_id = NULL WHERE attempt_id = 2",
        "UPDATE landings SET change_id = 'two', version = 1 WHERE change_id = 'one'",
        "UPDATE landings SET attempt_id = 2 WHERE attempt_id = 1",
        "DELETE FROM landings WHERE change_id = 'four'",
        "DELETE FROM certificates WHERE number = 1",
        f"DELETE FROM certificates WHERE number = {NEWER}",
        "UPDATE certificates SET content = replace(content, 'make test', 'true') WHERE number = 2",
        "UPDATE certificates SET digest = '0' WHERE number = 2",
        "UPDATE attempts SET state = 'failed' WHERE id = 1",
        f"UPDATE attempts SET root = {FIRST} WHERE id = 2",
        "UPDATE attempts SET command = 'true' WHERE id = 2",
        "UPDATE attempts SET item_id = 1 WHERE id = 2",
        "DELETE FROM attempts WHERE id = 3",
        "UPDATE versions SET operations = '[]' WHERE change_id = 'one'",
    ],
)
def test_what_was_altered_is_found(landed: Repository, statement: str) -> None:
    """In the landings, the certificates, the attempts, or what was landed."""
    assert altered(landed, statement).problems


def test_a_certificate_that_cannot_be_read_is_told(landed: Repository) -> None:
    """As damage, not as a defect."""
    statement = "UPDATE certificates SET content = '{' WHERE number = 1"
    (problem,) = altered(landed, statement).problems
    assert "cannot be read" in problem


def test_what_landed_before_there_were_certificates(landed: Repository) -> None:
    """It is counted apart, and not held against anybody."""
    found = altered(landed, "DELETE FROM certificates")
    assert (found.problems, found.earlier, found.certified) == ([], 4, 0)
