"""The isolation attack in a database of ten organizations: every object in the catalog, by three kinds of attacker."""

from __future__ import annotations

from tests.faults.findings import Finding
from tests.faults.trial import Trial, timed
from tests.integration.schema.isolation.attackers import Ledger
from tests.integration.schema.test_isolation import attack, populated, rounds

ORGANIZATIONS = 10
IN_SHORT = ("spy", "write", "claim", "become")


def run(trial: Trial) -> list[Finding]:
    """Run every round with every attacker, and check the others' rows after each."""
    finding = Finding(
        f"isolation attack, {ORGANIZATIONS} organizations",
        "reading, writing, calling, claiming, shadowing, overhearing by a customer's login, by an application's session "
        "for a customer, and by one for no organization; wrong: a value of another organization was seen or changed",
    )
    ledger = Ledger()
    finished, all_rounds = 0, 0
    with (
        trial.empty() as db,
        timed(finding),
        populated(db.settings.database_url, others=ORGANIZATIONS - 1) as field,
    ):
        for attacker in field.attackers(ledger):
            names = [name for name in rounds(field, attacker) if not trial.short or name in IN_SHORT]
            all_rounds += len(names)
            for name in names:
                if not trial.over():
                    attack(field, ledger, attacker, name)
                    finished += 1
    finding.attempts = ledger.attempts.total()
    for category, crossings in ledger.crossings.items():
        for evidence in crossings:
            finding.blame(f"{category}: {evidence}")
    finding.seen = (
        f"{finished} of {all_rounds} rounds, {len(ledger.attempts)} categories; {ledger.crossing_count} crossings; every row of "
        f"the other {ORGANIZATIONS - 1} compared after each round"
    )
    return [finding]
