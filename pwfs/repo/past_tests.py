"""What earlier tests are good for: a landing's certificate, and how long the next may take."""

import math

from pwfs.model.errors import NotFound
from pwfs.model.ids import AttemptId, Seq
from pwfs.model.queue import Attempt, Certificate, Member, StoredCertificate
from pwfs.repo.proving import Proving

LEARNT_FROM_MIN = 20
LEARNT_FROM_MAX = 200
LEARNT_LIMIT_S_MIN = 10.0
"""A learnt limit is no shorter: how busy the machine is counts for more than the test then."""


class PastTests(Proving):
    """The part of a repository that knows what was tested."""

    def test_time_limit_s(self, command: str) -> float:
        """How long a test may take: as long as is set, or as was learnt from those that passed.

        What was learnt is the time within which 95 % of the last ones passed, and a margin.
        """
        fixed_s, margin = float(self.config.test_timeout_s), self.config.test_timeout_margin
        took_s = sorted(self.log.passed_durations_s(command, LEARNT_FROM_MAX)) if margin else []
        if len(took_s) < LEARNT_FROM_MIN:
            return fixed_s
        p95_s = took_s[math.ceil(0.95 * len(took_s)) - 1]
        return min(fixed_s, max(LEARNT_LIMIT_S_MIN, p95_s * (1 + margin / 100)))

    def _certify(self, attempt: Attempt, members: tuple[Member, ...]) -> None:
        """Stores what was tested, in the transaction that lands its last ``members``.

        Raises:
            NotIndependent: the attempt rests on another tree's, which does not speak for it any more.
        """
        number, digest = self.log.last_certificate()
        # What passed first under a key was run; later ones may rest on its result.
        run = self.log.passed_attempt(attempt.key, oldest=True)
        proof = None
        if attempt.rests_on is not None:
            run, item = self.log.attempt(attempt.rests_on), self.log.item(attempt.item_id)
            assert run is not None and item is not None
            proof = self.prove(item, run, attempt.base_seq, attempt.stack, attempt.key)
        assert run is not None and run.ended_at is not None and run.exit_code is not None
        main_seq, main_root = self.main()
        certificate = Certificate(
            number=number + 1,
            previous=digest,
            item_id=attempt.item_id,
            attempt_id=attempt.id,
            tested_by=run.id,
            base_seq=attempt.base_seq,
            base_root=self.main_at(attempt.base_seq)[1],
            stack=attempt.stack,
            members=members,
            root=attempt.key.root,
            command=attempt.key.command,
            environment_hash=attempt.key.environment_hash,
            exit_code=run.exit_code,
            output_hash=run.output_hash,
            started_at=run.started_at,
            ended_at=run.ended_at,
            main_seq=main_seq,
            main_root=main_root,
            certified_at=self.now(),
            independence=proof,
        )
        self.log.insert_certificate(certificate)

    def certificate(self, seq: int) -> StoredCertificate:
        """What was tested before main became what it is at a landing.

        Raises:
            NotFound: no landing has that number, or the queue did not test it.
        """
        landing = self.log.landing_at(Seq(seq))
        if landing is None or landing.seq != seq or landing.attempt_id is None:
            raise NotFound(kind="certificate of landing", id=str(seq))
        found = self.log.certificates(AttemptId(landing.attempt_id))
        if not found:
            raise NotFound(kind="certificate of landing", id=str(seq))
        return found[0]
