"""Writes the generated parts of docs/benchmarks.md, and its charts, from the results."""

import statistics
import sys

from benchmark import charts, growth
from benchmark.load import PERCENTILES
from benchmark.servers import ROOT

DOCUMENT = ROOT / "docs/benchmarks.md"
PICTURES = ROOT / "docs/benchmarks"
OWN = {"sqlite": "TokenManager on SQLite", "postgres": "TokenManager on PostgreSQL"}
COLORS = {"sqlite": "c0", "postgres": "c1"}

# Member of the results, title, unit.
POOL_PANELS = [
    ("micros", "Time per allocation", "microseconds"),
    ("start_ms", "Start", "milliseconds"),
    ("memory_mb", "Resident memory", "MB"),
]
SERVER_PANELS = [
    ("rate", "Servers on one PostgreSQL", "allocations per second"),
    ("p99_ms", "Slowest server", "p99, milliseconds"),
]


def write(results, check=False):
    """Writes, or only compares and returns whether something differs. Parts without results stay as they are."""
    written = {}
    document = DOCUMENT.read_text()
    for name, make in PARTS.items():
        body = make(results, written)
        if body is not None:
            document = replaced(document, name, body)
    written[DOCUMENT] = document
    stale = [file for file, text in written.items() if not file.exists() or file.read_text() != text]
    for file in stale:
        if check:
            print(f"{file.relative_to(ROOT)} is out of date. Run: scripts/bench --report")
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_text(written[file])
            print(f"{file.relative_to(ROOT)} is written")
    return 1 if check and stale else 0


def replaced(document, name, body):
    begin, finish = f"<!-- generated: {name} -->\n", "<!-- end -->"
    before, found, rest = document.partition(begin)
    if not found or finish not in rest:
        sys.exit(f"docs/benchmarks.md has no `{begin.strip()}` ... `{finish}`")
    return f"{before}{begin}\n{body.strip()}\n\n{finish}{rest.partition(finish)[2]}"


def table(head, rows):
    rule = "|".join("---" for _ in head)
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows)])


def picture(name, words, drawing, written):
    written[PICTURES / f"{name}.svg"] = drawing
    return f"![{words}](benchmarks/{name}.svg)\n\n"


def figures(kind):
    def make(results, written):
        rows = results.get("figures", {}).get(kind)
        if rows is None:
            return None
        head = ["figure", "measured", "compared with", "ratio (spread)"]
        return table(head, [[name, *cells] for name, cells in rows.items()])

    return make


def opponents(results, written):
    measured = results.get("opponents")
    if measured is None:
        return None
    rows, groups = [], []
    for connections, rates in measured.items():
        group = []
        for name, each in rates.items():
            median = statistics.median(each)
            spread = f"{median:,.0f}/s ({min(each):,.0f} to {max(each):,.0f})"
            own = name in OWN.values()
            ratios = ["", ""] if own else [times(rates[mine], each) for mine in OWN.values()]
            rows.append([connections, name, spread, *ratios])
            group.append((name, median, min(each), max(each), "c0" if own else "c2"))
        groups.append((f"{connections} connections", sorted(group, key=lambda row: -row[1])))
    title = "Allocations on a full pool of 100 tokens, each on disk before its answer"
    drawing = charts.bars(title, "allocations per second: median, and from the lowest to the highest round", groups)
    head = ["connections", "what", "allocations", "TokenManager on SQLite : it", "TokenManager on PostgreSQL : it"]
    early = " and ".join(
        f"{shares['PostgreSQL, skip locked']:.0%} (after the rounds at {connections} connections)"
        for connections, shares in results["not oldest"].items()
    )
    note = f"\n\nShare of the evictions with `skip locked` that happened while an older lease was running: {early}."
    return picture("opponents", f"Bars: {title.lower()}", drawing, written) + table(head, rows) + note


def times(ones, others):
    """Median and spread of the ratios, round by round."""
    ratios = [a / b for a, b in zip(ones, others)]
    digits = lambda ratio: f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
    return f"{digits(statistics.median(ratios))} ({digits(min(ratios))} to {digits(max(ratios))})"


def percentiles(results, written):
    measured = results.get("percentiles")
    if measured is None:
        return None
    # In the table also those beside housekeeping.
    rows = [
        [name.replace(kind, OWN[kind]), *(f"{times[percent]:.2f} ms" for percent in PERCENTILES)]
        for name, times in measured.items()
        for kind in [name.split(",")[0]]
    ]
    kinds = [kind for kind in OWN if kind in measured]
    series = [(OWN[kind], [measured[kind][percent] for percent in PERCENTILES], COLORS[kind]) for kind in kinds]
    title = "Time of a request, allocating and releasing in pairs, 8 connections"
    panel = (title, "percentile of requests", "milliseconds", list(PERCENTILES), series)
    drawing = charts.lines(title, [panel], columns=1)
    head = ["", *(f"{percent} %" for percent in PERCENTILES)]
    return picture("percentiles", f"Curves: {title.lower()}", drawing, written) + table(head, rows)


# Section, its values, heading of its table, label of the values.
GROWTH = [
    ("tokens", growth.SIZES, "Tokens, all in use", "tokens"),
    ("history", growth.HISTORIES, "Leases in the history of 100 tokens", "leases"),
]


def growing(results, written):
    measured = results.get("growth")
    if measured is None:
        return None
    parts, panels = [], []
    kinds = [kind for kind in OWN if kind in measured]
    for section, values, title, unit in GROWTH:
        have = [kind for kind in kinds if all(str(value) in measured[kind].get(section, {}) for value in values)]
        if not have:
            continue
        rows = []
        for kind in have:
            for value in values:
                each = measured[kind][section][str(value)]
                memory = f"{each['memory_mb']:,.0f} MB, {each['memory_after_load_mb']:,.0f} MB after the load"
                cells = [f"{each['micros']:,.0f} us", spread(each["ratios"]), f"{each['p99_ms']:.1f} ms"]
                rows.append([OWN[kind], f"{value:,}", *cells, f"{each['start_ms']:,.0f} ms", memory])
        head = ["", unit, "an allocation", "against the first", "p99", "start to first answer", "resident memory"]
        parts.append(f"{title}:\n\n{table(head, rows)}")
        places = [short(value) for value in values]
        for member, name, up in POOL_PANELS:
            series = [
                (OWN[kind], [measured[kind][section][str(value)][member] for value in values], COLORS[kind])
                for kind in have
            ]
            panels.append((name, unit, up, places, series))
    servers = measured.get("postgres", {}).get("servers", {})
    if all(str(count) in servers for count in growth.SERVERS):
        each = [servers[str(count)] for count in growth.SERVERS]
        rows = [
            [str(count), f"{one['rate']:,.0f}/s", spread(one["ratios"]), f"{one['p99_ms']:.1f} ms"]
            for count, one in zip(growth.SERVERS, each)
        ]
        head = ["servers", "all together", "against one", "p99 of the slowest"]
        parts.append(f"Servers on one PostgreSQL, {growth.CONNECTIONS} connections in all:\n\n{table(head, rows)}")
        places = [str(count) for count in growth.SERVERS]
        for member, name, up in SERVER_PANELS:
            panels.append((name, "servers", up, places, [(OWN["postgres"], [one[member] for one in each], "c1")]))
    drawing = charts.lines("TokenManager with more tokens, more history and more servers", panels, columns=3)
    words = "Lines: time per allocation, start and memory with more tokens, more history and more servers"
    return picture("growth", words, drawing, written) + "\n\n".join(parts)


def spread(ratios):
    return f"{statistics.median(ratios):.0%} ({min(ratios):.2f} to {max(ratios):.2f})"


def short(value):
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if value >= unit:
            return f"{value // unit}{name}"
    return str(value)


PARTS = {
    "sqlite": figures("sqlite"),
    "postgres": figures("postgres"),
    "opponents": opponents,
    "percentiles": percentiles,
    "growth": growing,
}
