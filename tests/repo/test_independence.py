"""A result of another tree counts only where it is proven, and `verify` finds a proof that is none."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pwfs.model.errors import InvalidArgument, NotIndependent
from pwfs.model.ids import ChangeId, Seq
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath
from pwfs.model.queue import Attempt, Member, QueueItem, TestKey
from pwfs.model.targets import Rule, RuleKind
from pwfs.repo.certifying import verify
from pwfs.repo.checking import fsck
from pwfs.repo.edits import Edit
from pwfs.repo.repository import Repository
from pwfs.submit import Policy
from tests.repo.certified import altered, forged, passed, rewritten, submitted
from tests.repo.support import make_repository, rename, workspace_on, write

RULE = "a/: A\nb/: B\nc/: C A\n"
FILES = {"a/1": "1\n", "b/1": "1\n", "c/1": "1\n", "d/1": "1\n"}


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    """Main with a file for each target, and a rule of paths."""
    repo = make_repository(tmp_path / "project", FILES)
    repo.set_setting("test-cmd", "make test")
    repo.set_setting("target-paths", RULE)
    return repo


def reused(
    repo: Repository, item: QueueItem, source: int, *others: str, command: str = "make test"
) -> Attempt:
    """Writes an item's result down for main as it is, though the trees differ in some changes."""
    base = repo.main()[0]
    root = repo.candidate(base, item.members).root
    assert root is not None
    key = TestKey(root, command, "e" * 64)
    return repo.reuse_attempt(
        item, base, item.members, key, source, [ChangeId(other) for other in others]
    )


def overtaken(repo: Repository, path: str = "b/2") -> tuple[QueueItem, int]:
    """An item that was tested before another landed; its test."""
    slow = submitted(repo, "Slow", "a/2", "slow\n")
    quick = submitted(repo, "Quick", path, "quick\n")
    base = repo.main()[0]
    tested = passed(repo, slow, slow.members, base)
    repo.land_item(quick.id, passed(repo, quick, quick.members, base))
    return slow, tested


def refused(repo: Repository, item: QueueItem, source: int, *others: str) -> str:
    """Why a result does not count; nothing is stored of it."""
    before = repo.attempts(item.id), repo.log.last_event_id()
    with pytest.raises(NotIndependent) as error:
        reused(repo, item, source, *others)
    assert (repo.attempts(item.id), repo.log.last_event_id()) == before
    return error.value.reason


def test_a_result_holds_where_what_landed_is_independent(repo: Repository) -> None:
    """The certificate tells both trees, what they differ in, the rule and what it declares."""
    slow, tested = overtaken(repo)
    attempt = reused(repo, slow, tested, "quick")
    (landing,) = repo.land_item(slow.id, attempt.id)
    certificate = repo.certificate(landing.seq).certificate
    proof = certificate.independence
    assert proof is not None
    assert (certificate.attempt_id, certificate.tested_by) == (attempt.id, tested)
    assert attempt.rests_on == tested
    assert proof.besides == (Member(ChangeId("quick"), 1),)
    assert proof.without == ()
    assert proof.rule == Rule(RuleKind.PATHS, RULE)
    assert [told.targets for told in proof.declarations] == [("A",), ("B",)]
    assert proof.tested_root == repo.attempt(tested).key.root != landing.root == proof.either_root
    assert verify(repo).problems == []
    assert fsck(repo).problems == []
    repo.close()


def test_a_result_holds_without_who_was_tested_ahead(repo: Repository) -> None:
    """As main is without it: it was there in the test, and is not yet where this lands."""
    slow = submitted(repo, "Slow", "a/2", "slow\n")
    quick = submitted(repo, "Quick", "b/2", "quick\n")
    tested = passed(repo, quick, (*slow.members, *quick.members), repo.main()[0])
    (landing,) = repo.land_item(quick.id, reused(repo, quick, tested, "slow").id)
    proof = repo.certificate(landing.seq).certificate.independence
    assert proof is not None
    assert (proof.besides, proof.without) == ((), slow.members)
    assert "a/2" not in dict(repo.live("main").files())
    # Which change depends on it later does not matter.
    repo.set_dependencies("slow", ["quick"])
    repo.cancel(slow.id, agent="a")
    assert verify(repo).problems == []
    repo.close()


def test_certificates_without_independence_are_as_they_were(repo: Repository) -> None:
    """Not a byte of them tells of it."""
    overtaken(repo)
    with closing(sqlite3.connect(repo.layout.database)) as shell:
        ((content,),) = shell.execute("SELECT content FROM certificates").fetchall()
    assert "independence" not in content
    assert content.endswith('Z"}')
    repo.close()


def no_rule(repo: Repository) -> None:
    repo.set_setting("target-paths", "")


def another_rule(repo: Repository) -> None:
    repo.set_setting("target-paths", "*: all\n")


def rule_of_fewer(repo: Repository) -> None:
    repo.set_setting("target-paths", "a/: A\n")


def silent_command(repo: Repository) -> None:
    repo.set_setting("target-paths", "")
    repo.set_setting("target-cmd", "nobody ran it")


@pytest.mark.parametrize("alter", [no_rule, another_rule, rule_of_fewer, silent_command])
def test_what_the_rule_says_now_counts(
    repo: Repository, alter: Callable[[Repository], None]
) -> None:
    """Before it is written down, and in the step that lands; nothing is landed by an older rule."""
    slow, tested = overtaken(repo)
    attempt = reused(repo, slow, tested, "quick")
    alter(repo)
    assert "nothing declares it independent" in refused(repo, slow, tested, "quick")
    head = repo.main()
    with pytest.raises(NotIndependent):
        repo.land_item(slow.id, attempt.id)
    assert (repo.main(), repo.item(slow.id).finished_at) == (head, None)
    left = [a.id for a in repo.queue_snapshot(environment_hash="e" * 64).attempts]
    assert left == [tested]
    repo.close()


def test_a_target_in_common(repo: Repository) -> None:
    """The paths are others, the target is not."""
    slow, tested = overtaken(repo, "c/2")
    assert "nothing declares it independent of quick" in refused(repo, slow, tested, "quick")
    repo.close()


def test_only_what_differs_and_only_a_test_of_the_item(repo: Repository) -> None:
    """Another item's test, another command, a wrong list of changes: none of it counts."""
    slow, tested = overtaken(repo)
    other = submitted(repo, "Other", "b/3", "other\n")
    assert "is not a test of it" in refused(repo, other, tested, "quick")
    assert "other changes than" in refused(repo, slow, tested, "quick", "other")
    assert "other changes than" in refused(repo, slow, tested, "other")
    with pytest.raises(NotIndependent, match="another test"):
        reused(repo, slow, tested, "quick", command="true")
    used = reused(repo, slow, tested, "quick")
    write(repo, workspace_on(repo, "Direct"), "b/4", "direct\n")
    repo.land("direct", agent="a")
    assert "is not a test of it" in refused(repo, slow, used.id, "direct")
    assert reused(repo, slow, tested, "quick", "direct").rests_on == tested
    assert used.id not in {
        attempt.id for attempt in repo.queue_snapshot(environment_hash="e" * 64).attempts
    }
    repo.close()


def test_a_result_that_rests_on_another_tree_is_nobody_elses(repo: Repository) -> None:
    """The tree that lands was never tested as a whole, so no other item may take it for that."""
    slow, tested = overtaken(repo)
    used = reused(repo, slow, tested, "quick")
    assert repo.log.passed_attempt(used.key) is None
    snapshot = repo.queue_snapshot(environment_hash="e" * 64)
    assert snapshot.passed_by(used.key) is None
    assert used in snapshot.attempts
    repo.close()


def test_who_depends_on_another_is_not_independent_of_it(repo: Repository) -> None:
    """Directly or through others, whatever their targets."""
    first = submitted(repo, "First", "b/2", "first\n")
    write(repo, workspace_on(repo, "Between"), "b/3", "between\n")
    repo.set_dependencies("between", ["first"])
    write(repo, workspace_on(repo, "Last"), "a/2", "last\n")
    repo.set_dependencies("last", ["between"])
    between, last = (repo.submit([name], agent="a") for name in ("between", "last"))
    base = repo.main()[0]
    tested = passed(repo, last, (*first.members, *between.members, *last.members), base)
    repo.land_item(first.id, passed(repo, first, first.members, base))
    repo.land_item(between.id, passed(repo, between, between.members, repo.main()[0]))
    whole = passed(repo, last, last.members, base)
    assert "independent of first" in refused(repo, last, whole, "first", "between")
    assert repo.attempt(tested).stack[-1:] == last.members
    snapshot = repo.queue_snapshot(environment_hash="e" * 64)
    assert set(snapshot.dependencies) == {"last", "between"}
    repo.close()


def test_a_file_that_main_moved_since(repo: Repository) -> None:
    """The edit follows it to where others have targets: nothing is known of it until it is rebased."""
    mover = workspace_on(repo, "Mover")
    rename(repo, mover, "d/1", "b/moved")
    repo.set_setting("target-paths", RULE + "d/: D\n")
    editor = submitted(repo, "Editor", "d/1", "1\nmore\n")
    bystander = submitted(repo, "Bystander", "a/2", "by\n")
    tested = passed(repo, bystander, (*editor.members, *bystander.members), repo.main()[0])
    repo.submit(["mover"], agent="a")
    rule = repo.config.rule
    assert rule is not None
    assert repo.targets_of(editor.members[0], rule) == {"D"}
    moving = repo.queued()[-1]
    repo.land_item(moving.id, passed(repo, moving, moving.members, repo.main()[0]))
    (told,) = repo.described_targets(editor.members) or [{}]
    assert (told["targets"], told["detail"]) == (None, "main moved d/1 since")
    assert repo.known_targets([*editor.members, *moving.members]).keys() == {"mover"}
    assert "independent of editor" in refused(repo, bystander, tested, "mover", "editor")
    repo.close()


def test_a_directory_that_moves_as_a_whole(repo: Repository) -> None:
    """Whatever is in it by then goes along, so nothing is known of its mover."""
    workspace = workspace_on(repo, "Mover")
    shown = repo.live(workspace).file(RepoPath("b/1"))
    names = (RepoPath("b"), RepoPath("a/b"))
    edit = Edit(
        OpType.RENAME,
        RepoPath("a/b/1"),
        shown,
        old_path=RepoPath("b/1"),
        directory_rename=names,
    )
    repo.record(workspace, [edit])
    (mover,) = repo.submit(["mover"], agent="a").members
    assert repo.known_targets([mover]) == {}
    (told,) = repo.described_targets([mover]) or [{}]
    assert told["detail"] == "it moves the directory b as a whole"
    repo.close()


def test_both_names_of_a_renamed_file_count(repo: Repository) -> None:
    """It has the targets of where it was, and of where it is."""
    workspace = workspace_on(repo, "Mover")
    rename(repo, workspace, "b/1", "a/moved")
    (mover,) = repo.submit(["mover"], agent="a").members
    rule = repo.config.rule
    assert rule is not None
    assert repo.targets_of(mover, rule) == {"A", "B"}
    assert repo.touched_by(mover) == {"b/1", "a/moved"}
    repo.close()


def test_a_later_version_does_not_speak_for_an_earlier_one(repo: Repository) -> None:
    """A tree with a version that left the queue is told by the targets of all versions of it."""
    workspace = workspace_on(repo, "Changing")
    write(repo, workspace, "a/3", "first\n")
    repo.submit(["changing"], agent="a")
    behind = submitted(repo, "Behind", "b/2", "behind\n")
    first = Member(ChangeId("changing"), 1)
    passed(repo, behind, (first, *behind.members), repo.main()[0])
    write(repo, workspace, "b/3", "second\n")
    repo.create_version("changing", "again", agent="a")
    repo.submit(["changing"], agent="a")
    targets = repo.queue_snapshot(environment_hash="e" * 64).targets
    assert targets[ChangeId("changing")] == {"A", "B"}
    repo.close()


@pytest.fixture
def certified(repo: Repository) -> Repository:
    """With a landing that rests on a test of another tree, by a command's targets."""
    repo.set_setting("target-paths", "")
    repo.set_setting("target-cmd", "print them")
    slow, tested = overtaken(repo)
    # What left the queue is not asked any more: it was told in time.
    tell(repo, Member(ChangeId("quick"), 1), "B")
    tell(repo, slow.members[0], "A")
    repo.land_item(slow.id, reused(repo, slow, tested, "quick").id)
    assert verify(repo).problems == []
    return repo


def tell(repo: Repository, member: Member, *targets: str) -> None:
    """Stores what a command printed."""
    question = repo.ask(member)
    assert question is not None
    repo.answer(question, frozenset(targets), "")
    repo.answer(question, frozenset({"another answer"}), "is too late")


Proof = dict[str, Any]


def hide_the_difference(proof: Proof) -> None:
    proof["besides"] = []
    del proof["declarations"][1:]


def add_a_difference(proof: Proof) -> None:
    proof["without"] = proof["besides"]


def name_another_tree(proof: Proof) -> None:
    proof["tested_root"] = proof["tested_base_root"]


def start_elsewhere(proof: Proof) -> None:
    proof["tested_base_root"] = proof["tested_root"]


def end_elsewhere(proof: Proof) -> None:
    proof["either_root"] = proof["tested_root"]


def name_another_stack(proof: Proof) -> None:
    proof["tested_stack"] = [*proof["tested_stack"], *proof["besides"]]


def declare_other_targets(proof: Proof) -> None:
    proof["declarations"][1]["targets"] = ["Z"]


def declare_nothing(proof: Proof) -> None:
    proof["declarations"] = []


def declare_unknown_ones(proof: Proof) -> None:
    proof["declarations"][1]["targets"] = None


def change_the_rule(proof: Proof) -> None:
    proof["rule"]["text"] = "another command"


def say_it_is_by_paths(proof: Proof) -> None:
    proof["rule"] = {"kind": "paths", "text": "*: A\n"}


@pytest.mark.parametrize(
    "edit",
    [
        hide_the_difference,
        add_a_difference,
        name_another_tree,
        start_elsewhere,
        end_elsewhere,
        name_another_stack,
        declare_other_targets,
        declare_nothing,
        declare_unknown_ones,
        change_the_rule,
        say_it_is_by_paths,
    ],
)
def test_a_forged_proof_is_found(certified: Repository, edit: Callable[[Proof], None]) -> None:
    """Though the certificate's digest is right."""

    def forge(shell: sqlite3.Connection) -> None:
        rewritten(shell, lambda certificate: edit(certificate["independence"]))

    assert forged(certified, forge).problems


def test_a_certificate_without_its_proof_is_found(certified: Repository) -> None:
    """Or one that calls another tree's test one of this tree."""

    def forge(shell: sqlite3.Connection) -> None:
        rewritten(shell, lambda certificate: certificate.pop("independence"))

    assert any("did not pass on this tree" in text for text in forged(certified, forge).problems)


def test_a_certificate_that_tests_itself_is_found(certified: Repository) -> None:
    """The attempt that was written down was no test."""

    def itself(certificate: dict[str, Any]) -> None:
        certificate["tested_by"] = certificate["attempt_id"]
        del certificate["independence"]

    found = forged(certified, lambda shell: rewritten(shell, itself))
    assert any("was no test" in text for text in found.problems)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE targets SET targets = '[\"Z\"]' WHERE change_id = 'quick'",
        "UPDATE targets SET targets = NULL WHERE change_id = 'slow'",
        "DELETE FROM targets WHERE change_id = 'quick'",
        "UPDATE targets SET rule = 'another'",
        "UPDATE attempts SET rests_on = NULL WHERE rests_on IS NOT NULL",
        "UPDATE attempts SET rests_on = 2 WHERE rests_on IS NOT NULL",
        "UPDATE attempts SET item_id = 2 WHERE id = 1",
        "UPDATE attempts SET base_seq = 0 WHERE id = 1",
        "UPDATE changes SET dependencies = '[\"quick\"]' WHERE id = 'slow'",
    ],
)
def test_what_a_proof_stands_on_is_compared(certified: Repository, statement: str) -> None:
    """Declarations, attempts and dependencies that were altered afterwards."""
    assert altered(certified, statement).problems


def test_targets_in_common_are_found(certified: Repository) -> None:
    """Also where what is stored says the same as the certificate."""

    def share(certificate: dict[str, Any]) -> None:
        for told in certificate["independence"]["declarations"]:
            told["targets"] = ["A"]

    def forge(shell: sqlite3.Connection) -> None:
        rewritten(shell, share)
        shell.execute("UPDATE targets SET targets = '[\"A\"]'")

    assert any("in common" in text for text in forged(certified, forge).problems)


def test_a_rule_of_paths_is_asked_again(repo: Repository) -> None:
    """What it is said to have declared is compared with what the paths give."""
    slow, tested = overtaken(repo)
    repo.land_item(slow.id, reused(repo, slow, tested, "quick").id)

    def other(certificate: dict[str, Any]) -> None:
        certificate["independence"]["declarations"][1]["targets"] = ["Z"]

    def forge(shell: sqlite3.Connection) -> None:
        rewritten(shell, other)
        shell.execute("UPDATE targets SET targets = '[\"Z\"]' WHERE change_id = 'quick'")

    found = forged(repo, forge).problems
    assert any("the paths of quick@1 have other targets" in text for text in found)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('target-paths = "docs/"', "line 1 is not PATTERN"),
        ('target-cmd = "echo a"\ntarget-paths = "a/: A"', "target-cmd is set"),
        ("target-timeout-s = 0", "at least 1"),
    ],
)
def test_a_settings_file_with_a_rule_that_is_none(repo: Repository, text: str, reason: str) -> None:
    """It is refused when the repository is opened, with what is wrong."""
    directory = repo.root
    repo.layout.config.write_text(text)
    repo.close()
    with pytest.raises(InvalidArgument, match=reason):
        Repository.open(directory)


def test_policies_see_targets_only_with_a_rule(repo: Repository) -> None:
    """Without one the snapshot is what it always was."""
    submitted(repo, "One", "a/2", "one\n")
    repo.set_setting("queue-policy", Policy.TREE)
    snapshot = repo.queue_snapshot(environment_hash="e" * 64)
    assert snapshot.targets == {"one": {"A"}}
    no_rule(repo)
    assert repo.queue_snapshot(environment_hash="e" * 64).targets == {}
    assert repo.undeclared() == []
    assert Seq(0) < repo.main()[0]
    repo.close()
