"""A line chart as SVG: a few curves over named points, from zero up."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 640, 360, 60, 40, 150, 50
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#8250df")


@dataclass(frozen=True)
class Curve:
    """Values by point, in the points' order."""

    title: str
    values: tuple[float, ...]


def draw(title: str, axis: str, points: Sequence[str], curves: Sequence[Curve]) -> str:
    """Draws curves; the points are evenly spaced, whatever their numbers."""
    top_value = max(1.0, *(value for curve in curves for value in curve.values))
    across = (WIDTH - LEFT - RIGHT) / max(1, len(points) - 1)
    down = (HEIGHT - TOP - BOTTOM) / top_value

    def at(number: int, value: float) -> tuple[float, float]:
        return LEFT + number * across, HEIGHT - BOTTOM - value * down

    parts = [_text(LEFT, TOP - 16, title), _text(LEFT, HEIGHT - 10, axis)]
    for step in range(6):
        value = top_value * step / 5
        _, y = at(0, value)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, "#d0d7de"))
        parts.append(_text(LEFT - 8, y + 4, f"{value:.2g}", anchor="end"))
    for number, point in enumerate(points):
        parts.append(_text(at(number, 0)[0], HEIGHT - BOTTOM + 18, point, anchor="middle"))
    for curve, colour in zip(curves, COLOURS, strict=False):
        places = [at(number, value) for number, value in enumerate(curve.values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(places[-1][0] + 8, places[-1][1] + 4, curve.title, colour=colour))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#1f2328") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'
