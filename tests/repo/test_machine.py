"""A hypothesis state machine: log, changes, views and landings against a plain model in memory.

The model knows files of one line each, so that any two different edits of a file conflict and no
merging of lines is needed; it is a few dictionaries and the rule for three values.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pwfs.model.changes import ChangeStatus
from pwfs.model.errors import ChangeIsFinal, Conflicted, IllegalTransition, NothingToFreeze
from pwfs.model.ids import SEQ_ZERO
from pwfs.repo.checking import fsck
from pwfs.repo.repository import Repository
from tests.repo.support import delete, make_repository, rename, shown, write

NAMES = ["a", "b", "d/c", "d/e"]
TEXTS = ["one\n", "two\n", "three\n"]
Text = str | None


@dataclass
class Edited:
    """A file's edit in the model: what it was based on and what it became."""

    base: Text
    result: Text


@dataclass
class ModelChange:
    """A change in the model; ``versions`` holds frozen copies of its edits."""

    edits: dict[str, Edited] = field(default_factory=dict)
    versions: list[dict[str, Edited]] = field(default_factory=list)
    is_dirty: bool = False
    status: str = "draft"


def resolve(edit: Edited, theirs: Text) -> tuple[Text, bool]:
    """The three-way rule for whole contents: the result, and whether it is a conflict."""
    if theirs in (edit.base, edit.result):
        return edit.result, False
    if edit.result == edit.base:
        return theirs, False
    return None, True


class RepositoryMachine(RuleBasedStateMachine):
    """Random work on a few changes; see the module."""

    changes: Bundle[str] = Bundle("changes")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="patchwork-machine-"))
        self.repo: Repository
        self.main: dict[str, str] = {}
        self.past: dict[int, dict[str, str]] = {}
        self.model: dict[str, ModelChange] = {}

    @initialize(files=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(TEXTS)))
    def begin(self, files: dict[str, str]) -> None:
        self.repo = make_repository(self.directory / "project", files)
        self.main = dict(files)
        self.past[self.repo.main()[0]] = dict(files)

    def teardown(self) -> None:
        if hasattr(self, "repo"):
            report = fsck(self.repo)
            self.repo.close()
            assert report.is_clean, report.problems
        shutil.rmtree(self.directory)

    @precondition(lambda self: len(self.model) < 6)
    @rule(target=changes, title=st.sampled_from(["Work", "More work"]))
    def create(self, title: str) -> str:
        change = self.repo.create_change(title, author="tester")
        self.repo.create_workspace(change.id, agent="tester")
        self.model[change.id] = ModelChange()
        return change.id

    def view(self, change_id: str) -> tuple[dict[str, str], set[str]]:
        """What the model says a change shows, and where it conflicts."""
        files, conflicts = dict(self.main), set()
        for path, edit in self.model[change_id].edits.items():
            result, conflict = resolve(edit, self.main.get(path))
            if conflict:
                conflicts.add(path)
                files.pop(path, None)
            elif result is None:
                files.pop(path, None)
            else:
                files[path] = result
        return files, conflicts

    def _is_open(self, change_id: str) -> bool:
        return self.model[change_id].status in ("draft", "ready")

    @rule(change=changes, path=st.sampled_from(NAMES), text=st.sampled_from(TEXTS))
    def write(self, change: str, path: str, text: str) -> None:
        workspace = f"ws-{change}"
        if not self._is_open(change):
            with pytest.raises(ChangeIsFinal):
                delete(self.repo, workspace, path)
            return
        files, conflicts = self.view(change)
        ops = write(self.repo, workspace, path, text)
        if path not in conflicts and files.get(path) == text:
            assert ops == []
            return
        self.model[change].edits[path] = Edited(self.main.get(path), text)
        self.model[change].is_dirty = True

    @rule(change=changes, path=st.sampled_from(NAMES))
    def delete(self, change: str, path: str) -> None:
        if not self._is_open(change):
            return
        files, conflicts = self.view(change)
        if path not in files or path in conflicts:
            return
        delete(self.repo, f"ws-{change}", path)
        model = self.model[change]
        model.is_dirty = True
        if self.main.get(path) is None:
            model.edits.pop(path, None)
        else:
            model.edits[path] = Edited(self.main.get(path), None)

    @rule(change=changes)
    def freeze(self, change: str) -> None:
        model = self.model[change]
        if not self._is_open(change):
            with pytest.raises(ChangeIsFinal):
                self.repo.create_version(change, "v", agent="tester")
        elif not model.is_dirty:
            with pytest.raises(NothingToFreeze):
                self.repo.create_version(change, "v", agent="tester")
        else:
            version = self.repo.create_version(change, "v", agent="tester")
            model.versions.append(dict(model.edits))
            model.is_dirty = False
            assert version.number == len(model.versions)

    @rule(change=changes)
    def ready(self, change: str) -> None:
        if self.model[change].status == "draft":
            self.repo.set_status(change, ChangeStatus.READY)
            self.model[change].status = "ready"
        else:
            with pytest.raises(IllegalTransition):
                self.repo.set_status(change, ChangeStatus.READY)

    @rule(change=changes)
    def land(self, change: str) -> None:
        model = self.model[change]
        files, conflicts = self.view(change)
        before = self.repo.head_seq()
        if not self._is_open(change):
            with pytest.raises(ChangeIsFinal):
                self.repo.land(change, agent="tester")
        elif not model.versions and not model.is_dirty:
            with pytest.raises(NothingToFreeze):
                self.repo.land(change, agent="tester")
        elif conflicts:
            with pytest.raises(Conflicted) as caught:
                self.repo.land(change, agent="tester")
            assert set(caught.value.paths) == conflicts
        else:
            landing = self.repo.land(change, agent="tester")
            self.main = files
            self.past[landing.seq] = dict(files)
            model.status = "landed"
            return
        assert self.repo.head_seq() == before

    @rule(change=changes)
    def abandon(self, change: str) -> None:
        if self._is_open(change):
            self.repo.set_status(change, ChangeStatus.ABANDONED)
            self.model[change].status = "abandoned"

    @rule(change=changes)
    def rebase(self, change: str) -> None:
        model = self.model[change]
        if not self._is_open(change):
            return
        files, conflicts = self.view(change)
        before = self.repo.head_seq()
        if conflicts:
            with pytest.raises(Conflicted):
                self.repo.rebase(change, agent="tester")
        elif files == self.main:
            with pytest.raises(NothingToFreeze):
                self.repo.rebase(change, agent="tester")
        else:
            self.repo.rebase(change, agent="tester")
            paths = {p for p in {*files, *self.main} if files.get(p) != self.main.get(p)}
            model.edits = {p: Edited(self.main.get(p), files.get(p)) for p in paths}
            model.versions.append(dict(model.edits))
            model.is_dirty = False
            return
        assert self.repo.head_seq() == before

    @rule(change=changes, old=st.sampled_from(NAMES), new=st.sampled_from(NAMES))
    def rename_away_and_back(self, change: str, old: str, new: str) -> None:
        """A rename undone leaves every file as it was (renames themselves: test_compose)."""
        if not self._is_open(change):
            return
        files, conflicts = self.view(change)
        if old not in files or new in files or conflicts & {old, new}:
            return
        if any(new in m.edits for m in (self.model[change],)):
            return
        rename(self.repo, f"ws-{change}", old, new)
        rename(self.repo, f"ws-{change}", new, old)
        model = self.model[change]
        model.is_dirty = True
        known = model.edits.get(old)
        if known is not None or self.main.get(old) is not None:
            model.edits[old] = Edited(self.main.get(old), files[old])

    @rule()
    def reopen(self) -> None:
        """Everything is in the store: closing and opening changes nothing."""
        directory = self.repo.root
        self.repo.close()
        self.repo = Repository.open(directory)

    @invariant()
    def shows_what_the_model_shows(self) -> None:
        if not hasattr(self, "repo"):
            return
        assert shown(self.repo) == self.main
        for change_id, model in self.model.items():
            if model.status not in ("draft", "ready"):
                continue
            files, conflicts = self.view(change_id)
            found = shown(self.repo, f"ws-{change_id}")
            assert {p: t for p, t in found.items() if p not in conflicts} == files
            workspace = self.repo.live(f"ws-{change_id}")
            assert {c.path for c in workspace.conflicts()} == conflicts

    @invariant()
    def remembers_the_past(self) -> None:
        for seq, files in self.past.items():
            assert shown(self.repo, f"at-{seq}") == files

    @invariant()
    def numbers_rise(self) -> None:
        if hasattr(self, "repo"):
            numbers = [op.id for op in self.repo.ops()]
            assert numbers == sorted(set(numbers))
            assert max([*numbers, SEQ_ZERO]) <= self.repo.head_seq()


TestRepository = RepositoryMachine.TestCase
TestRepository.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
