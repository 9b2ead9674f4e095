"""A hypothesis state machine: two workspaces on one change, whatever becomes of that change.

Writing, renaming files and directories, freezing, rebasing, landing through the queue with a
follow-up, and main moving in files of others: none of it may alter what the workspaces show but
their own writes. So the model is one dictionary of files, and main's another.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pwfs.model.errors import NotFound, NothingToFreeze
from pwfs.model.ops import OpType
from pwfs.model.paths import RepoPath, is_under
from pwfs.model.queue import AttemptState, ItemState, QueueItem, TestKey
from pwfs.repo.certifying import verify
from pwfs.repo.checking import fsck
from pwfs.repo.edits import Edit, OpRequest
from pwfs.repo.repository import Repository
from tests.repo.support import delete, entry, make_repository, rename, shown, write

MINE = ["a", "b", "d/c", "d/e", "x/y", "x/d/e"]
THEIRS = ["o/1", "o/2", "p/3"]
DIRECTORIES = [("d", "x/d"), ("x/d", "d"), ("d", "z"), ("z", "d")]
TEXTS = ["one\n", "two\n", "three\n"]
BASE = st.dictionaries(st.sampled_from([*MINE, *THEIRS]), st.sampled_from(TEXTS))


@dataclass
class Queued:
    """What is in the queue, and what its workspaces showed of their files when it was frozen."""

    item: QueueItem
    files: dict[str, str]


class FollowingMachine(RuleBasedStateMachine):
    """Random work in two workspaces; see the module."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="patchwork-machine-"))
        self.repo: Repository
        self.change = ""
        self.workspaces: tuple[str, ...] = ()
        self.mine: dict[str, str] = {}
        self.theirs: dict[str, str] = {}
        self.landed: dict[str, str] = {}
        self.queued: Queued | None = None

    @initialize(base=BASE)
    def begin(self, base: dict[str, str]) -> None:
        self.repo = make_repository(self.directory / "project", base)
        self.repo.set_setting("test_cmd", "true")
        self.theirs = {path: text for path, text in base.items() if path in THEIRS}
        self.mine = {path: text for path, text in base.items() if path in MINE}
        self.landed = dict(self.mine)
        self.change = self.repo.create_change("Work", author="a").id
        self.workspaces = tuple(
            self.repo.create_workspace(self.change, agent=agent).id for agent in "ab"
        )

    def teardown(self) -> None:
        if hasattr(self, "repo"):
            report, verified = fsck(self.repo), verify(self.repo)
            self.repo.close()
            assert report.is_clean, report.problems
            assert not verified.problems
        shutil.rmtree(self.directory)

    # What the two agents do

    @rule(who=st.sampled_from([0, 1]), path=st.sampled_from(MINE), text=st.sampled_from(TEXTS))
    def write(self, who: int, path: str, text: str) -> None:
        write(self.repo, self.workspaces[who], path, text)
        self.mine[path] = text

    @precondition(lambda self: self.mine)
    @rule(who=st.sampled_from([0, 1]), data=st.data())
    def delete(self, who: int, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.mine)))
        delete(self.repo, self.workspaces[who], path)
        del self.mine[path]

    @precondition(lambda self: self.mine)
    @rule(who=st.sampled_from([0, 1]), new=st.sampled_from(MINE), data=st.data())
    def rename(self, who: int, new: str, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.mine)))
        if path != new:
            rename(self.repo, self.workspaces[who], path, new)
            self.mine[new] = self.mine.pop(path)

    @rule(who=st.sampled_from([0, 1]), names=st.sampled_from(DIRECTORIES))
    def rename_directory(self, who: int, names: tuple[str, str]) -> None:
        old, new = RepoPath(names[0]), RepoPath(names[1])
        files = [RepoPath(path) for path in self.mine if is_under(RepoPath(path), old)]
        if any(is_under(RepoPath(path), new) for path in self.mine):
            return
        live = self.repo.live(self.workspaces[who])
        edits = []
        for path in files:
            target = RepoPath(new + path[len(old) :])
            edit = Edit(
                OpType.RENAME, target, live.file(path), old_path=path, directory_rename=(old, new)
            )
            edits.append(edit)
            self.mine[target] = self.mine.pop(path)
        self.repo.record(self.workspaces[who], edits)

    @rule(paths=st.lists(st.sampled_from(MINE), max_size=4), text=st.sampled_from(TEXTS))
    def append(self, paths: list[str], text: str) -> None:
        """A program writes, or deletes what is like that already, each seeing those before it."""
        content = entry(self.repo, text).content_hash
        after = dict(self.mine)
        requests = []
        for path in paths:
            kind = OpType.MODIFY if path in after else OpType.CREATE
            if after.get(path) == text:
                requests.append(OpRequest(OpType.DELETE, path))
                del after[path]
            else:
                requests.append(OpRequest(kind, path, content))
                after[path] = text
        self.repo.append_ops(self.change, requests, agent="p")
        self.mine = after

    @rule(paths=st.lists(st.sampled_from(MINE), max_size=3, unique=True))
    def append_in_vain(self, paths: list[str]) -> None:
        """One of several operations is refused, and all with it."""
        content = entry(self.repo, "refused").content_hash
        kinds = [OpType.MODIFY if path in self.mine else OpType.CREATE for path in paths]
        requests = [OpRequest(*each, content) for each in zip(kinds, paths, strict=True)]
        none = OpRequest(OpType.DELETE, "nothing")
        with pytest.raises(NotFound) as refusal:
            self.repo.append_ops(self.change, [*requests, none], agent="p")
        assert refusal.value.index == len(paths)

    # What becomes of their change

    @rule()
    def freeze(self) -> None:
        try:
            self.repo.create_version(self.change, "v", agent="a")
        except NothingToFreeze:
            return
        if self.queued is not None:
            assert self.repo.item(self.queued.item.id).state is ItemState.CANCELLED
            self.queued = None

    @precondition(lambda self: self.queued is None)
    @rule()
    def rebase(self) -> None:
        try:
            self.repo.rebase(self.change, agent="a")
        except NothingToFreeze:
            assert self.mine == self.landed

    @precondition(lambda self: self.queued is None)
    @rule()
    def submit(self) -> None:
        try:
            item = self.repo.submit([self.change], agent="a")
        except NothingToFreeze:
            assert self.mine == self.landed
        else:
            self.queued = Queued(item, dict(self.mine))

    @precondition(lambda self: self.queued is not None)
    @rule()
    def cancel(self) -> None:
        assert self.queued is not None
        self.repo.cancel(self.queued.item.id, agent="a")
        self.queued = None

    @precondition(lambda self: self.queued is not None)
    @rule()
    def pass_the_test(self) -> None:
        assert self.queued is not None
        item, self.landed, self.queued = self.queued.item, self.queued.files, None
        head, _ = self.repo.main()
        root = self.repo.candidate(head, item.members).root
        assert root is not None, "it conflicts with nothing"
        key = TestKey(root, "true", "environment")
        attempt = self.repo.start_attempt(item, head, item.members, key)
        self.repo.finish_attempt(attempt.id, AttemptState.PASSED, 0)
        self.repo.land_item(item.id, attempt.id)
        self._find_change()

    def _find_change(self) -> None:
        following = {self.repo.workspace(id_).change_id for id_ in self.workspaces}
        assert len(following) == 1, "the workspaces stay together"
        (change,) = following
        assert change is not None
        if self.repo.change(change).status.is_final:
            assert self.mine == self.landed, "what landed is all there was"
            change = self.repo.create_change("Work", author="a").id
            for id_ in self.workspaces:
                self.repo.switch_workspace(id_, change)
        self.change = change

    # What others do

    @rule(path=st.sampled_from(THEIRS), new=st.sampled_from(THEIRS), text=st.sampled_from(TEXTS))
    def move_main(self, path: str, new: str, text: str) -> None:
        other = self.repo.create_change("Other", author="o").id
        workspace = self.repo.create_workspace(other, agent="o").id
        if path not in self.theirs or path == new:
            if not write(self.repo, workspace, path, text):
                return
            self.theirs[path] = text
        else:
            rename(self.repo, workspace, path, new)
            self.theirs[new] = self.theirs.pop(path)
        self.repo.land(other, agent="o")
        self.repo.destroy_workspace(workspace)

    @rule()
    def reopen(self) -> None:
        directory = self.repo.root
        self.repo.close()
        self.repo = Repository.open(directory)

    @invariant()
    def shows_what_was_written(self) -> None:
        if not self.workspaces:
            return
        for id_ in self.workspaces:
            assert shown(self.repo, id_) == {**self.theirs, **self.mine}
            assert self.repo.live(id_).conflicts() == ()
        assert shown(self.repo) == {**self.theirs, **self.landed}

    @invariant()
    def follows_as_composing_anew(self) -> None:
        if self.workspaces:
            stack = self.repo.stack(self.repo.change(self.change))
            anew = self.repo.compose(*self.repo.main(), stack)
            followed = self.repo.live(self.workspaces[0])
            draft = self.repo.draft_view(self.repo.change(self.change))
            assert dict(anew.files()) == dict(followed.files()) == dict(draft.files())


TestFollowing = FollowingMachine.TestCase
TestFollowing.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
