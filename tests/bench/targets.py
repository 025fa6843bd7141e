"""The bars: what was asked of each figure, and whether a run's results meet it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from tests.bench.results import Results, percentile, summary

MANY_LIVE = 100
MANY_PAST = 100_000
ENOUGH_CLAIMS = 50


@dataclass(frozen=True)
class Verdict:
    """What was measured, and whether that is enough; None: this run does not say.

    `hindrance` tells what stands in the way, or what is missing for a verdict.
    """

    measured: str
    met: bool | None
    hindrance: str = ""

    @property
    def word(self) -> str:
        return {True: "met", False: "**not met**", None: "not shown"}[self.met]


@dataclass(frozen=True)
class Bar:
    """One line of the table. `judge` raises KeyError for results that lack what it needs, and
    ValueError for an empty series."""

    what: str
    asked: str
    judge: Callable[[Results], Verdict]

    def verdict(self, results: Results) -> Verdict:
        try:
            return self.judge(results)
        except (KeyError, ValueError):
            return Verdict("nothing", None, "It was not measured; see below.")


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def _warm(way: str) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        warm = results["warm"]
        if "absent" in warm:
            return Verdict("nothing", None, warm["absent"])
        found, missed = summary(warm[way]["seconds"]), warm[way]["missed"]
        measured = f"p50 {_ms(found.p50)}, p95 {_ms(found.p95)}, n = {found.n}"
        met = found.p50 <= 0.050 and found.p95 <= 0.120 and not missed
        hindrance = f"{missed} launches found no sandbox ready." if missed else ""
        if met and found.n < ENOUGH_CLAIMS:
            return Verdict(measured, None, f"{ENOUGH_CLAIMS} launches are asked for.")
        return Verdict(measured, met, hindrance or _contended(results))

    return judge


def _contended(results: Results) -> str:
    return f"It shares {results['machine']['processor']} with whatever goes on beside it."


def _cold(results: Results) -> Verdict:
    cold, floor = results["launches"]["cold"], results["launches"]["floor"]
    of_medians = median(cold["seconds"]) / median(floor["seconds"])
    of_turns = median(c / f for c, f in zip(cold["seconds"], floor["seconds"], strict=True))
    measured = f"{of_medians:.2f} (of medians), {of_turns:.2f} (median of turns)"
    steps = {name[5:]: median(cold[name]) for name in cold if name.startswith("step ")}
    rest = median(cold["seconds"]) - sum(steps.values())
    spent = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in steps.items())
    hindrance = (
        f"Of {median(cold['seconds']):.2f} s: {spent}, and {rest:.2f} s for the request, the queue "
        f"and the rows; bare calls take {median(floor['seconds']):.2f} s in all."
    )
    return Verdict(measured, max(of_medians, of_turns) <= 1.25, hindrance)


def _peer_to_cold(results: Results) -> Verdict:
    launches = results["launches"]
    peer = median(launches["peer"]["seconds"])
    times = peer / median(launches["cold"]["seconds"])
    floor = median(launches["floor"]["seconds"])
    hindrance = (
        f"The peer takes {peer:.2f} s, and the same containers by bare engine calls {floor:.2f} s: "
        f"whatever starts them when asked can be {peer / floor:.1f} times as fast at most."
    )
    measured = f"{times:.1f} times"
    if waiting := launches["peer_waiting"]:
        patient = median(waiting) / median(launches["cold"]["seconds"])
        measured += f" ({patient:.1f} where the peer's API waits for a health check)"
    return Verdict(measured, times >= 5, hindrance)


def _peer_to_warm(results: Results) -> Verdict:
    if "absent" in results["warm"]:
        return Verdict("nothing", None, results["warm"]["absent"])
    warm = median(results["warm"]["quiet"]["seconds"])
    peer = median(results["launches"]["peer"]["seconds"])
    return Verdict(
        f"{peer / warm:.0f} times", peer / warm >= 100, f"{peer:.2f} s against {_ms(warm)}."
    )


def _destroy(results: Results) -> Verdict:
    found = summary(results["launches"]["cold"]["destroy"])
    bare = median(results["launches"]["floor"]["removal"])
    measured = f"p50 {found.p50:.2f} s, p95 {found.p95:.2f} s, n = {found.n}"
    return Verdict(measured, found.p50 <= 0.8, f"Bare engine calls take {bare:.2f} s for it.")


def _reset(results: Results) -> Verdict:
    found = summary(results["reset"]["seconds"])
    measured = f"p50 {found.p50:.2f} s, p95 {found.p95:.2f} s, n = {found.n}"
    longest = median(results["reset"]["longest"])
    hindrance = f"A client of its API waits for {longest:.2f} s of it at most."
    return Verdict(measured, found.p50 <= 0.5, hindrance)


def _at_once(results: Results) -> Verdict:
    crowd = results["crowd"]
    measured = f"{crowd['answered']} of {crowd['count']} answer with their seed"
    if crowd["answered"] < crowd["count"]:
        return Verdict(measured, False, "The others did not answer with all of it.")
    enough = True if crowd["count"] >= MANY_LIVE else None
    return Verdict(measured, enough, f"{MANY_LIVE} are asked for.")


def _megabytes(results: Results) -> Verdict:
    crowd = results["crowd"]
    grouped, lost = median(crowd["mb_each"]), crowd["available_mb_each"][str(crowd["count"])]
    measured = f"{grouped:.0f} MB in control groups, {lost:.0f} MB less available"
    parts = {name: median(values) for name, values in crowd["services"].items()}
    hindrance = ", ".join(f"{name} {size:.0f} MB" for name, size in parts.items())
    return Verdict(measured, max(grouped, lost) <= 60, f"{hindrance}; the engine has the rest.")


def _processes(results: Results) -> Verdict:
    sizes = results["processes"]
    parts = ", ".join(f"{name} {size:.0f} MB" for name, size in sorted(sizes.items()))
    together = sum(sizes.values())
    largest = max(sizes, key=lambda name: sizes[name])
    return Verdict(f"{together:.0f} MB ({parts})", together <= 350, f"{largest} has most of it.")


def _sweep(results: Results) -> Verdict:
    few, many = results["crowd"]["sweep"]
    past = max(int(count) for count in results["pages"]["past"])
    found, calls = summary(many["seconds"]), (len(few["calls"]), len(many["calls"]))
    measured = (
        f"{found.p50:.2f} s (at most {max(many['seconds']):.2f} s) with {many['live']} live and "
        f"{past:,} past; {calls[1]} engine calls, {calls[0]} with {few['live']} live"
    )
    first, *others = many["seconds"]
    hindrance = f"A process takes {first:.2f} s for its first one, then {median(others):.2f} s."
    met = max(many["seconds"]) <= 1 and calls[0] == calls[1] and not many["errors"]
    if met and (many["live"] < MANY_LIVE or past < MANY_PAST):
        return Verdict(measured, None, f"{MANY_LIVE} live and {MANY_PAST:,} past are asked for.")
    return Verdict(measured, met, " ".join(many["errors"]) or hindrance)


def _dashboard(results: Results) -> Verdict:
    pages, queries = results["pages"]["past"], results["pages"]["queries"]
    slowest = max(percentile(found["dashboard"]["server"], 95) for found in pages.values())
    grown = " and ".join(f"{number} with {cards}" for cards, number in queries.items())
    measured = f"p95 {_ms(slowest)}; queries: {grown}"
    met = slowest <= 0.030 and len(set(queries.values())) == 1
    shares = [
        f"{page}: p50 {_ms(median(times))}"
        for page in ("dashboard", "card poll")
        for times in [max((found[page]["server"] for found in pages.values()), key=median)]
    ]
    return Verdict(measured, met, f"In the server, {' and '.join(shares)}.")


def _poll(results: Results) -> Verdict:
    pages = results["pages"]["past"].values()
    slowest = max((summary(found["card poll"]["client"]) for found in pages), key=lambda s: s.p95)
    measured = f"p50 {_ms(slowest.p50)}, p95 {_ms(slowest.p95)}, n = {slowest.n}"
    return Verdict(measured, slowest.p95 <= 0.008, _contended(results))


def _admin(results: Results) -> Verdict:
    pages = results["pages"]["past"]
    past = max(pages, key=int)
    found = summary(pages[past]["admin list"]["client"])
    measured = f"p50 {_ms(found.p50)}, p95 {_ms(found.p95)} with {int(past):,} rows"
    met = found.p95 <= 0.250
    if met and int(past) < MANY_PAST:
        return Verdict(measured, None, f"{MANY_PAST:,} rows are asked for.")
    fewest = min(pages, key=int)
    with_few = median(pages[fewest]["admin list"]["client"])
    return Verdict(measured, met, f"With {fewest} rows, p50 is {_ms(with_few)}.")


WARM = "p50 ≤ 50 ms, p95 ≤ 120 ms, n ≥ 50"
BARS = [
    Bar("warm launch: the request is answered with `running`", WARM, _warm("quiet")),
    Bar("the same, while the pool is being filled again", WARM, _warm("busy")),
    Bar("cold launch ÷ floor, by turns", "≤ 1.25", _cold),
    Bar("peer ÷ cold launch", "≥ 5", _peer_to_cold),
    Bar("peer ÷ warm launch", "≥ 100", _peer_to_warm),
    Bar("destroy: asked, until nothing is left", "p50 ≤ 0.8 s", _destroy),
    Bar("reset: asked, until it is done", "p50 ≤ 0.5 s", _reset),
    Bar("sandboxes at once", "≥ 100, each with its seed", _at_once),
    Bar("memory of one of them", "≤ 60 MB", _megabytes),
    Bar("the portal's processes together, idle", "≤ 350 MB", _processes),
    Bar("sweep over 100 live and 100,000 past", "≤ 1 s, as many calls as with 10", _sweep),
    Bar("dashboard with 3 cards, in the server", "p95 ≤ 30 ms, no query for a card", _dashboard),
    Bar("a card's poll with nothing new", "p95 ≤ 8 ms", _poll),
    Bar("admin's list of 100,000 sandboxes", "p95 ≤ 250 ms", _admin),
]
