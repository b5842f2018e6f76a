"""Charts as SVG, without a library: bars, curves and lines, readable on light and dark pages."""

from html import escape

WIDTH = 860
STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f }
    .title { font-size: 15px; font-weight: 600 }
    .axis { stroke: #57606a; fill: none }
    .grid { stroke: #d0d7de; fill: none }
    .spread { stroke: #24292f; fill: none }
    .soft { fill: #57606a }
    .line { fill: none; stroke-width: 2 }
    .c0 { fill: #0969da; stroke: #0969da }
    .c1 { fill: #8250df; stroke: #8250df }
    .c2 { fill: #57606a; stroke: #57606a }
    .line, .line.c0, .line.c1, .line.c2 { fill: none }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3 }
      .axis { stroke: #9198a1 }
      .grid { stroke: #3d444d }
      .spread { stroke: #e6edf3 }
      .soft { fill: #9198a1 }
      .c0 { fill: #4493f8; stroke: #4493f8 }
      .c1 { fill: #ab7df8; stroke: #ab7df8 }
      .c2 { fill: #9198a1; stroke: #9198a1 }
      .line, .line.c0, .line.c1, .line.c2 { fill: none }
    }
"""


def svg(title, height, parts):
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">\n'
        f"  <title>{escape(title)}</title>\n  <style>{STYLE}  </style>\n  {body}\n</svg>\n"
    )


def text(x, y, words, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def ticks(most):
    """Round steps up to at least `most`, four to eight of them."""
    step = 1e-6
    while most / step > 8:
        step *= 2.5 if f"{step:.0e}".startswith("2") else 2
    # 1, 2, 5, 10, ...; floating-point dust would show in the labels.
    step = float(f"{step:.0e}")
    count = int(most / step) + (0 if abs(most / step - int(most / step)) < 1e-9 else 1)
    return [step * number for number in range(count + 1)]


def number(value):
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def bars(title, unit, groups):
    """Horizontal bars: groups of (heading, [(label, value, lowest, highest, color class)])."""
    left, top, high = 220, 56, 26
    most = max(highest for _, rows in groups for _, _, _, highest, _ in rows)
    marks = ticks(most)
    scale = (WIDTH - left - 90) / marks[-1]
    parts, y = [text(16, 26, title, kind="title")], top
    drawn = []
    for heading, rows in groups:
        drawn.append(text(16, y + 16, heading, kind="soft"))
        y += high
        for label, value, lowest, highest, color in rows:
            middle = y + high / 2
            drawn.append(text(left - 10, middle + 4, label, "end"))
            width = f"{value * scale:.1f}"
            drawn.append(f'<rect x="{left}" y="{y + 4}" width="{width}" height="{high - 8}" class="{color}"/>')
            drawn.append(line(left + lowest * scale, middle, left + highest * scale, middle, "spread"))
            drawn.append(text(left + max(value, highest) * scale + 8, middle + 4, f"{value:,.0f}"))
            y += high
        y += 14
    for mark in marks:
        parts.append(line(left + mark * scale, top, left + mark * scale, y, "grid"))
        parts.append(text(left + mark * scale, y + 18, number(mark), "middle", "soft"))
    parts += [*drawn, line(left, top, left, y, "axis"), text(left, y + 40, unit, kind="soft")]
    return svg(title, y + 54, parts)


def panel(x, y, width, height, title, across, up, places, series):
    """Lines in one rectangle: `places` are the labels along x, `series` are (label, values, color class)."""
    marks = ticks(max(value for _, values, _ in series for value in values))
    at = lambda place: x + width * (place + 0.5) / len(places)
    parts = [text(x, y - 30, title, kind="title"), text(x, y - 10, up, kind="soft")]
    for mark in marks:
        level = y + height - height * mark / marks[-1]
        parts.append(line(x, level, x + width, level, "grid"))
        parts.append(text(x - 8, level + 4, number(mark), "end", "soft"))
    parts.append(line(x, y + height, x + width, y + height, "axis"))
    for place, label in enumerate(places):
        parts.append(text(at(place), y + height + 18, label, "middle", "soft"))
    parts.append(text(x + width / 2, y + height + 38, across, "middle", "soft"))
    for label, values, color in series:
        points = [(at(place), y + height - height * value / marks[-1]) for place, value in enumerate(values)]
        parts.append(f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" class="line {color}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" class="{color}"/>' for a, b in points]
    return parts


def legend(x, y, series):
    parts = []
    for label, color in series:
        parts += [line(x, y - 4, x + 22, y - 4, f"line {color}"), text(x + 30, y, label)]
        x += 46 + 8 * len(label)
    return parts


def lines(title, panels, columns=2):
    """A grid of panels: (title, along x, along y, labels of x, [(label, values, color class)])."""
    width, height, across, down = (WIDTH - 60) / columns - 60, 190, (WIDTH - 40) / columns, 300
    parts = []
    for place, (name, along, up, places, series) in enumerate(panels):
        column, row = place % columns, place // columns
        parts += panel(70 + column * across, 96 + row * down, width, height, name, along, up, places, series)
    labels = {label: color for *_, series in panels for label, _, color in series}
    parts += legend(70, 30, labels.items())
    rows = -(-len(panels) // columns)
    return svg(title, 80 + rows * down - 30, parts)
