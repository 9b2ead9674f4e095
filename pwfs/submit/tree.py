"""`tree`: speculation on either outcome of each item ahead, the likeliest scenario first.

The probability that a test is needed is the product of the probabilities of what its scenario
assumes (Uber's SubmitQueue, EuroSys 2019). They are worked out along the line: an item's is made of
the scenarios that have a verdict, each by its own probability, and of what the repository's history
says about the rest. Scenarios that are not likely enough are not tested yet: one of those ahead
will be decided, and then they are certain or pointless. Meanwhile an item is tested for what that tells
of it, with those ahead that are all but sure to land: whoever passes in one tree agrees, and whoever
fails disagrees in all larger ones, too.
"""

from collections.abc import Iterator, Mapping, Sequence

from pwfs.model.ids import ItemId
from pwfs.submit.history import History
from pwfs.submit.line import Entry, Line, Scenario, Verdict, Wish

START_AT = 0.12
"""A test may start if it is needed with at least this probability."""
MORE_AT = 0.35
"""Besides an item's likeliest scenario others start if their weighted probability is this."""
WEIGHT_PER_FOLLOWER, WEIGHT_MAX = 0.3, 5.0
"""A scenario weighs more the more items wait for the item: a wrong guess costs all of them time."""
KEEP_AT = 0.01
"""A test that runs is stopped under it."""
REPEAT_AT = 0.8
"""A failed test is repeated only where its scenario is all but certain."""
STRANGERS_MAX = 100.0
"""Among so many some disagree; more need not be counted."""
FLAKE_ODDS = 0.1
"""How likely a test passes that failed before."""
GOOD_ONCE_PASSED = 0.98
"""How likely an item that was in a tree that passed is good by itself."""
SURE_AT = 0.7
STRANGERS_MET_MAX = 10
"""Where no scenario is likely, an item is tested with those ahead that land at least that likely, so many
at most of whom it is not known to agree with: one test in two passes then, which tells the most."""
SPARE_AT = 0.12
SPARE_KEPT_MIN, SPARE_KEPT_SHARE = 24, 3
"""As long as that many places stay free, a third of all at least, less likely scenarios are tested."""
_RUNNING_BONUS = 2.0
"""A test under way gives its place to one that is twice as likely only: its work would be lost."""


def wish_tree(line: Line) -> list[Wish]:
    """Wishes for every scenario that is likely enough, the likeliest first."""
    odds: dict[ItemId, float] = {}
    followers = count_followers(line.entries)
    ranked: list[tuple[float, int, Wish]] = []
    spare: list[tuple[float, int, Wish]] = []
    for position, entry in enumerate(line.entries):
        known = _probabilities(entry, odds)
        odds[entry.id] = _odds_to_land(entry, known, odds, line.history)
        weight = min(WEIGHT_MAX, 1.0 + WEIGHT_PER_FOLLOWER * followers[entry.id])
        for rank, wish, is_worth_it in _wishes(entry, known, odds, weight):
            (ranked if is_worth_it else spare).append((-rank, position, wish))
    room = line.width - max(SPARE_KEPT_MIN, line.width // SPARE_KEPT_SHARE) - len(ranked)
    spare.sort(key=_ranking)
    return [wish for _, _, wish in sorted([*ranked, *spare[: max(0, room)]], key=_ranking)]


def _ranking(ranked: tuple[float, int, Wish]) -> tuple[float, int]:
    return ranked[:2]


def odds_to_land(line: Line) -> dict[ItemId, float]:
    """How likely each item is to land."""
    odds: dict[ItemId, float] = {}
    for entry in line.entries:
        odds[entry.id] = _odds_to_land(entry, _probabilities(entry, odds), odds, line.history)
    return odds


def _probabilities(entry: Entry, odds: Mapping[ItemId, float]) -> dict[Scenario, float]:
    # In one order whatever made the sets, so that equal lines give equal sums and wishes.
    scenarios = sorted(entry.trials.keys() | entry.failures.keys(), key=sorted)
    return {scenario: _probability(entry, scenario, odds) for scenario in scenarios}


def _wishes(
    entry: Entry, known: Mapping[Scenario, float], odds: Mapping[ItemId, float], weight: float
) -> Iterator[tuple[float, Wish, bool]]:
    """An item's wishes, each with how much it is wanted, and whether also if places are scarce."""
    is_running = False
    for scenario, probability in known.items():
        trial = entry.trial(scenario)
        if trial is not None and trial.verdict is Verdict.RUNNING:
            is_running = True
            # Unlikely by now, it still tells something of the item, unless others need the place.
            yield probability * _RUNNING_BONUS, Wish(entry.id, scenario, probability), True
    likely = likely_scenarios(entry, odds, min(START_AT, SPARE_AT))
    best = max(likely, default=(0.0, None), key=lambda pair: pair[0])
    for probability, scenario in likely:
        if entry.trial(scenario) is not None:
            continue
        is_best = scenario == best[1] and probability >= START_AT
        is_worth_it = is_best or probability * weight >= MORE_AT
        if entry.failures.get(scenario):
            if probability >= REPEAT_AT:
                yield probability, Wish(entry.id, scenario, probability), True
        elif is_worth_it or probability >= SPARE_AT:
            yield probability, Wish(entry.id, scenario, probability), is_worth_it
    if best[0] < START_AT and not is_running and not entry.needs:
        company = _telling_company(entry, odds)
        is_wished = any(scenario == company for _, scenario in likely)
        if company is not None and entry.trial(company) is None and not is_wished:
            yield 0.0, Wish(entry.id, company, 0.0), True


def _telling_company(entry: Entry, odds: Mapping[ItemId, float]) -> Scenario | None:
    """With whom a test tells the most of an item; None if it is known to agree with all of them."""
    sure = [other for other in entry.ahead if odds[other] >= SURE_AT]
    strangers = [other for other in sure if other not in entry.company]
    if entry.id in entry.company and not strangers:
        return None
    strangers.sort(key=lambda other: (-odds[other], other))
    known = (other for other in sure if other in entry.company)
    return frozenset((*known, *strangers[:STRANGERS_MET_MAX]))


def likely_scenarios(
    entry: Entry, odds: Mapping[ItemId, float], at_least: float
) -> list[tuple[float, Scenario]]:
    """The scenarios with at least some probability, not in order of it.

    The likeliest takes each of those ahead by its better odds; others differ from it where the odds
    are close, so that a search that gives up below the limit sees few.
    """
    best = 1.0
    assumed: set[ItemId] = set()
    doubtful: list[tuple[float, ItemId]] = []
    for other in entry.ahead:
        odd = odds[other]
        if other in entry.needs:
            best *= odd
            assumed.add(other)
        elif odd >= 0.5:
            best *= odd
            assumed.add(other)
            doubtful.append(((1.0 - odd) / odd, other))
        else:
            best *= 1.0 - odd
            doubtful.append((odd / (1.0 - odd), other))
        if best < at_least:
            return []
    doubtful = sorted(pair for pair in doubtful if best * pair[0] >= at_least)
    found = [(best, frozenset(assumed))]
    _vary(doubtful[::-1], best, frozenset(assumed), at_least, found)
    return found


def _vary(
    doubtful: Sequence[tuple[float, ItemId]],
    probability: float,
    scenario: Scenario,
    at_least: float,
    found: list[tuple[float, Scenario]],
) -> None:
    for number, (ratio, other) in enumerate(doubtful):
        varied = probability * ratio
        if varied < at_least:
            return
        found.append((varied, scenario ^ {other}))
        _vary(doubtful[number + 1 :], varied, scenario ^ {other}, at_least, found)


def count_followers(entries: Sequence[Entry]) -> dict[ItemId, int]:
    """How many items wait for each; those that wait for all before them are not gone through."""
    counts: dict[ItemId, int] = {}
    waiting_for_all = 0
    for position in range(len(entries) - 1, -1, -1):
        entry = entries[position]
        counts[entry.id] = counts.get(entry.id, 0) + waiting_for_all
        if len(entry.ahead) == position:
            waiting_for_all += 1
            continue
        for other in entry.ahead:
            counts[other] = counts.get(other, 0) + 1
    return counts


def _probability(entry: Entry, scenario: Scenario, odds: Mapping[ItemId, float]) -> float:
    """The probability that exactly those of a scenario land, of all that are ahead."""
    if not entry.needs <= scenario:
        return 0.0
    probability = 1.0
    for other in entry.ahead:
        probability *= odds[other] if other in scenario else 1.0 - odds[other]
        if probability < KEEP_AT / 10:
            return 0.0
    return probability


def _odds_to_land(
    entry: Entry,
    known: Mapping[Scenario, float],
    odds: Mapping[ItemId, float],
    history: History,
) -> float:
    """Adds up what has a verdict, and guesses the rest by what is known of the item.

    In the rest it has to be good by itself, and to agree with whoever lands ahead of it, or
    landed unseen: nothing is to be feared of those that it passed together with.
    """
    landing, decided, free = 0.0, 0.0, 1.0
    own = GOOD_ONCE_PASSED if entry.id in entry.company else history.own_pass
    for scenario, probability in known.items():
        trial = entry.trial(scenario)
        verdict = trial.verdict if trial is not None else None
        has_failed = bool(entry.failures.get(scenario)) or verdict is Verdict.FAILED
        if verdict is Verdict.RUNNING and not has_failed:
            continue
        decided += probability
        if verdict is Verdict.PASSED:
            landing += probability
            continue
        if has_failed:
            landing += probability * FLAKE_ODDS * (verdict is not Verdict.FAILED)
        strangers = [odds[other] for other in sorted(scenario - entry.company)]
        own, share = _after_failure(own, strangers, history.agreement)
        free *= share
    possible, unmet = 1.0, float(entry.unseen)
    for other in sorted(entry.needs):
        possible *= odds[other]
    for other in entry.ahead:
        if other not in entry.company:
            unmet += odds[other]
            if unmet > STRANGERS_MAX:
                break
    rest = max(0.0, possible - decided)
    agreeing: float = history.agreement**unmet
    return min(1.0, landing + rest * own * free * agreeing)


def _after_failure(own: float, strangers: Sequence[float], agreement: float) -> tuple[float, float]:
    """What a failure together with strangers, each with its odds to land, leaves of an item.

    Either it is bad by itself, or it disagrees with one of them, whoever that is, or they are to
    blame. Returns how likely it is good by itself, and how likely then nothing that lands
    speaks against it: whom it disagrees with would have to leave.
    """
    disagreeing: float = 1.0 - agreement ** len(strangers)
    blameless = 1.0
    for odd in strangers:
        blameless *= odd
    is_bad = 1.0 - own
    is_at_odds = own * disagreeing
    are_to_blame = own * (1.0 - disagreeing) * (1.0 - blameless)
    is_good = is_at_odds + are_to_blame
    if is_good <= 0.0:
        return 0.0, 0.0
    leaving = sum(1.0 - odd for odd in strangers) / len(strangers)
    free = (is_at_odds * leaving + are_to_blame) / is_good
    return is_good / (is_bad + is_good), free
