"""`patchwork verify`: every landing in main's history against the certificate of its test.

Nothing that landing relied on is believed: trees are composed anew from the log, and the
certificates, which are never changed, are compared with landings, items, attempts and each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from pwfs.model.changes import Landing
from pwfs.model.errors import Corrupt, NotFound, PatchworkError
from pwfs.model.ids import SEQ_ZERO, AttemptId, Seq, TreeHash
from pwfs.model.queue import (
    AttemptState,
    Certificate,
    IndependenceProof,
    Member,
    StoredCertificate,
    TestKey,
)
from pwfs.repo.proving import Outcome, doubts
from pwfs.repo.replay import Replay
from pwfs.repo.repository import Repository
from pwfs.views.trees import EMPTY_TREE


@dataclass
class VerifyReport:
    """What was compared, and what is wrong.

    ``landings`` are ``certified``, ``untested`` (landed around the queue, or imported; main says so
    of each), or ``earlier``: tested by the queue of a Patchwork that stored no certificates.
    """

    landings: int = 0
    certified: int = 0
    untested: int = 0
    earlier: int = 0
    problems: list[str] = field(default_factory=list)


class Verification:
    """The steps of `verify`; the caller may do other things between them."""

    def __init__(self, repository: Repository) -> None:
        self._repo = repository
        self._replay = Replay(repository)
        self._certificates: dict[AttemptId, StoredCertificate] = {}
        self.report = VerifyReport()

    def steps(self) -> Iterator[None]:
        """Compares everything; yields after each landed item."""
        try:
            stored = self._repo.log.certificates()
        except Corrupt as error:
            self._problem(error.message)
            return
        self._chain(stored)
        self._certificates = {each.certificate.attempt_id: each for each in stored}
        seq, root = SEQ_ZERO, EMPTY_TREE
        for landed in _items(self._repo.log.landings()):
            self._compare(landed, seq, root)
            seq, root = landed[-1].seq, landed[-1].root
            yield
        for attempt_id in self._certificates:
            self._problem(f"the certificate of attempt {attempt_id} belongs to no landing")

    def _problem(self, text: str) -> None:
        self.report.problems.append(text)

    def _chain(self, stored: list[StoredCertificate]) -> None:
        digest = ""
        for number, each in enumerate(stored, 1):
            if not each.is_intact:
                self._problem(f"certificate {number} is not what its digest says")
            if each.certificate.number != number or each.certificate.previous != digest:
                self._problem(f"certificate {number} does not follow the one before it")
            digest = each.digest

    def _compare(self, landed: list[Landing], seq: Seq, root: TreeHash) -> None:
        self.report.landings += len(landed)
        first = landed[0]
        where = f"landing {first.seq} of {first.change_id}@{first.version}"
        attempt_id = AttemptId(first.attempt_id) if first.attempt_id is not None else None
        if first.verified != (attempt_id is not None):
            self._problem(f"{where}: it does not say whether it was tested")
        stored = self._certificates.pop(attempt_id, None) if attempt_id is not None else None
        try:
            if stored is not None:
                self.report.certified += len(landed)
                for text in self._differences(stored.certificate, landed, seq, root):
                    self._problem(f"{where}: {text}")
            elif not first.verified:
                self.report.untested += len(landed)
                self._untested(where, landed, seq, root)
            elif self.report.certified:
                self._problem(f"{where}: there is no certificate of its test")
            else:
                self.report.earlier += len(landed)
        except PatchworkError as error:
            self._problem(f"{where}: {error.message}")

    def _untested(self, where: str, landed: list[Landing], seq: Seq, root: TreeHash) -> None:
        for landing in landed:
            member = Member(landing.change_id, landing.version)
            if self._replay.root_of(seq, root, [member]) != landing.root:
                self._problem(f"{where}: its operations do not give the tree {landing.root}")

    def _differences(
        self, certificate: Certificate, landed: list[Landing], seq: Seq, root: TreeHash
    ) -> Iterator[str]:
        """Tells in what a certificate, and what it stands on, differ from what happened."""
        members = tuple(Member(landing.change_id, landing.version) for landing in landed)
        if members != certificate.members:
            yield f"{_names(members)} landed, certified are {_names(certificate.members)}"
        if certificate.stack[-len(certificate.members) :] != certificate.members:
            yield "what was tested does not end with it"
        if {landing.root for landing in landed} != {certificate.root}:
            yield f"main became {landed[-1].root}, certified is {certificate.root}"
        if (certificate.main_seq, certificate.main_root) != (seq, root):
            yield f"it followed {seq}, certified is {certificate.main_seq}"
        if [landing.previous_seq for landing in landed] != [
            seq,
            *(landing.seq for landing in landed[:-1]),
        ]:
            yield f"it does not follow {seq} directly"
        yield from self._trees(certificate, root)
        yield from self._tests(certificate)
        if certificate.independence is not None:
            yield from self._independent(certificate, certificate.independence)

    def _trees(self, certificate: Certificate, main_root: TreeHash) -> Iterator[str]:
        base_seq, base_root = self._repo.main_at(certificate.base_seq)
        if base_root != certificate.base_root or base_seq != certificate.base_seq:
            yield f"main at {certificate.base_seq} is not {certificate.base_root}"
        ahead = certificate.stack[: -len(certificate.members)]
        if self._replay.root_of(base_seq, base_root, ahead) != main_root:
            yield "what was tested before it is not what main was"
        if self._replay.root_of(base_seq, base_root, certificate.stack) != certificate.root:
            yield f"what was tested does not give the tree {certificate.root}"

    def _tests(self, certificate: Certificate) -> Iterator[str]:
        command, environment_hash = certificate.command, certificate.environment_hash
        proof = certificate.independence
        landed = TestKey(certificate.root, command, environment_hash)
        run = landed if proof is None else TestKey(proof.tested_root, command, environment_hash)
        keys = {certificate.tested_by: run, certificate.attempt_id: landed}
        if certificate.exit_code != 0:
            yield f"the test ended with exit code {certificate.exit_code}"
        for attempt_id, key in keys.items():
            try:
                attempt = self._repo.attempt(attempt_id)
            except NotFound:
                yield f"attempt {attempt_id} is not recorded"
                continue
            if attempt.state is not AttemptState.PASSED or attempt.key != key:
                yield f"attempt {attempt_id} did not pass on this tree"
            if attempt_id == certificate.attempt_id and (
                attempt.item_id != certificate.item_id or attempt.stack != certificate.stack
            ):
                yield f"attempt {attempt_id} tested something else"
            is_run = proof is None or attempt_id == certificate.tested_by
            if is_run and attempt.rests_on is not None:
                yield f"attempt {attempt_id} was no test, it rests on {attempt.rests_on}"

    def _independent(self, certificate: Certificate, proof: IndependenceProof) -> Iterator[str]:
        """Tells in what a test of another tree does not speak for what landed."""
        if certificate.stack != certificate.members:
            yield "what was tested by independence landed together with others"
        if certificate.tested_by == certificate.attempt_id:
            yield f"attempt {certificate.attempt_id} cannot be the test of another tree"
        yield from self._rests(certificate, proof)
        outcome = Outcome(
            certificate.base_seq, certificate.base_root, certificate.stack, certificate.root
        )
        yield from doubts(self._repo, proof, outcome, self._root_of)

    def _rests(self, certificate: Certificate, proof: IndependenceProof) -> Iterator[str]:
        """Compares the two attempts with what the proof says of them."""
        for attempt_id in (certificate.attempt_id, certificate.tested_by):
            attempt = self._repo.log.attempt(attempt_id)
            if attempt is None:
                continue
            is_run = attempt_id == certificate.tested_by
            if attempt.item_id != certificate.item_id:
                yield f"attempt {attempt_id} is another item's"
            if not is_run and attempt.rests_on != certificate.tested_by:
                yield f"attempt {attempt_id} does not rest on {certificate.tested_by}"
            tested = (proof.tested_base_seq, proof.tested_stack)
            if is_run and (attempt.base_seq, attempt.stack) != tested:
                yield f"attempt {attempt_id} tested something else"

    def _root_of(self, seq: Seq, members: Sequence[Member]) -> TreeHash | None:
        base_seq, base_root = self._repo.main_at(seq)
        return self._replay.root_of(base_seq, base_root, members)


def verify(repository: Repository) -> VerifyReport:
    """Compares every landing with the certificate of its test; changes nothing."""
    verification = Verification(repository)
    for _ in verification.steps():
        pass
    return verification.report


def _items(landings: list[Landing]) -> Iterator[list[Landing]]:
    """Yields the landings of each item together; others one by one."""
    together: list[Landing] = []
    for landing in landings:
        if together and (
            landing.attempt_id is None or landing.attempt_id != together[0].attempt_id
        ):
            yield together
            together = []
        together.append(landing)
    if together:
        yield together


def _names(members: tuple[Member, ...]) -> str:
    return ", ".join(f"{member.change_id}@{member.version}" for member in members)
